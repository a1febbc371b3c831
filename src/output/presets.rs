//! What frameworks call the variables that tell them where their database is.

use super::url::escape;
use super::{Connection, drivers};

/// A framework, or a way of connecting, whose variables are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preset {
    Spring,
    Rails,
    Django,
    Laravel,
    Prisma,
    Go,
    Jdbc,
    Dotnet,
}

impl Preset {
    pub const ALL: [Self; 8] = [
        Self::Spring,
        Self::Rails,
        Self::Django,
        Self::Laravel,
        Self::Prisma,
        Self::Go,
        Self::Jdbc,
        Self::Dotnet,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Spring => "spring",
            Self::Rails => "rails",
            Self::Django => "django",
            Self::Laravel => "laravel",
            Self::Prisma => "prisma",
            Self::Go => "go",
            Self::Jdbc => "jdbc",
            Self::Dotnet => "dotnet",
        }
    }

    pub(super) fn with_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|preset| preset.name() == name)
    }

    /// The variables for one database.
    ///
    /// # Errors
    /// What of the login cannot be written in the way that the framework reads.
    pub(super) fn variables(self, of: &Connection) -> Result<Vec<(&'static str, String)>, &'static str> {
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let port = of.port.map(|port| port.to_string());
        let with_scheme = |scheme: &str| match of.url.split_once(':') {
            Some((_, rest)) => format!("{scheme}:{rest}"),
            None => of.url.clone(),
        };
        let verified = |parameters: &str| match &of.ca {
            Some(ca) => format!("?{parameters}{}", escape(ca)),
            None => String::new(),
        };
        // A login and an address of which SQLite has none: empty, so that those from outside do not stay in
        // force.
        let (host, port) = (text(&of.host), text(&port));
        let (user, password, database) = (text(&of.user), text(&of.password), text(&of.database));
        Ok(match self {
            Self::Spring => vec![
                ("SPRING_DATASOURCE_URL", of.jdbc_url.clone()),
                ("SPRING_DATASOURCE_USERNAME", user),
                ("SPRING_DATASOURCE_PASSWORD", password),
            ],
            Self::Rails => vec![(
                "DATABASE_URL",
                match of.driver {
                    "mysql" => with_scheme("mysql2") + &verified("ssl_mode=verify_identity&sslca="),
                    "sqlite" => with_scheme("sqlite3"),
                    _ => of.url.clone(),
                },
            )],
            Self::Django => {
                let (engine, url) = match of.driver {
                    "postgres" => ("django.db.backends.postgresql", of.url.clone()),
                    "mysql" => ("django.db.backends.mysql", of.url.clone() + &verified("ssl-ca=")),
                    _ => ("django.db.backends.sqlite3", format!("sqlite://{database}")),
                };
                vec![
                    ("DATABASE_URL", url),
                    ("DB_ENGINE", engine.to_owned()),
                    ("DB_NAME", database),
                    ("DB_USER", user),
                    ("DB_PASSWORD", password),
                    ("DB_HOST", host),
                    ("DB_PORT", port),
                ]
            }
            Self::Laravel => {
                let connection = if of.driver == "postgres" { "pgsql" } else { of.engine };
                let mut pairs = vec![
                    ("DB_CONNECTION", connection.to_owned()),
                    ("DB_HOST", host),
                    ("DB_PORT", port),
                    ("DB_DATABASE", database),
                    ("DB_USERNAME", user),
                    ("DB_PASSWORD", password),
                ];
                let ca = of.ca.iter().filter(|_| of.driver == "mysql");
                pairs.extend(ca.map(|ca| ("MYSQL_ATTR_SSL_CA", ca.clone())));
                pairs
            }
            Self::Prisma => vec![(
                "DATABASE_URL",
                match of.driver {
                    "postgres" => {
                        let tls = verified("sslmode=require&sslaccept=strict&sslcert=");
                        format!("{}?schema=public{}", drivers::plain(&of.url), tls.replace('?', "&"))
                    }
                    "mysql" => of.url.clone() + &verified("sslaccept=strict&sslcert="),
                    _ => format!("file:{database}"),
                },
            )],
            Self::Go => {
                if of.dsn.is_empty() {
                    return Err("go-sql-driver/mysql knows no user with a colon in its name");
                }
                let driver = if of.driver == "sqlite" { "sqlite3" } else { of.driver };
                vec![("DATABASE_DRIVER", driver.to_owned()), ("DATABASE_DSN", of.dsn.clone())]
            }
            Self::Jdbc => {
                let url = drivers::jdbc_url_with_login(of)
                    .ok_or("MariaDB's driver knows no user or password with & in a URL")?;
                vec![
                    ("JDBC_DATABASE_URL", url),
                    ("JDBC_DATABASE_USERNAME", user),
                    ("JDBC_DATABASE_PASSWORD", password),
                ]
            }
            Self::Dotnet => vec![("ConnectionStrings__DefaultConnection", drivers::dotnet(of))],
        })
    }

    /// What the framework reads besides, and what could lead it to another server.
    pub(super) fn also_read(self) -> &'static [&'static str] {
        match self {
            Self::Spring => &[
                "SPRING_DATASOURCE_DRIVER_CLASS_NAME",
                "SPRING_DATASOURCE_HIKARI_JDBC_URL",
                "SPRING_DATASOURCE_HIKARI_PASSWORD",
                "SPRING_DATASOURCE_HIKARI_USERNAME",
                "SPRING_DATASOURCE_JNDI_NAME",
            ],
            Self::Laravel => &["DB_SOCKET", "DB_URL"],
            _ => &[],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::examples::{database, mixed};
    use super::*;
    use crate::database::Engine;

    #[test]
    fn each_framework_reads_its_own_variables() {
        let servers = [Engine::Postgres, Engine::Mysql, Engine::Mariadb].map(database);
        let model = mixed(&servers.each_ref());
        let lines = |preset: Preset| -> Vec<String> {
            model
                .databases
                .iter()
                .map(|connection| {
                    let pairs = preset.variables(connection).unwrap();
                    let pairs: Vec<String> =
                        pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
                    pairs.join(" ")
                })
                .collect()
        };
        insta::assert_snapshot!(
            Preset::ALL
                .map(|preset| format!("{}:\n{}\n", preset.name(), lines(preset).join("\n")))
                .join("\n"),
            @r#"
        spring:
        SPRING_DATASOURCE_URL=jdbc:sqlite::memory: SPRING_DATASOURCE_USERNAME= SPRING_DATASOURCE_PASSWORD=
        SPRING_DATASOURCE_URL=jdbc:postgresql://postgres-run-1:5432/striv_test SPRING_DATASOURCE_USERNAME=striv SPRING_DATASOURCE_PASSWORD=p"w
        SPRING_DATASOURCE_URL=jdbc:mysql://mysql-run-1:3306/striv_test?sslMode=DISABLED&allowPublicKeyRetrieval=true SPRING_DATASOURCE_USERNAME=striv SPRING_DATASOURCE_PASSWORD=p"w
        SPRING_DATASOURCE_URL=jdbc:mariadb://mariadb-run-1:3306/striv_test SPRING_DATASOURCE_USERNAME=striv SPRING_DATASOURCE_PASSWORD=p"w

        rails:
        DATABASE_URL=sqlite3::memory:
        DATABASE_URL=postgresql://striv:p%22w@postgres-run-1:5432/striv_test
        DATABASE_URL=mysql2://striv:p%22w@mysql-run-1:3306/striv_test
        DATABASE_URL=mysql2://striv:p%22w@mariadb-run-1:3306/striv_test

        django:
        DATABASE_URL=sqlite://:memory: DB_ENGINE=django.db.backends.sqlite3 DB_NAME=:memory: DB_USER= DB_PASSWORD= DB_HOST= DB_PORT=
        DATABASE_URL=postgresql://striv:p%22w@postgres-run-1:5432/striv_test DB_ENGINE=django.db.backends.postgresql DB_NAME=striv_test DB_USER=striv DB_PASSWORD=p"w DB_HOST=postgres-run-1 DB_PORT=5432
        DATABASE_URL=mysql://striv:p%22w@mysql-run-1:3306/striv_test DB_ENGINE=django.db.backends.mysql DB_NAME=striv_test DB_USER=striv DB_PASSWORD=p"w DB_HOST=mysql-run-1 DB_PORT=3306
        DATABASE_URL=mysql://striv:p%22w@mariadb-run-1:3306/striv_test DB_ENGINE=django.db.backends.mysql DB_NAME=striv_test DB_USER=striv DB_PASSWORD=p"w DB_HOST=mariadb-run-1 DB_PORT=3306

        laravel:
        DB_CONNECTION=sqlite DB_HOST= DB_PORT= DB_DATABASE=:memory: DB_USERNAME= DB_PASSWORD=
        DB_CONNECTION=pgsql DB_HOST=postgres-run-1 DB_PORT=5432 DB_DATABASE=striv_test DB_USERNAME=striv DB_PASSWORD=p"w
        DB_CONNECTION=mysql DB_HOST=mysql-run-1 DB_PORT=3306 DB_DATABASE=striv_test DB_USERNAME=striv DB_PASSWORD=p"w
        DB_CONNECTION=mariadb DB_HOST=mariadb-run-1 DB_PORT=3306 DB_DATABASE=striv_test DB_USERNAME=striv DB_PASSWORD=p"w

        prisma:
        DATABASE_URL=file::memory:
        DATABASE_URL=postgresql://striv:p%22w@postgres-run-1:5432/striv_test?schema=public
        DATABASE_URL=mysql://striv:p%22w@mysql-run-1:3306/striv_test
        DATABASE_URL=mysql://striv:p%22w@mariadb-run-1:3306/striv_test

        go:
        DATABASE_DRIVER=sqlite3 DATABASE_DSN=file::memory:?cache=shared
        DATABASE_DRIVER=postgres DATABASE_DSN=postgresql://striv:p%22w@postgres-run-1:5432/striv_test?sslmode=disable
        DATABASE_DRIVER=mysql DATABASE_DSN=striv:p"w@tcp(mysql-run-1:3306)/striv_test
        DATABASE_DRIVER=mysql DATABASE_DSN=striv:p"w@tcp(mariadb-run-1:3306)/striv_test

        jdbc:
        JDBC_DATABASE_URL=jdbc:sqlite::memory: JDBC_DATABASE_USERNAME= JDBC_DATABASE_PASSWORD=
        JDBC_DATABASE_URL=jdbc:postgresql://postgres-run-1:5432/striv_test?user=striv&password=p%22w JDBC_DATABASE_USERNAME=striv JDBC_DATABASE_PASSWORD=p"w
        JDBC_DATABASE_URL=jdbc:mysql://mysql-run-1:3306/striv_test?sslMode=DISABLED&allowPublicKeyRetrieval=true&user=striv&password=p%22w JDBC_DATABASE_USERNAME=striv JDBC_DATABASE_PASSWORD=p"w
        JDBC_DATABASE_URL=jdbc:mariadb://mariadb-run-1:3306/striv_test?user=striv&password=p"w JDBC_DATABASE_USERNAME=striv JDBC_DATABASE_PASSWORD=p"w

        dotnet:
        ConnectionStrings__DefaultConnection=Data Source=:memory:
        ConnectionStrings__DefaultConnection=Host=postgres-run-1;Port=5432;Username=striv;Password="p""w";Database=striv_test
        ConnectionStrings__DefaultConnection=Server=mysql-run-1;Port=3306;User ID=striv;Password="p""w";Database=striv_test;AllowPublicKeyRetrieval=true
        ConnectionStrings__DefaultConnection=Server=mariadb-run-1;Port=3306;User ID=striv;Password="p""w";Database=striv_test;AllowPublicKeyRetrieval=true
        "#
        );
    }
}
