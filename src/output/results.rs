//! Small files beside the config file that tell a pipeline what was made: Tekton's results. None of them ever holds a login.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::failure::{Advise, Exit, usage};
use crate::files;

/// One file to write, and what into it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResultFile {
    what: What,
    path: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    /// The config file's absolute path.
    Config,
    /// How many databases there are.
    Databases,
}

impl ResultFile {
    /// Reads `config=FILE` or `databases=FILE`.
    ///
    /// # Errors
    /// A message that lists the names.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (what, path) = match text.split_once('=') {
            Some(("config", path)) => (What::Config, path),
            Some(("databases", path)) => (What::Databases, path),
            _ => return Err("write config=FILE or databases=FILE".into()),
        };
        if path.is_empty() {
            return Err("name a file after the =".into());
        }
        Ok(Self { what, path: path.into() })
    }

    /// Whether it tells where the config file is, which takes a file.
    pub fn needs_config_file(&self) -> bool {
        self.what == What::Config
    }

    /// Writes the file, without a line break at its end: Tekton takes the content as it is.
    ///
    /// # Errors
    /// The path with the system's reason.
    pub fn write(&self, config: Option<&Path>, databases: usize) -> anyhow::Result<()> {
        let text = match self.what {
            What::Config => match config {
                Some(path) => std::path::absolute(path).with_context(|| format!("finding {}", path.display()))?.display().to_string(),
                None => String::new(),
            },
            What::Databases => databases.to_string(),
        };
        write(&self.path, &text)
    }

    /// Refuses a place that could not be written to, before there is anything to tell.
    ///
    /// # Errors
    /// A usage error that says what is there.
    pub fn check(&self) -> anyhow::Result<()> {
        check(&self.path)
    }
}

/// A file is written in place: it may be the only one in its folder that may be written to. Nothing but a file is.
fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    let context = || format!("writing the result {}", path.display());
    files::check_kind(path).with_context(context)?;
    files::create(path).and_then(|mut file| file.write_all(text.as_bytes())).with_context(context)
}

fn check(path: &Path) -> anyhow::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !folder.is_dir() {
        return Err(usage(format!("--result {}: the folder {} does not exist", path.display(), folder.display())));
    }
    files::check_kind(path).context("--result").exit(Exit::Usage)
}

/// One file to write about a lock, and what into it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockResult {
    what: LockFact,
    path: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LockFact {
    /// The lock's name.
    Name,
    /// The fencing number.
    Fence,
}

impl LockResult {
    /// Reads `lock=FILE` or `fence=FILE`.
    ///
    /// # Errors
    /// A message that lists the names.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (what, path) = match text.split_once('=') {
            Some(("lock", path)) => (LockFact::Name, path),
            Some(("fence", path)) => (LockFact::Fence, path),
            _ => return Err("write lock=FILE or fence=FILE".into()),
        };
        if path.is_empty() {
            return Err("name a file after the =".into());
        }
        Ok(Self { what, path: path.into() })
    }

    /// Writes the file, without a line break at its end.
    ///
    /// # Errors
    /// The path with the system's reason.
    pub fn write(&self, name: &str, fence: u64) -> anyhow::Result<()> {
        let text = match self.what {
            LockFact::Name => name.to_owned(),
            LockFact::Fence => fence.to_string(),
        };
        write(&self.path, &text)
    }

    /// Refuses a place that could not be written to, before there is anything to tell.
    ///
    /// # Errors
    /// A usage error that says what is there.
    pub fn check(&self) -> anyhow::Result<()> {
        check(&self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_has_a_known_name_and_a_file() {
        for text in ["config", "password=f", "config=", ""] {
            assert!(ResultFile::parse(text).is_err(), "{text}");
        }
        assert!(ResultFile::parse("config=a=b").is_ok_and(|result| result.path == Path::new("a=b")));
    }

    #[test]
    fn results_end_without_a_line_break() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("r");
        let result = |name: &str| ResultFile::parse(&format!("{name}={}", path.display())).unwrap();
        result("databases").write(None, 2).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "2");
        result("config").write(Some(Path::new("/workspace/source/testing-databases.json")), 2).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "/workspace/source/testing-databases.json");
    }
}
