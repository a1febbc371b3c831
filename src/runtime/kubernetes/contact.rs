//! What every request to the API server goes through: none takes longer or more memory than is said here,
//! whatever the server, or whatever answers in its place, makes of it.
//!
//! kube's own retries wait as long as `Retry-After` says, fifteen times over, and its watches are opened
//! again at once however soon they end. Here a server that is too busy is tried again with growing pauses,
//! until the request's time is over; then its answer counts. What keeps the server from answering is
//! remembered, for those whose own time is over first.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::StreamExt;
use http::header::{RETRY_AFTER, WARNING};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Limited, StreamBody};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use tower::{BoxError, Service};

/// How long a server may take that has not answered this process before.
const FIRST: Duration = Duration::from_secs(30);
/// How long any answer may take: an API server gives its own requests up after a minute.
const LATER: Duration = Duration::from_secs(60);

/// The pauses before a busy server is tried again.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// A watch that is opened again sooner than this has ended early.
const EARLY: Duration = Duration::from_secs(10);
/// How many early ends are nobody's fault: a watch of another reader's, a connection that was cut.
const EXCUSED: u32 = 2;

/// More than any answer of an API server holds: objects have 1.5 MiB at most.
const LONGEST_ANSWER: usize = 64 << 20;
/// The same of an answer that says what went wrong.
const LONGEST_ERROR: usize = 1 << 20;
/// The same of one event of a watch.
const LONGEST_EVENT: usize = 16 << 20;

type Bytes = <Body as http_body::Body>::Data;
type Answer = Response<UnsyncBoxBody<Bytes, BoxError>>;

/// What is known of the API server, shared by all requests of one connection.
#[derive(Clone, Default)]
pub(super) struct Contact(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// Whether it has ever answered.
    has_answered: bool,
    /// What keeps it from answering.
    trouble: Option<String>,
    /// When each watch was opened last, and how often it has ended early until then.
    watches: HashMap<String, (Instant, u32)>,
}

impl Contact {
    pub(super) fn client(&self, client: Client) -> Client {
        let (namespace, valid_until) = (client.default_namespace().to_owned(), *client.valid_until());
        Client::new(Bounded { client, contact: self.clone() }, namespace).with_valid_until(valid_until)
    }

    /// What keeps the server from answering, such as `answers 503 Service Unavailable`.
    pub(super) fn trouble(&self) -> Option<String> {
        self.state().trouble.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answered(&self) {
        let mut state = self.state();
        (state.has_answered, state.trouble) = (true, None);
    }

    fn note(&self, trouble: String) {
        self.state().trouble = Some(trouble);
    }

    fn timeout(&self) -> Duration {
        if self.state().has_answered { LATER } else { FIRST }
    }

    /// When a watch may be opened.
    fn open_at(&self, watch: String, now: Instant) -> Instant {
        let mut state = self.state();
        state.watches.retain(|_, (opened, _)| now.saturating_duration_since(*opened) < EARLY * 2);
        let early = match state.watches.get(&watch) {
            Some((opened, early)) if now.saturating_duration_since(*opened) < EARLY => {
                early.saturating_add(1)
            }
            _ => 0,
        };
        let at = if early > EXCUSED { now + pause(early - EXCUSED - 1) } else { now };
        state.watches.insert(watch, (at, early));
        at
    }
}

/// What the API server says beside its answer to a request that has this among its extensions: that a version
/// is deprecated, or what a policy is going to deny.
#[derive(Debug, Clone, Default)]
pub(super) struct Asides(Arc<Mutex<Vec<String>>>);

impl Asides {
    pub(super) fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn hear(&self, headers: &HeaderMap) {
        let said = headers.get_all(WARNING).iter().filter_map(|value| value.to_str().ok()).flat_map(warnings);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = said.take(MOST_ASIDES).collect();
    }
}

/// How many warnings of one answer are listened to.
const MOST_ASIDES: usize = 10;

/// The texts of a `Warning` header: `299 - "use another \"version\"", 299 - "so there"`.
fn warnings(header: &str) -> Vec<String> {
    let (mut texts, mut text, mut is_escaped) = (Vec::new(), None::<String>, false);
    for c in header.chars() {
        match (&mut text, c) {
            (Some(text), c) if std::mem::take(&mut is_escaped) => text.push(c),
            (Some(_), '\\') => is_escaped = true,
            (Some(_), '"') => texts.extend(text.take()),
            (Some(text), c) => text.push(c),
            (None, '"') => text = Some(String::new()),
            (None, _) => {}
        }
    }
    texts.retain(|text| !text.is_empty());
    texts
}

pub(super) fn pause(before: u32) -> Duration {
    (FIRST_PAUSE * 2u32.pow(before.min(10))).min(LONGEST_PAUSE)
}

fn silence(timeout: Duration) -> BoxError {
    format!("no whole answer within {} s", timeout.as_secs()).into()
}

const ENDLESS: &str = "an answer that does not end: this is no API server";

/// What comes back of a request.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// One object or list.
    Whole,
    /// Events, a line each.
    Watch,
    /// A log, or a connection of its own: those who read it know when to stop.
    Stream,
}

impl Kind {
    fn of(request: &Request<Body>) -> Self {
        let has =
            |part: &str| request.uri().query().is_some_and(|query| query.split('&').any(|pair| pair == part));
        if has("watch=true") || has("watch=1") {
            Self::Watch
        } else if request.uri().path().ends_with("/log")
            || request.headers().contains_key(http::header::UPGRADE)
        {
            Self::Stream
        } else {
            Self::Whole
        }
    }
}

/// What a watch looks at, whatever version it goes on from.
fn watched(request: &Request<Body>) -> String {
    let query = request.uri().query().unwrap_or_default().split('&');
    let query: Vec<&str> = query.filter(|pair| !pair.starts_with("resourceVersion")).collect();
    format!("{}?{}", request.uri().path(), query.join("&"))
}

struct Bounded {
    client: Client,
    contact: Contact,
}

impl Service<Request<Body>> for Bounded {
    type Response = Answer;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Answer, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(send(self.client.clone(), self.contact.clone(), request))
    }
}

/// Sends a request, again and again while the server is too busy for it, until its time is over.
async fn send(client: Client, contact: Contact, request: Request<Body>) -> Result<Answer, BoxError> {
    let kind = Kind::of(&request);
    if kind == Kind::Watch {
        sleep_until(contact.open_at(watched(&request), Instant::now())).await;
    }
    let timeout = contact.timeout();
    let deadline = Instant::now() + timeout;
    let (parts, body) = request.into_parts();
    for tries in 0.. {
        let body = body.try_clone().unwrap_or_else(Body::empty);
        let answer =
            match timeout_at(deadline, once(&client, Request::from_parts(parts.clone(), body), kind)).await {
                Ok(Ok(answer)) => answer,
                Ok(Err(error)) => {
                    contact.note(format!("cannot be reached: {}", crate::failure::innermost(&*error)));
                    return Err(error);
                }
                Err(_) => {
                    contact.note("does not answer".into());
                    return Err(silence(timeout));
                }
            };
        if answer.status().is_server_error() || is_busy(answer.status()) {
            contact.note(format!("answers {}", answer.status()));
        } else {
            contact.answered();
        }
        if !is_busy(answer.status()) {
            if let Some(asides) = parts.extensions.get::<Asides>() {
                asides.hear(answer.headers());
            }
            return Ok(answer);
        }
        // As long as it asks for, within reason.
        let wanted = answer
            .headers()
            .get(RETRY_AFTER)
            .and_then(|value| value.to_str().ok()?.parse().ok())
            .map(Duration::from_secs);
        let pause = pause(tries).max(wanted.unwrap_or_default().min(LONGEST_PAUSE));
        if Instant::now() + pause >= deadline {
            return Ok(answer);
        }
        sleep(pause).await;
    }
    Err(silence(timeout))
}

fn is_busy(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT
    )
}

async fn once(client: &Client, request: Request<Body>, kind: Kind) -> Result<Answer, BoxError> {
    let answer = client.send(request).await?;
    let status = answer.status();
    if status.is_client_error() || status.is_server_error() {
        let (mut parts, body) = answer.into_parts();
        let text = collected(body, LONGEST_ERROR).await.unwrap_or_default();
        parts.headers.remove(http::header::CONTENT_LENGTH);
        let body = Body::from(status_of(status, &text).to_string().into_bytes());
        return Ok(Response::from_parts(parts, body.map_err(BoxError::from).boxed_unsync()));
    }
    match kind {
        Kind::Stream => Ok(answer.map(|body| body.map_err(BoxError::from).boxed_unsync())),
        Kind::Watch => Ok(answer.map(by_the_event)),
        Kind::Whole => {
            let (parts, body) = answer.into_parts();
            let whole = Body::from(collected(body, LONGEST_ANSWER).await?);
            Ok(Response::from_parts(parts, whole.map_err(BoxError::from).boxed_unsync()))
        }
    }
}

async fn collected(body: Body, most: usize) -> Result<Vec<u8>, BoxError> {
    let read = Limited::new(body, most).collect().await;
    let bytes =
        read.map_err(
            |error| if error.is::<http_body_util::LengthLimitError>() { ENDLESS.into() } else { error },
        )?;
    Ok(bytes.to_bytes().to_vec())
}

/// The body of a watch, which ends where a line would not.
fn by_the_event(body: Body) -> UnsyncBoxBody<Bytes, BoxError> {
    let mut length = 0;
    let frames = body.into_data_stream().map(move |data| {
        let data = data.map_err(BoxError::from)?;
        length = match data.iter().rposition(|byte| *byte == b'\n') {
            Some(at) => data.len() - at - 1,
            None => length + data.len(),
        };
        if length > LONGEST_EVENT { Err(ENDLESS.into()) } else { Ok(Frame::data(data)) }
    });
    StreamBody::new(frames).boxed_unsync()
}

/// What an answer says went wrong, in an API server's own words; of a proxy's page only the code counts.
fn status_of(status: StatusCode, body: &[u8]) -> Value {
    let reason = status.canonical_reason().unwrap_or_default();
    match serde_json::from_slice(body) {
        Ok(Value::Object(mut said)) if said.get("kind").and_then(Value::as_str) == Some("Status") => {
            said.insert("code".into(), status.as_u16().into());
            // What is no text would make all of it unreadable.
            for field in ["message", "reason", "status"] {
                if said.get(field).is_some_and(|value| !value.is_string()) {
                    said.remove(field);
                }
            }
            Value::Object(said)
        }
        _ => {
            json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": "", "reason": reason, "code": status.as_u16()})
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watch_that_ends_at_once_is_opened_with_growing_pauses() {
        let (contact, begun) = (Contact::default(), Instant::now());
        let mut now = begun;
        let mut opened = 0;
        while now < begun + Duration::from_secs(60) {
            now = contact.open_at("pods".into(), now);
            opened += 1;
        }
        assert!((10..30).contains(&opened), "{opened}");
        // One of another kind does not wait, and neither does one that has lived.
        assert_eq!(contact.open_at("services".into(), now), now);
        let later = now + EARLY * 2;
        assert_eq!(contact.open_at("pods".into(), later), later);
    }

    #[test]
    fn warnings_are_taken_out_of_their_header() {
        assert_eq!(
            warnings(r#"299 - "violates \"restricted\": a\\b", 299 kube "and, so on" "date""#),
            ["violates \"restricted\": a\\b", "and, so on", "date"]
        );
        assert!(
            warnings("").is_empty()
                && warnings("299 - \"no end").is_empty()
                && warnings("299 - \"\"").is_empty()
        );
    }

    #[test]
    fn only_an_api_servers_own_words_are_told() {
        let page = status_of(StatusCode::BAD_GATEWAY, b"<html>no</html>");
        assert_eq!(
            (&page["code"], &page["message"], &page["reason"]),
            (&502.into(), &"".into(), &"Bad Gateway".into())
        );
        let own = status_of(StatusCode::FORBIDDEN, br#"{"kind": "Status", "message": "no", "reason": 7}"#);
        assert_eq!((&own["code"], &own["message"], own.get("reason")), (&403.into(), &"no".into(), None));
        assert_eq!(status_of(StatusCode::TOO_MANY_REQUESTS, b"[]")["code"], 429);
    }
}
