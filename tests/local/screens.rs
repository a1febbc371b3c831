//! What people see at terminals of 80 and of 200 columns.

use crate::harness::Local;
use crate::support::Folder;
use crate::support::screen::Screen;

const RUN: &str = "b56618f0-0ce7-4047-a60f-2684cac3fab1";

/// A screen without what differs from one call to the next: times, ports, and the versions of servers.
fn steady(screen: &str) -> String {
    screen.lines().map(steady_line).collect::<Vec<_>>().join("\n")
}

fn steady_line(line: &str) -> String {
    let is_number = |word: &str| {
        word.starts_with(|c: char| c.is_ascii_digit()) && word.chars().all(|c| c.is_ascii_digit() || c == '.')
    };
    let (mut steady, mut words) = (Vec::new(), line.split(' ').peekable());
    while let Some(word) = words.next() {
        let number = word.trim_end_matches(['s', ')', ':']);
        let rest = &word[number.len()..];
        let unit = words.peek().copied().unwrap_or_default();
        steady.push(match number.strip_prefix("127.0.0.1:") {
            Some(port) => format!("127.0.0.1:{}{rest}", "0".repeat(port.len())),
            // In a table the columns behind it stay where they are.
            None if is_number(number) && ["ms", "s", "ago"].contains(&unit) => {
                let width = word.len() + 1 + words.next().map_or(0, str::len);
                format!("{:width$}", "TIME")
            }
            None if number.contains('.') && is_number(number) => format!("N{rest}"),
            None => word.to_owned(),
        });
    }
    steady.join(" ")
}

/// A table without the widths of its columns.
fn cells(table: &str) -> String {
    let line = |line: &str| {
        line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect::<Vec<_>>().join(" | ")
    };
    table.lines().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_help_at_a_terminal() {
    let folder = Folder::new().env("TESTBED_RUNTIME", "").env("NO_COLOR", "1");
    for columns in [80, 200] {
        let help = Screen::of(&folder, columns, &["-h"]).ended();
        insta::assert_snapshot!(format!("help-{columns}"), help);
        let help = Screen::of(&folder, columns, &["run", "-h"]).ended();
        assert!(help.lines().count() <= 40, "{help}");
        insta::assert_snapshot!(format!("help-run-{columns}"), help);
    }
}

/// A run that stays, one that fails, and what is told of both: no line is wider than the terminal, and none of
/// the live lines is left.
#[test]
fn a_run_at_a_terminal() {
    let local = Local::of(Folder::local().env("TESTBED_RUNTIME", ""));
    let up = Screen::of(&local, 80, &["up", "--with", "sqlite", "--with", "postgres", "--run-id", RUN]);
    insta::assert_snapshot!("up-80", steady(&up.ended()));
    let run = ["run", "--with", "postgres", "--run-id", "failing", "--", "sh", "-c", "echo at work; exit 3"];
    insta::assert_snapshot!("run-80", steady(&Screen::of(&local, 80, &run).ended()));
    let bad = ["up", "--with", "postgres=bad", "--param", "bad.args=-c nonsense=1", "--history", "none"];
    let failure = Screen::of(&local, 80, &bad).ended();
    assert!(failure.lines().nth(1).is_some_and(|line| line.starts_with("error: bad: ")), "{failure}");
    let name = local.path().file_name().expect("a name").to_string_lossy();
    for what in [&["status"][..], &["history", "list"]] {
        let screens = [80, 200].map(|columns| Screen::of(&local, columns, what).ended());
        assert_eq!(screens[0].lines().count(), screens[1].lines().count(), "wrapped: {}", screens[0]);
        for (screen, columns) in screens.iter().zip([80, 200]) {
            let mut shown = steady(&screen.replace(&*name, "FOLDER"));
            if what[0] == "history" {
                // How long ago that was decides about the width of a column.
                shown = cells(&shown.replace("just now", "TIME"));
            }
            insta::assert_snapshot!(format!("{}-{columns}", what[0]), shown);
        }
    }
    let wide = Screen::of(&local, 200, &["status", "-v"]).ended();
    assert!(wide.contains(RUN) && wide.contains("own-process at "), "{wide}");
    drop(up);
    local.call(&["down", "--run-id", RUN]).ok();
}
