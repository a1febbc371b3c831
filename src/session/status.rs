//! `testbed status`: the runs of a namespace and their databases, as their labels and pods tell, and what
//! `up` found to prove that they were ready. Never shows a password.

use std::collections::BTreeSet;

use serde::Serialize;

use super::chosen::Chosen;
use super::{abandoned, archiving, cluster, local, which};
use crate::cli::{Global, Status, StatusFormat};
use crate::console;
use crate::deadline;
use crate::progress::Progress;
use crate::registry::{Registry, Unreadable};
use crate::run_id::brief;
use crate::state::Ready;
use crate::table::table;

#[derive(Default, Serialize)]
pub(crate) struct Row {
    #[serde(rename = "runId")]
    pub run: String,
    pub runtime: &'static str,
    pub name: String,
    pub engine: String,
    pub address: String,
    pub user: Option<String>,
    pub database: Option<String>,
    /// In a cluster: the pod.
    pub pod: Option<String>,
    /// On this machine: what serves the database, its main process and its log.
    pub server: Option<String>,
    pub process: Option<u32>,
    pub log: Option<String>,
    /// On this machine: how many fresh databases `up --pool` keeps ready.
    pub pool: Option<usize>,
    pub state: String,
    pub restarts: i32,
    pub created: Option<String>,
    pub ready: Option<Ready>,
}

/// Shows the runs, and their databases.
///
/// # Errors
/// A failed request, explained; a record that cannot be read, once the others are shown.
pub(crate) async fn status(args: Status, global: &Global, progress: &Progress) -> anyhow::Result<()> {
    let deadline = deadline::after(args.timeout);
    let registry = Registry::find().map(|registry| registry.by(deadline));
    let run_id = args.run_id.as_deref().map(|given| which::named(registry.as_ref(), given)).transpose()?;
    if let Some(registry) = &registry {
        let recorder = archiving::of_removal(&args.archiving, progress);
        abandoned::remove(registry, &recorder, args.timeout / 2, progress).await;
        recorder.finish(progress).await;
    }
    let chosen = Chosen::of(global)?;
    let (here, unreadable) = local::status::rows(registry.as_ref(), run_id.as_ref())?;
    // A run that is asked for by its id is shown wherever it is.
    let is_found_here = run_id.is_some() && !here.is_empty() && global.runtime.is_none();
    let rows = match chosen {
        Chosen::Cluster(choice) if !is_found_here => {
            cluster::status::rows(run_id.as_ref(), &choice, &args, deadline, progress).await?
        }
        Chosen::Local(why) if here.is_empty() && unreadable.is_empty() => {
            if let Some(run_id) = run_id {
                return Err(which::unknown(registry.as_ref(), &run_id, why));
            }
            progress.say(&format!("no runs on this machine ({why})"));
            here
        }
        _ => here,
    };
    match args.output {
        StatusFormat::Table => console::show(&columns(&rows, global.verbose))?,
        StatusFormat::Json => console::print(&console::json(&rows)?)?,
    }
    let mut errors = unreadable.iter().map(Unreadable::error);
    let Some(last) = errors.next() else { return Ok(()) };
    errors.for_each(|error| progress.warn_of(&error));
    Err(last)
}

fn columns(rows: &[Row], verbose: bool) -> String {
    let proof = |row: &Row| match &row.ready {
        None => "-".to_owned(),
        Some(ready) if verbose => format!("{} at {}: {}", ready.evidence, ready.at, ready.detail),
        Some(ready) => ready.evidence.clone(),
    };
    let ids: BTreeSet<&str> = rows.iter().map(|row| row.run.as_str()).collect();
    let lines = rows.iter().map(|row| {
        let Row { run, name, engine, address, pool, state, restarts, .. } = row;
        [
            if verbose { run.clone() } else { brief(run, &ids).to_owned() },
            name.clone(),
            engine.clone(),
            address.clone(),
            if pool.is_some() { format!("{state}, pool") } else { state.clone() },
            restarts.to_string(),
            proof(row),
        ]
    });
    table(["RUN", "DATABASE", "ENGINE", "ADDRESS", "STATE", "RESTARTS", "READY BY"], lines)
}
