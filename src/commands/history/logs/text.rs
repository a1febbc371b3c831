//! Logs as people read them: one as it is, several with the name of each before its lines. Pure.

use crate::commands::history::words;
use crate::history::log::Log;

/// All of them, or the last lines of each.
pub(super) fn text(logs: &[&Log], tail: Option<usize>) -> anyhow::Result<String> {
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
pub(super) fn last(text: &str, tail: Option<usize>) -> String {
    let skipped = tail.map_or(0, |tail| text.lines().count().saturating_sub(tail));
    text.lines().skip(skipped).flat_map(|line| [line, "\n"]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
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
