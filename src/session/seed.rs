//! `testbed seed`: makes the seeds of a project ahead, or shows what is kept of them and why it was made, or will
//! be made, anew.

use std::time::Duration;

use serde::Serialize;

use super::chosen::Chosen;
use super::config::Config;
use super::plan::Plan;
use super::{run, which};
use crate::cli::{Global, Pooling, Run, Seed, SeedFormat};
use crate::console;
use crate::failure::{Advise, usage};
use crate::progress::Progress;
use crate::runtime::local::area::{self, Area};
use crate::runtime::local::plan::{self as local, Wishes};
use crate::runtime::local::prepared::{self, Kept};
use crate::runtime::local::room::{self, BY_REFERENCE};
use crate::runtime::local::seeds;
use crate::table::table;
use crate::time::Time;
use crate::words;

/// One step of one database's seed.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    database: String,
    step: usize,
    steps: usize,
    is_cached: bool,
    /// In bytes, with the copies that are kept ready.
    size: Option<u64>,
    made: Option<Time>,
    used: Option<Time>,
    /// How long it took, in milliseconds.
    took: Option<u64>,
    /// Why it was made, or will be.
    because: Vec<String>,
    /// Whether the copies of runs share blocks with it.
    is_copied_by_reference: bool,
    /// Why they do not.
    why_not: Option<String>,
}

/// Makes what is not there yet, or shows what there is.
///
/// # Errors
/// As for `testbed run`.
pub(crate) async fn seed(args: Seed, global: &Global, progress: &Progress) -> anyhow::Result<u8> {
    if let Chosen::Cluster(_) = Chosen::of(global)? {
        return Err(usage(
            "seeds are kept on this machine alone: in a cluster testbed up and run put a seed in, once in each run",
        ))
        .hint("--runtime local makes and shows those of this machine");
    }
    if args.show {
        return show(&args, global, progress).await.map(|()| 0);
    }
    // The servers that make them are those of a run.
    let run_args = Run {
        making: args.making,
        pooling: Pooling { pool: None },
        keep_on_failure: false,
        command: vec!["true".into()],
    };
    run(run_args, global, progress).await
}

async fn show(args: &Seed, global: &Global, progress: &Progress) -> anyhow::Result<()> {
    let mut plan = Plan::make(&args.making.source, false)?;
    let mut config = Config::for_run(&args.making)?;
    config.check(&plan, progress)?;
    config.tell_seeds(&mut plan);
    let area = Area::open()?;
    let project = which::project(global)?;
    let wishes = Wishes { params: &plan.params, asked: &plan.asked, project: &project };
    let servers = local::plan(&plan.discovery, &plan.data, &wishes, &area).await?;
    let memory = if servers.is_in_memory() { area::memory().ok() } else { None };
    let why_not = room::why_not_shared(&area.cache, memory.unwrap_or(&area.data))?;
    let mut rows = Vec::new();
    // What a run copies: the last steps.
    let mut each = 0;
    for planned in &servers.servers {
        let steps = seeds::look(planned, &area.cache, &project);
        let count = steps.len();
        each += steps.last().and_then(|step| step.kept.as_ref()).map_or(0, |kept| kept.own);
        rows.extend(steps.into_iter().enumerate().map(|(index, step)| Row {
            database: planned.database.name.clone(),
            step: index + 1,
            steps: count,
            is_cached: step.kept.is_some(),
            size: step.kept.as_ref().map(|kept| kept.size),
            made: step.kept.as_ref().map(|kept| kept.sealed.made),
            used: step.kept.as_ref().map(|kept| kept.used),
            took: step.kept.as_ref().map(|kept| kept.sealed.took),
            because: step.because,
            is_copied_by_reference: why_not.is_none(),
            why_not: why_not.clone(),
        }));
    }
    if args.print == SeedFormat::Json {
        return console::print(&console::json(&rows)?);
    }
    if rows.is_empty() {
        progress.say("none of these databases has a seed, or they start with a snapshot (`from`)");
    }
    console::show(&columns(&rows))?;
    if each > 0 {
        progress.say(&match &why_not {
            None => format!("copied {BY_REFERENCE}"),
            Some(why) => format!(
                "copied byte by byte, {} for a run that finds no copy ready: {why}",
                words::size(each)
            ),
        });
    }
    let all = prepared::kept(&area.cache);
    let size = all.iter().map(|Kept { size, .. }| size).sum();
    progress.say(&format!(
        "{} of all projects: {} of at most {}",
        words::count(all.len(), "seed"),
        words::size(size),
        words::size(args.making.seed_limit.bytes())
    ));
    Ok(())
}

fn columns(rows: &[Row]) -> String {
    let ago = |made: Time| format!("{} ago", words::brief(Time::now().since(made)));
    let lines = rows.iter().map(|row| {
        [
            row.database.clone(),
            if row.steps == 1 { "-".into() } else { format!("{} of {}", row.step, row.steps) },
            if row.is_cached { "cached".into() } else { "to be made".into() },
            row.size.map_or_else(|| "-".into(), words::size),
            row.made.map_or_else(|| "-".into(), ago),
            row.took.map_or_else(|| "-".into(), |took| words::brief(Duration::from_millis(took))),
            row.because.join(", "),
        ]
    });
    table(["DATABASE", "STEP", "STATE", "SIZE", "MADE", "TOOK", "BECAUSE"], lines)
}
