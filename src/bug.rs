//! Panics, which are mistakes in testbed itself: one that happens anywhere ends the command as any other
//! failure does, with the databases removed, and is told in one line with its place.
//!
//! The message of a panic is never shown: it may hold whatever a value held, a password included.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::OnceLock;

use anyhow::anyhow;
use futures::FutureExt;
use tokio::sync::Notify;

/// Where the first panic happened.
static PLACE: OnceLock<String> = OnceLock::new();
/// Told of the first panic, on whichever thread it is.
static HAPPENED: Notify = Notify::const_new();

thread_local! {
    /// Whether a library reads just now what a stranger has said.
    static IS_APART: Cell<bool> = const { Cell::new(false) };
    /// Where it has panicked.
    static PLACE_APART: RefCell<String> = const { RefCell::new(String::new()) };
}

/// From now on no panic prints anything by itself.
pub fn watch() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic
            .location()
            .map_or_else(|| "an unknown place".to_owned(), |at| short(at.file(), at.line(), at.column()));
        if IS_APART.get() {
            PLACE_APART.set(place);
            return;
        }
        let _ = PLACE.set(place);
        HAPPENED.notify_waiters();
    }));
}

/// A place in the sources, without the folders of the machine that has built the program.
fn short(file: &str, line: u32, column: u32) -> String {
    let source =
        file.rfind("/src/").map_or(file, |at| &file[file[..at].rfind('/').map_or(0, |slash| slash + 1)..]);
    format!("{source}:{line}:{column}")
}

/// The error of a panic that has happened.
pub fn seen() -> Option<anyhow::Error> {
    PLACE.get().map(|place| anyhow!("this is a bug in testbed, please report it: panic at {place}"))
}

/// Resolves with the error of a panic that has happened, or that happens meanwhile.
async fn happened() -> anyhow::Error {
    loop {
        let mut told = pin!(HAPPENED.notified());
        // Before the look: one that happens in between is not missed.
        told.as_mut().enable();
        if let Some(error) = seen() {
            return error;
        }
        told.await;
    }
}

/// What ends a wait: what is waited for, or a panic meanwhile.
pub async fn or(awaited: impl Future<Output = anyhow::Error>) -> anyhow::Error {
    tokio::select! {
        error = happened() => error,
        error = awaited => error,
    }
}

/// Does what a library makes of a stranger's bytes. A panic there is that stranger's doing and no mistake of
/// testbed's: it ends this work and nothing else.
pub async fn apart<T>(work: impl Future<Output = T>) -> Result<T, String> {
    let mut work = pin!(AssertUnwindSafe(work).catch_unwind());
    let outcome = poll_fn(|context| {
        IS_APART.set(true);
        let polled = work.as_mut().poll(context);
        IS_APART.set(false);
        polled
    });
    outcome.await.map_err(|_| PLACE_APART.take())
}

/// Does a part of a command after which something has to be removed: a panic in it, or in whatever runs
/// beside it, is its failure.
pub async fn caught<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let work = AssertUnwindSafe(work).catch_unwind();
    tokio::select! {
        biased;
        error = happened() => Err(error),
        outcome = work => outcome.unwrap_or_else(|_| Err(seen().unwrap_or_else(|| anyhow!("a panic")))),
    }
}

/// Panics, once, where `TESTBED_TEST_PANIC` names this place, in a build for tests: with a secret in its
/// message, in the way that is named.
#[cfg(debug_assertions)]
#[track_caller]
pub fn provoke(place: &str, secret: &str) {
    let Some(wish) = crate::environment::variable("TESTBED_TEST_PANIC").filter(|_| PLACE.get().is_none())
    else {
        return;
    };
    let secret = secret.to_owned();
    match wish.strip_prefix(place) {
        Some("") => panic!("on purpose, with {secret}"),
        Some("-task") => drop(tokio::spawn(async move { panic!("on purpose, with {secret}") })),
        Some("-thread") => {
            drop(std::thread::Builder::new().spawn(move || panic!("on purpose, with {secret}")));
        }
        _ => {}
    }
}

/// Nothing in the program that people use.
#[cfg(not(debug_assertions))]
pub fn provoke(_place: &str, _secret: &str) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_library_may_panic_over_a_strangers_bytes() {
        assert_eq!(apart(async { 1 }).await, Ok(1));
        let work = async {
            tokio::task::yield_now().await;
            assert_eq!(1, 2, "on purpose");
        };
        assert!(apart(work).await.is_err() && !IS_APART.get());
    }

    #[test]
    fn a_place_is_told_without_the_folders_of_a_machine() {
        for (file, place) in [
            ("src/commands/up.rs", "src/commands/up.rs:1:2"),
            ("/home/a/registry/src/index-1/tokio-1.0.0/src/task/mod.rs", "tokio-1.0.0/src/task/mod.rs:1:2"),
            ("/rustc/abc/library/core/src/option.rs", "core/src/option.rs:1:2"),
            ("x.rs", "x.rs:1:2"),
        ] {
            assert_eq!(short(file, 1, 2), place);
        }
    }
}
