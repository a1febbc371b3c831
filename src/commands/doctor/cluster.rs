//! The look ahead in a cluster.

use crate::commands::plan::Plan;
use crate::doctor::Verdict;
use crate::manifest::check::check_namespace;
use crate::runtime::kubernetes::doctor::{self, Planned};
use crate::runtime::kubernetes::{Choice, Cluster};

/// What `up` would refuse of the manifest, and what the cluster would.
pub(super) async fn examine(plan: &Plan, choice: &Choice) -> anyhow::Result<Vec<Verdict>> {
    let cluster = Cluster::connect(choice).await?;
    check_namespace(&plan.objects, &cluster.namespace, &plan.allowed)?;
    let Plan { run_id, objects, allowed, discovery, refused, .. } = plan;
    let refused = refused.check().err().map(|error| Verdict::from_error("policy", &error));
    let redactor = plan.redactor();
    let namespace = cluster.namespace.as_str();
    let verdicts = doctor::examine(&cluster, &Planned { namespace, run_id, objects, allowed, discovery, redactor: &redactor }).await;
    Ok(refused.into_iter().chain(verdicts).collect())
}
