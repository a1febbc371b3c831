//! The way out: takes somebody out of a lock's object, as a holder and as a waiter, and nobody else.

use std::time::Duration;

use tokio::time::timeout;

use super::backoff::Pauses;
use super::object::{Target, Unwritten, Version};
use super::state::Party;

/// A request that takes longer is tried again.
const REQUEST: Duration = Duration::from_secs(10);
/// How often the API server is tried that cannot be reached: for about ten seconds.
const TRIES: u32 = 16;

/// What there was to release.
#[derive(Debug)]
pub enum Released {
    /// There is no lock of this name.
    Absent,
    /// It is somebody else's, or nobody's: this is how it is.
    NotOurs(Box<Version>),
    /// It was released; this is how it was before.
    Done(Box<Version>),
}

/// Releases the lock for those that `is_meant` selects.
///
/// # Errors
/// A request that was refused, or that failed again and again.
pub async fn release(target: &Target, is_meant: impl Fn(&Party) -> bool) -> anyhow::Result<Released> {
    let mut pauses = Pauses::default();
    let mut tries = 0;
    loop {
        let error = match timeout(REQUEST, attempt(target, &is_meant)).await {
            Ok(Ok(released)) => return Ok(released),
            // Somebody was faster: the next look sees what they did.
            Ok(Err(Unwritten::Conflict)) => continue,
            Ok(Err(Unwritten::Refused(error))) => return Err(error),
            Ok(Err(Unwritten::Unclear(error))) => error,
            Err(_) => anyhow::anyhow!("the API server does not answer"),
        };
        tries += 1;
        if tries == TRIES {
            return Err(error.context(format!("releasing {target}")));
        }
        tokio::time::sleep(pauses.next().unwrap_or_default()).await;
    }
}

async fn attempt(target: &Target, is_meant: impl Fn(&Party) -> bool) -> Result<Released, Unwritten> {
    let Some(version) = target.look().await? else { return Ok(Released::Absent) };
    let mut lock = version.lock.clone();
    if !lock.remove(is_meant) {
        return Ok(Released::NotOurs(Box::new(version)));
    }
    target.put_back(&version, &lock).await?;
    Ok(Released::Done(Box::new(version)))
}
