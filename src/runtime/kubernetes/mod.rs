//! The Kubernetes runtime: one file a concern, all of them on top of [`Cluster`].

pub mod access;
pub mod attach;
pub mod autoscaler;
pub mod backoff;
pub mod clock;
mod cluster;
pub mod collect;
mod contact;
pub mod create;
pub mod diagnose;
mod disruption;
pub mod doctor;
pub mod events;
pub mod explain;
mod follow;
pub mod forward;
pub mod gc;
pub mod kinds;
pub mod list;
pub mod logs;
pub mod maker;
pub mod mark;
pub mod observe;
pub mod own;
pub mod pipeline_run;
pub mod pods;
pub mod references;
pub mod removal;
mod rules;
pub mod streams;
pub mod teardown;
pub mod timeline;
pub mod updates;

pub use cluster::{Choice, Cluster};
pub use explain::explain;

/// Who made a request, for the API server's managed fields.
pub const FIELD_MANAGER: &str = "testbed";

/// Requests that are made at the same time: each has a connection of its own.
const AT_ONCE: usize = 6;
