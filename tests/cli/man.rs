//! The manual pages, as groff shows them.

use std::process::{Command, Stdio};

use crate::support::Folder;

/// A page as `man` shows it, and what groff has to say of it.
fn rendered(page: &std::path::Path) -> (String, String) {
    let output = Command::new("groff")
        .args(["-man", "-Tutf8", "-ww", "-rLL=78n", "-P-c"])
        .arg(page)
        .stdin(Stdio::null())
        .output()
        .expect("groff: tests/install test");
    assert!(output.status.success(), "{}", page.display());
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    // Bold and underlined letters are printed over each other.
    let mut shown = String::new();
    for c in text(output.stdout).chars() {
        match c {
            '\u{8}' => _ = shown.pop(),
            c => shown.push(c),
        }
    }
    (shown, text(output.stderr))
}

#[test]
fn each_command_has_a_page_without_a_fault() {
    let folder = Folder::new().env("TESTBED_WITH", "a-secret");
    std::fs::create_dir(folder.path().join("man")).expect("a folder");
    folder.call(&["man", "man"]).ok();
    let pages: Vec<_> = std::fs::read_dir(folder.path().join("man")).expect("a folder").flatten().collect();
    assert!(pages.len() > 20, "{pages:?}");
    for page in &pages {
        let (shown, faults) = rendered(&page.path());
        assert!(faults.is_empty(), "{}: {faults}", page.path().display());
        assert!(shown.contains("NAME\n") && !shown.contains("a-secret"), "{shown}");
    }
    let (run, _) = rendered(&folder.path().join("man/testbed-run.1"));
    for part in [
        "testbed-run - Run a command with databases up",
        "EXAMPLES\n",
        "testbed run --with postgres -- pytest      $DATABASE_URL",
        "--capacity-timeout",
        "TESTBED_TIMEOUT",
        "128 + N",
    ] {
        assert!(run.contains(part), "{part}\n{run}");
    }
    folder.call(&["man", "share/man/man1"]).ok();
    assert!(folder.has("share/man/man1/testbed.1"), "a folder that was not there");
    folder.file("text.txt", "");
    folder.call(&["man", "text.txt"]).fails(2).says("making the folder text.txt");
}
