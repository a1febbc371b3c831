//! A change that is tried until the API server has taken it or refused it.

use anyhow::anyhow;
use tokio::time::{sleep, timeout};

use super::object::{REQUEST, Unwritten};
use crate::runtime::kubernetes::backoff::Pauses;

/// How often the API server is tried that cannot be reached: for about ten seconds.
const TRIES: u32 = 16;

/// Tries a change, which looks at the object anew each time. `action` is what is being done, such as `releasing lock db`.
pub(super) async fn until_done<T>(action: &str, change: impl AsyncFn() -> Result<T, Unwritten>) -> anyhow::Result<T> {
    let mut pauses = Pauses::default();
    let mut tries = 0;
    loop {
        let error = match timeout(REQUEST, change()).await {
            Ok(Ok(done)) => return Ok(done),
            // Somebody was faster: the next look sees what they did.
            Ok(Err(Unwritten::Conflict)) => continue,
            Ok(Err(Unwritten::Refused(error) | Unwritten::Denied(error))) => return Err(error),
            Ok(Err(Unwritten::Unclear(error))) => error,
            Err(_) => anyhow!("the API server does not answer"),
        };
        tries += 1;
        if tries == TRIES {
            return Err(error.context(action.to_owned()));
        }
        sleep(pauses.next().unwrap_or_default()).await;
    }
}
