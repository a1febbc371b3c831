//! The image that a Dockerfile builds upon, and what it adds that a database reads.

use parse_dockerfile::{Flag, Instruction, Source, Stage};

use super::dotenv::{Variables, interpolate};
use super::{SCRIPTS, one_line};
use crate::manifest::setup;

/// What a Dockerfile says about a database in it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Built {
    /// The image at the end of all `FROM`.
    pub base: String,
    pub variables: Variables,
    /// The set-up scripts: their names in the image, and what is copied there, as seen from the context. A
    /// folder's has no name.
    pub scripts: Vec<(String, String)>,
    pub entrypoint: Vec<String>,
    pub command: Vec<String>,
}

/// Reads a Dockerfile with its build arguments, up to a stage of it.
///
/// # Errors
/// What is wrong with it, or which image is not known.
pub fn read(text: &str, arguments: &Variables, target: Option<&str>) -> Result<Built, String> {
    let file = parse_dockerfile::parse(text).map_err(|error| one_line(&error.to_string()))?;
    let mut known = Variables::new();
    for argument in file.global_args() {
        let (name, default) = split(&argument.arguments.value);
        if let Some(value) = arguments.get(name).cloned().or_else(|| interpolate(default?, &known)) {
            known.insert(name.to_owned(), value);
        }
    }
    let stages: Vec<Stage> = file.stages().collect();
    let mut index = match target {
        None => stages.len().checked_sub(1),
        Some(target) => stage(&stages, target),
    }
    .ok_or("it has no such stage")?;
    let mut built = Built::default();
    loop {
        let stage_of = &stages[index];
        take(stage_of, arguments, &known, &mut built);
        let image = &stage_of.from.image.value;
        // A stage stands before those that build upon it.
        if let Some(before) = stage(&stages[..index], image) {
            index = before;
            continue;
        }
        let base = interpolate(image, &known);
        built.base = base
            .filter(|base| !base.is_empty() && !base.contains('$'))
            .ok_or_else(|| format!("the value of {} is not known here", one_line(image)))?;
        if let Some(before) = stage(&stages[..index], &built.base) {
            index = before;
            continue;
        }
        return Ok(built);
    }
}

fn stage(stages: &[Stage], name: &str) -> Option<usize> {
    stages.iter().rposition(|stage| {
        stage.from.as_.as_ref().is_some_and(|(_, own)| own.value.eq_ignore_ascii_case(name))
    })
}

/// Takes in what a stage sets; what a later one has set already wins.
fn take(stage: &Stage, arguments: &Variables, global: &Variables, built: &mut Built) {
    let mut known = Variables::new();
    let mut own = Variables::new();
    let mut scripts = Vec::new();
    let mut folder = String::from("/");
    for instruction in stage.instructions {
        match instruction {
            Instruction::Arg(argument) => {
                let (name, default) = split(&argument.arguments.value);
                let value = arguments.get(name).or_else(|| global.get(name)).cloned();
                if let Some(value) = value.or_else(|| interpolate(default?, &known)) {
                    known.insert(name.to_owned(), value);
                }
            }
            Instruction::Env(env) => {
                for (name, value) in pairs(&env.arguments.value) {
                    if let Some(value) = interpolate(&value, &known) {
                        known.insert(name.clone(), value.clone());
                        own.insert(name, value);
                    }
                }
            }
            Instruction::Workdir(to) => folder = below(&folder, &to.arguments.value, &known),
            Instruction::Copy(copy) => {
                let to = below(&folder, &copy.dest.value, &known);
                scripts.extend(copied(&copy.options, &copy.src, &to, &known));
            }
            Instruction::Add(add) => {
                let to = below(&folder, &add.dest.value, &known);
                scripts.extend(copied(&add.options, &add.src, &to, &known));
            }
            Instruction::Entrypoint(entry) if built.entrypoint.is_empty() => {
                built.entrypoint = command(&entry.arguments);
            }
            Instruction::Cmd(cmd) if built.command.is_empty() => built.command = command(&cmd.arguments),
            _ => {}
        }
    }
    own.append(&mut built.variables);
    built.variables = own;
    scripts.append(&mut built.scripts);
    built.scripts = scripts;
}

/// A path of the image that is named in a folder of it.
fn below(folder: &str, path: &str, known: &Variables) -> String {
    let path = interpolate(path, known).unwrap_or_else(|| path.to_owned());
    if path.starts_with('/') { path } else { format!("{}/{path}", folder.trim_end_matches('/')) }
}

/// What a path of an image is called where set-up scripts are: nothing is the folder itself.
pub fn script(path: &str) -> Option<&str> {
    let name = path.strip_prefix(SCRIPTS).filter(|name| name.is_empty() || name.starts_with('/'))?;
    Some(if name.trim_matches(['/', '.']).is_empty() { "" } else { name.trim_start_matches('/') })
}

/// The files of the context that are copied to where set-up scripts are.
fn copied(options: &[Flag], sources: &[Source], to: &str, known: &Variables) -> Vec<(String, String)> {
    let Some(name) = script(to).filter(|_| !options.iter().any(|flag| flag.name.value == "from")) else {
        return Vec::new();
    };
    let is_script = |name: &str| setup::SCRIPTS.iter().any(|ending| name.ends_with(ending));
    let paths = sources.iter().filter_map(|source| match source {
        Source::Path(path) => Some(interpolate(&path.value, known).unwrap_or_else(|| path.value.to_string())),
        _ => None,
    });
    let all = paths.filter(|path| !path.contains("://")).filter_map(|path| {
        let (folder, last) = path.rsplit_once('/').unwrap_or((".", &path));
        let is_all = last == "*" || last.strip_prefix('*').is_some_and(|end| setup::SCRIPTS.contains(&end));
        let (name, path) = match name {
            // Whichever scripts the folder has.
            "" if is_all => ("", folder),
            "" if is_script(last) => (last, path.as_str()),
            "" => ("", path.as_str()),
            name => (name, path.as_str()),
        };
        let is_run = name.is_empty() || is_script(name) && !name.contains('/');
        is_run.then(|| (name.to_owned(), path.to_owned()))
    });
    all.collect()
}

fn command(command: &parse_dockerfile::Command) -> Vec<String> {
    match command {
        parse_dockerfile::Command::Exec(words) => {
            words.value.iter().map(|word| word.value.clone().into_owned()).collect()
        }
        parse_dockerfile::Command::Shell(text) => vec!["sh".into(), "-c".into(), text.value.to_owned()],
        _ => Vec::new(),
    }
}

fn split(argument: &str) -> (&str, Option<&str>) {
    let argument = argument.trim();
    argument
        .split_once('=')
        .map_or((argument, None), |(name, value)| (name, Some(value.trim_matches(['"', '\'']))))
}

/// `A=1 B="2"`, or the old form `A 1`.
fn pairs(text: &str) -> Vec<(String, String)> {
    let words = super::command::words(text);
    if words.first().is_some_and(|word| !word.contains('=')) {
        return text
            .trim()
            .split_once(char::is_whitespace)
            .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
            .into_iter()
            .collect();
    }
    words
        .iter()
        .filter_map(|word| word.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base(text: &str, arguments: &[(&str, &str)], target: Option<&str>) -> Result<String, String> {
        let arguments = arguments.iter().map(|(a, b)| ((*a).into(), (*b).into())).collect();
        read(text, &arguments, target).map(|built| built.base)
    }

    #[test]
    fn the_image_at_the_end_of_all_stages_is_found() {
        for (text, arguments, target, expected) in [
            ("FROM postgres:15\n", &[][..], None, "postgres:15"),
            ("ARG V\nFROM postgres:${V}-alpine\n", &[("V", "15")], None, "postgres:15-alpine"),
            ("ARG V=16\nFROM postgres:$V\n", &[], None, "postgres:16"),
            ("ARG V=16\nARG I=mysql:${V}\nFROM $I as x\n", &[], None, "mysql:16"),
            ("FROM rust AS a\nRUN x\nfrom --platform=x \\\n  postgres:17\nRUN x\n", &[], None, "postgres:17"),
            ("FROM postgres:15 AS base\nFROM base\nFROM node\n", &[], Some("base"), "postgres:15"),
            ("FROM mysql:8 AS a\nFROM a AS b\nFROM b\n", &[], None, "mysql:8"),
        ] {
            assert_eq!(base(text, arguments, target).as_deref(), Ok(expected), "{text}");
        }
        for (text, part) in [
            ("FROM $X\n", "the value of $X is not known"),
            ("RUN x\n", ""),
            ("FROM a\nWHAT x\n", "WHAT"),
            ("", ""),
        ] {
            let error = base(text, &[], None).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
        assert!(base("FROM a\n", &[], Some("none")).is_err());
    }

    #[test]
    fn variables_and_scripts_are_those_of_all_stages() {
        let text = "FROM postgres:15 AS base\nARG N=shop\nENV POSTGRES_DB=$N POSTGRES_USER='a b'\nENV X y z\n\
                    COPY a.sql b.sql /docker-entrypoint-initdb.d/\nFROM base\nENV POSTGRES_DB=two\n\
                    COPY --from=base c.sql /docker-entrypoint-initdb.d/\nCOPY d /docker-entrypoint-initdb.d\n\
                    CMD [\"postgres\", \"-c\", \"fsync=off\"]\n";
        let built = read(text, &Variables::new(), None).unwrap();
        let expected = [("POSTGRES_DB", "two"), ("POSTGRES_USER", "a b"), ("X", "y z")];
        assert_eq!(built.variables, expected.map(|(a, b)| (a.into(), b.into())).into());
        let scripts: Vec<_> =
            built.scripts.iter().map(|(name, path)| (name.as_str(), path.as_str())).collect();
        assert_eq!(scripts, [("a.sql", "a.sql"), ("b.sql", "b.sql"), ("", "d")]);
        assert_eq!((built.entrypoint.len(), built.command.len()), (0, 3));
    }
}
