//! What the pages show for a laptop is run as it stands there: the blocks that are marked `run`, those of a
//! page one after the other, in a folder with the examples.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::harness::Local;
use crate::support::pages::{self, Page, root};
use crate::support::{Called, binary};

/// The marked blocks of a page.
fn script(page: &Page) -> String {
    page.blocks().into_iter().filter(|block| block.mark == "run").map(|block| block.text).collect()
}

/// The Python of the pages, with the drivers that Debian packages: each engine is in the config file.
#[test]
fn the_python_of_the_pages_connects_to_every_engine() {
    for file in ["README.md", "docs/src/tutorials/laptop.md"] {
        let page = pages::all().into_iter().find(|page| page.file == file).expect(file);
        let blocks = page.blocks().into_iter().filter(|block| block.language == "python");
        let code: String = blocks.map(|block| block.text).collect();
        assert!(code.contains("json.load"), "{code}");
        let script = format!(
            "testbed up --with postgres,mariadb,sqlite >/dev/null\npython3 - <<'END'\n{code}\n    connection.cursor().execute('SELECT 1')\n    print(driver)\nEND\ntestbed down"
        );
        let called = run(&script).ok();
        assert_eq!(called.stdout, "postgres\nmysql\nsqlite\n", "{}", called.transcript());
    }
}

/// Runs a script as a reader would, with the program in the `PATH`; it ends with the first command that
/// fails.
fn run(script: &str) -> Called {
    let local = Local::new();
    let copied =
        Command::new("cp").arg("-r").arg(root().join("examples")).arg(local.path()).status().expect("cp");
    assert!(copied.success());
    let mut command = local.command(&[]);
    let prepared: Vec<_> =
        command.get_envs().filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned()))).collect();
    command = Command::new("bash");
    command
        .args(["-euo", "pipefail", "-c", script])
        .current_dir(local.path())
        .env_clear()
        .envs(prepared)
        .stdin(Stdio::null());
    // Debian's own Python sees the drivers that Debian packages.
    let folder = Path::new(binary()).parent().expect("a folder");
    let path = std::env::var("PATH").expect("a PATH");
    command.env("PATH", format!("{}:/usr/bin:{path}", folder.display())).env("PYTHONDONTWRITEBYTECODE", "1");
    command.env("PYTEST_ADDOPTS", "-p no:cacheprovider");
    Called::new(&["(bash)", script], command.output().expect("bash"))
}

#[test]
fn what_is_marked_to_be_run_works() {
    let mut count = 0;
    for page in pages::all() {
        let script = script(&page);
        if !script.is_empty() {
            count += page.blocks().iter().filter(|block| block.mark == "run").count();
            let called = run(&script);
            assert_eq!(called.code, Some(0), "{}\n{}", page.file, called.transcript());
        }
    }
    assert!(count >= 6, "only {count} blocks are marked");
}

#[test]
fn a_block_that_fails_is_noticed() {
    let page = pages::page(
        "x.md",
        "```sh run\ntestbed run --with postgres -- false\ntrue\n```\n\n```sh\nexit 7\n```\n",
    );
    assert_eq!(script(&page), "testbed run --with postgres -- false\ntrue\n");
    assert_eq!(run(&script(&page)).code, Some(1));
}
