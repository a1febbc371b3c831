//! The look ahead on this machine: the folders, and the servers for the databases.

use std::path::Path;
use std::time::Duration;

use crate::database::{Database, Discovery};
use crate::doctor::Verdict;
use crate::failure::{Advise, usage};
use crate::ports;
use crate::registry::Registry;
use crate::runtime::local::area::Area;
use crate::runtime::local::plan::{self as local, LocalPlan, Wishes};
use crate::runtime::local::room::{self, BY_REFERENCE};
use crate::session::plan::Plan;
use crate::state::{CACHE_HINT, STATE_HINT};

/// Looks for everything that `up` needs. A server that nobody has named may be missing.
pub(super) async fn examine(plan: &Plan, project: &Path, is_named: bool, why: &str) -> Vec<Verdict> {
    let mut verdicts =
        vec![Verdict::ok("runtime", format!("databases would be processes of this machine ({why})"))];
    if let Err(error) = ports::check_loopback() {
        verdicts.push(Verdict::from_error("ports", &error));
    }
    let area = match folders() {
        Ok((area, verdict)) => {
            verdicts.push(verdict);
            area
        }
        Err(error) => {
            verdicts.push(Verdict::from_error("folders", &error));
            verdicts.push(Verdict::skipped("servers", "looking for servers takes these folders"));
            return verdicts;
        }
    };
    for database in &plan.discovery.databases {
        verdicts.push(server(plan, project, database, &area, is_named).await);
    }
    let asked = plan.asked.iter().filter_map(|(name, asked)| Some((name, asked.port?)));
    verdicts.extend(asked.map(|(name, port)| match ports::check_for_server(port, name) {
        Ok(()) => Verdict::ok("ports", format!("port {port} of 127.0.0.1 is free for {name}")),
        Err(error) => Verdict::from_error("ports", &error).on(name),
    }));
    if let Ok(LocalPlan { differences, .. }) =
        local::plan(&plan.discovery, &plan.data, &wishes(plan, project), &area).await
    {
        verdicts
            .extend(differences.into_iter().map(|difference| Verdict::warning("differences", difference)));
    }
    verdicts.push(copies(&area));
    verdicts
}

fn folders() -> anyhow::Result<(Area, Verdict)> {
    Registry::open(Duration::MAX)?;
    let area = Area::open()?;
    try_writing(&area.data).hint(STATE_HINT)?;
    try_writing(&area.cache).hint(CACHE_HINT)?;
    let verdict = Verdict::ok(
        "folders",
        format!("{} and {} can be written", area.data.display(), area.cache.display()),
    );
    Ok((area, verdict))
}

/// How what is prepared, such as seeds, gets to a run.
fn copies(area: &Area) -> Verdict {
    match room::why_not_shared(&area.cache, &area.data) {
        Ok(None) => Verdict::ok("copies", format!("what is prepared is copied {BY_REFERENCE}")),
        Ok(Some(why)) => Verdict::ok("copies", format!("what is prepared is copied byte by byte: {why}")),
        Err(error) => Verdict::from_error("copies", &error),
    }
}

/// A folder that is there may still be one that cannot be written.
fn try_writing(folder: &Path) -> anyhow::Result<()> {
    tempfile::tempfile_in(folder)
        .map(drop)
        .map_err(|error| usage(format!("writing into {}: {error}", folder.display())))
}

fn wishes<'a>(plan: &'a Plan, project: &'a Path) -> Wishes<'a> {
    Wishes { params: &plan.params, asked: &plan.asked, project }
}

async fn server(plan: &Plan, project: &Path, database: &Database, area: &Area, is_named: bool) -> Verdict {
    let alone = Discovery { databases: vec![database.clone()], ..plan.discovery.clone() };
    let verdict = match local::plan(&alone, &plan.data, &wishes(plan, project), area).await {
        Ok(LocalPlan { servers, .. }) => {
            let installed: Vec<String> = servers.iter().map(|server| server.installed.to_string()).collect();
            Verdict::ok("servers", format!("{} would serve {}", installed.join(", "), database.name))
        }
        Err(error) => {
            let problem = Verdict::from_error("servers", &error);
            if is_named { problem } else { problem.as_warning() }
        }
    };
    verdict.on(&database.name)
}
