//! Rights as a Role has them: the remedy for those that are missing. Pure.

use std::collections::{BTreeMap, BTreeSet};

use crate::runtime::kubernetes::access::{Place, Right};

/// The order in which people write the verbs.
const VERBS: [&str; 6] = ["create", "delete", "get", "list", "watch", "patch"];

/// `pods: watch; secrets: create, delete`: what is missing, by resource.
pub(super) fn summary(rights: &[Right]) -> String {
    let mut resources: Vec<(String, Vec<&str>)> = Vec::new();
    for right in rights {
        let label = label(right);
        match resources.iter_mut().find(|(known, _)| *known == label) {
            Some((_, verbs)) => verbs.push(right.verb),
            None => resources.push((label, vec![right.verb])),
        }
    }
    resources
        .iter()
        .map(|(resource, verbs)| format!("{resource}: {}", verbs.join(", ")))
        .collect::<Vec<_>>()
        .join("; ")
}

fn label(right: &Right) -> String {
    let group = if right.group.is_empty() { String::new() } else { format!(".{}", right.group) };
    let name = right.name.as_deref().map(|name| format!(" {name}")).unwrap_or_default();
    let place = if let Place::Namespace(other) = &right.place {
        format!(" in namespace {other}")
    } else {
        String::new()
    };
    format!("{}{group}{name}{place}", right.resource)
}

/// What to add: to a Role for each namespace, and to a ClusterRole for kinds that are in none.
pub(super) fn remedy(rights: &[Right], namespace: &str) -> String {
    let places: BTreeSet<&Place> = rights.iter().map(|right| &right.place).collect();
    let texts = places.into_iter().map(|place| {
        let to = match place {
            Place::Here => format!("a Role in namespace {namespace} that a RoleBinding gives to this user"),
            Place::Namespace(other) => {
                format!("a Role in namespace {other} that a RoleBinding gives to this user")
            }
            Place::Cluster => "a ClusterRole that a ClusterRoleBinding gives to this user".to_owned(),
        };
        let rights: Vec<&Right> = rights.iter().filter(|right| right.place == *place).collect();
        format!("add this to {to}:\n{}", yaml(&rights))
    });
    texts.collect::<Vec<_>>().join("\n")
}

struct Rule<'a> {
    group: &'a str,
    resources: Vec<&'a str>,
    name: Option<&'a str>,
    verbs: BTreeSet<&'a str>,
}

/// Resources that lack the same verbs share one rule.
fn yaml(rights: &[&Right]) -> String {
    let mut verbs: BTreeMap<(&str, &str, Option<&str>), BTreeSet<&str>> = BTreeMap::new();
    for right in rights {
        verbs.entry((&right.group, &right.resource, right.name.as_deref())).or_default().insert(right.verb);
    }
    let mut rules: Vec<Rule> = Vec::new();
    for ((group, resource, name), verbs) in verbs {
        match rules.iter_mut().find(|rule| rule.group == group && rule.name == name && rule.verbs == verbs) {
            Some(rule) => rule.resources.push(resource),
            None => rules.push(Rule { group, resources: vec![resource], name, verbs }),
        }
    }
    let lines = rules.into_iter().map(|Rule { group, resources, name, verbs }| {
        let verbs: Vec<&str> = VERBS.into_iter().filter(|verb| verbs.contains(verb)).collect();
        let names = name.map(|name| format!(", resourceNames: [{name}]")).unwrap_or_default();
        format!(
            "\n- {{apiGroups: [{group:?}], resources: [{}]{names}, verbs: [{}]}}",
            resources.join(", "),
            verbs.join(", ")
        )
    });
    format!("rules:{}", lines.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deployments(verb: &'static str) -> Right {
        Right { group: "apps".into(), resource: "deployments".into(), verb, name: None, place: Place::Here }
    }

    #[test]
    fn resources_that_lack_the_same_verbs_share_a_rule() {
        let rights = [
            Right::core("pods", "watch"),
            Right::core("pods", "create"),
            Right::core("services", "create"),
            Right::core("services", "watch"),
            Right::core("secrets", "get").named("login"),
            Right::core("secrets", "create"),
            deployments("delete"),
        ];
        assert_eq!(
            yaml(&rights.each_ref()),
            "rules:\n\
             - {apiGroups: [\"\"], resources: [pods, services], verbs: [create, watch]}\n\
             - {apiGroups: [\"\"], resources: [secrets], verbs: [create]}\n\
             - {apiGroups: [\"\"], resources: [secrets], resourceNames: [login], verbs: [get]}\n\
             - {apiGroups: [\"apps\"], resources: [deployments], verbs: [delete]}"
        );
        assert_eq!(
            summary(&rights),
            "pods: watch, create; services: create, watch; secrets login: get; secrets: create; deployments.apps: delete"
        );
    }

    #[test]
    fn each_place_has_a_role_of_its_own() {
        let widgets = Right {
            group: "x.y".into(),
            resource: "widgets".into(),
            verb: "create",
            name: None,
            place: Place::Cluster,
        };
        let there = Right { place: Place::Namespace("there".into()), ..Right::core("secrets", "create") };
        let rights = [widgets, Right::core("pods", "list"), there];
        assert_eq!(summary(&rights), "widgets.x.y: create; pods: list; secrets in namespace there: create");
        assert_eq!(
            remedy(&rights, "here"),
            "add this to a Role in namespace here that a RoleBinding gives to this user:\n\
             rules:\n- {apiGroups: [\"\"], resources: [pods], verbs: [list]}\n\
             add this to a Role in namespace there that a RoleBinding gives to this user:\n\
             rules:\n- {apiGroups: [\"\"], resources: [secrets], verbs: [create]}\n\
             add this to a ClusterRole that a ClusterRoleBinding gives to this user:\n\
             rules:\n- {apiGroups: [\"x.y\"], resources: [widgets], verbs: [create]}"
        );
    }
}
