//! Which runtime a command works on, and why: said by the user, or by where testbed finds itself.

use super::said;
use crate::cli::{Global, Runtime};
use crate::environment::{Naming, naming};
use crate::failure::{Advise, usage};

/// The runtime, and what decided it, in words.
///
/// # Errors
/// A usage error when flags for a cluster are given and no cluster is named.
pub(super) fn runtime(global: &Global) -> anyhow::Result<(Runtime, &'static str)> {
    if let Some(runtime) = global.runtime {
        return Ok((runtime, "--runtime"));
    }
    let why = match naming(global.kubeconfig.is_some(), said(&global.context).is_some()) {
        Some(Naming::Kubeconfig) => "--kubeconfig",
        Some(Naming::Context) => "--context",
        Some(Naming::Variable) => "KUBECONFIG",
        Some(Naming::Pod) => "in a pod",
        None if said(&global.namespace).is_some() => {
            return Err(usage("--namespace is for a cluster, and no cluster is named"))
                .hint("pass --kubeconfig or --context, set KUBECONFIG, or run inside a pod; without a cluster leave the namespace away");
        }
        None => return Ok((Runtime::Local, "no cluster is named")),
    };
    Ok((Runtime::Kubernetes, why))
}
