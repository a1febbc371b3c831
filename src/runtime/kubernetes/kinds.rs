//! From `apiVersion` and `kind` to the API's paths. The kinds that test environments are made of are known;
//! discovery is asked for the others, one request each.

use std::collections::{BTreeSet, HashMap};

use anyhow::anyhow;
use k8s_openapi::api::{apps, batch, core, networking, rbac};
use kube::api::{Api, ApiResource, DynamicObject};
use kube::core::{GroupVersion, GroupVersionKind};
use kube::discovery::{self, Scope};

use super::explain::is_absent;
use super::{Cluster, explain};
use crate::failure::usage;
use crate::manifest::Object;
use crate::manifest::policy::{Allowance, Refused, Violation};
use crate::run_id::is_dns_label;

/// `apiVersion` and `kind`; for objects of another namespace than the run's, `kind@namespace`.
pub type KindName = (String, String);

fn split(name: &KindName) -> (KindName, Option<&str>) {
    let (kind, namespace) =
        name.1.split_once('@').map_or((name.1.as_str(), None), |(kind, namespace)| (kind, Some(namespace)));
    ((name.0.clone(), kind.to_owned()), namespace)
}

pub fn namespace(name: &KindName) -> Option<&str> {
    split(name).1
}

pub fn plain(name: &KindName) -> KindName {
    split(name).0
}

pub struct Kinds {
    cluster: Cluster,
    found: HashMap<KindName, (ApiResource, Scope)>,
}

impl Kinds {
    pub fn new(cluster: &Cluster) -> Self {
        let found = common().into_iter().map(|resource| {
            let name = (resource.api_version.clone(), resource.kind.clone());
            (name, (resource, Scope::Namespaced))
        });
        Self { cluster: cluster.clone(), found: found.collect() }
    }

    /// Makes sure that every object's kind is known. One that the cluster does not have is a usage error.
    pub async fn learn(&mut self, objects: &[Object]) -> anyhow::Result<()> {
        for object in objects {
            let name = object.kind_name();
            if !self.resolve(&name).await? {
                let Object { origin, api_version, kind, .. } = object;
                return Err(usage(format!("{origin}: the cluster has no kind {kind} in {api_version}")));
            }
        }
        Ok(())
    }

    /// Asks discovery unless the kind is known already. `false`: the cluster does not have it.
    pub async fn resolve(&mut self, name: &KindName) -> anyhow::Result<bool> {
        let name = &plain(name);
        if self.found.contains_key(name) {
            return Ok(true);
        }
        let version: GroupVersion =
            name.0.parse().map_err(|error| anyhow!("apiVersion {:?}: {error}", name.0))?;
        let wanted = GroupVersionKind::gvk(&version.group, &version.version, &name.1);
        match discovery::pinned_kind(&self.cluster.client, &wanted).await {
            Ok((resource, capabilities)) => {
                self.found.insert(name.clone(), (resource, capabilities.scope));
                Ok(true)
            }
            Err(kube::Error::Discovery(_)) => Ok(false),
            Err(error) if is_absent(&error) => Ok(false),
            Err(error) => {
                Err(explain(&self.cluster, error, &format!("looking up the kind {} in {}", name.1, name.0)))
            }
        }
    }

    /// Whether a kind's objects belong to no namespace; `false` for one that was not resolved before.
    pub fn is_cluster_scoped(&self, name: &KindName) -> bool {
        self.found.get(name).is_some_and(|(_, scope)| *scope == Scope::Cluster)
    }

    /// Refuses objects of no namespace, unless they are allowed: only the cluster tells which kinds these are.
    pub fn refuse_cluster_scoped(&self, objects: &[Object], allowed: &[Allowance]) -> anyhow::Result<()> {
        let violation = Violation {
            opened_by: Allowance::CLUSTER_SCOPED,
            what: "it is of no namespace, but of the whole cluster".into(),
        };
        let mut refused = Refused::default();
        if !allowed.contains(&violation.opened_by) {
            let scoped = objects.iter().filter(|object| self.is_cluster_scoped(&object.kind_name()));
            scoped.for_each(|object| refused.add(object, &violation));
        }
        refused.check()
    }

    /// In the run's namespace, or the one that the name tells; `None` for a kind that was not resolved before.
    pub fn api(&self, name: &KindName) -> Option<Api<DynamicObject>> {
        let (name, namespace) = split(name);
        let (resource, scope) = self.found.get(&name)?;
        let namespace = namespace.unwrap_or(&self.cluster.namespace);
        Some(Api::dynamic(self.cluster.client.clone(), resource, scope).constrain(namespace))
    }

    /// What the API calls a kind; `None` for one that was not resolved before.
    pub fn resource(&self, name: &KindName) -> Option<&ApiResource> {
        self.found.get(&plain(name)).map(|(resource, _)| resource)
    }

    pub fn api_of(&self, object: &Object) -> Option<Api<DynamicObject>> {
        let (version, kind) = object.kind_name();
        let kind = object.namespace().map_or(kind.clone(), |namespace| format!("{kind}@{namespace}"));
        self.api(&(version, kind))
    }

    /// The same name for the same kind, where some objects name the run's own namespace and others none.
    pub fn normal(&self, name: KindName) -> KindName {
        match split(&name) {
            (plain, Some(namespace)) if namespace == self.cluster.namespace => plain,
            _ => name,
        }
    }

    /// The API of a kind in one namespace, or in all of them, where it can only list; `None` for a kind that
    /// was not resolved before, and for one whose objects are in no namespace.
    pub fn namespaced(&self, name: &KindName, namespace: Option<&str>) -> Option<Api<DynamicObject>> {
        let (resource, scope) = self.found.get(name).filter(|(_, scope)| *scope == Scope::Namespaced)?;
        let api = Api::dynamic(self.cluster.client.clone(), resource, scope);
        Some(match namespace {
            Some(namespace) => api.constrain(namespace),
            None => api,
        })
    }
}

/// The kinds by which runs are found that nobody has named: nearly every run has some of these. Claims are
/// among them because those of a StatefulSet are deleted by nobody else, and may be all that is left.
pub fn usual() -> BTreeSet<KindName> {
    ["v1/Pod", "v1/Service", "v1/Secret", "v1/ConfigMap", "v1/PersistentVolumeClaim"]
        .into_iter()
        .filter_map(parse)
        .collect()
}

/// The kinds that a teardown looks through when no object is left that records the run's kinds.
pub fn sweep() -> Vec<KindName> {
    [
        "v1/PersistentVolumeClaim",
        "v1/Secret",
        "v1/ConfigMap",
        "apps/v1/Deployment",
        "apps/v1/StatefulSet",
        "batch/v1/Job",
    ]
    .into_iter()
    .filter_map(parse)
    .collect()
}

/// `apps/v1/Deployment` to `("apps/v1", "Deployment")`; `None` for what no API server can have.
pub fn parse(text: &str) -> Option<KindName> {
    let (version, kind) = text.rsplit_once('/')?;
    let (plain, namespace) = kind.split_once('@').unwrap_or((kind, "x"));
    let is_kind = !plain.is_empty() && plain.chars().all(|c| c.is_ascii_alphanumeric());
    let is_version = version.parse::<GroupVersion>().is_ok() && version.split(['/', '.']).all(is_dns_label);
    (is_kind && is_version && is_dns_label(namespace)).then(|| (version.to_owned(), kind.to_owned()))
}

fn common() -> Vec<ApiResource> {
    vec![
        ApiResource::erase::<core::v1::Pod>(&()),
        ApiResource::erase::<core::v1::Service>(&()),
        ApiResource::erase::<core::v1::Secret>(&()),
        ApiResource::erase::<core::v1::ConfigMap>(&()),
        ApiResource::erase::<core::v1::PersistentVolumeClaim>(&()),
        ApiResource::erase::<core::v1::ServiceAccount>(&()),
        ApiResource::erase::<apps::v1::Deployment>(&()),
        ApiResource::erase::<apps::v1::StatefulSet>(&()),
        ApiResource::erase::<apps::v1::DaemonSet>(&()),
        ApiResource::erase::<apps::v1::ReplicaSet>(&()),
        ApiResource::erase::<batch::v1::Job>(&()),
        ApiResource::erase::<networking::v1::NetworkPolicy>(&()),
        ApiResource::erase::<networking::v1::Ingress>(&()),
        ApiResource::erase::<rbac::v1::Role>(&()),
        ApiResource::erase::<rbac::v1::RoleBinding>(&()),
    ]
}
