//! `testbed logs`: what the servers of a run that is there write, now and from now on, wherever they are.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::{cluster, ended, interrupted, which};
use crate::background;
use crate::cli::{Global, Logs, LogsFormat};
use crate::console::{self, Output};
use crate::failure::{Advise, usage};
use crate::location::Location;
use crate::progress::Progress;
use crate::registry::{LocalRun, Record, Registry};
use crate::run_id::RunId;
use crate::runtime::kubernetes::{collect, streams};
use crate::runtime::local::{follow, logs};

/// The colours of names, as docker compose has them.
const COLOURS: [u8; 6] = [36, 33, 32, 35, 34, 31];

/// Shows the logs until there is no more of them to come, or until somebody ends that. Tells the exit code.
///
/// # Errors
/// There is no such run or database; what keeps the logs from being read; Ctrl-C where nothing is followed.
pub(crate) async fn logs(args: Logs, global: &Global, progress: &Progress) -> anyhow::Result<u8> {
    let registry = Registry::find();
    let record = which::in_use(registry.as_ref(), global, args.which.run_id.as_deref())?;
    let work = async {
        match (record.local(), record.location()) {
            (Some(local), _) => of_this_machine(&args, &record, local).await,
            (None, Some(location)) => of_cluster(&args, &record, location, global, progress).await,
            (None, None) => Ok(()),
        }
    };
    let shown = tokio::select! {
        shown = work => shown,
        error = interrupted() => Err(error),
    };
    match shown {
        // Whoever has stopped reading wants no more.
        Err(error) if error.is::<Gone>() => Ok(0),
        Err(error) if args.follow => ended(error),
        shown => shown.map(|()| 0),
    }
}

async fn of_this_machine(args: &Logs, record: &Record, local: &LocalRun) -> anyhow::Result<()> {
    let all: Vec<(String, PathBuf)> =
        logs::of(local).into_iter().map(|(name, path)| (name.to_owned(), path.to_owned())).collect();
    all.iter().try_for_each(|(_, path)| local.check(&record.run_id, path))?;
    let names: Vec<&str> = all.iter().map(|(name, _)| name.as_str()).collect();
    let chosen = choose(args, record, &names)?;
    let paths: Vec<&Path> = chosen.iter().map(|index| all[*index].1.as_path()).collect();
    let shown = Shown::new(args, chosen.iter().map(|index| names[*index]));
    let redactor = local.redactor(&record.run_id);
    let give = async |number, lines| shown.give(number, lines).await;
    follow::follow(&local.data, &paths, &redactor, args.tail, args.follow, give).await
}

async fn of_cluster(
    args: &Logs,
    record: &Record,
    location: &Location,
    global: &Global,
    progress: &Progress,
) -> anyhow::Result<()> {
    let cluster = cluster::standing::cluster(location, global).await?;
    let run_id = RunId::parse(&record.run_id)?;
    let found = collect::to_follow(&cluster, &run_id, cluster::standing::TIMEOUT).await?;
    found.notes.iter().for_each(|note| progress.say(&format!("note: {note}")));
    let names: Vec<&str> = found.logs.iter().map(|log| log.name.as_str()).collect();
    let chosen = choose(args, record, &names)?;
    let shown = Shown::new(args, chosen.iter().map(|index| names[*index]));
    let give = async |number, lines| shown.give(number, lines).await;
    let logs: Vec<_> = chosen.iter().map(|index| &found.logs[*index]).collect();
    streams::follow(&cluster, run_id, &logs, &found.redactor, args.tail, args.follow, give).await
}

/// Those that are asked for, by their numbers.
fn choose(args: &Logs, record: &Record, names: &[&str]) -> anyhow::Result<Vec<usize>> {
    let run_id = &record.run_id;
    if names.is_empty() {
        return Err(usage(format!("run {run_id} has no server that writes a log")));
    }
    if let Some(unknown) = args.databases.iter().find(|name| !names.contains(&name.as_str())) {
        return Err(usage(format!("run {run_id} has no log of {unknown}")))
            .hint(format!("it has those of {}", names.join(", ")));
    }
    let is_wanted =
        |name: &str| args.databases.is_empty() || args.databases.iter().any(|wanted| wanted == name);
    Ok((0..names.len()).filter(|index| is_wanted(names[*index])).collect())
}

/// Nobody reads what is shown any more.
#[derive(Debug)]
pub(super) struct Gone;

impl std::fmt::Display for Gone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("nobody reads the logs any more")
    }
}

impl std::error::Error for Gone {}

/// How lines are shown.
pub(super) struct Shown {
    names: Vec<String>,
    output: LogsFormat,
}

impl Shown {
    fn new<'n>(args: &Logs, names: impl Iterator<Item = &'n str>) -> Self {
        Self { names: names.map(str::to_owned).collect(), output: args.output }
    }

    /// Plain lines of the only one.
    pub(super) fn of_one(name: String) -> Self {
        Self { names: vec![name], output: LogsFormat::Text }
    }

    /// Shows lines of one of the logs.
    async fn give(&self, number: usize, lines: Vec<String>) -> anyhow::Result<()> {
        self.give_to(Output::Result, number, lines).await
    }

    /// The same where they belong. They may be a stranger's, and are made safe for a terminal.
    pub(super) async fn give_to(&self, to: Output, number: usize, lines: Vec<String>) -> anyhow::Result<()> {
        let text: String = lines.iter().map(|line| self.line(to, number, line) + "\n").collect();
        match background::run(move || to.write(text.as_bytes())).await? {
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Err(Gone.into()),
            written => Ok(written?),
        }
    }

    fn line(&self, to: Output, number: usize, line: &str) -> String {
        let name = &self.names[number];
        if self.output == LogsFormat::Json {
            return json!({"database": name, "line": line}).to_string();
        }
        let line = if to.is_shown() { console::clean(line) } else { line.to_owned() };
        if self.names.len() == 1 {
            return line;
        }
        let width = self.names.iter().map(|name| name.chars().count()).max().unwrap_or_default();
        if console::is_colourful() {
            let colour = COLOURS[number % COLOURS.len()];
            return format!("\u{1b}[{colour}m{name:<width$} |\u{1b}[0m {line}");
        }
        format!("{name:<width$} | {line}")
    }
}
