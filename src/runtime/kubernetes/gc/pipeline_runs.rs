//! What became of the PipelineRuns that own runs. Each is asked for by its name, so that neither the others nor the right to list them is
//! needed.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt, stream};
use kube::api::{Api, DynamicObject};
use kube::{Error, ResourceExt};
use serde_json::Value;

use super::survey::Run;
use super::verdict::{State, States};
use crate::failure::Advise;
use crate::manifest::owner::Owner;
use crate::runtime::kubernetes::explain::is_forbidden;
use crate::runtime::kubernetes::kinds::{KindName, Kinds};
use crate::runtime::kubernetes::{Cluster, explain};

/// The versions in which a cluster may have them, the one to use first.
const VERSIONS: [&str; 2] = ["tekton.dev/v1", "tekton.dev/v1beta1"];

/// How many are asked for at once.
const AT_ONCE: usize = 8;

/// The rule that a Role needs.
const RULE: &str = "--pipeline-runs needs the rule {apiGroups: [tekton.dev], resources: [pipelineruns], verbs: [get]}; \
                    no run with a PipelineRun that could not be read was removed";

/// What was found out.
pub struct Found {
    /// The states; `None` where the cluster has no PipelineRuns.
    pub states: States,
    /// What went wrong: the first of it.
    pub failure: Option<anyhow::Error>,
}

/// Looks at the PipelineRuns of these runs. They have to be known from before: a PipelineRun is older than the objects that it owns, so that
/// one that is not there any more is gone, and not yet to come.
pub async fn look(cluster: &Cluster, kinds: &mut Kinds, runs: &[Run]) -> anyhow::Result<Found> {
    let mut kind = None;
    for version in VERSIONS {
        let name = (version.to_owned(), "PipelineRun".to_owned());
        if kinds.resolve(&name).await? {
            kind = Some(name);
            break;
        }
    }
    let Some(kind) = kind else { return Ok(Found { states: None, failure: None }) };
    let wanted: BTreeSet<(&str, &Owner)> =
        runs.iter().flat_map(|run| run.words.owners().into_iter().map(|owner| (run.namespace.as_str(), owner))).collect();
    let kinds = &*kinds;
    let outcomes = stream::iter(wanted).map(|(namespace, wanted)| state(cluster, kinds, &kind, namespace, wanted));
    let mut outcomes = outcomes.buffer_unordered(AT_ONCE);
    let mut found = Found { states: None, failure: None };
    let mut states = BTreeMap::new();
    while let Some((uid, outcome)) = outcomes.next().await {
        let state = outcome.unwrap_or_else(|error| {
            found.failure.get_or_insert(error);
            State::Unknown
        });
        states.insert(uid, state);
    }
    found.states = Some(states);
    Ok(found)
}

async fn state(cluster: &Cluster, kinds: &Kinds, kind: &KindName, namespace: &str, wanted: &Owner) -> (String, anyhow::Result<State>) {
    let outcome = match kinds.namespaced(kind, Some(namespace)) {
        Some(api) => read(&api, wanted).await.or_else(|error| {
            let is_forbidden = is_forbidden(&error);
            let action = format!("reading PipelineRun {} in namespace {namespace}", wanted.name);
            let error = Err(explain(&cluster.in_namespace(namespace), error, &action));
            if is_forbidden { error.hint(RULE) } else { error }
        }),
        // Somebody else's kind of that name.
        None => Ok(State::Unknown),
    };
    (wanted.uid.clone(), outcome)
}

async fn read(api: &Api<DynamicObject>, wanted: &Owner) -> Result<State, Error> {
    match api.get(&wanted.name).await {
        Ok(found) if found.uid().as_ref() == Some(&wanted.uid) => Ok(state_of(&found)),
        Ok(_) => Ok(State::Gone),
        // Said of the object, and not of a path that the server does not have.
        Err(Error::Api(status)) if status.is_not_found() && status.details.as_ref().is_some_and(|details| details.name == wanted.name) => {
            Ok(State::Gone)
        }
        Err(error) => Err(error),
    }
}

fn state_of(pipeline_run: &DynamicObject) -> State {
    match pipeline_run.data.get("status").and_then(|status| status.get("completionTime")) {
        None | Some(Value::Null) => State::Running,
        Some(time) => time.as_str().and_then(|text| text.parse().ok()).map_or(State::Unknown, State::Finished),
    }
}
