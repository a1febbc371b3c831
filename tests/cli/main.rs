//! The program without a cluster: what it prints, and what it refuses.

#[path = "../support/mod.rs"]
mod support;

mod bounds;
mod connection;
mod docs;
mod doctor;
mod formats;
mod help;
mod history;
mod init;
mod layers;
mod liars;
mod lock;
mod lying;
mod man;
mod manifests;
mod mistakes;
mod reading;
mod reference;
mod refusals;
mod render;
mod schema;
mod settings;
mod toolchain;
mod wait;
