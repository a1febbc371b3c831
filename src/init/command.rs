//! What a container in a database's image runs, and which arguments of the server can be taken over.

use crate::database::program;
use crate::engine::Engine;

/// What a container runs.
#[derive(Debug, PartialEq, Eq)]
pub enum Runs {
    /// The server, with these arguments.
    Server(Vec<String>),
    /// Something that starts the server at its end.
    Wrapped,
    /// Another program.
    Other(String),
    /// A program that nobody knows.
    Unknown(String),
}

/// What the words say; without an entrypoint of the service's own, the image's starts what the command says.
pub fn runs(entrypoint: &[String], command: &[String]) -> Runs {
    let look = |entrypoint: &[String], command: &[String]| program::runs(entrypoint, command, &|_| None);
    match look(entrypoint, command) {
        program::Runs::Server(Some(arguments)) => Runs::Server(arguments),
        program::Runs::Server(None) => Runs::Wrapped,
        program::Runs::Another(name) => Runs::Other(name),
        // A script of the project's own may be handed the server's command.
        program::Runs::Unknown(name) => match command.first().map(|_| look(command, &[])) {
            Some(program::Runs::Server(Some(arguments))) => Runs::Server(arguments),
            _ => Runs::Unknown(name.rsplit('/').next().unwrap_or_default().to_owned()),
        },
    }
}

/// The words of a command that is written as one text.
pub fn words(text: &str) -> Vec<String> {
    shlex::split(text).unwrap_or_else(|| text.split_whitespace().map(str::to_owned).collect())
}

/// Options that are about the container and not about the server: testbed has its own for them.
const OWN: [&str; 24] = [
    "port",
    "listen_addresses",
    "bind_address",
    "data_directory",
    "datadir",
    "config_file",
    "hba_file",
    "ident_file",
    "defaults_file",
    "defaults_extra_file",
    "socket",
    "unix_socket_directories",
    "user",
    "pid_file",
    "external_pid_file",
    "log_error",
    "basedir",
    "p",
    "P",
    "h",
    "k",
    "D",
    "u",
    "S",
];

/// The arguments that can be taken over, and the names of those that cannot: they are the container's affair,
/// or name files in it.
pub fn sort(engine: Engine, arguments: &[String]) -> (Vec<String>, Vec<String>) {
    let (mut taken, mut dropped) = (Vec::new(), Vec::new());
    let mut rest = arguments.iter().map(String::as_str).peekable();
    while let Some(word) = rest.next() {
        let mut words = vec![word];
        let is_letter = word.starts_with('-') && !word.starts_with("--");
        let takes_next = word == "-c"
            || is_letter
                && word.len() == 2
                && engine == Engine::Postgres
                && !["-F", "-l", "-j"].contains(&word)
            || word.starts_with('-') && !word.contains('=');
        if takes_next && let Some(next) = rest.next_if(|next| !next.starts_with('-')) {
            words.push(next);
        }
        let said = match words.as_slice() {
            ["-c", setting, ..] => *setting,
            [word, ..] => word.strip_prefix("-c").unwrap_or(word),
            [] => continue,
        };
        let (name, inline) = said.split_once('=').map_or((said, None), |(name, value)| (name, Some(value)));
        let is_setting = word.starts_with("-c");
        let value = inline.or(words.get(1).copied().filter(|_| !is_setting)).unwrap_or_default();
        let plain = name.trim_start_matches('-').replace('-', "_");
        let is_file = value.starts_with('/') || value.starts_with("./");
        let is_known = !words.iter().any(|word| word.contains('$') || word.contains(char::is_control));
        if OWN.contains(&plain.as_str())
            || is_file
            || !is_known
            || is_tls(name) && !["off", "0", "false", "no"].contains(&value.to_lowercase().as_str())
            || plain.contains("password")
        {
            dropped.push(name.to_owned());
        } else {
            taken.extend(words.iter().map(|word| (*word).to_owned()));
        }
    }
    (taken, dropped)
}

/// Whether an argument is about TLS: a server that has to use it does not start without its certificates.
pub fn is_tls(name: &str) -> bool {
    let plain = name.trim_start_matches('-').replace('-', "_");
    plain.starts_with("ssl") || plain == "require_secure_transport" || name == "-l"
}

/// Libraries that every PostgreSQL has.
const LIBRARIES: [&str; 8] = [
    "auth_delay",
    "auto_explain",
    "basebackup_to_shell",
    "basic_archive",
    "passwordcheck",
    "pg_prewarm",
    "pg_stat_statements",
    "pg_walinspect",
];

/// Takes the libraries to preload out of PostgreSQL's arguments where some are not its own, and tells these.
pub fn without_libraries(arguments: &mut Vec<String>) -> Vec<String> {
    let mut others = Vec::new();
    for index in (0..arguments.len()).rev() {
        let word = &arguments[index];
        let word = word.strip_prefix("--").or_else(|| word.strip_prefix("-c")).unwrap_or(word);
        let (name, value) = word.split_once('=').unwrap_or((word, ""));
        let libraries = value.split(',').map(|name| name.trim().trim_matches(['"', '\'']));
        let unknown: Vec<String> =
            libraries.filter(|name| !LIBRARIES.contains(name)).map(ToOwned::to_owned).collect();
        if value.is_empty() || !name.ends_with("preload_libraries") && !name.ends_with("preload-libraries") {
            continue;
        }
        if !unknown.is_empty() {
            let first = if index > 0 && arguments[index - 1] == "-c" { index - 1 } else { index };
            arguments.drain(first..=index);
            others.extend(unknown);
        }
    }
    others
}

/// The port that the server is told to listen on.
pub fn port(engine: Engine, arguments: &[String]) -> Option<u16> {
    let letter = if engine == Engine::Postgres { "-p" } else { "-P" };
    arguments.iter().enumerate().find_map(|(index, word)| {
        let inline = word.strip_prefix("--port=").or_else(|| word.strip_prefix("port="));
        let next = ["--port", letter].contains(&word.as_str()).then(|| arguments.get(index + 1)).flatten();
        inline.or(next.map(String::as_str))?.parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_wrappers_and_clients_are_told_apart() {
        let server = |words: &str| Runs::Server(self::words(words));
        for (entrypoint, command, expected) in [
            ("", "", server("")),
            ("", "postgres -c wal_level=logical", server("-c wal_level=logical")),
            ("", "-c 'a=b c'", server("-c 'a=b c'")),
            ("", "mysqld --sql-mode=ANSI", server("--sql-mode=ANSI")),
            ("docker-entrypoint.sh", "mariadbd --x=1", server("--x=1")),
            ("/usr/bin/tini -- /usr/local/bin/docker-entrypoint.sh", "postgres", server("")),
            ("docker-entrypoint.sh mysqld", "--x=1", server("--x=1")),
            ("", "sh -c 'chown -R x /y && exec docker-entrypoint.sh postgres -c a=b'", Runs::Wrapped),
            ("bash -c", "'sleep 1; gosu mysql mysqld'", Runs::Wrapped),
            (
                "",
                "bash -c 'until pg_isready -h db -U postgres; do sleep 1; done'",
                Runs::Other("pg_isready".into()),
            ),
            ("sh -c", "'createdb -h db -U postgres shop'", Runs::Other("createdb".into())),
            ("", "psql postgres://db/postgres -c 'SELECT 1'", Runs::Other("psql".into())),
            ("/start.sh", "postgres -c a=b", server("-c a=b")),
            ("/start.sh", "", Runs::Unknown("start.sh".into())),
            ("pg_dump", "-h db", Runs::Other("pg_dump".into())),
            ("", "PGPASSWORD=hush psql -h db", Runs::Other("psql".into())),
            ("", "/bin/true", Runs::Other("true".into())),
        ] {
            assert_eq!(runs(&words(entrypoint), &words(command)), expected, "{entrypoint} {command}");
        }
    }

    #[test]
    fn libraries_of_others_are_taken_out() {
        for (arguments, left, others) in [
            ("-c shared_preload_libraries=pg_cron,pg_stat_statements -c a=b", "-c a=b", "pg_cron"),
            ("--shared-preload-libraries=x -cshared_preload_libraries=y", "", "y x"),
            (
                "-c shared_preload_libraries=pg_stat_statements",
                "-c shared_preload_libraries=pg_stat_statements",
                "",
            ),
            ("-c shared_preload_libraries=", "-c shared_preload_libraries=", ""),
        ] {
            let mut arguments = words(arguments);
            assert_eq!(without_libraries(&mut arguments), words(others));
            assert_eq!(arguments, words(left));
        }
    }

    #[test]
    fn arguments_that_name_the_containers_own_things_are_left_out() {
        let sorted = |engine, text: &str| sort(engine, &words(text));
        assert_eq!(
            sorted(
                Engine::Postgres,
                "-c wal_level=logical -c config_file=/etc/p.conf -N 300 -p 5433 --fsync=off -B 64MB"
            ),
            (words("-c wal_level=logical -N 300 --fsync=off -B 64MB"), words("config_file -p"))
        );
        assert_eq!(
            sorted(
                Engine::Mysql,
                "--sql-mode=ANSI --port 3307 --init-file=/x.sql --skip-name-resolve --a='$X'"
            ),
            (words("--sql-mode=ANSI --skip-name-resolve"), words("--port --init-file --a"))
        );
        assert_eq!(
            sorted(Engine::Postgres, "-c ssl=on -c fsync=off -l --ssl-key-file=/x -c ssl=off"),
            (words("-c fsync=off -c ssl=off"), words("ssl -l --ssl-key-file"))
        );
        assert_eq!(
            sorted(Engine::Mysql, "--require-secure-transport --ssl-ca=x --ssl=0 --skip-ssl"),
            (words("--ssl=0 --skip-ssl"), words("--require-secure-transport --ssl-ca"))
        );
        assert_eq!(port(Engine::Postgres, &words("-p 5433")), Some(5433));
        assert_eq!(port(Engine::Mysql, &words("--port=3307 -p x")), Some(3307));
    }
}
