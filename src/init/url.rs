//! What the URL of a database says, as programs have it in their settings.

use percent_encoding::percent_decode_str;

use crate::database::Engine;

/// What a URL tells, but for the password and the address.
#[derive(Debug, PartialEq, Eq)]
pub struct Told {
    /// `Err` with its name for what testbed does not have.
    pub engine: Result<Engine, String>,
    /// A version, which only those of Testcontainers have.
    pub tag: Option<String>,
    pub user: Option<String>,
    pub database: Option<String>,
    pub has_password: bool,
}

/// What else programs keep data in.
const OTHERS: [&str; 22] = [
    "mongodb",
    "mongodb+srv",
    "redis",
    "rediss",
    "valkey",
    "amqp",
    "amqps",
    "sqlserver",
    "mssql",
    "oracle",
    "h2",
    "hsqldb",
    "derby",
    "cockroachdb",
    "cockroach",
    "clickhouse",
    "cassandra",
    "neo4j",
    "bolt",
    "elasticsearch",
    "memcached",
    "db2",
];

/// The engine of a scheme, or of what settings call a driver, dialect or adapter; `None` for what is nothing of
/// that kind.
pub fn engine(name: &str) -> Option<Result<Engine, String>> {
    let name = name.to_lowercase();
    let plain = name.rsplit('.').next().unwrap_or(&name);
    let plain = plain.split(['+', '_']).next().unwrap_or(plain);
    Some(match plain {
        "postgres" | "postgresql" | "postgis" | "pgsql" | "pg" | "psycopg" | "psycopg2" | "asyncpg"
        | "psql" => Ok(Engine::Postgres),
        "mysql" | "mysql2" | "mysqlx" | "trilogy" | "pymysql" | "mysqli" => Ok(Engine::Mysql),
        "mariadb" => Ok(Engine::Mariadb),
        "sqlite" | "sqlite3" | "spatialite" => Ok(Engine::Sqlite),
        _ if OTHERS.contains(&name.as_str()) || OTHERS.contains(&plain) => Err(plain.to_owned()),
        _ => return None,
    })
}

/// Reads `postgres://USER:PASSWORD@HOST/DATABASE` and its kin: SQLAlchemy's, JDBC's, R2DBC's.
pub fn read(text: &str) -> Option<Told> {
    let text = text.trim();
    let mut rest = text.strip_prefix("jdbc:").or_else(|| text.strip_prefix("r2dbc:")).unwrap_or(text);
    let is_java = rest.len() < text.len();
    let testcontainers = rest.strip_prefix("tc:");
    rest = testcontainers.unwrap_or(rest).strip_prefix("pool:").unwrap_or(testcontainers.unwrap_or(rest));
    let (scheme, after) = rest.split_once(':')?;
    let engine = engine(scheme).filter(|_| !scheme.contains(['.', ' ', '_', '/']))?;
    let mut tag = None;
    let mut after = after;
    if testcontainers.is_some()
        && let Some((version, rest)) = after.split_once(":///").or_else(|| after.split_once("://"))
    {
        tag = Some(version.to_owned()).filter(|tag| crate::manifest::builtin::is_version(tag));
        after = rest;
    } else {
        // `mysql:8` is an image, and `postgres: a database` is prose.
        after = match after.strip_prefix("//") {
            Some(after) => after,
            None if matches!(engine, Ok(Engine::Sqlite)) || is_java => after,
            None => return None,
        };
    }
    if matches!(engine, Ok(Engine::Sqlite) | Err(_)) {
        return Some(Told { engine, tag, user: None, database: None, has_password: false });
    }
    let (address, query) = after.split_once('?').unwrap_or((after, ""));
    let (authority, path) = address.split_once('/').unwrap_or((address, ""));
    let login = authority.rsplit_once('@').map(|(login, _)| login).unwrap_or_default();
    let (user, password) = login.split_once(':').unwrap_or((login, ""));
    let asked = |key: &str| query.split('&').find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='));
    // Doctrine's, by which it tells the two apart.
    let is_mariadb = engine == Ok(Engine::Mysql)
        && asked("serverVersion").is_some_and(|version| version.to_lowercase().contains("mariadb"));
    let engine = if is_mariadb { Ok(Engine::Mariadb) } else { engine };
    let user = known(user).or_else(|| known(asked("user")?));
    let has_password = !password.is_empty() || asked("password").is_some();
    let path = if testcontainers.is_some() && path.is_empty() { authority } else { path };
    let database = known(path.split([';', '/', '#']).next()?);
    Some(Told { engine, tag, user, database, has_password })
}

/// A part, decoded; `None` for one that is empty, or that something else has to fill in.
pub fn known(text: &str) -> Option<String> {
    let text = percent_decode_str(text).decode_utf8().ok()?.into_owned();
    let is_plain = !text.is_empty() && !text.contains(['$', '{', '}', '<', '>', '%']);
    (is_plain && !text.contains(char::is_control) && text.len() <= 63).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_all_kinds() {
        let some = |text: &str| Some(text.to_owned());
        for (text, engine, tag, user, database, has_password) in [
            (
                "postgres://app:pw@localhost:5432/shop",
                Engine::Postgres,
                None,
                some("app"),
                some("shop"),
                true,
            ),
            (
                "postgresql+psycopg2://app@db/shop?sslmode=no",
                Engine::Postgres,
                None,
                some("app"),
                some("shop"),
                false,
            ),
            (
                "jdbc:postgresql://db:5432/shop?user=me&password=x",
                Engine::Postgres,
                None,
                some("me"),
                some("shop"),
                true,
            ),
            (
                "jdbc:tc:postgresql:15-alpine:///shop",
                Engine::Postgres,
                some("15-alpine"),
                None,
                some("shop"),
                false,
            ),
            (
                "mysql://app@db/shop?charset=utf8mb4&serverVersion=10.11.2-MariaDB",
                Engine::Mariadb,
                None,
                some("app"),
                some("shop"),
                false,
            ),
            ("mysql://h/d?serverVersion=mariadb-10.11.2", Engine::Mariadb, None, None, some("d"), false),
            ("mysql://h/d?serverVersion=8.4", Engine::Mysql, None, None, some("d"), false),
            ("r2dbc:mysql://db/shop", Engine::Mysql, None, None, some("shop"), false),
            ("mysql2://root:${PW}@h/${DB}", Engine::Mysql, None, some("root"), None, true),
            ("postgis://u%40x:a/b@h/d", Engine::Postgres, None, None, some("b@h"), false),
            ("sqlite:///db.sqlite3", Engine::Sqlite, None, None, None, false),
            ("sqlite::memory:", Engine::Sqlite, None, None, None, false),
        ] {
            let told = read(text).unwrap();
            assert_eq!(
                (told.engine, told.tag, told.user, told.database, told.has_password),
                (Ok(engine), tag, user, database, has_password),
                "{text}"
            );
        }
        assert_eq!(read("redis://x").unwrap().engine, Err("redis".into()));
        assert_eq!(read("jdbc:h2:mem:test").unwrap().engine, Err("h2".into()));
        for text in ["https://x/y", "postgres:15", "postgres: a database", "", "a/postgres://x", "://"] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
