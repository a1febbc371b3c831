//! Work that may block, on a thread of its own. The system may refuse one (`ulimit -u`, a limit of the
//! container): that ends nothing by itself.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, anyhow};
use tokio::sync::oneshot;

/// Does the work, and waits for it. Where there is no thread to be had, it is done here and holds everything
/// else up: better late than never for what has to be removed, copied or written.
///
/// # Errors
/// It has panicked.
pub async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> anyhow::Result<T> {
    match start(work) {
        Ok(done) => done.await.context("working in the background"),
        Err((work, _)) => Ok(work()),
    }
}

/// The same for work that waits for another part of this process, which could not go on.
///
/// # Errors
/// There is no thread to be had, or it has panicked.
pub async fn run_aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> anyhow::Result<T> {
    match start(work) {
        Ok(done) => done.await.context("working in the background"),
        Err((_, error)) => Err(anyhow!("no thread can be started: {}", crate::failure::innermost(&error))),
    }
}

/// Starts a thread; gives the work back where that cannot be.
fn start<T: Send + 'static, W: FnOnce() -> T + Send + 'static>(
    work: W,
) -> Result<oneshot::Receiver<T>, (W, std::io::Error)> {
    let (tell, done) = oneshot::channel();
    // A thread that is not started drops what it was to do, so that this is kept on both sides.
    let given = Arc::new(Mutex::new(Some(work)));
    let taken = Arc::clone(&given);
    let take = |work: &Mutex<Option<W>>| work.lock().unwrap_or_else(PoisonError::into_inner).take();
    let thread = std::thread::Builder::new().spawn(move || {
        if let Some(work) = take(&taken) {
            let _ = tell.send(work());
        }
    });
    match (thread, given) {
        (Ok(_), _) => Ok(done),
        (Err(error), given) => match take(&given) {
            Some(work) => Err((work, error)),
            None => Ok(done),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_is_done_and_a_panic_is_an_error() {
        assert_eq!(run(|| 1).await.unwrap(), 1);
        assert_eq!(run_aside(|| 2).await.unwrap(), 2);
        let panicked = run(|| assert_eq!(1, 2, "on purpose")).await.unwrap_err();
        assert!(format!("{panicked:#}").starts_with("working in the background"), "{panicked:#}");
    }
}
