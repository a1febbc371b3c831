//! Puts a data folder that was used back as it was prepared. Every copied file has one and the same time of change, so that those that were
//! written to since are known without being read: after most runs these are a few of a thousand.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};

use super::account::Account;
use super::copy;

/// The time of change of a file that nobody has written to, in seconds: far from any that a clock gives.
const UNTOUCHED: i64 = 1_000_000_000;

/// Marks a file as it was copied.
///
/// # Errors
/// The system's reason.
pub fn mark(path: &Path) -> io::Result<()> {
    let time = Timespec { tv_sec: UNTOUCHED, tv_nsec: 0 };
    Ok(utimensat(CWD, path, &Timestamps { last_access: time, last_modification: time }, AtFlags::SYMLINK_NOFOLLOW)?)
}

fn is_untouched(path: &Path) -> io::Result<bool> {
    let metadata = std::fs::symlink_metadata(path)?;
    Ok(metadata.is_file() && metadata.mtime() == UNTOUCHED && metadata.mtime_nsec() == 0)
}

/// Makes the folder `data` the same as `prepared`, of which it was a copy once, and tells how many files had to be made anew.
///
/// # Errors
/// The system's reason; the folder is in no known state then.
pub fn restore(prepared: &Path, data: &Path, account: Option<&Account>) -> io::Result<usize> {
    let mut count = 0;
    let mut present = names(data)?;
    for entry in std::fs::read_dir(prepared)? {
        let entry = entry?;
        let name = entry.file_name();
        let (from, to) = (entry.path(), data.join(&name));
        let was_there = present.remove(&name);
        if entry.file_type()?.is_dir() {
            if was_there && to.symlink_metadata()?.is_dir() {
                count += restore(&from, &to, account)?;
            } else {
                remove(&to, was_there)?;
                count += usize::try_from(copy::copy(&from, &to, account)?.files).unwrap_or_default();
            }
        } else if !was_there || !is_untouched(&to)? {
            remove(&to, was_there)?;
            copy::copy_file(&from, &to, account)?;
            count += 1;
        }
    }
    present.iter().try_for_each(|name| remove(&data.join(name), true))?;
    Ok(count)
}

fn names(folder: &Path) -> io::Result<BTreeSet<OsString>> {
    std::fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name())).collect()
}

fn remove(path: &Path, is_there: bool) -> io::Result<()> {
    match is_there {
        true if path.symlink_metadata()?.is_dir() => std::fs::remove_dir_all(path),
        true => std::fs::remove_file(path),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_was_done_to_a_copy_is_undone() {
        let folder = tempfile::tempdir().unwrap();
        let (prepared, data) = (folder.path().join("prepared"), folder.path().join("data"));
        std::fs::create_dir_all(prepared.join("base/1")).unwrap();
        std::fs::create_dir(prepared.join("wal")).unwrap();
        for file in ["control", "base/1/a", "base/1/b", "base/1/c", "wal/1"] {
            std::fs::write(prepared.join(file), file).unwrap();
        }
        copy::copy(&prepared, &data, None).unwrap();
        assert_eq!(restore(&prepared, &data, None).unwrap(), 0);
        // Of the same length, and within the clock's grain of the copy.
        std::fs::write(data.join("control"), "CONTROL").unwrap();
        std::fs::remove_file(data.join("base/1/a")).unwrap();
        std::fs::remove_file(data.join("base/1/b")).unwrap();
        std::fs::create_dir(data.join("base/1/b")).unwrap();
        std::fs::remove_dir_all(data.join("wal")).unwrap();
        std::fs::create_dir_all(data.join("base/2/x")).unwrap();
        std::fs::write(data.join("server.pid"), "1").unwrap();
        std::os::unix::fs::symlink("/", data.join("link")).unwrap();
        assert_eq!(restore(&prepared, &data, None).unwrap(), 4);
        assert_eq!(copy::measure(&data).unwrap(), copy::measure(&prepared).unwrap());
        for file in ["control", "base/1/a", "base/1/b", "base/1/c", "wal/1"] {
            assert_eq!(std::fs::read_to_string(data.join(file)).unwrap(), file);
        }
        assert_eq!(restore(&prepared, &data, None).unwrap(), 0);
        assert_eq!(names(&data).unwrap(), ["base", "control", "wal"].map(OsString::from).into());
    }
}
