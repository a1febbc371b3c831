//! Copies a data folder file by file, on all processors: with thousands of small files the time goes into
//! making them. Each file shares its blocks with its copy where the file system can, and is copied by the kernel
//! where it cannot.

use std::ffi::OsString;
use std::io;
use std::num::NonZero;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::fs::CWD;
use serde::{Deserialize, Serialize};

use super::account::Account;
use super::{beneath, room};
use crate::{files, state};

/// More threads than this wait for the file system's journal rather than for each other.
const THREADS: usize = 4;

/// As many folders are open at once, with as many of the copy: a process may often have 1,024 open files.
const OPEN: usize = 128;

/// What a folder holds: two copies of one folder agree in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Size {
    pub files: u64,
    pub bytes: u64,
}

/// Copies the folder `from`, which belongs to `owner`, to the new folder `to`, and hands all of it over to
/// `account`: nobody else gets into it before it is whole.
///
/// # Errors
/// The system's reason, and what is in there that is no file of the owner's own. What was copied so far
/// is removed: on a full disk others need the room.
pub(super) fn copy(from: &Path, owner: u32, to: &Path, account: Option<&Account>) -> io::Result<Size> {
    let made = beneath::make(CWD, to)?;
    let copied = || -> io::Result<Size> {
        let size = fill(Arc::new(beneath::root(from)?), owner, Arc::new(made.try_clone()?), account)?;
        beneath::give(&made, account)?;
        Ok(size)
    };
    copied().inspect_err(|_| drop(files::remove_all(to)))
}

/// Copies what is in one open folder into another one that is empty and that nobody else can get into.
pub(super) fn fill(
    from: Arc<OwnedFd>,
    owner: u32,
    to: Arc<OwnedFd>,
    account: Option<&Account>,
) -> io::Result<Size> {
    let mut copying = Copying { owner, account, files: Vec::new(), folders: 0, size: Size::default() };
    copying.folder(from, to, beneath::DEEPEST)?;
    copying.copy_files()?;
    Ok(copying.size)
}

/// A file to copy: its folder, the folder of the copy, its name in both.
type Work = (Arc<OwnedFd>, Arc<OwnedFd>, OsString);

struct Copying<'a> {
    owner: u32,
    account: Option<&'a Account>,
    /// What is to be copied, and of how many folders, whose handles are open for it.
    files: Vec<Work>,
    folders: usize,
    /// What was copied.
    size: Size,
}

impl Copying<'_> {
    fn folder(&mut self, from: Arc<OwnedFd>, to: Arc<OwnedFd>, left: usize) -> io::Result<()> {
        let left = beneath::deeper(left)?;
        self.folders += 1;
        if self.folders > OPEN {
            self.copy_files()?;
        }
        for (name, stat) in beneath::entries(&from)? {
            if beneath::is_folder(&stat) {
                let made = beneath::make(&*to, &name)?;
                beneath::give(&made, self.account)?;
                self.folder(Arc::new(beneath::folder(&*from, &name)?), Arc::new(made), left)?;
            } else {
                self.files.push((Arc::clone(&from), Arc::clone(&to), name));
            }
        }
        Ok(())
    }

    fn copy_files(&mut self) -> io::Result<()> {
        let (owner, account) = (self.owner, self.account);
        let files = std::mem::take(&mut self.files);
        self.folders = 0;
        let next = AtomicUsize::new(0);
        let threads = std::thread::available_parallelism().map_or(1, NonZero::get).min(THREADS);
        let work = || -> io::Result<u64> {
            let mut bytes = 0;
            while let Some((from, to, name)) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
                bytes += copy_file(from, owner, to, name, account)?;
            }
            Ok(bytes)
        };
        let outcomes: Vec<io::Result<u64>> = std::thread::scope(|scope| {
            let others: Vec<_> = (1..threads)
                .map_while(|_| std::thread::Builder::new().spawn_scoped(scope, work).ok())
                .collect();
            let own = work();
            let joined = others.into_iter().map(|other| {
                other.join().unwrap_or_else(|_| Err(io::Error::other("a copying thread failed")))
            });
            std::iter::once(own).chain(joined).collect()
        });
        self.size.bytes += outcomes.into_iter().sum::<io::Result<u64>>()?;
        self.size.files += files.len() as u64;
        Ok(())
    }
}

/// Copies one file, and tells its length.
pub(super) fn copy_file(
    from: &OwnedFd,
    owner: u32,
    to: &OwnedFd,
    name: &std::ffi::OsStr,
    account: Option<&Account>,
) -> io::Result<u64> {
    let (source, stat) = beneath::open(from, name, owner)?;
    let target = beneath::create(to, name)?;
    // Nobody else holds the copy: its length is what was copied.
    let bytes = match room::share(&source, &target) {
        Ok(()) => target.metadata()?.len(),
        Err(_) => io::copy(&mut &source, &mut &target)?,
    };
    target.set_permissions(std::fs::Permissions::from_mode(stat.st_mode & 0o777))?;
    beneath::give(&target, account)?;
    beneath::mark(&target)?;
    Ok(bytes)
}

/// The names, modes and lengths of all files of a folder as one short text; `None` where one of them does not
/// belong to `owner`, or was written to since it was copied.
pub(super) fn manifest(folder: &Path, owner: u32) -> io::Result<Option<String>> {
    let mut text = Vec::new();
    Ok(list(&beneath::root(folder)?, owner, beneath::DEEPEST, &mut text)?.then(|| state::hash(&text)))
}

fn list(folder: &OwnedFd, owner: u32, left: usize, text: &mut Vec<u8>) -> io::Result<bool> {
    let left = beneath::deeper(left)?;
    for (name, stat) in beneath::entries(folder)? {
        text.extend(name.as_encoded_bytes());
        text.push(0);
        text.extend(stat.st_mode.to_le_bytes());
        if beneath::is_folder(&stat) {
            if !list(&beneath::folder(folder, &name)?, owner, left, text)? {
                return Ok(false);
            }
            text.extend(b"..\0");
        } else if beneath::is_untouched(&stat, owner) {
            text.extend(stat.st_size.to_le_bytes());
        } else {
            return Ok(false);
        }
    }
    Ok(true)
}

/// What is in a folder.
pub(super) fn measure(folder: &Path) -> io::Result<Size> {
    fn measure(folder: &Path, left: usize) -> io::Result<Size> {
        let left = beneath::deeper(left)?;
        let mut size = Size::default();
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            let inner = match entry.file_type()?.is_dir() {
                true => measure(&entry.path(), left)?,
                false => Size { files: 1, bytes: entry.metadata()?.len() },
            };
            size = Size { files: size.files + inner.files, bytes: size.bytes + inner.bytes };
        }
        Ok(size)
    }
    measure(folder, beneath::DEEPEST)
}

#[cfg(test)]
mod tests {
    use super::super::account;
    use super::*;

    #[test]
    fn links_are_never_followed_and_a_change_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("secret"), "secret").unwrap();
        std::fs::create_dir_all(at("from/a")).unwrap();
        for (to, is_hard) in [("one", false), ("two", true)] {
            let planted = at("from/a/planted");
            if is_hard {
                std::fs::hard_link(at("secret"), &planted)
            } else {
                std::os::unix::fs::symlink(at("secret"), &planted)
            }
            .unwrap();
            assert!(copy(&at("from"), account::owner(None), &at(to), None).is_err());
            assert!(!at(to).exists());
            std::fs::remove_file(planted).unwrap();
        }
        std::os::unix::fs::symlink(at("from"), at("link")).unwrap();
        assert!(copy(&at("link"), account::owner(None), &at("to"), None).is_err());
        std::fs::write(at("from/a/file"), "content").unwrap();
        copy(&at("from"), account::owner(None), &at("to"), None).unwrap();
        let manifest_before =
            manifest(&at("to"), account::owner(None)).unwrap().expect("nobody has written to it");
        std::fs::write(at("to/a/file"), "CONTENT").unwrap();
        assert_eq!(manifest(&at("to"), account::owner(None)).unwrap(), None);
        copy(&at("from"), account::owner(None), &at("again"), None).unwrap();
        assert_eq!(manifest(&at("again"), account::owner(None)).unwrap(), Some(manifest_before));
    }

    #[test]
    fn a_copy_has_the_same_files_and_permissions() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        std::fs::create_dir_all(from.join("a/b")).unwrap();
        for number in 0..OPEN * 5 {
            std::fs::create_dir(from.join(number.to_string())).unwrap();
        }
        for number in 0..50 {
            std::fs::write(from.join(format!("a/b/{number}")), "x".repeat(number)).unwrap();
        }
        std::fs::set_permissions(from.join("a/b/7"), std::fs::Permissions::from_mode(0o600)).unwrap();
        let size = copy(&from, account::owner(None), &to, None).unwrap();
        assert_eq!(size, Size { files: 50, bytes: (0..50).sum() });
        assert_eq!(size, measure(&from).unwrap());
        assert_eq!(size, measure(&to).unwrap());
        assert_eq!(std::fs::read_to_string(to.join("a/b/7")).unwrap(), "xxxxxxx");
        assert_eq!(std::fs::metadata(to.join("a/b/7")).unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::create_dir_all(from.join("a/".repeat(beneath::DEEPEST))).unwrap();
        let deep = folder.path().join("deep");
        let error = copy(&from, account::owner(None), &deep, None).unwrap_err();
        assert!(error.to_string().contains("levels of folders"), "{error}");
        assert!(measure(&from).is_err() && manifest(&from, account::owner(None)).is_err() && !deep.exists());
        assert!(copy(&from, account::owner(None), &to, None).is_err(), "never over another folder");
        assert_eq!(measure(&to).unwrap(), size, "and that stays");
    }
}
