//! The files of a project: nothing outside its folder is read, whatever its files name, and no more than is
//! sensible.

use std::cell::{Cell, RefCell};
use std::fs::FileType;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::one_line;
use crate::manifest::setup;
use crate::reading::{self, MOST};

/// How much is read in all, in bytes. One file may be named a thousand times.
const TOTAL: usize = 4 * MOST;
/// How many files that cannot be read are told of.
const NOTES: usize = 10;
/// How deep folders are searched.
const DEPTH: usize = 3;
/// How many files and folders are looked at.
const ENTRIES: usize = 20_000;

/// Folders in which nothing is the project's own.
const PASSED_OVER: [&str; 12] = [
    "node_modules",
    "vendor",
    "target",
    "dist",
    "build",
    "out",
    "venv",
    "env",
    "site-packages",
    "bower_components",
    "__pycache__",
    "third_party",
];
/// Hidden folders that are looked into.
const LOOKED_INTO: [&str; 6] = [".devcontainer", ".docker", ".ci", ".gitlab", ".github", ".config"];

pub struct Project {
    root: PathBuf,
    /// The folder without links.
    real: PathBuf,
    left: Cell<usize>,
    notes: RefCell<Vec<String>>,
}

impl Project {
    /// # Errors
    /// The system's reason.
    pub fn new(root: &Path) -> std::io::Result<Self> {
        Ok(Self {
            root: root.to_owned(),
            real: root.canonicalize()?,
            left: Cell::new(TOTAL),
            notes: RefCell::default(),
        })
    }

    /// The text of a file; one that is there and cannot be read is told of.
    pub fn text(&self, path: &str) -> Option<String> {
        self.read(path).unwrap_or_else(|wrong| {
            let mut notes = self.notes.borrow_mut();
            let note = format!("reading {}: {wrong}", one_line(path));
            if notes.len() < NOTES && !notes.contains(&note) {
                notes.push(note);
            }
            None
        })
    }

    /// The text of a file; `None` if there is none.
    ///
    /// # Errors
    /// Why it is not read.
    pub fn read(&self, path: &str) -> Result<Option<String>, String> {
        let Some(path) = self.inside(path)? else { return Ok(None) };
        let most = MOST.min(self.left.get());
        match reading::text(&path, most) {
            Ok(text) => {
                self.left.set(self.left.get() - text.len());
                Ok(Some(text))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) if error.kind() == ErrorKind::FileTooLarge && most < MOST => {
                Err(format!("this and what was read before have more than {} MiB", TOTAL >> 20))
            }
            Err(error) => Err(error.to_string()),
        }
    }

    /// The path without links; `None` if there is nothing.
    fn inside(&self, path: &str) -> Result<Option<PathBuf>, String> {
        let path = normal(path).ok_or("it is not in the project")?;
        match self.root.join(path).canonicalize() {
            Ok(path) if path.starts_with(&self.real) => Ok(Some(path)),
            Ok(_) => Err("it is a link that leads out of the project".into()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.to_string()),
        }
    }

    /// The names of the set-up scripts in a folder, none for one that is a script itself; `None` where the path is no
    /// set-up script, nor a folder with some.
    pub fn scripts(&self, path: &str) -> Option<Vec<String>> {
        let is_script = |name: &Path| setup::SCRIPTS.iter().any(|end| name.to_string_lossy().ends_with(end));
        let real = self.inside(path).ok()??;
        if !real.is_dir() {
            let is_one = real.is_file() && is_script(Path::new(path)) && is_script(&real);
            return is_one.then(Vec::new);
        }
        let entries = std::fs::read_dir(&real).into_iter().flatten().flatten().take(ENTRIES);
        let is_inside = |path: &Path| {
            path.canonicalize().is_ok_and(|path| path.is_file() && path.starts_with(&self.real))
        };
        let mut names = Vec::new();
        for path in entries.map(|entry| entry.path()).filter(|path| is_script(path)) {
            let name = path.file_name()?.to_string_lossy().into_owned();
            if !name.starts_with('.') {
                names.push(is_inside(&path).then_some(name)?);
            }
        }
        names.sort();
        (!names.is_empty()).then_some(names)
    }

    /// All files of the project down to a depth, as seen from its folder: those of a folder before those of the
    /// folders in it, in the order of their names. No link is followed to a folder.
    pub fn files(&self) -> Vec<String> {
        let mut files = Vec::new();
        let mut left = ENTRIES;
        let mut folders = vec![String::new()];
        for _ in 0..=DEPTH {
            let mut next = Vec::new();
            for folder in &folders {
                let Ok(entries) = std::fs::read_dir(self.root.join(folder)) else { continue };
                let mut entries: Vec<(String, FileType)> = entries
                    .flatten()
                    .take(left)
                    .filter_map(|entry| {
                        Some((entry.file_name().into_string().ok()?, entry.file_type().ok()?))
                    })
                    .collect();
                left -= entries.len();
                entries.sort_by(|one, other| one.0.cmp(&other.0));
                for (name, kind) in entries {
                    let path = if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
                    if !kind.is_dir() {
                        files.push(path);
                    } else if is_looked_into(&name) {
                        next.push(path);
                    }
                }
            }
            folders = next;
        }
        if left == 0 {
            self.notes
                .borrow_mut()
                .push(format!("the project has more than {ENTRIES} files; not all were looked at"));
        }
        files
    }

    /// What could not be read.
    pub fn into_notes(self) -> Vec<String> {
        self.notes.into_inner()
    }
}

fn is_looked_into(name: &str) -> bool {
    if name.starts_with('.') { LOOKED_INTO.contains(&name) } else { !PASSED_OVER.contains(&name) }
}

/// A path as seen from the project's folder without `.` and `..`; `None` if it leads out.
pub fn normal(path: &str) -> Option<String> {
    if path.starts_with(['/', '~']) || path.contains('\0') {
        return None;
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(if parts.is_empty() { ".".into() } else { parts.join("/") })
}

/// A path that is named by a file of a folder.
pub fn join(folder: &str, path: &str) -> String {
    if path.starts_with(['/', '~']) || folder.is_empty() {
        path.to_owned()
    } else {
        format!("{folder}/{path}")
    }
}

/// The folder of a file.
pub fn folder(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_in_the_project() {
        for (path, expected) in [
            ("a/./b//c", Some("a/b/c")),
            ("a/../b", Some("b")),
            (".", Some(".")),
            ("..", None),
            ("a/../../b", None),
            ("/etc/passwd", None),
            ("~/x", None),
        ] {
            assert_eq!(normal(path).as_deref(), expected, "{path}");
        }
    }

    #[test]
    fn links_lead_nowhere_else() {
        let above = tempfile::tempdir().unwrap();
        let root = above.path().join("project");
        std::fs::create_dir_all(root.join("a/b/c/d")).unwrap();
        std::fs::create_dir_all(root.join("node_modules")).unwrap();
        std::fs::create_dir_all(root.join(".hidden")).unwrap();
        std::fs::write(above.path().join("out.sql"), "secret").unwrap();
        for name in ["in.sql", "a/b/c/three", "a/b/c/d/four", "node_modules/x", ".hidden/x"] {
            std::fs::write(root.join(name), "text").unwrap();
        }
        std::os::unix::fs::symlink("../out.sql", root.join("link.sql")).unwrap();
        std::os::unix::fs::symlink("in.sql", root.join("fine.sql")).unwrap();
        std::os::unix::fs::symlink("..", root.join("up")).unwrap();
        let project = Project::new(&root).unwrap();
        assert_eq!(project.text("fine.sql").as_deref(), Some("text"));
        assert_eq!(project.text("a/../in.sql").as_deref(), Some("text"));
        assert_eq!(project.text("none"), None);
        for path in ["link.sql", "up/out.sql", "../out.sql", "/etc/hostname"] {
            assert_eq!(project.text(path), None, "{path}");
        }
        assert!(
            project.scripts("in.sql").is_some()
                && project.scripts("link.sql").is_none()
                && project.scripts(".").is_none()
        );
        assert_eq!(project.files(), ["fine.sql", "in.sql", "link.sql", "up", "a/b/c/three"]);
        let notes = project.into_notes();
        assert_eq!(notes.len(), 4, "{notes:?}");
        assert!(notes[0].contains("leads out of the project"));
    }
}
