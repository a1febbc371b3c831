//! What became of the PipelineRuns that own runs. Each is asked for by its name, so that neither the others
//! nor the right to list them is needed.

use std::collections::BTreeSet;

use futures::{StreamExt, stream};

use super::survey::Run;
use super::verdict::Lives;
use crate::failure::Advise;
use crate::manifest::owner::Owner;
use crate::runtime::kubernetes::explain::is_forbidden;
use crate::runtime::kubernetes::kinds::Kinds;
use crate::runtime::kubernetes::pipeline_run::{self, Life};
use crate::runtime::kubernetes::{AT_ONCE, Cluster, explain};

/// The rule that a Role needs.
const RULE: &str = "--pipeline-runs needs the rule {apiGroups: [tekton.dev], resources: [pipelineruns], verbs: [get]}; \
                    no run with a PipelineRun that could not be read was removed";

pub struct Found {
    /// What became of them; `None` where the cluster has no PipelineRuns.
    pub lives: Lives,
    /// The first.
    pub failure: Option<anyhow::Error>,
}

/// Looks at the PipelineRuns of these runs. They have to be known from before: a PipelineRun is older than
/// the objects that it owns, so that one that is not there any more is gone, and not yet to come.
pub async fn look(cluster: &Cluster, kinds: &mut Kinds, runs: &[Run]) -> anyhow::Result<Found> {
    let mut version = None;
    for known in pipeline_run::VERSIONS {
        if version.is_none()
            && kinds.resolve(&(format!("tekton.dev/{known}"), "PipelineRun".to_owned())).await?
        {
            version = Some(known);
        }
    }
    let Some(version) = version else { return Ok(Found { lives: None, failure: None }) };
    let wanted: BTreeSet<(&str, &Owner)> = runs
        .iter()
        .flat_map(|run| run.statements.owners().into_iter().map(|owner| (run.namespace.as_str(), owner)))
        .collect();
    let looks = stream::iter(wanted).map(|(namespace, owner)| async move {
        (owner.uid.clone(), look_at(cluster, version, namespace, owner).await)
    });
    let outcomes: Vec<(String, anyhow::Result<Life>)> = looks.buffer_unordered(AT_ONCE).collect().await;
    let mut failure = None;
    let lives = outcomes.into_iter().map(|(uid, outcome)| {
        let life = outcome.unwrap_or_else(|error| {
            failure.get_or_insert(error);
            Life::Unreadable
        });
        (uid, life)
    });
    Ok(Found { lives: Some(lives.collect()), failure })
}

async fn look_at(
    cluster: &Cluster,
    version: &str,
    namespace: &str,
    Owner { name, uid }: &Owner,
) -> anyhow::Result<Life> {
    let there = cluster.in_namespace(namespace);
    let error = match pipeline_run::read(&there, version, name).await {
        Ok(found) => return Ok(Life::of(found.as_ref(), Some(uid))),
        Err(error) => error,
    };
    let is_forbidden = is_forbidden(&error);
    let error = Err(explain(&there, error, &format!("reading PipelineRun {name} in namespace {namespace}")));
    if is_forbidden { error.hint(RULE) } else { error }
}
