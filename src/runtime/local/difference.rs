//! What differs from the same run in a cluster. Each kind is a note, which `--strict` refuses, and one line of
//! `docs/src/explanation/local.md`.

use std::fmt;

use crate::manifest::setup;

/// Stands in a word of which the container alone knows a part; no argument can have it.
pub(super) const UNKNOWN: char = '\0';

/// Whether a value names something outside the server's own folder, or is not known. Lists have colons, semicolons or
/// commas between their parts.
pub(super) fn leads_out(value: &str) -> bool {
    let is_outside = |part: &str| {
        let part = part.trim_matches([' ', '\'', '"']);
        part.starts_with(['/', '~']) || part.split('/').any(|folder| folder == "..")
    };
    value.contains(UNKNOWN) || value.split([':', ';', ',', '=']).any(is_outside)
}

/// What is different about one database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Difference {
    /// Another engine serves it: engine and server.
    Engine(String, String),
    /// Another release of the same series serves it: version, image and server.
    Release(String, String, String),
    /// The image is not the engine's own: image and server.
    Image(String, String),
    /// The container's command and arguments that are left out.
    Arguments(String),
    /// A script of the container starts the server: what it gives to it.
    Program(String),
    /// Arguments that the server that is there does not take: server and arguments.
    Unfit(String, String),
    /// Arguments of initdb that are left out.
    InitDb(String),
    /// Files in the folder of set-up scripts that are none.
    NoScripts(Vec<String>),
    /// A volume with set-up scripts that only a cluster has.
    Scripts(String),
    /// Where a volume has settings for the server.
    Settings(String),
    /// A command that the kubelet runs in the container.
    Hook(&'static str),
    /// More than one replica.
    Replicas(usize),
    /// No names of time zones: the folder that has none.
    ZoneNames(String),
    /// A time zone that the machine does not have.
    Zone(String),
}

/// The folder of the images' set-up scripts.
pub(super) const SCRIPTS: &str = "/docker-entrypoint-initdb.d";

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Engine(engine, server) => {
                write!(f, "there is no {engine} on this machine; {server} serves it")
            }
            Self::Release(version, image, server) => {
                write!(f, "{version} is asked for (image {image}), and {server} serves it")
            }
            Self::Image(image, server) => {
                write!(f, "the image {image} is served by {server}, without what the image adds")
            }
            Self::Arguments(words) => {
                write!(f, "these arguments are for a container and are left out: {words}")
            }
            Self::Program(words) => {
                let settings = if words.is_empty() { String::new() } else { format!(", with {words}") };
                write!(
                    f,
                    "a script of the container starts its server, and is left out{settings}; name settings in the container's args"
                )
            }
            Self::Unfit(server, words) => {
                write!(f, "{server} does not take these arguments, which are left out: {words}")
            }
            Self::InitDb(words) => {
                write!(f, "these arguments of initdb are for a container and are left out: {words}")
            }
            Self::NoScripts(names) => {
                let are = if names.len() == 1 { "is no set-up script" } else { "are no set-up scripts" };
                let left = if names.len() == 1 { "is left out" } else { "are left out" };
                write!(f, "{} {are} ({}) and {left}", names.join(", "), setup::SCRIPTS.join(", "))
            }
            Self::Scripts(volume) => {
                let what = "is no ConfigMap or Secret of the manifest and is left out";
                write!(f, "the volume {volume} in {SCRIPTS} {what}")
            }
            Self::Settings(path) => {
                write!(f, "the server's settings in {path} are left out; name them in the container's args")
            }
            Self::Hook(name) => write!(f, "the container's {name} hook is not run"),
            Self::Replicas(count) => write!(f, "one server stands for its {count} replicas"),
            Self::ZoneNames(folder) => write!(
                f,
                "time zones have no names here, as there are none in {folder}: CONVERT_TZ takes +02:00 and the like alone"
            ),
            Self::Zone(name) => {
                write!(f, "TZ={name} is no time zone of this machine and is left out: the server is at UTC")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One of each kind, one after the other: the compiler names this place when there is a new one.
    fn after(one: Option<&Difference>) -> Option<Difference> {
        let server = || "PostgreSQL 15.18 at /usr/lib/postgresql/15/bin/postgres".to_owned();
        let text = str::to_owned;
        Some(match one {
            None => Difference::Engine(text("MySQL"), text("MariaDB 10.11.14 at /usr/sbin/mariadbd")),
            Some(Difference::Engine(..)) => {
                Difference::Release(text("15.4"), text("postgres:15.4"), server())
            }
            Some(Difference::Release(..)) => Difference::Image(text("postgis/postgis:15-3.5"), server()),
            Some(Difference::Image(..)) => Difference::Arguments(text("-c config_file=/etc/p.conf")),
            Some(Difference::Arguments(_)) => Difference::Program(text("-c max_connections=300")),
            Some(Difference::Program(_)) => {
                Difference::Unfit(server(), text("shared_preload_libraries=timescaledb"))
            }
            Some(Difference::Unfit(..)) => Difference::InitDb(text("--waldir=/wal")),
            Some(Difference::InitDb(_)) => Difference::NoScripts(vec![text("README.md")]),
            Some(Difference::NoScripts(_)) => Difference::Scripts(text("scripts")),
            Some(Difference::Scripts(_)) => Difference::Settings(text("/etc/mysql/conf.d")),
            Some(Difference::Settings(_)) => Difference::Hook("postStart"),
            Some(Difference::Hook(_)) => Difference::Replicas(3),
            Some(Difference::Replicas(_)) => Difference::ZoneNames(text("/usr/share/zoneinfo")),
            Some(Difference::ZoneNames(_)) => Difference::Zone(text("Nowhere/Land")),
            Some(Difference::Zone(_)) => return None,
        })
    }

    #[test]
    fn the_book_lists_each_kind_of_note_and_no_other() {
        let page = include_str!("../../../docs/src/explanation/local.md");
        let (_, list) = page.split_once("| note | why |\n|---|---|\n").expect("the list");
        let rows = list.lines().take_while(|line| line.starts_with('|'));
        let listed: Vec<&str> = rows.map(|row| row.split('`').nth(1).expect("a note")).collect();
        let of_databases = std::iter::successors(after(None), |one| after(Some(one)));
        let of_containers = super::super::plan::no_database("Pod/db-r", "cache (redis:8)");
        let of_replicas = super::super::plan::replica("StatefulSet/db-r", "db", "bitnami/mysql:8.0");
        let notes: Vec<String> = [of_containers, of_replicas]
            .into_iter()
            .chain(of_databases.map(|difference| difference.to_string()))
            .collect();
        assert_eq!(listed, notes);
    }
}
