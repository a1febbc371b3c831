//! What `testbed init` reads: compose files with what they name, workflows, GitLab's file, a config file,
//! programs' settings.
//! What it writes, testbed reads.
#![no_main]

use std::path::Path;
use std::sync::LazyLock;

use clap::{Command, CommandFactory};
use libfuzzer_sys::fuzz_target;
use testbed::cli::Cli;
use testbed::init::{compose, config, gitlab, merge, settings, workflow, write};
use testbed::settings::read::read;

static FLAGS: LazyLock<Command> = LazyLock::new(Cli::command);

fuzz_target!(|data: &[u8]| {
    let Some((kind, data)) = data.split_first() else { return };
    let Some(texts) = testbed_fuzz::parts(data).map(testbed_fuzz::text).collect::<Option<Vec<_>>>() else {
        return;
    };
    let text = texts[0];
    let beside = |path: &str| {
        let at = if path == ".env" { 1 } else { 2 };
        texts.get(at).map(|text| (*text).to_owned())
    };
    let findings = match kind {
        b'c' => compose::read("compose.yaml", text, &beside),
        b'w' => workflow::read(".github/workflows/test.yml", text, &[]),
        b'g' => gitlab::read(".gitlab-ci.yml", text, &beside, &[]),
        b'e' | b'r' | b'p' | b'd' | b's' | b'j' => {
            let file = match kind {
                b'e' => ".env",
                b'r' => "config/database.yml",
                b'p' => "schema.prisma",
                b'd' => "settings.py",
                b's' => "application.yml",
                _ => "application.properties",
            };
            let Some(read) = settings::reader(file) else { return };
            Ok(read(file, text, &Default::default(), &beside))
        }
        _ => config::read("testing-databases.json", text),
    };
    let Ok(findings) = findings else { return };
    let found = merge::merge(findings.found).found;
    if found.is_empty() {
        return;
    }
    found.iter().for_each(|found| drop(write::summary(found)));
    let written = write::write(&found, None, "testbed run");
    if let Err(error) = read("testbed.yaml", &written, Path::new(""), &FLAGS) {
        panic!("what init writes is no testbed.yaml: {error:#}\n{written}");
    }
});
