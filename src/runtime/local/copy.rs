//! Copies a data folder file by file, on all processors: with thousands of small files the time goes into making them. Each file is copied
//! by the kernel, which shares the blocks where the file system can.

use std::io;
use std::num::NonZero;
use std::os::unix::fs::{DirBuilderExt, chown};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use serde::{Deserialize, Serialize};

use super::account::Account;
use super::restore;

/// More threads than this wait for the file system's journal rather than for each other.
const THREADS: usize = 4;

/// What a folder holds: two copies of one folder agree in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Size {
    /// The number of files.
    pub files: u64,
    /// Their lengths together.
    pub bytes: u64,
}

/// Copies the folder `from` to the new folder `to`, and hands all of it over to `account`.
///
/// # Errors
/// The system's reason. What was copied so far stays.
pub fn copy(from: &Path, to: &Path, account: Option<&Account>) -> io::Result<Size> {
    let mut files = Vec::new();
    make_folders(from, to, account, &mut files)?;
    let next = AtomicUsize::new(0);
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get).min(THREADS);
    let work = || -> io::Result<u64> {
        let mut bytes = 0;
        while let Some((from, to)) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
            bytes += copy_file(from, to, account)?;
        }
        Ok(bytes)
    };
    let outcomes: Vec<io::Result<u64>> = std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        let own = work();
        let joined = others.into_iter().map(|other| other.join().unwrap_or_else(|_| Err(io::Error::other("a copying thread failed"))));
        std::iter::once(own).chain(joined).collect()
    });
    let bytes = outcomes.into_iter().sum::<io::Result<u64>>()?;
    Ok(Size { files: files.len() as u64, bytes })
}

/// Copies one file, and tells its length.
///
/// # Errors
/// The system's reason.
pub fn copy_file(from: &Path, to: &Path, account: Option<&Account>) -> io::Result<u64> {
    let bytes = std::fs::copy(from, to)?;
    hand_over(to, account)?;
    restore::mark(to)?;
    Ok(bytes)
}

fn make_folders(from: &Path, to: &Path, account: Option<&Account>, files: &mut Vec<(PathBuf, PathBuf)>) -> io::Result<()> {
    std::fs::DirBuilder::new().mode(0o700).create(to)?;
    hand_over(to, account)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if entry.file_type()?.is_dir() {
            make_folders(&from, &to, account, files)?;
        } else {
            files.push((from, to));
        }
    }
    Ok(())
}

fn hand_over(path: &Path, account: Option<&Account>) -> io::Result<()> {
    account.map_or(Ok(()), |account| chown(path, Some(account.uid), Some(account.gid)))
}

/// What is in a folder.
///
/// # Errors
/// The system's reason.
pub fn measure(folder: &Path) -> io::Result<Size> {
    let mut size = Size::default();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            let inner = measure(&entry.path())?;
            size = Size { files: size.files + inner.files, bytes: size.bytes + inner.bytes };
        } else {
            size = Size { files: size.files + 1, bytes: size.bytes + entry.metadata()?.len() };
        }
    }
    Ok(size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_has_the_same_files_and_permissions() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        std::fs::create_dir_all(from.join("a/b")).unwrap();
        for number in 0..50 {
            std::fs::write(from.join(format!("a/b/{number}")), "x".repeat(number)).unwrap();
        }
        std::fs::set_permissions(from.join("a/b/7"), std::fs::Permissions::from_mode(0o600)).unwrap();
        let size = copy(&from, &to, None).unwrap();
        assert_eq!(size, Size { files: 50, bytes: (0..50).sum() });
        assert_eq!(size, measure(&from).unwrap());
        assert_eq!(size, measure(&to).unwrap());
        assert_eq!(std::fs::read_to_string(to.join("a/b/7")).unwrap(), "xxxxxxx");
        assert_eq!(std::fs::metadata(to.join("a/b/7")).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(copy(&from, &to, None).is_err(), "never over another folder");
    }
}
