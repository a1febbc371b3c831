//! The commands in a cluster: the steps of `up` and `run`, which differ in what they do with databases that are ready.

pub mod aftermath;
mod failing;
mod reach;
pub mod ready;
mod screen;
pub mod session;
pub mod up;
mod wait;
