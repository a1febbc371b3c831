//! The runs of this machine as rows of `testbed status`.

use crate::pool;
use crate::process::Process;
use crate::registry::{Phase, Pooled, Record, Registry, Server, Unreadable};
use crate::run_id::RunId;
use crate::session::status::Row;

/// The rows of all runs of this machine, or of one, and those that cannot be told.
pub(crate) fn rows(
    registry: Option<&Registry>,
    run_id: Option<&RunId>,
) -> anyhow::Result<(Vec<Row>, Vec<Unreadable>)> {
    let Some(registry) = registry else { return Ok((Vec::new(), Vec::new())) };
    let (records, mut unreadable) = registry.records()?;
    let is_wanted = |found: &str| run_id.is_none_or(|run_id| found == run_id.as_str());
    unreadable.retain(|unreadable| is_wanted(&unreadable.run_id));
    let records = records.iter().filter(|record| is_wanted(&record.run_id));
    let rows = records.flat_map(|record| rows_of(record, Pooled::of(&registry.folder(&record.run_id))));
    Ok((rows.collect(), unreadable))
}

fn rows_of(record: &Record, pooled: Option<Pooled>) -> Vec<Row> {
    let Some(local) = record.local() else { return Vec::new() };
    let mut rows: Vec<Row> = local.servers.iter().map(|server| row(record, server)).collect();
    for database in &record.databases {
        let server = local.servers.iter().find(|server| Some(server.port) == database.port);
        let of_server = server.map(|server| row(record, server)).filter(|_| database.is_further);
        // SQLite needs no server.
        let of_none = database.port.is_none().then(|| Row {
            engine: database.engine.to_owned(),
            state: if record.phase == Phase::Stopping { "Terminating" } else { "Running" }.to_owned(),
            ..plain(record)
        });
        rows.extend(of_server.or(of_none).map(|row| Row {
            name: database.name.clone(),
            user: database.user.clone(),
            database: database.database.clone(),
            ..row
        }));
    }
    if rows.is_empty() {
        let state = if local.logs.is_empty() && record.phase == Phase::Up {
            "Running"
        } else if record.owner.is_some_and(Process::is_alive) {
            "Starting"
        } else if record.is_of_another_namespace() {
            ELSEWHERE
        } else {
            "Failed"
        };
        return vec![Row { state: state.to_owned(), ..plain(record) }];
    }
    if let Some(Pooled { way, .. }) = pooled {
        let is_copied = |row: &&mut Row| pool::is_copied(&row.engine) && way.databases.contains(&row.name);
        rows.iter_mut().filter(is_copied).for_each(|row| row.pool = way.size.parse().ok());
    }
    rows.sort_by_key(|row| record.databases.iter().position(|one| one.name == row.name));
    rows
}

fn row(record: &Record, server: &Server) -> Row {
    Row {
        name: server.name.clone(),
        engine: server.engine.clone(),
        address: format!("127.0.0.1:{}", server.port),
        database: server.database.clone(),
        user: Some(server.user.clone()),
        server: Some(server.server.clone()),
        process: Some(server.process.pid),
        log: Some(server.log.display().to_string()),
        state: state(record, server).to_owned(),
        restarts: server.restarts.len().try_into().unwrap_or(i32::MAX),
        ready: server.proof().cloned(),
        ..plain(record)
    }
}

/// In another container of this machine, where its processes cannot be seen from here.
const ELSEWHERE: &str = "Elsewhere";

fn state(record: &Record, server: &Server) -> &'static str {
    match record.phase {
        _ if record.is_elsewhere() => ELSEWHERE,
        _ if !server.process.is_alive() => "Ended",
        Phase::Stopping => "Terminating",
        _ => "Running",
    }
}

fn plain(record: &Record) -> Row {
    Row {
        run: record.run_id.clone(),
        runtime: "local",
        name: "-".into(),
        engine: "-".into(),
        address: "-".into(),
        created: Some(record.made.to_string()),
        ..Row::default()
    }
}
