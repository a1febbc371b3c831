//! The keys of `testbed.yaml`, and which commands they are for.

use anyhow::anyhow;
use clap::{Arg, ArgAction, Command};

use crate::words;

/// A key that stands for the flag of the same name.
#[derive(Debug, PartialEq, Eq)]
pub struct Key {
    /// The key, and the flag's long name.
    pub name: &'static str,
    /// The commands that it is for. Others may have a flag of that name with another meaning (`render
    /// --output`).
    pub commands: &'static [&'static str],
    /// Whether it is, or holds, a path, which is seen from the file's folder.
    pub path: Path,
}

/// What of a key's value is a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Path {
    /// Nothing.
    No,
    Whole,
    /// What comes after one of these, such as `sqlite:`; the first that fits.
    After(&'static [&'static str]),
}

impl Path {
    /// The path in a value, and what stands before it.
    pub fn of(self, value: &str) -> Option<(&'static str, &str)> {
        match self {
            Self::No => None,
            Self::Whole => Some(("", value)),
            Self::After(starts) => starts
                .iter()
                .find_map(|start| value.strip_prefix(start).map(|path| (*start, path)))
                .filter(|(_, path)| !path.is_empty()),
        }
    }
}

const CREATE: &[&str] = &["up", "run"];
const ARCHIVE: &[&str] =
    &["up", "run", "seed", "restart", "restore", "snapshot", "fork", "down", "status", "gc", "history"];
const SEEDS: &[&str] = &["up", "run", "seed", "gc"];
const WAIT: &[&str] = &["up", "run", "seed", "wait"];
const CLUSTER: &[&str] = &["up", "run", "seed", "render", "doctor", "down", "status", "gc", "history"];
/// Those that work in a cluster and nowhere else are told no runtime.
const NAMED: &[&str] = &["up", "run", "seed", "render", "doctor", "down", "status", "gc", "lock", "history"];
/// The commands that give the databases' variables the project's own names.
const NAMES: &[&str] = &["up", "run", "seed", "exec", "env"];
/// The commands that take databases, manifests and parameters.
pub const SOURCE: &[&str] = &["up", "run", "seed", "render", "doctor"];

/// The keys that stand for one flag each. One whose flag no command has is unknown.
pub const FLAGS: [Key; 20] = [
    Key { path: Path::Whole, ..key("output", CREATE) },
    Key { path: Path::After(&["tera:"]), ..key("format", CREATE) },
    key("mode", CREATE),
    key("timeout", WAIT),
    key("settle", WAIT),
    key("pull-timeout", CREATE),
    key("capacity-timeout", CREATE),
    key("on-failure", CREATE),
    key("strict", CREATE),
    key("pool", &["run", "exec"]),
    key("recursive", SOURCE),
    key("allow-none", CREATE),
    key("lifetime", SOURCE),
    key("seed-limit", SEEDS),
    key("runtime", CLUSTER),
    key("image-prefix", SOURCE),
    key("namespace", NAMED),
    key("context", NAMED),
    Key { path: Path::After(&["sqlite://", "sqlite:"]), ..key("history", ARCHIVE) },
    key("archive-timeout", ARCHIVE),
];

/// The keys that are more than a flag's value.
pub const OTHERS: [&str; 6] = ["databases", "with", "manifest", "params", "connargs", "env"];

const fn key(name: &'static str, commands: &'static [&'static str]) -> Key {
    Key { name, commands, path: Path::No }
}

impl Key {
    /// The flag of one command that this key stands for; `None` if it is not for that command.
    pub fn flag<'a>(&self, cli: &'a Command, command: &str) -> Option<&'a Arg> {
        let subcommand = cli.find_subcommand(command).filter(|_| self.commands.contains(&command))?;
        let mut args =
            subcommand.get_arguments().chain(cli.get_arguments().filter(|arg| arg.is_global_set()));
        args.find(|arg| arg.get_long() == Some(self.name))
    }

    /// The flag of the first command that has it.
    pub fn any_flag<'a>(&self, cli: &'a Command) -> Option<&'a Arg> {
        self.commands.iter().find_map(|command| self.flag(cli, command))
    }
}

/// Whether a command takes anything from the file.
pub fn are_for(cli: &Command, command: &str) -> bool {
    SOURCE.contains(&command)
        || NAMES.contains(&command)
        || FLAGS.iter().any(|key| key.flag(cli, command).is_some())
}

/// All keys that the file may have.
pub fn known(cli: &Command) -> Vec<&'static str> {
    let flags = FLAGS.iter().filter(|key| key.any_flag(cli).is_some()).map(|key| key.name);
    OTHERS.into_iter().chain(flags).collect()
}

/// A path as seen from the current folder; `-` stays what it is.
pub(super) fn below(folder: &std::path::Path, text: &str) -> String {
    if text == "-" { text.into() } else { folder.join(text).display().to_string() }
}

/// Whether the flag takes no value.
pub fn is_switch(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::SetTrue)
}

/// The error of a key that is none of the known ones: with the one that is most like it, or all of them.
pub fn unknown(key: &str, known: &[&str]) -> anyhow::Error {
    match words::nearest(key, known.iter().copied()) {
        Some(similar) => anyhow!("unknown key {key:?}; did you mean {similar:?}?"),
        None => anyhow!("unknown key {key:?}; known are {}", known.join(", ")),
    }
}
