//! `testbed lock run`

use crate::cli::{Global, LockRun};

pub async fn run(_args: LockRun, _global: &Global) -> anyhow::Result<u8> {
    anyhow::bail!("not there yet")
}
