//! The database servers that testbed knows, and what an image's name says: which of them is in it, and whose
//! conventions for variables it follows.

use std::fmt;

use anyhow::anyhow;

/// The database servers (and the one library) that testbed knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
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

/// Whose way of reading variables an image follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Vendor {
    /// The official images and those derived from them.
    Official,
    /// Bitnami's.
    Bitnami,
}

/// Image names (the last part of the path, tag and digest aside) and the engine in them.
const NAMES: [(&str, Engine); 17] = [
    ("mysql", Engine::Mysql),
    ("mysql-server", Engine::Mysql),
    ("mysql-community-server", Engine::Mysql),
    ("mysql-80-c9s", Engine::Mysql),
    ("percona", Engine::Mysql),
    ("percona-server", Engine::Mysql),
    ("mariadb", Engine::Mariadb),
    ("mariadb-server", Engine::Mariadb),
    ("postgres", Engine::Postgres),
    ("postgresql", Engine::Postgres),
    ("postgresql-repmgr", Engine::Postgres),
    ("postgis", Engine::Postgres),
    ("pgvector", Engine::Postgres),
    ("timescaledb", Engine::Postgres),
    ("timescaledb-ha", Engine::Postgres),
    ("pgrouting", Engine::Postgres),
    ("alloydbomni", Engine::Postgres),
];

/// The engine that an image's name tells, and the vendor.
pub fn identify(image: &str) -> (Option<Engine>, Vendor) {
    let path = image.split('@').next().unwrap_or(image);
    let mut parts: Vec<&str> = path.split('/').collect();
    let last = parts.pop().unwrap_or_default();
    // A colon in an earlier part is a registry's port.
    let name = last.split(':').next().unwrap_or(last);
    let engine = NAMES.iter().find(|(known, _)| *known == name).map(|(_, engine)| *engine);
    let vendor =
        if parts.iter().any(|part| part.starts_with("bitnami")) { Vendor::Bitnami } else { Vendor::Official };
    (engine, vendor)
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
    fn exporters_and_clients_are_no_databases() {
        for image in ["prom/mysqld-exporter", "postgres-exporter:1", "mysql/mysql-shell", "my-postgres-app"] {
            assert_eq!(identify(image).0, None, "{image}");
        }
    }
}
