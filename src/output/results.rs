//! Small files beside the config file that tell a pipeline what was made: Tekton's results. None of them ever
//! holds a login.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::failure::{Advise, Exit, usage};
use crate::files;

/// One file to write, and what into it: by default a fact of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResultFile<F = RunFact> {
    fact: F,
    path: PathBuf,
}

/// What can be asked for.
pub trait Fact: Copy + 'static {
    /// All of it, by its names.
    const ALL: [(&'static str, Self); 2];
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunFact {
    /// The config file's absolute path.
    Config,
    /// How many databases there are.
    Databases,
}

impl Fact for RunFact {
    const ALL: [(&'static str, Self); 2] = [("config", Self::Config), ("databases", Self::Databases)];
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockFact {
    /// The lock's name.
    Name,
    /// The fencing number.
    Fence,
}

impl Fact for LockFact {
    const ALL: [(&'static str, Self); 2] = [("lock", Self::Name), ("fence", Self::Fence)];
}

impl<F: Fact> ResultFile<F> {
    /// Reads `config=FILE` or the like.
    pub fn parse(text: &str) -> Result<Self, String> {
        let fact_of =
            |wanted: &str| F::ALL.into_iter().find(|(name, _)| *name == wanted).map(|(_, fact)| fact);
        match text.split_once('=').and_then(|(name, path)| Some((fact_of(name)?, path))) {
            None => Err(format!("write {}", F::ALL.map(|(name, _)| format!("{name}=FILE")).join(" or "))),
            Some((_, "")) => Err("name a file after the =".into()),
            Some((fact, path)) => Ok(Self { fact, path: path.into() }),
        }
    }

    /// Refuses a place that could not be written to, before there is anything to tell.
    pub fn check(&self) -> anyhow::Result<()> {
        let path = &self.path;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if !folder.is_dir() {
            return Err(usage(format!(
                "--result {}: the folder {} does not exist",
                path.display(),
                folder.display()
            )));
        }
        files::check_kind(path).context("--result").exit(Exit::Usage)
    }

    /// A file is written in place: it may be the only one in its folder that may be written to. Nothing but a
    /// file is. There is no line break at its end: Tekton takes the content as it is.
    fn write_text(&self, text: &str) -> anyhow::Result<()> {
        let context = || format!("writing the result {}", self.path.display());
        files::check_kind(&self.path).with_context(context)?;
        files::create(&self.path).and_then(|mut file| file.write_all(text.as_bytes())).with_context(context)
    }
}

impl ResultFile {
    /// Whether it tells where the config file is, which takes a file.
    pub fn needs_config_file(&self) -> bool {
        self.fact == RunFact::Config
    }

    pub fn write(&self, config: Option<&Path>, databases: usize) -> anyhow::Result<()> {
        self.write_text(&match (self.fact, config) {
            (RunFact::Config, Some(path)) => std::path::absolute(path)
                .with_context(|| format!("finding {}", path.display()))?
                .display()
                .to_string(),
            (RunFact::Config, None) => String::new(),
            (RunFact::Databases, _) => databases.to_string(),
        })
    }
}

impl ResultFile<LockFact> {
    pub fn write(&self, name: &str, fence: u64) -> anyhow::Result<()> {
        match self.fact {
            LockFact::Name => self.write_text(name),
            LockFact::Fence => self.write_text(&fence.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_has_a_known_name_and_a_file() {
        for text in ["config", "password=f", "config=", ""] {
            assert!(ResultFile::<RunFact>::parse(text).is_err(), "{text}");
        }
        assert!(
            ResultFile::<RunFact>::parse("config=a=b").is_ok_and(|result| result.path == Path::new("a=b"))
        );
    }

    #[test]
    fn results_end_without_a_line_break() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("r");
        let result =
            |name: &str| ResultFile::<RunFact>::parse(&format!("{name}={}", path.display())).unwrap();
        result("databases").write(None, 2).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "2");
        result("config").write(Some(Path::new("/workspace/source/testing-databases.json")), 2).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "/workspace/source/testing-databases.json");
    }
}
