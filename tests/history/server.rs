//! A real PostgreSQL, started by the program under test and removed when the test is over.

use std::path::PathBuf;

use serde_json::Value;
use testbed::history::place::Place;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};
use url::Url;

use crate::support::Folder;

/// A server, and a superuser's login.
pub struct Server {
    folder: Folder,
    pub user: String,
    pub password: String,
    pub port: u16,
}

impl Server {
    pub fn up() -> Self {
        let folder = Folder::local();
        folder.call(&["up", "--with", "postgres", "--run-id", "store"]).ok();
        let databases: Value =
            serde_json::from_str(&folder.read("testing-databases.json")).expect("a config file");
        let args = &databases[0][1];
        let text = |name: &str| args[name].as_str().expect("a text").to_owned();
        let port = args["port"].as_u64().and_then(|port| port.try_into().ok()).expect("a port");
        Self { user: text("user"), password: text("password"), port, folder }
    }

    /// A new database for a store.
    pub async fn database(&self, name: &str) -> Place {
        self.run("postgres", &format!("CREATE DATABASE {name}")).await;
        self.place(name, "")
    }

    /// A place, with options for the URL such as `?sslmode=require`.
    pub fn place(&self, database: &str, options: &str) -> Place {
        self.place_as(&self.user, &self.password, database, options)
    }

    pub fn place_as(&self, user: &str, password: &str, database: &str, options: &str) -> Place {
        let mut url =
            Url::parse(&format!("postgres://127.0.0.1:{}/{database}{options}", self.port)).expect("a URL");
        url.set_username(user).expect("a user");
        url.set_password(Some(password).filter(|password| !password.is_empty())).expect("a password");
        Place::parse(url.as_str()).expect("a place").expect("a place")
    }

    pub async fn client(&self, database: &str) -> Client {
        let mut config = tokio_postgres::Config::new();
        config.host("127.0.0.1").port(self.port).user(&self.user).password(&self.password).dbname(database);
        let (client, connection) = config.connect(NoTls).await.expect("a login");
        tokio::spawn(connection);
        client
    }

    /// Does some SQL, and tells the first column of what it finds.
    pub async fn run(&self, database: &str, sql: &str) -> Vec<String> {
        let messages = self
            .client(database)
            .await
            .simple_query(sql)
            .await
            .unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        let first = |message| match message {
            SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        };
        messages.into_iter().filter_map(first).collect()
    }

    /// The only value that a query finds.
    pub async fn value(&self, database: &str, sql: &str) -> String {
        self.run(database, sql).await.pop().unwrap_or_else(|| panic!("{sql} finds nothing"))
    }

    /// Where the server has its data.
    pub async fn data(&self) -> PathBuf {
        self.value("postgres", "SHOW data_directory").await.into()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let called = self.folder.call(&["down", "--run-id", "store"]);
        assert!(std::thread::panicking() || called.code == Some(0), "{}", called.transcript());
    }
}
