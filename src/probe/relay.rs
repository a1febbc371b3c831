//! Stands between a client library and a server that may be anybody's: what comes back is bounded in size,
//! and no password leaves in a way that was not allowed.
//!
//! The libraries make room for whatever length a server announces, and answer any kind of authentication;
//! they cannot be told not to. So each connection of a probe goes through a port of this machine for as long
//! as the attempt lasts. Where TLS begins, nothing is looked into any more, and the whole size still counts.

use std::net::Ipv4Addr;
use std::pin::pin;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::dial::{Connection, Way};
use super::key;
use super::refusal::{Kind, Refusal};
use crate::postgres::{Bounds, TLS_REQUEST};

/// What a server may send in one attempt, which asks it for a few lines. Bytes.
const ATTEMPT: usize = 4 << 20;
/// The same in a session that lasts, which asks for the definitions of many large databases.
const LASTING: usize = 256 << 20;
/// The longest of PostgreSQL's messages that it may announce. MySQL's library is told a limit of its own.
const MESSAGE: usize = 1 << 20;
/// The same for a connection to PostgreSQL, which is looked into also where TLS hides it from here.
pub(super) const BOUNDS: Bounds = Bounds { message: MESSAGE, answer: ATTEMPT };
/// How long one of MySQL's packets may be before the login is over: a greeting, a key, a refusal.
const LOGIN: usize = 16 << 10;
/// Login plugins over which MySQL's library panics: it was built without them.
const UNKNOWN: [&[u8]; 2] = [b"client_ed25519", b"parsec"];
/// How long a client's last words may take.
const GOODBYE: Duration = Duration::from_millis(250);
const BUFFER: usize = 16 << 10;

/// Whose bytes pass through, and what they may ask for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    pub protocol: Protocol,
    /// See [`Target`](super::Target).
    pub may_reveal: bool,
    /// How many bytes the password has: not every key can hold it.
    pub password: usize,
    /// Whether it is a session that lasts, and ends with the server's side of it.
    pub lasts: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    Mysql,
    Postgres,
}

/// Connects to the server, and runs the client at the port of this machine that leads there. What it makes of
/// the server counts, unless it is the server's bytes that ended it.
pub(super) async fn through<T>(
    way: &Way,
    rules: Rules,
    client: impl AsyncFnOnce(u16) -> Result<T, Refusal>,
) -> Result<T, Refusal> {
    let server = way.connect().await.map_err(|error| Refusal::network(&error))?;
    let own = |error: std::io::Error| {
        Refusal::plain(Kind::NotYet, format!("opening a port of this machine: {error}"))
    };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(own)?;
    let port = listener.local_addr().map_err(own)?.port();
    let mut first = Some(server);
    let mut connections = FuturesUnordered::new();
    let mut stopped = None;
    let mut client = pin!(client(port));
    let outcome = loop {
        tokio::select! {
            biased;
            outcome = &mut client => break outcome,
            // A stranger on this machine gets a connection of its own, and takes nobody's.
            accepted = listener.accept() => {
                let (client, _) = accepted.map_err(own)?;
                connections.push(serve(client, first.take(), way, rules));
            }
            Some(refusal) = connections.next() => stopped = refusal.or(stopped),
        }
    };
    // The client's goodbye is still on its way: servers count connections that just vanish against its host.
    let goodbye = async {
        while let Some(refusal) = connections.next().await {
            stopped = refusal.or(stopped.take());
        }
    };
    let _ = timeout(GOODBYE, goodbye).await;
    match stopped {
        Some(refusal) => Err(refusal),
        None => outcome,
    }
}

/// Serves whoever comes to a port of this machine, until the last of them has gone or has lost the server. What
/// the server has broken is returned.
pub(super) async fn keep(
    listener: &TcpListener,
    server: Box<dyn Connection>,
    way: &Way,
    rules: Rules,
) -> Option<Refusal> {
    let mut first = Some(server);
    let mut connections = FuturesUnordered::new();
    loop {
        tokio::select! {
            biased;
            accepted = listener.accept() => {
                let Ok((client, _)) = accepted else { return None };
                connections.push(serve(client, first.take(), way, rules));
            }
            Some(refusal) = connections.next() => {
                if refusal.is_some() || connections.is_empty() {
                    return refusal;
                }
            }
        }
    }
}

/// Serves one client, at the connection that is there or at one of its own.
async fn serve(
    client: TcpStream,
    server: Option<Box<dyn Connection>>,
    way: &Way,
    rules: Rules,
) -> Option<Refusal> {
    let server = match server {
        Some(server) => server,
        None => way.connect().await.ok()?,
    };
    pass(client, server, rules).await
}

/// Passes bytes both ways until one of them hangs up, or the server breaks a rule, which is returned.
async fn pass(client: TcpStream, server: Box<dyn Connection>, rules: Rules) -> Option<Refusal> {
    let _ = client.set_nodelay(true);
    let (from_client, to_client) = split(client);
    let (from_server, to_server) = split(server);
    let watch = Mutex::new(Watch::new(rules));
    let watch = || watch.lock().unwrap_or_else(PoisonError::into_inner);
    let up = copy(from_client, to_server, |bytes| {
        watch().client(bytes);
        Ok(())
    });
    let down = copy(from_server, to_client, |bytes| watch().server(bytes));
    let (mut up, mut down) = (pin!(up), pin!(down));
    tokio::select! {
        passed = &mut up => match passed {
            // The server's side knows why.
            Ok(End::Unheard) => down.await.err(),
            // A client that has hung up reads no more, and what it said last has been passed on.
            _ => None,
        },
        passed = &mut down => {
            if passed.is_ok() && !rules.lasts {
                // To close a connection on which something is unread would take back what was said before.
                let _ = up.await;
            }
            passed.err()
        }
    }
}

/// How one direction of a connection ends.
enum End {
    /// Whoever speaks has no more to say.
    Said,
    /// Whoever is spoken to has gone.
    Unheard,
}

/// Copies until the end or a broken rule, and passes the end on.
async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut look: impl FnMut(&[u8]) -> Result<(), Refusal>,
) -> Result<End, Refusal> {
    let mut buffer = vec![0; BUFFER];
    let mut is_silent = true;
    let ended = loop {
        match from.read(&mut buffer).await {
            Ok(0) => break Ok(End::Said),
            Ok(count) => {
                is_silent = false;
                look(&buffer[..count])?;
                if to.write_all(&buffer[..count]).await.is_err() {
                    break Ok(End::Unheard);
                }
            }
            // Why there is nobody; a server that has said why it hangs up may do that with a reset.
            Err(error) if is_silent => break Err(Refusal::network(&error)),
            Err(_) => break Ok(End::Said),
        }
    };
    let _ = to.shutdown().await;
    ended
}

struct Watch {
    rules: Rules,
    received: usize,
    /// The client's first bytes, which may ask for TLS.
    greeting: Vec<u8>,
    /// Whether the next byte of a PostgreSQL server says if it takes TLS.
    answers_tls: bool,
    /// Nothing can be told from the bytes any more.
    is_opaque: bool,
    /// The authentication is over.
    is_in: bool,
    /// The next packet of a MySQL server is its key.
    sends_key: bool,
    /// The beginning of the server's message.
    head: Vec<u8>,
    /// How much of that message is still to come.
    rest: usize,
}

impl Watch {
    fn new(rules: Rules) -> Self {
        let (greeting, head) = (Vec::new(), Vec::new());
        Self {
            rules,
            received: 0,
            greeting,
            answers_tls: false,
            is_opaque: false,
            is_in: false,
            sends_key: false,
            head,
            rest: 0,
        }
    }

    fn client(&mut self, bytes: &[u8]) {
        const LONGEST: usize = 8;
        if self.greeting.len() >= LONGEST {
            return;
        }
        self.greeting.extend(bytes.iter().take(LONGEST - self.greeting.len()));
        let Ok(greeting) = <[u8; LONGEST]>::try_from(&self.greeting[..]) else { return };
        match self.rules.protocol {
            // A short packet that has this capability and nothing else is the request for TLS.
            Protocol::Mysql => {
                self.is_opaque = greeting[..3] == [32, 0, 0]
                    && u32::from_le_bytes([greeting[4], greeting[5], greeting[6], greeting[7]]) & 0x800 != 0;
            }
            Protocol::Postgres => self.answers_tls = greeting == TLS_REQUEST,
        }
    }

    fn server(&mut self, mut bytes: &[u8]) -> Result<(), Refusal> {
        self.received += bytes.len();
        let (most, what) = match self.rules.lasts {
            false => (ATTEMPT, "in answer to a login"),
            true => (LASTING, "in one session"),
        };
        if self.received > most {
            return Err(Refusal::unfit(format!("the server sends more than {} MiB {what}", most >> 20)));
        }
        if self.answers_tls && !bytes.is_empty() {
            self.answers_tls = false;
            self.is_opaque = bytes[0] == b'S';
            bytes = &bytes[1..];
        }
        while !bytes.is_empty() && !self.is_opaque {
            if self.rest > 0 {
                let passed = self.rest.min(bytes.len());
                self.rest -= passed;
                bytes = &bytes[passed..];
                continue;
            }
            self.head.push(bytes[0]);
            bytes = &bytes[1..];
            let rest = match self.rules.protocol {
                Protocol::Mysql => self.mysql()?,
                Protocol::Postgres => self.postgres()?,
            };
            if let Some(rest) = rest {
                self.rest = rest;
                self.head.clear();
            }
        }
        Ok(())
    }

    /// How much is left of the packet whose beginning is known; `None` while that is too little to tell.
    /// Until the login is over that takes the whole packet, and what its last byte comes with is passed on
    /// only if all of it is fit.
    fn mysql(&mut self) -> Result<Option<usize>, Refusal> {
        let [a, b, c, sequence, payload @ ..] = &self.head[..] else { return Ok(None) };
        let length = u32::from_le_bytes([*a, *b, *c, 0]) as usize;
        if self.is_in {
            if payload.len() < length.min(1) {
                return Ok(None);
            }
            // An answer begins with the number of its columns, for which the client makes room at once. So
            // long a number is more than any table has.
            if *sequence == 1 && matches!((payload, length), ([0xfd, ..], 4..) | ([0xfe, ..], 9..)) {
                return Err(Refusal::unfit("the server announces more columns than there can be"));
            }
            return Ok(Some(length - payload.len()));
        }
        if length > LOGIN {
            return Err(Refusal::unfit(format!(
                "the server announces a packet of {length} bytes at the login"
            )));
        }
        if payload.len() < length {
            return Ok(None);
        }
        if std::mem::take(&mut self.sends_key) {
            return key::check(payload, self.rules.password).map(|()| Some(0));
        }
        match payload {
            // With this the server asks for the whole password: the client will ask it for its key.
            [1, 4] if !self.rules.may_reveal => {
                return Err(reveals("under a key that the server itself sends"));
            }
            [1, 4] => self.sends_key = true,
            [0, ..] => self.is_in = true,
            [0xfe, switch @ ..] => known_plugin(switch)?,
            _ => {}
        }
        Ok(Some(0))
    }

    fn postgres(&mut self) -> Result<Option<usize>, Refusal> {
        let [kind, a, b, c, d, payload @ ..] = &self.head[..] else { return Ok(None) };
        let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
        if !(4..=MESSAGE).contains(&length) {
            return Err(Refusal::unfit(format!("the server announces a message of {length} bytes")));
        }
        if *kind == b'R' && length >= 8 {
            match payload {
                [0, 0, 0, 3] if !self.rules.may_reveal => return Err(reveals("in clear text")),
                [_, _, _, _] => {}
                _ => return Ok(None),
            }
        }
        Ok(Some(length - 4 - payload.len()))
    }
}

/// What the server wants instead of the way of its greeting: the plugin's name, and a NUL behind it.
fn known_plugin(switch: &[u8]) -> Result<(), Refusal> {
    let name = switch.split(|byte| *byte == 0).next().unwrap_or_default();
    match UNKNOWN.contains(&name) {
        true => Err(Refusal::plain(
            Kind::Denied,
            format!("the server wants the login plugin {}, which testbed does not know", name.escape_ascii()),
        )),
        false => Ok(()),
    }
}

fn reveals(how: &str) -> Refusal {
    Refusal::plain(Kind::Reveals, format!("the server asks for the password {how}, without TLS"))
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use tokio::io::ReadBuf;

    use super::*;

    fn watched(protocol: Protocol, client: &[u8], server: &[u8]) -> Result<(), Refusal> {
        // However the bytes are cut.
        for size in [1, 3, usize::MAX] {
            let mut watch = Watch::new(Rules { protocol, may_reveal: false, password: 6, lasts: false });
            client.chunks(size.min(client.len().max(1))).for_each(|bytes| watch.client(bytes));
            for bytes in server.chunks(size.min(server.len().max(1))) {
                watch.server(bytes)?;
            }
        }
        Ok(())
    }

    /// A connection that is reset.
    struct Broken;

    impl AsyncRead for Broken {
        fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
        }
    }

    #[tokio::test]
    async fn a_reset_after_a_servers_words_takes_none_of_them_back() {
        let mut heard = Vec::new();
        assert!(copy((&b"too many"[..]).chain(Broken), &mut heard, |_| Ok(())).await.is_ok());
        assert_eq!(heard, b"too many");
        let silent = copy(Broken, &mut heard, |_| Ok(())).await;
        assert_eq!(silent.err().map(|refusal| refusal.kind), Some(Kind::Reset));
    }

    fn kind(outcome: Result<(), Refusal>) -> Option<Kind> {
        outcome.err().map(|refusal| refusal.kind)
    }

    #[test]
    fn a_password_in_clear_text_is_not_given() {
        let asks = [b'R', 0, 0, 0, 8, 0, 0, 0, 3];
        assert_eq!(kind(watched(Protocol::Postgres, &[0; 20], &asks)), Some(Kind::Reveals));
        // Behind something else.
        let notice = [&[b'N', 0, 0, 0, 6, 1, 1][..], &asks].concat();
        assert_eq!(kind(watched(Protocol::Postgres, &[0; 20], &notice)), Some(Kind::Reveals));
        let scram = [b'R', 0, 0, 0, 8, 0, 0, 0, 10];
        assert_eq!(kind(watched(Protocol::Postgres, &[0; 20], &scram)), None);
        // Within TLS nothing is looked at; where the server has none, everything is.
        assert_eq!(kind(watched(Protocol::Postgres, &TLS_REQUEST, &[&[b'S'][..], &asks].concat())), None);
        assert_eq!(
            kind(watched(Protocol::Postgres, &TLS_REQUEST, &[&[b'N'][..], &asks].concat())),
            Some(Kind::Reveals)
        );
    }

    #[test]
    fn a_key_from_the_server_is_not_taken() {
        let greeting = [3, 0, 0, 0, 10, 1, 1];
        let full = [2, 0, 0, 2, 1, 4];
        let login = [100, 0, 0, 1, 0, 0, 0, 0];
        assert_eq!(
            kind(watched(Protocol::Mysql, &login, &[&greeting[..], &full].concat())),
            Some(Kind::Reveals)
        );
        let tls = [32, 0, 0, 1, 0, 8, 0, 0];
        assert_eq!(kind(watched(Protocol::Mysql, &tls, &[&greeting[..], &full].concat())), None);
        // The server knows the password already; later rows may hold any bytes.
        let known = [2, 0, 0, 2, 1, 3];
        let ok = [3, 0, 0, 3, 0, 0, 0];
        assert_eq!(
            kind(watched(Protocol::Mysql, &login, &[&greeting[..], &known, &ok, &full].concat())),
            None
        );
        assert_eq!(
            kind(watched(
                Protocol::Mysql,
                &login,
                &[&greeting[..], &[0, 0, 0, 1], &[1, 0, 0, 2, 1], &full].concat()
            )),
            Some(Kind::Reveals)
        );
    }

    #[test]
    fn no_room_is_made_for_more_columns_than_there_can_be() {
        let (login, ok) = ([100, 0, 0, 1, 0, 0, 0, 0], [3, 0, 0, 2, 0, 0, 0]);
        let answer = |first: &[u8]| {
            kind(watched(Protocol::Mysql, &login, &[&ok[..], &[first.len() as u8, 0, 0, 1], first].concat()))
        };
        assert_eq!(answer(&[0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]), Some(Kind::Unfit));
        assert_eq!(answer(&[0xfd, 0xff, 0xff, 0xff]), Some(Kind::Unfit));
        assert_eq!(answer(&[0xfc, 0, 0x10]), None);
        assert_eq!(answer(&[0xfe, 0, 0, 2, 0]), None);
        assert_eq!(answer(&[2]), None);
        assert_eq!(answer(&[]), None);
    }

    #[test]
    fn a_login_that_the_library_cannot_do_is_refused_before_it_sees_it() {
        let allowed = |bytes: &[u8], size: usize| {
            let mut watch =
                Watch::new(Rules { protocol: Protocol::Mysql, may_reveal: true, password: 6, lasts: false });
            watch.client(&[100, 0, 0, 1, 0, 0, 0, 0]);
            bytes.chunks(size).try_for_each(|bytes| watch.server(bytes))
        };
        let packet = |body: &[u8]| [&[body.len() as u8, 0, 0, 0][..], body].concat();
        for size in [1, 5, 1000] {
            let key = |key: &[u8]| {
                allowed(&[packet(&[1, 4]), packet(key)].concat(), size).err().map(|refusal| refusal.message)
            };
            assert!(
                key(b"\x01-----BEGIN PUBLIC KEY-----")
                    .is_some_and(|message| message.contains("a key for the password that is none"))
            );
            assert!(key(b"").is_some());
            let plugin = |name: &[u8]| kind(allowed(&packet(&[b"\xfe", name, b"\0abc\0"].concat()), size));
            assert_eq!(
                (plugin(b"client_ed25519"), plugin(b"parsec")),
                (Some(Kind::Denied), Some(Kind::Denied))
            );
            assert_eq!((plugin(b"mysql_native_password"), plugin(b"")), (None, None));
            assert_eq!(kind(allowed(&[0, 0x41, 0, 0, 1], size)), Some(Kind::Unfit));
        }
    }

    #[test]
    fn what_a_server_sends_is_bounded() {
        assert_eq!(
            kind(watched(Protocol::Postgres, &[0; 20], &[b'D', 0x7f, 0xff, 0xff, 0xff])),
            Some(Kind::Unfit)
        );
        assert_eq!(kind(watched(Protocol::Postgres, &[0; 20], &[b'D', 0, 0, 0, 3])), Some(Kind::Unfit));
        let message = [&[b'D', 0, 1, 0, 4][..], &[7; 1 << 16]].concat();
        assert_eq!(kind(watched(Protocol::Postgres, &[0; 20], &message.repeat(40))), None);
        assert_eq!(kind(watched(Protocol::Postgres, &[0; 20], &message.repeat(70))), Some(Kind::Unfit));
    }
}
