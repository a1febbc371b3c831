//! What copies of a data folder take: whether they share its blocks, and what is left where they do not.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::path::Path;

use anyhow::Context;
use rustix::io::Errno;

use crate::failure::Advise;
use crate::state::{CACHE_HINT, STATE_HINT};
use crate::words;

/// A server may die of less: a segment of PostgreSQL's log takes 16 MiB, MariaDB's temporary tables 12 MiB.
const LITTLE: u64 = 32 << 20;

/// What to do where there is no room.
const MAKE_ROOM: &str = "make room: testbed gc --seed-limit 1Gi removes the seeds that were not used for the longest time; or set \
                         XDG_STATE_HOME and XDG_CACHE_HOME to folders with more";

/// How copies are made that share blocks, for people.
pub const BY_REFERENCE: &str = "by reference: a copy shares the blocks that nobody has written to since";

/// Copies a whole file by reference: both share its blocks until somebody writes to them.
pub(super) fn share(source: &File, target: &File) -> io::Result<()> {
    Ok(rustix::fs::ioctl_ficlone(target, source)?)
}

/// Why copies of what is in one folder share no blocks when they are in the other; `None` where they do. A small
/// file is copied to find out: it is not for the kind of the file system alone to say.
///
/// # Errors
/// No file can be made in one of them.
pub fn why_not_shared(from: &Path, to: &Path) -> anyhow::Result<Option<String>> {
    let made = |folder: &Path| {
        tempfile::tempfile_in(folder).with_context(|| format!("making a file in {}", folder.display()))
    };
    let (mut source, target) = (made(from).hint(CACHE_HINT)?, made(to).hint(STATE_HINT)?);
    source.write_all(&[1; 1 << 16]).context("writing to a file").hint(MAKE_ROOM)?;
    Ok(share(&source, &target).err().map(|error| match Errno::from_io_error(&error) {
        Some(Errno::XDEV) => format!("{} and {} are on two file systems", from.display(), to.display()),
        Some(Errno::OPNOTSUPP | Errno::NOTTY) => {
            format!("the file system of {} shares no blocks", from.display())
        }
        _ => format!("files in {} share no blocks with those in {}: {error}", to.display(), from.display()),
    }))
}

/// The outcome of a copy. Where it has failed, `hint` is what to do about it unless room is what it takes.
pub(super) fn copied<T>(outcome: io::Result<T>, what: String, hint: &'static str) -> anyhow::Result<T> {
    let is_full =
        |error: &io::Error| matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded);
    let hint = if outcome.as_ref().is_err_and(is_full) { MAKE_ROOM } else { hint };
    outcome.context(what).hint(hint)
}

/// That one of these folders has no room for a server, and what to do about it.
pub(super) fn shortage(folders: &[&Path]) -> Option<String> {
    let left = |folder: &&Path| {
        let found = rustix::fs::statvfs(*folder).ok()?;
        Some((found.f_bavail.saturating_mul(found.f_frsize), folder.display().to_string()))
    };
    let (room, folder) = folders.iter().filter_map(left).min()?;
    (room < LITTLE).then(|| format!("{folder} has {} left; {MAKE_ROOM}", words::size(room)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::hints_of;

    #[test]
    fn only_a_full_disk_asks_for_room() {
        for (errno, expected) in
            [(Errno::NOSPC, MAKE_ROOM), (Errno::DQUOT, MAKE_ROOM), (Errno::ACCESS, "else")]
        {
            let error = copied::<()>(Err(errno.into()), "copying".into(), "else").unwrap_err();
            assert_eq!(hints_of(&error), [expected]);
        }
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(shortage(&[folder.path(), Path::new("/no/such/folder")]), None);
        let full = shortage(&[folder.path(), Path::new("/proc")]);
        assert!(full.is_some_and(|told| told.starts_with("/proc has 0 bytes left; make room: ")));
    }

    #[test]
    fn two_file_systems_share_no_blocks() {
        let folder = tempfile::tempdir().unwrap();
        let told = why_not_shared(folder.path(), Path::new("/dev/shm")).unwrap();
        let expected = format!("{} and /dev/shm are on two file systems", folder.path().display());
        assert_eq!(told, Some(expected));
        assert!(why_not_shared(folder.path(), Path::new("/no/such/folder")).is_err());
    }
}
