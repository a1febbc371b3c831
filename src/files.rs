//! Files that others may have touched: opened without following a link, without waiting for anybody, and read to a bound. And locks that
//! nobody else can take, waited for no longer than told.

use std::fs::{File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use rustix::fs::OFlags;

use crate::failure::usage;
use crate::reading;

/// More than any file of testbed's own has.
pub const MOST: usize = 16 << 20;

fn careful() -> i32 {
    (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed()
}

/// Makes a folder and those above it. Root's are open for passing through, so that servers reach their own part; others are private.
///
/// # Errors
/// The system's reason.
pub fn make_folder(folder: &Path) -> io::Result<()> {
    let mode = if rustix::process::geteuid().is_root() { 0o755 } else { 0o700 };
    std::fs::DirBuilder::new().recursive(true).mode(mode).create(folder)
}

/// Opens a file for reading. A link, a device, a pipe or a folder is refused.
///
/// # Errors
/// The system's reason.
pub fn open(path: &Path) -> io::Result<File> {
    regular(File::options().read(true).custom_flags(careful()).open(path)?)
}

/// Opens a file for writing, empty, and makes it where there is none. A link, a device, a pipe or a folder is refused.
///
/// # Errors
/// The system's reason.
pub fn create(path: &Path) -> io::Result<File> {
    let file = regular(File::options().create(true).write(true).custom_flags(careful()).open(path)?)?;
    // Only now: what is no file is not touched.
    file.set_len(0)?;
    Ok(file)
}

fn regular(file: File) -> io::Result<File> {
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("it is no file")) }
}

/// Tells what is absent from what cannot be read: `None` where nothing has the name.
///
/// # Errors
/// Whatever else went wrong.
pub fn if_there<T>(outcome: io::Result<T>) -> io::Result<Option<T>> {
    match outcome {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        outcome => outcome.map(Some),
    }
}

/// Why a file of testbed's own is none. It may hold passwords, so that only the place is told.
pub fn damage(error: &serde_json::Error) -> String {
    format!("it is damaged or of another version of testbed (line {}, column {})", error.line(), error.column())
}

/// Reads a file of at most `most` bytes.
///
/// # Errors
/// As for [`open`].
pub fn read(path: &Path, most: usize) -> io::Result<Vec<u8>> {
    reading::up_to(open(path)?, most)
}

/// Refuses folders that records and servers could not name.
///
/// # Errors
/// A usage error that names the first one.
pub fn check_names(folders: &[&Path]) -> anyhow::Result<()> {
    let odd = folders.iter().find(|folder| folder.to_str().is_none());
    odd.map_or(Ok(()), |odd| Err(usage(format!("{} is no UTF-8: use a place with another name", odd.display()))))
}

/// Opens a file to be locked, and makes it where there is none: whoever can open a file can lock it, so that nobody else may.
///
/// # Errors
/// The system's reason.
pub fn open_lock(path: &Path) -> io::Result<File> {
    let file = File::options().create(true).append(true).mode(0o600).custom_flags(careful()).open(path)?;
    // One that an older testbed has made.
    if file.metadata()?.mode() & 0o077 != 0 {
        file.set_permissions(Permissions::from_mode(0o600))?;
    }
    Ok(file)
}

/// Waits for a lock that others hold for moments only. The lock ends with the file handle, also when the process is killed.
///
/// # Errors
/// The system's reason, and that it was not free in time.
pub fn lock(file: File, within: Duration) -> io::Result<File> {
    if file.try_lock().is_ok() {
        return Ok(file);
    }
    let (done, locked) = mpsc::channel();
    // A system call that cannot be given up: its thread may outlive the wait, but keeps no process from its end.
    std::thread::Builder::new().spawn(move || done.send(file.lock().map(|()| file)))?;
    let late = |_| Err(io::Error::other(format!("another process has held it for {}", humantime::format_duration(within))));
    locked.recv_timeout(within).unwrap_or_else(late)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_are_read_and_only_to_a_bound() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::fs::write(&path, "12345").unwrap();
        assert_eq!(read(&path, 5).unwrap(), b"12345");
        assert!(read(&path, 4).is_err());
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        let pipe = folder.path().join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0).unwrap();
        for other in [link.as_path(), pipe.as_path(), folder.path(), Path::new("/dev/zero")] {
            assert!(read(other, 5).is_err(), "{}", other.display());
        }
    }

    #[test]
    fn a_lock_is_for_nobody_else_and_is_not_waited_for_without_an_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        std::fs::write(&path, "").unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o666)).unwrap();
        let held = lock(open_lock(&path).unwrap(), Duration::ZERO).unwrap();
        assert_eq!(held.metadata().unwrap().mode() & 0o777, 0o600);
        let error = lock(open_lock(&path).unwrap(), Duration::from_millis(10)).unwrap_err();
        assert!(error.to_string().contains("another process has held it for 10ms"), "{error}");
    }
}
