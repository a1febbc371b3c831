//! The store of the history: whatever is asked of it is asked of a SQLite file and of a real PostgreSQL.

#[path = "../support/mod.rs"]
mod support;

mod harness;
mod samples;
mod server;

mod coming_back;
mod faults;
mod kills;
mod listing;
mod passwords;
mod pruning;
mod tls;
mod together;
