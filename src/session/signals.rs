//! The signals that ask testbed to end, or say something else, from the moment on at which somebody listens.

use std::future::poll_fn;
use std::task::Poll;

use anyhow::{Context, anyhow};
use futures::FutureExt;
use rustix::process::Signal;
use tokio::signal::unix::{SignalKind, signal};

use crate::console;
use crate::failure::{Advise, Exit};

/// The signals that say something else than to end, and that end whoever does not listen: a batch system's
/// word that time is nearly over, an alarm, a limit on processor time.
pub(super) const MESSAGES: [Signal; 8] = [
    Signal::USR1,
    Signal::USR2,
    Signal::ALARM,
    Signal::VTALARM,
    Signal::PROF,
    Signal::IO,
    Signal::POWER,
    Signal::XCPU,
];

/// The signals that testbed listens for, from the moment of its making on: none is lost between two waits.
pub(crate) struct Signals(Vec<(Signal, tokio::signal::unix::Signal)>);

impl Signals {
    /// Those that a command is told of.
    pub(crate) fn new() -> anyhow::Result<Self> {
        Self::listen(&[Signal::INT, Signal::TERM, Signal::QUIT]).context("listening for signals")
    }

    /// Listens for these, and for SIGHUP and the [`MESSAGES`] where nobody has them ignored: `nohup` does so
    /// for a program that is to outlive its terminal.
    fn listen(signals: &[Signal]) -> std::io::Result<Self> {
        let others = [Signal::HUP].into_iter().chain(MESSAGES).filter(|kind| !is_ignored(kind.as_raw()));
        let all = signals.iter().copied().chain(others);
        all.map(|kind| Ok((kind, signal(SignalKind::from_raw(kind.as_raw()))?)))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    pub(crate) async fn next(&mut self) -> Signal {
        poll_fn(|context| {
            let came = self.0.iter_mut().find_map(|(kind, signal)| {
                matches!(signal.poll_recv(context), Poll::Ready(Some(()))).then_some(*kind)
            });
            came.map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }

    /// A signal that has come already.
    pub(crate) async fn already(&mut self) -> Option<Signal> {
        // Lets the runtime look whether there is any.
        tokio::task::yield_now().await;
        self.next().now_or_never()
    }

    /// The error of a signal that has come already.
    pub(crate) async fn already_interrupted(&mut self) -> Option<anyhow::Error> {
        self.already().await.map(|signal| anyhow!("interrupted").exit(exit(signal)))
    }

    /// The error of a command that a signal has ended before there was anything to pass it on to.
    pub(crate) async fn interrupted(&mut self) -> anyhow::Error {
        anyhow!("interrupted").exit(exit(self.next().await))
    }
}

/// The exit code of what a signal ends.
fn exit(signal: Signal) -> Exit {
    if signal == Signal::INT { Exit::Interrupted } else { Exit::Terminated }
}

/// Lets a write that a limit on the size of files forbids fail, of which a program dies otherwise, with all
/// that it has started. Needs a runtime.
pub fn survive_limits_on_files() -> std::io::Result<()> {
    signal(SignalKind::from_raw(Signal::XFSZ.as_raw())).map(drop)
}

/// Whether whoever started this process has a signal ignored.
fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored =
        status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("SigIgn:")?.trim(), 16).ok());
    ignored.unwrap_or_default() >> (signal - 1) & 1 == 1
}

/// Resolves with an error when the user or the system asks the process to end: exit code 130 for SIGINT, 143
/// for SIGTERM and for SIGHUP, by which a terminal that is closed says so. Listens from the call on, and not
/// only once it is waited for: process 1 of a container gets no signal that it does not listen for.
///
/// After the first signal a second one ends the process at once.
pub(crate) fn interrupted() -> impl Future<Output = anyhow::Error> {
    let signals = Signals::listen(&[Signal::INT, Signal::TERM]);
    async move {
        let Ok(mut signals) = signals else { return std::future::pending().await };
        let exit = exit(signals.next().await);
        tokio::spawn(async move {
            while !matches!(signals.next().await, Signal::INT | Signal::TERM) {}
            std::process::exit(i32::from(exit.code()));
        });
        anyhow!("interrupted").exit(exit)
    }
}

/// Hands a result over; whoever has stopped reading can still end this.
pub(crate) async fn hand_over(text: String) -> anyhow::Result<()> {
    tokio::select! {
        done = console::hand_over(text) => done,
        error = interrupted() => Err(error),
    }
}
