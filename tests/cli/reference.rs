//! The pages of the reference that are generated: what the program's own tables say. `INSTA_UPDATE=always`
//! writes them anew.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::{Arg, ArgAction, Command, CommandFactory};
use testbed::cli::Cli;
use testbed::settings::keys;

use crate::support::pages::root;

/// Compares a file with what it has to be, or writes it.
pub fn hold(file: &str, wanted: &str) {
    let path: PathBuf = root().join(file);
    if std::env::var("INSTA_UPDATE").is_ok_and(|update| update == "always") {
        std::fs::write(&path, wanted).unwrap_or_else(|error| panic!("{file}: {error}"));
    }
    let there = std::fs::read_to_string(&path).unwrap_or_default();
    let line = there
        .lines()
        .zip(wanted.lines())
        .position(|(one, other)| one != other)
        .unwrap_or_else(|| there.lines().count());
    let [is, should] = [&there, wanted].map(|text| text.lines().nth(line).unwrap_or_default());
    assert!(
        there == wanted,
        "{file} is not what the program says, from line {}: {is:?}, not {should:?}; INSTA_UPDATE=always writes it",
        line + 1
    );
}

/// A text in one line, in which nothing means anything to Markdown but code.
fn plain(text: &str) -> String {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    text.replace('<', "&lt;").replace('*', "\\*")
}

fn code(text: &str) -> String {
    format!("`{text}`")
}

/// How a flag or an argument is typed.
fn name(arg: &Arg) -> String {
    let value =
        arg.get_value_names().and_then(|names| names.first()).map(ToString::to_string).unwrap_or_default();
    let takes_value = matches!(arg.get_action(), ArgAction::Set | ArgAction::Append);
    let Some(long) = arg.get_long() else { return code(&value) };
    let short = arg.get_short().map(|short| format!("-{short}, ")).unwrap_or_default();
    code(&format!("{short}--{long}{}", if takes_value { format!(" {value}") } else { String::new() }))
}

/// What a flag says, its values and its default.
fn says(arg: &Arg) -> String {
    let mut text =
        plain(&arg.get_long_help().or(arg.get_help()).map(ToString::to_string).unwrap_or_default());
    let takes_value = matches!(arg.get_action(), ArgAction::Set | ArgAction::Append);
    let possible = arg.get_possible_values();
    if takes_value && !possible.is_empty() {
        let values: Vec<String> = possible
            .iter()
            .filter(|value| !value.is_hide_set())
            .map(|value| code(value.get_name()))
            .collect();
        let _ = write!(text, "; one of {}", values.join(", "));
    }
    let defaults: Vec<String> =
        arg.get_default_values().iter().map(|value| code(&value.to_string_lossy())).collect();
    if takes_value && !defaults.is_empty() {
        let _ = write!(text, " [default: {}]", defaults.join(", "));
    }
    text
}

/// The flags, one an item: what is wide goes in no table.
fn list(text: &mut String, args: &[&Arg]) {
    for arg in args {
        let variable =
            arg.get_env().map(|name| format!(" ({})", code(&name.to_string_lossy()))).unwrap_or_default();
        let _ = writeln!(text, "- {}{variable}: {}", name(arg), says(arg));
    }
}

/// Flags that are not everybody's, nor clap's own.
fn own<'a>(command: &'a Command, above: &[&str]) -> Vec<&'a Arg> {
    let is_own = |arg: &&Arg| {
        !arg.is_hide_set()
            && !["help", "version"].contains(&arg.get_id().as_str())
            && !above.contains(&arg.get_id().as_str())
    };
    command.get_arguments().filter(is_own).collect()
}

fn describe(text: &mut String, command: &Command, path: &str, above: &[&str]) {
    let _ = writeln!(
        text,
        "\n## {path}\n\n{}",
        plain(&command.get_long_about().or(command.get_about()).map(ToString::to_string).unwrap_or_default())
    );
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ").split_whitespace().collect::<Vec<_>>().join(" ");
    let _ = writeln!(text, "\n```text\n{usage}\n```");
    let args = own(command, above);
    if !args.is_empty() {
        text.push('\n');
        list(text, &args);
    }
    if let Some(after) = command.get_after_help() {
        let _ = writeln!(text, "\n```text\n{}\n```", after.to_string().trim_end());
    }
    let mut above = above.to_vec();
    above.extend(args.iter().filter(|arg| arg.is_global_set()).map(|arg| arg.get_id().as_str()));
    for inner in command.get_subcommands().filter(|inner| inner.get_name() != "help") {
        describe(text, inner, &format!("{path} {}", inner.get_name()), &above);
    }
}

#[test]
fn the_page_of_flags_is_what_clap_says() {
    let mut cli = Cli::command();
    cli.build();
    let mut text = String::from(
        "<!-- generated from src/cli.rs: INSTA_UPDATE=always cargo nextest run --test cli reference -->\n\n# Flags\n\n\
         All commands and their flags, as `--help` tells them. [Commands](commands.md) is the overview.\n\nA flag wins over its variable, the \
         variable over `testbed.yaml`, the file over the default. An empty variable is the same as none. Several values in a variable are \
         separated as on the command line: by commas, those of `TESTBED_PARAM` and `TESTBED_CONNARG` by line breaks.\n\n## testbed\n\n\
         Every command takes these:\n\n",
    );
    let global: Vec<&Arg> = own(&cli, &[]);
    list(&mut text, &global);
    let above: Vec<&str> = global.iter().map(|arg| arg.get_id().as_str()).collect();
    for command in cli.get_subcommands().filter(|command| command.get_name() != "help") {
        describe(&mut text, command, &format!("testbed {}", command.get_name()), &above);
    }
    hold("docs/src/reference/flags.md", &text);
    // Nothing is left out.
    fn count(command: &Command) -> usize {
        1 + command.get_subcommands().filter(|inner| inner.get_name() != "help").map(count).sum::<usize>()
    }
    assert_eq!(text.matches("\n## testbed").count(), count(&cli));
}

#[test]
fn the_list_of_keys_is_what_the_parser_knows() {
    let cli = Cli::command();
    let mut list = String::from("\n");
    for key in &keys::FLAGS {
        let arg = key.any_flag(&cli).unwrap_or_else(|| panic!("{} has no flag", key.name));
        let commands: Vec<String> = key
            .commands
            .iter()
            .filter(|command| key.flag(&cli, command).is_some())
            .map(|name| code(name))
            .collect();
        let _ = writeln!(list, "- {} (for {}): {}", code(key.name), commands.join(", "), says(arg));
    }
    list.push('\n');
    const FILE: &str = "docs/src/reference/settings.md";
    let there = std::fs::read_to_string(root().join(FILE)).expect("the page");
    let (before, rest) = there.split_once("<!-- generated: keys -->\n").expect("where the list begins");
    let (_, after) = rest.split_once("<!-- end of generated -->\n").expect("where the list ends");
    hold(FILE, &format!("{before}<!-- generated: keys -->\n{list}<!-- end of generated -->\n{after}"));
}
