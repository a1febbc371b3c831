//! What the tests get to know of a run: the model that every format of the config file shows in its own way.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::{Map, Value, json};

use super::{ConnArg, drivers, url};
use crate::database::{Database, Engine, Login, Password};
use crate::run_id::RunId;

/// What SQLite is told to open: a database in memory.
const IN_MEMORY: &str = ":memory:";

/// A database of the run before its address is known: a server, or SQLite.
#[derive(Debug, Clone, Copy)]
pub enum Entry<'a> {
    /// A server, reached at this host and port.
    Server(&'a Database, &'a str, u16),
    /// SQLite in memory, which needs no server, under this name.
    Sqlite(&'a str),
}

/// A run as its tests see it. Full of passwords, so that it has no `Debug`.
#[derive(Clone, Serialize)]
pub struct Model {
    pub run_id: String,
    /// The databases in the config file's order: that of the command line and of the manifests.
    pub databases: Vec<Connection>,
}

/// How clients have to speak to a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Secured<'a> {
    /// It takes logins without TLS.
    No,
    /// It takes logins over TLS only, with a certificate that nobody can verify.
    Unverified,
    /// It takes logins over TLS only, and this file has the certificate of its authority.
    Verified(&'a str),
}

/// An engine's name.
type Name = &'static str;

/// One database, and how it is reached. What SQLite has no use for is `None`, which is `null` in JSON and
/// empty in a template.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct Connection {
    /// The Service's name without the run id, or what `--with ENGINE=NAME` says. Not always unique: one
    /// Service can lead to two databases.
    pub name: String,
    /// `mysql`, `mariadb`, `postgres` or `sqlite`.
    #[serde(deserialize_with = "engine")]
    pub engine: Name,
    /// Whose client speaks to it: `mysql` (MariaDB too), `postgres` or `sqlite`.
    #[serde(deserialize_with = "engine")]
    pub driver: Name,
    /// A host name or an address, without brackets.
    pub host: Option<String>,
    pub port: Option<u16>,
    /// The tests' user.
    pub user: Option<String>,
    /// The password; empty where the server asks for none.
    pub password: Option<String>,
    /// The database's name on the server, `:memory:` for SQLite; `None` where the manifest names none (MySQL
    /// allows that).
    pub database: Option<String>,
    /// All of this as one URL: `postgresql://…`, `mysql://…` (MariaDB too) or `sqlite::memory:`.
    pub url: String,
    /// The same for JDBC, without user and password.
    #[serde(default)]
    pub jdbc_url: String,
    /// The same as Go's drivers take it.
    #[serde(default)]
    pub dsn: String,
    /// The file with the certificate of a server's authority, where that takes logins over TLS alone.
    #[serde(default)]
    pub ca: Option<String>,
    /// Whether the server takes logins over TLS only.
    #[serde(default)]
    pub over_tls: bool,
    /// Whether this is a further database of the server before it, which a client has to ask for by name.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_further: bool,
    /// Whether it is a copy of another one of the run, and a client has to ask for it by name as well.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_fork: bool,
    /// The arguments for Python's drivers: `mysql.connector.connect(**arguments)`,
    /// `psycopg2.connect(**arguments)`, `sqlite3.connect(**arguments)`. `--connarg` and the annotation
    /// `testbed/connargs` change these, and nothing else here.
    pub arguments: Map<String, Value>,
    /// Where its own `my.cnf` is, if it has one: a copy's differs from the run's.
    #[serde(skip)]
    pub option_folder: Option<PathBuf>,
}

impl Model {
    /// The model of a run with these databases.
    ///
    /// `folder` is where [`ca_file`] has been written for those that have an authority.
    pub fn new(run_id: &RunId, entries: &[Entry], connargs: &[ConnArg], folder: Option<&Path>) -> Self {
        let connections = |entry: &Entry| match *entry {
            Entry::Server(database, host, port) => Connection::all_of(database, host, port, connargs, folder),
            Entry::Sqlite(name) => vec![Connection::sqlite(name)],
        };
        Self { run_id: run_id.as_str().into(), databases: entries.iter().flat_map(connections).collect() }
    }

    /// A run's model with this database alone, which clients then need not name.
    pub fn of(run_id: &str, connection: Connection) -> Self {
        let alone = Connection { is_further: false, is_fork: false, ..connection };
        Self { run_id: run_id.to_owned(), databases: vec![alone] }
    }

    /// The same with what else the run has had before: databases of other names stay, in their order, forks behind the
    /// others.
    #[must_use]
    pub fn with_earlier(mut self, earlier: &[Connection]) -> Self {
        let mut databases: Vec<Connection> =
            earlier.iter().filter(|one| !self.names().contains(&one.name.as_str())).cloned().collect();
        databases.append(&mut self.databases);
        databases.sort_by_key(|one| one.is_fork);
        Self { databases, ..self }
    }

    /// The same without forks.
    #[must_use]
    pub fn without_forks(mut self) -> Self {
        self.databases.retain(|one| !one.is_fork);
        self
    }

    /// Takes note of which servers, in their order, were logged in to over TLS.
    pub fn note_tls(&mut self, over_tls: impl IntoIterator<Item = bool>) {
        let (mut each, mut now) = (over_tls.into_iter(), false);
        for connection in self.databases.iter_mut().filter(|connection| connection.host.is_some()) {
            if !connection.is_further {
                now = each.next().unwrap_or_default();
            }
            connection.over_tls = now;
            connection.spell();
        }
    }

    /// Takes note of the authorities of those servers that take logins over TLS alone, as far as their certificates are
    /// in the run's folder.
    pub fn note_authorities(&mut self, folder: &Path) {
        for connection in self.databases.iter_mut().filter(|one| one.ca.is_none() && one.over_tls) {
            // A further database goes by its server's name and its own.
            let name = match (&connection.database, connection.is_further) {
                (Some(database), true) => connection.name.strip_suffix(&format!("-{database}")),
                _ => None,
            };
            let file = ca_file(folder, name.unwrap_or(&connection.name));
            let Some(ca) = file.to_str().filter(|_| file.is_file()) else { continue };
            for (key, value) in drivers::python(connection.driver, ca) {
                // What `--connarg` says stays.
                connection.arguments.entry(key).or_insert(value);
            }
            connection.ca = Some(ca.to_owned());
            connection.spell();
        }
    }

    /// The databases' names, in their order.
    pub fn names(&self) -> Vec<&str> {
        self.databases.iter().map(|connection| connection.name.as_str()).collect()
    }
}

/// Where the certificate of a database's authority is, in the run's folder.
pub fn ca_file(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.ca.crt"))
}

/// The same for Java, beside it.
pub fn keystore_file(ca: &Path) -> PathBuf {
    ca.with_extension("jks")
}

/// One of the names that are known.
fn engine<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Name, D::Error> {
    let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
    Engine::parse(&text).map(Engine::name).map_err(de::Error::custom)
}

impl Connection {
    pub fn secured(&self) -> Secured<'_> {
        match (&self.ca, self.over_tls) {
            (Some(ca), _) => Secured::Verified(ca),
            (None, true) => Secured::Unverified,
            (None, false) => Secured::No,
        }
    }

    /// Writes down what differs from driver to driver, once all else is known.
    fn spell(&mut self) {
        if self.engine == "postgres" {
            self.url = drivers::verified(&self.url, self.secured());
        }
        self.jdbc_url = drivers::jdbc_url(self);
        self.dsn = drivers::go_dsn(self);
    }

    fn spelt(mut self) -> Self {
        self.spell();
        self
    }

    /// The same database as it is reached by another address.
    #[must_use]
    pub fn moved_to(&self, host: &str, port: u16) -> Self {
        self.with(|moved| (moved.host, moved.port) = (Some(host.to_owned()), Some(port)))
    }

    /// Another database of the same server, with the same login.
    #[must_use]
    pub fn in_database(&self, name: &str) -> Self {
        self.with(|other| other.database = Some(name.to_owned()))
    }

    /// The same with another address or database, wherever that is said.
    fn with(&self, change: impl FnOnce(&mut Self)) -> Self {
        let mut changed = self.clone();
        change(&mut changed);
        let told = |one: &Self| {
            let database = one.database.as_deref().map(Value::from);
            let key = if one.driver == "postgres" { "dbname" } else { "database" };
            [
                ("host", one.host.as_deref().map(Value::from)),
                ("port", one.port.map(Value::from)),
                (key, database),
            ]
        };
        for ((key, was), (_, now)) in told(self).into_iter().zip(told(&changed)) {
            // What `--connarg` says stays.
            if let Some(now) = now.filter(|_| changed.arguments.get(key) == was.as_ref()) {
                changed.arguments.insert(key.to_owned(), now);
            }
        }
        let login = Login {
            user: self.user.clone().unwrap_or_default(),
            password: Password::new(self.password.as_deref().unwrap_or_default()),
            database: changed.database.clone(),
        };
        let scheme = self.url.split_once(':').map_or("", |(scheme, _)| scheme);
        let host = changed.host.as_deref().unwrap_or_default();
        changed.url = url::url(scheme, &login, host, changed.port.unwrap_or_default());
        changed.spell();
        changed
    }

    fn sqlite(name: &str) -> Self {
        Self {
            name: name.into(),
            engine: Engine::Sqlite.name(),
            driver: Engine::Sqlite.name(),
            database: Some(IN_MEMORY.into()),
            url: format!("sqlite:{IN_MEMORY}"),
            arguments: Map::from_iter([("database".to_owned(), IN_MEMORY.into())]),
            ..Self::default()
        }
        .spelt()
    }

    /// A server's database, and the further ones: `orders`, and `orders-audit` for its database `audit`.
    fn all_of(
        database: &Database,
        host: &str,
        port: u16,
        connargs: &[ConnArg],
        folder: Option<&Path>,
    ) -> Vec<Self> {
        let own = Self::server(database, &database.login, host, port, connargs, folder);
        let further = database.further.iter().map(|further| Self {
            name: format!("{}-{}", database.name, further.name),
            is_further: true,
            ..Self::server(database, &further.login(&database.login), host, port, connargs, folder)
        });
        std::iter::once(own).chain(further).collect()
    }

    fn server(
        database: &Database,
        login: &Login,
        host: &str,
        port: u16,
        connargs: &[ConnArg],
        folder: Option<&Path>,
    ) -> Self {
        // MariaDB is reached with MySQL's driver, so that is what its entry names.
        let (driver, scheme, database_key) = match database.engine {
            Engine::Postgres => ("postgres", "postgresql", "dbname"),
            Engine::Mysql | Engine::Mariadb | Engine::Sqlite => ("mysql", "mysql", "database"),
        };
        let mut arguments = Map::new();
        arguments.insert("user".into(), login.user.as_str().into());
        arguments.insert("password".into(), login.password.reveal().into());
        arguments.insert("host".into(), host.into());
        arguments.insert("port".into(), json!(port));
        if let Some(name) = &login.database {
            arguments.insert(database_key.into(), name.as_str().into());
        }
        let ca = folder.filter(|_| database.tls.is_some()).map(|folder| ca_file(folder, &database.name));
        let ca = ca.as_deref().and_then(Path::to_str).map(str::to_owned);
        arguments.extend(ca.iter().flat_map(|ca| drivers::python(driver, ca)));
        arguments.extend(database.connargs.clone());
        arguments.extend(connargs.iter().filter(|arg| arg.is_for(database)).map(ConnArg::pair));
        Self {
            name: database.name.clone(),
            engine: database.engine.name(),
            driver,
            host: Some(host.into()),
            port: Some(port),
            user: Some(login.user.clone()),
            password: Some(login.password.reveal().into()),
            database: login.database.clone(),
            url: url::url(scheme, login, host, port),
            over_tls: database.tls.is_some(),
            ca,
            arguments,
            ..Self::default()
        }
        .spelt()
    }
}

#[cfg(test)]
mod tests {
    use super::super::examples::{database, model};
    use super::*;
    use crate::database::Further;

    #[test]
    fn every_field_has_its_documented_shape() {
        let mut postgres = database(Engine::Postgres);
        postgres.connargs.insert("sslmode".into(), "disable".into());
        let connargs = [ConnArg::parse("postgres.application_name=me").unwrap()];
        let model = Model::new(
            &RunId::parse("run-1").unwrap(),
            &[Entry::Sqlite("memory"), Entry::Server(&postgres, "127.0.0.1", 40000)],
            &connargs,
            None,
        );
        let expected = json!({
            "run_id": "run-1",
            "databases": [
                {
                    "name": "memory", "engine": "sqlite", "driver": "sqlite", "host": null, "port": null, "user": null,
                    "password": null, "database": ":memory:", "url": "sqlite::memory:",
                    "jdbc_url": "jdbc:sqlite::memory:", "dsn": "file::memory:?cache=shared", "ca": null, "over_tls": false, "arguments": {"database": ":memory:"},
                },
                {
                    "name": "postgres", "engine": "postgres", "driver": "postgres", "host": "127.0.0.1", "port": 40000,
                    "user": "striv", "password": "p\"w", "database": "striv_test",
                    "url": "postgresql://striv:p%22w@127.0.0.1:40000/striv_test",
                    "jdbc_url": "jdbc:postgresql://127.0.0.1:40000/striv_test",
                    "dsn": "postgresql://striv:p%22w@127.0.0.1:40000/striv_test?sslmode=disable",
                    "ca": null, "over_tls": false,
                    "arguments": {
                        "user": "striv", "password": "p\"w", "host": "127.0.0.1", "port": 40000, "dbname": "striv_test",
                        "sslmode": "disable", "application_name": "me",
                    },
                },
            ],
        });
        assert_eq!(serde_json::to_value(model).unwrap(), expected);
    }

    #[test]
    fn a_database_that_is_reached_elsewhere_is_told_there_alone() {
        let mut postgres = database(Engine::Postgres);
        let there = |postgres: &Database| {
            let model = Model::new(
                &RunId::parse("run-1").unwrap(),
                &[Entry::Server(postgres, "127.0.0.1", 40000)],
                &[ConnArg::parse("port=1").unwrap()],
                None,
            );
            serde_json::to_value(&model.databases[0]).unwrap()
        };
        let here = Model::new(
            &RunId::parse("run-1").unwrap(),
            &[Entry::Server(&postgres, "postgres-run-1", 5432)],
            &[ConnArg::parse("port=1").unwrap()],
            None,
        );
        let moved = here.databases[0].moved_to("127.0.0.1", 40000);
        assert_eq!(serde_json::to_value(moved).unwrap(), there(&postgres));
        postgres.login.password = Password::new("other");
        assert_ne!(there(&postgres)["url"], here.databases[0].moved_to("127.0.0.1", 40000).url);
    }

    #[test]
    fn another_database_of_a_server_is_told_everywhere() {
        for engine in [Engine::Postgres, Engine::Mariadb] {
            let mut named = database(engine);
            let here = model(&[&named]).databases.remove(0).in_database("other one");
            named.login.database = Some("other one".into());
            let there = model(&[&named]).databases.remove(0);
            assert_eq!(serde_json::to_value(here).unwrap(), serde_json::to_value(there).unwrap());
        }
        let mut unnamed = database(Engine::Mysql);
        unnamed.login.database = None;
        let told = model(&[&unnamed]).databases.remove(0).in_database("testbed");
        assert!(told.url.ends_with("/testbed") && told.dsn.ends_with("/testbed"));
        assert_eq!(told.arguments["database"], "testbed");
    }

    #[test]
    fn mariadb_goes_by_mysqls_driver_and_no_database_is_no_argument() {
        let mut mariadb = database(Engine::Mariadb);
        mariadb.login.database = None;
        let connection = &model(&[&mariadb]).databases[0];
        assert_eq!((connection.engine, connection.driver), ("mariadb", "mysql"));
        assert_eq!(connection.url, "mysql://striv:p%22w@mariadb-run-1:3306");
        assert!(connection.database.is_none() && !connection.arguments.contains_key("database"));
    }

    #[test]
    fn further_databases_stand_behind_their_servers_with_logins_of_their_own() {
        let (mut mysql, postgres) = (database(Engine::Mysql), database(Engine::Postgres));
        let further =
            |name: &str, user: Option<&str>| Further { name: name.into(), user: user.map(Into::into) };
        mysql.further = vec![further("a_1", Some("alice")), further("b", None)];
        let mut model = model(&[&mysql, &postgres]);
        assert_eq!(model.names(), ["mysql", "mysql-a_1", "mysql-b", "postgres"]);
        assert_eq!(model.databases[1].url, "mysql://alice:p%22w@mysql-run-1:3306/a_1");
        assert_eq!(model.databases[2].arguments["database"], "b");
        model.note_tls([true, false]);
        assert_eq!(
            model.databases.iter().map(|one| one.over_tls).collect::<Vec<_>>(),
            [true, true, true, false]
        );
    }

    #[test]
    fn extra_arguments_can_be_for_one_database() {
        let (mysql, postgres) = (database(Engine::Mysql), database(Engine::Postgres));
        let connargs: Vec<_> = ["mysql.create_database=true", "application_name=me"]
            .map(|text| ConnArg::parse(text).unwrap())
            .into();
        let entries =
            [&mysql, &postgres].map(|database| Entry::Server(database, &database.host, database.port));
        let model = Model::new(&RunId::parse("run-1").unwrap(), &entries, &connargs, None);
        let extra = |index: usize| {
            json!(
                model.databases[index].arguments.clone().into_iter().skip(5).collect::<Map<String, Value>>()
            )
        };
        assert_eq!(extra(0), json!({"create_database": true, "application_name": "me"}));
        assert_eq!(extra(1), json!({"application_name": "me"}));
    }
}
