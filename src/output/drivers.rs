//! Where a database is, as the drivers of single languages want to be told: JDBC, Go's, ADO.NET's.
//!
//! Each has its own idea of what is escaped, and of whether a server without TLS is a fault.

use std::path::Path;

use serde_json::Value;

use super::url::{authority, escape};
use super::{Connection, Secured, keystore_file};
use crate::authority::KEYSTORE_PASSWORD;

/// Without the login, which JDBC takes apart (`DriverManager.getConnection(url, user, password)`): a URL is
/// logged more readily than a password.
pub(super) fn jdbc_url(connection: &Connection) -> String {
    let name = connection.database.as_deref().unwrap_or_default();
    let Some(authority) = place(connection) else { return format!("jdbc:sqlite:{name}") };
    let parameters = match (connection.engine, connection.secured()) {
        ("postgres" | "mariadb", Secured::No) => Vec::new(),
        ("postgres", Secured::Unverified) => vec!["sslmode=require".to_owned()],
        ("mariadb", Secured::Unverified) => vec!["sslMode=trust".to_owned()],
        ("postgres", Secured::Verified(ca)) => {
            vec!["sslmode=verify-full".to_owned(), format!("sslrootcert={}", escape(ca))]
        }
        ("mariadb", Secured::Verified(ca)) => {
            vec!["sslMode=verify-full".to_owned(), format!("serverSslCert={ca}")]
        }
        // The driver would ask for TLS, and refuse to ask the server for the key of a login without it.
        (_, Secured::No) => vec!["sslMode=DISABLED".to_owned(), "allowPublicKeyRetrieval=true".to_owned()],
        (_, Secured::Unverified) => vec!["sslMode=REQUIRED".to_owned()],
        // It knows an authority by a Java keystore only.
        (_, Secured::Verified(ca)) => {
            let file = format!("file:{}", keystore_file(Path::new(ca)).display());
            vec![
                "sslMode=VERIFY_IDENTITY".to_owned(),
                format!("trustCertificateKeyStoreUrl={}", escape(&file)),
                "trustCertificateKeyStoreType=JKS".to_owned(),
                format!("trustCertificateKeyStorePassword={KEYSTORE_PASSWORD}"),
            ]
        }
    };
    let (scheme, name) = match connection.engine {
        "postgres" => ("postgresql", escape(name)),
        // This driver takes the name as it is.
        "mariadb" if !name.contains('?') => ("mariadb", name.to_owned()),
        "mariadb" => ("mariadb", escape(name)),
        _ => ("mysql", escape(name)),
    };
    format!("jdbc:{scheme}://{authority}/{name}{}", query(&parameters))
}

/// The same with the login in it; `None` where that cannot be written.
pub(super) fn jdbc_url_with_login(connection: &Connection) -> Option<String> {
    let Some(user) = &connection.user else { return Some(connection.jdbc_url.clone()) };
    let password = connection.password.as_deref().unwrap_or_default();
    // MariaDB's driver takes these as they are.
    let is_plain = connection.engine == "mariadb";
    if is_plain && format!("{user}{password}").contains('&') {
        return None;
    }
    let text = |value: &str| if is_plain { value.to_owned() } else { escape(value) };
    let separator = if connection.jdbc_url.contains('?') { '&' } else { '?' };
    Some(format!("{}{separator}user={}&password={}", connection.jdbc_url, text(user), text(password)))
}

/// As Go's drivers take it: a URL for lib/pq and pgx, `user:password@tcp(host:port)/database` for
/// go-sql-driver/mysql, a URI for those of SQLite. Empty where it cannot be written.
pub(super) fn go_dsn(connection: &Connection) -> String {
    let name = connection.database.as_deref().unwrap_or_default();
    let Some(authority) = place(connection) else {
        // Each connection of a pool would have a database of its own.
        return format!("file:{name}?cache=shared");
    };
    if connection.engine == "postgres" {
        // lib/pq wants TLS unless it is told not to.
        let mode = match connection.secured() {
            Secured::No => "?sslmode=disable",
            Secured::Unverified => "?sslmode=require",
            // The URL says it already.
            Secured::Verified(_) => "",
        };
        return format!("{}{mode}", connection.url);
    }
    let user = connection.user.as_deref().unwrap_or_default();
    if user.contains(':') {
        return String::new();
    }
    let password = connection.password.as_deref().filter(|password| !password.is_empty());
    let password = password.map(|password| format!(":{password}")).unwrap_or_default();
    let parameters = match connection.secured() {
        Secured::No => Vec::new(),
        // The driver takes an authority from a program only.
        Secured::Unverified | Secured::Verified(_) => vec!["tls=skip-verify".to_owned()],
    };
    format!("{user}{password}@tcp({authority})/{}{}", escape(name), query(&parameters))
}

/// A connection string for .NET: Npgsql, MySqlConnector and Connector/NET, Microsoft.Data.Sqlite.
pub(super) fn dotnet(connection: &Connection) -> String {
    let name = connection.database.as_deref();
    let mut pairs: Vec<(&str, String)> = Vec::new();
    if let (Some(host), Some(port)) = (&connection.host, connection.port) {
        let is_postgres = connection.engine == "postgres";
        let (server, user) = if is_postgres { ("Host", "Username") } else { ("Server", "User ID") };
        pairs.extend([(server, host.clone()), ("Port", port.to_string())]);
        pairs.extend(connection.user.clone().map(|value| (user, value)));
        pairs.extend(connection.password.clone().map(|value| ("Password", value)));
        pairs.extend(name.map(|name| ("Database", name.to_owned())));
        match (is_postgres, connection.secured()) {
            (true, Secured::No) => {}
            (true, Secured::Unverified) => pairs.push(("SSL Mode", "Require".into())),
            (true, Secured::Verified(ca)) => {
                pairs.extend([("SSL Mode", "VerifyFull".into()), ("Root Certificate", ca.to_owned())]);
            }
            (false, Secured::Verified(ca)) => {
                pairs.extend([("SslMode", "VerifyFull".into()), ("SslCa", ca.to_owned())]);
            }
            (false, Secured::No) => pairs.push(("AllowPublicKeyRetrieval", "true".into())),
            (false, Secured::Unverified) => pairs.push(("SslMode", "Required".into())),
        }
    } else {
        pairs.extend(name.map(|name| ("Data Source", name.to_owned())));
    }
    let pairs: Vec<String> = pairs.iter().map(|(key, value)| format!("{key}={}", quoted(value))).collect();
    pairs.join(";")
}

/// A value of a connection string, in double quotes where it needs them.
fn quoted(value: &str) -> String {
    let is_plain = value.chars().all(|c| c.is_alphanumeric() || "-_./:@+%!#$*~".contains(c));
    if is_plain { value.to_owned() } else { format!("\"{}\"", value.replace('"', "\"\"")) }
}

/// The arguments of Python's drivers by which they verify the server.
pub(super) fn python(driver: &str, ca: &str) -> Vec<(String, Value)> {
    let pairs: Vec<(&str, Value)> = match driver {
        "postgres" => vec![("sslmode", "verify-full".into()), ("sslrootcert", ca.into())],
        _ => vec![
            ("ssl_ca", ca.into()),
            ("ssl_verify_cert", true.into()),
            ("ssl_verify_identity", true.into()),
        ],
    };
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// A PostgreSQL's URL by which libpq, and who reads such URLs, verify the server.
pub(super) fn verified(url: &str, secured: Secured<'_>) -> String {
    match secured {
        Secured::Verified(ca) => {
            format!("{}?sslmode=verify-full&sslrootcert={}", plain(url), escape(ca))
        }
        _ => url.to_owned(),
    }
}

/// A URL without its parameters.
pub(super) fn plain(url: &str) -> &str {
    url.split('?').next().unwrap_or(url)
}

/// A server's host and port; `None` for SQLite.
fn place(connection: &Connection) -> Option<String> {
    Some(authority(connection.host.as_deref()?, connection.port?))
}

fn query(parameters: &[String]) -> String {
    if parameters.is_empty() { String::new() } else { format!("?{}", parameters.join("&")) }
}

#[cfg(test)]
mod tests {
    use super::super::examples::{database, mixed};
    use super::*;
    use crate::database::{Engine, Password};

    #[test]
    fn each_driver_is_told_in_its_own_way() {
        let mut mysql = database(Engine::Mysql);
        mysql.login.password = Password::new("p:/@\"w;&");
        mysql.login.database = Some("my shop".into());
        let mariadb =
            crate::database::Database { name: "m".into(), engine: Engine::Mariadb, ..mysql.clone() };
        let model = mixed(&[&database(Engine::Postgres), &mysql, &mariadb]);
        let all: Vec<[String; 4]> = model
            .databases
            .iter()
            .map(|c| {
                [c.jdbc_url.clone(), jdbc_url_with_login(c).unwrap_or_default(), c.dsn.clone(), dotnet(c)]
            })
            .collect();
        let expected = [
            [
                "jdbc:sqlite::memory:",
                "jdbc:sqlite::memory:",
                "file::memory:?cache=shared",
                "Data Source=:memory:",
            ],
            [
                "jdbc:postgresql://postgres-run-1:5432/striv_test",
                "jdbc:postgresql://postgres-run-1:5432/striv_test?user=striv&password=p%22w",
                "postgresql://striv:p%22w@postgres-run-1:5432/striv_test?sslmode=disable",
                "Host=postgres-run-1;Port=5432;Username=striv;Password=\"p\"\"w\";Database=striv_test",
            ],
            [
                "jdbc:mysql://mysql-run-1:3306/my%20shop?sslMode=DISABLED&allowPublicKeyRetrieval=true",
                "jdbc:mysql://mysql-run-1:3306/my%20shop?sslMode=DISABLED&allowPublicKeyRetrieval=true\
                 &user=striv&password=p%3A%2F%40%22w%3B%26",
                "striv:p:/@\"w;&@tcp(mysql-run-1:3306)/my%20shop",
                "Server=mysql-run-1;Port=3306;User ID=striv;Password=\"p:/@\"\"w;&\";Database=\"my shop\";\
                 AllowPublicKeyRetrieval=true",
            ],
            [
                "jdbc:mariadb://mysql-run-1:3306/my shop",
                "",
                "striv:p:/@\"w;&@tcp(mysql-run-1:3306)/my%20shop",
                "Server=mysql-run-1;Port=3306;User ID=striv;Password=\"p:/@\"\"w;&\";Database=\"my shop\";\
                 AllowPublicKeyRetrieval=true",
            ],
        ];
        assert_eq!(all, expected.map(|row| row.map(String::from)));
    }

    #[test]
    fn a_server_that_wants_tls_is_asked_for_it() {
        let mut model = mixed(&[&database(Engine::Postgres), &database(Engine::Mysql)]);
        model.note_tls([true, true]);
        let [_, postgres, mysql] = model.databases.as_slice() else { panic!("three") };
        assert!(
            postgres.jdbc_url.ends_with("?sslmode=require") && postgres.dsn.ends_with("?sslmode=require")
        );
        assert!(mysql.jdbc_url.ends_with("?sslMode=REQUIRED") && mysql.dsn.ends_with("?tls=skip-verify"));
    }

    #[test]
    fn a_user_that_no_dsn_can_name_has_none() {
        let mut mysql = database(Engine::Mysql);
        mysql.login.user = "a:b".into();
        assert_eq!(mixed(&[&mysql]).databases[1].dsn, "");
    }
}
