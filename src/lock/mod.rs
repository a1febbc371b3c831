//! Locks for what runs have to share: one object of the cluster each, changed by compare-and-swap alone.
//!
//! What is decided is pure: [`state`] is what the object says, [`candidacy`] the way of one that wants the
//! lock, step by [`step`], [`holding`] what one does that has it, [`abandonment`] whether one still has it,
//! and [`watchlist`] what each has seen of the others. The model beside them plays all of it in every order.
//!
//! What is done in a cluster goes by that: [`attempt`] leads into the lock, [`keep`] renews it, and
//! [`release`] leads out. [`object`] reads and writes the object, [`pipeline_run_watch`] follows the holders'
//! PipelineRuns, and [`replicas`] the pods of a workload that is a lock.
//!
//! While a command runs under a lock, that is renewed within the [`deadlines`] of its ttl. The command's
//! processes are a [`worker`]; a second process of testbed, the [`watchdog`] that [`guard`] starts, kills
//! them in time when testbed itself cannot.

pub mod abandonment;
pub mod attempt;
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
pub mod release;
pub mod replicas;
pub mod state;
pub mod step;
pub mod terms;
pub mod watchdog;
pub mod watchlist;
pub mod worker;
