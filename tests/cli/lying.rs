//! `testbed wait` at servers that answer with what nobody asked for: each ends in one error, in time, and in
//! little memory.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, prlimit};

use crate::support::{Called, Folder, binary};

/// What the program may have for its data, in bytes. Twice of what it needs would be far less.
const MEMORY: u64 = 64 << 20;
const TIMEOUT: &str = "2s";
/// From the start to the end of a call with that timeout, on a busy machine.
const LIMIT: Duration = Duration::from_secs(5);

/// Serves everybody who connects, each in a thread; ends with the test's process.
fn serve(
    conversation: impl Fn(&mut TcpStream) -> std::io::Result<()> + Send + Sync + Clone + 'static,
) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let conversation = conversation.clone();
            std::thread::spawn(move || conversation(&mut stream.unwrap()));
        }
    });
    port
}

/// Waits for the server, which can never be ready.
fn wait(name: &str, url: &str) -> Called {
    let folder = Folder::new();
    let begin = Instant::now();
    let started = folder.start(&["wait", url, "--timeout", TIMEOUT, "--settle", "500ms"]);
    let limit = Rlimit { current: Some(MEMORY), maximum: Some(MEMORY) };
    prlimit(Some(Pid::from_child(&started.child)), Resource::Data, limit).unwrap();
    let called = started.wait().keeps("sesame");
    assert!(begin.elapsed() < LIMIT, "{name}: {:?}\n{}", begin.elapsed(), called.transcript());
    let code = called.code;
    assert!(matches!(code, Some(3 | 4)), "{name}: {}", called.transcript());
    called.fails(code.unwrap())
}

/// Of all of these at the same time.
fn all(scheme: &str, servers: Vec<(&'static str, u16)>) {
    std::thread::scope(|scope| {
        let waits: Vec<_> = servers
            .into_iter()
            .map(|(name, port)| {
                scope.spawn(move || wait(name, &format!("{scheme}://app:sesame@127.0.0.1:{port}/shop")))
            })
            .collect();
        for wait in waits {
            wait.join().unwrap();
        }
    });
}

mod postgres {
    use super::*;
    use crate::liars::postgres::message;

    const READY: [u8; 6] = [b'Z', 0, 0, 0, 5, b'I'];
    const FLOAT: u32 = 701;
    const TEXT: u32 = 25;

    fn columns(types: &[u32]) -> Vec<u8> {
        let each = types
            .iter()
            .flat_map(|kind| [b"c\0\0\0\0\0\0\0", &kind.to_be_bytes()[..], b"\0\x08\0\0\0\0\0\0"].concat());
        message(b'T', &[&(types.len() as u16).to_be_bytes()[..], &each.collect::<Vec<u8>>()].concat())
    }

    fn row(values: &[Option<&[u8]>]) -> Vec<u8> {
        let each = values.iter().flat_map(|value| match value {
            Some(value) => [&(value.len() as u32).to_be_bytes()[..], value].concat(),
            None => (-1_i32).to_be_bytes().to_vec(),
        });
        message(b'D', &[&(values.len() as u16).to_be_bytes()[..], &each.collect::<Vec<u8>>()].concat())
    }

    /// The server that lets everybody in, and answers every query with these columns and these rows.
    fn answering(columns: Vec<u8>, rows: Vec<u8>) -> u16 {
        saying(
            [message(b'R', &[0; 4]), READY.to_vec()].concat(),
            columns,
            [rows, message(b'C', b"SELECT 1\0")].concat(),
        )
    }

    fn saying(login: Vec<u8>, columns: Vec<u8>, rows: Vec<u8>) -> u16 {
        let prepared = [message(b'1', &[]), message(b't', &[0, 0]), columns, READY.to_vec()].concat();
        let executed = [message(b'2', &[]), rows, READY.to_vec()].concat();
        serve(move |stream| {
            let mut buffer = [0; 4096];
            let _ = stream.read(&mut buffer)?;
            stream.write_all(&login)?;
            for answer in [&prepared, &executed].into_iter().cycle() {
                if stream.read(&mut buffer)? == 0 {
                    break;
                }
                stream.write_all(answer)?;
            }
            Ok(())
        })
    }

    /// Says the same for ever, after these words.
    fn endless(first: Vec<u8>, again: Vec<u8>) -> u16 {
        serve(move |stream| {
            let mut buffer = [0; 4096];
            let _ = stream.read(&mut buffer)?;
            stream.write_all(&first)?;
            loop {
                stream.write_all(&again)?;
            }
        })
    }

    #[test]
    fn answers_that_nobody_asked_for() {
        let two = || columns(&[FLOAT, 16]);
        let seconds = 5_f64.to_be_bytes();
        let welcome = [message(b'R', &[0; 4]), READY.to_vec()].concat();
        all(
            "postgres",
            vec![
                ("a text for a number", answering(columns(&[TEXT, TEXT]), row(&[Some(b"x"), Some(b"y")]))),
                ("a column too few", answering(columns(&[FLOAT]), row(&[Some(&seconds)]))),
                ("no columns", answering(columns(&[]), row(&[]))),
                ("no row", answering(two(), Vec::new())),
                ("two rows", answering(two(), row(&[Some(&seconds), Some(b"\0")]).repeat(2))),
                ("nothing known", answering(two(), row(&[None, None]))),
                ("a number that is cut off", answering(two(), row(&[Some(b"\0\0\0"), Some(b"\0")]))),
                (
                    "values without columns",
                    answering(columns(&[FLOAT]), row(&[Some(&seconds), Some(b"\0"), None])),
                ),
                (
                    "a length of two gibibytes",
                    answering(message(b'T', &[]), vec![b'D', 0x7f, 0xff, 0xff, 0xff, 0, 2]),
                ),
                (
                    "a length of two gibibytes at the login",
                    saying(vec![b'R', 0x7f, 0xff, 0xff, 0xff], Vec::new(), Vec::new()),
                ),
                ("a length of nothing", saying(vec![b'R', 0, 0, 0, 0], Vec::new(), Vec::new())),
                (
                    "an authentication that nobody knows",
                    saying(message(b'R', &[0, 0, 0, 99]), Vec::new(), Vec::new()),
                ),
                ("endless notices", endless(Vec::new(), message(b'N', b"SNOTICE\0C00000\0Mmore\0\0"))),
                (
                    "endless parameters",
                    endless(message(b'R', &[0; 4]), message(b'S', b"server_version\x0017\0")),
                ),
                (
                    "endless rows",
                    endless(
                        [&welcome[..], &message(b'1', &[])].concat(),
                        row(&[Some(&seconds), Some(b"\0")]),
                    ),
                ),
                (
                    "an error that is no text",
                    saying(message(b'E', b"S\xff\xfe\0C28P01\0M\xff\xff\0\0"), Vec::new(), Vec::new()),
                ),
                ("an error that is cut off", saying(message(b'E', b"SFATAL"), Vec::new(), Vec::new())),
                ("bytes of another kind", endless(Vec::new(), b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec())),
            ],
        );
    }
}

mod mysql {
    use super::*;
    use crate::liars::mysql::{self, END, OK, column, packet};

    /// Packets with the numbers from this one on, which begin anew after 256 of them.
    fn packets(from: u8, bodies: &[&[u8]]) -> Vec<u8> {
        bodies
            .iter()
            .zip((0..=255).cycle().skip(from.into()))
            .flat_map(|(body, number)| packet(number, body))
            .collect()
    }

    fn greeting() -> Vec<u8> {
        packet(0, &mysql::greeting("11.8.9-MariaDB"))
    }

    /// The server that lets everybody in, and says this to every query.
    fn answering(answer: Vec<u8>) -> u16 {
        saying(packets(2, &[&OK]), answer)
    }

    fn saying(login: Vec<u8>, answer: Vec<u8>) -> u16 {
        serve(move |stream| {
            let mut buffer = [0; 4096];
            stream.write_all(&greeting())?;
            let _ = stream.read(&mut buffer)?;
            stream.write_all(&login)?;
            while stream.read(&mut buffer)? > 0 {
                stream.write_all(&answer)?;
            }
            Ok(())
        })
    }

    /// Says one thing after the other, each to the client's next words.
    fn in_turn(turns: Vec<Vec<u8>>) -> u16 {
        serve(move |stream| {
            let mut buffer = [0; 4096];
            for words in &turns {
                stream.write_all(words)?;
                let _ = stream.read(&mut buffer)?;
            }
            Ok(())
        })
    }

    /// Asks for the password under this key.
    fn with_key(key: &[u8]) -> u16 {
        let switch = packets(2, &[b"\xfecaching_sha2_password\0abcdefghijklmnopqrst\0"]);
        in_turn(vec![greeting(), switch, packets(4, &[&[1, 4]]), packets(6, &[key])])
    }

    /// The numbers of packets begin anew after 256 of them.
    fn endless_rows() -> u16 {
        let (head, rows) = (
            packets(1, &[&[2], &column(253), &column(253), &END]),
            packets(5, &[&b"\x06Uptime\x0242"[..]; 256]),
        );
        serve(move |stream| {
            let mut buffer = [0; 4096];
            stream.write_all(&greeting())?;
            let _ = stream.read(&mut buffer)?;
            stream.write_all(&packets(2, &[&OK]))?;
            let _ = stream.read(&mut buffer)?;
            stream.write_all(&head)?;
            loop {
                stream.write_all(&rows)?;
            }
        })
    }

    fn table(columns: &[u8], rows: &[&[u8]]) -> Vec<u8> {
        let columns: Vec<Vec<u8>> = columns.iter().map(|kind| column(*kind)).collect();
        let count = [columns.len() as u8];
        let mut bodies: Vec<&[u8]> = vec![&count];
        bodies.extend(columns.iter().map(Vec::as_slice));
        bodies.push(&END);
        bodies.extend(rows);
        bodies.push(&END);
        packets(1, &bodies)
    }

    #[test]
    fn answers_that_nobody_asked_for() {
        const TEXT: u8 = 253;
        let error = |text: &[u8]| [&[0xff, 0x15, 0x04][..], b"#28000", text].concat();
        let many = [0xfc, 0xff, 0xff];
        let wide: Vec<Vec<u8>> = (0..2000).map(|_| [column(TEXT), vec![0; 4000]].concat()).collect();
        let wide: Vec<&[u8]> = std::iter::once(&many[..]).chain(wide.iter().map(Vec::as_slice)).collect();
        all(
            "mysql",
            vec![
                ("a word for a number", answering(table(&[TEXT, TEXT], &[b"\x06Uptime\x03abc"]))),
                ("a column too few", answering(table(&[TEXT], &[b"\x06Uptime"]))),
                ("nothing known", answering(table(&[TEXT, TEXT], &[&[0xfb, 0xfb]]))),
                ("no row", answering(table(&[TEXT, TEXT], &[]))),
                ("no columns", answering(packets(1, &[&OK]))),
                (
                    "a value that is no text",
                    answering(table(&[TEXT, TEXT], &[b"\x06Uptime\x03\xff\xfe\xfd"])),
                ),
                (
                    "a value that is cut off",
                    answering(table(&[TEXT, TEXT], &[b"\x06Uptime\xfe\xff\xff\xff\xff\xff\xff\xff\x7f"])),
                ),
                ("a date for a number", answering(table(&[TEXT, 12], &[b"\x06Uptime\x0a2026-99-99"]))),
                ("more columns than fit", answering(packets(1, &wide))),
                ("endless rows", endless_rows()),
                ("a file of the client's", answering(packets(1, &[b"\xfb/etc/passwd"]))),
                ("an error that is no text", answering(packets(1, &[&error(b"\xff\xfe")]))),
                ("a refusal that is no text", saying(packets(2, &[&error(b"\xff\xfe")]), Vec::new())),
                ("a packet with another number", answering(packets(77, &[&OK]))),
                ("an empty packet", answering(packets(1, &[b""]))),
                (
                    "a packet of sixteen mebibytes",
                    answering([&[0xff, 0xff, 0xff, 1][..], &vec![1; 1 << 22]].concat()),
                ),
                (
                    "a plugin that nobody knows",
                    saying(packets(2, &[b"\xfeno_such_plugin\0abc\0"]), Vec::new()),
                ),
                (
                    "a plugin that the library was built without",
                    saying(packets(2, &[b"\xfeclient_ed25519\0abc\0"]), Vec::new()),
                ),
                ("a key that is none", with_key(b"\x01-----BEGIN PUBLIC KEY-----\n")),
                ("no key at all", with_key(b"")),
                (
                    "a key of nothing",
                    with_key(b"\x01-----BEGIN RSA PUBLIC KEY-----MAA=-----END RSA PUBLIC KEY-----"),
                ),
                (
                    "the password in clear text",
                    saying(packets(2, &[b"\xfemysql_clear_password\0"]), Vec::new()),
                ),
                (
                    "bytes of another kind",
                    serve(|stream| {
                        loop {
                            stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")?;
                        }
                    }),
                ),
            ],
        );
    }
}

/// A server on another machine, for which an address of a network of its own stands: what it gets of the
/// password.
#[test]
fn a_password_is_not_given_to_another_machine_that_asks_for_it_in_clear_text() {
    let network = |arguments: &str| {
        let script = format!(
            "ip link set lo up && ip address add 192.0.2.7/32 dev lo && exec python3 {}/tests/support/clear_text.py {arguments}",
            env!("CARGO_MANIFEST_DIR")
        );
        Command::new("unshare")
            .args(["--net", "bash", "-c", &script])
            .env("TESTBED", binary())
            .stdin(Stdio::null())
            .output()
            .unwrap()
    };
    if !Command::new("unshare").args(["--net", "true"]).status().is_ok_and(|status| status.success()) {
        eprintln!("skipped: no network namespace can be made here");
        return;
    }
    for (scheme, asks) in
        [("postgres", "in clear text"), ("mysql", "under a key that the server itself sends")]
    {
        let kept = Called::new(&[scheme], network(scheme));
        let says = format!("the server asks for the password {asks}, without TLS");
        kept.says(&says).says("--insecure").says("the server got 0 bytes of an answer").ok();
        for allowed in ["--insecure", "?sslmode=disable"] {
            let told = Called::new(&[scheme, allowed], network(&format!("{scheme} {allowed}")));
            assert!(!told.stderr.contains("the server got 0 bytes"), "{}", told.transcript());
        }
    }
}
