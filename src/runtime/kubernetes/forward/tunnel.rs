//! A port-forward to one pod that stays open: one request to the API server, and connections to the pod's
//! ports inside it, one after the other.
//!
//! It is what kubectl speaks: SPDY within a WebSocket, or by itself where the API server, or what is before
//! it, does not take that (before Kubernetes 1.31). Kubernetes has no flow control in it, so that a
//! connection nobody reads from would hold up all others: here each has a tunnel of its own for as long as it
//! lasts.

use std::io;
use std::pin::Pin;
use std::time::Duration;

use futures::{Sink, SinkExt, Stream, StreamExt, future};
use http::header::{
    CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION,
    UPGRADE,
};
use http::{HeaderName, Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use hyper_util::rt::TokioIo;
use kube::client::Body;
use kube::core::Status;
use kube::{Client, Error};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::{client::generate_key, derive_accept_key};
use tokio_tungstenite::tungstenite::protocol::{Message, Role, WebSocketConfig};
use tokio_util::bytes::Bytes;
use tokio_util::codec::{BytesCodec, Framed};

use super::spdy::{self, Decoder, Encoder, Said};

/// How SPDY is called within a WebSocket, and by itself.
const WITHIN: &str = "SPDY/3.1+portforward.k8s.io";
const ALONE: &str = "SPDY/3.1";
/// What is spoken in SPDY, and the header that says so.
const SPOKEN: &str = "portforward.k8s.io";
const SPEAKS: HeaderName = HeaderName::from_static("x-stream-protocol-version");

const BUFFER: usize = 16 << 10;
/// The longest message of a WebSocket, in bytes: Kubernetes copies in pieces of 32 KiB.
const MESSAGE: usize = 1 << 20;
/// As much as is kept of what a node says about a connection that it cannot make, in bytes.
const REASON: usize = 4 << 10;
/// As many pings as are answered while nothing can be sent.
const PINGS: usize = 16;
/// How long the pod's side may take to end a connection that the client has ended. A node waits for a second
/// itself.
const GOODBYE: Duration = Duration::from_secs(2);

/// How long a tunnel may take to answer that it is still there: several ways around the world, and no longer
/// than a new one takes.
const ANSWER: Duration = Duration::from_secs(1);
/// The number of the pings that are sent: odd, as the numbers of all that the client begins are.
const OWN_PING: u32 = 1;

type Pieces = Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>;
type Outgoing = Pin<Box<dyn Sink<Bytes, Error = io::Error> + Send>>;

pub(super) struct Tunnel {
    incoming: Pieces,
    outgoing: Outgoing,
    encoder: Encoder,
    decoder: Decoder,
    /// The next stream's number, which is odd.
    next: u32,
}

pub(super) struct Ended {
    /// Whether the tunnel can carry another one.
    pub is_usable: bool,
    /// Why there was no connection, in the node's words.
    pub refused: Option<String>,
}

impl Tunnel {
    pub(super) async fn open(client: &Client, namespace: &str, pod: &str) -> Result<Self, Error> {
        let path = format!("/api/v1/namespaces/{namespace}/pods/{pod}/portforward");
        match within_websocket(client, &path).await? {
            Some(tunnel) => Ok(tunnel),
            None => alone(client, &path).await,
        }
    }

    fn new(
        incoming: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
        outgoing: impl Sink<Bytes, Error = io::Error> + Send + 'static,
    ) -> Self {
        Self {
            incoming: Box::pin(incoming),
            outgoing: Box::pin(outgoing),
            encoder: Encoder::default(),
            decoder: Decoder::default(),
            next: 1,
        }
    }

    /// Whether the other side still answers. Nothing else tells: this machine may learn late, or never, that a
    /// connection was cut.
    pub(super) async fn answers(&mut self) -> bool {
        timeout(ANSWER, self.answer()).await.is_ok_and(|answer| answer.is_ok())
    }

    async fn answer(&mut self) -> io::Result<()> {
        let mut frames = Vec::new();
        spdy::ping(&mut frames, OWN_PING);
        loop {
            if !frames.is_empty() {
                self.outgoing.send(std::mem::take(&mut frames).into()).await?;
            }
            let piece = self.incoming.next().await.ok_or(io::ErrorKind::UnexpectedEof)??;
            for said in self.decoder.read(&piece).map_err(|_| io::ErrorKind::InvalidData)? {
                match said {
                    Said::Ping(OWN_PING) => return Ok(()),
                    Said::Ping(number) => spdy::ping(&mut frames, number),
                    Said::GoAway => return Err(io::ErrorKind::ConnectionAborted.into()),
                    // What is left of connections that are over is passed by.
                    _ => {}
                }
            }
        }
    }

    /// Carries one connection to a port of the pod until both sides have ended it, or the pod's. An error is
    /// the tunnel's own end.
    pub(super) async fn carry(&mut self, port: u16, near: impl AsyncRead + AsyncWrite) -> io::Result<Ended> {
        let (reasons, stream) = (self.next, self.next + 2);
        self.next += 4;
        let mut frames = Vec::new();
        let (port, number) = (port.to_string(), reasons.to_string());
        let headers = |kind| [("streamtype", kind), ("port", port.as_str()), ("requestid", number.as_str())];
        self.encoder.open(&mut frames, reasons, &headers("error"));
        spdy::finish(&mut frames, reasons);
        self.encoder.open(&mut frames, stream, &headers("data"));
        self.outgoing.send(frames.into()).await?;

        let (mut from_near, mut to_near) = split(near);
        let (answer, mut answers) = mpsc::channel(PINGS);
        let (incoming, decoder, outgoing) = (&mut self.incoming, &mut self.decoder, &mut self.outgoing);
        let mut up = Box::pin(async {
            let mut buffer = vec![0; BUFFER];
            loop {
                let mut frames = Vec::new();
                tokio::select! {
                    read = from_near.read(&mut buffer) => match read {
                        Ok(count @ 1..) => spdy::data(&mut frames, stream, &buffer[..count]),
                        _ => {
                            spdy::finish(&mut frames, stream);
                            return outgoing.send(frames.into()).await;
                        }
                    },
                    Some(number) = answers.recv() => spdy::ping(&mut frames, number),
                }
                outgoing.send(frames.into()).await?;
            }
        });
        let mut down = Box::pin(async {
            let (mut refused, mut is_leaving) = (Vec::new(), false);
            let (mut is_over, mut is_explained) = (false, false);
            // Which of the two streams ends first says nothing.
            while !is_over || !is_explained {
                let piece = incoming.next().await.ok_or(io::ErrorKind::UnexpectedEof)??;
                let said = decoder
                    .read(&piece)
                    .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "another protocol"))?;
                for said in said {
                    match said {
                        // Who does not read any more has ended the connection.
                        Said::Data(number, bytes) if number == stream && !is_over => {
                            let is_unheard = to_near.write_all(bytes).await.is_err();
                            (is_over, is_explained) = (is_unheard, is_unheard);
                        }
                        Said::Data(number, bytes) if number == reasons => {
                            refused.extend(bytes.iter().take(REASON - refused.len()));
                        }
                        Said::Finished(number) | Said::Reset(number) if number == stream => is_over = true,
                        Said::Finished(number) | Said::Reset(number) if number == reasons => {
                            is_explained = true;
                        }
                        Said::Ping(number) => drop(answer.try_send(number)),
                        Said::GoAway => is_leaving = true,
                        _ => {}
                    }
                }
            }
            let refused = (!refused.is_empty()).then(|| String::from_utf8_lossy(&refused).into_owned());
            Ok::<_, io::Error>(Ended { is_usable: !is_leaving, refused })
        });
        let ended = tokio::select! {
            ended = &mut down => ended,
            sent = &mut up => match sent {
                Err(error) => Err(error),
                Ok(()) => timeout(GOODBYE, &mut down).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())),
            },
        };
        drop((up, down));
        let ended = ended?;
        if ended.is_usable {
            let mut frames = Vec::new();
            spdy::reset(&mut frames, stream);
            self.outgoing.send(frames.into()).await?;
        }
        let _ = to_near.shutdown().await;
        Ok(Ended { is_usable: ended.is_usable && self.next < u32::MAX / 4, ..ended })
    }
}

/// Asks for SPDY within a WebSocket; `None` where that is not to be had.
async fn within_websocket(client: &Client, path: &str) -> Result<Option<Tunnel>, Error> {
    let key = generate_key();
    let request = Request::get(path)
        .header(CONNECTION, "Upgrade")
        .header(UPGRADE, "websocket")
        .header(SEC_WEBSOCKET_VERSION, "13")
        .header(SEC_WEBSOCKET_KEY, &key)
        .header(SEC_WEBSOCKET_PROTOCOL, WITHIN);
    let answer = client.send(request.body(Body::empty()).map_err(Error::HttpError)?).await?;
    let wanted = [
        (SEC_WEBSOCKET_ACCEPT, derive_accept_key(key.as_bytes())),
        (SEC_WEBSOCKET_PROTOCOL, WITHIN.to_owned()),
    ];
    let is_taken = wanted
        .iter()
        .all(|(name, value)| answer.headers().get(name).is_some_and(|said| said == value.as_str()));
    if answer.status() != StatusCode::SWITCHING_PROTOCOLS || !is_taken {
        return Ok(None);
    }
    let config = WebSocketConfig::default().max_message_size(Some(MESSAGE)).max_frame_size(Some(MESSAGE));
    let socket =
        WebSocketStream::from_raw_socket(TokioIo::new(upgraded(answer).await?), Role::Client, Some(config))
            .await;
    let (outgoing, incoming) = socket.split();
    let outgoing =
        outgoing.sink_map_err(io::Error::other).with(|bytes| future::ready(Ok(Message::Binary(bytes))));
    let incoming = incoming.filter_map(|message| {
        future::ready(match message {
            Ok(Message::Binary(bytes)) => Some(Ok(bytes)),
            Ok(Message::Close(_)) => Some(Err(io::ErrorKind::UnexpectedEof.into())),
            // Pings are answered by the library.
            Ok(_) => None,
            Err(error) => Some(Err(io::Error::other(error))),
        })
    });
    Ok(Some(Tunnel::new(incoming, outgoing)))
}

async fn alone(client: &Client, path: &str) -> Result<Tunnel, Error> {
    let request = Request::builder()
        .method(Method::POST)
        .uri(path)
        .header(CONNECTION, "Upgrade")
        .header(UPGRADE, ALONE)
        .header(SPEAKS, SPOKEN);
    let answer = client.send(request.body(Body::empty()).map_err(Error::HttpError)?).await?;
    if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Err(refusal(answer).await);
    }
    let (outgoing, incoming) = Framed::new(TokioIo::new(upgraded(answer).await?), BytesCodec::new()).split();
    Ok(Tunnel::new(incoming.map(|piece| piece.map(Into::into)), outgoing))
}

async fn upgraded(answer: Response<Body>) -> Result<hyper::upgrade::Upgraded, Error> {
    hyper::upgrade::on(answer).await.map_err(Error::HyperError)
}

async fn refusal(answer: Response<Body>) -> Error {
    let code = answer.status();
    let body = match answer.into_body().collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) => return error,
    };
    let unread = || {
        Status::failure("no port-forward is opened", code.canonical_reason().unwrap_or_default())
            .with_code(code.as_u16())
    };
    Error::Api(serde_json::from_slice(&body).unwrap_or_else(|_| unread()).boxed())
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use futures::stream;

    use super::*;

    /// A tunnel whose other side says this, and then nothing or its end.
    fn tunnel(said: Vec<u8>, is_cut: bool) -> Tunnel {
        let said = stream::iter([Ok(Bytes::from(said))]);
        let incoming = if is_cut { said.boxed() } else { said.chain(stream::pending()).boxed() };
        Tunnel::new(incoming, futures::sink::drain().sink_map_err(io::Error::other))
    }

    fn frames(numbers: &[u32]) -> Vec<u8> {
        let mut frames = Vec::new();
        for number in numbers {
            spdy::data(&mut frames, 7, b"of a connection that is over");
            spdy::ping(&mut frames, *number);
        }
        frames
    }

    #[tokio::test]
    async fn only_an_answer_makes_a_tunnel_worth_another_connection() {
        assert!(tunnel(frames(&[2, OWN_PING]), false).answers().await);
        let goes_away =
            [&[0x80, 3, 0, 7, 0, 0, 0, 8, 0, 0, 0, 7, 0, 0, 0, 0], &frames(&[OWN_PING])[..]].concat();
        for (said, is_cut) in
            [(frames(&[]), true), (goes_away, false), (b"HTTP/1.1 400 Bad Request".to_vec(), false)]
        {
            assert!(!tunnel(said, is_cut).answers().await);
        }
        // A connection that nothing comes through and that nobody has closed.
        let began = Instant::now();
        assert!(!tunnel(frames(&[2, 4]), false).answers().await);
        assert!(began.elapsed() >= ANSWER);
    }
}
