//! What fits the command line that somebody is typing: the flags, and what there is on this machine. Each shell
//! has a script of its own, which asks testbed with every press of the key.
//!
//! The answer has to come at once, and nothing else may: no error, and no wait for a folder that does not answer.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::sync::mpsc;
use std::time::Duration;

use clap::builder::ValueHint;
use clap::{Arg, Command, CommandFactory};
use clap_complete::Shell;
use clap_complete::engine::{ArgValueCandidates, CompletionCandidate, complete};
use tokio::runtime;

use crate::cli::Cli;
use crate::console;
use crate::database::Engine;
use crate::environment::variable;
use crate::history::place::Place;
use crate::history::query::Filter;
use crate::history::store::Store;
use crate::registry::{Record, Registry};
use crate::runtime::local::area;
use crate::runtime::local::find::{Finder, title};
use crate::runtime::local::snapshot::{self, Kept};
use crate::words;

/// The command by which the scripts ask: `testbed __complete values|described WORDS...`, the last word being the
/// one that is typed.
pub(super) const NAME: &str = "__complete";

/// How long an answer may take. Without one, nothing is offered.
const WITHIN: Duration = Duration::from_millis(45);

/// How many runs of the past are offered.
const RUNS: usize = 50;

/// The script for a shell.
pub(super) fn script(shell: Shell) -> anyhow::Result<()> {
    let own = match shell {
        Shell::Bash => include_str!("testbed.bash"),
        Shell::Zsh => include_str!("testbed.zsh"),
        Shell::Fish => include_str!("testbed.fish"),
        // They get the flags alone.
        _ => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "testbed", &mut script);
            return console::print(&String::from_utf8(script)?);
        }
    };
    console::print(own)
}

/// Prints what fits, one a line, and with what it is behind a tab where that is wanted.
pub(super) fn answer(args: &[OsString]) -> u8 {
    let Some((how, words)) = args.split_first() else { return 0 };
    let (is_described, words) = (how == "described", words.to_vec());
    let (sender, receiver) = mpsc::channel();
    // Whatever it waits for ends with the process.
    let asked = std::thread::Builder::new().spawn(move || {
        let _ = sender.send(fitting(words, is_described));
    });
    if asked.is_ok()
        && let Ok(text) = receiver.recv_timeout(WITHIN)
    {
        let _ = console::answer(text.as_bytes());
    }
    0
}

fn fitting(words: Vec<OsString>, is_described: bool) -> String {
    let last = words.len();
    let is_flag = words.last().is_some_and(|word| word.as_encoded_bytes().starts_with(b"-"));
    let mut words: Vec<OsString> = [OsString::from("testbed")].into_iter().chain(words).collect();
    // Of a flag that is merely begun the long names are shown.
    if words[last] == "-" {
        words[last] = "--".into();
    }
    let here = std::env::current_dir().ok();
    let mut command = offering(Cli::command());
    let found = complete(&mut command, words, last, here.as_deref()).unwrap_or_default();
    let is_wanted = |candidate: &CompletionCandidate| {
        let value = candidate.get_value().as_encoded_bytes();
        is_flag || !value.starts_with(b"-")
    };
    // Flags are for those who begin one, unless there is nothing else.
    let values: Vec<&CompletionCandidate> = found.iter().filter(|found| is_wanted(found)).collect();
    let shown = if values.is_empty() { found.iter().collect() } else { values };
    shown.into_iter().map(|candidate| line(candidate, is_described)).collect()
}

fn line(candidate: &CompletionCandidate, is_described: bool) -> String {
    let one_line = |text: &str| console::clean(text).replace(['\n', '\t'], " ");
    let value = one_line(&candidate.get_value().to_string_lossy());
    match candidate.get_help() {
        Some(help) if is_described => format!("{value}\t{}\n", one_line(&help.to_string())),
        _ if is_described => format!("{value}\t\n"),
        _ => format!("{value}\n"),
    }
}

/// The commands with what their flags and arguments may be on this machine.
fn offering(command: Command) -> Command {
    let is_about_the_past =
        command.get_name() == "history" || command.get_name() == "logs" || command.get_name() == "show";
    let is_with_database = command.get_name() != "restore";
    let offer = |arg: Arg| {
        let id = arg.get_id().as_str().to_owned();
        match id.as_str() {
            "with" => arg.add(ArgValueCandidates::new(engines)),
            "engine" => {
                arg.add(ArgValueCandidates::new(|| ENGINES.map(|engine| engine.name().into()).into()))
            }
            "run_id" => arg.add(ArgValueCandidates::new(|| ids(&records()))),
            "run" if is_about_the_past => arg.add(ArgValueCandidates::new(past)),
            "database" | "databases" => arg.add(ArgValueCandidates::new(databases)),
            // Of a database that is named elsewhere, or with it.
            "from" => arg.add(ArgValueCandidates::new(move || snapshots(is_with_database))),
            "snapshots" => arg.add(ArgValueCandidates::new(|| snapshots(true))),
            "settings" | "manifests" | "filenames" => arg.value_hint(ValueHint::AnyPath),
            _ => arg,
        }
    };
    command.mut_args(offer).mut_subcommands(offering)
}

const ENGINES: [Engine; 4] = [Engine::Postgres, Engine::Mysql, Engine::Mariadb, Engine::Sqlite];

/// The engines, and the versions that are installed.
fn engines() -> Vec<CompletionCandidate> {
    let mut finder = Finder::new(&area::cache().unwrap_or_default());
    let runtime = runtime::Builder::new_current_thread().enable_all().build().ok();
    let mut installed = |engine| Some(runtime.as_ref()?.block_on(finder.installed(engine)));
    let found =
        [Engine::Postgres, Engine::Mysql].map(|engine| installed(engine).unwrap_or_default()).concat();
    let mut offered: Vec<CompletionCandidate> = ENGINES
        .iter()
        .map(|engine| CompletionCandidate::new(engine.name()).help(Some(title(*engine).into())))
        .collect();
    let mut series = BTreeSet::new();
    for installed in &found {
        let name = format!("{}:{}", installed.engine, installed.version.series(installed.engine));
        if series.insert(name.clone()) {
            offered.push(CompletionCandidate::new(name).help(Some(installed.to_string().into())));
        }
    }
    offered
}

fn records() -> Vec<Record> {
    Registry::find()
        .and_then(|registry| registry.records().ok())
        .map(|(records, _)| records)
        .unwrap_or_default()
}

fn names(record: &Record) -> Vec<String> {
    match record.local() {
        Some(local) => local.servers.iter().map(|server| server.name.clone()).collect(),
        None => record.databases.iter().map(|database| database.name.clone()).collect(),
    }
}

fn ids(records: &[Record]) -> Vec<CompletionCandidate> {
    let offer = |record: &Record| {
        CompletionCandidate::new(&record.run_id).help(Some(names(record).join(", ").into()))
    };
    records.iter().rev().map(offer).collect()
}

/// The databases of the runs that this folder has made, else of all.
fn databases() -> Vec<CompletionCandidate> {
    let here = std::env::current_dir().unwrap_or_default();
    let records = records();
    let is_ours = |record: &&Record| here.starts_with(&record.called_in);
    let ours: Vec<&Record> = records.iter().filter(is_ours).collect();
    let chosen = if ours.is_empty() { records.iter().collect() } else { ours };
    let names: BTreeSet<String> = chosen.into_iter().flat_map(names).collect();
    names.into_iter().map(CompletionCandidate::new).collect()
}

/// The snapshots of the projects that this folder is in, alone or with their databases' names.
fn snapshots(is_with_database: bool) -> Vec<CompletionCandidate> {
    let here = std::env::current_dir().unwrap_or_default();
    let Some(folder) = area::snapshots() else { return Vec::new() };
    let mut all = snapshot::all(&folder);
    all.retain(|kept| here.starts_with(&kept.snapshot.project));
    let offer = |Kept { snapshot, size }: &Kept| {
        let name = if is_with_database { snapshot.called() } else { snapshot.name.clone() };
        let help = format!("{} of {}", snapshot.installed, words::size(*size));
        CompletionCandidate::new(name).help(Some(help.into()))
    };
    all.iter().map(offer).collect()
}

/// The file in which the history is: as the variable says, else the usual one. A press of the Tab key asks no server,
/// and reading the project's settings would take half of the time that there is.
fn kept() -> Option<Place> {
    let place = Place::named(variable("TESTBED_HISTORY").as_deref()).ok()?.unwrap_or_else(Place::usual)?;
    matches!(place, Place::Sqlite(_)).then_some(place)
}

/// The runs of this machine, and those that the history has.
fn past() -> Vec<CompletionCandidate> {
    let mut offered = ids(&records());
    let known: BTreeSet<OsString> = offered.iter().map(|found| found.get_value().to_owned()).collect();
    let asked = runtime::Builder::new_current_thread().enable_all().build().ok().and_then(|runtime| {
        runtime.block_on(async {
            let store = Store::open_to_read(&kept()?).await.ok()??;
            store.list(&Filter::default(), None, RUNS).await.ok()
        })
    });
    let mut seen = known;
    for run in asked.unwrap_or_default() {
        if seen.insert(run.run_id.clone().into()) {
            let text = format!("{} {}", run.status.name(), run.engines.join(", "));
            offered.push(CompletionCandidate::new(run.run_id).help(Some(text.into())));
        }
    }
    offered
}
