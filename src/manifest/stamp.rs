//! What makes an object one of the run's: labels and annotations on every object, pod template and volume
//! claim template, and pods that stop at once, do not run for ever, and get no token of the cluster's API.

use std::collections::BTreeSet;

use anyhow::{anyhow, bail};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::Object;
use super::lifetime::{EXPIRES_ANNOTATION, Limit};
use crate::failure::{Advise, Exit};
use crate::run_id::RunId;

/// Tells whether an object that exists already was made from the same content. Hexadecimal SHA-256 of the
/// object before stamping.
pub const HASH_ANNOTATION: &str = "testbed/content-hash";
/// The same on all that one call makes, templates and claims included: a hash of all of its objects' content.
/// By this and the record, a run's own objects are told from others with its labels.
pub const RUN_HASH_ANNOTATION: &str = "testbed/run-hash";
/// The kinds that the run made, `apiVersion/Kind` with commas between, and `apiVersion/Kind@namespace` for
/// objects that name one: where a teardown has to look.
pub const KINDS_ANNOTATION: &str = "testbed/kinds";
/// On pods: the manifest's object that the pod stands for, such as `Deployment/app`.
pub const WORKLOAD_ANNOTATION: &str = "testbed/workload";

/// The id of the run's record in the archive: whoever removes the run goes on with it.
pub const RECORD_ANNOTATION: &str = "testbed/record";

/// What all objects of a run have in common.
pub struct Stamp<'a> {
    pub run_id: &'a RunId,
    /// The texts that were made up for this run (passwords): the content hash passes over them, so that a
    /// second `up` of the same run recognises its objects.
    pub generated: &'a [&'a str],
    /// When the run is over, if it has an end.
    pub limit: Option<&'a Limit>,
}

/// Stamps all objects of a run.
///
/// # Errors
/// A usage error when labels or annotations are no mapping.
pub fn stamp(objects: &mut [Object], stamp: &Stamp) -> anyhow::Result<()> {
    objects.iter_mut().for_each(|object| restore_texts(&mut object.body));
    let hashes: Vec<String> =
        objects.iter().map(|object| content_hash(&object.body, stamp.generated)).collect();
    let (kinds, run_hash) = (kinds(objects), run_hash(objects, &hashes));
    let common = [(KINDS_ANNOTATION, kinds.as_str()), (RUN_HASH_ANNOTATION, &run_hash)];
    objects
        .iter_mut()
        .zip(&hashes)
        .try_for_each(|(object, hash)| stamp.put_on(object, hash, &common))
        .exit(Exit::Usage)
}

/// One hash for all of them, whatever their order.
fn run_hash(objects: &[Object], hashes: &[String]) -> String {
    let lines: BTreeSet<String> =
        objects.iter().zip(hashes).map(|(object, hash)| format!("{} {hash}\n", object.label())).collect();
    hexadecimal(lines.into_iter().collect::<String>().as_bytes())
}

/// Notes the run's record on all that was stamped. The content hash passes over it.
pub fn note_record(objects: &mut [Object], id: &str) -> anyhow::Result<()> {
    objects
        .iter_mut()
        .try_for_each(|object| {
            each_metadata(object, |metadata| annotate(metadata, &[(RECORD_ANNOTATION, id)]))
        })
        .exit(Exit::Usage)
}

/// Changes the metadata of an object, and of what it makes.
fn each_metadata(
    object: &mut Object,
    change: impl Fn(&mut Map<String, Value>) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    change(metadata(&mut object.body)?)?;
    if let Some(Value::Object(template)) = object.pod_template_mut() {
        change(metadata(template)?)?;
    }
    let Some(Value::Object(spec)) = object.body.get_mut("spec") else { return Ok(()) };
    let claims = spec.get_mut("volumeClaimTemplates").and_then(Value::as_array_mut);
    for claim in claims.into_iter().flatten().filter_map(Value::as_object_mut) {
        change(metadata(claim)?)?;
    }
    // A CronJob's Jobs take their labels from jobTemplate.metadata.
    match spec.get_mut("jobTemplate") {
        Some(Value::Object(template)) => change(metadata(template)?),
        _ => Ok(()),
    }
}

fn kinds(objects: &[Object]) -> String {
    let kind = |object: &Object| match object.namespace() {
        Some(namespace) => format!("{}/{}@{namespace}", object.api_version, object.kind),
        None => format!("{}/{}", object.api_version, object.kind),
    };
    let mut kinds: BTreeSet<String> = objects.iter().map(kind).collect();
    if objects
        .iter()
        .any(|object| object.body.get("spec").is_some_and(|spec| spec.get("volumeClaimTemplates").is_some()))
    {
        kinds.insert("v1/PersistentVolumeClaim".into());
    }
    kinds.into_iter().collect::<Vec<_>>().join(",")
}

impl Stamp<'_> {
    fn put_on(&self, object: &mut Object, hash: &str, common: &[(&str, &str)]) -> anyhow::Result<()> {
        let place = format!("{}: {}", object.origin, object.label());
        let workload = format!("{}/{}", object.kind, object.name);
        let mut put = || {
            annotate(metadata(&mut object.body)?, &[(HASH_ANNOTATION, hash)])?;
            each_metadata(object, |metadata| self.mark(metadata, common))?;
            if object.kind == "Pod" {
                stand_for(&workload, &mut object.body)?;
            }
            if let Some(Value::Object(template)) = object.pod_template_mut() {
                stand_for(&workload, template)?;
            }
            Ok(())
        };
        put().map_err(|error: anyhow::Error| anyhow!("{place}: {error}"))?;
        if let Some(limit) = self.limit {
            limit.set_deadline(object);
        }
        Ok(())
    }

    fn mark(&self, metadata: &mut Map<String, Value>, annotations: &[(&str, &str)]) -> anyhow::Result<()> {
        let labels = mapping(metadata, "labels")?;
        for (key, value) in self.run_id.labels() {
            labels.insert(key.into(), value.into());
        }
        annotate(metadata, annotations)?;
        match self.limit {
            Some(limit) => annotate(metadata, &[(EXPIRES_ANNOTATION, &limit.expires)]),
            None => Ok(()),
        }
    }
}

/// Makes a pod, or a template of pods, one of a workload.
fn stand_for(workload: &str, pod: &mut Map<String, Value>) -> anyhow::Result<()> {
    modest(pod.get_mut("spec"));
    annotate(metadata(pod)?, &[(WORKLOAD_ANNOTATION, workload)])
}

/// Gives a pod one second to stop unless its manifest says otherwise. Its data is thrown away, and the
/// entrypoint's shell ignores SIGTERM while it sets the database up. The grace period of a deletion alone is
/// not enough: one that comes while the containers start is carried out with the period of the spec, half a
/// minute by default.
///
/// Nor does a database need a token of the cluster's API, which whoever gets into the pod could use.
fn modest(spec: Option<&mut Value>) {
    if let Some(Value::Object(spec)) = spec {
        spec.entry("terminationGracePeriodSeconds").or_insert_with(|| 1.into());
        spec.entry("automountServiceAccountToken").or_insert_with(|| false.into());
    }
}

pub(super) fn metadata(object: &mut Map<String, Value>) -> anyhow::Result<&mut Map<String, Value>> {
    mapping(object, "metadata")
}

pub(super) fn mapping<'a>(
    object: &'a mut Map<String, Value>,
    field: &str,
) -> anyhow::Result<&'a mut Map<String, Value>> {
    let value = object.entry(field).or_insert(Value::Null);
    if value.is_null() {
        *value = Value::Object(Map::new());
    }
    match value {
        Value::Object(map) => Ok(map),
        _ => bail!("{field} is not a mapping"),
    }
}

fn annotate(metadata: &mut Map<String, Value>, annotations: &[(&str, &str)]) -> anyhow::Result<()> {
    let map = mapping(metadata, "annotations")?;
    map.extend(annotations.iter().map(|(key, value)| ((*key).into(), (*value).into())));
    Ok(())
}

fn content_hash(body: &Map<String, Value>, generated: &[&str]) -> String {
    let mut text = serde_json::to_string(body).unwrap_or_default();
    for secret in generated {
        text = text.replace(secret, "");
    }
    hexadecimal(text.as_bytes())
}

fn hexadecimal(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Turns numbers back into texts where Kubernetes takes nothing but texts: a run id of digits alone (a build
/// number) is a text in the template and a number to YAML.
fn restore_texts(value: &mut Map<String, Value>) {
    for (key, value) in value.iter_mut() {
        match (key.as_str(), value) {
            (
                "labels" | "annotations" | "matchLabels" | "selector" | "stringData" | "nodeSelector",
                Value::Object(texts),
            ) => {
                texts.values_mut().for_each(restore_text);
                restore_texts(texts);
            }
            (_, Value::Object(inner)) => restore_inner(inner),
            (_, Value::Array(items)) => {
                items.iter_mut().filter_map(Value::as_object_mut).for_each(restore_inner);
            }
            _ => {}
        }
    }
}

/// Names, and values of variables, are further in: a PriorityClass has a `value` of its own that is a number,
/// and so have others that stand for no `name` or `key`, such as what an autoscaler may do.
fn restore_inner(inner: &mut Map<String, Value>) {
    let names_its_value = inner.contains_key("name") || inner.contains_key("key");
    for key in ["name", "value", "claimName", "secretName"]
        .into_iter()
        .filter(|key| *key != "value" || names_its_value)
    {
        inner.get_mut(key).into_iter().for_each(restore_text);
    }
    restore_texts(inner);
}

fn restore_text(value: &mut Value) {
    if let Value::Number(number) = value {
        *value = Value::String(number.to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse::parse;
    use super::*;

    fn stamped(text: &str, run_id: &str, generated: &[&str]) -> Vec<Object> {
        let mut objects = parse("m.yaml", text).unwrap();
        let limit = Limit { seconds: 7200, expires: "2026-01-01T02:00:00Z".into() };
        stamp(
            &mut objects,
            &Stamp { run_id: &RunId::parse(run_id).unwrap(), generated, limit: Some(&limit) },
        )
        .unwrap();
        objects
    }

    fn annotation<'a>(object: &'a Object, key: &str) -> &'a str {
        object.metadata("annotations").unwrap()[key].as_str().unwrap()
    }

    #[test]
    fn objects_templates_and_claims_carry_the_run() {
        let text = "apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: db}\nspec:\n  template:\n    metadata: {labels: {app: db}}\n    \
                    spec: {containers: [{name: db}]}\n  volumeClaimTemplates: [{metadata: {name: data}}]\n";
        let object = &stamped(text, "run-1", &[])[0];
        let spec = &object.body["spec"];
        for metadata in [
            &object.body["metadata"],
            &spec["template"]["metadata"],
            &spec["volumeClaimTemplates"][0]["metadata"],
        ] {
            assert_eq!(metadata["labels"]["test-dependencies"], "run-1");
            assert_eq!(metadata["labels"]["app.kubernetes.io/managed-by"], "testbed");
            assert_eq!(
                metadata["annotations"]["testbed/kinds"],
                "apps/v1/StatefulSet,v1/PersistentVolumeClaim"
            );
            assert_eq!(metadata["annotations"]["testbed/expires"], "2026-01-01T02:00:00Z");
            assert_eq!(metadata["annotations"]["testbed/run-hash"], annotation(object, RUN_HASH_ANNOTATION));
        }
        assert_eq!(spec["template"]["metadata"]["labels"]["app"], "db");
        assert_eq!(spec["template"]["metadata"]["annotations"]["testbed/workload"], "StatefulSet/db");
        assert_eq!(spec["template"]["spec"]["terminationGracePeriodSeconds"], 1);
    }

    #[test]
    fn the_record_is_noted_on_all_that_the_run_makes_and_is_no_part_of_the_content() {
        let text = "apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: db}\nspec:\n  template: {spec: {containers: [{name: db}]}}\n  \
                    volumeClaimTemplates: [{metadata: {name: data}}]\n";
        let mut objects = stamped(text, "run-1", &[]);
        let hash = annotation(&objects[0], HASH_ANNOTATION).to_owned();
        note_record(&mut objects, "record-1").unwrap();
        let (body, spec) = (&objects[0].body, &objects[0].body["spec"]);
        for metadata in
            [&body["metadata"], &spec["template"]["metadata"], &spec["volumeClaimTemplates"][0]["metadata"]]
        {
            assert_eq!(metadata["annotations"][RECORD_ANNOTATION], "record-1");
        }
        assert_eq!(annotation(&objects[0], HASH_ANNOTATION), hash);
    }

    #[test]
    fn pods_are_modest_unless_the_manifest_says_otherwise() {
        let spec = |spec: &str| {
            let text = format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: a}}\nspec: {spec}\n");
            let spec = stamped(&text, "run-1", &[])[0].body["spec"].clone();
            ["terminationGracePeriodSeconds", "automountServiceAccountToken", "activeDeadlineSeconds"]
                .map(|field| spec[field].clone())
        };
        assert_eq!(spec("{containers: []}"), [1.into(), false.into(), Value::from(7200)]);
        let own = "{terminationGracePeriodSeconds: 45, automountServiceAccountToken: true, activeDeadlineSeconds: 60}";
        assert_eq!(spec(own), [45.into(), true.into(), Value::from(60)]);
    }

    #[test]
    fn the_hash_passes_over_generated_texts_and_nothing_else() {
        let secret = |password: &str, key: &str| {
            let text = format!(
                "apiVersion: v1\nkind: Secret\nmetadata: {{name: a}}\nstringData: {{{key}: {password}}}\n"
            );
            annotation(&stamped(&text, "run-1", &["p1", "p2"])[0], HASH_ANNOTATION).to_owned()
        };
        assert_eq!(secret("p1", "k"), secret("p2", "k"));
        assert_ne!(secret("p1", "k"), secret("p1", "l"));
        assert_ne!(secret("p1", "k"), secret("other", "k"));
    }

    #[test]
    fn all_that_one_call_makes_carries_one_hash() {
        let map = |name: &str| format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\n");
        let hashes = |names: &[&str]| -> BTreeSet<String> {
            let text = names.iter().map(|name| map(name)).collect::<Vec<_>>().join("---\n");
            stamped(&text, "run-1", &[])
                .iter()
                .map(|object| annotation(object, RUN_HASH_ANNOTATION).to_owned())
                .collect()
        };
        let both = hashes(&["a", "b"]);
        assert_eq!(both.len(), 1);
        assert_eq!(both, hashes(&["b", "a"]));
        assert_ne!(both, hashes(&["a"]));
    }

    #[test]
    fn a_run_id_of_digits_stays_a_text() {
        let text = "apiVersion: v1\nkind: Service\nmetadata: {name: 42, labels: {a: 42}}\nspec: {selector: {a: 42}, ports: [{port: 42}]}\n";
        let body = &stamped(text, "42", &[])[0].body;
        assert_eq!(body["metadata"]["name"], "42");
        assert_eq!(body["metadata"]["labels"]["a"], "42");
        assert_eq!(body["spec"]["selector"]["a"], "42");
        assert_eq!(body["spec"]["ports"][0]["port"], 42);
        let text = "apiVersion: scheduling.k8s.io/v1\nkind: PriorityClass\nmetadata: {name: a}\nvalue: 42\n";
        assert_eq!(stamped(text, "42", &[])[0].body["value"], 42);
        let text = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [{name: a, env: [{name: B, value: 42}]}], tolerations: [{key: a, value: 42}], \
                    behavior: {policies: [{type: Pods, value: 42}]}}\n";
        let spec = &stamped(text, "42", &[])[0].body["spec"];
        assert_eq!(
            (&spec["containers"][0]["env"][0]["value"], &spec["tolerations"][0]["value"]),
            (&"42".into(), &"42".into())
        );
        assert_eq!(spec["behavior"]["policies"][0]["value"], 42);
    }

    #[test]
    fn labels_that_are_no_mapping_are_refused() {
        let mut objects =
            parse("m.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: a, labels: [x]}\n").unwrap();
        let error = stamp(
            &mut objects,
            &Stamp { run_id: &RunId::parse("run-1").unwrap(), generated: &[], limit: None },
        )
        .unwrap_err();
        assert_eq!(format!("{error:#}"), "m.yaml: document 1 (line 1): Pod a: labels is not a mapping");
    }
}
