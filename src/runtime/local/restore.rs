//! Puts a data folder that was used back as it was prepared. Every copied file has one and the same time of
//! change, so that those that were written to since are known without being read: after most runs these are a
//! few of a thousand.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::CWD;

use super::account::{self, Account};
use super::{beneath, copy};
use crate::files;

/// Makes the folder `data` the same as `prepared`, of which it was a copy once, and tells how many files had
/// to be made anew. Where this is root, the folder itself stays root's, so that nobody gets into it.
///
/// # Errors
/// The system's reason; the folder is in no known state then.
pub(super) fn restore(prepared: &Path, data: &Path, account: Option<&Account>) -> io::Result<usize> {
    let prepared = Arc::new(beneath::root(prepared)?);
    restore_folder(&prepared, &Arc::new(beneath::take_over(CWD, data)?), account, beneath::DEEPEST)
}

fn restore_folder(
    prepared: &Arc<OwnedFd>,
    data: &Arc<OwnedFd>,
    account: Option<&Account>,
    left: usize,
) -> io::Result<usize> {
    let left = beneath::deeper(left)?;
    let (own, owner) = (account::owner(None), account::owner(account));
    let mut count = 0;
    let mut present: BTreeMap<_, _> = beneath::entries(data)?.into_iter().collect();
    for (name, wanted) in beneath::entries(prepared)? {
        let found = present.remove(&name);
        if beneath::is_folder(&wanted) {
            let from = Arc::new(beneath::folder(&**prepared, &name)?);
            let inner = match &found {
                Some(found) if beneath::is_folder(found) => {
                    let inner = Arc::new(beneath::take_over(&**data, &name)?);
                    count += restore_folder(&from, &inner, account, left)?;
                    inner
                }
                _ => {
                    found.as_ref().map_or(Ok(()), |_| files::remove_all_at(data, &name))?;
                    let inner = Arc::new(beneath::make(&**data, &name)?);
                    count += usize::try_from(copy::fill(from, own, Arc::clone(&inner), account)?.files)
                        .unwrap_or_default();
                    inner
                }
            };
            beneath::give(&*inner, account)?;
        } else if found
            .as_ref()
            .is_none_or(|found| !beneath::is_untouched(found, owner) || found.st_size != wanted.st_size)
        {
            found.as_ref().map_or(Ok(()), |_| files::remove_all_at(data, &name))?;
            copy::copy_file(prepared, own, data, &name, account)?;
            count += 1;
        }
    }
    present.keys().try_for_each(|name| files::remove_all_at(data, name))?;
    Ok(count)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::ffi::OsString;

    use super::*;

    fn names(folder: &Path) -> io::Result<BTreeSet<OsString>> {
        std::fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name())).collect()
    }

    #[test]
    fn a_planted_link_leads_nowhere() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir_all(at("prepared/base")).unwrap();
        std::fs::create_dir(at("victim")).unwrap();
        std::fs::write(at("victim/file"), "precious").unwrap();
        for file in ["prepared/base/file", "prepared/other"] {
            std::fs::write(at(file), "prepared").unwrap();
        }
        copy::copy(&at("prepared"), account::owner(None), &at("data"), None).unwrap();
        std::fs::remove_dir_all(at("data/base")).unwrap();
        std::os::unix::fs::symlink(at("victim"), at("data/base")).unwrap();
        std::fs::remove_file(at("data/other")).unwrap();
        std::fs::hard_link(at("victim/file"), at("data/other")).unwrap();
        restore(&at("prepared"), &at("data"), None).unwrap();
        assert_eq!(std::fs::read_to_string(at("victim/file")).unwrap(), "precious");
        assert!(at("data/base").symlink_metadata().unwrap().is_dir());
        for file in ["data/base/file", "data/other"] {
            assert_eq!(std::fs::read_to_string(at(file)).unwrap(), "prepared");
        }
        std::os::unix::fs::symlink(at("victim"), at("elsewhere")).unwrap();
        assert!(restore(&at("prepared"), &at("elsewhere"), None).is_err());
        assert_eq!(std::fs::read_to_string(at("victim/file")).unwrap(), "precious");
    }

    #[test]
    fn whatever_was_done_to_a_copy_is_undone() {
        let folder = tempfile::tempdir().unwrap();
        let (prepared, data) = (folder.path().join("prepared"), folder.path().join("data"));
        std::fs::create_dir_all(prepared.join("base/1")).unwrap();
        std::fs::create_dir(prepared.join("wal")).unwrap();
        for file in ["control", "base/1/a", "base/1/b", "base/1/c", "wal/1"] {
            std::fs::write(prepared.join(file), file).unwrap();
        }
        copy::copy(&prepared, account::owner(None), &data, None).unwrap();
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
