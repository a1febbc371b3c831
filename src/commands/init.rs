//! `testbed init`: writes a `testbed.yaml` from what the project says about its databases.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};

use crate::cli::{Global, Init};
use crate::console;
use crate::failure::{Advise, usage};
use crate::init::merge::{self, ASKED, Merged};
use crate::init::project::Project;
use crate::init::{Findings, Found, Place, Port, ignored, look, migrations, write};
use crate::manifest::builtin::With;
use crate::progress::Progress;
use crate::settings::find;
use crate::words;

pub(super) fn init(args: &Init, global: &Global) -> anyhow::Result<()> {
    let progress = global.progress();
    if !args.folder.is_dir() {
        return Err(usage(format!("{} is no folder", args.folder.display())));
    }
    let context = || format!("looking into {}", args.folder.display());
    let project = Project::new(&args.folder).with_context(context)?;
    let mut findings = Findings::default();
    for text in &args.with {
        findings.found.push(asked(&With::parse(text)?));
    }
    findings.add(look::look(&project));
    let migrations = migrations::find(&project);
    let unread = project.into_notes();
    let Merged { found, aside } = merge::merge(std::mem::take(&mut findings.found));
    findings.left.extend(aside);
    if found.is_empty() {
        findings.notes.extend(unread);
        return Err(nothing(args, &findings));
    }
    tell(&found, &findings, &unread, &progress);
    let target = target(args);
    let next = format!("testbed run {}-- your test command", settings_of(target.as_deref()));
    let text = write::write(&found, migrations.as_ref(), &next);
    match target {
        None => console::print(&text),
        Some(path) => {
            put(&path, &args.folder, args.output.is_none(), &text)?;
            console::print(&format!("{}\n", path.display()))?;
            progress.say(&format!("wrote {}; next: {next}", path.display()));
            if ignored::is_taken_in(&args.folder, CONFIG) {
                let ignore = args.folder.join(".gitignore");
                progress.say(&format!(
                    "no .gitignore has {CONFIG}, in which there are passwords once databases are up: add that line to {}",
                    ignore.strip_prefix(".").unwrap_or(&ignore).display()
                ));
            }
            Ok(())
        }
    }
}

/// Where `up` writes what the tests need, unless told otherwise.
const CONFIG: &str = "testing-databases.json";

fn asked(with: &With) -> Found {
    let place = Place { group: ASKED.into(), text: "asked for with --with".into() };
    Found {
        tag: with.tag.clone(),
        port: with.port.map(Port::Asked),
        ..Found::new(with.name.clone(), with.engine, place)
    }
}

/// Why there is no proposal. A file that could not be read may have had one.
fn nothing(args: &Init, findings: &Findings) -> anyhow::Error {
    let seen: Vec<String> = few(findings.broken.iter().skip(1).chain(&findings.left).chain(&findings.notes));
    let error = match findings.broken.first() {
        Some(broken) => usage(broken.clone()),
        None => anyhow!("no database was found in {}", args.folder.display()),
    };
    let told: anyhow::Result<()> = Err(error);
    let told = if seen.is_empty() { told } else { told.detail(seen.join("\n")) };
    told.hint(
        "looked at compose files, .github/workflows, .gitlab-ci.yml, testing-databases.json and programs' settings",
    )
    .hint("say what the tests need: testbed init --with postgres:17 --with mysql")
    .unwrap_err()
}

/// Notes are for those who go on with the file; that there may be more than was read is for everybody.
fn tell(found: &[Found], findings: &Findings, unread: &[String], progress: &Progress) {
    for found in found {
        progress.say(&format!("{}: {}", found.name, write::summary(found)));
        found.places.iter().for_each(|place| progress.say(&format!("  {}", place.text)));
    }
    few(findings.left.iter()).iter().for_each(|left| progress.say(&format!("left out: {left}")));
    few(findings.notes.iter()).iter().for_each(|note| progress.say(&format!("note: {note}")));
    few(findings.broken.iter().chain(unread)).iter().for_each(|unread| progress.warn(unread));
}

/// No more than people read.
fn few<'a>(lines: impl Iterator<Item = &'a String>) -> Vec<String> {
    let mut lines = lines.cloned();
    let mut few: Vec<String> = lines.by_ref().take(LINES).collect();
    let more = lines.count();
    few.extend((more > 0).then(|| format!("and {more} more")));
    few
}

/// How much is said of one kind.
const LINES: usize = 100;

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

/// The flag without which a file would not be found from here.
fn settings_of(path: Option<&Path>) -> String {
    match path {
        Some(path) if !find::NAMES.iter().any(|name| path == Path::new(name)) => {
            format!("--settings {} ", words::quoted(path))
        }
        _ => String::new(),
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
        // On a full disk half of it would be taken for the project's settings.
        Ok(mut file) => file
            .write_all(text.as_bytes())
            .inspect_err(|_| drop(std::fs::remove_file(path)))
            .with_context(context),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => refused(path),
        Err(error) => Err(error).with_context(context),
    }
}
