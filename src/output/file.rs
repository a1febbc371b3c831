//! Writes a file that appears whole or not at all, with its mode set before it has any content.

use std::fs::{File, Permissions};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use anyhow::{Context, anyhow};
use rustix::fs::{AtFlags, CWD, OFlags, linkat};

use crate::failure::Advise;

/// Writes `text` to `path` with the permission bits `mode`: where nothing is there, as a file that has no name before it is whole, so that
/// a process that is killed meanwhile leaves none; else through a temporary file in the same folder and a rename.
///
/// # Errors
/// The path with the system's reason; no file is left behind then, and an older one stays as it was. What is no regular file is never
/// replaced.
pub fn write(path: &Path, text: &str, mode: u32) -> anyhow::Result<()> {
    check_kind(path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if write_new(folder, path, text, mode).is_ok() {
        return Ok(());
    }
    let context = || format!("writing {}", path.display());
    let mut file = tempfile::Builder::new().prefix(".testbed-").tempfile_in(folder).with_context(context)?;
    // Set on the open file rather than at its creation, so that the umask takes nothing away.
    file.as_file().set_permissions(Permissions::from_mode(mode)).with_context(context)?;
    file.write_all(text.as_bytes()).with_context(context)?;
    file.persist(path).with_context(context)?;
    Ok(())
}

/// Refuses a place that is taken by something else than a regular file: a device, a pipe or a link would be replaced, not written to.
pub fn check_kind(path: &Path) -> anyhow::Result<()> {
    let Ok(found) = path.symlink_metadata() else { return Ok(()) };
    let kind = found.file_type();
    let what = match kind {
        _ if kind.is_file() => return Ok(()),
        _ if kind.is_dir() => "a folder",
        _ if kind.is_symlink() => "a link",
        _ if kind.is_fifo() => "a pipe",
        _ if kind.is_socket() => "a socket",
        _ => "a device",
    };
    let error = anyhow!("{} is {what}, and no file", path.display());
    Err(error).hint("name a regular file, or the file that a link leads to; - is standard output")
}

/// Fails where there is such a file, and on file systems that have no files without names.
fn write_new(folder: &Path, path: &Path, text: &str, mode: u32) -> std::io::Result<()> {
    let unnamed = i32::try_from(OFlags::TMPFILE.bits()).map_err(std::io::Error::other)?;
    let mut file = File::options().write(true).mode(0o600).custom_flags(unnamed).open(folder)?;
    file.set_permissions(Permissions::from_mode(mode))?;
    file.write_all(text.as_bytes())?;
    let link = format!("/proc/self/fd/{}", file.as_raw_fd());
    Ok(linkat(CWD, link, CWD, path, AtFlags::SYMLINK_FOLLOW)?)
}

#[cfg(test)]
mod tests {
    use super::*;

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
