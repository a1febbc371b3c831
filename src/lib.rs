//! testbed gives integration tests real, throw-away databases.
//!
//! A run goes through one pipeline: [`cli`] takes the command line as typed, and the project's [`settings`] fill what was not;
//! [`manifest`] renders the templates, parses them into objects and stamps the run's labels on; [`database`] finds the databases among
//! the objects; [`runtime`] creates the objects, watches them and reaches their servers; [`probe`] decides when a server is ready, and
//! knows no Kubernetes; [`output`] writes the config file, last and in one step. A teardown needs nothing but the [`run_id`].
//! [`commands`] holds one short function a command that lists these steps. Apart from all that, [`init`] reads what a project says
//! about its databases already.

pub mod cli;
pub mod commands;
pub mod database;
pub mod failure;
pub mod init;
pub mod manifest;
pub mod output;
pub mod probe;
pub mod progress;
pub mod redact;
pub mod run_id;
pub mod runtime;
pub mod settings;
pub mod state;
pub mod yaml;
