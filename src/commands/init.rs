//! `testbed init`: writes a `testbed.yaml` from what the project says about its databases.

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, anyhow};

use crate::cli::{Global, Init};
use crate::console;
use crate::failure::{Advise, usage};
use crate::init::{Findings, Found, Place, Port, compose, config, gitlab, merge, one_line, workflow, write};
use crate::manifest::builtin::With;
use crate::progress::Progress;
use crate::reading::{self, MOST};
use crate::settings::find;

/// How many files of a compose file that cannot be read are told of.
const NOTES: usize = 10;

pub(super) fn init(args: &Init, global: &Global) -> anyhow::Result<()> {
    let progress = global.progress();
    if !args.folder.is_dir() {
        return Err(usage(format!("{} is no folder", args.folder.display())));
    }
    let mut findings = Findings::default();
    for text in &args.with {
        findings.found.push(asked(&With::parse(text)?));
    }
    look(&args.folder, &mut findings)?;
    let found = merge::merge(findings.found);
    if found.is_empty() {
        return Err(anyhow!("no database was found in {}", args.folder.display()))
            .hint("looked at compose files, .github/workflows, .gitlab-ci.yml and testing-databases.json")
            .hint("say what the tests need: testbed init --with postgres:17 --with mysql");
    }
    tell(&found, &findings.notes, &progress);
    let text = write::write(&found);
    match target(args) {
        None => console::print(&text),
        Some(path) => {
            put(&path, &args.folder, args.output.is_none(), &text)?;
            console::print(&format!("{}\n", path.display()))?;
            progress.say(&format!("wrote {}; next: testbed run -- your test command", path.display()));
            if is_seen_by_git(&args.folder) {
                let ignore = args.folder.join(".gitignore");
                progress.say(&format!(
                    "git does not ignore {CONFIG}, in which there are passwords once databases are up: add that line to {}",
                    ignore.strip_prefix(".").unwrap_or(&ignore).display()
                ));
            }
            Ok(())
        }
    }
}

/// Where `up` writes what the tests need, unless told otherwise.
const CONFIG: &str = "testing-databases.json";

/// Whether the folder is in a git repository that would take in the config file. Git alone knows what it ignores,
/// and is asked nothing but that.
fn is_seen_by_git(folder: &Path) -> bool {
    let mut git = Command::new("git");
    git.args(["-c", "core.fsmonitor=false", "check-ignore", "--quiet", "--", CONFIG]).current_dir(folder);
    let asked = git.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    // Outside of a repository it is 128.
    asked.is_ok_and(|status| status.code() == Some(1))
}

fn asked(with: &With) -> Found {
    let place = Place { group: "--with".into(), text: "asked for with --with".into() };
    Found {
        name: with.name.clone(),
        engine: with.engine,
        tag: with.tag.clone(),
        image: None,
        user: None,
        database: None,
        port: with.port.map(Port::Asked),
        init: Vec::new(),
        has_password: false,
        places: vec![place],
    }
}

/// Looks at every file of the project that may name databases, the most telling ones first.
fn look(folder: &Path, findings: &mut Findings) -> anyhow::Result<()> {
    let is_compose = |name: &str| name.starts_with("docker-compose") || name.starts_with("compose");
    for name in yaml_files(folder, "")?.into_iter().filter(|name| is_compose(name)) {
        let beside = Beside::default();
        take(folder, &name, findings, |name, text| {
            compose::read(name, text, &|path| beside.read(folder, path))
        });
        findings.notes.extend(beside.notes.into_inner());
    }
    for name in yaml_files(folder, ".github/workflows")? {
        take(folder, &name, findings, workflow::read);
    }
    take(folder, ".gitlab-ci.yml", findings, gitlab::read);
    take(folder, "testing-databases.json", findings, config::read);
    Ok(())
}

/// The files that a compose file names: they may be anywhere, and of any kind.
#[derive(Default)]
struct Beside {
    /// The bytes that were read. One file may be named a thousand times.
    read: Cell<usize>,
    notes: RefCell<Vec<String>>,
}

impl Beside {
    /// The text of a file; one that is there and cannot be read is told of.
    fn read(&self, folder: &Path, path: &str) -> Option<String> {
        match reading::text(&folder.join(path), MOST.saturating_sub(self.read.get())) {
            Ok(text) => {
                self.read.set(self.read.get() + text.len());
                Some(text)
            }
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => {
                let mut notes = self.notes.borrow_mut();
                let path: String = path.chars().take(200).collect();
                let note = if error.kind() == ErrorKind::FileTooLarge {
                    format!(
                        "reading {}: this and what was read before have more than {} MiB",
                        one_line(&path),
                        MOST >> 20
                    )
                } else {
                    format!("reading {}: {error}", one_line(&path))
                };
                if notes.len() < NOTES && !notes.contains(&note) {
                    notes.push(note);
                }
                None
            }
        }
    }
}

/// The YAML files of a folder of the project, in the order of their names.
fn yaml_files(root: &Path, folder: &str) -> anyhow::Result<Vec<String>> {
    let path = root.join(folder);
    if !path.is_dir() {
        return Ok(Vec::new());
    }
    let entries = std::fs::read_dir(&path).with_context(|| format!("looking into {}", path.display()))?;
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let yaml = names.filter(|name| name.ends_with(".yml") || name.ends_with(".yaml"));
    let mut files: Vec<String> =
        yaml.map(|name| if folder.is_empty() { name } else { format!("{folder}/{name}") }).collect();
    files.sort();
    Ok(files)
}

/// Reads one file, if it is there. One that cannot be read is no reason to leave the others alone.
fn take(
    folder: &Path,
    name: &str,
    findings: &mut Findings,
    read: impl Fn(&str, &str) -> anyhow::Result<Findings>,
) {
    let path = folder.join(name);
    if !path.exists() {
        return;
    }
    match reading::text(&path, MOST)
        .with_context(|| format!("reading {name}"))
        .and_then(|text| read(name, &text))
    {
        Ok(more) => {
            findings.found.extend(more.found);
            findings.notes.extend(more.notes);
        }
        Err(error) => findings.notes.push(format!("{error:#}")),
    }
}

fn tell(found: &[Found], notes: &[String], progress: &Progress) {
    for found in found {
        let user = found.user.as_ref().map(|user| format!(", user {user:?}"));
        let database = found.database.as_ref().map(|database| format!(", database {database:?}"));
        let what =
            format!("{}{}{}", write::image(found), user.unwrap_or_default(), database.unwrap_or_default());
        progress.say(&format!("{}: {what}", found.name));
        found.places.iter().for_each(|place| progress.say(&format!("  {}", place.text)));
    }
    notes.iter().for_each(|note| progress.warn(note));
}

/// Where the file goes; `None` for standard output.
fn target(args: &Init) -> Option<PathBuf> {
    match &args.output {
        _ if args.print => None,
        Some(path) if path.as_os_str() == "-" => None,
        Some(path) => Some(path.clone()),
        None if args.folder == Path::new(".") => Some(find::NAMES[0].into()),
        None => Some(args.folder.join(find::NAMES[0])),
    }
}

/// Writes the file, unless there is one.
fn put(path: &Path, folder: &Path, is_default: bool, text: &str) -> anyhow::Result<()> {
    let refused = |there: &Path| {
        Err(usage(format!("{} is there already, and stays as it is", there.display())))
            .detail(format!("This would have been written:\n\n{}", text.trim_end()))
            .hint("to begin anew, remove that file first; --output FILE writes another one, and --print shows it")
    };
    if let Some(name) = find::NAMES.iter().find(|name| is_default && folder.join(name).exists()) {
        return refused(&path.with_file_name(name));
    }
    let context = || format!("writing {}", path.display());
    match File::create_new(path) {
        Ok(mut file) => file.write_all(text.as_bytes()).with_context(context),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => refused(path),
        Err(error) => Err(error).with_context(context),
    }
}
