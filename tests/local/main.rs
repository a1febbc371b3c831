//! The program on this machine: real PostgreSQL and MariaDB servers as processes, with no cluster. Every test
//! ends with the proof that nothing is left of what it has started.

#[path = "../support/mod.rs"]
mod support;

mod harness;

mod account;
mod addresses;
mod blocks;
mod cache;
mod clients;
mod completions;
mod containers;
mod credentials;
mod docs;
mod doctor;
mod elsewhere;
mod examples;
mod failures;
mod folder;
mod follow;
mod foreign;
mod forks;
mod fresh;
mod gc;
mod history;
mod in_server;
mod in_use;
mod integresql;
mod kills;
mod main_job;
mod manifests;
mod moments;
mod names;
mod output;
mod panics;
mod piped;
mod pooled;
mod ports;
mod privileges;
mod readers;
mod records;
mod restarts;
mod restores;
mod results;
mod run;
mod screens;
mod seeds;
mod set_up;
mod signals;
mod snapshots;
mod soak;
mod terminal;
mod threads;
mod tls;
mod together;
mod unreached;
mod versions;
mod victims;
mod zones;
