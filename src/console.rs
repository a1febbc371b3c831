//! Standard output and standard error: nothing else in the program writes to them.
//!
//! Whoever reads them may be gone: a pipe's other end, a terminal that was closed. That is no reason to stop,
//! least of all for a run that has to be removed, so that nothing said on standard error can fail or hold
//! anything up. And what is shown may come from anybody: an API server, a database, a log, a folder's name.
//! It is made [safe](clean) before a terminal gets it.

mod plain;
mod queue;
mod screen;
pub mod terminal;

use std::io::{ErrorKind, IsTerminal, Write};

use anyhow::Context;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::termios::tcgetwinsize;
use serde::Serialize;

use crate::background;
use crate::environment::is_set;
pub use plain::{clean, cleaned};
pub use queue::{finish, is_behind};
pub use screen::Screen;

/// Says something on standard error, as one line or as several.
pub fn say(text: &str) {
    queue::write(format!("{}\n", clean(text)));
}

/// A message in which nobody else can have begun a line: one that reads like another message of testbed's
/// own.
pub fn message(text: &str) -> String {
    clean(text).trim_end().replace('\n', "\n  ")
}

/// Whether somebody sees standard error as it is written.
pub fn is_seen() -> bool {
    Output::Messages.is_shown()
}

pub fn is_shown() -> bool {
    Output::Result.is_shown()
}

#[expect(clippy::disallowed_methods, reason = "this is the only place")]
fn is_terminal(descriptor: u8) -> bool {
    if descriptor == 1 { std::io::stdout().is_terminal() } else { std::io::stderr().is_terminal() }
}

/// How many characters a line of the terminal on standard output takes.
#[expect(clippy::disallowed_methods, reason = "this is the only place")]
pub fn width() -> Option<usize> {
    let size = tcgetwinsize(std::io::stdout()).ok()?;
    (size.ws_col > 0).then_some(size.ws_col.into())
}

/// Waits until nobody reads standard output any more, where that is a pipe.
///
/// # Errors
/// The system's reason.
#[expect(clippy::disallowed_methods, reason = "this is the only place")]
pub fn until_unread() -> std::io::Result<()> {
    let stdout = std::io::stdout();
    poll(&mut [PollFd::new(&stdout, PollFlags::empty())], None)?;
    Ok(())
}

/// Whether a terminal on standard output takes colours, and the user wants them.
pub fn is_colourful() -> bool {
    is_shown() && !is_set("NO_COLOR")
}

/// Prints a result for a program, or a text that is the user's own: byte by byte as it is, unless it goes to
/// a terminal. A reader that has gone away (`| head`) is not a failure.
pub fn print(text: &str) -> anyhow::Result<()> {
    if is_shown() { write(&clean(text)) } else { write(text) }
}

/// A value as `-o json` shows it.
pub fn json(value: &impl Serialize) -> anyhow::Result<String> {
    Ok(serde_json::to_string_pretty(value)? + "\n")
}

/// The same for a command that ends properly when it is asked to: it can give up a reader that has stopped,
/// however long the result may take.
pub async fn hand_over(text: String) -> anyhow::Result<()> {
    background::run(move || print(&text)).await?
}

/// Prints a result for people, wherever it goes.
pub fn show(text: &str) -> anyhow::Result<()> {
    write(&clean(text))
}

/// The same for a text with colours of testbed's own, in which everything else was made safe already.
pub fn show_coloured(text: &str) -> anyhow::Result<()> {
    write(text)
}

fn write(text: &str) -> anyhow::Result<()> {
    match answer(text.as_bytes()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(error).context("writing to standard output")
        }
        _ => Ok(()),
    }
}

/// Answers a program that waits for it on the other end of standard output.
pub fn answer(bytes: &[u8]) -> std::io::Result<()> {
    Output::Result.write(bytes)
}

/// Where another program's output goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// Standard output.
    Result,
    /// Standard error.
    Messages,
}

impl Output {
    /// Writes all of it, however long a reader may take.
    ///
    /// # Errors
    /// The system's reason: nobody reads it any more, for one.
    #[expect(clippy::disallowed_methods, reason = "this is the only place")]
    pub fn write(self, bytes: &[u8]) -> std::io::Result<()> {
        match self {
            Self::Result => {
                let mut stdout = std::io::stdout().lock();
                stdout.write_all(bytes)?;
                stdout.flush()
            }
            Self::Messages => std::io::stderr().lock().write_all(bytes),
        }
    }

    /// Whether a terminal shows it.
    pub fn is_shown(self) -> bool {
        is_terminal(if self == Self::Result { 1 } else { 2 })
    }
}

/// Prints what clap has to say: help and versions on standard output, usage errors on standard error.
pub fn print_usage(usage: &clap::Error) -> anyhow::Result<()> {
    let text = usage.render();
    let (coloured, is_error) = (text.ansi().to_string(), usage.use_stderr());
    let takes_colours = if is_error { is_seen() && !is_set("NO_COLOR") } else { is_colourful() };
    // What was typed is part of an error, and may itself hold what a terminal would obey.
    let shown =
        if takes_colours && has_only_colours(&coloured) { coloured } else { clean(&text.to_string()) };
    if is_error {
        queue::write(shown);
        return Ok(());
    }
    write(&shown)
}

/// Whether a terminal finds nothing to obey in a text but its colours.
fn has_only_colours(text: &str) -> bool {
    let is_colour = |code: &str| code.chars().all(|c| c.is_ascii_digit() || c == ';');
    let mut parts = text.split("\u{1b}[");
    let first = parts.next().unwrap_or_default();
    let is_clean = |part: &str| clean(part) == part;
    is_clean(first)
        && parts
            .all(|part| part.split_once('m').is_some_and(|(code, rest)| is_colour(code) && is_clean(rest)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_told_from_what_a_terminal_obeys() {
        assert!(has_only_colours("a\n") && has_only_colours("\u{1b}[1;31merror:\u{1b}[0m größe"));
        for text in ["a\u{1b}[2Jm", "\u{1b}]0;x\u{7}", "\u{1b}[31mx\u{1b}", "\u{9b}2J", "\u{1b}[0m\u{202e}"] {
            assert!(!has_only_colours(text), "{text:?}");
        }
    }
}
