//! Starts one server of a run and waits until it takes the tests' login: a copy of the prepared data folder,
//! a free port, the run's own logins, the manifest's set-up scripts.

use std::cell::Cell;
use std::ffi::OsString;
use std::fs::Permissions;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;

use anyhow::{Context, anyhow};
use tokio::process::Child;

use super::as_made::AsMade;
use super::planned::{Planned, Run};
use super::prepared::Placed;
use super::program::Setting;
use super::seeds::{Layers, Making};
pub use super::serve::Told;
use super::serve::{self, Serving, died_of_its_data};
use super::{mysql, room, scripts, tls};
use crate::failure::{Advise, Exit};
use crate::files;
use crate::history::record::What;
use crate::registry::{Server, Start};
use crate::state::{Ready, STATE_HINT};
use crate::time::Time;

pub struct Started {
    pub server: Server,
    /// Its process, to be waited for.
    pub child: Child,
}

/// Starts the server of one database. `report` hears what is being done.
///
/// # Errors
/// The step that failed, with the end of the server's log. The data folder and processes may be left.
pub async fn start(planned: &Planned, run: Run<'_>, report: impl Fn(Told<'_>)) -> anyhow::Result<Started> {
    let folder = run.folder.join(&planned.folder);
    let setting = Setting { account: planned.account.as_ref(), run_id: run.run_id };
    make_folder(&folder, setting).with_context(|| format!("making {}", folder.display())).hint(STATE_HINT)?;
    if let Some(certificate) = &planned.database.tls {
        tls::write(planned, &folder.join("data"), certificate, setting)?;
    }
    report(Told::Moment(What::Created, ""));
    let layers = Layers::of(planned, &run.area.cache);
    // A damaged entry that was not noticed by its size makes a server that dies.
    match attempt(planned, run, &folder, setting, &layers, &report).await {
        Err(first) if died_of_its_data(&first) => {
            // It may have died of that, without a word in a log that has no room either.
            if let Some(shortage) = room::shortage(&[&folder, &run.area.cache]) {
                return Err(first.hint(shortage));
            }
            if planned.from.is_some() {
                return Err(first);
            }
            let discarded = tokio::time::timeout_at(run.deadline, layers.discard_as_broken()).await;
            discarded
                .unwrap_or_else(|_| Err(anyhow!("another process works on the damaged prepared data folder")))
                .exit(Exit::NotReady)?;
            files::remove_all(&folder.join("data"))
                .with_context(|| format!("removing {}", folder.display()))?;
            attempt(planned, run, &folder, setting, &layers, &report).await
        }
        outcome => outcome,
    }
}

/// The folder of a server's log, its logins and its data. The server's user passes through it; what is in it
/// directly is this user's, so that nobody can put a link in its place.
pub(super) fn make_folder(folder: &Path, setting: Setting<'_>) -> std::io::Result<()> {
    std::fs::DirBuilder::new().mode(0o700).create(folder)?;
    let mode = if setting.account.is_some() { 0o711 } else { 0o700 };
    std::fs::set_permissions(folder, Permissions::from_mode(mode))
}

async fn attempt(
    planned: &Planned,
    run: Run<'_>,
    folder: &Path,
    setting: Setting<'_>,
    layers: &Layers<'_>,
    report: &impl Fn(Told<'_>),
) -> anyhow::Result<Started> {
    let data = folder.join("data");
    report(Told::Stage("preparing", ""));
    let making = Making { layers, run, setting, report, first: Cell::default(), command: Cell::default() };
    let placed = tokio::time::timeout_at(run.deadline, making.place(&data)).await;
    let placed = placed.unwrap_or_else(|_| {
        let time = humantime::format_duration(run.timeout);
        let name = &planned.database.name;
        let running = making.command.take().map(|command| format!("{command} still runs"));
        let why = running.unwrap_or_else(|| format!("{name}: its data folder is not prepared yet"));
        Err(anyhow!("not ready within {time}: {why}"))
            .exit(Exit::NotReady)
            .kind("not-ready", Some(&planned.database.name))
    })?;
    report(Told::Moment(What::Prepared, making.first.get().unwrap_or_default()));
    start_on(planned, run, &data, setting, &placed, report).await
}

/// Starts a server on a data folder that is in its place.
pub(super) async fn start_on(
    planned: &Planned,
    run: Run<'_>,
    data: &Path,
    setting: Setting<'_>,
    placed: &Placed,
    report: &impl Fn(Told<'_>),
) -> anyhow::Result<Started> {
    let serving = serve::serve(planned, run, data, setting, placed, report).await?;
    // A seed has them in it.
    if placed.logins.is_none() {
        let server = scripts::Server { data, port: serving.port, root: &serving.root };
        let ran = scripts::run(planned, "the set-up script", &planned.scripts, &server, setting, run);
        ran.await.map_err(|error| serve::redacted(planned, &serving.root, &error, "set-up-failed"))?;
    }
    let is_seeded = planned.seed.is_some();
    let kept = Planned {
        scripts: if placed.logins.is_some() { Vec::new() } else { planned.scripts.clone() },
        seed: None,
        ..planned.clone()
    };
    let seed = placed.source.clone().filter(|_| is_seeded);
    AsMade { planned: kept, root: serving.root.clone(), seed }.write(data)?;
    let arguments = serve::arguments(planned, data, setting, serving.port)?;
    let server = Server { start: again(planned, arguments), ..note(planned, placed, &serving, data) };
    Ok(Started { server, child: serving.child })
}

/// How a server is started again, that has its logins.
fn again(planned: &Planned, arguments: Vec<OsString>) -> Option<Start> {
    let arguments = arguments.into_iter().map(OsString::into_string).collect::<Result<Vec<_>, _>>().ok()?;
    let is_for_later = |argument: &String| !mysql::is_init_file(argument);
    let arguments = arguments.into_iter().filter(is_for_later).collect();
    Some(Start { program: planned.installed.program.clone(), arguments, time_zone: planned.zone.clone() })
}

fn note(planned: &Planned, placed: &Placed, serving: &Serving, data: &Path) -> Server {
    let (login, process) = (&planned.database.login, serving.process);
    Server {
        name: planned.database.name.clone(),
        engine: planned.database.engine.name().to_owned(),
        server: format!("{} {}", super::find::title(planned.installed.engine), planned.installed.version),
        port: serving.port,
        process,
        user: login.user.clone(),
        password: login.password.reveal().to_owned(),
        database: login.database.clone(),
        log: data.with_file_name("log"),
        data: data.to_owned(),
        source: placed.source.clone(),
        ready: Ready {
            evidence: "own-process".into(),
            detail: format!(
                "the server in the run's own data folder (process {}) takes the tests' login",
                process.pid
            ),
            at: Time::now(),
        },
        start: None,
        restarts: Vec::new(),
        fork_of: None,
        stopped_by: None,
    }
}
