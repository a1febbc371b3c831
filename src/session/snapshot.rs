//! `testbed snapshot`: what is in a database now is kept by a name; and those that are kept are listed and removed.

use std::path::Path;

use anyhow::anyhow;
use serde::Serialize;

use super::standing::Standing;
use super::{archiving, interrupted, local, which};
use crate::cli::{Global, Snapshot, SnapshotList, SnapshotRm, Snapshots, StatusFormat};
use crate::console;
use crate::deadline;
use crate::failure::{Advise, Exit, usage};
use crate::manifest::setup;
use crate::progress::Progress;
use crate::runtime::local::area::Area;
use crate::runtime::local::snapshot::{self, Kept};
use crate::table::table;
use crate::time::Time;
use crate::words;

/// One of those that are kept.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Row<'a> {
    name: &'a str,
    database: &'a str,
    project: &'a Path,
    engine: &'static str,
    /// What has written it.
    version: String,
    /// In bytes.
    size: u64,
    made: Time,
    /// The run that it was taken of.
    run_id: &'a str,
}

/// Takes one, lists them or removes some.
///
/// # Errors
/// A usage error about a name; why it could not be taken or removed.
pub(crate) async fn snapshot(args: Snapshot, global: &Global, progress: &Progress) -> anyhow::Result<()> {
    match (&args.command, &args.database) {
        (Some(Snapshots::List(args)), _) => list(args, global, progress),
        (Some(Snapshots::Rm(args)), _) => remove(args, global, progress).await,
        (None, None) => list(&args.listing, global, progress),
        (None, Some(_)) => take(args, global, progress).await,
    }
}

async fn take(args: Snapshot, global: &Global, progress: &Progress) -> anyhow::Result<()> {
    let run = Standing::find(&args.which, global)?;
    let (database, name) = match (&args.database, &args.name) {
        (Some(database), Some(name)) => (Some(database), name),
        (Some(database), None) if run.record.databases.iter().any(|one| one.name == *database) => {
            return Err(usage(format!("what is the snapshot of {database} to be called?")))
                .hint(format!("testbed snapshot {database} NAME"));
        }
        (Some(name), None) => (None, name),
        (None, _) => return Err(usage("which snapshot?")).hint("testbed snapshot DATABASE NAME"),
    };
    setup::snapshot(name).exit(Exit::Usage)?;
    let database = run.server_here(database.map(String::as_str), "snapshot")?;
    let recorder = archiving::open(&args.archiving)?;
    let task = local::restart::Task {
        command: "snapshot",
        database: &database,
        deadline: deadline::after(args.timeout),
        timeout: args.timeout,
        recorder: &recorder,
        progress,
    };
    let taken = local::snapshot::take(&run.record, task, name, args.replace, interrupted()).await;
    recorder.finish(progress).await;
    progress.finish();
    let kept = taken?;
    let called = format!("{kept}={name}");
    progress.say(&format!("the snapshot is kept: testbed up --from {called} starts with it"));
    Ok(())
}

fn list(args: &SnapshotList, global: &Global, progress: &Progress) -> anyhow::Result<()> {
    let project = which::project(global)?;
    let mut all = snapshot::all(&Area::open()?.snapshots());
    let count = all.len();
    all.retain(|kept| args.all || kept.snapshot.project == project);
    let rows: Vec<Row<'_>> = all.iter().map(row).collect();
    if let StatusFormat::Json = args.output {
        return console::print(&console::json(&rows)?);
    }
    if rows.is_empty() {
        progress.say("this project has no snapshot; testbed snapshot DATABASE NAME takes one");
        if count > 0 {
            progress.say(&format!("other projects have {count}: testbed snapshot --all"));
        }
    }
    let line = |row: &Row<'_>| {
        [
            row.database.to_owned(),
            row.name.to_owned(),
            row.version.clone(),
            words::size(row.size),
            format!("{} ago", words::brief(Time::now().since(row.made))),
        ]
    };
    if !args.all {
        return console::show(&table(["DATABASE", "NAME", "SERVER", "SIZE", "TAKEN"], rows.iter().map(line)));
    }
    let lines = rows.iter().map(|row| {
        let [database, name, version, size, made] = line(row);
        [database, name, version, size, made, row.project.display().to_string()]
    });
    console::show(&table(["DATABASE", "NAME", "SERVER", "SIZE", "TAKEN", "PROJECT"], lines))
}

fn row(Kept { snapshot, size }: &Kept) -> Row<'_> {
    let installed = &snapshot.installed;
    Row {
        name: &snapshot.name,
        database: &snapshot.database,
        project: &snapshot.project,
        engine: installed.engine.name(),
        version: format!("{} {}", crate::runtime::local::find::title(installed.engine), installed.version),
        size: *size,
        made: snapshot.made,
        run_id: &snapshot.run_id,
    }
}

async fn remove(args: &SnapshotRm, global: &Global, progress: &Progress) -> anyhow::Result<()> {
    let project = match &args.project {
        Some(folder) => std::path::absolute(folder)?,
        None => which::project(global)?,
    };
    let area = Area::open()?;
    let mut all = snapshot::all(&area.snapshots());
    all.retain(|kept| kept.snapshot.project == project);
    let mut chosen = Vec::new();
    for text in &args.snapshots {
        let is_meant = |kept: &&Kept| kept.snapshot.called() == *text || kept.snapshot.name == *text;
        let meant: Vec<&Kept> = all.iter().filter(is_meant).collect();
        match meant.as_slice() {
            [only] => chosen.push(&only.snapshot),
            [] => {
                let there: Vec<String> = all.iter().map(|kept| kept.snapshot.called()).collect();
                let there = if there.is_empty() { "none".to_owned() } else { there.join(", ") };
                return Err(anyhow!("this project has no snapshot {text}"))
                    .hint(format!("nothing was removed; there is {there}"));
            }
            several => {
                let called: Vec<String> = several.iter().map(|kept| kept.snapshot.called()).collect();
                return Err(usage(format!(
                    "several databases have a snapshot {text}: {}",
                    called.join(", ")
                )))
                .hint(format!("say whose: testbed snapshot rm {}", called[0]));
            }
        }
    }
    for snapshot in chosen {
        snapshot.remove(&area).await?;
        progress.say(&format!("removed the snapshot {}", snapshot.called()));
    }
    Ok(())
}
