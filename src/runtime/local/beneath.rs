//! Work inside folders that belong to the servers' account: through handles, one name at a time, and never
//! through a link. Who may write there could otherwise lead root elsewhere between two of its steps.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat, Timespec, Timestamps, chmodat, fchown, futimens, openat,
    statat,
};
use rustix::process::{Gid, Uid, getegid, geteuid};

use super::account::Account;
use crate::files;

/// The time of change of a file that nobody has written to, in seconds: far from any that a clock gives.
const UNTOUCHED: i64 = 1_000_000_000;

/// How many levels of folders are copied and looked through: servers make four. Who may write to a data folder
/// could otherwise use up the stack and the handles of whoever copies it.
pub(super) const DEEPEST: usize = 64;

/// How many levels may still be below a folder that has `left`.
pub(super) fn deeper(left: usize) -> io::Result<usize> {
    left.checked_sub(1).ok_or_else(|| {
        io::Error::other(format!("there are more than {DEEPEST} levels of folders, which no server makes"))
    })
}

/// Opens a folder; a link to one is refused.
pub(super) fn folder(at: impl AsFd, name: impl AsRef<OsStr>) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(at, name.as_ref(), flags, Mode::empty())?)
}

/// The same for a path whose folders above are nobody else's.
pub(super) fn root(path: &Path) -> io::Result<OwnedFd> {
    folder(CWD, path)
}

/// Opens a folder and takes it away from the account: from then on nobody else makes, moves or removes
/// anything in it, not even through a handle of before.
pub(super) fn take_over(at: impl AsFd, name: impl AsRef<OsStr>) -> io::Result<OwnedFd> {
    let folder = folder(at, name)?;
    if geteuid().is_root() {
        fchown(&folder, Some(geteuid()), Some(getegid()))?;
    }
    Ok(folder)
}

/// Gives an open file or folder to the account.
pub(super) fn give(handle: impl AsFd, account: Option<&Account>) -> io::Result<()> {
    let Some(account) = account else { return Ok(()) };
    Ok(fchown(handle, Some(Uid::from_raw(account.uid)), Some(Gid::from_raw(account.gid)))?)
}

/// What is in a folder, with what the system tells of each, in the order of the names.
pub(super) fn entries(folder: &OwnedFd) -> io::Result<Vec<(OsString, Stat)>> {
    let mut found = Vec::new();
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        if name != "." && name != ".." {
            found.push((name.to_owned(), statat(folder, name, AtFlags::SYMLINK_NOFOLLOW)?));
        }
    }
    found.sort_by(|(one, _), (other, _)| one.cmp(other));
    Ok(found)
}

pub(super) fn is_folder(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}

/// Whether it is a file of this user's that has no other name anywhere, as it was copied.
pub(super) fn is_untouched(stat: &Stat, owner: u32) -> bool {
    is_own_file(stat, owner) && stat.st_mtime == UNTOUCHED && stat.st_mtime_nsec == 0
}

fn is_own_file(stat: &Stat, owner: u32) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
        && stat.st_nlink == 1
        && stat.st_uid == owner
}

/// Opens a file that belongs to `owner` and has no other name, for reading.
pub(super) fn open(at: &OwnedFd, name: &OsStr, owner: u32) -> io::Result<(File, Stat)> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = openat(at, name, flags, Mode::empty())?;
    let stat = rustix::fs::fstat(&file)?;
    if is_own_file(&stat, owner) {
        return Ok((file.into(), stat));
    }
    Err(io::Error::other(format!("{} is no file of its owner's own", name.display())))
}

/// Makes a file that is not there yet, for writing.
pub(super) fn create(at: &OwnedFd, name: &OsStr) -> io::Result<File> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(at, name, flags, Mode::RUSR | Mode::WUSR)?.into())
}

/// Marks an open file as it was copied.
pub(super) fn mark(file: &File) -> io::Result<()> {
    let time = Timespec { tv_sec: UNTOUCHED, tv_nsec: 0 };
    Ok(futimens(file, &Timestamps { last_access: time, last_modification: time })?)
}

/// Makes a folder that is not there yet, for this user alone.
pub(super) fn make(at: impl AsFd, name: impl AsRef<OsStr>) -> io::Result<OwnedFd> {
    rustix::fs::mkdirat(&at, name.as_ref(), Mode::RWXU)?;
    // Where the umask has taken something away. Nobody else gets in.
    chmodat(&at, name.as_ref(), Mode::RWXU, AtFlags::empty())?;
    folder(at, name)
}

/// Puts a file with this text in the place of whatever has its name.
pub(super) fn replace(path: &Path, name: &str, text: &str, account: Option<&Account>) -> io::Result<()> {
    let (at, name) = (root(path)?, OsStr::new(name));
    files::if_there(files::remove_all_at(&at, name))?;
    let mut file = create(&at, name)?;
    io::Write::write_all(&mut file, text.as_bytes())?;
    give(&file, account)
}
