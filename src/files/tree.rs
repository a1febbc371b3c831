//! The removal of a folder with all that is in it, whatever somebody has made there: however deep it is, and
//! without the rights that its owner has to have for it.
//!
//! The standard library calls itself for each level and keeps a handle of each, so that whoever may write to a
//! folder could end the program that removes it. Here a folder that is not empty is moved up to the folder
//! which is to be removed, until nothing in there has more than one level.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, StatxFlags, chmodat, fchmod, fchown, fstat, openat, renameat,
    statat, statx, unlinkat,
};
use rustix::io::Errno;
use rustix::process::{getegid, geteuid};

/// How often it is looked again where somebody works in the folder at the same time: who fills it, or removes it too.
const DISTURBED: usize = 1000;

/// Removes what has this name, with all that is in it. A link is removed itself.
///
/// # Errors
/// The system's reason; what could be removed is gone.
pub fn remove_all(path: &Path) -> io::Result<()> {
    let above = path.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    remove_all_at(openat(CWD, above, flags, Mode::empty())?, name)
}

/// The same in an open folder.
///
/// # Errors
/// The system's reason; what could be removed is gone.
pub fn remove_all_at(at: impl AsFd, name: &OsStr) -> io::Result<()> {
    let stat = statat(&at, name, AtFlags::SYMLINK_NOFOLLOW)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
        return Ok(unlinkat(at, name, AtFlags::empty())?);
    }
    let mount = mount_of(&at)?;
    let top = own(&at, name, mount)?;
    let (mut moved, mut disturbed, mut is_first) = (0, 0, true);
    loop {
        let within = super::if_there(entries(&top))?.unwrap_or_default();
        let has_folders = within.iter().any(|(_, is_folder)| *is_folder);
        let mut is_disturbed = !has_folders && !is_first;
        for (name, is_folder) in within {
            // What is gone by itself, as where a server that was ended removes its own files, is as good. The files
            // of the folder itself go last: by them it is known again where something of it cannot be removed.
            if !is_folder {
                if !has_folders {
                    if_there(unlinkat(&top, &name, AtFlags::empty()))?;
                }
                continue;
            }
            is_disturbed |= !is_first && !was_moved(&name, moved);
            let Some(inner) = super::if_there(own(&top, &name, mount))? else { continue };
            for (deeper, is_folder) in super::if_there(entries(&inner))?.unwrap_or_default() {
                if is_folder {
                    move_up(&inner, &deeper, &top, &mut moved)?;
                } else {
                    if_there(unlinkat(&inner, &deeper, AtFlags::empty()))?;
                }
            }
            match unlinkat(&top, &name, AtFlags::REMOVEDIR) {
                Err(Errno::NOTEMPTY | Errno::EXIST) => is_disturbed = true,
                removed => if_there(removed)?,
            }
        }
        is_first = false;
        disturbed += usize::from(is_disturbed);
        match unlinkat(&at, name, AtFlags::REMOVEDIR) {
            Err(Errno::NOTEMPTY | Errno::EXIST) if disturbed < DISTURBED => {}
            removed => return if_there(removed),
        }
    }
}

/// Whether it has this name from [`move_up`].
fn was_moved(name: &OsStr, moved: u64) -> bool {
    let number = name.to_str().and_then(|name| name.strip_prefix('.')?.parse::<u64>().ok());
    number.is_some_and(|number| number <= moved)
}

fn if_there(outcome: rustix::io::Result<()>) -> io::Result<()> {
    super::if_there(outcome.map_err(io::Error::from)).map(drop)
}

/// Opens a folder so that what is in it can be removed, and only by this user: for root it is taken away from
/// whoever it belongs to, from others its rights are taken as they have to be.
///
/// What is mounted in there is somebody else's, and refused.
fn own(at: impl AsFd, name: &OsStr, mount: Option<u64>) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let open = || openat(&at, name, flags, Mode::empty());
    let folder = match open() {
        Err(Errno::ACCESS) => {
            chmodat(&at, name, Mode::RWXU, AtFlags::empty())?;
            open()?
        }
        opened => opened?,
    };
    if mount.is_some() && mount_of(&folder)? != mount {
        return Err(mounted(name));
    }
    if geteuid().is_root() {
        fchown(&folder, Some(geteuid()), Some(getegid()))?;
    } else if !Mode::from_raw_mode(fstat(&folder)?.st_mode).contains(Mode::RWXU) {
        fchmod(&folder, Mode::RWXU)?;
    }
    Ok(folder)
}

fn mounted(name: &OsStr) -> io::Error {
    let why = format!("something is mounted on the folder {} in it: unmount it", name.display());
    io::Error::new(io::ErrorKind::ResourceBusy, why)
}

/// The mount that an open folder is in; `None` where the system does not tell (before Linux 5.8).
fn mount_of(folder: impl AsFd) -> io::Result<Option<u64>> {
    let told = statx(folder, "", AtFlags::EMPTY_PATH, StatxFlags::MNT_ID)?;
    Ok((told.stx_mask & StatxFlags::MNT_ID.bits() != 0).then_some(told.stx_mnt_id))
}

/// What is in an open folder, and whether it is a folder.
fn entries(folder: &OwnedFd) -> io::Result<Vec<(OsString, bool)>> {
    let mut found = Vec::new();
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        if name == "." || name == ".." {
            continue;
        }
        let kind = match entry.file_type() {
            FileType::Unknown => match statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
                Err(Errno::NOENT) => continue,
                stat => FileType::from_raw_mode(stat?.st_mode),
            },
            known => known,
        };
        found.push((name.to_owned(), kind == FileType::Directory));
    }
    Ok(found)
}

/// Removes an empty folder, or moves it to the top by a name that nothing has there.
fn move_up(from: &OwnedFd, name: &OsStr, top: &OwnedFd, moved: &mut u64) -> io::Result<()> {
    match unlinkat(from, name, AtFlags::REMOVEDIR) {
        Err(Errno::NOTEMPTY | Errno::EXIST) => {}
        Err(Errno::BUSY) => return Err(mounted(name)),
        removed => return if_there(removed),
    }
    let mut is_open = false;
    loop {
        *moved += 1;
        let free = OsString::from(format!(".{moved}"));
        match renameat(from, name, top, &free) {
            Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR) => {}
            // A folder that moves is written to: it notes the folder above it.
            Err(Errno::ACCESS) if !is_open => {
                chmodat(from, name, Mode::RWXU, AtFlags::empty())?;
                is_open = true;
            }
            renamed => return if_there(renamed),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_folder_goes_with_whatever_is_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("kept"), "kept").unwrap();
        std::fs::create_dir_all(at("doomed/a/b/c/d")).unwrap();
        std::fs::create_dir_all(at("doomed/a/e")).unwrap();
        // What could stand in the way of the names that are taken for a while.
        for name in [".1", ".2/full", ".3"] {
            std::fs::create_dir_all(at("doomed").join(name)).unwrap();
        }
        std::fs::write(at("doomed/.4"), "").unwrap();
        std::fs::write(at("doomed/a/b/c/file"), "").unwrap();
        std::os::unix::fs::symlink(folder.path(), at("doomed/a/b/link")).unwrap();
        std::os::unix::fs::symlink(at("kept"), at("doomed/a/link")).unwrap();
        for (name, mode) in [("doomed/a/b/c", 0), ("doomed/a/b", 0o500), ("doomed/a", 0o555)] {
            std::fs::set_permissions(at(name), std::fs::Permissions::from_mode(mode)).unwrap();
        }
        remove_all(&at("doomed")).unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        std::os::unix::fs::symlink(at("kept"), at("link")).unwrap();
        remove_all(&at("link")).unwrap();
        assert_eq!(std::fs::read_to_string(at("kept")).unwrap(), "kept");
        assert_eq!(remove_all(&at("link")).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn others_may_remove_it_too_or_fill_it_for_a_while() {
        for _ in 0..8 {
            let folder = tempfile::tempdir().unwrap();
            let doomed = folder.path().join("doomed");
            let inner = doomed.join("inner");
            for number in 0..100 {
                std::fs::create_dir_all(inner.join(format!("{number}/b/c/d"))).unwrap();
                std::fs::write(inner.join(format!("{number}/file")), "").unwrap();
            }
            let deep = openat(CWD, inner.join("1"), OFlags::DIRECTORY, Mode::empty()).unwrap();
            let writing = || {
                for number in 0..2000 {
                    let name = format!("late{number}");
                    if rustix::fs::mkdirat(&deep, &name, Mode::RWXU).is_err() {
                        return;
                    }
                    let _ = rustix::fs::mkdirat(&deep, format!("{name}/x"), Mode::RWXU);
                }
            };
            let remove = |path| super::super::if_there(remove_all(path)).unwrap();
            std::thread::scope(|scope| {
                scope.spawn(writing);
                for path in [&doomed, &doomed, &inner] {
                    scope.spawn(move || remove(path));
                }
            });
            assert!(!doomed.exists());
        }
    }

    #[test]
    fn what_cannot_be_removed_keeps_the_folders_own_files() {
        let folder = tempfile::tempdir().unwrap();
        let doomed = folder.path().join("doomed");
        std::fs::create_dir_all(doomed.join("a/proc/b")).unwrap();
        std::fs::write(doomed.join("note"), "").unwrap();
        let (outside, target) = (tempfile::tempdir().unwrap(), doomed.join("a/proc"));
        std::fs::write(outside.path().join("kept"), "").unwrap();
        let run = |program: &str, args: &[&Path]| {
            let status =
                std::process::Command::new(program).args(args).stderr(std::process::Stdio::null()).status();
            status.is_ok_and(|status| status.success())
        };
        if !run("mount", &[Path::new("--bind"), outside.path(), &target]) {
            eprintln!("skipped: only root can mount something");
            return;
        }
        let refused = [&doomed, &doomed.join("a"), &target]
            .map(|path| remove_all(path).map_err(|error| error.to_string()));
        assert!(run("umount", &[&target]));
        for refused in refused {
            let told = refused.unwrap_err();
            assert!(told.contains("something is mounted on the folder proc"), "{told}");
        }
        assert!(outside.path().join("kept").exists() && doomed.join("note").exists());
        remove_all(&doomed).unwrap();
        assert!(!doomed.exists());
    }

    #[test]
    fn who_never_stops_filling_it_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let doomed = folder.path().join("doomed");
        std::fs::create_dir(&doomed).unwrap();
        let over = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for number in 0.. {
                    if over.load(std::sync::atomic::Ordering::Relaxed) {
                        return;
                    }
                    let _ = std::fs::create_dir_all(doomed.join(format!("f{}", number % 50)));
                }
            });
            // Either of the two: the folder is gone for a moment now and then.
            let _ = remove_all(&doomed);
            over.store(true, std::sync::atomic::Ordering::Relaxed);
        });
    }

    #[test]
    fn a_folder_may_be_as_deep_as_it_will() {
        let folder = tempfile::tempdir().unwrap();
        let mut at = openat(CWD, folder.path(), OFlags::DIRECTORY, Mode::empty()).unwrap();
        for _ in 0..5_000 {
            rustix::fs::mkdirat(&at, "d", Mode::RWXU).unwrap();
            rustix::fs::mkdirat(&at, "e", Mode::RWXU).unwrap();
            at = openat(&at, "d", OFlags::DIRECTORY, Mode::empty()).unwrap();
        }
        // As little room as that of many a thread.
        let doomed = folder.path().join("d");
        let removing = std::thread::Builder::new().stack_size(128 << 10).spawn(move || remove_all(&doomed));
        removing.unwrap().join().unwrap().unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
