//! What somebody may have meant who types what another tool calls a thing: a tip below clap's own error, or an
//! error where clap has none.

use std::ffi::OsString;

use clap::ArgMatches;
use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::habits;
use super::parameters::Parameter;
use crate::engine::Engine;
use crate::failure::{Advise, usage};

/// What other tools call it, what it is here, and what is to be known of that.
const SUBCOMMANDS: [(&[&str], &str, &str); 22] = [
    (&["start", "create", "launch", "apply", "provision"], "testbed up", ""),
    (&["pull", "build"], "testbed up", ", and there is nothing to build or pull before it"),
    (&["rm", "remove", "delete", "destroy", "teardown"], "testbed down", ""),
    // Elsewhere it can be started again.
    (
        &["stop", "kill", "pause", "halt", "suspend"],
        "testbed down",
        ", and the data goes with it; `testbed restart` keeps that",
    ),
    (&["reset", "recreate"], "testbed down && testbed up", ""),
    (&["ls", "ps", "list", "get", "info", "port", "ports"], "testbed status", ""),
    (&["describe", "inspect"], "testbed status -o json", ""),
    (&["top", "stats"], "testbed status -o json", ", which tells the process of each server on this machine"),
    (&["url", "uri", "dsn", "vars"], "testbed env", ""),
    (
        &["port-forward", "forward", "proxy", "tunnel"],
        "testbed up --forward",
        "; `testbed exec` and `testbed connect` get to a cluster by themselves",
    ),
    (&["shell", "sh", "bash"], "testbed exec -- bash", ""),
    (&["psql", "mysql", "mariadb", "sqlite3", "client", "console"], "testbed connect", ""),
    (
        &["cp", "copy", "import", "load"],
        "testbed connect < schema.sql",
        "; files that each run begins with are `init` or `seed` of a database",
    ),
    (&["dump", "backup", "export"], "testbed exec -- pg_dump", ""),
    (&["log", "tail"], "testbed logs", ""),
    (&["events"], "testbed history show", ""),
    (&["prune", "clean", "cleanup", "purge"], "testbed gc", ""),
    (&["check", "diagnose", "validate", "verify"], "testbed doctor", ""),
    (&["template", "dry-run", "print", "config"], "testbed render", ""),
    (&["test"], "testbed run -- pytest", ""),
    (&["new", "setup", "generate"], "testbed init", ""),
    (&["version"], "testbed --version", ""),
];

/// The flags that may stand before a subcommand and take a value.
const TAKE_VALUES: [&str; 6] = ["--runtime", "--kubeconfig", "--context", "--namespace", "-n", "--settings"];

/// The same error with a tip, where somebody has typed another tool's word, or no `--` before a command.
pub(super) fn meant(mut error: clap::Error, args: &[OsString]) -> clap::Error {
    let tips: Vec<String> = match error.kind() {
        ErrorKind::InvalidSubcommand => {
            of_subcommand(&typed(&error, ContextKind::InvalidSubcommand), args).into_iter().collect()
        }
        ErrorKind::MissingRequiredArgument => of_command(args).into_iter().collect(),
        ErrorKind::UnknownArgument => {
            let typed = typed(&error, ContextKind::InvalidArg);
            // It may be testbed's or the command's.
            let habit = habits::tip(subcommand(args), &typed).map(str::to_owned);
            let tips = [habit.or_else(|| of_parameter(&typed, args)), of_command(args)];
            let tips: Vec<String> = tips.into_iter().flatten().collect();
            if tips.is_empty() { of_argument(&typed, args).into_iter().collect() } else { tips }
        }
        ErrorKind::InvalidValue | ErrorKind::ValueValidation => of_value(&error).into_iter().collect(),
        _ => Vec::new(),
    };
    if !tips.is_empty() {
        // What merely looks alike would lead astray.
        for looks in
            [ContextKind::SuggestedSubcommand, ContextKind::SuggestedArg, ContextKind::SuggestedValue]
        {
            error.remove(looks);
        }
        let tips = tips.into_iter().map(StyledStr::from).collect();
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(tips));
    }
    error
}

fn typed(error: &clap::Error, kind: ContextKind) -> String {
    match error.get(kind) {
        Some(ContextValue::String(typed)) => typed.clone(),
        _ => String::new(),
    }
}

/// The subcommand that was typed.
fn subcommand(args: &[OsString]) -> &str {
    let mut words = args.iter().skip(1).map(|arg| arg.to_str().unwrap_or_default());
    while let Some(word) = words.next() {
        if TAKE_VALUES.contains(&word) {
            words.next();
        } else if !word.starts_with('-') {
            return word;
        }
    }
    ""
}

fn of_subcommand(typed: &str, args: &[OsString]) -> Option<String> {
    let (here, besides) = match subcommand(args) {
        of if of == typed => {
            let word = typed.to_lowercase();
            let (_, here, besides) = SUBCOMMANDS.iter().find(|(words, ..)| words.contains(&word.as_str()))?;
            (*here, *besides)
        }
        "history" if ["ls", "get"].contains(&typed) => ("testbed history list", ""),
        _ => return None,
    };
    Some(format!("that is `{here}` here{besides}"))
}

/// The error of a number behind `-n`, which is another tool's word for how many. A namespace of that name can be
/// written in full.
///
/// # Errors
/// A usage error that names the flag.
pub(super) fn check_number(typed: &ArgMatches, args: &[OsString]) -> anyhow::Result<()> {
    let (command, inner) = typed.subcommand().unwrap_or(("", typed));
    check_pool(command, args)?;
    let (flag, what) = match (command, inner.subcommand_name()) {
        ("logs", _) | ("history", Some("logs")) => ("--tail", "last lines"),
        ("history", Some("list")) => ("--limit", "newest runs"),
        _ => return Ok(()),
    };
    let mut words = args.iter().filter_map(|arg| arg.to_str()).take_while(|word| *word != "--");
    while let Some(word) = words.next() {
        let value = if word == "-n" { words.next() } else { word.strip_prefix("-n") };
        if let Some(number) =
            value.map(|value| value.trim_start_matches('=')).filter(|value| value.parse::<u32>().is_ok())
        {
            return Err(usage(format!("-n is the namespace, and {number} looks like a number of {what}")))
                .hint(format!(
                    "{flag} {number} shows that many; --namespace {number} is the namespace of that name"
                ));
        }
    }
    Ok(())
}

/// The error of a number behind `--pool`, which takes one after a `=` alone: it would be a manifest or a database.
fn check_pool(command: &str, args: &[OsString]) -> anyhow::Result<()> {
    let mut words = args.iter().filter_map(|arg| arg.to_str()).take_while(|word| *word != "--");
    let next =
        words.find(|word| *word == "--pool" && ["up", "run", "exec"].contains(&command)).and(words.next());
    match next.filter(|next| *next == "auto" || next.parse::<u32>().is_ok()) {
        Some(number) => Err(usage(format!("--pool {number}: the number is read after a =")))
            .hint(format!("--pool={number}; --pool alone is auto")),
        None => Ok(()),
    }
}

/// For what belongs to one database, and for a database.
fn of_parameter(typed: &str, args: &[OsString]) -> Option<String> {
    let word = typed.strip_prefix("--")?;
    match subcommand(args) {
        "up" | "run" | "render" | "doctor" => {
            let next = args.iter().skip_while(|arg| *arg != typed).nth(1).and_then(|next| next.to_str());
            let value = next.filter(|_| ["db", "database", "engine"].contains(&word));
            match [Some(word), value].into_iter().flatten().find_map(|word| Engine::parse(word).ok()) {
                Some(engine) => Some(format!("that is `--with {engine}` here")),
                None => Parameter::meant(word).map(|parameter| format!("that is {parameter}")),
            }
        }
        command @ ("exec" | "connect" | "env" | "logs" | "restart" | "restore" | "snapshot" | "fork")
            if ["db", "database", "name", "with"].contains(&word) =>
        {
            Some(format!("a database is told by its name alone: testbed {command} orders"))
        }
        _ => None,
    }
}

fn of_argument(typed: &str, args: &[OsString]) -> Option<String> {
    match (subcommand(args), typed) {
        ("down" | "status", word) if !word.is_empty() && !word.starts_with('-') => {
            Some(format!("a run is told by its id: --run-id {word}"))
        }
        ("down", "--all") => {
            Some("`testbed status` lists the runs, each of which has a `down` of its own".into())
        }
        ("up" | "run", "-o" | "--json") => Some(
            "--format says how the config file is written, and --output where; up -o json prints the run"
                .into(),
        ),
        _ => None,
    }
}

/// For a file where a format is asked for, and for all lines where a number is.
fn of_value(error: &clap::Error) -> Option<String> {
    let value = typed(error, ContextKind::InvalidValue);
    let flag = typed(error, ContextKind::InvalidArg);
    match flag.split_whitespace().next()? {
        "--print" if value.contains(['.', '/']) => {
            Some(format!("--output {value} says where the config file goes"))
        }
        "--tail" if value.eq_ignore_ascii_case("all") || value.starts_with('-') => {
            Some(habits::ALL_LINES.into())
        }
        _ => None,
    }
}

/// For a `run` whose command has no `--` before it, and others that pass arguments on.
fn of_command(args: &[OsString]) -> Option<String> {
    let tip = match subcommand(args) {
        "run" => "the command comes after `--`, as in testbed run --with postgres -- pytest -x",
        "exec" => "the command comes after `--`, as in testbed exec -- pytest -x",
        "connect" => "the client's own arguments come after `--`, as in testbed connect -- -c 'SELECT 1'",
        _ => return None,
    };
    (!args.iter().any(|arg| arg == "--")).then(|| tip.to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::cli::Cli;

    #[test]
    fn no_word_is_a_command_of_testbeds_own() {
        let cli = Cli::command();
        for word in SUBCOMMANDS.iter().flat_map(|(words, ..)| *words) {
            assert!(cli.find_subcommand(word).is_none(), "{word}");
        }
        for (_, here, _) in SUBCOMMANDS {
            let name = here.split_whitespace().nth(1).expect("a command");
            assert!(name == "--version" || cli.find_subcommand(name).is_some(), "{here}");
        }
    }
}
