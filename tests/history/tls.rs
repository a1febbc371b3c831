//! TLS as libpq means its words: whether it is used, and whose certificates are taken.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use testbed::failure::hints_of;
use testbed::history::place::Place;
use testbed::history::store::Store;

use crate::harness::block_on;
use crate::server::Server;

fn openssl(folder: &Path, args: &str) {
    let mut command = Command::new("openssl");
    command.args(args.split_whitespace()).current_dir(folder).stdin(Stdio::null());
    let output = command.output().expect("openssl");
    assert!(output.status.success(), "openssl {args}: {}", String::from_utf8_lossy(&output.stderr));
}

/// An authority, and a server's key and certificate for `localhost` that it has signed.
fn certificates(folder: &Path) {
    for name in ["authority", "stranger"] {
        openssl(
            folder,
            &format!(
                "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN={name} -keyout {name}.key -out {name}.pem"
            ),
        );
    }
    std::fs::write(folder.join("names"), "subjectAltName = DNS:localhost\n").unwrap();
    openssl(folder, "req -newkey rsa:2048 -nodes -subj /CN=server -keyout server.key -out server.csr");
    openssl(
        folder,
        "x509 -req -days 2 -in server.csr -CA authority.pem -CAkey authority.key -CAcreateserial -extfile names -out server.pem",
    );
}

/// Puts a file among the server's own, readable by itself alone.
async fn upload(server: &Server, file: PathBuf, name: &str) {
    let text = std::fs::read_to_string(file).unwrap();
    let lines: Vec<String> = text.lines().map(|line| format!("('{line}')")).collect();
    server
        .run("postgres", &format!("COPY (VALUES {}) TO PROGRAM 'umask 077; cat > {name}'", lines.join(", ")))
        .await;
}

async fn with_tls(folder: &Path) -> Server {
    let server = Server::up();
    certificates(folder);
    upload(&server, folder.join("server.key"), "server.key").await;
    upload(&server, folder.join("server.pem"), "server.crt").await;
    server.run("postgres", "ALTER SYSTEM SET ssl = on").await;
    server.run("postgres", "SELECT pg_reload_conf()").await;
    let deadline = Instant::now() + Duration::from_secs(30);
    while server.value("postgres", "SHOW ssl").await != "on" {
        assert!(Instant::now() < deadline, "the server does not begin to speak TLS");
    }
    server
}

/// Whether a store that is opened so speaks TLS.
async fn is_encrypted(server: &Server, place: &Place) -> bool {
    let store = Store::open(place).await.unwrap_or_else(|error| panic!("{place}: {error:#}"));
    let sql = "SELECT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name = 'testbed' AND datname = 'history'";
    let found = server.run("postgres", sql).await;
    drop(store);
    // The connection is gone when the server says so.
    while !server.run("postgres", sql).await.is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(found.len(), 1, "{found:?}");
    found[0] == "t"
}

async fn refusal(place: &Place) -> String {
    let error = Store::open(place).await.expect_err("a refusal");
    assert!(hints_of(&error)[0].contains("sslrootcert"), "{error:#}");
    format!("{error:#}")
}

#[test]
fn whose_certificates_are_taken() {
    block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let server = with_tls(folder.path()).await;
        server.database("history").await;
        let file = |name: &str| folder.path().join(name).display().to_string();
        let by_address = |options: &str| server.place("history", options);
        let by_name = |options: &str| {
            Place::parse(&spelled(&by_address(options)).replace("127.0.0.1", "localhost")).unwrap().unwrap()
        };
        assert!(!is_encrypted(&server, &by_address("?sslmode=disable")).await);
        assert!(is_encrypted(&server, &by_address("")).await);
        assert!(is_encrypted(&server, &by_address("?sslmode=require")).await);
        let (ours, strangers) = (file("authority.pem"), file("stranger.pem"));
        assert!(is_encrypted(&server, &by_address(&format!("?sslmode=verify-ca&sslrootcert={ours}"))).await);
        assert!(is_encrypted(&server, &by_name(&format!("?sslmode=verify-full&sslrootcert={ours}"))).await);
        // A server's own certificate is an authority for itself.
        assert!(
            is_encrypted(
                &server,
                &by_name(&format!("?sslmode=verify-full&sslrootcert={}", file("server.pem")))
            )
            .await
        );

        let wrong_name = refusal(&by_address(&format!("?sslmode=verify-full&sslrootcert={ours}"))).await;
        assert!(wrong_name.contains("not valid for name"), "{wrong_name}");
        let wrong_name =
            refusal(&by_address(&format!("?sslmode=verify-full&sslrootcert={}", file("server.pem")))).await;
        assert!(wrong_name.contains("not valid for name"), "{wrong_name}");
        for options in [
            format!("?sslmode=verify-ca&sslrootcert={strangers}"),
            format!("?sslmode=require&sslrootcert={strangers}"),
        ] {
            let stranger = refusal(&by_name(&options)).await;
            assert!(stranger.contains("no TLS connection to postgres://"), "{stranger}");
        }
        let system = refusal(&by_name("?sslmode=verify-full")).await;
        assert!(system.contains("UnknownIssuer"), "{system}");
    });
}

fn spelled(place: &Place) -> String {
    match place {
        Place::Postgres(url) => url.to_string(),
        Place::Sqlite(_) => unreachable!("a server"),
    }
}
