//! Where a command works, and why: said by the user, or by where testbed finds itself.

use crate::cli::{Global, Runtime};
use crate::environment::naming;
use crate::failure::{Advise, usage};
use crate::runtime::kubernetes::Choice;

pub(crate) enum Chosen {
    /// On this machine, and what decided it, in words.
    Local(&'static str),
    Cluster(Choice),
}

impl Chosen {
    /// What flags and variables name.
    ///
    /// # Errors
    /// A usage error when flags for a cluster are given and no cluster is named.
    pub(crate) fn of(global: &Global) -> anyhow::Result<Self> {
        let choice = global.choice();
        let naming = naming(choice.kubeconfig.is_some(), choice.context.is_some());
        match global.runtime {
            Some(Runtime::Local) => Ok(Self::Local("--runtime")),
            Some(Runtime::Kubernetes) => Ok(Self::Cluster(choice)),
            None if naming.is_some() => Ok(Self::Cluster(choice)),
            None if choice.namespace.is_some() => Err(usage("--namespace is for a cluster, and no cluster is named"))
                .hint("pass --kubeconfig or --context, set KUBECONFIG, or run inside a pod; without a cluster leave the namespace away"),
            None => Ok(Self::Local("no cluster is named")),
        }
    }
}
