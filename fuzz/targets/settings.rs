//! `testbed.yaml`: whatever it says, no error shows a parameter's value.
#![no_main]

use std::path::Path;
use std::sync::LazyLock;

use clap::{Command, CommandFactory};
use libfuzzer_sys::fuzz_target;
use testbed::cli::Cli;
use testbed::settings::read::read;
use testbed_fuzz::SECRET;

static FLAGS: LazyLock<Command> = LazyLock::new(Cli::command);

fuzz_target!(|data: &[u8]| {
    let Some(text) = testbed_fuzz::text(data) else { return };
    let _ = read("testbed.yaml", text, Path::new("project"), &FLAGS);
    let with_secret = format!("params: {{quiet: {SECRET}}}\nconnargs: {{password: {SECRET}}}\n{text}");
    if let Err(error) = read("testbed.yaml", &with_secret, Path::new("project"), &FLAGS) {
        assert!(!format!("{error:#}").contains(SECRET), "{error:#}");
    }
});
