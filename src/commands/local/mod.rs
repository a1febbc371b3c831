//! The commands on this machine: the steps of `up`, `down`, `status` and `gc` without a cluster.

pub mod down;
pub mod gc;
pub mod session;
pub mod status;
pub mod up;
