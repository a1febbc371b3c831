//! Files that others may have touched: opened without following a link, without waiting for anybody, and read
//! to a bound; written so that they appear whole or not at all. And locks that nobody else can take, waited
//! for no longer than told.

mod tree;

use std::fs::{File, Permissions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use rustix::fs::{AtFlags, CWD, OFlags, RenameFlags, linkat, renameat_with};

use crate::failure::{Advise, usage};
use crate::reading;

pub use tree::{remove_all, remove_all_at};

/// More than any file of testbed's own has.
pub const MOST: usize = 16 << 20;

fn careful() -> i32 {
    (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed()
}

/// Makes a folder and those above it. Root's are open for passing through, so that servers reach their own
/// part; others are private.
///
/// # Errors
/// The system's reason.
pub fn make_folder(folder: &Path) -> io::Result<()> {
    let mode = if rustix::process::geteuid().is_root() { 0o755 } else { 0o700 };
    let is_missing = |folder: &&Path| !folder.as_os_str().is_empty() && folder.symlink_metadata().is_err();
    let missing: Vec<&Path> = folder.ancestors().take_while(is_missing).collect();
    for folder in missing.into_iter().rev() {
        match std::fs::DirBuilder::new().mode(0o700).create(folder) {
            // By its name, in a folder of this user's: the umask takes nothing away.
            Ok(()) => std::fs::set_permissions(folder, Permissions::from_mode(mode))?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    // What is there is a folder, or this says why not.
    std::fs::DirBuilder::new().recursive(true).mode(mode).create(folder)
}

/// Opens a folder of root's for passing through, and the one above it that is testbed's own: one that was made by an
/// older testbed with a strict umask would keep all servers out.
///
/// # Errors
/// The system's reason.
pub fn let_servers_pass(folder: &Path) -> io::Result<()> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let own = folder.parent().filter(|above| above.file_name().is_some_and(|name| name == "testbed"));
    for folder in own.into_iter().chain([folder]) {
        let found = folder.symlink_metadata()?;
        if found.is_dir() && found.uid() == 0 && found.mode() & 0o001 == 0 {
            std::fs::set_permissions(folder, Permissions::from_mode(found.mode() & 0o7777 | 0o011))?;
        }
    }
    Ok(())
}

/// Opens a file for reading. A link, a device, a pipe or a folder is refused.
///
/// # Errors
/// The system's reason.
pub fn open(path: &Path) -> io::Result<File> {
    regular(File::options().read(true).custom_flags(careful()).open(path)?)
}

/// Opens a file for writing, empty, and makes it where there is none. A link, a device, a pipe or a folder is
/// refused.
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
    reading::refuse(&file.metadata()?).map(|()| file)
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
    format!(
        "it is damaged or of another version of testbed (line {}, column {})",
        error.line(),
        error.column()
    )
}

/// Reads a file of at most `most` bytes.
///
/// # Errors
/// As for [`open`].
pub fn read(path: &Path, most: usize) -> io::Result<Vec<u8>> {
    reading::up_to(open(path)?, most)
}

/// Writes `text` to `path` with the permission bits `mode`: where nothing is there, as a file that has no
/// name before it is whole, so that a process that is killed meanwhile leaves none; else through a temporary
/// file in the same folder and a rename.
///
/// # Errors
/// The path with the system's reason; no file is left behind then, and an older one stays as it was. What is
/// no regular file is never replaced.
pub fn write(path: &Path, text: &str, mode: u32) -> anyhow::Result<()> {
    write_bytes(path, text.as_bytes(), mode)
}

/// The same for what is no text.
pub fn write_bytes(path: &Path, content: &[u8], mode: u32) -> anyhow::Result<()> {
    check_kind(path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if write_new(folder, path, content, mode).is_ok() {
        return Ok(());
    }
    let context = || format!("writing {}", path.display());
    let mut file = tempfile::Builder::new().prefix(".testbed-").tempfile_in(folder).with_context(context)?;
    // Set on the open file rather than at its creation, so that the umask takes nothing away.
    file.as_file().set_permissions(Permissions::from_mode(mode)).with_context(context)?;
    file.write_all(content).with_context(context)?;
    file.persist(path).with_context(context)?;
    Ok(())
}

/// Refuses a place that is taken by something else than a regular file: a device, a pipe or a link would be
/// replaced, not written to.
///
/// # Errors
/// What is there.
pub fn check_kind(path: &Path) -> anyhow::Result<()> {
    let Ok(found) = path.symlink_metadata() else { return Ok(()) };
    if found.is_file() {
        return Ok(());
    }
    let error = anyhow!("{} is {}, and no file", path.display(), reading::kind(found.file_type()));
    Err(error).hint("name a regular file, or the file that a link leads to; - is standard output")
}

/// Fails where there is such a file, and on file systems that have no files without names.
fn write_new(folder: &Path, path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let unnamed = i32::try_from(OFlags::TMPFILE.bits()).map_err(std::io::Error::other)?;
    let mut file = File::options().write(true).mode(0o600).custom_flags(unnamed).open(folder)?;
    file.set_permissions(Permissions::from_mode(mode))?;
    file.write_all(content)?;
    let link = format!("/proc/self/fd/{}", file.as_raw_fd());
    Ok(linkat(CWD, link, CWD, path, AtFlags::SYMLINK_FOLLOW)?)
}

/// Refuses folders that records and servers could not name.
///
/// # Errors
/// A usage error that names the first one.
pub fn check_names(folders: &[&Path]) -> anyhow::Result<()> {
    let odd = folders.iter().find(|folder| folder.to_str().is_none());
    odd.map_or(Ok(()), |odd| {
        Err(usage(format!("{} is no UTF-8: use a place with another name", odd.display())))
    })
}

/// Puts a file or folder in the place of another one and that one in its place, in one step where the file system
/// can.
///
/// # Errors
/// The system's reason.
pub fn exchange(one: &Path, other: &Path) -> io::Result<()> {
    if renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE).is_ok() {
        return Ok(());
    }
    let between = other.with_extension("before");
    std::fs::rename(one, &between)?;
    std::fs::rename(other, one)?;
    std::fs::rename(between, other)
}

/// Opens a file to be locked, and makes it where there is none: whoever can open a file can lock it, so that
/// nobody else may.
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

/// Waits for a lock that others hold for moments only. The lock ends with the file handle, also when the
/// process is killed.
///
/// # Errors
/// The system's reason, and that it was not free in time.
pub fn lock(file: File, within: Duration) -> io::Result<File> {
    if file.try_lock().is_ok() {
        return Ok(file);
    }
    let (done, locked) = mpsc::channel();
    // A system call that cannot be given up: its thread may outlive the wait, but keeps no process from its
    // end.
    std::thread::Builder::new().spawn(move || done.send(file.lock().map(|()| file)))?;
    let late = |_| {
        Err(io::Error::other(format!(
            "another process has held it for {}",
            humantime::format_duration(within)
        )))
    };
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
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0)
            .unwrap();
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

    #[test]
    fn the_file_has_the_mode_and_nothing_else_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        write(&path, "[]\n", 0o640).unwrap();
        write(&path, "[1]\n", 0o600).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "[1]\n");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_new_file_appears_whole_and_replaces_one_that_came_first() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        for text in ["[]\n", "[1]\n"] {
            write(&path, text, 0o640).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_is_no_file_stays() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("file"), "old").unwrap();
        std::os::unix::fs::symlink(at("file"), at("link")).unwrap();
        std::os::unix::fs::symlink(at("nowhere"), at("dangling")).unwrap();
        rustix::fs::mknodat(CWD, at("pipe"), rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0).unwrap();
        for (name, what) in [("link", "a link"), ("dangling", "a link"), ("pipe", "a pipe")] {
            let before = at(name).symlink_metadata().unwrap().file_type();
            let error = write(&at(name), "new", 0o600).unwrap_err();
            assert!(format!("{error:#}").contains(&format!("{name} is {what}")), "{error:#}");
            assert_eq!(at(name).symlink_metadata().unwrap().file_type(), before);
        }
        assert_eq!(std::fs::read_to_string(at("file")).unwrap(), "old");
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let error = write(Path::new("/nonexistent/a.json"), "", 0o600).unwrap_err();
        assert!(format!("{error:#}").starts_with("writing /nonexistent/a.json: "));
    }
}
