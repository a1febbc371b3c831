//! The way to a PostgreSQL server, which may be anybody's: what it sends is looked at before the driver sees
//! it, also within TLS.
//!
//! The driver makes room for whatever length a server announces, keeps all parameters that it is told, and
//! asks for a type that it does not know, and for the type of that one, as long as there is another. It
//! cannot be told not to. So each connection is made by a [`Connector`], whose bounds end it first.

use std::error::Error;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio_postgres::config::{SslMode, SslNegotiation};
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use tokio_postgres::types::Type;
use tokio_postgres::{Config, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;
use tokio_util::either::Either;

/// Asks a server whether it takes TLS.
pub const TLS_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];
/// The most that the description of an answer's columns, or of a statement's parameters, may take. Bytes.
const DESCRIPTION: usize = 64 << 10;
/// The most that a server may say unasked on one connection: parameters, notices, notifications. Bytes.
const UNASKED: usize = 1 << 20;
/// The most messages that an answer may have besides its rows: to take each costs more than its bytes do.
const OTHERS: usize = 100_000;

/// What a server may send.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// In one message, in bytes.
    pub message: usize,
    /// In answer to what was asked in one go, in bytes.
    pub answer: usize,
}

/// What a server has done that ended its connection; the driver tells only that it is closed.
#[derive(Debug, Clone, Default)]
pub struct Fault(Arc<OnceLock<String>>);

impl Fault {
    pub fn seen(&self) -> Option<&str> {
        self.0.get().map(String::as_str)
    }
}

/// Makes connections whose bytes are looked at.
#[derive(Clone)]
pub struct Connector {
    tls: Option<MakeRustlsConnect>,
    /// Whether there is no connection without TLS.
    is_required: bool,
    bounds: Bounds,
    fault: Fault,
}

impl Connector {
    /// As the configuration says whether TLS is wanted. It is changed so that the driver leaves the beginning
    /// of a connection to this: it would not let anybody see the bytes of one without TLS.
    pub fn new(config: &mut Config, tls: Option<MakeRustlsConnect>, bounds: Bounds, fault: Fault) -> Self {
        let mode = config.get_ssl_mode();
        config.ssl_mode(SslMode::Require).ssl_negotiation(SslNegotiation::Direct);
        Self {
            tls: tls.filter(|_| mode != SslMode::Disable),
            is_required: mode == SslMode::Require,
            bounds,
            fault,
        }
    }
}

type Rustls = <MakeRustlsConnect as MakeTlsConnect<Socket>>::TlsConnect;

impl MakeTlsConnect<Socket> for Connector {
    type Stream = Watched<Way>;
    type TlsConnect = Beginning;
    type Error = Box<dyn Error + Send + Sync>;

    fn make_tls_connect(&mut self, domain: &str) -> Result<Beginning, Self::Error> {
        let tls = self.tls.as_mut().map(|tls| MakeTlsConnect::<Socket>::make_tls_connect(tls, domain));
        Ok(Beginning { tls: tls.transpose()?, connector: self.clone() })
    }
}

/// The beginning of one connection.
pub struct Beginning {
    tls: Option<Rustls>,
    connector: Connector,
}

impl TlsConnect<Socket> for Beginning {
    type Stream = Watched<Way>;
    type Error = Box<dyn Error + Send + Sync>;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Stream, Self::Error>> + Send>>;

    fn connect(self, mut stream: Socket) -> Self::Future {
        Box::pin(async move {
            let Connector { is_required, bounds, fault, .. } = self.connector;
            let way = match self.tls {
                None => Way::Left(stream),
                Some(tls) => {
                    stream.write_all(&TLS_REQUEST).await?;
                    match stream.read_u8().await? {
                        b'S' => Way::Right(Box::new(tls.connect(stream).await?)),
                        // As the driver says it.
                        _ if is_required => return Err("server does not support TLS".into()),
                        _ => Way::Left(stream),
                    }
                }
            };
            Ok(Watched::new(way, bounds, fault))
        })
    }
}

/// A connection, without TLS or within it.
pub type Way = Either<Socket, Box<<Rustls as TlsConnect<Socket>>::Stream>>;

/// A connection whose server's bytes are looked at.
pub struct Watched<S> {
    stream: S,
    messages: Messages,
    fault: Fault,
}

impl<S> Watched<S> {
    pub fn new(stream: S, bounds: Bounds, fault: Fault) -> Self {
        Self { stream, messages: Messages::new(bounds), fault }
    }
}

impl TlsStream for Watched<Way> {
    fn channel_binding(&self) -> ChannelBinding {
        match &self.stream {
            Way::Left(_) => ChannelBinding::none(),
            Way::Right(stream) => stream.channel_binding(),
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        if let Err(fault) = self.messages.take(&buffer.filled()[before..]) {
            // Nothing of it gets to the driver.
            buffer.set_filled(before);
            let _ = self.fault.0.set(fault.clone());
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, fault)));
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// What has come of a server's messages.
struct Messages {
    bounds: Bounds,
    /// The kind and length of the message, and what is looked into of the rest.
    head: Vec<u8>,
    /// How much of the message is still to come that nobody looks into.
    rest: usize,
    /// How much there was since the last end of an answer.
    answer: usize,
    /// How many messages of it were no rows.
    others: usize,
    unasked: usize,
}

/// A message's kind and its length.
const HEAD: usize = 5;

impl Messages {
    fn new(bounds: Bounds) -> Self {
        Self { bounds, head: Vec::new(), rest: 0, answer: 0, others: 0, unasked: 0 }
    }

    /// Takes what the server says.
    fn take(&mut self, mut bytes: &[u8]) -> Result<(), String> {
        while !bytes.is_empty() {
            if self.rest > 0 {
                let passed = self.rest.min(bytes.len());
                self.rest -= passed;
                bytes = &bytes[passed..];
                continue;
            }
            let missing = self.missing();
            let (more, others) = bytes.split_at(missing.min(bytes.len()));
            self.head.extend_from_slice(more);
            bytes = others;
            if self.head.len() == HEAD {
                self.begun()?;
            }
            if self.missing() == 0 {
                self.described()?;
                self.head.clear();
            }
        }
        Ok(())
    }

    fn length(&self) -> usize {
        <[u8; 4]>::try_from(&self.head[1..HEAD]).map_or(0, |length| u32::from_be_bytes(length) as usize)
    }

    /// How many bytes belong to the head that are not there yet.
    fn missing(&self) -> usize {
        match self.head.first() {
            _ if self.head.len() < HEAD => HEAD - self.head.len(),
            Some(b'T' | b't') => 1 + self.length() - self.head.len(),
            _ => 0,
        }
    }

    /// A message's kind and length are known.
    fn begun(&mut self) -> Result<(), String> {
        let (kind, length) = (self.head[0], self.length());
        let most = if matches!(kind, b'T' | b't') { DESCRIPTION } else { self.bounds.message };
        if !(4..=most).contains(&length) {
            return Err(format!("the server announces a message of {length} bytes"));
        }
        self.answer += 1 + length;
        match kind {
            b'D' => {}
            b'Z' => (self.answer, self.others) = (0, 0),
            b'S' | b'N' | b'A' => self.unasked += 1 + length,
            _ => self.others += 1,
        }
        let mebibytes = |bytes: usize| bytes >> 20;
        if self.unasked > UNASKED {
            return Err(format!(
                "the server sends more than {} MiB that nobody has asked for",
                mebibytes(UNASKED)
            ));
        }
        if self.others > OTHERS {
            return Err("an answer has no end".into());
        }
        if self.answer > self.bounds.answer {
            return Err(format!("an answer has more than {} MiB", mebibytes(self.bounds.answer)));
        }
        if !matches!(kind, b'T' | b't') {
            self.rest = length - 4;
        }
        Ok(())
    }

    /// A whole head is there: of what is described in it, the types have to be PostgreSQL's own, which is all
    /// that is ever asked for.
    fn described(&self) -> Result<(), String> {
        let Some((kind @ (b'T' | b't'), body)) = self.head.split_first() else { return Ok(()) };
        let types = types(*kind == b'T', &body[4..]).ok_or("the server describes its answer by halves")?;
        match types.into_iter().find(|oid| Type::from_oid(*oid).is_none()) {
            Some(oid) => {
                Err(format!("the server answers with a type that is none of PostgreSQL's own ({oid})"))
            }
            None => Ok(()),
        }
    }
}

/// The types that are described: of columns, or of parameters.
fn types(of_columns: bool, mut body: &[u8]) -> Option<Vec<u32>> {
    let count = u16::from_be_bytes(*body.split_off(..2)?.first_chunk()?);
    let mut next = || {
        if of_columns {
            let name = body.iter().position(|byte| *byte == 0)?;
            // The table and the column's number there.
            body.split_off(..name + 1 + 6)?;
        }
        let oid = u32::from_be_bytes(*body.split_off(..4)?.first_chunk()?);
        if of_columns {
            // Size, modifier and format.
            body.split_off(..8)?;
        }
        Some(oid)
    };
    (0..count).map(|_| next()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { message: 1 << 20, answer: 4 << 20 };

    /// However the bytes are cut.
    fn taken(bytes: &[u8]) -> Result<(), String> {
        let mut outcomes: Vec<Result<(), String>> = Vec::new();
        for size in [1, 3, bytes.len().max(1)] {
            let mut messages = Messages::new(BOUNDS);
            outcomes.push(bytes.chunks(size).try_for_each(|bytes| messages.take(bytes)));
        }
        assert!(outcomes.windows(2).all(|two| two[0] == two[1]), "{outcomes:?}");
        outcomes.remove(0)
    }

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        [&[kind], &(body.len() as u32 + 4).to_be_bytes()[..], body].concat()
    }

    fn columns(types: &[u32]) -> Vec<u8> {
        let each = types
            .iter()
            .flat_map(|kind| [b"c\0\0\0\0\0\0\0", &kind.to_be_bytes()[..], b"\0\x08\0\0\0\0\0\0"].concat());
        message(b'T', &[&(types.len() as u16).to_be_bytes()[..], &each.collect::<Vec<u8>>()].concat())
    }

    #[test]
    fn lengths_are_bounded() {
        assert_eq!(taken(&message(b'D', &[0; 100])), Ok(()));
        assert_eq!(taken(&[]), Ok(()));
        for length in [0_u32, 3, 0x7fff_ffff, u32::MAX] {
            let said = [b"D", &length.to_be_bytes()[..]].concat();
            assert_eq!(taken(&said), Err(format!("the server announces a message of {length} bytes")));
        }
        let row = message(b'D', &[7; 1 << 16]);
        assert_eq!(taken(&row.repeat(60)), Ok(()));
        assert_eq!(taken(&row.repeat(70)), Err("an answer has more than 4 MiB".into()));
        // Each answer for itself.
        let answer = [row.repeat(40), message(b'Z', b"I")].concat();
        assert_eq!(taken(&answer.repeat(3)), Ok(()));
    }

    #[test]
    fn what_nobody_has_asked_for_is_bounded() {
        let answer = [message(b'S', &[b'x'; 1000]), message(b'Z', b"I")].concat();
        assert_eq!(taken(&answer.repeat(1000)), Ok(()));
        assert_eq!(
            taken(&answer.repeat(1100)),
            Err("the server sends more than 1 MiB that nobody has asked for".into())
        );
        let done = message(b'C', b"VACUUM\0");
        assert_eq!(taken(&[done.repeat(90_000), message(b'Z', b"I")].concat().repeat(2)), Ok(()));
        assert_eq!(taken(&done.repeat(110_000)), Err("an answer has no end".into()));
    }

    #[test]
    fn only_types_of_postgresqls_own_are_taken() {
        let then = message(b'D', b"\0\0");
        assert_eq!(
            taken(&[columns(&[701, 16, 25]), message(b't', &[0, 1, 0, 0, 0, 25]), then.clone()].concat()),
            Ok(())
        );
        assert_eq!(taken(&[columns(&[]), message(b't', &[0, 0]), then].concat()), Ok(()));
        let other = "the server answers with a type that is none of PostgreSQL's own (99999)";
        assert_eq!(taken(&columns(&[701, 99_999])), Err(other.into()));
        assert_eq!(taken(&message(b't', &[0, 1, 0, 1, 0x86, 0x9f])), Err(other.into()));
        for half in [
            message(b'T', &[0, 1]),
            message(b'T', &[]),
            message(b'T', b"\0\x01name"),
            message(b't', &[0, 2, 0, 0, 0, 25]),
        ] {
            assert_eq!(taken(&half), Err("the server describes its answer by halves".into()));
        }
    }
}
