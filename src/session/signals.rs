//! The signals that ask testbed to end, or say something else, from the moment on at which somebody listens.

use std::future::poll_fn;
use std::task::Poll;

use anyhow::{Context, anyhow};
use futures::FutureExt;
use rustix::process::Signal;
use tokio::signal::unix::{SignalKind, signal};

use crate::console;
use crate::failure::{Advise, Exit};

/// The signals that ask testbed to end, from the moment of its making on: none is lost between two waits.
pub(crate) struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    hang_up: HangUp,
    quit: tokio::signal::unix::Signal,
    messages: Messages,
}

impl Signals {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let listen = |kind: SignalKind| signal(kind).context("listening for signals");
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            hang_up: HangUp::new().context("listening for signals")?,
            quit: listen(SignalKind::quit())?,
            messages: Messages::new().context("listening for signals")?,
        })
    }

    pub(crate) async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.interrupt.recv() => Signal::INT,
            _ = self.terminate.recv() => Signal::TERM,
            () = self.hang_up.next() => Signal::HUP,
            _ = self.quit.recv() => Signal::QUIT,
            signal = self.messages.next() => signal,
        }
    }

    /// The error of a signal that has come already.
    pub(crate) async fn already_interrupted(&mut self) -> Option<anyhow::Error> {
        // Lets the runtime look whether there is any.
        tokio::task::yield_now().await;
        self.interrupted().now_or_never()
    }

    /// The error of a command that a signal has ended before there was anything to pass it on to.
    pub(crate) async fn interrupted(&mut self) -> anyhow::Error {
        let exit = if self.next().await == Signal::INT { Exit::Interrupted } else { Exit::Terminated };
        anyhow!("interrupted").exit(exit)
    }
}

/// The signals that say something else than to end, and that end whoever does not listen: a batch system's word that time is nearly over, an
/// alarm, a limit on processor time.
pub(super) const MESSAGES: [Signal; 8] =
    [Signal::USR1, Signal::USR2, Signal::ALARM, Signal::VTALARM, Signal::PROF, Signal::IO, Signal::POWER, Signal::XCPU];

/// Those of [`MESSAGES`] that nobody has ignored.
pub(crate) struct Messages(Vec<(Signal, tokio::signal::unix::Signal)>);

impl Messages {
    pub(crate) fn new() -> std::io::Result<Self> {
        let heard = MESSAGES.into_iter().filter(|kind| !is_ignored(kind.as_raw()));
        heard.map(|kind| Ok((kind, signal(SignalKind::from_raw(kind.as_raw()))?))).collect::<Result<_, _>>().map(Self)
    }

    pub(crate) async fn next(&mut self) -> Signal {
        poll_fn(|context| {
            let came =
                self.0.iter_mut().find_map(|(kind, signal)| matches!(signal.poll_recv(context), Poll::Ready(Some(()))).then_some(*kind));
            came.map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }
}

/// Lets a write that a limit on the size of files forbids fail, of which a program dies otherwise, with all that it has started. Needs a runtime.
pub fn survive_limits_on_files() -> std::io::Result<()> {
    signal(SignalKind::from_raw(Signal::XFSZ.as_raw())).map(drop)
}

/// SIGHUP, which is not for a program that was started to outlive its terminal: `nohup` has it ignored.
pub(crate) struct HangUp(Option<tokio::signal::unix::Signal>);

impl HangUp {
    pub(crate) fn new() -> std::io::Result<Self> {
        let kind = SignalKind::hangup();
        if is_ignored(kind.as_raw_value()) { Ok(Self(None)) } else { signal(kind).map(|signal| Self(Some(signal))) }
    }

    pub(crate) async fn next(&mut self) {
        match &mut self.0 {
            Some(signal) => drop(signal.recv().await),
            None => std::future::pending().await,
        }
    }
}

/// Whether whoever started this process has a signal ignored.
fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("SigIgn:")?.trim(), 16).ok());
    ignored.unwrap_or_default() >> (signal - 1) & 1 == 1
}

/// Resolves with an error when the user or the system asks the process to end: exit code 130 for SIGINT, 143 for SIGTERM and for SIGHUP, by which
/// a terminal that is closed says so. Listens from the
/// call on, and not only once it is waited for: process 1 of a container gets no signal that it does not listen for.
///
/// After the first signal a second one ends the process at once.
pub(crate) fn interrupted() -> impl Future<Output = anyhow::Error> {
    let signals = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()), HangUp::new(), Messages::new());
    async move {
        let (Ok(mut interrupt), Ok(mut terminate), Ok(mut hang_up), Ok(mut messages)) = signals else {
            return std::future::pending().await;
        };
        let exit = tokio::select! {
            _ = interrupt.recv() => Exit::Interrupted,
            _ = terminate.recv() => Exit::Terminated,
            () = hang_up.next() => Exit::Terminated,
            _ = messages.next() => Exit::Terminated,
        };
        tokio::spawn(async move {
            tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
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
