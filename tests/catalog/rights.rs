//! Roles are given to accounts that exist, and none gives everything.

use serde_json::Value;

use crate::tekton::documents::{Catalog, Content, Document};

pub fn problems(catalog: &Catalog) -> Vec<String> {
    let has = |wanted_kind: &str, wanted: &Value| {
        let is_it = |document: &Document| matches!(&document.content, Content::Other { kind, name } if kind == wanted_kind && wanted == name);
        catalog.documents.iter().any(is_it)
    };
    let mut problems = Vec::new();
    for document in &catalog.documents {
        let Content::Other { kind, name } = &document.content else { continue };
        let mut say = |text: String| problems.push(format!("{}: {kind} {name}: {text}", document.file));
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        if kind.ends_with("RoleBinding") {
            let role = &document.value["roleRef"];
            if !has(role["kind"].as_str().unwrap_or_default(), &role["name"]) {
                say(format!("there is no {} {}", text(&role["kind"]), text(&role["name"])));
            }
            for subject in list(&document.value["subjects"])
                .iter()
                .filter(|subject| !has("ServiceAccount", &subject["name"]))
            {
                say(format!("there is no ServiceAccount {}", text(&subject["name"])));
            }
        }
        for rule in list(&document.value["rules"]) {
            if ["apiGroups", "resources", "verbs"].iter().any(|part| list(&rule[*part]).contains(&"*".into()))
            {
                say("a right of everything".into());
            }
        }
        let account =
            &document.value["spec"]["jobTemplate"]["spec"]["template"]["spec"]["serviceAccountName"];
        if kind == "CronJob" && !has("ServiceAccount", account) {
            say(format!("there is no ServiceAccount {}", text(account)));
        }
    }
    problems
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
