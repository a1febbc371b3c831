//! Which `testbed.yaml` counts: the one that is named, else the nearest one between the current folder and
//! the root of the repository.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use rustix::process::geteuid;

use crate::failure::{Advise, usage};

/// The names that a file may have.
pub const NAMES: [&str; 2] = ["testbed.yaml", "testbed.yml"];

/// What `--settings` says to use no file.
pub const NONE: &str = "none";

/// The file to use: as `named` by `--settings` or its variable, else the nearest one. `from` is the current
/// folder, as an absolute path. A file in that folder has no folder in its path.
///
/// # Errors
/// A usage error when the named file does not exist, or when a folder has a file of each name.
pub fn find(named: Option<&Path>, from: &Path) -> anyhow::Result<Option<PathBuf>> {
    match named {
        Some(path) if path == Path::new(NONE) => Ok(None),
        // A pipeline's parameter with an empty default says nothing.
        Some(path) if !path.as_os_str().is_empty() => match path.is_dir() || !path.exists() {
            false => Ok(Some(path.to_owned())),
            true => Err(usage(format!("--settings {} is no file", path.display())))
                .hint("--settings none uses no file"),
        },
        _ => nearest(from),
    }
}

fn nearest(from: &Path) -> anyhow::Result<Option<PathBuf>> {
    for folder in from.ancestors() {
        let shown = if folder == from { Path::new("") } else { folder };
        match in_folder(folder) {
            Ok(None) => {}
            Ok(Some(name)) => return Ok(Some(shown.join(name))),
            // A stranger's are passed over, however many there are.
            Err(_) if stranger(&folder.join(NAMES[0]), from).is_some() => {
                return Ok(Some(shown.join(NAMES[0])));
            }
            Err(error) => return Err(error),
        }
        if is_root(folder) {
            break;
        }
    }
    Ok(None)
}

/// The folder of the project: that of the file to use, else the current one.
pub fn project(named: Option<&Path>, from: &Path) -> PathBuf {
    let file =
        find(named, from).ok().flatten().filter(|path| named.is_some() || stranger(path, from).is_none());
    let folder = file.and_then(|path| from.join(path).parent()?.canonicalize().ok());
    folder.unwrap_or_else(|| from.to_owned())
}

/// The folders whose runs a command means that is told none, the nearest first: the current one and those above
/// it up to the repository's root, and that of the project.
pub fn folders(named: Option<&Path>, from: &Path) -> Vec<PathBuf> {
    let mut folders = vec![from.to_owned()];
    if let Some(depth) = from.ancestors().position(is_root) {
        folders.extend(from.ancestors().take(depth + 1).skip(1).map(Path::to_owned));
    }
    let project = project(named, from);
    if !folders.contains(&project) {
        folders.push(project);
    }
    folders
}

/// Whether a folder is a repository's root: `.git` is a file in a worktree or submodule, a folder elsewhere.
pub fn is_root(folder: &Path) -> bool {
    folder.join(".git").exists()
}

/// Why a file that was found is not to be used: somebody else has put it where this user only passes by, such
/// as `/tmp`, and it names programs that are run. A folder's own files are whoever's the folder is, as in a
/// container that works on the files of its host.
pub fn stranger(path: &Path, from: &Path) -> Option<anyhow::Error> {
    let owner_of_folder = from.metadata().ok().map(|metadata| metadata.uid());
    let is_trusted = |uid: u32| uid == 0 || uid == geteuid().as_raw() || Some(uid) == owner_of_folder;
    // Of a link its own owner counts as well.
    let owners =
        [path.symlink_metadata(), path.metadata()].into_iter().flatten().map(|metadata| metadata.uid());
    let owner = owners.into_iter().find(|uid| !is_trusted(*uid))?;
    let what = format!(
        "{} belongs to user {owner}, who is neither you nor the owner of this folder",
        path.display()
    );
    Some(anyhow!("{what}; --settings FILE uses it all the same"))
}

/// The name of the file in a folder.
pub fn in_folder(folder: &Path) -> anyhow::Result<Option<&'static str>> {
    let present: Vec<&str> = NAMES.into_iter().filter(|name| folder.join(name).exists()).collect();
    match present[..] {
        [] => Ok(None),
        [name] => Ok(Some(name)),
        _ => Err(usage(format!("{}: both {} are here; keep one", folder.display(), NAMES.join(" and ")))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_file_up_to_the_repositorys_root_counts() {
        let outside = tempfile::tempdir().unwrap();
        let root = outside.path().join("project");
        let inner = root.join("a/b");
        std::fs::create_dir_all(&inner).unwrap();
        std::fs::write(outside.path().join("testbed.yaml"), "").unwrap();
        assert_eq!(find(None, &inner).unwrap(), Some(outside.path().join("testbed.yaml")));
        std::fs::create_dir(root.join(".git")).unwrap();
        assert_eq!(find(None, &inner).unwrap(), None);
        std::fs::write(root.join("testbed.yml"), "").unwrap();
        assert_eq!(find(None, &inner).unwrap(), Some(root.join("testbed.yml")));
        assert_eq!(find(None, &root).unwrap(), Some("testbed.yml".into()));
        assert_eq!(find(Some(Path::new("none")), &root).unwrap(), None);
        assert_eq!(find(Some(Path::new("")), &root).unwrap(), Some("testbed.yml".into()));
        std::fs::write(root.join("testbed.yaml"), "").unwrap();
        assert!(
            format!("{:#}", find(None, &inner).unwrap_err())
                .contains("both testbed.yaml and testbed.yml are here")
        );
    }

    #[test]
    fn a_named_file_has_to_be_there() {
        let error = find(Some(Path::new("/nonexistent/t.yaml")), Path::new("/")).unwrap_err();
        assert_eq!(format!("{error:#}"), "--settings /nonexistent/t.yaml is no file");
    }
}
