//! The commands on this machine: the steps of `up`, `down`, `status` and `gc` without a cluster.

pub(super) mod down;
pub(super) mod gc;
pub(super) mod session;
pub(super) mod status;
pub(super) mod up;
