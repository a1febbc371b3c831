//! The logs of a run on its page: the lines that matter, and the rest as long as the page stays small.

use serde::Serialize;

use super::excerpt::{Line, excerpt, is_error, tail};
use crate::console::clean;
use crate::history::log::Log;
use crate::history::record::{LogInfo, Record};
use crate::words::{count, named, size};

/// How much of one log a page holds beside its excerpt, in bytes.
const LOG: usize = 32 * 1024;
/// And of all logs together.
const LOGS: usize = 128 * 1024;
/// The least that is worth a place of its own.
const LEAST: usize = 2 * 1024;

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct LogView {
    /// Whose it is, and whether it is of the server before its last restart.
    pub name: String,
    /// The pod and container.
    pub source: String,
    /// How much there is, and how many errors it tells of.
    pub size: String,
    /// What the store does not have of it.
    pub cut: Option<String>,
    pub lines: Vec<Line>,
    /// All of it, or its end, if there is more than `lines`.
    pub whole: Option<Whole>,
    /// How to get what the page does not have.
    pub command: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Whole {
    pub label: String,
    pub text: String,
}

/// In the order of `logs`. Where they do not all fit, those of the database that the run failed for do.
pub(super) fn views(record: &Record, logs: &[Log]) -> anyhow::Result<Vec<LogView>> {
    let failed = record.cause.as_ref().and_then(|cause| cause.database.as_ref());
    let mut order: Vec<usize> = (0..logs.len()).collect();
    order.sort_by_key(|index| failed.is_none() || logs[*index].info.database.as_ref() != failed);
    let mut room = LOGS;
    let mut views: Vec<Option<LogView>> = vec![None; logs.len()];
    for index in order {
        views[index] = Some(view(record, &logs[index], &mut room)?);
    }
    Ok(views.into_iter().flatten().collect())
}

fn view(record: &Record, log: &Log, room: &mut usize) -> anyhow::Result<LogView> {
    let text = clean(&log.text()?);
    let lines = excerpt(&text);
    let errors = text.lines().filter(|line| is_error(line)).count();
    let number = text.lines().count();
    let allowed = LOG.min(*room);
    let whole =
        (number > lines.len() && (text.len() <= allowed || allowed >= LEAST)).then(|| whole(&text, allowed));
    *room -= whole.as_ref().map_or(0, |whole| whole.text.len());
    let is_all = number == lines.len() || whole.as_ref().is_some_and(|whole| whole.text.len() == text.len());
    let told = if errors > 0 { format!(", {}", count(errors, "error line")) } else { String::new() };
    let name = name(&log.info);
    let command = format!(
        "testbed history logs {} {}",
        record.run_id,
        log.info.database.as_deref().unwrap_or_default()
    );
    Ok(LogView {
        source: source(&log.info),
        size: format!("{}, {}{told}", size(text.len() as u64), count(number, "line")),
        cut: log.info.cut.clone(),
        lines,
        whole,
        command: (!is_all).then(|| command.trim_end().to_owned()),
        name,
    })
}

fn whole(text: &str, allowed: usize) -> Whole {
    let (left, text) = tail(text, allowed);
    let label = match left {
        0 => format!("The whole log ({})", size(text.len() as u64)),
        left => format!(
            "The last {}; the {} before them are left out here",
            size(text.len() as u64),
            size(left as u64)
        ),
    };
    Whole { label, text: text.to_owned() }
}

fn name(info: &LogInfo) -> String {
    let name = info.database.as_ref().unwrap_or(&info.source);
    format!("{}{}", named(name), if info.previous { ", before its last restart" } else { "" })
}

fn source(info: &LogInfo) -> String {
    let container =
        if info.container.is_empty() { String::new() } else { format!(", container {}", info.container) };
    format!("{}{container}", info.source)
}
