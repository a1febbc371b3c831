//! Whether the API server can be reached, which version it is, and whether it has the plan's kinds.

use std::time::Instant;

use tokio::time::timeout;

use super::{DEADLINE, Planned};
use crate::doctor::Verdict;
use crate::failure::{Exit, exit_of};
use crate::runtime::kubernetes::explain::is_forbidden;
use crate::runtime::kubernetes::kinds::Kinds;
use crate::runtime::kubernetes::{Cluster, explain};

const CHECK: &str = "api";

/// The second number of Kubernetes' version: 20 of v1.20.2.
pub(super) type Minor = u32;

/// Asks for the version: its number where the server tells it.
pub(super) async fn check(cluster: &Cluster) -> Result<(Option<Minor>, Verdict), Verdict> {
    let server = &cluster.server;
    let begun = Instant::now();
    let answer = timeout(DEADLINE, cluster.client.apiserver_version()).await;
    let took = format!("{} ms", begun.elapsed().as_millis());
    match answer {
        Ok(Ok(info)) => {
            let message = format!(
                "{server} answers within {took}: Kubernetes {} ({})",
                info.git_version, cluster.source
            );
            Ok((minor(&info.minor), Verdict::ok(CHECK, message)))
        }
        // Some clusters hide their version.
        Ok(Err(error)) if is_forbidden(&error) => Ok((
            None,
            Verdict::ok(
                CHECK,
                format!("{server} answers within {took}, and does not tell its version ({})", cluster.source),
            ),
        )),
        Ok(Err(error)) => {
            Err(Verdict::from_error(CHECK, &explain(cluster, error, "asking the API server for its version")))
        }
        Err(_) => Err(Verdict::problem(
            CHECK,
            format!("the API server {server} does not answer within {} s", DEADLINE.as_secs()),
        )
        .remedy(format!(
            "is the cluster running, and is {server} its address? ({} says so)",
            cluster.source
        ))),
    }
}

/// Some providers put a `+` behind the number.
fn minor(text: &str) -> Option<Minor> {
    text.trim_end_matches(|c: char| !c.is_ascii_digit()).parse().ok()
}

/// Learns the plan's kinds; a verdict for each that the cluster does not have.
pub(super) async fn learn(kinds: &mut Kinds, planned: &Planned<'_>) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    for object in planned.objects {
        let learnt = timeout(DEADLINE, kinds.learn(std::slice::from_ref(object))).await;
        let verdict = match learnt {
            Ok(Ok(())) => continue,
            Ok(Err(error)) if exit_of(&error) == Exit::Usage => Verdict::problem("kinds", format!("{error:#}"))
                .remedy("install what defines the kind (its CustomResourceDefinition), or correct apiVersion and kind"),
            Ok(Err(error)) => Verdict::skipped("kinds", format!("{error:#}")),
            Err(_) => Verdict::skipped("kinds", format!("{}: no answer within {} s", object.origin, DEADLINE.as_secs())),
        };
        verdicts.push(verdict.on(object.label()));
    }
    if let Err(error) = kinds.refuse_cluster_scoped(planned.objects, planned.allowed) {
        verdicts.push(Verdict::from_error("policy", &error));
    }
    verdicts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn providers_numbers_are_read() {
        assert_eq!([minor("20"), minor("27+"), minor(""), minor("x")], [Some(20), Some(27), None, None]);
    }
}
