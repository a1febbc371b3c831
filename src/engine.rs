//! The database servers that testbed knows, and what an image's name says: which of them is in it, and whose
//! conventions for variables it follows.

use std::fmt;

use anyhow::anyhow;
use serde::{Deserialize, Serialize};

/// The database servers (and the one library) that testbed knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    /// MySQL and what speaks and is configured like it (Percona Server).
    Mysql,
    /// MariaDB.
    Mariadb,
    /// PostgreSQL.
    Postgres,
    /// SQLite: no server, only an entry in the config file.
    Sqlite,
}

impl Engine {
    /// Reads a name as used by `--with` and the annotation `testbed/engine`.
    ///
    /// # Errors
    /// A message that lists the known names.
    pub fn parse(name: &str) -> anyhow::Result<Self> {
        [Self::Mysql, Self::Mariadb, Self::Postgres, Self::Sqlite]
            .into_iter()
            .find(|engine| engine.name() == name || (*engine == Self::Postgres && name == "postgresql"))
            .ok_or_else(|| {
                let known = Self::like(name).map(|engine| format!("; did you mean {}?", engine.name()));
                anyhow!(
                    "{name:?} is no engine; known are mysql, mariadb, postgres, sqlite{}",
                    known.unwrap_or_default()
                )
            })
    }

    /// The engine that somebody may have meant by a name that is none's.
    fn like(name: &str) -> Option<Self> {
        let name = name.to_lowercase();
        let known = [
            (Self::Postgres, ["postgres", "postgresql", "pg", "psql"]),
            (Self::Mysql, ["mysql", "mysqld", "my", "percona"]),
            (Self::Mariadb, ["mariadb", "maria", "mariadbd", "mdb"]),
            (Self::Sqlite, ["sqlite", "sqlite3", "lite", "memory"]),
        ];
        let likeness =
            |names: &[&str]| names.iter().map(|known| strsim::jaro(&name, known)).fold(0.0, f64::max);
        let nearest =
            known.iter().max_by(|(_, one), (_, other)| likeness(one).total_cmp(&likeness(other)))?;
        (likeness(&nearest.1) > 0.8).then_some(nearest.0)
    }

    /// The name, in lower case.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mysql => "mysql",
            Self::Mariadb => "mariadb",
            Self::Postgres => "postgres",
            Self::Sqlite => "sqlite",
        }
    }

    /// The port that the server listens on unless told otherwise; 0 for a library.
    pub fn port(self) -> u16 {
        match self {
            Self::Mysql | Self::Mariadb => 3306,
            Self::Postgres => 5432,
            Self::Sqlite => 0,
        }
    }
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A version, such as 15.18 or 10.11.14.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Version(pub Vec<u32>);

impl Version {
    /// The number at the start of a text, such as `17-alpine`; `None` where it begins with something else,
    /// such as `latest`.
    pub fn leading(text: &str) -> Option<Self> {
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let numbers: Vec<u32> = text[..end].split('.').map_while(|part| part.parse().ok()).collect();
        (!numbers.is_empty()).then_some(Self(numbers))
    }

    /// The part that decides on compatibility: PostgreSQL's first number since its tenth version, the first two of
    /// the others.
    pub fn series(&self, engine: Engine) -> Self {
        let is_one = engine == Engine::Postgres && self.0.first().is_none_or(|first| *first >= 10);
        let length = if is_one { 1 } else { 2 };
        Self(self.0.iter().take(length).copied().collect())
    }

    /// Whether this version is of the series that `wanted` begins.
    pub fn is_of(&self, wanted: &Self, engine: Engine) -> bool {
        self.0.starts_with(&wanted.series(engine).0)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.iter().map(u32::to_string).collect::<Vec<_>>().join("."))
    }
}

/// Whose way of reading variables an image follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Vendor {
    /// The official images and those derived from them.
    Official,
    /// Bitnami's.
    Bitnami,
    /// Red Hat's, which are those of sclorg and Fedora.
    RedHat,
}

/// Image names (the last part of the path, tag and digest aside) and the engine in them.
const NAMES: [(&str, Engine); 25] = [
    ("mysql", Engine::Mysql),
    ("mysql-server", Engine::Mysql),
    ("mysql-community-server", Engine::Mysql),
    ("community-server", Engine::Mysql),
    ("enterprise-server", Engine::Mysql),
    ("percona", Engine::Mysql),
    ("percona-server", Engine::Mysql),
    ("percona-xtradb-cluster", Engine::Mysql),
    ("mariadb", Engine::Mariadb),
    ("mariadb-server", Engine::Mariadb),
    ("mariadb-galera", Engine::Mariadb),
    ("postgres", Engine::Postgres),
    ("postgresql", Engine::Postgres),
    ("postgresql-repmgr", Engine::Postgres),
    ("percona-distribution-postgresql", Engine::Postgres),
    ("postgis", Engine::Postgres),
    ("pgvector", Engine::Postgres),
    ("pgvecto-rs", Engine::Postgres),
    ("vchord-postgres", Engine::Postgres),
    ("timescaledb", Engine::Postgres),
    ("timescaledb-ha", Engine::Postgres),
    ("pgrouting", Engine::Postgres),
    ("citus", Engine::Postgres),
    ("paradedb", Engine::Postgres),
    ("alloydbomni", Engine::Postgres),
];

/// Images whose tags begin with a version of their own.
const OWN_NUMBERS: [&str; 7] =
    ["pgvector", "pgvecto-rs", "vchord-postgres", "timescaledb", "timescaledb-ha", "citus", "paradedb"];

/// Parts of names by which Red Hat's images and copies of them are known.
const RED_HAT: [&str; 10] =
    ["sclorg", "fedora", "centos", "centos7", "rhscl", "rhel7", "rhel8", "rhel9", "rhel10", "openshift"];

/// The engine that an image's name tells, and the vendor.
pub fn identify(image: &str) -> (Option<Engine>, Vendor) {
    let (parts, name) = parts(image);
    if let Some((engine, _)) = red_hat(name) {
        return (Some(engine), Vendor::RedHat);
    }
    let engine = NAMES.iter().find(|(known, _)| *known == name).map(|(_, engine)| *engine);
    let vendor = if parts.iter().any(|part| part.starts_with("bitnami")) {
        Vendor::Bitnami
    } else if parts.iter().any(|part| RED_HAT.contains(part) || part.ends_with("fedoraproject.org")) {
        Vendor::RedHat
    } else {
        Vendor::Official
    };
    (engine, vendor)
}

/// The parts of an image's path, and its name without tag and digest.
fn parts(image: &str) -> (Vec<&str>, &str) {
    let path = image.split('@').next().unwrap_or(image);
    let mut parts: Vec<&str> = path.split('/').collect();
    let last = parts.pop().unwrap_or_default();
    // A colon in an earlier part is a registry's port.
    (parts, last.split(':').next().unwrap_or(last))
}

/// Engine and version of a name such as `postgresql-15-c9s`, `mysql-80-centos7` or `mariadb-1011`.
fn red_hat(name: &str) -> Option<(Engine, String)> {
    let (engine, rest) = name.split_once('-')?;
    let engine = match engine {
        "postgresql" => Engine::Postgres,
        "mysql" => Engine::Mysql,
        "mariadb" => Engine::Mariadb,
        _ => return None,
    };
    let digits = rest.split('-').next().unwrap_or(rest);
    if !(2..=4).contains(&digits.len()) || !digits.chars().all(|c| c.is_ascii_digit()) {
        return None;
    }
    // PostgreSQL had two numbers up to 9.6, MySQL always has, and MariaDB since its tenth version.
    let at = match engine {
        Engine::Postgres if digits.starts_with('9') => 1,
        Engine::Mysql => 1,
        _ => 2,
    };
    let (major, minor) = digits.split_at(at);
    let dot = if minor.is_empty() { "" } else { "." };
    Some((engine, format!("{major}{dot}{minor}")))
}

/// The beginning of the server's version that an image's name tells; it may have more behind it.
pub fn version(image: &str) -> Option<String> {
    let (_, name) = parts(image);
    if let Some((_, version)) = red_hat(name) {
        return Some(version);
    }
    let tag = tag(image)?;
    let digits = |text: &str| text.starts_with(|c: char| c.is_ascii_digit());
    let of_postgres =
        tag.split(['-', '_']).filter_map(|part| part.strip_prefix("pg")).find(|rest| digits(rest));
    match of_postgres {
        Some(version) if identify(image).0 == Some(Engine::Postgres) => Some(version.to_owned()),
        // That of an image of one's own says nothing about the engine.
        _ => (digits(tag) && NAMES.iter().any(|(known, _)| *known == name) && !OWN_NUMBERS.contains(&name))
            .then(|| tag.to_owned()),
    }
}

/// Whether an image is, by its name, one of the official ones, or a mirror's copy of it.
pub fn is_official(image: &str) -> bool {
    let path = image.split('@').next().unwrap_or(image);
    let (folder, last) = path.rsplit_once('/').unwrap_or(("", path));
    let name = last.split(':').next().unwrap_or(last);
    ["mysql", "mariadb", "postgres"].contains(&name)
        && ["", "docker.io", "library"].contains(&folder.rsplit('/').next().unwrap_or(folder))
}

/// The tag in an image's name; `None` where it has none.
pub fn tag(image: &str) -> Option<&str> {
    let last = image.split('@').next()?.rsplit('/').next()?;
    Some(last.split_once(':')?.1).filter(|tag| !tag.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_registries_ports_tags_and_digests() {
        for (image, engine) in [
            ("mysql", Engine::Mysql),
            ("mysql:5.6", Engine::Mysql),
            ("registry.example:5000/library/mariadb:11.8", Engine::Mariadb),
            ("docker.io/library/postgres:17@sha256:0000", Engine::Postgres),
            ("postgis/postgis:17-3.5", Engine::Postgres),
            ("percona/percona-server:8.0", Engine::Mysql),
        ] {
            assert_eq!(identify(image), (Some(engine), Vendor::Official), "{image}");
        }
        assert_eq!(identify("bitnamilegacy/postgresql:16"), (Some(Engine::Postgres), Vendor::Bitnami));
        for (image, engine) in [
            ("quay.io/sclorg/postgresql-15-c9s", Engine::Postgres),
            ("registry.redhat.io/rhel9/mysql-84:1-2", Engine::Mysql),
            ("quay.io/fedora/mariadb-1011", Engine::Mariadb),
            ("registry.fedoraproject.org/f33/postgresql", Engine::Postgres),
            ("image-registry.openshift-image-registry.svc:5000/openshift/mysql:8.0-el9", Engine::Mysql),
        ] {
            assert_eq!(identify(image), (Some(engine), Vendor::RedHat), "{image}");
        }
    }

    #[test]
    fn official_images_and_those_that_are_called_alike() {
        for image in [
            "mysql",
            "mariadb:11.8",
            "docker.io/postgres:17",
            "library/mysql@sha256:00",
            "registry:5000/mirror/library/postgres:17",
        ] {
            assert!(is_official(image), "{image}");
        }
        for image in
            ["team/mysql", "registry.example/postgres:17", "bitnami/mariadb", "postgis/postgis", "percona"]
        {
            assert!(!is_official(image), "{image}");
        }
    }

    #[test]
    fn a_registrys_port_is_no_tag() {
        for (image, expected) in
            [("registry:5000/mysql", None), ("a/b:17-alpine@sha256:00", Some("17-alpine")), ("mysql", None)]
        {
            assert_eq!(tag(image), expected, "{image}");
        }
    }

    #[test]
    fn versions_of_the_server_in_an_images_name() {
        for (image, expected) in [
            ("postgres:17.2-alpine", Some("17.2-alpine")),
            ("postgis/postgis:17-3.5", Some("17-3.5")),
            ("pgvector/pgvector:pg18", Some("18")),
            ("pgvector/pgvector:0.8.0-pg17", Some("17")),
            ("timescale/timescaledb:2.14.2-pg15", Some("15")),
            ("timescale/timescaledb:2.14.2", None),
            ("timescale/timescaledb-ha:pg16.2-ts2.14", Some("16.2")),
            ("mysql/mysql-server:5.7", Some("5.7")),
            ("percona/percona-server:8.0", Some("8.0")),
            ("ghcr.io/cloudnative-pg/postgresql:16.2", Some("16.2")),
            ("quay.io/sclorg/postgresql-15-c9s:latest", Some("15")),
            ("centos/postgresql-96-centos7", Some("9.6")),
            ("registry.redhat.io/rhel9/mysql-84:1-2", Some("8.4")),
            ("quay.io/sclorg/mariadb-1011-c9s", Some("10.11")),
            ("quay.io/sclorg/mariadb-105-c9s", Some("10.5")),
            ("registry.example/our-db:3", None),
            ("postgres:latest", None),
            ("postgres@sha256:00", None),
        ] {
            assert_eq!(version(image).as_deref(), expected, "{image}");
        }
    }

    #[test]
    fn tags_begin_with_a_version_or_ask_for_any() {
        for (tag, version) in [
            ("17", Some("17")),
            ("17.2-alpine", Some("17.2")),
            ("9.7", Some("9.7")),
            ("latest", None),
            ("alpine3.20", None),
        ] {
            assert_eq!(Version::leading(tag).map(|version| version.to_string()).as_deref(), version, "{tag}");
        }
    }

    #[test]
    fn two_numbers_were_a_series_of_postgres_before_10() {
        let version = |text: &str| Version::leading(text).unwrap();
        assert!(!version("9.6.24").is_of(&version("9.4"), Engine::Postgres));
        assert!(version("9.6.24").is_of(&version("9.6.1"), Engine::Postgres));
        assert!(version("15.18").is_of(&version("15.4"), Engine::Postgres));
    }

    #[test]
    fn exporters_and_clients_are_no_databases() {
        for image in [
            "prom/mysqld-exporter",
            "postgres-exporter:1",
            "mysql-router-8",
            "postgresql-ha",
            "mysql/mysql-shell",
            "my-postgres-app",
        ] {
            assert_eq!(identify(image).0, None, "{image}");
        }
    }
}
