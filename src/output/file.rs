//! Writes a file that appears whole or not at all, with its mode set before it has any content.

use std::fs::Permissions;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::Context;

/// Writes `text` to `path` with the permission bits `mode`, through a temporary file in the same folder and a rename.
///
/// # Errors
/// The path with the system's reason; no file is left behind then, and an older one stays as it was.
pub fn write(path: &Path, text: &str, mode: u32) -> anyhow::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let context = || format!("writing {}", path.display());
    let mut file = tempfile::Builder::new().prefix(".testbed-").tempfile_in(folder).with_context(context)?;
    // Set on the open file rather than at its creation, so that the umask takes nothing away.
    file.as_file().set_permissions(Permissions::from_mode(mode)).with_context(context)?;
    file.write_all(text.as_bytes()).with_context(context)?;
    file.persist(path).with_context(context)?;
    Ok(())
}

/// The same for a file that is not there yet: it has no name before it is whole, so that a process that is killed leaves nothing. Where the
/// file system cannot do that, or somebody makes a file of that name meanwhile, it is written as by [`write`].
///
/// # Errors
/// As for [`write`].
pub fn write_new(path: &Path, text: &str, mode: u32) -> anyhow::Result<()> {
    if write_unnamed(path, text, mode).is_ok() {
        return Ok(());
    }
    write(path, text, mode)
}

#[cfg(target_os = "linux")]
fn write_unnamed(path: &Path, text: &str, mode: u32) -> std::io::Result<()> {
    use std::os::fd::AsRawFd;

    use rustix::fs::{AtFlags, CWD, Mode, OFlags, linkat, open};

    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
    let mut file = std::fs::File::from(open(folder, flags, Mode::RUSR | Mode::WUSR)?);
    file.set_permissions(Permissions::from_mode(mode))?;
    file.write_all(text.as_bytes())?;
    let unnamed = format!("/proc/self/fd/{}", file.as_raw_fd());
    Ok(linkat(CWD, unnamed, CWD, path, AtFlags::SYMLINK_FOLLOW)?)
}

#[cfg(not(target_os = "linux"))]
fn write_unnamed(_: &Path, _: &str, _: u32) -> std::io::Result<()> {
    Err(std::io::ErrorKind::Unsupported.into())
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
            write_new(&path, text, 0o640).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let error = write(Path::new("/nonexistent/a.json"), "", 0o600).unwrap_err();
        assert!(format!("{error:#}").starts_with("writing /nonexistent/a.json: "));
    }
}
