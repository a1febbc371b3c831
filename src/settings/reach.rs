//! What the file may reach in a pod of a pipeline: there it comes with a change that nobody has looked at
//! yet, and what it names is read and written with testbed's rights, which the change has not got.

use std::path::{Component, Path, PathBuf};

use anyhow::{Context, anyhow, bail};

use super::Settings;
use super::databases::{INIT, SEED};
use super::find::is_root;
use crate::failure::{Advise, Exit};
use crate::manifest::seed::Written;
use crate::manifest::setup;

/// The key whose value may lead to a server, which would get the password of testbed's own environment.
const HISTORY: &str = "history";
const SERVERS: [&str; 2] = ["postgres:", "postgresql:"];

/// What a file may reach.
pub struct Reach<'a> {
    /// The file, as it is shown.
    file: &'a str,
    /// Its repository, with all links followed.
    root: PathBuf,
}

impl<'a> Reach<'a> {
    /// Of a file that is in its repository itself, and no link out of it: what is wrong in it would be told.
    pub fn of(file: &'a str) -> anyhow::Result<Self> {
        let reach = Self::of_any(file)?;
        reach.stay(file, Path::new(file))?;
        Ok(reach)
    }

    /// Of a file that may be a link to one elsewhere.
    pub fn of_any(file: &'a str) -> anyhow::Result<Self> {
        let root = repository(Path::new(file))
            .with_context(|| format!("finding the repository of {file}"))
            .exit(Exit::Usage)?;
        Ok(Self { file, root })
    }

    /// Refuses what leads out of the repository, or to a server of the file's own choice.
    ///
    /// # Errors
    /// A usage error with file, key and value.
    pub fn check(&self, settings: &Settings) -> anyhow::Result<()> {
        let file = self.file;
        let manifests = settings.manifests.iter().map(|path| ("manifest", "", path.as_str()));
        let values = settings
            .values
            .iter()
            .filter_map(|(key, value)| key.path.of(value).map(|(start, path)| (key.name, start, path)));
        for (key, start, path) in manifests.chain(values).filter(|(_, _, path)| *path != "-") {
            self.stay(&format!("{file}: {key}: {start}{path}"), Path::new(path)).hint(hint(key))?;
            // A folder stands for the files in it, each of which may be a link.
            let inner = (key == "manifest").then(|| std::fs::read_dir(path).ok()).flatten();
            for inner in inner.into_iter().flatten().flatten().map(|inner| inner.path()) {
                self.stay(&format!("{file}: {key}: {}", inner.display()), &inner).hint(hint(key))?;
            }
        }
        self.check_scripts(settings)?;
        for (name, value) in scripts(settings).filter(|(name, _)| name.rsplit('.').next() == Some(SEED)) {
            if Written::parse(value).is_ok_and(|seed| seed.steps.iter().any(|step| step.run.is_some())) {
                let wrong = anyhow!("{file}: {name}: in a pod a seed's command is not taken from this file");
                return Err(wrong).exit(Exit::Usage).hint(hint(SEED));
            }
        }
        for (key, value) in &settings.values {
            if key.name == HISTORY && SERVERS.iter().any(|scheme| value.starts_with(scheme)) {
                // The value may hold a password.
                let wrong = anyhow!("{file}: {HISTORY}: in a pod a server is not taken from this file");
                return Err(wrong).exit(Exit::Usage).hint(hint(HISTORY));
            }
        }
        Ok(())
    }

    /// Refuses a config file elsewhere, wherever the file is used: whatever is there would be overwritten, and removed
    /// with the run.
    ///
    /// # Errors
    /// A usage error with file and path.
    pub fn check_output(&self, settings: &Settings) -> anyhow::Result<()> {
        let outputs = settings.values.iter().filter(|(key, value)| key.name == "output" && value != "-");
        for (_, path) in outputs {
            self.stay(&format!("{}: output: {path}", self.file), Path::new(path))
                .hint("--output, or TESTBED_OUTPUT, names a file elsewhere")?;
        }
        Ok(())
    }

    /// Refuses set-up scripts from elsewhere, wherever the file is used: their text goes into databases, objects
    /// and records.
    ///
    /// # Errors
    /// A usage error with file, parameter and path.
    pub fn check_scripts(&self, settings: &Settings) -> anyhow::Result<()> {
        for (name, value) in scripts(settings) {
            for path in paths(name, value) {
                let what = format!("{}: {name}: {path}", self.file);
                self.stay(&what, Path::new(&path)).hint(match name.strip_suffix(".seed") {
                    Some(database) => format!("name it to the command itself: --seed {database}={path}"),
                    None => format!("name it to the command itself: --param {name}={path}"),
                })?;
            }
        }
        Ok(())
    }

    fn stay(&self, what: &str, path: &Path) -> anyhow::Result<()> {
        let root = &self.root;
        stay_within(root, path)
            .with_context(|| format!("{what} leads out of the repository {}", root.display()))
            .exit(Exit::Usage)
    }
}

/// The parameters that name set-up scripts.
fn scripts(settings: &Settings) -> impl Iterator<Item = (&str, &str)> {
    let pairs = settings.database_params.iter().chain(&settings.params);
    let is_one = |name: &str| [INIT, SEED].iter().any(|known| name.rsplit('.').next() == Some(*known));
    pairs.filter_map(|pair| pair.split_once('=')).filter(move |(name, _)| is_one(name))
}

/// What a parameter reaches: a seed's folder, where its command runs, and its files.
fn paths(name: &str, value: &str) -> Vec<String> {
    if name.rsplit('.').next() == Some(INIT) {
        return setup::words(value).unwrap_or_default();
    }
    let Ok(Written { folder, steps }) = Written::parse(value) else { return Vec::new() };
    let files = steps.iter().flat_map(|step| &step.files);
    let files = files.map(|file| Path::new(&folder).join(file).display().to_string()).collect::<Vec<_>>();
    let folder = if folder.is_empty() { ".".to_owned() } else { folder };
    std::iter::once(folder).chain(files).collect()
}

/// Whether a file names set-up scripts, or the config file.
pub fn names_files(settings: &Settings) -> bool {
    scripts(settings).next().is_some() || settings.values.iter().any(|(key, _)| key.name == "output")
}

fn hint(key: &str) -> String {
    let flag = if key == "manifest" { "-f" } else { &format!("--{key}") };
    format!(
        "in a pod the file may come with a change that nobody has looked at; name it to the command itself: {flag}, or its variable"
    )
}

/// The folder that the nearest `.git` is in, or else the file's own, with all links followed.
fn repository(file: &Path) -> anyhow::Result<PathBuf> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let folder = folder.canonicalize()?;
    let root = folder.ancestors().find(|folder| is_root(folder)).unwrap_or(&folder);
    Ok(root.to_owned())
}

/// Follows the links of as much of the path as there is.
fn stay_within(root: &Path, path: &Path) -> anyhow::Result<()> {
    let path = std::path::absolute(path)?;
    let there =
        path.ancestors().find(|part| part.symlink_metadata().is_ok()).context("no part of it is there")?;
    let real = there.canonicalize().with_context(|| format!("following {}", there.display()))?;
    let rest = path.strip_prefix(there)?;
    if rest.components().any(|part| part == Component::ParentDir) {
        bail!("{} is not there, and cannot be left again", rest.display());
    }
    let Ok(inner) = real.strip_prefix(root) else { bail!("it is {}", real.display()) };
    // What git itself keeps there, such as hooks, no commit can bring.
    if inner.components().chain(rest.components()).any(|part| part.as_os_str().eq_ignore_ascii_case(".git")) {
        bail!("it is in git's own folder");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use clap::CommandFactory;

    use super::*;
    use crate::cli::Cli;
    use crate::settings::read;

    #[test]
    fn what_the_file_names_is_in_its_repository() {
        let outside = tempfile::tempdir().unwrap();
        let root = outside.path().join("project");
        std::fs::create_dir_all(root.join("a/b")).unwrap();
        std::fs::create_dir(root.join(".git")).unwrap();
        std::fs::write(outside.path().join("token"), "t").unwrap();
        symlink("../../token", root.join("a/link")).unwrap();
        symlink("../../nothing", root.join("a/nowhere")).unwrap();
        symlink("../..", root.join("a/up")).unwrap();
        symlink("b", root.join("a/inside")).unwrap();
        std::fs::create_dir(root.join("a/k8s")).unwrap();
        symlink("../../../token", root.join("a/k8s/s.yaml")).unwrap();
        let file = root.join("a/testbed.yaml").display().to_string();
        std::fs::write(&file, "").unwrap();
        let reach = Reach::of(&file).unwrap();
        let checked =
            |text: &str| reach.check(&read::read(&file, text, &root.join("a"), &Cli::command()).unwrap());
        for text in [
            "manifest: [../x.yaml, b/y.yaml, '-']\noutput: ../new/folder/x.json\nformat: tera:inside/z.env.tera\nhistory: sqlite:h.db\n",
            "history: none\nformat: urls\n",
            "databases: {postgres: {init: [b, inside, ../new.sql]}}\n",
        ] {
            checked(text).unwrap();
        }
        for (text, wrong) in [
            (
                "format: tera:/var/run/secrets/token",
                "format: tera:/var/run/secrets/token leads out of the repository",
            ),
            ("format: tera:link", "format: tera:"),
            ("manifest: link", "manifest: "),
            ("manifest: k8s", "k8s/s.yaml leads out"),
            ("output: up/x.json", "output: "),
            ("output: ../.git/hooks/pre-commit", "git's own folder"),
            ("output: ../.Git/new", "git's own folder"),
            ("output: nowhere", "output: "),
            ("output: ../../x.json", "output: "),
            ("output: new/../../../x.json", "output: "),
            ("history: sqlite:/x.db", "history: sqlite:/x.db leads out"),
            ("history: postgres://u@h/d", "history: in a pod a server"),
            ("history: postgresql://u@h/d", "history: in a pod a server"),
            ("databases: {postgres: {init: link}}", "postgres.init: "),
            ("databases: {postgres: {init: [b, ../../token]}}", "token leads out"),
            ("databases: {postgres: {seed: [b/x.sql, ../../token]}}", "token leads out"),
            ("databases: {postgres: {seed: {folder: ../.., run: make}}}", "postgres.seed: "),
            ("databases: {postgres: {seed: {run: make}}}", "in a pod a seed's command"),
            ("params: {init: /var/run/secrets/token}", "init: /var/run/secrets/token leads out"),
        ] {
            let error = format!("{:#}", checked(text).expect_err(text));
            assert!(error.contains(wrong), "{error}");
        }
        std::fs::write(root.join("testbed.yaml"), "").unwrap();
        symlink("../token", root.join("testbed.yml")).unwrap();
        Reach::of(root.join("testbed.yaml").to_str().unwrap()).unwrap();
        assert!(Reach::of(root.join("testbed.yml").to_str().unwrap()).is_err());
    }
}
