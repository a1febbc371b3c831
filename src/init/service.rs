//! From a service, an image with variables, to a [`Found`]: what compose files and CI systems share.

use super::command::{self, Runs};
use super::{Findings, Found, Place, Purpose, one_line};
use crate::database::{self, Engine};
use crate::engine::{self, Version};
use crate::manifest::builtin;
use crate::run_id::is_dns_label;

/// Stands for a password that is not known here, so that the image's own rules can tell the user.
const UNKNOWN: &str = "unknown";

pub struct Service<'a> {
    pub name: &'a str,
    /// Its image, variables filled in.
    pub image: &'a str,
    /// Its variables; `None` where the value is not known here.
    pub variables: Vec<(String, Option<String>)>,
    pub entrypoint: Vec<String>,
    pub command: Vec<String>,
    pub role: Role,
    pub purpose: Purpose,
    pub place: Place,
}

/// Of the images that a service has in the combinations of a matrix, the one that is taken: the last database.
pub fn preferred<T>(images: &[(String, T)]) -> Option<&(String, T)> {
    let is_database = |(image, _): &&(String, T)| database::of_image(image, &[]).is_some();
    images.iter().rfind(is_database).or(images.last())
}

/// Tells of the others; `of` is what they are of.
pub fn tell_others<T>(place: &str, of: &str, taken: &str, images: &[(String, T)], findings: &mut Findings) {
    if images.len() > 1 {
        let others: Vec<String> =
            images.iter().filter(|(image, _)| image != taken).map(|(image, _)| one_line(image)).collect();
        findings.notes.push(format!(
            "{place}: of {of}, {} is taken; --with takes another one ({})",
            one_line(taken),
            one_line(&others.join(", "))
        ));
    }
}

/// What speaks for a server, or against it, besides the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It has a server's port, data or health check, or others are given it as a server.
    Server,
    /// It is told where a server is.
    Client,
    Unknown,
}

/// Takes a service in if it is a database, else the reason why it is none.
pub fn take(service: Service, findings: &mut Findings) -> bool {
    let known: Vec<(String, String)> = service
        .variables
        .iter()
        .filter_map(|(name, value)| {
            let secret = || is_password(name).then(|| UNKNOWN.to_owned());
            let name = name.strip_suffix("_FILE").unwrap_or(name);
            Some((name.to_owned(), value.clone().or_else(secret)?))
        })
        .collect();
    let place = &service.place.text;
    let shown = one_line(service.image);
    let is_replica = |(name, value): &(String, String)| {
        name.ends_with("_REPLICATION_MODE") && ["slave", "replica"].contains(&value.as_str())
    };
    if known.iter().any(is_replica) {
        findings
            .left
            .push(format!("{place}: {shown} is a replica of another server, which testbed does not make"));
        return false;
    }
    let Some(read) = read(&service, &known) else {
        findings.left.push(match database::of_variables(&known) {
            Some(read) if service.role != Role::Client => format!(
                "{place}: {shown} may have {} in it, by its variables; if so: testbed init --with {}",
                read.engine, read.engine
            ),
            _ => format!("{place}: {shown} is no database that testbed has"),
        });
        return false;
    };
    let runs = match command::runs(&service.entrypoint, &service.command) {
        // A script that nobody knows, with all that a server has.
        Runs::Unknown(name) if service.role == Role::Server && !name.is_empty() => Runs::Wrapped,
        runs => runs,
    };
    let arguments = match runs {
        Runs::Other(program) | Runs::Unknown(program) => {
            findings.left.push(match one_line(&program) {
                none if none.is_empty() => {
                    format!("{place}: its entrypoint is empty, so that {shown} starts no server")
                }
                program => format!("{place}: it runs {program} with {shown}, and no server"),
            });
            return false;
        }
        Runs::Server(arguments) => arguments,
        Runs::Wrapped => {
            findings
                .notes
                .push(format!("{place}: its command is not taken over; the server's flags go under args:"));
            Vec::new()
        }
    };
    let (args, dropped) = command::sort(read.engine, &arguments);
    if !dropped.is_empty() {
        let instead = match dropped.iter().any(|name| command::is_tls(name)) {
            true => "; for TLS, write tls: true",
            false => "",
        };
        let dropped = one_line(&dropped.join(", "));
        findings.notes.push(format!("{place}: of its command, {dropped} is not taken over{instead}"));
    }
    let image = Image::read(service.image, read.engine, read.is_bitnami);
    if let Some(tag) = &image.unfit {
        findings.notes.push(format!(
            "{place}: the tag {} is none that an image can have; see to it in the file",
            one_line(tag)
        ));
    }
    if read.is_bitnami {
        let instead = image
            .tag
            .as_deref()
            .map_or_else(|| read.engine.name().to_owned(), |tag| format!("{}:{tag}", read.engine));
        findings.notes.push(format!("{place}: the official {instead} stands in for {shown}"));
    }
    let (user, database) = match read.login {
        Ok(login) => (Some(login.user), login.database),
        Err(_) => (named(&known, "USER"), named(&known, "DB").or_else(|| named(&known, "DATABASE"))),
    };
    let (mut user, mut database, mut user_unknown) = (user, database, false);
    for name in unknown(&service.variables) {
        // What the image would take without it is not meant.
        let plain = name.trim_end_matches("_FILE");
        if plain.ends_with("_USER") {
            user = None;
            user_unknown = true;
        } else {
            database = None;
        }
        findings.notes.push(format!("{place}: the value of {name} is not known here; see to it in the file"));
    }
    if known.iter().any(|(name, value)| name == "POSTGRES_INITDB_ARGS" && !value.is_empty()) {
        findings.notes.push(format!("{place}: POSTGRES_INITDB_ARGS is not taken over"));
    }
    findings.found.push(Found {
        tag: image.tag,
        image: image.own,
        user: user.filter(|user| !user.is_empty() && !is_default_user(read.engine, user)),
        user_unknown,
        database: database.filter(|name| !name.is_empty()),
        args,
        has_password: service
            .variables
            .iter()
            .any(|(name, value)| is_password(name) && (value.is_some() || name.ends_with("_FILE"))),
        purpose: service.purpose,
        ..Found::new(name(service.name, read.engine), read.engine, service.place)
    });
    true
}

/// By the image's name, or by its variables where more speaks for a server.
fn read(service: &Service, known: &[(String, String)]) -> Option<database::Plain> {
    database::of_image(service.image, known).or_else(|| {
        let is_likely = service.role == Role::Server
            || service.role == Role::Unknown && (sounds_like(service.image) || sounds_like(service.name));
        let mut read = database::of_variables(known).filter(|_| is_likely)?;
        if read.engine == Engine::Mysql && service.image.contains("mariadb") {
            read.engine = Engine::Mariadb;
        }
        Some(read)
    })
}

/// Whether a name is one that databases have.
pub fn sounds_like(name: &str) -> bool {
    let last = name.rsplit('/').next().unwrap_or(name);
    let last = last.split([':', '@']).next().unwrap_or(last).to_lowercase();
    let words = ["db", "database", "pg", "sql"];
    last.split(|c: char| !c.is_ascii_alphabetic()).any(|word| words.contains(&word))
        || ["postgres", "mysql", "mariadb", "percona"].iter().any(|part| last.contains(part))
}

/// Whether a variable tells a program where a server is.
pub fn names_a_server(name: &str) -> bool {
    (name.ends_with("_HOST") && !name.ends_with("ROOT_HOST"))
        || ["_HOSTNAME", "_URL", "_URI", "_DSN"].iter().any(|end| name.ends_with(end))
        || name == "PGHOST"
}

/// Whether a path in a container is where a database has its data.
pub fn is_data(path: &str) -> bool {
    ["/var/lib/postgresql", "/var/lib/mysql", "/var/lib/pgsql", "/bitnami/"]
        .iter()
        .any(|folder| path.starts_with(folder))
}

const VARIABLES: usize = 200;

/// Whether a path in a container is where a database looks for settings.
pub fn is_settings(path: &str) -> bool {
    ["/etc/mysql", "/etc/my.cnf", "/etc/postgresql", "/opt/bitnami/"]
        .iter()
        .any(|start| path.starts_with(start))
        || ["/postgresql.conf", "/pg_hba.conf"].iter().any(|end| path.ends_with(end))
}

/// What official images do with their variables, by how these end.
const OF_IMAGES: [&str; 17] = [
    "_USER",
    "_USERNAME",
    "_PASSWORD",
    "_DB",
    "_DATABASE",
    "_FILE",
    "_HASH",
    "_HOST",
    "_HOST_AUTH_METHOD",
    "_INITDB_ARGS",
    "_INITDB_WALDIR",
    "_INITDB_SKIP_TZINFO",
    "_AUTO_UPGRADE",
    "_DISABLE_UPGRADE_BACKUP",
    "_MYSQL_LOCALHOST_USER",
    "_LOG_CONSOLE",
    "_PORT",
];

/// Whether a variable is a database's by its name, and of no meaning to the official images: set-up scripts
/// have such ones.
pub fn is_of_scripts(name: &str) -> bool {
    is_servers(name) && !OF_IMAGES.iter().any(|end| name.ends_with(end))
}

/// Only variables that database images read are filled in: a file may have any number of others.
pub fn relevant<T>(variables: impl IntoIterator<Item = (String, T)>) -> impl Iterator<Item = (String, T)> {
    variables.into_iter().filter(|(name, _)| is_servers(name)).take(VARIABLES)
}

/// Whether a variable is one that database images read; a job has many others.
fn is_servers(name: &str) -> bool {
    ["MYSQL_", "MARIADB_", "POSTGRES_", "POSTGRESQL_"].iter().any(|start| name.starts_with(start))
}

/// Whether a variable is a password, and no switch such as `MYSQL_ALLOW_EMPTY_PASSWORD`.
fn is_password(name: &str) -> bool {
    is_servers(name)
        && (name.ends_with("PASSWORD") || name.ends_with("PASSWORD_FILE"))
        && !name.contains("ALLOW_EMPTY")
        && !name.contains("RANDOM")
}

/// Variables without a known value that would matter.
fn unknown(variables: &[(String, Option<String>)]) -> impl Iterator<Item = &str> {
    let ends = ["_USER", "_DB", "_DATABASE", "_USER_FILE", "_DB_FILE", "_DATABASE_FILE"];
    let matters = move |name: &str| is_servers(name) && ends.iter().any(|end| name.ends_with(end));
    variables
        .iter()
        .filter(move |(name, value)| value.is_none() && matters(name))
        .map(|(name, _)| name.as_str())
}

fn named(variables: &[(String, String)], end: &str) -> Option<String> {
    variables
        .iter()
        .find(|(name, _)| is_servers(name) && name.ends_with(&format!("_{end}")))
        .map(|(_, value)| value.clone())
}

/// Whether testbed logs in as this user without being told.
pub fn is_default_user(engine: Engine, user: &str) -> bool {
    user == if engine == Engine::Postgres { "postgres" } else { "root" }
}

/// A name of testbed that is as near as can be to what the project says.
pub fn name(wanted: &str, engine: Engine) -> String {
    let name: String =
        wanted.to_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let name = name.trim_matches('-');
    // With a run id of 36 characters behind it, it has to fit into a name of 63.
    let fits = is_dns_label(name) && name.starts_with(|c: char| c.is_ascii_lowercase()) && name.len() <= 26;
    if fits { name.into() } else { engine.name().into() }
}

struct Image {
    tag: Option<String>,
    own: Option<String>,
    /// A tag that cannot be one.
    unfit: Option<String>,
}

impl Image {
    fn read(image: &str, engine: Engine, is_bitnami: bool) -> Self {
        let path = ["docker.io/library/", "docker.io/", "library/"]
            .iter()
            .find_map(|prefix| image.strip_prefix(prefix))
            .unwrap_or(image);
        let (name, tag) = path
            .rsplit_once(':')
            .filter(|(_, tag)| !tag.contains('/'))
            .map_or((path, None), |(name, tag)| (name, Some(tag)));
        let fit = |tag: &&str| builtin::is_version(tag) && *tag != "latest";
        if is_bitnami {
            // The official image has PostgreSQL's major versions, and two numbers of the others.
            let version = engine::version(image).as_deref().and_then(Version::leading);
            let tag = version.map(|version| version.series(engine).to_string());
            return Self { tag, own: None, unfit: None };
        }
        match name == engine.name() && !path.contains('@') {
            true => Self {
                tag: tag.filter(fit).map(Into::into),
                own: None,
                unfit: tag.filter(|tag| !tag.is_empty() && !builtin::is_version(tag)).map(Into::into),
            },
            false => Self { tag: None, own: Some(image.into()), unfit: None },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(image: &str, variables: &[(&str, Option<&str>)]) -> (Found, Vec<String>) {
        let variables =
            variables.iter().map(|(name, value)| ((*name).into(), value.map(Into::into))).collect();
        let place = Place { group: "g".into(), text: "here".into() };
        let mut findings = Findings::default();
        let service = Service {
            name: "My_DB",
            image,
            variables,
            entrypoint: Vec::new(),
            command: Vec::new(),
            role: Role::Unknown,
            purpose: Purpose::Tests,
            place,
        };
        assert!(take(service, &mut findings), "{image}");
        (findings.found.remove(0), findings.notes)
    }

    #[test]
    fn images_keep_their_tag_or_stay_whole() {
        for (image, tag, own) in [
            ("postgres", None, None),
            ("postgres:latest", None, None),
            ("docker.io/library/postgres:17-alpine", Some("17-alpine"), None),
            ("postgis/postgis:16-3.4", None, Some("postgis/postgis:16-3.4")),
            ("registry:5000/postgres", None, Some("registry:5000/postgres")),
            ("postgres:17$EXTRA", None, None),
            ("postgres:17@sha256:00", None, Some("postgres:17@sha256:00")),
            ("bitnami/postgresql:16.2.0-debian-12", Some("16"), None),
            ("bitnamilegacy/mysql:8.4.3-debian", Some("8.4"), None),
        ] {
            let found =
                taken(image, &[("POSTGRES_PASSWORD", Some("x")), ("MYSQL_ROOT_PASSWORD", Some("x"))]).0;
            assert_eq!(
                (found.tag.as_deref(), found.image.as_deref(), found.name.as_str()),
                (tag, own, "my-db"),
                "{image}"
            );
        }
    }

    #[test]
    fn users_and_databases_are_those_of_the_image() {
        let login = |image: &str, variables: &[(&str, Option<&str>)]| {
            let found = taken(image, variables).0;
            (found.user, found.database)
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(login("postgres", &[("POSTGRES_PASSWORD", Some("x"))]), (None, some("postgres")));
        assert_eq!(
            login("postgres", &[("POSTGRES_USER", Some("app")), ("POSTGRES_PASSWORD", None)]),
            (some("app"), some("app"))
        );
        assert_eq!(login("postgres", &[("POSTGRES_DB", Some("shop"))]), (None, some("shop")));
        assert_eq!(
            login("mysql", &[("MYSQL_ROOT_PASSWORD", Some("x")), ("MYSQL_DATABASE", Some("d"))]),
            (None, some("d"))
        );
        assert_eq!(
            login("mariadb", &[("MARIADB_USER", Some("u")), ("MARIADB_PASSWORD", Some("x"))]),
            (some("u"), None)
        );
    }

    #[test]
    fn unknown_values_are_noted() {
        let (found, notes) =
            taken("postgres", &[("POSTGRES_DB", None), ("POSTGRES_PASSWORD", None), ("DEPLOY_USER", None)]);
        assert!(
            !found.has_password
                && !taken("mysql", &[("MYSQL_ALLOW_EMPTY_PASSWORD", Some("yes"))]).0.has_password
        );
        assert_eq!(notes, ["here: the value of POSTGRES_DB is not known here; see to it in the file"]);
    }
}
