//! `testbed history logs`: what a run's databases wrote, read where they are, and later from the store.

mod live;

use anyhow::anyhow;
use serde_json::{Value, json};

use super::{Kept, which, words};
use crate::cli::{Global, HistoryFormat, HistoryLogs};
use crate::console;
use crate::failure::Advise;
use crate::history::log::Log;
use crate::history::record::{LogInfo, VERSION};
use crate::progress::Progress;

struct Found {
    run_id: String,
    /// Its id.
    record: Option<String>,
    /// Whether they were read where the databases are, just now.
    is_live: bool,
    logs: Vec<Log>,
}

pub(super) async fn logs(
    args: &HistoryLogs,
    global: &Global,
    kept: Option<Kept>,
    progress: &Progress,
) -> anyhow::Result<()> {
    let run = args.run.as_deref();
    let found = find(run, kept.as_ref(), global, progress).await?;
    let chosen = choose(&found, args)?;
    match args.output {
        HistoryFormat::Json => console::print(&as_json(&found, &chosen, args.tail)?),
        HistoryFormat::Text => {
            tell(&found, &chosen, args, progress);
            console::print(&text(&chosen, args.tail)?)
        }
    }
}

/// Reads them where they are; and where they are no more, from the store.
async fn find(
    run: Option<&str>,
    kept: Option<&Kept>,
    global: &Global,
    progress: &Progress,
) -> anyhow::Result<Found> {
    let store = match kept {
        Some(kept) => kept.store().await?,
        None => None,
    };
    let record = match &store {
        Some(store) => which::find(run, store, progress).await?,
        None => None,
    };
    if let Some(found) = live::on_this_machine(run, record.as_ref()).await? {
        return Ok(found);
    }
    if let Some(found) = live::in_cluster(run, record.as_ref(), global, progress).await {
        return Ok(found);
    }
    match (store, record, kept) {
        (Some(store), Some(record), _) => {
            let logs = store.logs(&record.id).await?;
            Ok(Found { run_id: record.run_id, record: Some(record.id), is_live: false, logs })
        }
        (Some(_), None, Some(kept)) => Err(which::missing(run, kept)),
        (_, _, Some(kept)) => Err(which::missing(None, kept)),
        (_, _, None) => Err(anyhow!(
            "{} is not up, and no history is kept here",
            run.map_or("a run".to_owned(), |run| format!("run {run}"))
        ))
        .hint("name the place where it is kept with --history or TESTBED_HISTORY"),
    }
}

/// Those of the containers that ran last, unless `--previous` asks for those before.
fn choose<'a>(found: &'a Found, args: &HistoryLogs) -> anyhow::Result<Vec<&'a Log>> {
    let is_meant = |info: &LogInfo| {
        args.database.as_ref().is_none_or(|name| {
            info.database.as_ref() == Some(name) || info.source == *name || info.container == *name
        })
    };
    let chosen: Vec<&Log> =
        found.logs.iter().filter(|log| is_meant(&log.info) && log.info.previous == args.previous).collect();
    if !chosen.is_empty() {
        return Ok(chosen);
    }
    let which = args.database.as_ref().map(|name| format!(" of {name}")).unwrap_or_default();
    let previous = if args.previous { " from before a restart" } else { "" };
    let error = anyhow!("run {} has no log{which}{previous}", found.run_id);
    let there: Vec<String> = found.logs.iter().map(|log| words::log(&log.info)).collect();
    Err(error).hint(if there.is_empty() {
        "no log of it was kept".to_owned()
    } else {
        format!("there are: {}", there.join(", "))
    })
}

/// Says, beside the logs, what they do not.
fn tell(found: &Found, chosen: &[&Log], args: &HistoryLogs, progress: &Progress) {
    if found.is_live {
        progress.explain(&format!("run {} is up: its logs are read where they are", found.run_id));
    }
    for log in chosen {
        if let Some(cut) = &log.info.cut {
            progress.say(&format!("{}: {cut}", words::log(&log.info)));
        }
    }
    if !args.previous && found.logs.iter().any(|log| log.info.previous) {
        progress.say("a container was started again: --previous shows what it wrote before");
    }
}

fn as_json(found: &Found, chosen: &[&Log], tail: Option<usize>) -> anyhow::Result<String> {
    let logs = chosen.iter().map(|log| one_as_json(log, tail)).collect::<anyhow::Result<Vec<Value>>>()?;
    let answer = json!({"version": VERSION, "runId": found.run_id, "record": found.record, "live": found.is_live, "logs": logs});
    console::json(&answer)
}

fn one_as_json(log: &Log, tail: Option<usize>) -> anyhow::Result<Value> {
    let mut value = serde_json::to_value(&log.info)?;
    if let Some(fields) = value.as_object_mut() {
        fields.insert("text".into(), last(&log.text()?, tail).into());
    }
    Ok(value)
}

fn text(logs: &[&Log], tail: Option<usize>) -> anyhow::Result<String> {
    if let [log] = logs {
        return Ok(last(&log.text()?, tail));
    }
    let width = logs.iter().map(|log| words::log(&log.info).chars().count()).max().unwrap_or_default();
    let mut text = String::new();
    for log in logs {
        let name = words::log(&log.info);
        for line in last(&log.text()?, tail).lines() {
            text += &format!("{name:<width$} | {line}\n");
        }
    }
    Ok(text)
}

/// The last lines of a text, each with its line break.
fn last(text: &str, tail: Option<usize>) -> String {
    let skipped = tail.map_or(0, |tail| text.lines().count().saturating_sub(tail));
    text.lines().skip(skipped).flat_map(|line| [line, "\n"]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(logs: &[(&str, &str, bool)]) -> Found {
        let log = |(source, database, previous): &(&str, &str, bool)| {
            let database = (!database.is_empty()).then(|| (*database).to_owned());
            Log::new(
                LogInfo { source: (*source).into(), previous: *previous, database, ..LogInfo::default() },
                "a\nb\n",
            )
        };
        Found { run_id: "r".into(), record: None, is_live: false, logs: logs.iter().map(log).collect() }
    }

    fn args(database: Option<&str>, previous: bool) -> HistoryLogs {
        HistoryLogs {
            run: None,
            database: database.map(Into::into),
            previous,
            tail: None,
            output: HistoryFormat::Text,
        }
    }

    #[test]
    fn a_log_is_chosen_by_its_database_or_its_pod() {
        let found = found(&[("mysql-r", "mysql", false), ("mysql-r", "mysql", true), ("web-r", "", false)]);
        for (name, previous, count) in [
            (None, false, 2),
            (Some("mysql"), false, 1),
            (Some("web-r"), false, 1),
            (Some("mysql-r"), true, 1),
        ] {
            assert_eq!(choose(&found, &args(name, previous)).unwrap().len(), count, "{name:?}");
        }
        let error = choose(&found, &args(Some("shop"), true)).unwrap_err();
        assert_eq!(format!("{error:#}"), "run r has no log of shop from before a restart");
        assert_eq!(
            crate::failure::hints_of(&error),
            ["there are: mysql, mysql (before its last restart), web-r"]
        );
    }

    #[test]
    fn the_json_has_the_text() {
        let found = found(&[("postgres", "postgres", false)]);
        let chosen = choose(&found, &args(None, false)).unwrap();
        let json: Value = serde_json::from_str(&as_json(&found, &chosen, Some(1)).unwrap()).unwrap();
        assert_eq!(
            (json["logs"][0]["text"].as_str(), json["logs"][0]["kept"].as_u64()),
            (Some("b\n"), Some(4))
        );
    }
    use crate::history::record::LogInfo;

    fn log(source: &str, text: &str) -> Log {
        Log::new(LogInfo { source: source.into(), ..LogInfo::default() }, text)
    }

    #[test]
    fn one_log_is_as_it_is_and_several_have_names() {
        let (shop, cache) = (log("shop", "a\nb"), log("größe", "c\n"));
        assert_eq!(text(&[&shop], None).unwrap(), "a\nb\n");
        assert_eq!(text(&[&shop, &cache], None).unwrap(), "shop  | a\nshop  | b\ngröße | c\n");
        assert_eq!(text(&[&shop, &cache], Some(1)).unwrap(), "shop  | b\ngröße | c\n");
        assert_eq!([last("a\nb\n", Some(0)), last("", None), last("a", Some(9))], ["", "", "a\n"]);
    }
}
