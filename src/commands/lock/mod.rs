//! `testbed lock`: turns at what runs share. Locks live in a cluster, whichever runtime the databases have.

mod acquire;
mod hold;
mod holder;
mod launch;
mod release;
mod replica;
mod run;
mod show;
mod which;
mod words;
mod work;

use std::ffi::OsString;

use crate::cli::{Global, Lock};
use crate::failure::Exit;
use crate::lock::watchdog;

/// The parts of `lock run` for which testbed calls itself, before anything else: they take nobody's flags,
/// variables or settings. `None` if the arguments are a user's.
pub(super) fn aside(args: &[OsString]) -> Option<u8> {
    match args.get(1)?.to_str()? {
        watchdog::NAME => Some(watchdog::run().unwrap_or(Exit::Usage.code())),
        launch::NAME => Some(launch::run(&args[2..])),
        _ => None,
    }
}

pub(super) async fn lock(args: Lock, global: &Global) -> anyhow::Result<u8> {
    match args {
        Lock::Acquire(args) => acquire::acquire(args, global).await.map(|()| 0),
        Lock::Release(args) => release::release(args, global).await.map(|()| 0),
        Lock::Run(args) => run::run(args, global).await,
        Lock::Show(args) => show::show(args, global).await.map(|()| 0),
    }
}
