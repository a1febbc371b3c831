//! An API server that answers every request with the next part of the input.
//!
//! A part's first byte says with which code: a digit stands for one of [`CODES`], anything else for the first
//! of them and is a part of the answer.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock, Mutex};

use http::{Request, Response};
use kube::Client;
use kube::client::Body;
use testbed::runtime::kubernetes::{Choice, Cluster};
use tower::service_fn;

use crate::parts;

/// What an answer may begin with.
const CODES: [u16; 10] = [200, 201, 400, 403, 404, 409, 410, 422, 500, 503];

const KUBECONFIG: &str = r#"{"apiVersion": "v1", "kind": "Config", "current-context": "c",
"contexts": [{"name": "c", "context": {"cluster": "c", "user": "u", "namespace": "test"}}], "users": [{"name": "u", "user": {}}],
"clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:1"}}]}"#;

/// A file that is there for as long as the target runs.
static FILE: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a folder").keep();
    let path = folder.join("kubeconfig");
    std::fs::write(&path, KUBECONFIG).expect("a kubeconfig");
    path
});

/// The cluster of an input. Once its parts are at an end it answers with nothing.
pub async fn saying(data: &[u8]) -> Cluster {
    let answers: VecDeque<Vec<u8>> = parts(data).map(<[u8]>::to_vec).collect();
    let answers = Arc::new(Mutex::new(answers));
    let service = service_fn(move |_: Request<Body>| {
        let next = answers.lock().map(|mut answers| answers.pop_front()).ok().flatten();
        async move { Ok::<_, Infallible>(response(&next.unwrap_or_default())) }
    });
    let choice = Choice { kubeconfig: Some(FILE.clone()), ..Choice::default() };
    let cluster = Cluster::connect(&choice).await.expect("a kubeconfig");
    cluster.with_client(Client::new(service, "test"))
}

fn response(answer: &[u8]) -> Response<Body> {
    let (code, body) = match answer.split_first() {
        Some((first, rest)) if first.is_ascii_digit() => (CODES[usize::from(first - b'0')], rest),
        _ => (CODES[0], answer),
    };
    let mut response = Response::new(Body::from(body.to_vec()));
    response
        .headers_mut()
        .insert(http::header::DATE, http::HeaderValue::from_static("Sun, 06 Nov 1994 08:49:37 GMT"));
    *response.status_mut() = http::StatusCode::from_u16(code).unwrap_or_default();
    response
}
