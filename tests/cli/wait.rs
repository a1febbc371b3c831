//! `testbed wait` where there is no server, or none that answers.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::Folder;

#[test]
fn wrong_urls_are_refused_and_never_shown() {
    let folder = Folder::new();
    for (url, says) in [
        ("db:3306", "no engine has URLs that begin with db://"),
        ("mysql", "a URL is broken: relative URL without a base"),
        ("oracle://scott:secret@db", "no engine has URLs that begin with oracle://"),
        ("mysql://u:secret@db:port", "a URL is broken: invalid port number"),
        (
            "postgres://u:secret@db?sslmode=verify-full",
            "sslmode=verify-full: known are disable, prefer and require",
        ),
        (
            "postgres://u:secret@db?connect_timeout=3",
            "a URL has the parameter connect_timeout; known is sslmode",
        ),
        ("mysql://u%ff:secret@db", "a URL has %-escapes that are no UTF-8"),
    ] {
        folder.call(&["wait", url]).fails(2).says(says).keeps("secret");
    }
    folder
        .call(&["wait", "mysql://db", "--settle", "long"])
        .fails(2)
        .says("write a duration such as 10s, or never");
    folder
        .call(&["wait", "mysql://db", "--password-file", "absent"])
        .fails(2)
        .says("reading --password-file absent");
    folder.call(&["wait"]).fails(2).says("<URL>...");
}

#[test]
fn a_port_where_nothing_listens() {
    let folder = Folder::new();
    // Taken and given back: nobody else is likely to listen there.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    folder
        .call(&["wait", &format!("mysql://u:secret@127.0.0.1:{port}"), &format!("postgres://127.0.0.1:{port}"), "--timeout", "300ms"])
        .fails(3)
        .says("error: not ready within 300ms: mysql: initialising (connection refused); postgres: initialising (connection refused)")
        .keeps("secret");
}

/// Each attempt ends by itself, and the next one begins only then.
#[test]
fn a_port_where_nobody_answers() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (open, most, all) =
        (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let counts = (Arc::clone(&open), Arc::clone(&most), Arc::clone(&all));
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (open, most, all) = (Arc::clone(&open), Arc::clone(&most), Arc::clone(&all));
            most.fetch_max(open.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            all.fetch_add(1, Ordering::SeqCst);
            std::thread::spawn(move || {
                let mut stream = stream.unwrap();
                // Until the other side hangs up; what it says is not answered.
                std::io::copy(&mut stream, &mut std::io::sink()).ok();
                open.fetch_sub(1, Ordering::SeqCst);
            });
        }
    });
    let folder = Folder::new();
    folder
        .call(&["wait", &format!("postgres://127.0.0.1:{port}"), "--timeout", "7s"])
        .fails(3)
        .says("postgres: initialising (connected, and no answer within 3 s)");
    let (_, most, all) = counts;
    assert_eq!((most.load(Ordering::SeqCst), all.load(Ordering::SeqCst)), (1, 3));
}
