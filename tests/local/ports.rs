//! Ports that a project has written down: had, or refused with who has them.

use std::net::{Ipv4Addr, TcpListener};

use crate::account::{as_nobody, home, is_root};
use crate::harness::Local;

/// A port that nobody has.
fn free() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

#[test]
fn a_server_listens_on_the_port_that_is_asked_for() {
    let local = Local::new();
    let (one, other) = (free(), free());
    local.file(
        "testbed.yaml",
        &format!("databases: {{orders: 'postgres@{one}', shop: {{use: mariadb, port: {other}}}}}\n"),
    );
    let run = local
        .call(&[
            "run",
            "--",
            "sh",
            "-c",
            "echo $ORDERS_PORT $SHOP_PORT; psql -XAtc 'SHOW port'; mariadb -Ne 'SELECT @@port'",
        ])
        .ok();
    assert_eq!(run.stdout, format!("{one} {other}\n{one}\n{other}\n"));
    let (_, databases) = local.up(&["--with", &format!("postgres@{one}=orders"), "--run-id", "r"]);
    assert_eq!(databases[0].port, one);
    // The run's own server is no other.
    local.up(&["--with", &format!("postgres@{one}=orders"), "--run-id", "r"]);
    let taken = local
        .call(&["run", "--with", "postgres=db", "--param", &format!("db.port={one}"), "--", "true"])
        .fails(2);
    taken
        .says(&format!("error: db: the port {one} of 127.0.0.1 is taken by postgres (process "))
        .says("hint: it is of the run r: testbed exec --run-id r -- COMMAND uses that, testbed down --run-id r removes it");
    // What was to join the run is refused, and the run stays.
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let joins = format!("mariadb@{}", listener.local_addr().unwrap().port());
    let orders = format!("postgres@{one}=orders");
    let up = local.call(&["up", "--with", &orders, "--with", &joins, "--run-id", "r"]).fails(2);
    up.says("error: mariadb: the port ").keeps("preparing");
    databases[0].assert_takes_logins();
    local.call(&["down"]).ok();
}

#[test]
fn a_port_that_is_taken_is_refused_before_anything_is_made() {
    let local = Local::new();
    let listeners = [
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap(),
        TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap(),
        TcpListener::bind("[::]:0").unwrap(),
    ];
    let own = std::fs::read_to_string("/proc/self/comm").unwrap();
    for listener in &listeners {
        let port = listener.local_addr().unwrap().port();
        let up = local
            .call(&["up", "--with", &format!("mariadb@{port}"), "--with", "postgres", "--run-id", "r"])
            .fails(2);
        let who = format!("{} (process {})", own.trim(), std::process::id());
        up.says(&format!("error: mariadb: the port {port} of 127.0.0.1 is taken by {who}\n"))
            .says("choose another port, or leave out the port for a free one")
            .keeps("preparing");
        local.assert_nothing_left();
    }
    let (taken, other) = (listeners[0].local_addr().unwrap().port(), free());
    let args = [
        "doctor",
        "--with",
        &format!("postgres@{taken}"),
        "--with",
        &format!("mariadb@{other}"),
        "-o",
        "json",
    ];
    let doctor = local.call(&args).ends(1).stdout;
    assert!(doctor.contains(&format!("port {taken} of 127.0.0.1 is taken by ")), "{doctor}");
    assert!(doctor.contains(&format!("port {other} of 127.0.0.1 is free for mariadb")), "{doctor}");
    if is_root() && as_nobody(&home(), &["--version"]).code == Some(0) {
        let port = listeners[0].local_addr().unwrap().port();
        as_nobody(&home(), &["up", "--with", &format!("postgres@{port}"), "--run-id", "r"])
            .fails(2)
            .says(&format!("the port {port} of 127.0.0.1 is taken by another user's process (user id 0)"));
        as_nobody(&home(), &["up", "--with", "postgres@80", "--run-id", "r"])
            .fails(2)
            .says(RESERVED)
            .says("hint: choose one from 1024 on");
    }
}

const RESERVED: &str =
    "error: postgres: the port 80 of 127.0.0.1 is reserved for root, and no server runs as root\n";

/// Root's servers run as somebody else, who may not have them either.
#[test]
fn a_port_that_only_root_may_have_is_refused_before_anything_is_made() {
    let first = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap();
    if first.trim().parse::<u16>().unwrap() <= 80 {
        eprintln!("skipped: everybody may have port 80 on this machine");
        return;
    }
    let local = Local::new();
    let args = ["--with", "mariadb", "--with", "postgres@80"];
    for command in [&["up", "--run-id", "r"][..], &["run"]] {
        let end: &[&str] = if command == ["run"] { &["--", "true"] } else { &[] };
        let called = local.call(&[command, &args, end].concat()).fails(2).keeps("preparing");
        called.says(RESERVED).says(&format!("hint: choose one from {} on", first.trim()));
    }
    let doctor = local.call(&[&["doctor"], &args[..]].concat()).ends(1).stdout;
    assert!(doctor.contains("port 80 of 127.0.0.1 is reserved for root"), "{doctor}");
    local.assert_nothing_left();
}

/// A PostgreSQL that finds its port taken: another process has come first between testbed's look and the
/// server's start.
#[test]
fn a_port_that_is_taken_in_between_is_the_same_error() {
    let local = Local::new();
    let port = free();
    let server = local.in_place_of_postgres(|program| {
        format!(
            "import os, socket, subprocess, sys
words = sys.argv[1:]
if '-p' in words:
    taken = socket.socket()
    taken.bind(('127.0.0.1', int(words[words.index('-p') + 1])))
    taken.listen()
    sys.exit(subprocess.call(['{program}'] + words))
os.execv('{program}', ['{program}'] + words)
"
        )
    });
    let up = local
        .call(&["up", "--with", &format!("postgres@{port}"), "--param", &server, "--run-id", "r2"])
        .fails(2);
    up.says(&format!("error: postgres: the port {port} of 127.0.0.1 is taken"));
    local.assert_nothing_left();
}
