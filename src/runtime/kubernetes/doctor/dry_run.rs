//! What the API server would make of each object: the creation itself, with the request to keep nothing
//! (`dryRun=All`). Admission, validation and defaults are real. Quotas are looked at for each object by
//! itself, which is why [`quota`](super::quota) adds them up.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt, stream};
use kube::Error;
use kube::api::DynamicObject;
use kube::core::Status;
use serde_json::{Value, json};

use super::{Planned, names};
use crate::doctor::Verdict;
use crate::manifest::Object;
use crate::runtime::kubernetes::contact::Asides;
use crate::runtime::kubernetes::create::{Mode, adopt, doubts, is_ending, post};
use crate::runtime::kubernetes::diagnose::admission::{self, Rule};
use crate::runtime::kubernetes::explain::explain_creation;
use crate::runtime::kubernetes::kinds::Kinds;
use crate::runtime::kubernetes::{AT_ONCE, Cluster, explain};

pub(super) const CHECK: &str = "dry-run";

#[derive(Default)]
pub(super) struct Trial {
    /// What would be refused, and why.
    pub verdicts: Vec<Verdict>,
    /// As the API server would keep them, defaults and what webhooks add included, by label (`Pod mysql-42`).
    pub accepted: BTreeMap<String, DynamicObject>,
    /// Of what makes pods, such a pod, by the maker's label.
    pub pods: BTreeMap<String, DynamicObject>,
    /// The labels of the objects that are there already, as this run's own.
    pub existing: BTreeSet<String>,
}

enum Outcome {
    /// With what is doubtful about it.
    Accepted(Box<DynamicObject>, Vec<String>),
    Existing,
    Refused(Verdict),
}

struct Attempt<'a> {
    object: &'a Object,
    /// The pod that it would make, if that is what is tried.
    pod: Option<Object>,
}

/// Tries every object, and a pod of each template: a controller makes that one later, where nobody looks.
pub(super) async fn check(cluster: &Cluster, planned: &Planned<'_>, kinds: &Kinds) -> Trial {
    let objects = planned.objects.iter().filter(|object| names::refusal(object).is_none());
    let attempts = objects.flat_map(|object| {
        let pod = pod_of(object).map(|pod| Attempt { object, pod: Some(pod) });
        [Some(Attempt { object, pod: None }), pod].into_iter().flatten()
    });
    let outcomes =
        attempts.map(|attempt| async move { (attempt.run(cluster, planned, kinds).await, attempt) });
    let outcomes: Vec<(Outcome, Attempt)> = stream::iter(outcomes).buffered(AT_ONCE).collect().await;
    let mut trial = Trial::default();
    for (outcome, Attempt { object, pod }) in outcomes {
        match outcome {
            Outcome::Accepted(answer, warnings) => {
                // What the namespace's Pod Security level warns of, another check tells with the remedy.
                let others = warnings.iter().filter(|text| !text.contains("violate PodSecurity"));
                let warned = others.map(|text| Verdict::warning(CHECK, text.clone()).on(object.label()));
                // The API server says of a template what it says of its pods.
                let is_new = |verdict: &Verdict| {
                    !trial
                        .verdicts
                        .iter()
                        .any(|known| known.object == verdict.object && known.message == verdict.message)
                };
                let warned: Vec<Verdict> = warned.filter(is_new).collect();
                trial.verdicts.extend(warned);
                let accepted = if pod.is_some() { &mut trial.pods } else { &mut trial.accepted };
                accepted.insert(object.label(), *answer);
            }
            Outcome::Existing => drop(trial.existing.insert(object.label())),
            Outcome::Refused(verdict) => trial.verdicts.push(verdict.on(object.label())),
        }
    }
    trial.sum_up(planned.objects.len());
    trial
}

impl Trial {
    /// One line for all that is well.
    fn sum_up(&mut self, all: usize) {
        let (accepted, existing) = (self.accepted.len(), self.existing.len());
        if accepted + existing > 0 {
            let there =
                if existing > 0 { format!("; {existing} of this run exist already") } else { String::new() };
            self.verdicts.insert(
                0,
                Verdict::ok(CHECK, format!("the API server would take {accepted} of {all} objects{there}")),
            );
        }
    }
}

impl Attempt<'_> {
    async fn run(&self, cluster: &Cluster, planned: &Planned<'_>, kinds: &Kinds) -> Outcome {
        let subject = self.pod.as_ref().unwrap_or(self.object);
        let skipped = |why: String| Outcome::Refused(Verdict::skipped(CHECK, why));
        let Some(api) = kinds.api_of(subject) else {
            return skipped("the cluster does not have the kind".into());
        };
        let action =
            if self.pod.is_some() { "trying to create a pod of its template" } else { "trying to create it" };
        let asides = Asides::default();
        let error = match post(cluster, &api, subject, Mode::Dry, &asides).await {
            Ok(Ok(answer)) => {
                let warnings = doubts(subject, &answer, &asides)
                    .iter()
                    .map(|text| planned.redactor.redact(text))
                    .collect();
                return Outcome::Accepted(Box::new(answer), warnings);
            }
            Ok(Err(error)) => error,
            Err(error) => return Outcome::Refused(Verdict::from_error(CHECK, &error)),
        };
        let Error::Api(status) = &error else {
            return skipped(format!("{:#}", explain(cluster, error, action)));
        };
        if status.code == 409 && status.reason == "AlreadyExists" {
            return match api
                .get(&subject.name)
                .await
                .map_err(|error| explain(cluster, error, "looking at what exists already"))
            {
                Ok(existing) if is_ending(&existing, planned.run_id) => skipped(
                    "one of an earlier attempt of this run is being deleted: `up` waits until it is gone"
                        .into(),
                ),
                Ok(existing) => match adopt(subject, existing, planned.run_id) {
                    Ok(_) => Outcome::Existing,
                    Err(error) => Outcome::Refused(Verdict::from_error(CHECK, &error)),
                },
                Err(error) => skipped(format!("{error:#}")),
            };
        }
        if let Some(webhook) = refuses_dry_runs(status) {
            return skipped(format!(
                "{action}: the webhook {webhook} takes no dry run, so what it would say is not known"
            ));
        }
        if is_denied(status) {
            return match self.pod {
                // Its controller may create pods, whoever else may not.
                Some(_) => skipped(format!("{action} needs create on pods")),
                None => Outcome::Refused(Verdict::from_error("rights", &explain(cluster, error, action))),
            };
        }
        let check = match admission::read(&status.message, &cluster.kubectl).map(|refusal| refusal.rule) {
            Some(Rule::Account) if account_comes_along(subject, planned.objects) => {
                return skipped(format!("{action}: its ServiceAccount is in the manifest"));
            }
            Some(Rule::Account | Rule::Class) => super::references::CHECK,
            Some(Rule::Quota) => super::quota::CHECK,
            Some(Rule::Limits) => "limits",
            Some(Rule::Security) => super::security::CHECK,
            Some(Rule::Webhook | Rule::Ending) | None => CHECK,
        };
        let mut verdict = Verdict::from_error(check, &explain_creation(cluster, error, action));
        // The API server may quote what it does not take.
        verdict.message = planned.redactor.redact(&verdict.message);
        Outcome::Refused(verdict)
    }
}

/// Whether a right is missing, rather than that a rule of the namespace speaks.
fn is_denied(status: &Status) -> bool {
    status.code == 403 && status.message.contains("cannot create resource")
}

/// The webhook of `admission webhook "a.example.com" does not support dry run`.
fn refuses_dry_runs(status: &Status) -> Option<&str> {
    status
        .message
        .contains("does not support dry run")
        .then(|| status.message.split('"').nth(1).unwrap_or("of the cluster"))
}

/// Whether the pod's ServiceAccount is made by the same run, before its pods.
fn account_comes_along(pod: &Object, objects: &[Object]) -> bool {
    let name = pod.body.get("spec").and_then(|spec| spec.get("serviceAccountName")).and_then(Value::as_str);
    objects.iter().any(|object| object.kind == "ServiceAccount" && Some(object.name.as_str()) == name)
}

/// A pod as the object's controller would make it.
fn pod_of(object: &Object) -> Option<Object> {
    let mut template = object.pod_template()?.clone();
    let name = format!("{}-doctor", object.name);
    let template = template.as_object_mut()?;
    template.insert("apiVersion".into(), "v1".into());
    template.insert("kind".into(), "Pod".into());
    let metadata = template.entry("metadata").or_insert_with(|| json!({})).as_object_mut()?;
    metadata.insert("name".into(), name.as_str().into());
    if let Some(namespace) = object.namespace() {
        metadata.insert("namespace".into(), namespace.into());
    }
    if let Some(Value::Array(claims)) =
        object.body.get("spec").and_then(|spec| spec.get("volumeClaimTemplates"))
    {
        let names = claims.iter().filter_map(|claim| claim.get("metadata")?.get("name"));
        let added = names.map(|name| json!({"name": name, "persistentVolumeClaim": {"claimName": name}}));
        let volumes =
            template.get_mut("spec")?.as_object_mut()?.entry("volumes").or_insert_with(|| json!([]));
        volumes.as_array_mut()?.extend(added);
    }
    let body = template.clone();
    Some(Object { origin: object.origin.clone(), api_version: "v1".into(), kind: "Pod".into(), name, body })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::parse::parse;

    #[test]
    fn a_pod_of_a_template_has_what_its_controller_adds() {
        let text = "apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: db}\nspec:\n  template:\n    metadata: {labels: {app: db}}\n    \
                    spec: {containers: [{name: db, volumeMounts: [{name: data, mountPath: /data}]}]}\n  volumeClaimTemplates: [{metadata: {name: data}}]\n";
        let pod = pod_of(&parse("m.yaml", text).unwrap()[0]).unwrap();
        assert_eq!(
            (pod.label(), pod.body["metadata"]["labels"]["app"].as_str()),
            ("Pod db-doctor".into(), Some("db"))
        );
        assert_eq!(pod.body["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"], "data");
        assert!(
            pod_of(
                &parse("m.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: []}\n")
                    .unwrap()[0]
            )
            .is_none()
        );
    }

    #[test]
    fn a_webhook_that_takes_no_dry_run_is_named() {
        let status = |message: &str| Status { code: 400, message: message.into(), ..Status::default() };
        let webhook = status("admission webhook \"a.example.com\" does not support dry run");
        assert_eq!(refuses_dry_runs(&webhook), Some("a.example.com"));
        assert_eq!(
            refuses_dry_runs(&status("admission webhook \"a.example.com\" denied the request: no")),
            None
        );
    }
}
