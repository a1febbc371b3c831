//! Whether this user may do something, by the API server's own word (`SelfSubjectAccessReview`).

use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use kube::api::{Api, PostParams};
use kube::core::ApiResource;

use super::{AT_ONCE, Cluster};

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    Here,
    Namespace(String),
    /// In the whole cluster, for kinds that are in no namespace.
    Cluster,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Right {
    /// The API group; empty for the core.
    pub group: String,
    /// The resource in plural, with its part after a slash where there is one: `pods`, `pods/log`.
    pub resource: String,
    pub verb: &'static str,
    pub name: Option<String>,
    pub place: Place,
}

impl Right {
    /// A verb on a resource of the core group in the run's namespace.
    pub fn core(resource: &str, verb: &'static str) -> Self {
        Self { group: String::new(), resource: resource.into(), verb, name: None, place: Place::Here }
    }

    pub fn on(resource: &ApiResource, place: Place, verb: &'static str) -> Self {
        Self { group: resource.group.clone(), resource: resource.plural.clone(), verb, name: None, place }
    }

    /// The same for one object.
    #[must_use]
    pub fn named(mut self, name: &str) -> Self {
        self.name = Some(name.to_owned());
        self
    }

    fn attributes(&self, namespace: &str) -> ResourceAttributes {
        let (resource, part) = self
            .resource
            .split_once('/')
            .map_or((self.resource.as_str(), None), |(resource, part)| (resource, Some(part)));
        ResourceAttributes {
            group: Some(self.group.clone()),
            resource: Some(resource.to_owned()),
            subresource: part.map(Into::into),
            verb: Some(self.verb.to_owned()),
            name: self.name.clone(),
            namespace: match &self.place {
                Place::Here => Some(namespace.to_owned()),
                Place::Namespace(other) => Some(other.clone()),
                Place::Cluster => None,
            },
            ..ResourceAttributes::default()
        }
    }
}

pub async fn is_allowed(cluster: &Cluster, right: &Right) -> Result<bool, kube::Error> {
    let spec = SelfSubjectAccessReviewSpec {
        resource_attributes: Some(right.attributes(&cluster.namespace)),
        ..SelfSubjectAccessReviewSpec::default()
    };
    let review = SelfSubjectAccessReview { spec, ..SelfSubjectAccessReview::default() };
    let api: Api<SelfSubjectAccessReview> = Api::all(cluster.client.clone());
    let answer = api.create(&PostParams::default(), &review).await?;
    Ok(answer.status.is_some_and(|status| status.allowed))
}

pub async fn missing(
    cluster: &Cluster,
    rights: impl IntoIterator<Item = Right>,
) -> Result<Vec<Right>, kube::Error> {
    let questions = rights
        .into_iter()
        .map(|right| async move { is_allowed(cluster, &right).await.map(|has| (!has).then_some(right)) });
    let answers: Vec<Option<Right>> = stream::iter(questions).buffered(AT_ONCE).try_collect().await?;
    Ok(answers.into_iter().flatten().collect())
}
