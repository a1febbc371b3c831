//! Which runtime a command works on, and why: said by the user, or by where testbed finds itself.

use crate::cli::{Global, Runtime};
use crate::environment::{is_in_pod, is_set};
use crate::failure::{Advise, usage};

/// The runtime, and what decided it, in words.
///
/// # Errors
/// A usage error when flags for a cluster are given and no cluster is named.
pub(super) fn runtime(global: &Global) -> anyhow::Result<(Runtime, &'static str)> {
    let found = match global.runtime {
        Some(runtime) => (runtime, "--runtime"),
        None if global.kubeconfig.is_some() => (Runtime::Kubernetes, "--kubeconfig"),
        None if global.context.as_ref().is_some_and(|context| !context.is_empty()) => (Runtime::Kubernetes, "--context"),
        None if is_set("KUBECONFIG") => (Runtime::Kubernetes, "KUBECONFIG"),
        None if is_in_pod() => (Runtime::Kubernetes, "in a pod"),
        None if global.namespace.as_ref().is_some_and(|namespace| !namespace.is_empty()) => {
            return Err(usage("--namespace is for a cluster, and no cluster is named"))
                .hint("pass --kubeconfig or --context, set KUBECONFIG, or run inside a pod; without a cluster leave the namespace away");
        }
        None => (Runtime::Local, "no cluster is named"),
    };
    Ok(found)
}
