//! What this user may do in the namespace, as the API server lists it (`SelfSubjectRulesReview`): requests
//! that are denied would stand in the audit log and alarm those who watch it.

use k8s_openapi::api::authorization::v1::{ResourceRule, SelfSubjectRulesReview, SelfSubjectRulesReviewSpec};
use kube::Api;
use kube::api::{ApiResource, PostParams};

use super::Cluster;

/// The rules for one user in one namespace, if the API server knows them all.
pub(super) struct Rules(Option<Vec<ResourceRule>>);

impl Rules {
    /// Authorizers other than RBAC (a webhook's) often cannot list theirs; then nothing is known.
    pub(super) async fn ask(cluster: &Cluster) -> Self {
        let spec = SelfSubjectRulesReviewSpec { namespace: Some(cluster.namespace.clone()) };
        let review = SelfSubjectRulesReview { spec, ..SelfSubjectRulesReview::default() };
        let api: Api<SelfSubjectRulesReview> = Api::all(cluster.client.clone());
        let status = api.create(&PostParams::default(), &review).await.ok().and_then(|review| review.status);
        Self(status.filter(|status| !status.incomplete).map(|status| status.resource_rules))
    }

    /// Whether it is certain that this user may not do that with all objects of the kind.
    pub(super) fn forbid(&self, verb: &str, kind: &ApiResource) -> bool {
        let Self(Some(rules)) = self else { return false };
        let has = |list: &[String], wanted: &str| list.iter().any(|one| one == wanted || one == "*");
        let all = |list: &Option<Vec<String>>| list.as_deref().unwrap_or_default().to_vec();
        !rules.iter().any(|rule| {
            has(&all(&rule.api_groups), &kind.group)
                && has(&all(&rule.resources), &kind.plural)
                && has(&rule.verbs, verb)
                && all(&rule.resource_names).is_empty()
        })
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::{apps, core};

    use super::*;

    fn rule(group: &str, resource: &str, verbs: &[&str], names: &[&str]) -> ResourceRule {
        let texts = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
        ResourceRule {
            api_groups: Some(texts(&[group])),
            resources: Some(texts(&[resource])),
            verbs: texts(verbs),
            resource_names: Some(texts(names)),
        }
    }

    #[test]
    fn only_what_no_rule_allows_is_forbidden() {
        let secret = ApiResource::erase::<core::v1::Secret>(&());
        let deployment = ApiResource::erase::<apps::v1::Deployment>(&());
        let rules = Rules(Some(vec![
            rule("", "secrets", &["get"], &[]),
            rule("", "secrets", &["list"], &["one"]),
            rule("apps", "*", &["*"], &[]),
        ]));
        assert!(
            rules.forbid("list", &secret)
                && !rules.forbid("get", &secret)
                && !rules.forbid("list", &deployment)
        );
        assert!(Rules(Some(Vec::new())).forbid("list", &secret));
        assert!(!Rules(None).forbid("list", &secret), "nothing is known");
    }
}
