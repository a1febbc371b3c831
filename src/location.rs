//! Where in a cluster a run is, noted so that any process of this machine finds it again.

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::Context;
use serde::{Deserialize, Serialize};

/// Where a cluster's configuration is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Access {
    /// Kubeconfig files; the first that says something wins.
    Files(Vec<PathBuf>),
    /// The ServiceAccount of the pod that testbed runs in.
    Pod,
}

impl Access {
    /// The same as seen from any folder.
    pub fn absolute(self) -> anyhow::Result<Self> {
        let Self::Files(paths) = self else { return Ok(self) };
        let paths = paths
            .into_iter()
            .map(|path| std::path::absolute(&path).with_context(|| format!("finding {}", path.display())));
        paths.collect::<Result<_, _>>().map(Self::Files)
    }
}

/// A namespace of a cluster, and how any process of this machine gets there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Location {
    /// The configuration.
    pub access: Access,
    /// The kubeconfig's context, unless it is its current one.
    pub context: Option<String>,
    /// The namespace.
    pub namespace: String,
    /// Where else the caller has objects of the run. What the objects themselves say of that counts for
    /// nothing: anybody can write it.
    #[serde(default)]
    pub beyond: Beyond,
}

/// The places beyond a run's namespace in which the caller said that there are objects of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beyond {
    /// Other namespaces.
    pub namespaces: BTreeSet<String>,
    /// Whether there are some that are in no namespace.
    pub cluster_scoped: bool,
}

impl Location {
    /// Whether it is the same namespace of the same cluster.
    pub fn is_same_place(&self, other: &Self) -> bool {
        (&self.access, &self.context, &self.namespace) == (&other.access, &other.context, &other.namespace)
    }
}
