//! The way out: takes somebody out of a lock's object, as a holder and as a waiter, and nobody else.

use k8s_openapi::jiff::Timestamp;

use super::object::{Target, Unwritten, Version};
use super::state::{Lock, Party};
use super::tries::until_done;

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
    take_out(target, |lock| lock.remove(&is_meant)).await
}

/// Gives one acquisition back, and no later one of the same holder.
///
/// # Errors
/// As [`release`].
pub async fn give_back(target: &Target, fence: u64) -> anyhow::Result<Released> {
    take_out(target, |lock| {
        let before = lock.holders.len();
        lock.holders.retain(|holder| holder.fence != fence);
        lock.holders.len() < before
    })
    .await
}

/// Takes out somebody who gives up; see [`Lock::withdraw`].
///
/// # Errors
/// As [`release`].
pub async fn withdraw(target: &Target, party: &Party, asked: &[(u64, Timestamp)]) -> anyhow::Result<Released> {
    take_out(target, |lock| lock.withdraw(party, asked)).await
}

/// `remove` takes somebody out, and tells whether there was anybody.
async fn take_out(target: &Target, remove: impl Fn(&mut Lock) -> bool) -> anyhow::Result<Released> {
    until_done(&format!("releasing {target}"), async || attempt(target, &remove).await).await
}

async fn attempt(target: &Target, remove: impl Fn(&mut Lock) -> bool) -> Result<Released, Unwritten> {
    let Some(version) = target.look().await? else { return Ok(Released::Absent) };
    let mut lock = version.lock.clone();
    if !remove(&mut lock) {
        return Ok(Released::NotOurs(Box::new(version)));
    }
    target.put_back(&version, &lock).await?;
    Ok(Released::Done(Box::new(version)))
}
