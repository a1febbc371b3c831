//! The program on a real cluster: `TESTBED_TEST_KUBECONFIG` says which. Each test has a namespace of its own.
//!
//! `make test` brings a cluster up for these; whoever has one sets the variable instead.

#[path = "../support/mod.rs"]
mod support;

#[path = "../support/tekton/mod.rs"]
mod tekton_catalog;

mod admission;
mod api;
mod audit;
mod harness;
mod pipeline_runs;
mod proxy;

mod databases;

mod attach;
mod busy;
mod cancel;
mod corpus;
mod creating;
mod credentials;
mod doctor;
mod examples;
mod failures;
mod forged;
mod forward;
mod fresh;
mod gc;
mod history;
mod image;
mod in_use;
mod kinds;
mod lock;
mod main_job;
mod mishaps;
mod platforms;
mod readiness;
mod refusals;
mod run;
mod seeds;
mod strangers;
mod teardown;
mod tekton;
mod tls;
mod yaml;
