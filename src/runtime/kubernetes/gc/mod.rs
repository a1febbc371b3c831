//! The runs of a cluster that were left behind: [`survey`] finds all runs, [`pipeline_runs`] tells what
//! became of the PipelineRuns that they belong to, [`statements`] weighs what their objects say, [`verdict`]
//! decides, and [`removal`] removes one run.
//!
//! A run is here what a namespace has with the labels of one run id and of testbed as its manager. Objects
//! that are in no namespace, and those with another manager or none, are nobody's business here.

pub mod pipeline_runs;
pub mod removal;
pub mod statements;
pub mod survey;
pub mod verdict;
