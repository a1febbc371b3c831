//! The documents say what is so: their links lead somewhere, their blocks can be read, and the commands,
//! flags and tests in them exist.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::CommandFactory;
use testbed::cli::Cli;

use crate::support::pages::{self, Page, in_book, page, root};

/// What a fenced block may be.
const LANGUAGES: [&str; 13] = [
    "sh",
    "console",
    "yaml",
    "json",
    "python",
    "jinja",
    "text",
    "dockerfile",
    "js",
    "go",
    "ruby",
    "java",
    "rust",
];

/// What is wrong with the pages, one line for each fault.
fn faults(pages: &[Page], check: impl Fn(&Page) -> Vec<String>) -> Vec<String> {
    pages
        .iter()
        .flat_map(|page| check(page).into_iter().map(|fault| format!("{}:{fault}", page.file)))
        .collect()
}

/// No page has the fault, and a page that has it is found.
fn holds(check: impl Fn(&Page) -> Vec<String>, wrong: &[(&str, &str)]) {
    let found = faults(&pages::all(), &check);
    assert!(found.is_empty(), "{}", found.join("\n"));
    for (text, what) in wrong {
        let found = check(&page("docs/src/reference/commands.md", text));
        assert!(
            found.iter().any(|fault| fault.contains(what)),
            "{what:?} was not found in {text:?}: {found:?}"
        );
    }
}

#[test]
fn every_test_that_is_named_exists() {
    let check = |page: &Page| {
        let mut faults = Vec::new();
        for (line, text) in page.prose() {
            for (file, function) in
                text.split('`').skip(1).step_by(2).filter_map(|code| code.split_once("::"))
            {
                if Path::new(file).extension().is_none_or(|end| end != "rs") {
                    continue;
                }
                let source = std::fs::read_to_string(root().join(file)).unwrap_or_default();
                if !source.contains(&format!("fn {function}(")) {
                    faults.push(format!("{line}: {file} has no test {function}"));
                }
            }
        }
        faults
    };
    holds(
        check,
        &[
            ("`tests/cli/docs.rs::no_such_test`", "has no test"),
            ("`tests/no.rs::every_test_that_is_named_exists`", "has no test"),
        ],
    );
    let reliability = std::fs::read_to_string(root().join("docs/src/explanation/reliability.md")).unwrap();
    assert!(reliability.matches(".rs::").count() > 40);
}

/// What is wrong with a page's links.
fn dead_links(page: &Page) -> Vec<String> {
    // A checkout may itself be behind a link.
    let here = root().canonicalize().expect("the project").join(&page.file);
    let is_of_book = page.file.starts_with("docs/src/");
    let book = in_book();
    let mut faults = Vec::new();
    for (line, target) in page.links() {
        if target.contains("://") {
            continue;
        }
        let (path, anchor) = target.split_once('#').unwrap_or((&target, ""));
        let path = if path.is_empty() {
            here.clone()
        } else {
            pages::plain(&here.parent().expect("a folder").join(path))
        };
        let Ok(real) = path.canonicalize() else {
            faults.push(format!("{line}: {target} leads nowhere"));
            continue;
        };
        if path.components().ne(real.components()) && is_of_book && !page.file.ends_with("SUMMARY.md") {
            faults.push(format!(
                "{line}: {target} goes by way of a link, where a reader of the files finds none: {}",
                real.display()
            ));
        }
        if is_of_book && !book.contains_key(&real) {
            faults.push(format!("{line}: {target} leads out of the book"));
        }
        if !anchor.is_empty() {
            let text = std::fs::read_to_string(&real).unwrap_or_default();
            if !pages::page("", &text).anchors().iter().any(|known| known == anchor) {
                faults.push(format!("{line}: {target}: there is no such heading"));
            }
        }
    }
    faults
}

#[test]
fn every_link_leads_somewhere() {
    let wrong = [
        ("[a](no-such-page.md)", "leads nowhere"),
        ("[`a`](flags.md#no-such-heading)", "no such heading"),
        ("[a](#nothing)", "no such heading"),
        ("[a](../../../Cargo.toml)", "out of the book"),
        ("[a](../catalog/README.md)", "by way of a link"),
    ];
    holds(dead_links, &wrong);
    assert!(
        dead_links(&page("docs/src/reference/x.md", "`[a](nowhere.md)` [b](commands.md#exit-codes)"))
            .is_empty()
    );
}

#[test]
fn every_page_is_in_the_summary() {
    let summary = std::fs::read_to_string(root().join("docs/src/SUMMARY.md")).unwrap();
    let listed: Vec<PathBuf> =
        page("docs/src/SUMMARY.md", &summary).links().into_iter().map(|(_, target)| target.into()).collect();
    let set: BTreeSet<PathBuf> = listed.iter().cloned().collect();
    assert_eq!(set.len(), listed.len(), "a page is listed twice");
    let there: BTreeSet<PathBuf> = in_book()
        .into_values()
        .filter(|file| file.extension().is_some_and(|end| end == "md") && file != Path::new("SUMMARY.md"))
        .collect();
    assert_eq!(set, there, "left: the summary; right: the pages");
}

/// A shell's word on a text.
fn syntax_error(text: &str) -> Option<String> {
    let mut bash =
        Command::new("bash").arg("-n").stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("bash");
    bash.stdin.take().expect("a pipe").write_all(text.as_bytes()).expect("bash reads");
    let output = bash.wait_with_output().expect("bash ends");
    (!output.status.success() || !output.stderr.is_empty())
        .then(|| String::from_utf8_lossy(&output.stderr).trim().to_owned())
}

/// The commands of a block in which prompts and answers take turns.
fn typed(console: &str) -> String {
    console.lines().filter_map(|line| line.strip_prefix("$ ").or_else(|| line.strip_prefix("> "))).fold(
        String::new(),
        |mut all, line| {
            let _ = writeln!(all, "{line}");
            all
        },
    )
}

#[test]
fn every_block_can_be_read() {
    let check = |page: &Page| {
        let mut faults = Vec::new();
        for block in page.blocks() {
            let line = block.line;
            let error = match block.language.as_str() {
                "sh" => syntax_error(&block.text),
                "console" if typed(&block.text).is_empty() => Some("nothing is typed".into()),
                "console" => syntax_error(&typed(&block.text)),
                "yaml" => block
                    .text
                    .split("\n---\n")
                    .find_map(|text| serde_yaml::from_str::<serde_yaml::Value>(text).err())
                    .map(|e| e.to_string()),
                "json" => serde_json::from_str::<serde_json::Value>(&block.text)
                    .err()
                    .map(|error| error.to_string()),
                language if !LANGUAGES.contains(&language) => {
                    Some(format!("{language:?} is no language of a block here"))
                }
                _ => None,
            };
            faults.extend(error.map(|error| format!("{line}: {error}")));
            if !block.mark.is_empty() && (block.language.as_str(), block.mark.as_str()) != ("sh", "run") {
                faults.push(format!("{line}: only blocks of sh can be marked, with run"));
            }
        }
        faults
    };
    let wrong = [
        ("```sh\nif true; then\n```", "syntax error"),
        ("- a\n  ```sh\n  echo 'a\n  ```", "unexpected EOF"),
        ("```console\n$ echo (\nan answer\n```", "syntax error"),
        ("```console\nan answer\n```", "nothing is typed"),
        ("```yaml\na: [\n```", "did not find"),
        ("```json\n{\n```", "EOF"),
        ("```shell\ntrue\n```", "no language"),
        ("```sh runs\ntrue\n```", "only blocks"),
    ];
    holds(check, &wrong);
}

/// The calls of testbed in a text: from its name to what ends a command.
fn calls(text: &str) -> Vec<Vec<&str>> {
    let words = text
        .lines()
        .map(|line| line.split(" #").next().unwrap_or_default())
        .flat_map(|line| line.split(['|', ';', '&', '(', ')']));
    let call = |part: &str| part.trim().trim_start_matches("$ ").starts_with("testbed ").then_some(());
    words
        .filter(|part| call(part).is_some())
        .map(|part| part.split_whitespace().skip_while(|word| *word != "testbed").skip(1).collect())
        .collect()
}

/// The commands and flags of a call that there are not.
fn unknown(call: &[&str]) -> Vec<String> {
    let mut cli = Cli::command();
    cli.build();
    let mut command = &cli;
    let mut unknown = Vec::new();
    for word in call.iter().copied() {
        if word == "--" {
            break;
        }
        let name = word.trim_matches(|c: char| "[],.…`".contains(c));
        if let Some(flag) = name.strip_prefix("--") {
            let long = flag.split('=').next().unwrap_or_default();
            if !long.is_empty()
                && !["help", "version"].contains(&long)
                && !command.get_arguments().any(|arg| arg.get_long() == Some(long))
            {
                unknown.push(format!("testbed {} has no --{long}", command.get_name()));
            }
        } else if command.has_subcommands()
            && !name.starts_with('-')
            && name.chars().all(|c| c.is_ascii_lowercase())
            && !name.is_empty()
        {
            match command.find_subcommand(name) {
                Some(inner) => command = inner,
                // Such as `testbed snapshot orders loaded`.
                None if command.get_positionals().next().is_some() => {}
                None => unknown.push(format!("testbed {} has no command {name}", command.get_name())),
            }
        }
    }
    unknown
}

#[test]
fn every_command_and_flag_exists() {
    let check = |page: &Page| {
        let mut faults = Vec::new();
        for block in page.blocks().iter().filter(|block| ["sh", "console"].contains(&block.language.as_str()))
        {
            let text = if block.language == "sh" { block.text.clone() } else { typed(&block.text) };
            faults.extend(
                calls(&text)
                    .iter()
                    .flat_map(|call| unknown(call))
                    .map(|fault| format!("{}: {fault}", block.line)),
            );
        }
        for (line, text) in page.prose() {
            let code = text.split('`').skip(1).step_by(2);
            faults.extend(
                code.flat_map(calls).flat_map(|call| unknown(&call)).map(|fault| format!("{line}: {fault}")),
            );
        }
        faults
    };
    let wrong = [
        ("```sh\ntestbed up --wiht postgres\n```", "has no --wiht"),
        ("```console\n$ true && testbed down --with postgres\n```", "testbed down has no --with"),
        ("call `testbed lock take`", "has no command take"),
        ("call `testbed history show --tail 3`", "has no --tail"),
    ];
    holds(check, &wrong);
    assert!(unknown(&["run", "--with", "postgres", "--", "pytest", "--no-such-flag"]).is_empty());
}
