//! The databases as environment variables: for a command that testbed starts, and for the format `dotenv`;
//! and what of the caller's own variables a command must not see.

use std::path::{Path, PathBuf};

use super::{Connection, Model, Names, Secured, names};
use crate::failure::{Advise, usage};
use crate::files;

/// The run's id, which `testbed down` reads as well.
pub(super) const RUN_ID: &str = "TESTBED_RUN_ID";
/// Where the config file is.
const CONFIG: &str = "TESTBED_CONFIG";
/// What many frameworks read by themselves, if there is one database only.
const ONLY_URL: &str = "DATABASE_URL";
/// What Rails reads before that, for the database that it calls `primary`.
const PRIMARY_URL: &str = "PRIMARY_DATABASE_URL";
/// How libpq's variables begin; a database's own have an underscore after its name, so that `pg` does not get
/// in their way.
const LIBPQ: &str = "PG";
/// The drivers, as [`Connection`] names them.
const POSTGRES: &str = "postgres";
const MYSQL: &str = "mysql";

/// What libpq, and the drivers that read its variables, go by when they look for a server, log in and secure
/// the connection. Others, such as the time zone, lead nobody elsewhere.
const OF_LIBPQ: [&str; 38] = [
    "PGCHANNELBINDING",
    "PGDATABASE",
    "PGGSSDELEGATION",
    "PGGSSENCMODE",
    "PGGSSLIB",
    "PGHOST",
    "PGHOSTADDR",
    "PGKRBSRVNAME",
    "PGLOADBALANCEHOSTS",
    "PGMAXPROTOCOLVERSION",
    "PGMINPROTOCOLVERSION",
    "PGOPTIONS",
    "PGPASSFILE",
    "PGPASSWORD",
    "PGPORT",
    "PGREALM",
    "PGREPLICATION",
    "PGREQUIREAUTH",
    "PGREQUIREPEER",
    "PGREQUIRESSL",
    "PGSERVICE",
    "PGSERVICEFILE",
    "PGSSLCERT",
    "PGSSLCERTMODE",
    "PGSSLCOMPRESSION",
    "PGSSLCRL",
    "PGSSLCRLDIR",
    "PGSSLKEY",
    "PGSSLMAXPROTOCOLVERSION",
    "PGSSLMINPROTOCOLVERSION",
    "PGSSLMODE",
    "PGSSLNEGOTIATION",
    "PGSSLPASSWORD",
    "PGSSLROOTCERT",
    "PGSSLSNI",
    "PGSYSCONFDIR",
    "PGTARGETSESSIONATTRS",
    "PGUSER",
];
/// The same of the clients and drivers of MySQL and MariaDB.
const OF_MYSQL: [&str; 12] = [
    "MARIADB_GROUP_SUFFIX",
    "MARIADB_HOME",
    "MARIADB_PWD",
    "MARIADB_UNIX_PORT",
    "MARIADB_USER",
    "MYSQL_GROUP_SUFFIX",
    "MYSQL_HOME",
    "MYSQL_HOST",
    "MYSQL_PWD",
    "MYSQL_TCP_PORT",
    "MYSQL_TEST_LOGIN_FILE",
    "MYSQL_UNIX_PORT",
];

/// The variables of a command: those that it gets, and those of testbed's caller that it must not see, for
/// they could lead it to a server that is not the run's.
pub struct Environment {
    pub set: Vec<(String, String)>,
    pub removed: Vec<String>,
}

impl Environment {
    /// For the command of a run. `names` and `config` are as for [`variables`]; `folder` is where the run keeps files of
    /// its own: in it is what the clients of MySQL and MariaDB read in the place of what the caller names for
    /// them ([`option_file`]).
    ///
    /// # Errors
    /// As [`variables`].
    pub fn new(
        model: &Model,
        names: &Names,
        config: Option<&Path>,
        folder: Option<&Path>,
    ) -> anyhow::Result<Self> {
        let mut set = variables(model, names, config)?;
        let has = |driver: &str| model.databases.iter().any(|connection| connection.driver == driver);
        let mut elsewhere = Vec::new();
        if has(POSTGRES) {
            elsewhere.extend(OF_LIBPQ);
        }
        if has(MYSQL) {
            elsewhere.extend(OF_MYSQL);
            // There is none: the user's own would count for more than all else.
            set.push(("MYSQL_TEST_LOGIN_FILE".into(), "/dev/null/login.cnf".into()));
            if let Some(folder) = folder.and_then(Path::to_str) {
                set.push(("MYSQL_HOME".into(), folder.into()));
            }
        }
        if !model.databases.is_empty() {
            elsewhere.extend([ONLY_URL, PRIMARY_URL]);
        }
        elsewhere.push(CONFIG);
        elsewhere.extend(names.also_read());
        // What Rails reads for a database that its project calls by the same name.
        let of_rails = model.databases.iter().map(|it| format!("{}_{ONLY_URL}", prefix(&it.name)));
        let elsewhere = elsewhere.into_iter().map(str::to_owned).chain(of_rails);
        let removed = elsewhere.filter(|name| !set.iter().any(|(set, _)| set == name)).collect();
        Ok(Self { set, removed })
    }
}

/// The text of `my.cnf` in the run's folder: the login that MySQL's and MariaDB's clients take where nothing
/// else is said, or where they find none. `None` where the run has no such server.
pub fn option_file(model: &Model) -> Option<String> {
    // What is quoted has only backslashes and line breaks to escape.
    let quoted =
        |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"));
    let line = |key: &str, value: Option<&str>| {
        value.map(|value| format!("{key}={}\n", quoted(value))).unwrap_or_default()
    };
    let begin = "[client]\nprotocol=tcp\n";
    let Some(Connection { host, port, user, password, database, ca, .. }) = usual(model, MYSQL) else {
        return nowhere(model, MYSQL).map(|host| format!("{begin}{}", line("host", Some(&host))));
    };
    let port = port.map(|port| port.to_string());
    let login = [
        ("host", host.as_deref()),
        ("port", port.as_deref()),
        ("user", user.as_deref()),
        ("password", password.as_deref()),
    ];
    let client: String = login.into_iter().map(|(key, value)| line(key, value)).collect();
    // MySQL's clients verify as soon as they know an authority, and do not know MariaDB's word for it.
    let verified =
        ca.as_deref().map(|ca| line("ssl-ca", Some(ca)) + "[client-mariadb]\nssl-verify-server-cert\n");
    // Only for what speaks SQL: the others know no such option.
    let database = database.as_deref().filter(|database| !database.is_empty());
    let database = database.map(|name| format!("[mysql]\n{}", line("database", Some(name))));
    let text = format!("{begin}{client}{}{}", verified.unwrap_or_default(), database.unwrap_or_default());
    // The clients cut a longer line in two, and print the second part.
    text.lines().all(|line| line.len() < 4000).then_some(text)
}

/// The user's own option file, which MySQL's and MariaDB's clients read last, where it counts for more than the
/// run's: with a server or a login of its own.
pub fn other_option_file(model: &Model) -> Option<PathBuf> {
    let path = PathBuf::from(std::env::var_os("HOME")?).join(".my.cnf");
    let has_server = model.databases.iter().any(|connection| connection.driver == MYSQL);
    let text = files::read(&path, files::MOST).ok().filter(|_| has_server)?;
    says_who_or_where(&String::from_utf8_lossy(&text)).then_some(path)
}

/// Whether the groups that clients read say where a server is or who logs in, or other files may. A key may be
/// shortened, and have `loose-` before it.
fn says_who_or_where(options: &str) -> bool {
    let mut is_for_clients = false;
    options.lines().map(str::trim).any(|line| {
        if let Some(group) = line.strip_prefix('[') {
            is_for_clients = ["client", "mysql]", "mariadb]", "mariadb-client"]
                .iter()
                .any(|known| group.starts_with(known));
        }
        let key =
            line.split(|c: char| c == '=' || c.is_whitespace()).next().unwrap_or_default().replace('_', "-");
        let key = key.strip_prefix("loose-").unwrap_or(&key);
        let known = ["host", "port", "socket", "protocol", "user", "password"];
        let is_key = key.len() > 1 && known.iter().any(|known| known.starts_with(key));
        line.starts_with("!include") || (is_for_clients && is_key)
    })
}

/// The databases that a client gets to without naming one of the server's.
fn firsts(model: &Model) -> impl Iterator<Item = &Connection> + Clone {
    model.databases.iter().filter(|connection| !connection.is_further && !connection.is_fork)
}

/// The database that a client goes to that is told none: the only one of its driver, or the one whose own
/// variables are the client's as well.
fn usual<'a>(model: &'a Model, driver: &str) -> Option<&'a Connection> {
    let mut all = firsts(model).filter(|connection| connection.driver == driver);
    let named = all.clone().find(|connection| driver == MYSQL && prefix(&connection.name) == "MYSQL");
    named.or_else(|| all.next().filter(|_| all.next().is_none()))
}

/// Where a client goes that is told no server, and that would take the machine's own otherwise: to none, by a name
/// that says what to do. `None` where the run has no server of the driver, or a usual one.
fn nowhere(model: &Model, driver: &str) -> Option<String> {
    let first = firsts(model).find(|connection| connection.driver == driver)?;
    // No host has so long a name, so that nobody is asked for it. For libpq it is the folder of a socket.
    let start = if driver == POSTGRES { "/" } else { "" };
    let text = format!(
        "{start}this-run-has-several-servers-of-this-kind-say-which-as-with-{}_HOST",
        prefix(&first.name)
    );
    usual(model, driver).is_none().then_some(text)
}

/// The variables that tell a command where its databases are, each name once. A value that a server has none
/// of (MySQL's database where the manifest names none) is empty, so that one from outside does not stay in
/// force.
///
/// `config` is the config file's absolute path; one that is not UTF-8 is left out, for a variable would tell
/// it wrong. `names` are the project's own, and count for more than these. The databases' names have to have
/// passed [`check_names`].
///
/// # Errors
/// As [`Names::variables`].
pub(super) fn variables(
    model: &Model,
    names: &Names,
    config: Option<&Path>,
) -> anyhow::Result<Vec<(String, String)>> {
    let mut variables = vec![(RUN_ID.to_owned(), model.run_id.clone())];
    variables.extend(config.and_then(Path::to_str).map(|path| (CONFIG.to_owned(), path.to_owned())));
    for connection in &model.databases {
        let prefix = prefix(&connection.name);
        variables.extend(own(connection).map(|(suffix, value)| (format!("{prefix}_{suffix}"), value)));
    }
    let mut add = |name: &str, value: String| {
        if !variables.iter().any(|(known, _)| known == name) {
            variables.push((name.to_owned(), value));
        }
    };
    let mut all = firsts(model);
    if let (Some(only), None) = (all.next(), all.next()) {
        add(ONLY_URL, only.url.clone());
    }
    if let Some(usual) = usual(model, POSTGRES) {
        own(usual)
            .filter(|(suffix, _)| !["URL", "JDBC_URL", "DSN", "CA"].contains(suffix))
            .for_each(|(suffix, value)| add(&format!("{LIBPQ}{suffix}"), value));
        // Some drivers want TLS unless they are told not to.
        let mode = match usual.secured() {
            Secured::No => "disable",
            Secured::Unverified => "require",
            Secured::Verified(ca) => {
                add("PGSSLROOTCERT", ca.to_owned());
                "verify-full"
            }
        };
        add("PGSSLMODE", mode.to_owned());
    } else if let Some(host) = nowhere(model, POSTGRES) {
        add("PGHOST", host);
    }
    if let Some(Connection { host: Some(host), port: Some(port), password, .. }) = usual(model, MYSQL) {
        add("MYSQL_HOST", host.clone());
        add("MYSQL_TCP_PORT", port.to_string());
        add("MYSQL_PWD", password.clone().unwrap_or_default());
    } else if let Some(host) = nowhere(model, MYSQL) {
        add("MYSQL_HOST", host);
    }
    for (name, value) in names.variables(model)? {
        names::set(&mut variables, &name, value);
    }
    Ok(variables)
}

/// What a database has that is no server.
const OF_LIBRARIES: [&str; 4] = ["URL", "DATABASE", "JDBC_URL", "DSN"];

/// A database's own variables, without its name in front. SQLite has its URLs and a database only.
fn own(connection: &Connection) -> impl Iterator<Item = (&'static str, String)> {
    let is_server = connection.host.is_some();
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let port = connection.port.map(|port| port.to_string());
    [
        ("URL", connection.url.clone()),
        ("HOST", text(&connection.host)),
        ("PORT", text(&port)),
        ("USER", text(&connection.user)),
        ("PASSWORD", text(&connection.password)),
        ("DATABASE", text(&connection.database)),
        ("JDBC_URL", connection.jdbc_url.clone()),
        ("DSN", connection.dsn.clone()),
    ]
    .into_iter()
    .chain(connection.ca.clone().map(|ca| ("CA", ca)))
    .filter(move |(suffix, _)| is_server || OF_LIBRARIES.contains(suffix))
}

/// `orders-db` to `ORDERS_DB`.
fn prefix(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect()
}

/// Refuses databases whose variables would be those of another one, or testbed's own, or none that a shell
/// takes.
///
/// No other two can meet: a database's variables differ from another's in what stands before the last
/// underscore, or before `_JDBC_URL`; libpq's have none, and `DATABASE_URL` is that of a database called `database` where there is
/// one.
pub fn check_names(names: &[&str]) -> anyhow::Result<()> {
    for (index, name) in names.iter().enumerate() {
        check_name(name, &names[..index]).map_err(usage).hint(super::RENAME)?;
    }
    Ok(())
}

fn check_name(name: &str, others: &[&str]) -> Result<(), String> {
    let prefix = prefix(name);
    if prefix == "TESTBED" || prefix.starts_with("TESTBED_") {
        return Err(format!(
            "the variables of the database {name} would begin with TESTBED_, as testbed's own do"
        ));
    }
    if prefix.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(format!(
            "the variables of the database {name} would begin with a digit, which no shell takes"
        ));
    }
    for other in others {
        let with = self::prefix(other);
        if with == prefix {
            return Err(format!(
                "the databases {other} and {name} would share the variables {prefix}_URL and so on"
            ));
        }
        if with == format!("{prefix}_JDBC") || prefix == format!("{with}_JDBC") {
            let variable = with.max(prefix) + "_URL";
            return Err(format!("the databases {other} and {name} would share the variable {variable}"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::examples::{database, mixed, model, named};
    use super::*;
    use crate::database::{Engine, Password};
    use crate::failure::{Exit, exit_of};

    fn lines(model: &Model) -> Vec<String> {
        let all = variables(model, &Names::default(), None).unwrap();
        all.into_iter().map(|(name, value)| format!("{name}={value}")).collect()
    }

    #[test]
    fn one_postgresql_also_goes_by_the_usual_names() {
        let expected = [
            "TESTBED_RUN_ID=run-1",
            "ORDERS_DB_URL=postgresql://striv:p%22w@orders-db-run-1:5432/striv_test",
            "ORDERS_DB_HOST=orders-db-run-1",
            "ORDERS_DB_PORT=5432",
            "ORDERS_DB_USER=striv",
            "ORDERS_DB_PASSWORD=p\"w",
            "ORDERS_DB_DATABASE=striv_test",
            "ORDERS_DB_JDBC_URL=jdbc:postgresql://orders-db-run-1:5432/striv_test",
            "ORDERS_DB_DSN=postgresql://striv:p%22w@orders-db-run-1:5432/striv_test?sslmode=disable",
            "DATABASE_URL=postgresql://striv:p%22w@orders-db-run-1:5432/striv_test",
            "PGHOST=orders-db-run-1",
            "PGPORT=5432",
            "PGUSER=striv",
            "PGPASSWORD=p\"w",
            "PGDATABASE=striv_test",
            "PGSSLMODE=disable",
        ];
        assert_eq!(lines(&model(&[&named(Engine::Postgres, "orders-db")])), expected);
    }

    #[test]
    fn sqlite_has_a_url_and_a_database_and_counts_as_one() {
        assert_eq!(
            lines(&mixed(&[]))[1..],
            [
                "SQLITE_URL=sqlite::memory:",
                "SQLITE_DATABASE=:memory:",
                "SQLITE_JDBC_URL=jdbc:sqlite::memory:",
                "SQLITE_DSN=file::memory:?cache=shared",
                "DATABASE_URL=sqlite::memory:",
            ]
        );
        let lines = lines(&mixed(&[&database(Engine::Postgres)]));
        assert!(!lines.iter().any(|line| line.starts_with("DATABASE_URL=")), "{lines:?}");
        assert!(lines.contains(&"PGHOST=postgres-run-1".into()), "{lines:?}");
    }

    #[test]
    fn of_two_servers_none_is_the_usual_one_and_clients_find_none() {
        for (engine, others, nowhere) in [
            (Engine::Postgres, ["PG", "DATABASE"], "PGHOST=/this-run-has-several-"),
            (Engine::Mariadb, ["MYSQL", "DATABASE"], "MYSQL_HOST=this-run-has-several-"),
        ] {
            let (a, b) = (named(engine, "a"), named(engine, "b"));
            let all = lines(&model(&[&a, &b]));
            let of_clients: Vec<&String> =
                all.iter().filter(|line| others.iter().any(|other| line.starts_with(other))).collect();
            assert!(
                matches!(of_clients.as_slice(), [only] if only.starts_with(nowhere) && only.ends_with("-with-A_HOST")),
                "{of_clients:?}"
            );
        }
    }

    #[test]
    fn an_option_file_is_quoted_and_for_the_usual_server_alone() {
        let (mysql, mut shop) = (database(Engine::Mysql), named(Engine::Mariadb, "shop"));
        shop.login.password = Password::new(r#"a"b\c # d"#);
        let text = option_file(&model(&[&shop])).unwrap();
        let client = "[client]\nprotocol=tcp\nhost=\"shop-run-1\"\nport=\"3306\"\nuser=\"striv\"\n";
        let last = "[mysql]\ndatabase=\"striv_test\"\n";
        assert_eq!(text, format!(r#"{client}password="a\"b\\c # d"{}{last}"#, "\n"));
        let of_several = option_file(&model(&[&shop, &named(Engine::Mysql, "other")])).unwrap();
        assert!(
            of_several.starts_with("[client]\nprotocol=tcp\nhost=\"this-run-has-several-"),
            "{of_several}"
        );
        assert_eq!(of_several.lines().count(), 3);
        assert!(option_file(&model(&[&database(Engine::Postgres)])).is_none());
        // Its own variables are the client's.
        let lines = lines(&model(&[&shop, &mysql]));
        assert!(
            lines.contains(&"MYSQL_HOST=mysql-run-1".into()) && lines.contains(&"MYSQL_TCP_PORT=3306".into()),
            "{lines:?}"
        );
    }

    #[test]
    fn an_option_file_counts_where_a_client_reads_a_server_or_a_login_in_it() {
        for text in [
            "[client]\nhost=x",
            "[mysql]\n port = 1",
            "[client-mariadb]\nsocket=/x",
            "[x]\n[mariadb]\nhost = \"y\"",
            "[client]\nhost\t= x",
            "[client]\nloose-host=x",
            "[client]\nhos=x",
            "[client]\nuser=me",
            "!includedir /x",
        ] {
            assert!(says_who_or_where(text), "{text}");
        }
        for text in
            ["", "host=x", "[mysqldump]\nhost=x", "[client]\nconnect_timeout=1\n# host=x", "[mysqld]\nport=1"]
        {
            assert!(!says_who_or_where(text), "{text}");
        }
    }

    #[test]
    fn no_database_is_an_empty_variable() {
        let mut mysql = database(Engine::Mysql);
        mysql.login.database = None;
        assert!(lines(&model(&[&mysql])).contains(&"MYSQL_DATABASE=".into()));
    }

    #[test]
    fn the_config_file_is_told_by_its_path() {
        let variables =
            variables(&mixed(&[]), &Names::default(), Some(Path::new("/project/x.json"))).unwrap();
        assert_eq!(variables[1], ("TESTBED_CONFIG".into(), "/project/x.json".into()));
    }

    #[test]
    fn names_that_pass_make_no_variable_twice() {
        for names in [
            &["database"][..],
            &["database", "pg"],
            &["pg"],
            &["a", "a-url", "a-database-url"],
            &["p-g", "database-url"],
        ] {
            check_names(names).unwrap();
            let databases: Vec<_> = names.iter().map(|name| named(Engine::Postgres, name)).collect();
            let model = model(&databases.iter().collect::<Vec<_>>());
            let variables = variables(&model, &Names::default(), Some(Path::new("/x"))).unwrap();
            let mut seen: Vec<&str> = variables.iter().map(|(name, _)| name.as_str()).collect();
            seen.sort_unstable();
            seen.dedup();
            assert_eq!(seen.len(), variables.len(), "{names:?}");
        }
    }

    #[test]
    fn a_database_called_database_has_its_url_beside_others() {
        let (named, other) = (named(Engine::Mysql, "database"), database(Engine::Postgres));
        assert!(
            lines(&model(&[&named, &other]))
                .contains(&"DATABASE_URL=mysql://striv:p%22w@database-run-1:3306/striv_test".into())
        );
    }

    #[test]
    fn names_that_would_meet_are_refused() {
        for (names, part) in [
            (&["a-b", "x", "a.b"][..], "the databases a-b and a.b would share the variables A_B_URL"),
            (&["db", "db"], "the databases db and db would share"),
            (&["testbed"], "the database testbed would begin with TESTBED_"),
            (&["testbed-run"], "the database testbed-run would begin with TESTBED_"),
            (&["9lives"], "begin with a digit"),
            (&["a-jdbc", "a"], "the databases a-jdbc and a would share the variable A_JDBC_URL"),
            (&["a", "a-jdbc"], "would share the variable A_JDBC_URL"),
        ] {
            let error = check_names(names).unwrap_err();
            assert!(format!("{error:#}").contains(part) && exit_of(&error) == Exit::Usage, "{error:#}");
        }
        check_names(&["testbeds", "test-bed"]).unwrap();
    }
}
