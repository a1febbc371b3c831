//! Locks for databases that runs have to share: one object of the cluster a lock, changed by compare-and-swap alone.
//!
//! [`state`] is what the object says, [`step`] what somebody does who wants the lock, and [`watchlist`] what they have seen of the others; all
//! three are pure. [`object`] reads and writes the object, [`lives`] follows the holders' [`pipeline_runs`], [`replicas`] the pods of a
//! workload that is a lock, and [`attempt`] and [`release`] lead into the lock and out of it.
//!
//! While a command runs under a lock, [`keep`] renews it within the [`deadlines`] of its ttl. The command's processes are a [`worker`]; a
//! second process of testbed, the [`watchdog`] that [`guard`] starts, kills them in time when testbed itself cannot.

pub mod abandonment;
pub mod attempt;
mod backoff;
pub mod candidacy;
pub mod clock;
pub mod deadlines;
pub mod guard;
pub mod holding;
pub mod keep;
pub mod memory;
#[cfg(test)]
mod model;
pub mod object;
pub mod pipeline_run_watch;
pub mod pipeline_runs;
pub mod release;
pub mod replicas;
pub mod state;
pub mod step;
pub mod terms;
mod tries;
pub mod watchdog;
pub mod watchlist;
pub mod worker;
