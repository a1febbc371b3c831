//! The program without a cluster: what it prints, and what it refuses.

#[path = "../support/mod.rs"]
mod support;

mod connection;
mod formats;
mod refusals;
mod render;
mod wait;
