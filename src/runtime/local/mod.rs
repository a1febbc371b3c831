//! The local runtime: each database of the manifest as a plain server process of this machine, with no
//! cluster and no container engine.
//!
//! [`plan`](mod@plan) finds an installed server for each database; [`start`](mod@start) gives each a copy of
//! a [prepared] data folder, starts them side by side and waits until they take the tests' logins; [`remove`]
//! ends whatever runs in a run's folder and deletes it. The [registry](crate::registry) remembers what
//! exists.

pub mod account;
pub mod area;
pub mod as_made;
pub mod aside;
mod beneath;
pub mod beside;
mod copy;
mod difference;
mod extensions;
pub mod find;
pub mod follow;
pub mod fork;
pub mod logs;
mod mysql;
mod orphans;
pub mod packages;
pub mod plan;
pub mod planned;
mod postgres;
pub mod prepared;
pub mod processes;
pub(super) mod program;
pub mod removal;
pub mod remove;
pub mod restart;
mod restore;
pub mod room;
mod scram;
mod scripts;
pub mod sealed;
pub mod seeds;
mod serve;
mod shared_memory;
pub mod snapshot;
pub mod start;
pub mod taking;
mod tls;
mod zones;
