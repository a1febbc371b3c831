//! The way out: takes somebody out of a lock's object, as a holder and as a waiter, and nobody else.

use std::sync::Arc;

use super::object::{Request, Target, Unwritten, Version, until_done};
use super::state::Lock;

#[derive(Debug)]
pub enum Released {
    Absent,
    /// It is somebody else's, or nobody's: this is how it is.
    NotOurs(Arc<Version>),
    /// It was released; this is how it was before.
    Done(Arc<Version>),
}

/// Releases the lock. `remove` takes somebody out, and tells whether there was anybody.
pub async fn release(target: &Target, remove: impl Fn(&mut Lock) -> bool) -> anyhow::Result<Released> {
    until_done(&format!("releasing {target}"), async || attempt(target, &remove).await).await
}

async fn attempt(target: &Target, remove: impl Fn(&mut Lock) -> bool) -> Result<Released, Unwritten> {
    let Some(version) = target.answer(&Request::Read).await? else { return Ok(Released::Absent) };
    let Some(removal) = removal(&version, remove) else { return Ok(Released::NotOurs(version)) };
    let written = target.answer(&removal).await?;
    if let Some(cleanup) = written.as_ref().and_then(cleanup) {
        // Somebody may have come meanwhile, or else it is a lock that nobody holds: both are well.
        let _ = target.answer(&cleanup).await;
    }
    Ok(Released::Done(version))
}

/// The request that takes somebody out of this version; `None` if they are not in it.
pub(super) fn removal(version: &Arc<Version>, remove: impl Fn(&mut Lock) -> bool) -> Option<Request> {
    let mut lock = version.lock.clone();
    remove(&mut lock).then(|| Request::Write(version.clone(), lock))
}

/// An object that testbed has made goes with the last one: in a second step, so that whoever sees it deleted
/// without the first one knows that somebody else did it.
pub(super) fn cleanup(written: &Arc<Version>) -> Option<Request> {
    (written.lock.is_unused() && written.is_ours).then(|| Request::Delete(written.clone()))
}
