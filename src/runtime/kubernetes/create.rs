//! Creates the run's objects with nothing but POST, and GET where one exists already: the rights of a Role
//! that may `create`, `delete`, `get`, `list` and `watch`. What one call has made is removed again when the
//! call fails.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context, anyhow};
use futures::future::join_all;
use kube::api::{Api, DynamicObject, PostParams};
use kube::core::Request;
use kube::runtime::wait::{await_condition, conditions};
use kube::{Error, ResourceExt};
use serde_json::Value;
use tokio::time::{sleep, timeout, timeout_at};

use super::contact::{Asides, pause};
use super::explain::explain_creation;
use super::kinds::Kinds;
use super::teardown::part::{Deletion, Part, delete};
use super::teardown::remove::{Removal, Scope, describe};
use super::teardown::{DEFAULT_GRACE, Timeout, wait};
use super::{Cluster, FIELD_MANAGER, explain};
use crate::deadline;
use crate::failure::{Advise, Exit};
use crate::manifest::Object;
use crate::manifest::kept;
use crate::manifest::stamp::HASH_ANNOTATION;
use crate::progress::Progress;
use crate::run_id::{RUN_LABEL, RunId};

/// How long a failed creation waits until what it made is gone again.
const ROLL_BACK: Duration = Duration::from_secs(30);

/// How long the kubelet gets to report that a pod is gone which was deleted moments after it was made.
const REPORT: Duration = Duration::from_secs(5);

#[derive(Default)]
pub struct Created {
    pub fresh: usize,
    /// The addresses that the API server gave the Services, by their names.
    cluster_ips: HashMap<String, String>,
    /// Objects of an earlier `up` of the same run.
    pub adopted: Vec<DynamicObject>,
    /// What is doubtful, and about which objects.
    pub warnings: Vec<(String, Vec<String>)>,
}

impl Created {
    pub fn cluster_ip(&self, service: &str) -> Option<&str> {
        self.cluster_ips.get(service).map(String::as_str)
    }

    /// One text for all objects that it is about.
    fn note_warning(&mut self, object: &Object, text: String) {
        match self.warnings.iter_mut().find(|(known, _)| *known == text) {
            Some((_, labels)) => labels.push(object.label()),
            None => self.warnings.push((text, vec![object.label()])),
        }
    }

    fn note_address(&mut self, object: &Object, answer: &DynamicObject) {
        let ip = answer.data.get("spec").and_then(|spec| spec.get("clusterIP")).and_then(Value::as_str);
        if let Some(ip) = ip.filter(|ip| object.kind == "Service" && !ip.is_empty() && *ip != "None") {
            self.cluster_ips.insert(object.name.clone(), ip.to_owned());
        }
    }
}

enum Outcome {
    /// Made, with what is doubtful about it.
    Fresh(DynamicObject, Vec<String>),
    Adopted(DynamicObject),
}

/// Creates all objects: what pods need first, pods and what makes them last; each group at once. Where one
/// fails, those that this call made are gone, or named in the error.
pub async fn create(
    cluster: &Cluster,
    kinds: &Kinds,
    objects: &[Object],
    run_id: &RunId,
    Timeout { told, deadline }: Timeout,
    progress: &Progress,
) -> anyhow::Result<Created> {
    let limit = Timeout { told, deadline: deadline::before(deadline, told) };
    let site = Site { cluster, kinds, run_id, limit, progress };
    let mut created = Created::default();
    let mut fresh: Vec<Fresh> = Vec::new();
    let (pods, needed): (Vec<&Object>, Vec<&Object>) = objects.iter().partition(|object| makes_pods(object));
    for group in [needed, pods] {
        let outcomes = join_all(group.iter().map(|object| site.create(object))).await;
        let mut failure = None;
        for (object, outcome) in group.iter().zip(outcomes) {
            match outcome {
                Ok(Outcome::Fresh(answer, warnings)) => {
                    created.note_address(object, &answer);
                    warnings.into_iter().for_each(|text| created.note_warning(object, text));
                    created.fresh += 1;
                    fresh.extend(kinds.api_of(object).map(|api| Fresh { api, object, answer }));
                }
                Ok(Outcome::Adopted(answer)) => {
                    created.note_address(object, &answer);
                    created.adopted.push(answer);
                }
                Err(error) => {
                    failure.get_or_insert(error);
                }
            }
        }
        if let Some(error) = failure {
            return Err(roll_back(cluster, fresh, error, run_id).await);
        }
    }
    Ok(created)
}

fn makes_pods(object: &Object) -> bool {
    object.kind == "Pod" || object.pod_template().is_some()
}

struct Site<'a> {
    cluster: &'a Cluster,
    kinds: &'a Kinds,
    run_id: &'a RunId,
    limit: Timeout,
    progress: &'a Progress,
}

impl Site<'_> {
    async fn create(&self, object: &Object) -> anyhow::Result<Outcome> {
        let Self { cluster, run_id, .. } = self;
        let action = || format!("{}: creating {}", object.origin, object.label());
        let api = self
            .kinds
            .api_of(object)
            .ok_or_else(|| anyhow!("the kind was not looked up"))
            .with_context(action)?;
        let asides = Asides::default();
        let mut rounds = 0;
        loop {
            if rounds > 1 {
                // What is said to be there, and then not to be, or the other way round.
                sleep(pause(rounds)).await;
            }
            rounds += 1;
            match post(cluster, &api, object, Mode::Real, &asides).await.with_context(action)? {
                Ok(answer) => {
                    let warnings = doubts(object, &answer, &asides);
                    return Ok(Outcome::Fresh(answer, warnings));
                }
                Err(Error::Api(status)) if status.code == 409 && status.reason == "AlreadyExists" => {
                    // It may be gone since.
                    let existing = api
                        .get_opt(&object.name)
                        .await
                        .map_err(|error| explain(cluster, error, &action()))?;
                    let Some(existing) = existing else { continue };
                    if !is_ending(&existing, run_id) {
                        return adopt(object, existing, run_id).with_context(action).map(Outcome::Adopted);
                    }
                    self.see_off(&api, object, &existing).await.with_context(action)?;
                }
                Err(error) => {
                    let is_refused =
                        matches!(&error, Error::Api(status) if (400..500).contains(&status.code));
                    let failed = Err(explain_creation(cluster, error, &action()));
                    return if is_refused {
                        failed
                    } else {
                        failed.hint(may_be_there(cluster, object, run_id))
                    };
                }
            }
        }
    }

    /// Waits until an earlier attempt's object is gone: a retried task can start while that is deleted.
    async fn see_off(
        &self,
        api: &Api<DynamicObject>,
        object: &Object,
        existing: &DynamicObject,
    ) -> anyhow::Result<()> {
        let (cluster, selector, time) = (self.cluster, self.run_id.selector(), self.limit);
        self.progress.say(&format!("waiting until {} of an earlier attempt is gone", object.label()));
        let uid = existing.uid().unwrap_or_default();
        let removal = Removal { selector: &selector, grace: DEFAULT_GRACE, time, scope: Scope::Found };
        let gone = async {
            let part = Part::list(api, object.kind_name(), &selector).await;
            let part = part.map_err(|error| explain(cluster, error, "looking for what is being deleted"))?;
            match part.objects.iter().any(|object| object.uid().as_ref() == Some(&uid)) {
                true => {
                    wait::gone(cluster, &part, [(object.name.clone(), uid.clone())].into(), &removal).await
                }
                false => Ok(()),
            }
        };
        timeout_at(time.deadline, gone).await.unwrap_or_else(|_| {
            let (what, told) = (describe(&object.kind, existing), humantime::format_duration(time.told));
            Err(anyhow!("{what} of an earlier attempt is still being deleted after {told}"))
                .exit(Exit::NotReady)
        })
    }
}

/// Whether an object of this run is on its way out.
pub(super) fn is_ending(existing: &DynamicObject, run_id: &RunId) -> bool {
    existing.metadata.deletion_timestamp.is_some()
        && existing.labels().get(RUN_LABEL).map(String::as_str) == Some(run_id.as_str())
}

/// A creation of which nobody knows what became of it.
fn may_be_there(cluster: &Cluster, object: &Object, run_id: &RunId) -> String {
    let (down, label) = (cluster.down_command(run_id), object.label());
    format!("{label} may be there all the same, since no answer came; {down} removes it then")
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Real,
    /// The API server answers as if, and keeps nothing.
    Dry,
}

/// The POST itself. The body goes out from the manifest's own value; strict validation (Kubernetes 1.25 and
/// later, ignored before) turns a misspelt field into an error. `asides` hears what the API server warns of.
pub(super) async fn post(
    cluster: &Cluster,
    api: &Api<DynamicObject>,
    object: &Object,
    mode: Mode,
    asides: &Asides,
) -> anyhow::Result<Result<DynamicObject, Error>> {
    let params = PostParams { field_manager: Some(FIELD_MANAGER.into()), dry_run: mode == Mode::Dry };
    let mut request = Request::new(api.resource_url()).create(&params, serde_json::to_vec(&object.body)?)?;
    *request.uri_mut() = format!("{}&fieldValidation=Strict", request.uri()).parse()?;
    request.extensions_mut().insert(asides.clone());
    Ok(cluster.client.request(request).await)
}

/// Of an object that the API server took: what it warns of, and what it has left out without a word.
pub(super) fn doubts(object: &Object, answer: &DynamicObject, asides: &Asides) -> Vec<String> {
    let mut doubts: Vec<String> =
        asides.take().into_iter().map(|text| format!("the API server warns: {text}")).collect();
    let left_out = kept::left_out(object.body.get("spec"), answer.data.get("spec"));
    if !left_out.is_empty() {
        let fields = left_out.join(", ");
        doubts.push(format!(
            "the API server has left out {fields}: its version does not have that, or not switched on"
        ));
    }
    doubts
}

/// Takes an object that exists already for this run's own, or says whose it is.
pub(super) fn adopt(
    object: &Object,
    existing: DynamicObject,
    run_id: &RunId,
) -> anyhow::Result<DynamicObject> {
    let owner = existing.labels().get(RUN_LABEL);
    if owner.map(String::as_str) != Some(run_id.as_str()) {
        let owner = owner.map_or_else(|| "no run of testbed".to_owned(), |run| format!("run {run}"));
        return Err(anyhow!("it exists already and belongs to {owner}"))
            .hint("put $(context.pipelineRun.uid) into the name, so that each run has objects of its own");
    }
    let down = || format!("remove the run first: testbed down --run-id {run_id}");
    let ours = object.metadata("annotations").and_then(|annotations| annotations.get(HASH_ANNOTATION));
    if existing.annotations().get(HASH_ANNOTATION).map(String::as_str) != ours.and_then(Value::as_str) {
        return Err(anyhow!("it exists already in this run, made from another content")).hint(down());
    }
    let phase = existing.data.get("status").and_then(|status| status.get("phase")).and_then(Value::as_str);
    if object.kind == "Pod" && matches!(phase, Some("Failed" | "Succeeded")) {
        return Err(anyhow!("it exists already in this run, and has ended ({})", phase.unwrap_or_default()))
            .hint(down());
    }
    Ok(existing)
}

struct Fresh<'a> {
    api: Api<DynamicObject>,
    object: &'a Object,
    answer: DynamicObject,
}

impl Fresh<'_> {
    async fn remove(&self) -> anyhow::Result<()> {
        let (name, uid) = (self.answer.name_any(), self.answer.uid().unwrap_or_default());
        let gone = || await_condition(self.api.clone(), &name, conditions::is_deleted(&uid));
        if delete(&self.api, &self.object.kind, &self.answer, DEFAULT_GRACE).await? != Deletion::Pending {
            return Ok(());
        }
        if self.object.kind == "Pod" && timeout(REPORT, gone()).await.is_err() {
            // It was deleted before it came to run, and the kubelet takes its time to say so.
            delete(&self.api, &self.object.kind, &self.answer, 0).await?;
        }
        timeout(ROLL_BACK, gone()).await??;
        Ok(())
    }
}

async fn roll_back(
    cluster: &Cluster,
    fresh: Vec<Fresh<'_>>,
    error: anyhow::Error,
    run_id: &RunId,
) -> anyhow::Error {
    let outcomes = join_all(fresh.iter().map(Fresh::remove)).await;
    let failed = outcomes.iter().zip(&fresh).filter(|(outcome, _)| outcome.is_err());
    let left: Vec<String> = failed.map(|(_, fresh)| fresh.object.label()).collect();
    if left.is_empty() {
        return error;
    }
    let hint =
        format!("{} could not be removed again; try: {}", left.join(", "), cluster.down_command(run_id));
    error.hint(hint)
}
