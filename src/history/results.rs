//! A record for Tekton Results, of a type of our own, under the Result of the run's PipelineRun.
//!
//! Results keeps any JSON under a type's name, found again with the filter `data_type == "testbed/v1.Run"`.
//! Its REST API is described at <https://github.com/tektoncd/results/tree/main/docs/api>. Logs can only be
//! uploaded by gRPC and are left out; which there are in the archive, the record tells.

use std::io::Cursor;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::{self, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use k8s_openapi::ByteString;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use rustls::ClientConfig;
use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;

use super::record::Record;
use crate::failure::{Advise, Exit, innermost, usage};
use crate::reading;
use crate::trust::{self, Trust};

/// The type's name: it changes with the version of the record's JSON.
pub const TYPE: &str = "testbed/v1.Run";

/// Where a pod finds its ServiceAccount's token and namespace.
const ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// How much a request may carry: the API takes messages of 4 MiB, and base64 takes a third more.
const LIMIT: usize = 2 << 20;

/// How much of an answer is read: it is the record once more, or an error.
const ANSWER: usize = 16 << 20;

/// What to do where it cannot be reached.
const REACHING: &str = "--results-api is its address, by a name that its certificate is for (that of Results' own guide is for \
                        tekton-results-api-service.tekton-pipelines.svc.cluster.local alone), and --results-ca the file with the \
                        certificates that its own is held against";

pub struct ResultsApi {
    url: Url,
    tls: ClientConfig,
    token: Option<PathBuf>,
}

type Client = legacy::Client<hyper_rustls::HttpsConnector<HttpConnector>, Full<Cursor<Vec<u8>>>>;

/// A record as the API tells it.
#[derive(Deserialize)]
struct Answer {
    data: Data,
}

#[derive(Deserialize)]
struct Data {
    value: ByteString,
}

/// The PipelineRun's Result and the record in it, as the API names them.
#[derive(Debug, PartialEq, Eq)]
struct Name {
    namespace: String,
    result: String,
    record: String,
}

impl ResultsApi {
    /// `token` is the file with the bearer token, else the pod's own; `ca` is a file or PEM text with the
    /// certificates that the API's is held against, else the system's.
    pub fn new(url: &str, token: Option<PathBuf>, ca: Option<&str>) -> anyhow::Result<Self> {
        let fit = |url: &Url| {
            ["http", "https"].contains(&url.scheme())
                && url.has_host()
                && url.username().is_empty()
                && url.password().is_none()
        };
        let url = Url::parse(url).ok().filter(fit).ok_or_else(|| {
            usage("--results-api is no URL such as https://tekton-results-api-service.tekton-pipelines.svc.cluster.local:8080")
        })?;
        let token = token.or_else(|| Some(PathBuf::from(ACCOUNT).join("token")).filter(|path| path.exists()));
        let tls = ca.map_or_else(|| Trust::System(trust::Name::Right).client(), trust_those_in)?;
        Ok(Self { url, tls, token })
    }

    /// Writes the record of a run that belongs to a PipelineRun, in the place of an earlier one; does nothing
    /// for others. `result` is the Result that its TaskRun belongs to (`NAMESPACE/results/NAME`), where that
    /// is known: it is not always named after the PipelineRun.
    pub async fn publish(&self, record: &Record, result: Option<&str>) -> anyhow::Result<()> {
        let Some(name) = Name::of(record, result) else { return Ok(()) };
        let client = self.client();
        let body = body(&name, record)?;
        let what = || {
            format!(
                "writing the run's record to Tekton Results at {}",
                self.url.origin().ascii_serialization()
            )
        };
        let posted =
            self.send(&client, Method::POST, &name.records(), body.clone()).await.with_context(what)?;
        match posted {
            (StatusCode::CONFLICT, _) => {
                let patched =
                    self.send(&client, Method::PATCH, &name.record(), body).await.with_context(what)?;
                name.judge(patched.0, &patched.1).with_context(what)
            }
            (status, text) => name.judge(status, &text).with_context(what),
        }
    }

    /// The record as an earlier call has written it; `None` where there is none.
    pub async fn read(&self, record: &Record, result: Option<&str>) -> anyhow::Result<Option<Record>> {
        let Some(name) = Name::of(record, result) else { return Ok(None) };
        let (status, text) = self.send(&self.client(), Method::GET, &name.record(), Vec::new()).await?;
        if status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        name.judge(status, &text)?;
        let answer: Answer = serde_json::from_str(&text)?;
        let known: Record = serde_json::from_slice(&answer.data.value.0)?;
        Ok(Some(known).filter(|known| known.id == record.id))
    }

    fn client(&self) -> Client {
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(self.tls.clone())
            .https_or_http()
            .enable_http1()
            .build();
        legacy::Client::builder(TokioExecutor::new()).build(connector)
    }

    async fn send(
        &self,
        client: &Client,
        method: Method,
        path: &str,
        body: Vec<u8>,
    ) -> anyhow::Result<(StatusCode, String)> {
        let url = format!(
            "{}/apis/results.tekton.dev/v1alpha2/parents/{path}",
            self.url.as_str().trim_end_matches('/')
        );
        let mut request =
            Request::builder().method(method).uri(url).header(header::CONTENT_TYPE, "application/json");
        if let Some(token) = &self.token {
            let text = reading::text(token, reading::MOST)
                .with_context(|| format!("reading the token {}", token.display()))?;
            request = request.header(header::AUTHORIZATION, format!("Bearer {}", text.trim()));
        }
        let request = request.body(Full::new(Cursor::new(body)))?;
        let sent = client.request(request).await.map_err(|error| anyhow!("{}", innermost(&error)));
        let answer = sent.hint(REACHING)?;
        let status = answer.status();
        let text = Limited::new(answer.into_body(), ANSWER)
            .collect()
            .await
            .map_err(|error| anyhow!("reading its answer: {}", innermost(error.as_ref())))?
            .to_bytes();
        Ok((status, String::from_utf8_lossy(&text).into_owned()))
    }
}

impl Name {
    /// The PipelineRun is in the namespace of its tasks' pods, one of which this is, or else in the run's.
    fn of(record: &Record, result: Option<&str>) -> Option<Self> {
        if let Some((namespace, result)) = result.and_then(|result| result.split_once("/results/")) {
            return Some(Self {
                namespace: namespace.into(),
                result: result.into(),
                record: record.id.clone(),
            });
        }
        let own = std::fs::read_to_string(PathBuf::from(ACCOUNT).join("namespace")).ok();
        Self::with(record, own.map(|text| text.trim().to_owned()))
    }

    fn with(record: &Record, own: Option<String>) -> Option<Self> {
        let result = record.origin.pipeline_run_uid.clone()?;
        let namespace = own.filter(|text| !text.is_empty()).or_else(|| record.origin.namespace.clone())?;
        Some(Self { namespace, result, record: record.id.clone() })
    }

    fn result(&self) -> String {
        let part = |text: &str| {
            utf8_percent_encode(text, NON_ALPHANUMERIC).to_string().replace("%2D", "-").replace("%5F", "_")
        };
        format!("{}/results/{}", part(&self.namespace), part(&self.result))
    }

    fn records(&self) -> String {
        self.result() + "/records"
    }

    fn record(&self) -> String {
        format!("{}/{}", self.records(), self.record)
    }

    fn judge(&self, status: StatusCode, text: &str) -> anyhow::Result<()> {
        let Self { namespace, result, .. } = self;
        let said = serde_json::from_str::<Value>(text)
            .ok()
            .and_then(|answer| Some(answer.get("message")?.as_str()?.to_owned()));
        let said = said
            .map(|message| format!(": {}", message.chars().take(300).collect::<String>()))
            .unwrap_or_default();
        let error = || Err(anyhow!("it answers {status}{said}"));
        match status {
            status if status.is_success() => Ok(()),
            StatusCode::NOT_FOUND => error().hint(format!(
                "there has to be a Result {result} in namespace {namespace}: the watcher of Tekton Results makes it with the PipelineRun"
            )),
            // It gives the same answer to a token that it does not know and to one that lacks the right.
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => error().hint(format!(
                "the ServiceAccount needs get, create and update on records of results.tekton.dev in namespace {namespace}: bind the ClusterRole \
                 tekton-results-readwrite to it there; or its token is none, and --results-token-file names the file with the right one"
            )),
            _ => error(),
        }
    }
}

/// Trusts those in a file, or in a text of the form that such files have, alone: what they have signed, and
/// these themselves, because the installation guide of Tekton Results makes one that is its own authority.
fn trust_those_in(ca: &str) -> anyhow::Result<ClientConfig> {
    let is_text = ca.trim_start().starts_with("-----BEGIN");
    let what = if is_text {
        "the certificates in TESTBED_RESULTS_CA".to_owned()
    } else {
        format!("--results-ca {ca}")
    };
    let read = || {
        let text =
            if is_text { ca.as_bytes().to_vec() } else { reading::bytes(Path::new(ca), reading::MOST)? };
        Trust::in_pem(&text, trust::Name::Right)?.client()
    };
    read().with_context(|| format!("reading {what}")).exit(Exit::Usage)
}

/// The request's body. Objects and events are left out where they are too much for the API.
fn body(name: &Name, record: &Record) -> anyhow::Result<Vec<u8>> {
    let mut value = serde_json::to_vec(record)?;
    if value.len() > LIMIT {
        let mut notes = record.notes.clone();
        notes.push("objects and events are left out: they are too large for Tekton Results".into());
        value =
            serde_json::to_vec(&Record { objects: Vec::new(), events: Vec::new(), notes, ..record.clone() })?;
    }
    Ok(serde_json::to_vec(
        &json!({"name": name.record(), "data": {"type": TYPE, "value": ByteString(value)}}),
    )?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::record::Origin;

    fn record() -> Record {
        let origin = Origin {
            pipeline_run_uid: Some("uid-1".into()),
            namespace: Some("tests".into()),
            ..Origin::default()
        };
        Record { id: "id-1".into(), origin, ..Record::default() }
    }

    #[test]
    fn a_record_is_named_after_its_pipeline_run() {
        let name = Name::with(&record(), Some("ci".into())).unwrap();
        assert_eq!(name.record(), "ci/results/uid-1/records/id-1");
        assert_eq!(Name::with(&record(), None).unwrap().records(), "tests/results/uid-1/records");
        assert_eq!(Name::with(&Record { origin: Origin::default(), ..record() }, Some("ci".into())), None);
        // As for one that an event has started.
        assert_eq!(
            Name::of(&record(), Some("ci/results/event-1")).unwrap().record(),
            "ci/results/event-1/records/id-1"
        );
    }

    #[test]
    fn what_is_too_large_goes_without_its_objects() {
        let name = Name::with(&record(), None).unwrap();
        let small = body(&name, &record()).unwrap();
        let large = Record { objects: vec![json!("x".repeat(LIMIT))], ..record() };
        let large = body(&name, &large).unwrap();
        assert!(large.len() < small.len() + 500, "{}", large.len());
        let value: Value = serde_json::from_slice(&small).unwrap();
        assert_eq!(
            (&value["name"], &value["data"]["type"]),
            (&json!("tests/results/uid-1/records/id-1"), &json!(TYPE))
        );
    }

    #[test]
    fn refusals_say_what_to_do() {
        let name = Name::with(&record(), None).unwrap();
        let error =
            name.judge(StatusCode::FORBIDDEN, r#"{"code":7,"message":"permission denied"}"#).unwrap_err();
        assert_eq!(format!("{error:#}"), "it answers 403 Forbidden: permission denied");
        for status in [StatusCode::FORBIDDEN, StatusCode::UNAUTHORIZED] {
            let error = name.judge(status, "").unwrap_err();
            let hint = crate::failure::hints_of(&error)[0];
            assert!(
                hint.contains("records of results.tekton.dev in namespace tests")
                    && hint.contains("--results-token-file"),
                "{hint}"
            );
        }
        assert!(name.judge(StatusCode::OK, "{}").is_ok());
        for url in ["", "results:8080", "ftp://h", "https://u:hush@h"] {
            assert!(!format!("{:#}", ResultsApi::new(url, None, None).err().unwrap()).contains("hush"));
        }
    }
}
