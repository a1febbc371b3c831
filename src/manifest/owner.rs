//! The PipelineRun that a run belongs to: when it is deleted, the cluster's garbage collector removes the
//! run's objects.

use serde_json::{Value, json};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::Object;

/// A PipelineRun, by what its own pods' labels tell. Never made from anything else: an object whose owner
/// does not exist is removed at once.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Owner {
    /// `metadata.name`
    pub name: String,
    /// `metadata.uid`
    pub uid: String,
}

impl Owner {
    /// The PipelineRuns that own an object.
    pub fn all_of(object: &ObjectMeta) -> impl Iterator<Item = Self> {
        let owners = object.owner_references.iter().flatten();
        let pipeline_runs = owners
            .filter(|owner| owner.kind == "PipelineRun" && owner.api_version.starts_with("tekton.dev/"));
        pipeline_runs.map(|owner| Self { name: owner.name.clone(), uid: owner.uid.clone() })
    }

    /// Makes it an owner of an object, and of the claims that a StatefulSet makes, which belong to nobody
    /// otherwise. `blockOwnerDeletion` is left away: to set it takes rights over PipelineRuns on some
    /// clusters.
    pub fn adopt(&self, object: &mut Object) {
        self.own(object.body.get_mut("metadata"));
        let claims = object
            .body
            .get_mut("spec")
            .and_then(|spec| spec.get_mut("volumeClaimTemplates"))
            .and_then(Value::as_array_mut);
        claims.into_iter().flatten().for_each(|claim| self.own(claim.get_mut("metadata")));
    }

    fn own(&self, metadata: Option<&mut Value>) {
        let reference =
            json!({"apiVersion": "tekton.dev/v1", "kind": "PipelineRun", "name": self.name, "uid": self.uid});
        let Some(Value::Object(metadata)) = metadata else { return };
        match metadata.entry("ownerReferences").or_insert_with(|| json!([])) {
            Value::Array(owners) => owners.push(reference),
            other => *other = json!([reference]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse::parse;
    use super::*;

    #[test]
    fn owners_that_the_manifest_names_stay() {
        let owner = Owner { name: "build-1".into(), uid: "u".into() };
        let ours =
            json!({"apiVersion": "tekton.dev/v1", "kind": "PipelineRun", "name": "build-1", "uid": "u"});
        for (metadata, expected) in [
            ("{name: a}", json!([ours])),
            ("{name: a, ownerReferences: [{uid: x}]}", json!([{"uid": "x"}, ours])),
        ] {
            let mut objects =
                parse("m.yaml", &format!("apiVersion: v1\nkind: Secret\nmetadata: {metadata}\n")).unwrap();
            owner.adopt(&mut objects[0]);
            assert_eq!(objects[0].body["metadata"]["ownerReferences"], expected);
        }
    }

    #[test]
    fn the_claims_of_a_stateful_set_are_owned() {
        let owner = Owner { name: "build-1".into(), uid: "u".into() };
        let text = "apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: a}\nspec: {volumeClaimTemplates: [{metadata: {name: b}}]}\n";
        let mut objects = parse("m.yaml", text).unwrap();
        owner.adopt(&mut objects[0]);
        let body = &objects[0].body;
        let claim = &body["spec"]["volumeClaimTemplates"][0]["metadata"]["ownerReferences"];
        assert_eq!((claim, claim[0]["uid"].as_str()), (&body["metadata"]["ownerReferences"], Some("u")));
    }
}
