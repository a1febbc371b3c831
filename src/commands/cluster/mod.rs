//! The commands in a cluster: the steps of `up` and `run`, which differ in what they do with databases that are ready, and of `gc`.

pub mod aftermath;
mod failing;
pub mod gc;
mod reach;
pub mod ready;
mod screen;
pub mod session;
pub mod up;
mod wait;
