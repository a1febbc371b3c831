//! The commands in a cluster: the steps of `up` and `run`, which differ in what they do with databases that are ready, and of `gc`; what
//! cannot become ready is told to `lock` as well.

pub(super) mod cleanup;
mod failure_report;
pub(super) mod failure_watcher;
pub(super) mod gc;
mod reach;
pub(super) mod ready;
pub(super) mod session;
pub(super) mod up;
mod wait;
pub(super) mod while_up;
