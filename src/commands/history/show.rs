//! `testbed history show`

use super::{Kept, which, words, write_page};
use crate::cli::{HistoryFormat, HistoryShow};
use crate::console;
use crate::history::page;
use crate::history::record::{Database, Event, LogInfo, Moment, Record};
use crate::progress::Progress;
use crate::table::table;
use crate::time::Time;
use crate::words::{brief, count, size};

/// More events than these are left to `-o json`.
const EVENTS: usize = 30;

pub(super) async fn show(args: &HistoryShow, kept: &Kept, progress: &Progress) -> anyhow::Result<()> {
    let run = args.run.as_deref();
    let Some(store) = kept.store().await? else { return Err(which::missing(None, kept)) };
    let record = which::find(run, &store, progress).await?.ok_or_else(|| which::missing(run, kept))?;
    if let Some(path) = &args.html {
        let logs = store.logs(&record.id).await?;
        return write_page(path, &page::run(&record, &logs)?, progress);
    }
    match args.output {
        HistoryFormat::Text => console::show(&text(&record, Time::now())),
        HistoryFormat::Json => console::print(&console::json(&record)?),
    }
}

/// The whole record for people, in parts with an empty line between.
fn text(record: &Record, now: Time) -> String {
    let mut parts = vec![head(record, now)];
    parts.extend(record.databases.iter().map(|database| of_database(database, record)));
    parts.push(titled("timeline of the run", &moments(&of_the_run(record), record.began)));
    parts.push(titled("events", &events(&record.events, record.began)));
    parts.push(titled("notes", &record.notes.iter().map(|note| format!("  {note}\n")).collect::<String>()));
    parts.push(logs(record));
    parts.retain(|part| !part.is_empty());
    parts.join("\n")
}

fn titled(title: &str, lines: &str) -> String {
    if lines.is_empty() { String::new() } else { format!("{title}\n{lines}") }
}

fn head(record: &Record, now: Time) -> String {
    let after = |time: Option<Time>| {
        time.map(|time| format!("after {}", brief(time.since(record.began)))).unwrap_or_default()
    };
    let rows = [
        ("run", record.run_id.clone()),
        ("record", record.id.clone()),
        ("name", record.name.clone()),
        ("status", status(record)),
        ("began", format!("{} ({})", record.began, words::ago(record.began, now))),
        ("ready", after(record.ready)),
        ("gone", after(record.ended)),
        ("command", command(record)),
        ("where", place(record)),
        ("by", by(record)),
        ("pipeline", pipeline(record)),
        ("commit", record.origin.git_commit.clone().unwrap_or_default()),
    ];
    rows.iter()
        .filter(|(_, text)| !text.is_empty())
        .map(|(name, text)| format!("{name:<9}{}\n", indented(text)))
        .collect()
}

/// The lines after the first one, below it.
fn indented(text: &str) -> String {
    text.trim_end().replace('\n', &format!("\n{:9}", ""))
}

fn status(record: &Record) -> String {
    let name = record.status.name();
    match &record.cause {
        Some(cause) if cause.text.is_empty() => format!("{name}: {}", words::cause(cause)),
        Some(cause) => format!("{name}: {}\n{}", words::cause(cause), cause.text),
        None => name.to_owned(),
    }
}

fn command(record: &Record) -> String {
    let Some(command) = &record.command else { return String::new() };
    let took = command
        .began
        .zip(command.ended)
        .map(|(began, ended)| format!(" after {}", brief(ended.since(began))));
    match command.exit_code {
        Some(code) => format!("{}: exit code {code}{}", command.program, took.unwrap_or_default()),
        None => command.program.clone(),
    }
}

fn place(record: &Record) -> String {
    match (&record.origin.namespace, &record.origin.cluster) {
        (Some(namespace), Some(cluster)) => format!("namespace {namespace} of {cluster}"),
        (Some(namespace), None) => format!("namespace {namespace}"),
        _ if record.runtime == "local" => "this machine".to_owned(),
        _ => record.runtime.clone(),
    }
}

fn by(record: &Record) -> String {
    let origin = &record.origin;
    let called = if origin.called.is_empty() { String::new() } else { format!("testbed {}", origin.called) };
    let part = |word: &str, text: &Option<String>| {
        text.as_ref().map(|text| format!(" {word} {text}")).unwrap_or_default()
    };
    let who = format!(
        "{called}{}{}{}",
        part("of", &origin.user),
        part("on", &origin.host),
        part("in", &origin.folder)
    );
    let tool = if record.tool.is_empty() { String::new() } else { format!(" ({})", record.tool) };
    format!("{}{tool}", who.trim_start())
}

fn pipeline(record: &Record) -> String {
    let origin = &record.origin;
    let parts = [
        ("PipelineRun", &origin.pipeline_run),
        ("uid", &origin.pipeline_run_uid),
        ("TaskRun", &origin.task_run),
    ];
    let known: Vec<String> =
        parts.iter().filter_map(|(word, text)| text.as_ref().map(|text| format!("{word} {text}"))).collect();
    known.join(", ")
}

fn of_database(database: &Database, record: &Record) -> String {
    let version = database.version.as_ref().map(|version| format!(" {version}")).unwrap_or_default();
    let image = database.image.as_ref().map(|image| format!(", image {image}")).unwrap_or_default();
    let workload = database.workload.as_ref().map(|workload| format!(", {workload}")).unwrap_or_default();
    let restarts = if database.restarts == 0 {
        String::new()
    } else {
        format!(", {}", count(database.restarts as usize, "restart"))
    };
    let mut lines =
        format!("database {}: {}{version}{image}{workload}{restarts}\n", database.name, database.engine);
    let login = [("at ", &database.address), ("as ", &database.user), ("to ", &database.database)];
    let login: Vec<String> =
        login.iter().filter_map(|(word, text)| text.as_ref().map(|text| format!("{word}{text}"))).collect();
    if !login.is_empty() {
        lines += &format!("  {}\n", login.join(", "));
    }
    if let Some(proof) = &database.evidence {
        lines += &format!("  ready by {}: {}\n", proof.evidence, proof.detail);
    }
    lines + &moments(&database.timeline, record.began)
}

/// What has not happened to each of its databases at the same moment.
fn of_the_run(record: &Record) -> Vec<Moment> {
    let is_theirs =
        |moment: &Moment| record.databases.iter().all(|database| database.timeline.contains(moment));
    record
        .timeline
        .iter()
        .filter(|moment| record.databases.is_empty() || !is_theirs(moment))
        .cloned()
        .collect()
}

/// One moment a line: the time since the run began, and since the moment before.
fn moments(timeline: &[Moment], began: Time) -> String {
    let mut before = began;
    let mut lines = String::new();
    for Moment { what, at, detail } in timeline {
        let detail = if detail.is_empty() { String::new() } else { format!("   {detail}") };
        let line = format!(
            "  {:>10}  {:>11}  {:<13}{detail}",
            brief(at.since(began)),
            format!("+{}", brief(at.since(before))),
            what.name()
        );
        lines += line.trim_end();
        lines.push('\n');
        before = *at;
    }
    lines
}

/// Warnings first; each kind from old to new.
fn events(events: &[Event], began: Time) -> String {
    let (warnings, others): (Vec<&Event>, Vec<&Event>) = events.iter().partition(|event| event.warning);
    let shown: Vec<[String; 4]> = warnings
        .iter()
        .chain(&others)
        .take(EVENTS)
        .map(|event| {
            let times = if event.count > 1 { format!(" ({} times)", event.count) } else { String::new() };
            let reason =
                if event.warning { format!("warning: {}", event.reason) } else { event.reason.clone() };
            let at = event.at.map(|at| brief(at.since(began))).unwrap_or_default();
            [format!("  {at}"), event.object.clone(), reason, event.message.clone() + &times]
        })
        .collect();
    let left = events.len() - shown.len();
    let more = if left > 0 { format!("  and {left} more: -o json has them\n") } else { String::new() };
    table(["  AT", "OBJECT", "REASON", "MESSAGE"], shown) + &more
}

fn logs(record: &Record) -> String {
    if record.logs.is_empty() {
        return String::new();
    }
    let lines: String = record.logs.iter().map(|log| format!("  {}\n", of_log(log))).collect();
    format!("logs: testbed history logs {}\n{lines}", record.id)
}

fn of_log(log: &LogInfo) -> String {
    let cut = log.cut.as_ref().map(|cut| format!("; {cut}")).unwrap_or_default();
    format!("{}: {}{cut}", words::log(log), size(log.bytes))
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;
    use crate::history::record::{Cause, Command, Origin, Status, What};
    use crate::state::Ready;

    fn moment(what: What, millis: i64, detail: &str) -> Moment {
        Moment { what, at: Time::from_millis(1_700_000_000_000 + millis), detail: detail.into() }
    }

    fn record() -> Record {
        let database = Database {
            name: "postgres".into(),
            engine: "postgres".into(),
            version: Some("15.18".into()),
            address: Some("127.0.0.1:15432".into()),
            user: Some("app".into()),
            database: Some("shop".into()),
            evidence: Some(Ready {
                evidence: "own-process".into(),
                detail: "process 42 takes the login".into(),
                at: Time::default(),
            }),
            restarts: 1,
            timeline: vec![
                moment(What::Created, 3, ""),
                moment(What::Prepared, 40, "copied"),
                moment(What::Ready, 90, ""),
            ],
            ..Database::default()
        };
        let event = |warning, reason: &str, count| Event {
            at: Some(Time::from_millis(1_700_000_002_000)),
            warning,
            object: "Pod/mysql-42".into(),
            reason: reason.into(),
            message: "no".into(),
            count,
        };
        Record {
            id: "0198c0de-0000-7000-8000-000000000001".into(),
            run_id: "pr-17".into(),
            name: "shop".into(),
            status: Status::Failed,
            cause: Some(Cause {
                kind: "command".into(),
                database: None,
                text: "the command ended with exit code 1\nand more".into(),
            }),
            runtime: "local".into(),
            tool: "testbed 0.1.0".into(),
            began: Time::from_millis(1_700_000_000_000),
            ready: Some(Time::from_millis(1_700_000_000_090)),
            ended: Some(Time::from_millis(1_700_000_061_000)),
            origin: Origin {
                called: "run".into(),
                user: Some("ann".into()),
                host: Some("desk".into()),
                folder: Some("/home/ann/shop".into()),
                pipeline_run: Some("build-7".into()),
                task_run: Some("build-7-test".into()),
                git_commit: Some("6ae9a9f".into()),
                ..Origin::default()
            },
            command: Some(Command {
                program: "pytest".into(),
                exit_code: Some(1),
                began: Some(Time::from_millis(1_700_000_000_100)),
                ended: Some(Time::from_millis(1_700_000_060_100)),
            }),
            databases: vec![database],
            timeline: vec![moment(What::Deleting, 60_500, "")],
            events: vec![event(false, "Scheduled", 1), event(true, "FailedMount", 3)],
            logs: vec![
                LogInfo {
                    source: "postgres".into(),
                    database: Some("postgres".into()),
                    bytes: 4000,
                    kept: 4000,
                    ..LogInfo::default()
                },
                LogInfo {
                    source: "mysql-42".into(),
                    container: "init".into(),
                    previous: true,
                    bytes: 3 << 20,
                    kept: 1 << 20,
                    cut: Some("2 MiB in the middle are left out".into()),
                    ..LogInfo::default()
                },
            ],
            notes: vec!["the events could not be read: forbidden".into()],
            ..Record::default()
        }
    }

    #[test]
    fn the_story_is_told_from_top_to_bottom() {
        assert_snapshot!(text(&record(), Time::from_millis(1_700_010_000_000)), @r"
        run      pr-17
        record   0198c0de-0000-7000-8000-000000000001
        name     shop
        status   failed: command
                 the command ended with exit code 1
                 and more
        began    2023-11-14T22:13:20.000Z (2h ago)
        ready    after 90 ms
        gone     after 1 min 1 s
        command  pytest: exit code 1 after 1 min
        where    this machine
        by       testbed run of ann on desk in /home/ann/shop (testbed 0.1.0)
        pipeline PipelineRun build-7, TaskRun build-7-test
        commit   6ae9a9f

        database postgres: postgres 15.18, 1 restart
          at 127.0.0.1:15432, as app, to shop
          ready by own-process: process 42 takes the login
                3 ms        +3 ms  created
               40 ms       +37 ms  prepared        copied
               90 ms       +50 ms  ready

        timeline of the run
           1 min 1 s   +1 min 1 s  deleting

        events
          AT       OBJECT         REASON                 MESSAGE
          2.00 s   Pod/mysql-42   warning: FailedMount   no (3 times)
          2.00 s   Pod/mysql-42   Scheduled              no

        notes
          the events could not be read: forbidden

        logs: testbed history logs 0198c0de-0000-7000-8000-000000000001
          postgres: 3.9 KiB
          mysql-42/init (before its last restart): 3 MiB; 2 MiB in the middle are left out
        ");
    }

    #[test]
    fn what_is_not_known_is_left_out() {
        let record = Record {
            id: "0198c0de".into(),
            run_id: "r".into(),
            runtime: "local".into(),
            ..Record::default()
        };
        assert_snapshot!(text(&record, Time::from_millis(0)), @r"
        run      r
        record   0198c0de
        status   starting
        began    1970-01-01T00:00:00.000Z (just now)
        where    this machine
        ");
    }

    #[test]
    fn many_events_are_left_to_json() {
        let many = vec![Event::default(); EVENTS + 2];
        assert!(events(&many, Time::default()).ends_with("and 2 more: -o json has them\n"));
    }
}
