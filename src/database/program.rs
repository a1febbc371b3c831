//! What a container of a database's image runs: its server, or a client, a wait loop or whatever else the
//! image is good for.

use k8s_openapi::api::core::v1::Container;

use super::variables::Variables;

/// What a container runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Runs {
    /// The image's server, for all that can be seen, with these arguments; `None` where a script gives it
    /// its own.
    Server(Option<Vec<String>>),
    /// This program, which is none.
    Another(String),
    /// A program that nobody knows, which may start a server.
    Unknown(String),
}

const SERVERS: [&str; 16] = [
    "postgres",
    "postmaster",
    "pg_ctl",
    "pg_ctlcluster",
    "patroni",
    "mysqld",
    "mysqld_safe",
    "mysqld-debug",
    "mariadbd",
    "mariadbd-safe",
    "run-postgresql",
    "run-mysqld",
    "run-mysqld-master",
    "run-postgresql-master",
    REPLICAS[0],
    REPLICAS[1],
];
/// Red Hat's servers that copy another one.
const REPLICAS: [&str; 2] = ["run-mysqld-slave", "run-postgresql-slave"];
/// Scripts that run what follows, a server unless that is the name of another program.
const ENTRYPOINTS: [&str; 5] = [
    "docker-entrypoint.sh",
    "container-entrypoint",
    "entrypoint.sh",
    "docker-ensure-initdb.sh",
    "docker-enforce-initdb.sh",
];
/// Programs that run another one, and how many words of their own they take besides switches.
const WRAPPERS: [(&str, usize); 15] = [
    ("exec", 0),
    ("tini", 0),
    ("dumb-init", 0),
    ("gosu", 1),
    ("su-exec", 1),
    ("setpriv", 0),
    ("chroot", 1),
    ("timeout", 1),
    ("env", 0),
    ("nohup", 0),
    ("nice", 0),
    ("time", 0),
    ("command", 0),
    ("eval", 0),
    ("setsid", 0),
];
const SHELLS: [&str; 5] = ["sh", "bash", "ash", "dash", "zsh"];
/// What is in databases' images and is no server.
const OTHERS: [&str; 49] = [
    "psql",
    "pg_isready",
    "pg_dump",
    "pg_dumpall",
    "pg_restore",
    "pg_basebackup",
    "pg_receivewal",
    "pgbench",
    "createdb",
    "dropdb",
    "createuser",
    "vacuumdb",
    "reindexdb",
    "mysql",
    "mysqladmin",
    "mysqldump",
    "mysqlsh",
    "mysqlcheck",
    "mysqlimport",
    "mysqlslap",
    "mariadb",
    "mariadb-admin",
    "mariadb-dump",
    "mariadb-check",
    "mariadb-import",
    "mariadb-slap",
    "mariadb-backup",
    "mariabackup",
    "sleep",
    "tail",
    "cat",
    "echo",
    "true",
    "false",
    "printf",
    "date",
    "ls",
    "cp",
    "mkdir",
    "chown",
    "chmod",
    "rm",
    "mv",
    "tar",
    "find",
    "touch",
    "sed",
    "grep",
    "curl",
];
/// Programs that start what only their settings tell.
const LAUNCHERS: [&str; 9] =
    ["su", "sudo", "runuser", "supervisord", "runsvdir", "s6-svscan", ".", "source", "xargs"];
/// Words of a shell before which nothing runs.
const KEYWORDS: [&str; 12] =
    ["if", "then", "elif", "else", "do", "while", "until", "!", "{", "}", "fi", "done"];

/// Reads the scripts of a project, by the paths that they have in its container.
type Files<'a> = &'a dyn Fn(&str) -> Option<String>;

/// What the container's command and arguments run.
pub(super) fn of(variables: &Variables) -> Runs {
    let Container { command, args, .. } = variables.container();
    let words = |words: &Option<Vec<String>>| words.clone().unwrap_or_default();
    runs(&words(command), &words(args), &|path| variables.file(path))
}

/// Whether the container runs a server that copies another one.
pub(super) fn is_replica(container: &Container) -> bool {
    let mut words = container.command.iter().flatten().chain(container.args.iter().flatten());
    words.any(|word| REPLICAS.contains(&word.rsplit('/').next().unwrap_or(word)))
}

/// The arguments that a script of the container gives to its server, as far as a look at its words tells them.
pub fn of_script(entrypoint: &[String], command: &[String], files: Files<'_>) -> Vec<String> {
    let words = entrypoint.iter().chain(command);
    let texts = words.map(|word| files(word).unwrap_or_else(|| word.clone()));
    let texts: Vec<String> = texts.filter(|text| text.contains(char::is_whitespace)).collect();
    let found =
        texts.iter().flat_map(|text| commands(text)).find_map(|words| match by_words(&words, files, 0) {
            Runs::Server(arguments) => arguments,
            _ => None,
        });
    found.unwrap_or_default()
}

/// What an entrypoint and a command run; without an entrypoint it is the image's.
pub fn runs(entrypoint: &[String], command: &[String], files: Files<'_>) -> Runs {
    let words: Vec<&str> = entrypoint.iter().chain(command).map(String::as_str).collect();
    if entrypoint.is_empty() { by_entrypoint(&words, files, 0) } else { by_words(&words, files, 0) }
}

/// An image's own entrypoint starts the server unless it is given another program.
fn by_entrypoint(words: &[&str], files: Files<'_>, depth: usize) -> Runs {
    match words.first() {
        Some(first) if !first.starts_with('-') && !first.is_empty() => by_words(words, files, depth),
        _ => server(words),
    }
}

fn server(arguments: &[&str]) -> Runs {
    Runs::Server(Some(arguments.iter().map(|word| (*word).to_owned()).collect()))
}

/// How many scripts may lead to each other.
const DEPTH: usize = 4;

fn by_words(words: &[&str], files: Files<'_>, depth: usize) -> Runs {
    let Some((program, rest)) = words.split_first() else { return server(&[]) };
    if is_assignment(program) {
        return by_words(rest, files, depth);
    }
    let name = program.rsplit('/').next().unwrap_or(program);
    let unknown = || Runs::Unknown((*program).to_owned());
    if depth > DEPTH {
        return unknown();
    }
    if SERVERS.contains(&name) {
        return server(rest);
    }
    if ENTRYPOINTS.contains(&name) {
        return by_entrypoint(rest, files, depth + 1);
    }
    if let Some((_, own)) = WRAPPERS.iter().find(|(wrapper, _)| *wrapper == name) {
        let is_own = |word: &&&str| word.starts_with('-') || (name == "env" && word.contains('='));
        let skipped = rest.iter().take_while(is_own).count() + own;
        return by_words(rest.get(skipped..).unwrap_or_default(), files, depth + 1);
    }
    if SHELLS.contains(&name) {
        let is_command = |word: &&str| word.starts_with('-') && !word.starts_with("--") && word.contains('c');
        let script = rest.iter().find(|word| !word.starts_with('-'));
        return match (rest.iter().position(is_command), script) {
            // More switches may follow, and `--`.
            (Some(at), _) => {
                let script = rest[at + 1..].iter().find(|word| !word.starts_with('-'));
                by_script(script.unwrap_or(&""), files, depth + 1)
            }
            (None, Some(file)) => by_file(file, files, depth),
            (None, None) => Runs::Another(name.to_owned()),
        };
    }
    if OTHERS.contains(&name) {
        return Runs::Another(name.to_owned());
    }
    if program.contains('/') { by_file(program, files, depth) } else { unknown() }
}

/// A script of the manifest's own can be read.
fn by_file(path: &str, files: Files<'_>, depth: usize) -> Runs {
    match files(path) {
        Some(text) if text.starts_with("#!") && !text.lines().next().unwrap_or_default().contains("sh") => {
            Runs::Unknown(path.to_owned())
        }
        Some(text) => by_script(&text, files, depth + 1),
        None => Runs::Unknown(path.to_owned()),
    }
}

/// A shell's script runs a server if one of its commands is one; its first unknown command may be.
fn by_script(text: &str, files: Files<'_>, depth: usize) -> Runs {
    let found: Vec<Runs> = commands(text).iter().map(|words| by_words(words, files, depth)).collect();
    let may_be_any = |name: &str| name.contains(['/', '$']) || LAUNCHERS.contains(&name);
    let unknown = found.iter().find(|runs| matches!(runs, Runs::Unknown(name) if may_be_any(name)));
    let first = found.iter().find(|runs| matches!(runs, Runs::Another(_) | Runs::Unknown(_)));
    match (found.iter().any(|runs| matches!(runs, Runs::Server(_))), unknown.or(first)) {
        (true, _) => Runs::Server(None),
        (false, Some(Runs::Unknown(name))) if !may_be_any(name) => Runs::Another(name.clone()),
        (false, Some(runs)) => runs.clone(),
        (false, None) => Runs::Another("a script".to_owned()),
    }
}

/// The commands of a script, as far as a look at its words tells them.
fn commands(text: &str) -> Vec<Vec<&str>> {
    let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    lines
        .flat_map(|line| line.split([';', '|', '&', '(', ')', '`']))
        .map(|command| {
            let words = command.split_whitespace().map(|word| word.trim_matches(['"', '\'', '\\']));
            words
                .skip_while(|word| KEYWORDS.contains(word) || is_assignment(word))
                .filter(|word| !word.is_empty())
                .collect()
        })
        .filter(|words: &Vec<&str>| words.first().is_some_and(|first| !NOTHING.contains(first)))
        .collect()
}

/// Words of a shell that run nothing themselves.
const NOTHING: [&str; 16] = [
    "[", "[[", "test", "set", "export", "cd", "for", "case", "esac", "local", "return", "exit", "break", ":",
    "trap", "wait",
];

fn is_assignment(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| {
        !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    })
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::PodSpec;

    use super::*;
    use crate::database::Data;

    fn seen(command: &[&str], args: &[&str]) -> Runs {
        let words = |words: &[&str]| {
            (!words.is_empty()).then(|| words.iter().map(|word| (*word).to_owned()).collect::<Vec<String>>())
        };
        let container = Container { command: words(command), args: words(args), ..Container::default() };
        let (spec, data) = (PodSpec::default(), Data::default());
        of(&Variables::new(&spec, &container, &data))
    }

    #[test]
    fn servers_are_told_from_clients() {
        for (command, args) in [
            (&[][..], &[][..]),
            (&[], &["-c", "max_connections=9"]),
            (&[], &["postgres", "-c", "x=1"]),
            (&["docker-entrypoint.sh"], &["mysqld"]),
            (&["docker-entrypoint.sh"], &["--skip-name-resolve"]),
            (&["/usr/local/bin/docker-entrypoint.sh", "postgres"], &[]),
            (&["sh", "-c", "chmod 600 /k && exec docker-entrypoint.sh postgres -c ssl=on"], &[]),
            (&["bash", "-ec", "rm -rf lost+found\nexec gosu mysql mysqld --x"], &[]),
            (&["tini", "--", "mariadbd"], &[]),
            (&["run-postgresql"], &[]),
            (&["env", "LC_ALL=C", "postgres"], &[]),
            (&["bash", "-c", "--", "exec docker-entrypoint.sh postgres"], &[]),
            (&["bash", "-c", "-e", "exec docker-entrypoint.sh postgres"], &[]),
            (&[], &["run-mysqld-slave"]),
        ] {
            assert!(matches!(seen(command, args), Runs::Server(_)), "{command:?} {args:?}");
        }
        for (command, args, program) in [
            (&["sleep", "3600"][..], &[][..], "sleep"),
            (&[], &["psql", "-h", "postgres", "-c", "select 1"], "psql"),
            (&["sh", "-c", "until pg_isready -h postgres; do sleep 1; done"], &[], "pg_isready"),
            (&["/bin/bash", "-c"], &["PGPASSWORD=x psql -h postgres -U postgres postgres < /x.sql"], "psql"),
            (&["sh", "-c", "while ! mysqladmin ping -h mysqld; do sleep 2; done"], &[], "mysqladmin"),
            (&["docker-entrypoint.sh", "mysql", "-hdb"], &[], "mysql"),
            (&["tail", "-f", "/dev/null"], &[], "tail"),
            (&["sh", "-c", "migrate up"], &[], "migrate"),
            (&["timeout", "60", "pg_dump", "shop"], &[], "pg_dump"),
        ] {
            assert_eq!(seen(command, args), Runs::Another(program.into()), "{command:?} {args:?}");
        }
        assert_eq!(seen(&["/opt/start.sh"], &[]), Runs::Unknown("/opt/start.sh".into()));
        assert_eq!(seen(&["sh", "-c", "sleep 1; /opt/start.sh"], &[]), Runs::Unknown("/opt/start.sh".into()));
    }
}
