//! IntegreSQL's interface, version 1, as its documentation and its clients have it. It is for the run's own
//! command: whoever does not know the token in its path is told nothing.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::convert::Infallible;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::header::{CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use percent_encoding::percent_decode_str;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{Notify, Semaphore};
use tokio::task::{AbortHandle, JoinSet};

use super::copies::Pool;
use super::core::Refusal;
use crate::output::{Connection, Secured};

/// How many connections there may be at once: fewer than a process may have open by default.
const CONNECTIONS: usize = 512;
/// How long a connection may be without a request that knows the token, as others on this machine make them.
const STRANGER: Duration = Duration::from_secs(30);
/// How long a client may take to say what it wants, or have nothing to say: a test may be long.
const HEADERS: Duration = Duration::from_hours(1);
/// How much a request may have besides its headers, in bytes.
const BODY: usize = 64 << 10;
/// How long a template's hash may be, in bytes.
const HASH: usize = 512;
/// How many templates of others are remembered of a connection.
const REMEMBERED: usize = 1000;
/// What can be asked for.
const PATHS: &str = "POST api/v1/templates, PUT or DELETE api/v1/templates/HASH, GET api/v1/templates/HASH/tests, \
                     DELETE api/v1/templates/HASH/tests/ID, POST api/v1/templates/HASH/tests/ID/unlock or recreate, \
                     DELETE api/v1/admin/templates";
/// How the kind of a form begins.
const FORM: &[u8] = b"application/x-www-form-urlencoded";
/// How soon a port is asked for the next connection that has no file for this one.
const AGAIN: Duration = Duration::from_millis(50);

/// What is served.
pub(super) struct Api {
    token: Vec<u8>,
    pools: Arc<[Arc<Pool>]>,
    /// The databases that have no pool, and why.
    others: BTreeMap<String, String>,
}

/// What is answered: a status, and what goes with it.
type Answer = (StatusCode, Value);

#[derive(Deserialize)]
struct Asked {
    #[serde(default)]
    hash: String,
}

impl Api {
    pub(super) fn new(token: &str, pools: Arc<[Arc<Pool>]>, others: BTreeMap<String, String>) -> Self {
        Self { token: token.as_bytes().to_owned(), pools, others }
    }

    /// The pool of a request, and the rest of its path: `TOKEN/api/v1/...`, or `TOKEN/DATABASE/api/v1/...`.
    fn find<'a>(&self, path: &'a str) -> Result<(&Arc<Pool>, Vec<&'a str>), Answer> {
        let mut parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        if parts.is_empty() || !is_same(parts.remove(0).as_bytes(), &self.token) {
            return Err((StatusCode::NOT_FOUND, message("Not Found")));
        }
        let named = parts.first().filter(|first| **first != "api").copied();
        let pool = match named {
            None => self.pools.first(),
            Some(name) => {
                parts.remove(0);
                self.pools.iter().find(|pool| pool.server.connection().name == name)
            }
        };
        match (pool, named) {
            (Some(pool), _) if parts.starts_with(&["api", "v1"]) => Ok((pool, parts.split_off(2))),
            (None, Some(name)) if self.others.contains_key(name) => {
                Err((StatusCode::NOT_FOUND, message(&self.others[name])))
            }
            // There is none at all.
            (None, None) if let Some(told) = self.others.values().next() => {
                Err((StatusCode::NOT_FOUND, message(told)))
            }
            _ => Err(self.unknown()),
        }
    }

    /// For who knows the token: what there is.
    fn unknown(&self) -> Answer {
        let pools: Vec<&str> = self.pools.iter().map(|pool| pool.server.connection().name.as_str()).collect();
        let told = format!(
            "Not Found: after the token in the path there is {PATHS}; or the name of a database with a pool before api: {}",
            pools.join(", ")
        );
        (StatusCode::NOT_FOUND, message(&told))
    }

    async fn answer(&self, request: Request<Incoming>, known: &Known) -> Result<Answer, Answer> {
        let (head, body) = request.into_parts();
        let (pool, parts) = self.find(head.uri.path())?;
        known.introduce();
        let hash = |part: &str| {
            let text = percent_decode_str(part).decode_utf8().map(|text| text.into_owned());
            checked(text.unwrap_or_default())
        };
        let done = (StatusCode::NO_CONTENT, Value::Null);
        match (&head.method, parts.as_slice()) {
            (&Method::POST, ["templates"]) => {
                let is_form =
                    head.headers.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(FORM));
                let hash = checked(asked(body, is_form).await?.hash)?;
                let name = pool.initialise(&hash).await;
                if let Some(database) = pool.template(&hash) {
                    known.note(name.is_ok(), &database);
                }
                let name = name.map_err(refused("template"))?;
                let reached = pool.server.reach(&name).ok_or(Refusal::Discarded);
                let reached = reached.map_err(refused("template"))?;
                let database = database(pool, &hash, &reached)?;
                Ok((StatusCode::OK, json!({"database": database})))
            }
            (&Method::PUT, ["templates", part]) => {
                let hash = hash(part)?;
                let is_of_others = is_python(&head.headers)
                    && pool.template(&hash).is_some_and(|database| known.is_of_others(&database));
                let finalized = match is_of_others {
                    true => pool.until_finalized(&hash).await,
                    false => pool.finalize(&hash).await,
                };
                finalized.map_err(refused("template")).map(|()| done)
            }
            (&Method::DELETE, ["templates", part]) => {
                pool.discard(&hash(part)?).map_err(refused("template")).map(|()| done)
            }
            (&Method::GET, ["templates", part, "tests"]) => {
                let hash = hash(part)?;
                let (id, reached) = pool.get(&hash).await.map_err(refused("template"))?;
                let database = database(pool, &hash, &reached)?;
                Ok((StatusCode::OK, json!({"database": database, "id": id})))
            }
            (&Method::DELETE, ["templates", part, "tests", id])
            | (&Method::POST, ["templates", part, "tests", id, "unlock"]) => {
                pool.unlock(&hash(part)?, number(id)?).map_err(refused("test database")).map(|()| done)
            }
            (&Method::POST, ["templates", part, "tests", id, "recreate"]) => {
                pool.recreate(&hash(part)?, number(id)?).map_err(refused("test database")).map(|()| done)
            }
            (&Method::DELETE, ["admin", "templates"]) => {
                pool.reset();
                Ok(done)
            }
            (
                _,
                ["templates"]
                | ["templates", _]
                | ["templates", _, "tests"]
                | ["templates", _, "tests", _]
                | ["templates", _, "tests", _, "unlock" | "recreate"]
                | ["admin", "templates"],
            ) => Err((StatusCode::METHOD_NOT_ALLOWED, message("Method Not Allowed"))),
            _ => Err(self.unknown()),
        }
    }
}

/// Why a database of another engine has no pool.
pub(super) fn not_copied(connection: &Connection) -> String {
    let Connection { name, engine, .. } = connection;
    format!("{name} is of {engine}: only databases of PostgreSQL, MariaDB and MySQL have a pool")
}

/// What a connection has to do with templates. The client for Python, which has one connection, finalizes also what
/// it was told that another client makes: that would be in the middle of the other's work. Others may finalize over
/// any of their connections.
#[derive(Default)]
struct Known {
    templates: Mutex<Templates>,
    /// Whether it has asked for something with the token.
    is_introduced: AtomicBool,
    introduced: Notify,
}

#[derive(Default)]
struct Templates {
    /// The databases of those that it makes itself.
    own: BTreeSet<String>,
    /// The databases of those that others make.
    others: BTreeSet<String>,
}

impl Known {
    fn templates(&self) -> MutexGuard<'_, Templates> {
        self.templates.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn introduce(&self) {
        if !self.is_introduced.swap(true, Ordering::Relaxed) {
            self.introduced.notify_one();
        }
    }

    /// What came of its wish to make a template, whose database is called so now.
    fn note(&self, is_own: bool, database: &str) {
        let mut all = self.templates();
        if all.own.len() + all.others.len() >= REMEMBERED || all.own.contains(database) {
            return;
        }
        let known = if is_own { &mut all.own } else { &mut all.others };
        known.insert(database.to_owned());
    }

    fn is_of_others(&self, database: &str) -> bool {
        self.templates().others.contains(database)
    }
}

/// Whether the client for Python asks, by the library that it uses.
fn is_python(headers: &HeaderMap) -> bool {
    headers.get(USER_AGENT).is_some_and(|agent| agent.as_bytes().starts_with(b"python-requests/"))
}

/// Answers whoever connects, for ever.
pub(super) async fn listen(listener: TcpListener, api: Api) {
    let (api, free) = (Arc::new(api), Arc::new(Semaphore::new(CONNECTIONS)));
    let mut connections = JoinSet::new();
    let mut strangers = VecDeque::<(AbortHandle, Arc<Known>)>::new();
    loop {
        while connections.try_join_next().is_some() {}
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(AGAIN).await;
            continue;
        };
        strangers.retain(|(task, known)| !task.is_finished() && !known.is_introduced.load(Ordering::Relaxed));
        // The newest has the place of the one that has said nothing for longest.
        if free.available_permits() == 0
            && let Some((oldest, _)) = strangers.pop_front()
        {
            oldest.abort();
        }
        let Ok(permit) = Arc::clone(&free).acquire_owned().await else { return };
        // Small answers, for which somebody waits.
        let _ = stream.set_nodelay(true);
        let api = Arc::clone(&api);
        let known = Arc::new(Known::default());
        let its = Arc::clone(&known);
        let task = connections.spawn(async move {
            let known = &*its;
            let service =
                service_fn(async |request| Ok::<_, Infallible>(respond(&api, request, known).await));
            let mut server = http1::Builder::new();
            server.timer(TokioTimer::new()).header_read_timeout(HEADERS).max_buf_size(BODY);
            // What goes wrong on a connection is the client's to know.
            let mut serving = pin!(server.serve_connection(TokioIo::new(stream), service));
            let is_served = tokio::select! {
                _ = &mut serving => true,
                () = known.introduced.notified() => false,
                () = tokio::time::sleep(STRANGER) => true,
            };
            if !is_served {
                let _ = serving.await;
            }
            drop(permit);
        });
        strangers.push_back((task, known));
    }
}

async fn respond(api: &Api, request: Request<Incoming>, known: &Known) -> Response<Full<Bytes>> {
    let (status, value) = api.answer(request, known).await.unwrap_or_else(|answer| answer);
    let text = if value.is_null() { String::new() } else { value.to_string() };
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    let json = http::HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}

/// The client for Python sends a form.
async fn asked(body: Incoming, is_form: bool) -> Result<Asked, Answer> {
    let Ok(body) = Limited::new(body, BODY).collect().await else {
        return Err((StatusCode::PAYLOAD_TOO_LARGE, message("the request is too large")));
    };
    let body = body.to_bytes();
    if is_form {
        let hash = url::form_urlencoded::parse(&body).find(|(name, _)| name == "hash");
        let hash = hash.ok_or_else(|| {
            let told = "hash is required, and this form has none: {\"hash\": \"TEXT\"} is read with \
                        Content-Type: application/json";
            (StatusCode::BAD_REQUEST, message(told))
        });
        return hash.map(|(_, hash)| Asked { hash: hash.into_owned() });
    }
    serde_json::from_slice(&body)
        .map_err(|_| (StatusCode::BAD_REQUEST, message("the request is not {\"hash\": \"TEXT\"}")))
}

fn checked(hash: String) -> Result<String, Answer> {
    let why = match hash.len() {
        0 => "hash is required".to_owned(),
        1..=HASH if !hash.chars().any(char::is_control) => return Ok(hash),
        _ => format!("a hash is a text of at most {HASH} bytes"),
    };
    Err((StatusCode::BAD_REQUEST, message(&why)))
}

fn number(text: &str) -> Result<u32, Answer> {
    text.parse().map_err(|_| (StatusCode::BAD_REQUEST, message("invalid test database ID")))
}

fn refused(what: &'static str) -> impl Fn(Refusal) -> Answer {
    move |refusal| match refusal {
        Refusal::Unknown => (StatusCode::NOT_FOUND, message(&format!("{what} not found"))),
        Refusal::Unseeded => {
            let told = "the database that is copied has no seed: `seed` in testbed.yaml, or --seed, names one; a run that starts with a \
                 snapshot has that in its place";
            (StatusCode::NOT_FOUND, message(told))
        }
        Refusal::Discarded => (StatusCode::GONE, message("template was just discarded")),
        Refusal::Locked => (StatusCode::LOCKED, message("template is already initialized")),
        Refusal::Failed(why) => (StatusCode::SERVICE_UNAVAILABLE, message(&why)),
    }
}

fn message(text: &str) -> Value {
    json!({"message": text})
}

/// The login as IntegreSQL tells it, and beside it what differs from engine to engine, as the run's own command has it.
fn database(pool: &Pool, hash: &str, reached: &Connection) -> Result<Value, Answer> {
    let environment = pool.environment(reached).map_err(|why| Refusal::Failed(format!("{why:#}")));
    Ok(json!({
        "templateHash": hash,
        "config": config(reached),
        "engine": reached.engine,
        "url": reached.url,
        "jdbcUrl": reached.jdbc_url,
        "dsn": reached.dsn,
        "environment": environment.map_err(refused("template"))?,
    }))
}

fn config(connection: &Connection) -> Value {
    let Connection { host, port, user, password, database, .. } = connection;
    let mut config =
        json!({"host": host, "port": port, "username": user, "password": password, "database": database});
    let is_postgres = connection.engine == "postgres";
    let secured = match connection.secured() {
        Secured::No => return config,
        Secured::Unverified if is_postgres => json!({"sslmode": "require"}),
        Secured::Unverified => json!({"ssl-mode": "REQUIRED"}),
        Secured::Verified(ca) if is_postgres => json!({"sslmode": "verify-full", "sslrootcert": ca}),
        Secured::Verified(ca) => json!({"ssl-mode": "VERIFY_IDENTITY", "ssl-ca": ca}),
    };
    config["additionalParams"] = secured;
    config
}

/// Takes as long wherever they differ.
fn is_same(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && one.iter().zip(other).fold(0, |all, (one, other)| all | (one ^ other)) == 0
}
