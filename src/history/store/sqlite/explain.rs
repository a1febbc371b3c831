//! What an error of SQLite's means, in words that name the file and what to do.

use std::path::Path;
use std::time::Duration;

use anyhow::anyhow;
use rusqlite::ErrorCode;

use crate::failure::Advise;

/// How long others may keep the file locked.
pub(super) const TIMEOUT: Duration = Duration::from_secs(30);

/// What a full disk is counted by.
pub const NO_SPACE: &str = "no-space";

/// Says which file it is and what helps, where SQLite is at fault.
pub(super) fn explain(error: anyhow::Error, path: &Path) -> anyhow::Error {
    let Some(code) = error.downcast_ref::<rusqlite::Error>().map(rusqlite::Error::sqlite_error_code) else {
        return error;
    };
    let path = path.display();
    let (what, hint) = match code {
        Some(ErrorCode::TooBig) => (
            format!("{path} holds a value of more than 64 MiB, which testbed does not write"),
            "move the file away, and a new one is made".into(),
        ),
        Some(ErrorCode::NotADatabase) => (
            format!("{path} is no SQLite database"),
            "name another file with --history sqlite:PATH, or move this one away".into(),
        ),
        Some(ErrorCode::DatabaseCorrupt) => (
            format!("{path} is damaged"),
            format!(
                "move it away, and a new one is made; `sqlite3 {path} .recover` shows what can be saved of it"
            ),
        ),
        Some(ErrorCode::DiskFull) => (
            format!("no space is left for {path}"),
            "`testbed history prune --older-than 30d` gives some back".into(),
        ),
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => (
            format!("{path} may not be written to"),
            "its owner may, or --history sqlite:PATH names another file".into(),
        ),
        Some(ErrorCode::CannotOpen) => (
            format!("{path} cannot be opened"),
            "it and its folder have to be yours to write; --history sqlite:PATH names another file".into(),
        ),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => (
            format!("another process has kept {path} locked for {}", humantime::format_duration(TIMEOUT)),
            format!("`fuser {path}` shows who has it open"),
        ),
        _ => return error.context(format!("working on {path}")),
    };
    let told = anyhow!(what).hint(hint);
    if code == Some(ErrorCode::DiskFull) { told.kind(NO_SPACE, None) } else { told }
}
