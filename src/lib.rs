//! testbed gives integration tests real, throw-away databases.
//!
//! A run goes through one pipeline: [`cli`] takes the command line as typed, and the project's [`settings`]
//! fill what was not; [`manifest`] renders the templates, parses them into objects and stamps the run's
//! labels on; [`database`] finds the databases among the objects; [`runtime`] starts their servers, in a
//! cluster or on this machine; [`probe`] decides when a server in a cluster is ready, and knows no
//! Kubernetes; [`output`] writes the config file, last and in one step. A teardown needs nothing but the
//! [`run_id`]; the [`registry`] knows the runs of this machine, and the [`history`] what became of those that
//! are gone. [`commands`] holds one short function a command that lists these steps; [`reading`] is how files
//! are read, with a bound, [`template`] what manifests and config files of the user's own format have in
//! common, [`trust`] says whose certificates count, [`authority`] makes those of servers with TLS, and
//! [`postgres`] bounds what a PostgreSQL server may send. The [`pool`] hands out fresh databases to the tests of a
//! command. The [`console`] alone writes to standard output and
//! standard error, [`bug`] sees to it that a panic ends a run like any other failure, and [`background`] does
//! what may block. Apart from all that, [`init`] reads what a project says about its databases already, and
//! [`doctor`] is what a look ahead finds, in either runtime.

// Output has one place, which survives the end of its reader.
#![deny(clippy::print_stdout, clippy::print_stderr)]
// What a folder keeps to itself says so.
#![warn(unreachable_pub)]

pub mod authority;
pub mod background;
pub mod bug;
pub mod cli;
pub mod commands;
pub mod console;
pub mod database;
pub mod deadline;
pub mod doctor;
pub mod engine;
pub mod environment;
pub mod failure;
pub mod files;
pub mod history;
pub mod init;
pub mod location;
pub mod lock;
pub mod manifest;
pub mod output;
pub mod pool;
pub mod ports;
pub mod postgres;
pub mod probe;
pub mod process;
pub mod progress;
pub mod reading;
pub mod recorder;
pub mod redact;
pub mod registry;
pub mod run_id;
pub mod runtime;
pub mod session;
pub mod settings;
pub mod state;
pub mod table;
pub mod template;
pub mod time;
pub mod trust;
pub mod words;
pub mod yaml;
