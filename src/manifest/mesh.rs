//! Pods with a database stay out of service meshes unless their manifest says otherwise: a sidecar delays the
//! start of a database that lives for minutes, and keeps its pod from ending; and a MySQL server speaks
//! first, which a proxy that guesses the protocol waits out.

use anyhow::Context;
use serde_json::{Map, Value};

use super::{Object, stamp};
use crate::failure::{Advise, Exit};

/// What Istio's injector goes by: a label, and in old versions an annotation of the same name.
/// <https://istio.io/latest/docs/setup/additional-setup/sidecar-injection/>
const ISTIO: &str = "sidecar.istio.io/inject";
/// What Linkerd's injector goes by: an annotation. <https://linkerd.io/2/features/proxy-injection/>
const LINKERD: &str = "linkerd.io/inject";

/// Keeps sidecars out of the pods of these objects, `Kind/name` each. A second time changes nothing.
///
/// # Errors
/// A usage error when labels or annotations are no mapping.
pub fn keep_out<'a>(
    objects: &mut [Object],
    workloads: impl Iterator<Item = &'a str> + Clone,
) -> anyhow::Result<()> {
    for object in objects {
        let id = format!("{}/{}", object.kind, object.name);
        let place = format!("{}: {}", object.origin, object.label());
        if workloads.clone().any(|workload| workload == id)
            && let Some(pod) = object.pod_mut()
        {
            keep_out_of(pod).with_context(|| place).exit(Exit::Usage)?;
        }
    }
    Ok(())
}

fn keep_out_of(pod: &mut Map<String, Value>) -> anyhow::Result<()> {
    let metadata = stamp::metadata(pod)?;
    let says = |field: &str, key: &str| metadata.get(field).is_some_and(|map| map.get(key).is_some());
    let (istio, linkerd) =
        (says("labels", ISTIO) || says("annotations", ISTIO), says("annotations", LINKERD));
    if !istio {
        stamp::mapping(metadata, "labels")?.insert(ISTIO.into(), "false".into());
        stamp::mapping(metadata, "annotations")?.insert(ISTIO.into(), "false".into());
    }
    if !linkerd {
        stamp::mapping(metadata, "annotations")?.insert(LINKERD.into(), "disabled".into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::parse::parse;
    use super::*;

    fn metadata(text: &str) -> Value {
        let mut objects = parse("m.yaml", text).unwrap();
        keep_out(&mut objects, ["Pod/a", "Deployment/a"].into_iter()).unwrap();
        let once = objects[0].body.clone();
        keep_out(&mut objects, ["Pod/a", "Deployment/a"].into_iter()).unwrap();
        assert_eq!(objects[0].body, once, "twice is once");
        objects[0].pod_mut().unwrap()["metadata"].clone()
    }

    #[test]
    fn databases_stay_out_and_nothing_else_does() {
        let out = json!({
            "labels": {"sidecar.istio.io/inject": "false"},
            "annotations": {"sidecar.istio.io/inject": "false", "linkerd.io/inject": "disabled"},
        });
        let deployment = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\nspec: {template: {spec: {containers: []}}}\n";
        assert_eq!(metadata(deployment), out);
        let pod = metadata("apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: []}\n");
        assert_eq!((&pod["labels"], &pod["annotations"]), (&out["labels"], &out["annotations"]));
        assert_eq!(metadata("apiVersion: v1\nkind: Pod\nmetadata: {name: b}\n"), json!({"name": "b"}));
    }

    #[test]
    fn the_manifest_has_the_last_word() {
        let pod = |metadata: &str| format!("apiVersion: v1\nkind: Pod\nmetadata: {{name: a, {metadata}}}\n");
        for (given, expected) in [
            (
                "labels: {sidecar.istio.io/inject: 'true'}",
                json!({"labels": {"sidecar.istio.io/inject": "true"}, "annotations": {"linkerd.io/inject": "disabled"}}),
            ),
            (
                "annotations: {sidecar.istio.io/inject: 'true', linkerd.io/inject: enabled}",
                json!({"annotations": {"sidecar.istio.io/inject": "true", "linkerd.io/inject": "enabled"}}),
            ),
        ] {
            let found = metadata(&pod(given));
            assert_eq!(
                (found.get("labels"), found.get("annotations")),
                (expected.get("labels"), expected.get("annotations"))
            );
        }
    }
}
