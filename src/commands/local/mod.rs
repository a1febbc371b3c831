//! The commands on this machine: the steps of `up`, `down` and `status` without a cluster.

pub mod down;
pub mod session;
pub mod status;
pub mod up;
