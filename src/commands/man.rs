//! `testbed man`: a manual page for each command, made of what the help says.

use std::path::Path;

use anyhow::Context;
use clap::{Command, CommandFactory};
use clap_mangen::Man;

use crate::cli::Cli;
use crate::failure::{Advise, Exit};
use crate::files;

/// Writes `testbed.1`, `testbed-up.1` and so on.
pub(super) fn write(folder: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder)
        .with_context(|| format!("making the folder {}", folder.display()))
        .exit(Exit::Usage)?;
    let mut all = Cli::command().disable_help_subcommand(true);
    all.build();
    pages(&all, folder)
}

fn pages(command: &Command, folder: &Path) -> anyhow::Result<()> {
    let mut shown = command.get_subcommands().filter(|inner| !inner.is_hide_set());
    shown.try_for_each(|inner| pages(inner, folder))?;
    // A page is the long help, and its examples keep their lines.
    let command = command.clone().mut_args(|arg| arg.hide_short_help(false));
    let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let page = Man::new(command.after_help(None));
    let path = folder.join(page.get_filename());
    let mut text = Vec::new();
    page.render(&mut text).with_context(|| format!("rendering {}", path.display()))?;
    let mut text = String::from_utf8(text)?;
    for part in after.split("\n\n").filter(|part| !part.is_empty()) {
        text.push_str(&section(part));
    }
    files::write(&path, &text, 0o644)
}

/// A paragraph of the help; a list below a heading keeps its lines.
fn section(part: &str) -> String {
    match part.split_once(":\n  ") {
        Some((heading, lines)) => {
            let lines: Vec<String> =
                lines.lines().map(|line| escaped(line.trim_start_matches("  "))).collect();
            format!(".SH {}\n.nf\n{}\n.fi\n", escaped(&heading.to_uppercase()), lines.join("\n"))
        }
        None => format!(".PP\n{}\n", part.lines().map(escaped).collect::<Vec<_>>().join("\n")),
    }
}

/// A line in which nothing means anything to roff.
fn escaped(line: &str) -> String {
    let line = line.replace('\\', "\\e").replace('-', "\\-");
    if line.starts_with(['.', '\'']) { format!("\\&{line}") } else { line }
}
