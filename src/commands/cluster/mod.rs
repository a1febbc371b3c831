//! The commands in a cluster: the steps of `up` and `run`, which differ in what they do with databases that are ready, and of `gc`; what
//! cannot become ready is told to `lock` as well.

pub mod aftermath;
pub mod failing;
pub mod gc;
mod reach;
pub mod ready;
mod screen;
pub mod session;
pub mod up;
pub mod vigil;
mod wait;
