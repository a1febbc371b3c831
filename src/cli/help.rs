//! How the help looks, the same for all commands: the examples first, then the flags under their headings. `-h`
//! is what fits a screen, `--help` is everything.

use clap::{Arg, ArgAction, Command};

use super::{CLUSTER, GLOBAL};

/// The commands by what somebody wants to do. One that is in no group is shown below them.
const GROUPS: [(&str, &[&str]); 4] = [
    ("Databases for tests", &["run", "up", "seed", "down", "status", "init"]),
    (
        "A run that is up",
        &["exec", "connect", "env", "logs", "attach", "restart", "restore", "snapshot", "fork"],
    ),
    ("When something went wrong", &["history", "doctor", "gc"]),
    ("Servers, objects and a shell of your own", &["wait", "render", "lock", "completions", "man"]),
];

/// About the usage, the examples (what clap shows before), the flags and the rest.
const TEMPLATE: &str = "{about-with-newline}\n{usage-heading} {usage}\n\n{before-help}{all-args}{after-help}";

/// Lays out the help of a command and of all below it. What is for a cluster alone is left out where the help is
/// short and no cluster is in play.
pub fn laid_out(command: Command, is_long: bool, is_cluster: bool) -> Command {
    let groups = groups(&command);
    let usage = command.clone().render_usage().to_string().replacen("Usage: ", "", 1);
    let command = page(command, "testbed", is_long, is_cluster);
    let examples = command.get_before_help().map(ToString::to_string).unwrap_or_default();
    command
        .before_help(format!("{examples}\n\n{groups}"))
        .override_usage(usage)
        // They are in the groups.
        .mut_subcommands(|command| command.hide(true))
        .disable_help_flag(true)
        .disable_version_flag(true)
        .arg(own("help", 'h', ArgAction::Help, "Print help; --help prints all of it").global(true))
        .arg(own("version", 'V', ArgAction::Version, "Print version"))
}

fn own(name: &'static str, short: char, action: ArgAction, help: &'static str) -> Arg {
    Arg::new(name).short(short).long(name).action(action).help(help).help_heading(GLOBAL)
}

/// The commands, each with what it does.
fn groups(command: &Command) -> String {
    let known = |name: &str| GROUPS.iter().any(|(_, names)| names.contains(&name));
    let shown: Vec<&Command> = command.get_subcommands().filter(|inner| !inner.is_hide_set()).collect();
    let line = |inner: &&Command| {
        let about = inner.get_about().map(ToString::to_string).unwrap_or_default();
        format!("  {:<12} {about}", inner.get_name())
    };
    let group = |heading: &str, lines: Vec<String>| {
        (!lines.is_empty()).then(|| format!("{heading}:\n{}", lines.join("\n")))
    };
    let named = GROUPS.iter().map(|(heading, names)| {
        let found = names.iter().filter_map(|name| shown.iter().find(|inner| inner.get_name() == *name));
        (*heading, found.map(line).collect())
    });
    let others = shown.iter().filter(|inner| !known(inner.get_name())).map(line).collect();
    let groups = named.chain([("More", others)]).filter_map(|(heading, lines)| group(heading, lines));
    groups.collect::<Vec<_>>().join("\n\n")
}

/// One command's help, and those of the commands below it.
fn page(command: Command, path: &str, is_long: bool, is_cluster: bool) -> Command {
    let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let (examples, notes) = after.split_once("\n\n").unwrap_or((&after, ""));
    let hint = match is_cluster {
        true => format!("All flags: {path} --help"),
        false => format!("All flags, and those for a cluster: {path} --help"),
    };
    let is_for_clusters = |arg: &Arg| arg.get_help_heading() == Some(CLUSTER);
    let shown = |arg: Arg| {
        // The headings come in the order of the flags, those of no heading otherwise first.
        let is_under_none = arg.get_help_heading().is_none() && !arg.is_positional();
        let arg = if is_under_none { arg.help_heading("Options") } else { arg };
        let is_hidden = arg.is_hide_short_help_set() || (!is_cluster && is_for_clusters(&arg));
        arg.hide_short_help(is_hidden).hide_env(!is_long)
    };
    let mut command = command.help_template(TEMPLATE).mut_args(shown).after_help(None);
    if !examples.is_empty() {
        command = command.before_help(examples.to_owned());
    }
    match (is_long, notes) {
        (true, "") => {}
        (true, notes) => command = command.after_help(notes.to_owned()),
        (false, _) => command = command.after_help(hint),
    }
    command.mut_subcommands(|inner| {
        let path = format!("{path} {}", inner.get_name());
        page(inner, &path, is_long, is_cluster)
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::cli::Cli;

    #[test]
    fn every_command_is_in_a_group() {
        let all = Cli::command();
        let names = |(_, names): &(&str, &'static [&'static str])| names.to_vec();
        let grouped: Vec<&str> = GROUPS.iter().flat_map(names).collect();
        let shown = all.get_subcommands().filter(|command| !command.is_hide_set());
        let mut shown: Vec<&str> = shown.map(Command::get_name).collect();
        shown.retain(|name| !grouped.contains(name));
        assert!(shown.is_empty(), "{shown:?}");
        assert!(grouped.iter().all(|name| all.find_subcommand(name).is_some()), "{grouped:?}");
    }
}
