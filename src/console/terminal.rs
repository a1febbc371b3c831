//! The terminal on standard input, while it is another program's: each key goes there at once, and none is shown
//! or obeyed here.

use std::io::{Read, stdin};

use anyhow::Context;
use rustix::termios::{OptionalActions, Termios, isatty, tcgetattr, tcgetwinsize, tcsetattr};
use tokio::sync::mpsc;

/// As much as is read at once.
const BLOCK: usize = 4 << 10;

/// Whether somebody types on standard input.
pub fn is_typed() -> bool {
    isatty(stdin())
}

/// The terminal's raw mode. What it was before comes back when this is dropped: at each end but SIGKILL.
pub struct Raw(Termios);

impl Raw {
    pub fn begin() -> anyhow::Result<Self> {
        let before = tcgetattr(stdin()).context("reading the terminal's mode")?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(stdin(), OptionalActions::Now, &raw).context("changing the terminal's mode")?;
        Ok(Self(before))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        // Not once all is shown: somebody may have stopped that.
        let _ = tcsetattr(stdin(), OptionalActions::Now, &self.0);
    }
}

/// Columns and lines of the terminal on standard input.
pub fn size() -> Option<(u16, u16)> {
    let size = tcgetwinsize(stdin()).ok()?;
    (size.ws_col > 0 && size.ws_row > 0).then_some((size.ws_col, size.ws_row))
}

/// What comes on standard input, until its end. It is read on a thread of its own, which nothing ends before the
/// program does.
pub fn input() -> anyhow::Result<mpsc::Receiver<Vec<u8>>> {
    let (to, from) = mpsc::channel(1);
    let read = move || {
        let mut block = [0; BLOCK];
        while let Ok(count @ 1..) = stdin().lock().read(&mut block) {
            if to.blocking_send(block[..count].to_vec()).is_err() {
                return;
            }
        }
    };
    std::thread::Builder::new().spawn(read).context("reading standard input: starting a thread")?;
    Ok(from)
}
