//! Where a command works, and why: said by the user, or by where testbed finds itself.

use crate::cli::{Global, Runtime};
use crate::environment::{is_in_pod, is_set};
use crate::failure::{Advise, usage};
use crate::runtime::kubernetes::Choice;

pub(crate) enum Chosen {
    /// On this machine, and what decided it, in words.
    Local(&'static str),
    Cluster(Choice),
}

impl Chosen {
    pub(crate) fn is_cluster(&self) -> bool {
        matches!(self, Self::Cluster(_))
    }

    /// What was asked for. `KUBECONFIG` alone asks for no cluster: people have it set for all of their work.
    ///
    /// # Errors
    /// A usage error when flags for a cluster are given and no cluster is asked for.
    pub(crate) fn of(global: &Global) -> anyhow::Result<Self> {
        let choice = global.choice();
        match global.runtime {
            Some(Runtime::Local) => Ok(Self::Local("--runtime")),
            Some(Runtime::Kubernetes) => Ok(Self::Cluster(choice)),
            None if choice.kubeconfig.is_some() || choice.context.is_some() || is_in_pod() => Ok(Self::Cluster(choice)),
            None if choice.namespace.is_some() => Err(usage("--namespace is for a cluster, and no cluster is asked for"))
                .hint("pass --context, --kubeconfig or --runtime kubernetes; without a cluster leave out the namespace"),
            None if is_set("KUBECONFIG") => Ok(Self::Local("KUBECONFIG alone asks for no cluster")),
            None => Ok(Self::Local("no cluster is asked for")),
        }
    }
}
