//! Stores that are damaged, of somebody else, of another time or not there: said at once, with what to do,
//! and never with a password.

use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use testbed::failure::hints_of;
use testbed::history::place::Place;
use testbed::history::query::Filter;
use testbed::history::store::Store;

use crate::harness::{Fresh, Kind, block_on, on_each};
use crate::samples::full;
use crate::server::Server;

/// The error of opening a place, with its hints.
async fn refusal(place: &Place) -> String {
    let error = Store::open(place).await.expect_err("a refusal");
    let read = Store::open_to_read(place).await.expect_err("a refusal");
    assert_eq!(format!("{error:#}"), format!("{read:#}"));
    format!("{error:#}\n{}", hints_of(&error).join("\n"))
}

fn assert_says(text: &str, parts: &[&str]) {
    assert!(parts.iter().all(|part| text.contains(part)), "{parts:?} in {text}");
}

#[test]
fn a_store_of_a_newer_version_is_left_alone() {
    on_each(async |fresh| {
        fresh.store().await.put(full("run-1"), vec![]).await.unwrap();
        match &fresh.kind {
            Kind::Sqlite(_) => drop(fresh.sql("PRAGMA user_version = 7").await),
            Kind::Postgres(_) => drop(fresh.sql("INSERT INTO testbed.version VALUES (7)").await),
        }
        let said = refusal(&fresh.place).await;
        assert_says(&said, &["of version 7", "knows none after 1", "a newer testbed"]);
        assert_eq!(fresh.sql("SELECT count(*) FROM testbed.runs").await.len(), 1);
    });
}

#[test]
fn tables_that_are_in_the_way_leave_nothing_half_made() {
    on_each(async |fresh| {
        if let Some(file) = fresh.file() {
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            fresh.sql("CREATE TABLE orders (id text)").await;
            assert_says(
                &refusal(&fresh.place).await,
                &["history.db is a database of another program", "--history sqlite:PATH"],
            );
        } else {
            // The last of our tables: the others are made before it.
            fresh.sql("CREATE SCHEMA testbed; CREATE TABLE testbed.logs (id text)").await;
            let error = format!("{:#}", Store::open(&fresh.place).await.unwrap_err());
            assert_says(&error, &["127.0.0.1", "relation \"logs\" already exists"]);
        }
        let tables = match &fresh.kind {
            Kind::Sqlite(_) => fresh.sql("SELECT name FROM sqlite_schema").await,
            Kind::Postgres(_) => {
                fresh.sql("SELECT tablename FROM pg_tables WHERE schemaname = 'testbed'").await
            }
        };
        assert_eq!(tables.len(), 1, "{tables:?}");
    });
}

#[test]
fn a_file_that_is_none_or_damaged() {
    block_on(async {
        let fresh = Fresh::sqlite();
        let file = fresh.file().unwrap();
        drop(fresh.store().await);
        std::fs::write(&file, "no database at all, ".repeat(500)).unwrap();
        assert_says(
            &refusal(&fresh.place).await,
            &[&format!("{} is no SQLite database", file.display()), "move this one away"],
        );

        let fresh = Fresh::sqlite();
        let file = fresh.file().unwrap();
        let store = fresh.store().await;
        for number in 0..50 {
            store.put(full(&format!("run-{number}")), vec![]).await.unwrap();
        }
        drop(store);
        let mut bytes = std::fs::read(&file).unwrap();
        // The first page says what it is; the others are garbage.
        bytes[4096..].fill(0x5a);
        std::fs::write(&file, bytes).unwrap();
        let store = fresh.store().await;
        let error = store.list(&Filter::default(), None, 10).await.unwrap_err();
        assert_says(
            &format!("{error:#}\n{}", hints_of(&error).join("\n")),
            &["history.db is damaged", "move it away"],
        );
        let error = store.put(full("run-1"), vec![]).await.unwrap_err();
        assert_says(&format!("{error:#}"), &["history.db is damaged"]);
    });
}

#[test]
fn a_file_and_its_folder_are_the_users_own() {
    block_on(async {
        let fresh = Fresh::sqlite();
        let file = fresh.file().unwrap();
        let store = fresh.store().await;
        store.put(full("run-1"), vec![]).await.unwrap();
        let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(file.parent().unwrap()), 0o700);
        for entry in std::fs::read_dir(file.parent().unwrap()).unwrap() {
            assert_eq!(mode(&entry.unwrap().path()), 0o600);
        }
        // A file where a folder should be.
        let below = Place::Sqlite(file.join("deeper/history.db"));
        let error = Store::open(&below).await.unwrap_err();
        assert_says(
            &format!("{error:#}\n{}", hints_of(&error).join("\n")),
            &["making ", "deeper", "--history sqlite:PATH"],
        );
    });
}

#[test]
fn servers_that_refuse_or_do_not_answer() {
    block_on(async {
        let server = Server::up();
        let began = Instant::now();
        let hush = "hush-4711";
        let wrong = refusal(&server.place_as(&server.user, hush, "postgres", "")).await;
        assert_says(&wrong, &["password authentication failed", "PGPASSWORD"]);
        let missing = refusal(&server.place("nobody", "")).await;
        assert_says(&missing, &["database \"nobody\" does not exist", "createdb"]);
        let plain = refusal(&server.place("postgres", "?sslmode=require")).await;
        assert_says(&plain, &["no TLS connection to postgres://", "does not support TLS", "sslmode"]);
        server
            .run(
                "postgres",
                &format!(
                    "CREATE ROLE poor LOGIN PASSWORD '{hush}'; REVOKE CREATE ON DATABASE postgres FROM PUBLIC"
                ),
            )
            .await;
        let poor = server.place_as("poor", hush, "postgres", "");
        let error = Store::open(&poor).await.unwrap_err();
        assert_says(
            &format!("{error:#}\n{}", hints_of(&error).join("\n")),
            &["permission denied for database postgres", "CREATE SCHEMA testbed AUTHORIZATION"],
        );
        // What the hint says helps.
        server.run("postgres", "CREATE SCHEMA testbed AUTHORIZATION poor").await;
        Store::open(&poor).await.unwrap().put(full("run-1"), vec![]).await.unwrap();

        // A port that nobody listens on, one where nobody answers, and a name that is none.
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let place = |address: std::net::SocketAddr| {
            Place::parse(&format!("postgres://u:{hush}@{address}/d?connect_timeout=1")).unwrap().unwrap()
        };
        assert_says(
            &refusal(&place(closed)).await,
            &["no connection to postgres://u@127.0.0.1", "Connection refused"],
        );
        assert_says(&refusal(&place(silent.local_addr().unwrap())).await, &["has not answered for 1s"]);
        let nowhere = Place::parse(&format!("postgres://u:{hush}@no-such-host.invalid/d")).unwrap().unwrap();
        let nowhere = refusal(&nowhere).await;
        assert_says(&nowhere, &["no connection to postgres://u@no-such-host.invalid/d"]);
        assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
        for said in [&wrong, &missing, &plain, &nowhere] {
            assert!(!said.contains(hush) && !said.contains(&server.password), "{said}");
        }
    });
}

/// Changes a table of SQLite's as its own schema would forbid, and asks for all that is kept.
fn what_a_file_answers(sql: &str) -> String {
    block_on(async {
        let fresh = Fresh::sqlite();
        fresh
            .store()
            .await
            .put(full("run-1"), vec![crate::samples::log("postgres", "", false, "x")])
            .await
            .unwrap();
        for statement in sql.split("; ") {
            fresh.sql(statement).await;
        }
        all(&fresh.place).await
    })
}

/// The errors of every way to read a store.
async fn all(place: &Place) -> String {
    let store = match Store::open_to_read(place).await {
        Ok(store) => store.unwrap(),
        Err(error) => return format!("{error:#}"),
    };
    let listed = store.list(&Filter::default(), None, 10).await;
    let id = listed.as_ref().ok().and_then(|runs| runs.first()).map(|run| run.id.clone()).unwrap_or_default();
    let errors = [
        listed.err(),
        store.whole(&Filter::default(), 10).await.err(),
        store.find("run-1").await.err(),
        store.beginning("run").await.err(),
        store.logs(&id).await.err(),
    ];
    errors.iter().flatten().map(|error| format!("{error:#}\n")).collect()
}

#[test]
fn values_of_other_types_are_named_with_their_record_and_column() {
    for (sql, parts) in [
        (
            "UPDATE runs SET began = 'noon'",
            &["reading record ", "the column began holds a text and no number"][..],
        ),
        ("UPDATE runs SET began = 1.5", &["the column began holds a fraction and no number"]),
        ("UPDATE runs SET name = x'ff'", &["the column name holds bytes and no text"]),
        (
            "UPDATE runs SET name = CAST(x'ff' AS text)",
            &["the column name holds bytes that are no text and no text"],
        ),
        (
            "UPDATE runs SET engines = 'x'",
            &["reading record ", "has engines that this version of testbed does not know"],
        ),
        (
            "UPDATE stories SET story = x'00'",
            &["reading record ", "the column story holds bytes and no text"],
        ),
        (
            "UPDATE stories SET details = 'x'",
            &["reading the objects of record ", "the column details holds a text and no bytes"],
        ),
        (
            "UPDATE logs SET gzip = 'x'",
            &["reading the stored log of postgres", "the column gzip holds a text and no bytes"],
        ),
        ("UPDATE logs SET gzip = zeroblob(100000000)", &["history.db holds a value of more than 64 MiB"]),
        ("PRAGMA user_version = -7", &["the file says that its version is -7"]),
        (
            "ALTER TABLE runs RENAME TO old; CREATE VIEW runs AS SELECT * FROM old",
            &["access to view \"runs\" prohibited"],
        ),
        ("ALTER TABLE logs DROP COLUMN info", &["no such column: info"]),
    ] {
        assert_says(&what_a_file_answers(sql), parts);
    }
}

#[test]
fn triggers_of_a_file_do_not_run() {
    block_on(async {
        let fresh = Fresh::sqlite();
        fresh.store().await.put(full("run-1"), vec![]).await.unwrap();
        fresh.sql("CREATE TRIGGER t AFTER UPDATE ON runs BEGIN DELETE FROM runs; END").await;
        let store = fresh.store().await;
        let record = store.find("run-1").await.unwrap().remove(0);
        store.put(record, vec![]).await.unwrap();
        assert_eq!(store.find("run-1").await.unwrap().len(), 1);
    });
}

#[test]
fn a_server_whose_tables_are_others_is_told_of() {
    for (sql, part) in [
        ("ALTER TABLE testbed.runs ALTER began TYPE text", "the column began holds a text and no number"),
        (
            "ALTER TABLE testbed.runs ALTER ready TYPE int USING 5",
            "the column ready holds a value of the type int4 and no number",
        ),
        (
            "ALTER TABLE testbed.stories ALTER story TYPE bytea USING 'x'",
            "the column story holds bytes and no text",
        ),
        ("ALTER TABLE testbed.version ALTER version TYPE text", "is of another type"),
        (
            "DROP TABLE testbed.logs; CREATE VIEW testbed.logs AS SELECT ''::text AS id, ''::text AS source, ''::text AS container, \
                 0::bigint AS previous, repeat('x', 1000000) AS info, ''::bytea AS gzip FROM generate_series(1, 100000)",
            "an answer has more than 128 MiB",
        ),
    ] {
        let fresh = Fresh::postgres();
        block_on(async {
            fresh.store().await.put(full("run-1"), vec![]).await.unwrap();
            fresh.sql(sql).await;
            // The view has every id.
            let began = Instant::now();
            let said = match Store::open_to_read(&fresh.place).await {
                Ok(store) if sql.contains("VIEW") => {
                    format!("{:#}", store.unwrap().logs("").await.unwrap_err())
                }
                _ => all(&fresh.place).await,
            };
            assert_says(&said, &[part]);
            assert!(began.elapsed() < Duration::from_secs(30), "{part}: {:?}", began.elapsed());
        });
    }
}
