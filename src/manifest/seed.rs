//! What a project puts into a database once, and starts its runs with from then on: files, a command, and what
//! they depend on. Everything that the seed's key is made of is read here.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use globset::{GlobBuilder, GlobMatcher};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::includes;
use super::setup::{self, SCRIPTS};
use crate::engine::Engine;
use crate::failure::Advise;
use crate::reading;
use crate::yaml::Node;

/// The most that the files of one seed may have: they are held in memory.
const MOST: usize = 256 << 20;
/// How many files the globs may match.
const MOST_INPUTS: usize = 20_000;
/// What tools write beside the files that they read, in folders of these names: it says nothing new, and would
/// make each seed anew.
const PASSED_OVER: [&str; 3] = [".git", "__pycache__", "node_modules"];

const FORM: &str = "write files, run and inputs, or steps, a list of such; or only the files";

/// A seed as it is written down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Written {
    /// From where paths are seen, and where the command runs.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub folder: String,
    pub steps: Vec<WrittenStep>,
}

#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WrittenStep {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// `None` where nothing is said of what the command reads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inputs: Option<Vec<String>>,
}

impl Written {
    /// Reads the value of a parameter: words or a list, which are files, or a mapping.
    ///
    /// # Errors
    /// What does not fit.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        if !text.trim_start().starts_with(['{', '[']) {
            return Self::of(&Value::from(setup::words(text)?));
        }
        let node = Node::parse("seed", text)?;
        Self::of(&node.as_typed().context("something in it is empty")?)
    }

    /// The same of a value whose texts are as they were typed.
    ///
    /// # Errors
    /// What does not fit.
    pub fn of(value: &Value) -> anyhow::Result<Self> {
        let Some(entries) = value.as_object() else {
            let step = WrittenStep { files: texts("files", value)?, ..WrittenStep::default() };
            return Self { folder: String::new(), steps: vec![step] }.checked();
        };
        let keys = ["folder", "files", "run", "inputs", "steps"];
        if let Some(key) = entries.keys().find(|key| !keys.contains(&key.as_str())) {
            bail!("{key:?} is nothing that a seed has; {FORM}");
        }
        let folder = entries.get("folder").map_or(Ok(String::new()), |value| text("folder", value))?;
        let steps = match entries.get("steps") {
            None => vec![known(entries)?],
            Some(_) if keys[1..4].iter().any(|key| entries.contains_key(*key)) => {
                bail!("steps stands beside files, run or inputs; put these into a step of their own")
            }
            Some(Value::Array(steps)) => steps.iter().map(step).collect::<Result<_, _>>()?,
            Some(_) => bail!("steps is no list; {FORM}"),
        };
        Self { folder, steps }.checked()
    }

    fn checked(self) -> anyhow::Result<Self> {
        if self.steps.is_empty() {
            bail!("steps has no step; {FORM}");
        }
        for step in &self.steps {
            if step.files.is_empty() && step.run.is_none() {
                bail!("there is neither a file nor a command to run; {FORM}");
            }
            step.inputs.iter().flatten().try_for_each(|glob| matcher(glob).map(drop))?;
        }
        Ok(self)
    }
}

fn step(value: &Value) -> anyhow::Result<WrittenStep> {
    let Some(entries) = value.as_object() else { bail!("a step is no mapping; {FORM}") };
    if let Some(key) = entries.keys().find(|key| !["files", "run", "inputs"].contains(&key.as_str())) {
        bail!("{key:?} is nothing that a step has; {FORM}");
    }
    known(entries)
}

/// A step's keys, whatever stands beside them.
fn known(entries: &Map<String, Value>) -> anyhow::Result<WrittenStep> {
    let list = |key| entries.get(key).map_or(Ok(Vec::new()), |value| texts(key, value));
    let run = entries.get("run").map(|value| text("run", value)).transpose()?;
    let inputs = entries.get("inputs").map(|value| texts("inputs", value)).transpose()?;
    Ok(WrittenStep { files: list("files")?, run, inputs })
}

fn text(key: &str, value: &Value) -> anyhow::Result<String> {
    let text = value.as_str().filter(|text| !text.trim().is_empty());
    text.map(str::to_owned).with_context(|| format!("{key} is no text"))
}

fn texts(key: &str, value: &Value) -> anyhow::Result<Vec<String>> {
    match value {
        Value::Array(items) => items.iter().map(|item| text(key, item)).collect(),
        Value::String(_) => Ok(vec![text(key, value)?]),
        _ => bail!("{key} is neither a text nor a list of texts"),
    }
}

/// A seed with all that it depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seed {
    /// Where its commands run.
    pub folder: PathBuf,
    pub steps: Vec<Step>,
    /// How the variables of its commands are made.
    pub variables: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    pub files: Vec<SeedFile>,
    pub run: Option<String>,
    inputs: Vec<Part>,
    globs: Option<Vec<String>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeedFile {
    /// As the user names it, with the folder in front that it stands in.
    pub name: String,
    pub bytes: Vec<u8>,
    hash: String,
}

/// One thing that a seed is made of: what it is, and what tells it from another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    pub what: String,
    pub value: String,
}

impl Part {
    pub fn new(what: impl Into<String>, value: impl Into<String>) -> Self {
        Self { what: what.into(), value: value.into() }
    }

    /// Of something that is told by its content.
    pub fn of(what: impl Into<String>, content: &[u8]) -> Self {
        let mut content = content;
        // A slice has no errors of its own.
        Self::new(what, hash(&mut content).unwrap_or_default())
    }
}

impl Seed {
    /// Reads the value of a parameter, and the files.
    ///
    /// # Errors
    /// The file or glob, and what is wrong with it.
    pub fn read(text: &str, engine: Engine) -> anyhow::Result<Self> {
        let Written { folder, steps } = Written::parse(text)?;
        let folder = std::path::absolute(if folder.is_empty() { "." } else { &folder })?;
        let mut left = MOST;
        let steps = steps.into_iter().map(|step| Step::read(&folder, step, engine, &mut left));
        Ok(Self { steps: steps.collect::<Result<_, _>>()?, folder, variables: String::new() })
    }

    /// The commands of which nothing tells what they read.
    pub fn unseen(&self) -> impl Iterator<Item = &str> {
        self.steps.iter().filter(|step| step.globs.is_none()).filter_map(|step| step.run.as_deref())
    }

    /// The files that go in before any command: all that the set-up of a cluster's image can put in.
    ///
    /// # Errors
    /// Files after a command.
    pub fn files_first(&self) -> anyhow::Result<impl Iterator<Item = &SeedFile>> {
        let command = self.steps.iter().position(|step| step.run.is_some()).unwrap_or(self.steps.len());
        let later = self.steps.iter().enumerate().skip(command + 1);
        if let Some((index, file)) =
            later.filter_map(|(index, step)| Some((index, step.files.first()?))).next()
        {
            return Err(anyhow!(
                "step {} of the seed has files ({}) after the command of step {}: in a cluster all files go in before the first command",
                index + 1,
                file.name,
                command + 1
            ))
            .hint(format!(
                "put that step first, or call the client in its place: {{run: 'psql -v ON_ERROR_STOP=1 -f {0}'}}, or mariadb < {0}",
                file.name
            ));
        }
        Ok(self.steps.iter().take(command + 1).flat_map(|step| &step.files))
    }

    /// The commands, in their order.
    pub fn commands(&self) -> impl Iterator<Item = &str> {
        self.steps.iter().filter_map(|step| step.run.as_deref())
    }

    pub fn has_commands(&self) -> bool {
        self.commands().next().is_some()
    }

    /// Tells its commands, and what they read, from others, wherever the project is; `None` where it has none.
    pub fn work(&self) -> Option<String> {
        // A project may be in another place the next time, with the same folders in it.
        let here = std::env::current_dir().unwrap_or_default();
        let folder = self.folder.strip_prefix(here).unwrap_or_else(|_| Path::new(""));
        let step = |step: &Step| format!("{:?} {folder:?} {:?}", step.run, step.inputs);
        let steps: Vec<String> = self.steps.iter().filter(|step| step.run.is_some()).map(step).collect();
        (!steps.is_empty()).then(|| Part::of("", steps.join("\n").as_bytes()).value)
    }

    /// Tells this seed from others.
    pub fn id(&self) -> String {
        let parts: Vec<Part> = (0..self.steps.len()).flat_map(|index| self.parts(index)).collect();
        Part::of("", format!("{parts:?}").as_bytes()).value
    }

    /// What one of its steps is made of, in its order.
    pub fn parts(&self, index: usize) -> Vec<Part> {
        let Some(step) = self.steps.get(index) else { return Vec::new() };
        let of = if self.steps.len() == 1 { String::new() } else { format!(" of step {}", index + 1) };
        let files = step.files.iter().map(|file| Part::new(&file.name, &file.hash));
        // It reads what is in its folder: that of another project holds other things.
        let run = step.run.iter().flat_map(|run| {
            let folder = self.folder.as_os_str().as_encoded_bytes();
            [
                Part::new(format!("the command{of}"), run),
                Part::of(format!("the folder of the command{of}"), folder),
                Part::of(format!("what env says to the command{of}"), self.variables.as_bytes()),
            ]
        });
        // So that a step's end is one, wherever its parts would fit.
        let end = Part::new(format!("the end{of}"), "");
        files.chain(run).chain(step.inputs.iter().cloned()).chain([end]).collect()
    }
}

impl Step {
    fn read(folder: &Path, written: WrittenStep, engine: Engine, left: &mut usize) -> anyhow::Result<Self> {
        let WrittenStep { files, run, inputs: globs } = written;
        let files = read_files(folder, &files, engine, left)?;
        Ok(Self { files, run, inputs: inputs(folder, globs.as_deref().unwrap_or_default())?, globs })
    }

    /// What has changed of its inputs since they were read.
    ///
    /// # Errors
    /// As for [`Seed::read`].
    pub fn changed(&self, folder: &Path) -> anyhow::Result<Vec<String>> {
        Ok(differences(&self.inputs, &inputs(folder, self.globs.as_deref().unwrap_or_default())?))
    }
}

/// What differs between two lists of parts, in words.
pub fn differences(before: &[Part], now: &[Part]) -> Vec<String> {
    let find = |parts: &[Part], what: &str| parts.iter().find(|part| part.what == what).cloned();
    let is_told = |part: &&Part| !part.value.is_empty();
    let mut told: Vec<String> = now
        .iter()
        .filter(is_told)
        .filter_map(|part| match find(before, &part.what) {
            None => Some(format!("{} is new", part.what)),
            Some(other) if other.value != part.value => Some(format!("{} has changed", part.what)),
            Some(_) => None,
        })
        .collect();
    let gone = before.iter().filter(is_told).filter(|part| find(now, &part.what).is_none());
    told.extend(gone.map(|part| format!("{} is gone", part.what)));
    if told.is_empty() && before != now {
        told.push("the order has changed".to_owned());
    }
    told
}

/// The files, and those in folders in the order of their names.
fn read_files(
    folder: &Path,
    paths: &[String],
    engine: Engine,
    left: &mut usize,
) -> anyhow::Result<Vec<SeedFile>> {
    let mut found: Vec<(String, PathBuf)> = Vec::new();
    for name in paths {
        let path = folder.join(name);
        let context = || format!("reading the seed's {name}");
        if !std::fs::metadata(&path).with_context(context)?.is_dir() {
            if !SCRIPTS.iter().any(|ending| name.ends_with(ending)) {
                bail!("{name}: the name of a seed's file ends in {}", SCRIPTS.join(", "));
            }
            found.push((name.clone(), path));
            continue;
        }
        let inner = setup::in_folder(&path).with_context(context)?;
        if inner.is_empty() {
            bail!("{name}: no file for a seed in this folder ({})", SCRIPTS.join(", "));
        }
        let below = |path: PathBuf| {
            let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            (format!("{}/{file}", name.trim_end_matches('/')), path)
        };
        found.extend(inner.into_iter().map(below));
    }
    let read = |(name, path): (String, PathBuf)| {
        let bytes = reading::bytes(&path, *left)
            .with_context(|| format!("reading the seed's {name}"))
            .hint(format!("the files of a seed may have {} MiB in all", MOST >> 20))?;
        *left -= bytes.len();
        if let Some((line, command)) = includes::first(&name, &path, &bytes, engine) {
            return Err(anyhow!(
                "{name}: line {line}: {command} reads another file, which the seed would not know"
            ))
            .hint(
                "name a script in files, in its place; what loads data is for run, with both files in inputs",
            );
        }
        let Part { value: hash, .. } = Part::of("", &bytes);
        Ok(SeedFile { name, bytes, hash })
    };
    found.into_iter().map(read).collect()
}

/// The files that the globs match, with their hashes, in the order of their names.
fn inputs(folder: &Path, globs: &[String]) -> anyhow::Result<Vec<Part>> {
    let mut names = BTreeSet::new();
    for glob in globs {
        let found = matched(folder, glob).with_context(|| format!("inputs: {glob}"))?;
        if found.is_empty() {
            bail!("inputs: {glob}: no file matches in {}", folder.display());
        }
        names.extend(found);
        if names.len() > MOST_INPUTS {
            bail!("inputs: {glob}: these are more than {MOST_INPUTS} files; say more closely which count");
        }
    }
    let part = |name: String| {
        let context = || format!("reading the seed's input {name}");
        let path = folder.join(&name);
        reading::refuse(&std::fs::metadata(&path).with_context(context)?).with_context(context)?;
        let mut file = File::open(&path).with_context(context)?;
        Ok(Part::new(&name, hash(&mut file).with_context(context)?))
    };
    names.into_iter().map(part).collect()
}

fn hash(content: &mut impl Read) -> std::io::Result<String> {
    let (mut hasher, mut buffer) = (Sha256::new(), [0; 1 << 14]);
    loop {
        match content.read(&mut buffer)? {
            0 => break,
            length => hasher.update(&buffer[..length]),
        }
    }
    Ok(hasher.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect())
}

/// A glob that stays below its folder.
fn matcher(glob: &str) -> anyhow::Result<GlobMatcher> {
    let is_inside =
        Path::new(glob).components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    if !is_inside {
        bail!("inputs: {glob}: it leads out of the project; write a path below its folder, without ..");
    }
    let text = glob.strip_prefix("./").unwrap_or(glob).trim_end_matches('/');
    let built = GlobBuilder::new(text).literal_separator(true).build();
    Ok(built.map_err(|error| anyhow!("inputs: {glob}: {}", error.kind()))?.compile_matcher())
}

/// The names, below the folder, of the files that a glob matches. A folder's own name stands for all in it.
fn matched(folder: &Path, glob: &str) -> anyhow::Result<Vec<String>> {
    let matcher = matcher(glob)?;
    let root = folder.canonicalize()?;
    let is_plain = |part: &&str| !part.contains(['*', '?', '[', '{', '\\']);
    let parts: Vec<&str> = matcher.glob().glob().split('/').collect();
    let start: PathBuf = parts.iter().take_while(|part| is_plain(part)).collect();
    let is_whole = parts.iter().all(&is_plain);
    let mut walk = Walk {
        root: &root,
        named: parts.into_iter().filter(is_plain).map(str::to_owned).collect(),
        is_meant: Box::new(move |name| is_whole || matcher.is_match(name)),
        found: Vec::new(),
    };
    let at = folder.join(&start);
    if at.symlink_metadata().is_err() {
        return Ok(Vec::new());
    }
    walk.stay(&at)?;
    if at.is_dir() {
        walk.folder(&at, &start)?;
    } else {
        walk.take(&start)?;
    }
    Ok(walk.found)
}

struct Walk<'a> {
    /// The folder that nothing may lead out of, with all links followed.
    root: &'a Path,
    /// The names that the glob itself has.
    named: Vec<String>,
    is_meant: Box<dyn Fn(&Path) -> bool + 'a>,
    found: Vec<String>,
}

impl Walk<'_> {
    fn folder(&mut self, path: &Path, name: &Path) -> anyhow::Result<()> {
        let context = || format!("reading {}", path.display());
        for entry in std::fs::read_dir(path).with_context(context)? {
            let entry = entry.with_context(context)?;
            let (file, inner) = (entry.file_name(), name.join(entry.file_name()));
            let is_named = self.named.iter().any(|named| file == **named);
            if PASSED_OVER.iter().any(|passed| file == *passed) && !is_named {
                continue;
            }
            let kind = entry.file_type().with_context(context)?;
            if kind.is_dir() {
                self.folder(&entry.path(), &inner)?;
                continue;
            }
            let leads_to_folder = kind.is_symlink() && entry.path().is_dir();
            if leads_to_folder && ((self.is_meant)(&inner) || (self.is_meant)(&inner.join("file"))) {
                self.stay(&entry.path())?;
                bail!(
                    "{} is a link to a folder, and is not followed; name that folder itself",
                    inner.display()
                );
            }
            if !leads_to_folder && (self.is_meant)(&inner) {
                self.stay(&entry.path())?;
                self.take(&inner)?;
            }
        }
        Ok(())
    }

    fn take(&mut self, name: &Path) -> anyhow::Result<()> {
        let text = name.to_str().with_context(|| format!("the name {} is no UTF-8", name.display()))?;
        self.found.push(text.to_owned());
        Ok(())
    }

    fn stay(&self, path: &Path) -> anyhow::Result<()> {
        let real = path.canonicalize().with_context(|| format!("following {}", path.display()))?;
        if real.starts_with(self.root) {
            return Ok(());
        }
        bail!("{} leads out of the project, to {}", path.display(), real.display())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_seed_is_files_or_a_mapping_or_steps() {
        let files = |text: &str| Written::parse(text).unwrap().steps[0].files.clone();
        assert_eq!(files("a.sql b.sql"), ["a.sql", "b.sql"]);
        assert_eq!(files("[a.sql, db/]"), ["a.sql", "db/"]);
        let whole = Written::parse("{files: a.sql, run: make db, inputs: [m/**, x]}").unwrap();
        assert_eq!(whole.steps[0].run.as_deref(), Some("make db"));
        assert_eq!(whole.steps[0].inputs.as_deref().unwrap(), ["m/**", "x"]);
        assert_eq!(Written::parse("{steps: [{files: a.sql}, {run: x}]}").unwrap().steps.len(), 2);
        // As it is handed on.
        assert_eq!(Written::parse(&serde_json::to_string(&whole).unwrap()).unwrap(), whole);
        for (wrong, part) in [
            ("{}", "neither a file nor a command"),
            ("{inputs: x}", "neither a file nor a command"),
            ("{steps: []}", "no step"),
            ("{steps: [{run: x}], run: y}", "steps stands beside"),
            ("{steps: {run: x}}", "steps is no list"),
            ("{steps: [x]}", "a step is no mapping"),
            ("{command: x}", "\"command\" is nothing that a seed has"),
            ("{run: [x]}", "run is no text"),
            ("{run: x, inputs: ../y}", "inputs: ../y: it leads out of the project"),
            ("{run: x, inputs: /etc/*}", "inputs: /etc/*: it leads out of the project"),
            ("{run: x, inputs: 'a[b'}", "inputs: a[b: "),
        ] {
            let error = format!("{:#}", Written::parse(wrong).expect_err(wrong));
            assert!(error.contains(part), "{wrong}: {error}");
        }
    }

    #[test]
    fn inputs_are_what_the_globs_match_below_the_folder() {
        let outside = tempfile::tempdir().unwrap();
        let root = outside.path().join("project");
        for file in ["m/1.py", "m/deep/2.py", "m/__pycache__/1.pyc", "setup.cfg", "m/x.txt"] {
            std::fs::create_dir_all(root.join(file).parent().unwrap()).unwrap();
            std::fs::write(root.join(file), file).unwrap();
        }
        let names = |globs: &[&str]| {
            let globs: Vec<String> = globs.iter().map(|glob| (*glob).to_owned()).collect();
            let parts = inputs(&root, &globs).map_err(|error| format!("{error:#}"))?;
            Ok::<_, String>(parts.into_iter().map(|part| part.what).collect::<Vec<_>>())
        };
        assert_eq!(names(&["m/**", "setup.cfg"]).unwrap(), ["m/1.py", "m/deep/2.py", "m/x.txt", "setup.cfg"]);
        assert_eq!(names(&["m"]).unwrap(), names(&["m/**"]).unwrap());
        assert_eq!(names(&["**/*.py"]).unwrap(), ["m/1.py", "m/deep/2.py"]);
        assert_eq!(names(&["m/*.py"]).unwrap(), ["m/1.py"]);
        assert_eq!(names(&["m/__pycache__/*"]).unwrap(), ["m/__pycache__/1.pyc"]);
        for nothing in ["n/**", "m/*.sql"] {
            let error = names(&[nothing]).unwrap_err();
            assert!(error.starts_with(&format!("inputs: {nothing}: no file matches")), "{error}");
        }
        std::fs::write(outside.path().join("secret"), "s").unwrap();
        symlink("../../secret", root.join("m/planted.py")).unwrap();
        assert!(names(&["m/*.py"]).unwrap_err().contains("leads out of the project"));
        assert_eq!(names(&["m/*.txt"]).unwrap(), ["m/x.txt"]);
        symlink("..", root.join("up")).unwrap();
        assert!(names(&["up/*"]).unwrap_err().contains("leads out of the project"));
        symlink("m", root.join("inside")).unwrap();
        assert_eq!(names(&["inside/*.txt"]).unwrap(), ["inside/x.txt"]);
        assert!(names(&["{inside,n}/**"]).unwrap_err().contains("inside is a link to a folder"));
    }

    #[test]
    fn a_command_belongs_to_its_folder_and_files_to_nobody() {
        let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let parts = |steps: &str, index: usize| {
            let of = folders.each_ref().map(|folder| {
                std::fs::write(folder.path().join("a.sql"), "SELECT 1;").unwrap();
                let text = format!("{{folder: {}, steps: {steps}}}", folder.path().display());
                Seed::read(&text, Engine::Postgres).unwrap().parts(index)
            });
            of[0] == of[1]
        };
        let steps = "[{files: a.sql}, {run: make}]";
        assert!(parts(steps, 0) && !parts(steps, 1));
        let seed = |text: &str| Seed::read(text, Engine::Postgres).unwrap();
        let one = seed("{run: make}");
        let other = Seed { variables: "B=2".into(), ..one.clone() };
        assert_eq!(differences(&one.parts(0), &other.parts(0)), ["what env says to the command has changed"]);
        assert_eq!(one.unseen().collect::<Vec<_>>(), ["make"]);
        assert_eq!(seed("{run: make, inputs: []}").unseen().count(), 0);
        assert_eq!(seed("{run: make, inputs: Cargo.toml}").unseen().count(), 0);
    }

    #[test]
    fn what_differs_is_told() {
        let parts = |pairs: &[(&str, &str)]| -> Vec<Part> {
            pairs.iter().map(|(what, value)| Part::new(*what, *value)).collect()
        };
        let before = parts(&[("a", "1"), ("b", "1"), ("c", "1")]);
        let now = parts(&[("a", "2"), ("b", "1"), ("d", "1")]);
        assert_eq!(differences(&before, &now), ["a has changed", "d is new", "c is gone"]);
        assert_eq!(differences(&before[..2], &parts(&[("b", "1"), ("a", "1")])), ["the order has changed"]);
        assert!(differences(&before, &before).is_empty());
    }
}
