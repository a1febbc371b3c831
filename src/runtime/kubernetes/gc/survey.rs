//! All runs of a namespace, or of the cluster, by their objects' metadata.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::join_all;
use kube::api::{DynamicObject, ListParams, ObjectMeta, PartialObjectMeta};
use kube::{Error, ResourceExt};

use super::statements::Statements;
use crate::failure::Advise;
use crate::run_id::{RUN_LABEL, RunId, every_run};
use crate::runtime::kubernetes::explain::{is_absent, is_forbidden};
use crate::runtime::kubernetes::kinds::{self, KindName, Kinds};
use crate::runtime::kubernetes::teardown::part::recorded;
use crate::runtime::kubernetes::{Cluster, explain};

#[derive(Debug)]
pub struct Run {
    pub namespace: String,
    pub run_id: RunId,
    /// What its objects say about its end.
    pub statements: Statements,
    /// The kinds that may be listed and may have objects of it.
    pub kinds: BTreeSet<KindName>,
    /// The kinds that it records, and that may not be listed.
    pub hidden: BTreeSet<KindName>,
}

pub struct Survey {
    pub runs: Vec<Run>,
    /// The kinds that were looked at, and how to reach them.
    pub kinds: Kinds,
    pub notes: Vec<String>,
}

/// Looks at the cluster's own namespace, or at all. Fails only where no kind at all may be listed.
pub async fn survey(cluster: &Cluster, everywhere: bool) -> anyhow::Result<Survey> {
    let namespace = (!everywhere).then_some(cluster.namespace.as_str());
    let mut look = Look {
        cluster,
        namespace,
        kinds: Kinds::new(cluster),
        found: BTreeMap::new(),
        forbidden: BTreeMap::new(),
    };
    look.list(kinds::usual()).await?;
    if look.found.is_empty()
        && let Some((kind, error)) = look.forbidden.pop_first()
    {
        let error =
            Err(explain(cluster, error, &format!("looking for runs: listing objects of kind {}", kind.1)));
        let hint = "--all-namespaces takes a ClusterRole, and a ClusterRoleBinding";
        return if everywhere { error.hint(hint) } else { error };
    }
    let mut notes = Vec::new();
    let mut others = Vec::new();
    for kind in recorded_here(look.objects()).difference(&kinds::usual()) {
        match look.kinds.resolve(kind).await {
            Ok(true) => others.push(kind.clone()),
            // A kind whose definition is gone has no objects either.
            Ok(false) => {}
            Err(error) => notes.push(format!("{error:#}")),
        }
    }
    look.list(others.into_iter().collect()).await?;
    notes.extend(
        look.forbidden
            .keys()
            .map(|kind| format!("objects of kind {} may not be listed: none of them is removed", kind.1)),
    );
    Ok(Survey { runs: look.runs(), kinds: look.kinds, notes })
}

struct Look<'a> {
    cluster: &'a Cluster,
    /// Where; everywhere if there is none.
    namespace: Option<&'a str>,
    kinds: Kinds,
    /// Of each kind that was listed: only their metadata, so that no Secret's content comes along.
    found: BTreeMap<KindName, Vec<DynamicObject>>,
    forbidden: BTreeMap<KindName, Error>,
}

impl Look<'_> {
    async fn list(&mut self, kinds: BTreeSet<KindName>) -> anyhow::Result<()> {
        let params = ListParams::default().labels(&every_run());
        // A kind whose objects are in no namespace belongs to no run of a namespace.
        let apis =
            kinds.into_iter().filter_map(|kind| Some((self.kinds.namespaced(&kind, self.namespace)?, kind)));
        let lists = apis.map(|(api, kind)| {
            let params = &params;
            async move { (kind, api.list_metadata(params).await) }
        });
        for (kind, outcome) in join_all(lists).await {
            match outcome {
                Ok(list) => drop(self.found.insert(kind, list.items.into_iter().map(object).collect())),
                Err(error) if is_forbidden(&error) => drop(self.forbidden.insert(kind, error)),
                Err(error) if is_absent(&error) => {}
                Err(error) => {
                    return Err(explain(
                        self.cluster,
                        error,
                        &format!("looking for runs: listing objects of kind {}", kind.1),
                    ));
                }
            }
        }
        Ok(())
    }

    fn runs(&self) -> Vec<Run> {
        let mut runs: BTreeMap<(String, String), Vec<Of<'_>>> = BTreeMap::new();
        for (kind, object) in self.objects() {
            let (Some(namespace), Some(run_id)) = (object.namespace(), object.labels().get(RUN_LABEL)) else {
                continue;
            };
            runs.entry((namespace, run_id.clone())).or_default().push((kind, object));
        }
        // testbed makes no object whose label is no run id.
        let runs = runs
            .into_iter()
            .filter_map(|((namespace, id), objects)| Some((namespace, RunId::parse(&id).ok()?, objects)));
        // Nor does it look at more than it was asked for, whatever it is answered.
        let runs = runs.filter(|(namespace, ..)| self.namespace.is_none_or(|wanted| wanted == namespace));
        let runs = runs.map(|(namespace, run_id, mut objects)| {
            objects.retain(|(_, object)| run_id.selector_of_ours().selects(object.labels()));
            (namespace, run_id, objects)
        });
        let runs = runs.filter(|(.., objects)| !objects.is_empty());
        runs.map(|(namespace, run_id, objects)| self.run(namespace, run_id, &objects)).collect()
    }

    fn objects(&self) -> impl Iterator<Item = Of<'_>> {
        self.found.iter().flat_map(|(kind, objects)| objects.iter().map(move |object| (kind, object)))
    }

    fn run(&self, namespace: String, run_id: RunId, objects: &[Of<'_>]) -> Run {
        let recorded = recorded_here(objects.iter().copied());
        let wanted = recorded.union(&kinds::usual()).cloned().collect::<BTreeSet<_>>();
        Run {
            namespace,
            run_id,
            statements: Statements::of(objects.iter().copied()),
            kinds: wanted.into_iter().filter(|kind| self.found.contains_key(kind)).collect(),
            hidden: recorded.into_iter().filter(|kind| self.forbidden.contains_key(kind)).collect(),
        }
    }
}

type Of<'a> = (&'a KindName, &'a DynamicObject);

/// The kinds that the objects record. What a run has in another namespace counts as a run of that one.
fn recorded_here<'a>(objects: impl Iterator<Item = Of<'a>>) -> BTreeSet<KindName> {
    recorded(objects).iter().map(kinds::plain).collect()
}

fn object(PartialObjectMeta { types, metadata, .. }: PartialObjectMeta<DynamicObject>) -> DynamicObject {
    DynamicObject {
        types,
        metadata: ObjectMeta { managed_fields: None, ..metadata },
        data: serde_json::Value::Null,
    }
}
