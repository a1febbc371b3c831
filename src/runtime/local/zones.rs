//! Time zones. MySQL and MariaDB look their names up in tables of their own, which the images fill with a tool of
//! the server. Debian has that tool in another package than the server, and it does not read all that systems
//! have today: so the system's files are read here.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use jiff::Timestamp;
use jiff::tz::{Dst, Offset, TimeZone};

use crate::engine::Engine;
use crate::reading;

/// The same zones again, with and without leap seconds, and the machine's own: images do without them too.
const PASSED_OVER: [&str; 4] = ["posix", "right", "localtime", "posixrules"];

/// How many folders one below the other names have: `America/Argentina/Salta`.
const DEPTH: usize = 4;

/// The most that a zone's file may have.
const MOST: usize = 1 << 20;

/// The end of what the servers' tool puts in, and of what older servers know.
const END: i64 = i32::MAX as i64;

/// The rows of a statement: a server that is being set up takes none of more than 20000 bytes.
const ROWS: usize = 300;

/// Where the system's files are.
pub(super) fn folder() -> PathBuf {
    let named = std::env::var_os("TZDIR").filter(|folder| !folder.is_empty());
    named.map_or_else(|| "/usr/share/zoneinfo".into(), PathBuf::from)
}

/// Tells the time zones that this machine has from those of another day; `None` where it has none.
pub(super) fn edition() -> Option<String> {
    let folder = folder();
    std::fs::metadata(folder.join("UTC")).ok()?;
    let changed = std::fs::metadata(&folder).ok()?;
    Some(format!("{} {}.{}", folder.display(), changed.mtime(), changed.mtime_nsec()))
}

/// The zone that `TZ` of a container names; `None` where this machine has no such zone.
pub(super) fn named(text: &str) -> Option<&str> {
    let name = text.strip_prefix(':').unwrap_or(text);
    let is_plain = name.split('/').all(|part| !["", ".", ".."].contains(&part));
    let is_file = || std::fs::metadata(folder().join(name)).is_ok_and(|metadata| metadata.is_file());
    (is_plain && is_file() || TimeZone::posix(name).is_ok()).then_some(name)
}

/// The statements that put the names of this machine's time zones into a server.
///
/// # Errors
/// The system's reason for a folder that cannot be read.
pub(super) fn statements(engine: Engine) -> anyhow::Result<String> {
    let mut files = BTreeMap::new();
    find(&folder(), "", DEPTH, &mut files)?;
    let mut tables = Tables::default();
    let mut seen = BTreeSet::new();
    for (bytes, mut names) in files {
        names.retain(|name| seen.insert(name.to_ascii_lowercase()));
        let zone = names.first().and_then(|name| TimeZone::tzif(name, &bytes).ok());
        if let Some(zone) = zone {
            tables.add(&zone, &names);
        }
    }
    Ok(tables.statements(engine))
}

/// Finds the files of zones: their content, with all names that it has.
fn find(
    folder: &Path,
    before: &str,
    depth: usize,
    files: &mut BTreeMap<Vec<u8>, Vec<String>>,
) -> anyhow::Result<()> {
    let reading = || format!("reading the time zones in {}", folder.display());
    for entry in std::fs::read_dir(folder).with_context(reading)? {
        let entry = entry.with_context(reading)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_+-".contains(&byte));
        if !is_plain || PASSED_OVER.contains(&name.as_str()) {
            continue;
        }
        let (path, name) = (entry.path(), format!("{before}{name}"));
        if path.is_dir() {
            if depth > 1 {
                find(&path, &format!("{name}/"), depth - 1, files)?;
            }
        } else if let Ok(bytes) = reading::bytes(&path, MOST)
            && bytes.starts_with(b"TZif")
        {
            files.entry(bytes).or_default().push(name);
        }
    }
    Ok(())
}

/// The rows of the servers' tables.
#[derive(Default)]
struct Tables {
    zones: Vec<String>,
    names: Vec<String>,
    transitions: Vec<String>,
    types: Vec<String>,
}

impl Tables {
    fn add(&mut self, zone: &TimeZone, names: &[String]) {
        let id = self.zones.len() + 1;
        self.zones.push(format!("({id},'N')"));
        self.names.extend(names.iter().map(|name| format!("('{name}',{id})")));
        let mut types: Vec<(Offset, Dst, String)> = Vec::new();
        let mut number = |offset, dst, abbreviation: &str| {
            let kind = (offset, dst, abbreviation.to_owned());
            types.iter().position(|known| *known == kind).unwrap_or_else(|| {
                types.push(kind);
                types.len() - 1
            })
        };
        // What holds before the first transition is the first one.
        let first = zone.to_offset_info(Timestamp::MIN);
        number(first.offset(), first.dst(), first.abbreviation());
        for transition in zone.following(Timestamp::MIN) {
            let at = transition.timestamp().as_second();
            if at > END {
                break;
            }
            let number = number(transition.offset(), transition.dst(), transition.abbreviation());
            self.transitions.push(format!("({id},{at},{number})"));
        }
        self.types.extend(types.iter().enumerate().map(|(number, (offset, dst, abbreviation))| {
            let abbreviation = abbreviation.replace(['\'', '\\'], "");
            format!("({id},{number},{},{},'{abbreviation}')", offset.seconds(), u8::from(dst.is_dst()))
        }));
    }

    fn statements(&self, engine: Engine) -> String {
        let tables = [
            ("time_zone", &self.zones),
            ("time_zone_name", &self.names),
            ("time_zone_transition", &self.transitions),
            ("time_zone_transition_type", &self.types),
        ];
        let mut text = String::new();
        for (table, rows) in tables {
            // Without an entry in the log for each row, which would be copied for each run.
            if engine == Engine::Mariadb {
                text += &format!("ALTER TABLE mysql.{table} TRANSACTIONAL=0;\n");
            }
            for rows in rows.chunks(ROWS) {
                text += &format!("INSERT INTO mysql.{table} VALUES {};\n", rows.join(","));
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zone_is_told_by_its_transitions_until_the_end_of_what_servers_know() {
        let mut tables = Tables::default();
        // As the newer, short files tell it: by a rule that has no end.
        tables.add(&TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap(), &["Europe/X".into(), "X".into()]);
        assert_eq!(tables.names, ["('Europe/X',1)", "('X',1)"]);
        assert_eq!(tables.types[..], ["(1,0,3600,0,'CET')", "(1,1,7200,1,'CEST')"]);
        assert_eq!(tables.transitions.last().unwrap(), "(1,2140045200,0)");
        let text = tables.statements(Engine::Mysql);
        assert!(
            text.lines().all(|line| line.starts_with("INSERT INTO mysql.time_zone") && line.ends_with(");"))
        );
        assert!(
            tables.statements(Engine::Mariadb).starts_with("ALTER TABLE mysql.time_zone TRANSACTIONAL=0;\n")
        );
    }

    #[test]
    fn a_time_zone_of_a_container_is_one_of_this_machine_or_none() {
        for (text, name) in [
            (":UTC", Some("UTC")),
            ("CET-1CEST,M3.5.0,M10.5.0/3", Some("CET-1CEST,M3.5.0,M10.5.0/3")),
            ("Nowhere/Land", None),
            ("../../../etc/passwd", None),
            ("/etc/passwd", None),
            ("", None),
        ] {
            assert_eq!(named(text), name, "{text}");
        }
    }
}
