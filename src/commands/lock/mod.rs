//! `testbed lock`: turns at what runs have to share. Locks live in a cluster, whichever runtime the databases have.

mod acquire;
mod hold;
mod release;
mod replica;
mod run;
mod show;
mod which;
mod words;

use crate::cli::{Global, Lock};

/// Runs one of the four commands, and tells the exit code.
///
/// # Errors
/// What failed.
pub async fn lock(args: Lock, global: &Global) -> anyhow::Result<u8> {
    match args {
        Lock::Acquire(args) => acquire::acquire(args, global).await.map(|()| 0),
        Lock::Release(args) => release::release(args, global).await.map(|()| 0),
        Lock::Run(args) => run::run(args, global).await,
        Lock::Show(args) => show::show(args, global).await.map(|()| 0),
    }
}
