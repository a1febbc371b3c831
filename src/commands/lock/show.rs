//! `testbed lock show`

use crate::cli::{Global, LockShow};

pub async fn show(_args: LockShow, _global: &Global) -> anyhow::Result<()> {
    anyhow::bail!("not there yet")
}
