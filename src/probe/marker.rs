//! What the log of a known image says about its set-up. Pure: a line goes in.
//!
//! Each text is printed by the image's own entrypoint (or by the server itself, which tells its process id),
//! and the final ones only after the set-up server has stopped. Counting the servers' "ready for connections"
//! lines would not do: their number depends on the image and on whether the data folder was empty.

use super::Log;
use crate::database::Engine;

/// Set-up has begun.
const BEGUN: [(&[Engine], &str); 7] = [
    (&MYSQL_FAMILY, "Initializing database"),
    (&MYSQL_FAMILY, "tarting temporary server"),
    (&MYSQL_FAMILY, "** Starting MySQL setup **"),
    (&MYSQL_FAMILY, "** Starting MariaDB setup **"),
    (&POSTGRES, "The files belonging to this database system will be owned by user"),
    (&POSTGRES, "** Starting PostgreSQL setup **"),
    (&POSTGRES, "** Starting PostgreSQL with Replication Manager setup **"),
];

/// Set-up is over, or there was none.
const FINAL: [(&[Engine], &str); 9] = [
    (&MYSQL_FAMILY, "MySQL init process done. Ready for start up."),
    (&MYSQL_FAMILY, "MariaDB init process done. Ready for start up."),
    // The server's own line, of use with a populated data folder.
    (&MYSQL_FAMILY, "as process 1"),
    (&MYSQL_FAMILY, "** MySQL setup finished! **"),
    (&MYSQL_FAMILY, "** MariaDB setup finished! **"),
    (&POSTGRES, "PostgreSQL init process complete; ready for start up."),
    (&POSTGRES, "Skipping initialization"),
    (&POSTGRES, "** PostgreSQL setup finished! **"),
    (&POSTGRES, "** PostgreSQL with Replication Manager setup finished! **"),
];

const MYSQL_FAMILY: [Engine; 2] = [Engine::Mysql, Engine::Mariadb];
const POSTGRES: [Engine; 1] = [Engine::Postgres];

/// The state of a log after another line. Once final, it stays so: a container is set up only once.
pub fn after(log: Log, engine: Engine, line: &str) -> Log {
    if let Log::Final(_) = log {
        return log;
    }
    let found = |known: &[(&[Engine], &'static str)]| {
        known
            .iter()
            .find(|(engines, text)| engines.contains(&engine) && holds(line, text))
            .map(|(_, text)| *text)
    };
    match (found(&FINAL), found(&BEGUN)) {
        (Some(marker), _) => Log::Final(marker),
        (None, Some(_)) => Log::SettingUp,
        (None, None) => log,
    }
}

/// Whether the text stands in the line, and is not the beginning of a longer number.
fn holds(line: &str, text: &str) -> bool {
    let follows = |rest: &str| !rest.starts_with(|c: char| c.is_ascii_digit());
    line.match_indices(text)
        .any(|(at, _)| !text.ends_with(|c: char| c.is_ascii_digit()) || follows(&line[at + text.len()..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(engine: Engine, log: &str) -> Vec<Log> {
        let states = log.lines().scan(Log::Unread, |state, line| {
            *state = after(*state, engine, line);
            Some(*state)
        });
        states.collect()
    }

    #[test]
    fn the_whole_course_of_a_mysql_container() {
        let log = "\
2026-01-01 00:00:00+00:00 [Note] [Entrypoint]: Entrypoint script for MySQL Server 9.7.0-1.el9 started.
2026-01-01 00:00:00+00:00 [Note] [Entrypoint]: Initializing database files
2026-01-01T00:00:00.000000Z 0 [System] [MY-013169] [Server] /usr/sbin/mysqld (mysqld 9.7.0) initializing of server in progress as process 80
2026-01-01 00:00:05+00:00 [Note] [Entrypoint]: Starting temporary server
2026-01-01T00:00:05.000000Z 0 [System] [MY-010116] [Server] /usr/sbin/mysqld (mysqld 9.7.0) starting as process 131
2026-01-01T00:00:06.000000Z 0 [System] [MY-010931] [Server] /usr/sbin/mysqld: ready for connections. Version: '9.7.0'  port: 0
2026-01-01 00:00:09+00:00 [Note] [Entrypoint]: MySQL init process done. Ready for start up.
2026-01-01T00:00:09.000000Z 0 [System] [MY-010116] [Server] /usr/sbin/mysqld (mysqld 9.7.0) starting as process 1";
        let done = Log::Final("MySQL init process done. Ready for start up.");
        let setting_up = Log::SettingUp;
        assert_eq!(
            read(Engine::Mysql, log),
            [Log::Unread, setting_up, setting_up, setting_up, setting_up, setting_up, done, done]
        );
    }

    #[test]
    fn a_populated_data_folder_is_final_at_once() {
        for (engine, line) in [
            (
                Engine::Mysql,
                "2026-01-01T00:00:09Z 0 [System] [MY-010116] [Server] /usr/sbin/mysqld (mysqld 8.4.0) starting as process 1",
            ),
            (
                Engine::Mariadb,
                "2026-01-01 0:00:09 0 [Note] Starting MariaDB 11.8.2-MariaDB source revision 8d36 server_uid x= as process 1",
            ),
            (
                Engine::Postgres,
                "PostgreSQL Database directory appears to contain a database; Skipping initialization",
            ),
        ] {
            assert!(matches!(read(engine, line)[..], [Log::Final(_)]), "{line}");
        }
    }

    #[test]
    fn every_vendor_begins_and_ends() {
        for (engine, begun, done) in [
            (Engine::Mysql, "Initializing database", "MySQL init process done. Ready for start up."),
            (
                Engine::Mysql,
                "[Entrypoint] Initializing database",
                "[Entrypoint] MySQL init process done. Ready for start up.",
            ),
            (
                Engine::Mariadb,
                "[Note] [Entrypoint]: Starting temporary server",
                "[Entrypoint]: MariaDB init process done. Ready for start up.",
            ),
            (
                Engine::Mysql,
                "mysql 00:00:00 INFO  ==> ** Starting MySQL setup **",
                "mysql 00:00 INFO  ==> ** MySQL setup finished! **",
            ),
            (
                Engine::Mariadb,
                "mariadb 00:00 INFO  ==> ** Starting MariaDB setup **",
                "INFO  ==> ** MariaDB setup finished! **",
            ),
            (
                Engine::Postgres,
                "postgresql 00 INFO  ==> ** Starting PostgreSQL setup **",
                "INFO  ==> ** PostgreSQL setup finished! **",
            ),
            (
                Engine::Postgres,
                "The files belonging to this database system will be owned by user \"postgres\".",
                "PostgreSQL init process complete; ready for start up.",
            ),
        ] {
            assert!(
                matches!(
                    read(engine, &format!("{begun}\nother\n{done}"))[..],
                    [Log::SettingUp, Log::SettingUp, Log::Final(_)]
                ),
                "{begun}"
            );
        }
    }

    #[test]
    fn other_process_ids_and_other_engines_say_nothing() {
        assert_eq!(read(Engine::Mysql, "mysqld (mysqld 9.7.0) starting as process 12"), [Log::Unread]);
        assert_eq!(read(Engine::Postgres, "MySQL init process done. Ready for start up."), [Log::Unread]);
    }
}
