//! The commands in a cluster: the steps of `up` and `run`, which differ in what they do with databases that are ready, and of `gc`; what
//! cannot become ready is told to `lock` as well.

pub mod cleanup;
mod failure_report;
pub mod failure_watcher;
pub mod gc;
mod reach;
pub mod ready;
pub mod session;
pub mod up;
mod wait;
pub mod while_up;
