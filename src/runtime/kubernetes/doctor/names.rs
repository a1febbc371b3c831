//! Names that the API server, or a controller behind it, cannot work with. Pure. Too long ones and wrong
//! letters are usage errors before this.

use super::Planned;
use crate::doctor::Verdict;
use crate::manifest::Object;

/// For the label `controller-revision-hash=<name>-<hash>`, whose value takes 63, and its hash mostly 10.
const STATEFUL_SET: usize = 63 - 1 - 10;

pub(super) fn check(planned: &Planned<'_>) -> Vec<Verdict> {
    let refused = planned.objects.iter().filter_map(|object| Some((object, refusal(object)?)));
    refused
        .map(|(object, (why, remedy))| {
            Verdict::problem("names", format!("{}: {why}", object.origin)).on(object.label()).remedy(remedy)
        })
        .collect()
}

/// Why the object's name cannot work, and what to do; `None` if it can.
pub(super) fn refusal(object: &Object) -> Option<(String, &'static str)> {
    let name = &object.name;
    match (object.api_version.as_str(), object.kind.as_str()) {
        ("v1", "Service") if name.contains('.') || name.ends_with('-') => {
            let why = format!(
                "the Service's name {name} cannot be one of DNS: letters, digits and '-' only, and no '-' at the end"
            );
            Some((why, "put '-' in place of each dot, and a letter or digit at the end"))
        }
        ("apps/v1", "StatefulSet") if name.len() > STATEFUL_SET => {
            let why = format!(
                "the name {name} has {} characters, and a StatefulSet's pods cannot be made above {STATEFUL_SET}",
                name.len()
            );
            Some((why, "shorten what stands before the run id, or pass a shorter --run-id"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::parse::parse;

    fn refused(kind: &str, name: &str) -> bool {
        let text = format!("apiVersion: {kind}\nmetadata: {{name: {name}}}\n");
        refusal(&parse("m.yaml", &text.replace('|', "\nkind: ")).unwrap()[0]).is_some()
    }

    #[test]
    fn services_are_dns_labels() {
        assert!(refused("v1|Service", "db.run-1") && refused("v1|Service", "db-"));
        assert!(!refused("v1|Service", "db-run-1") && !refused("v1|ConfigMap", "db.run-1"));
    }

    #[test]
    fn stateful_sets_leave_room_for_the_hash_of_their_revision() {
        assert!(refused("apps/v1|StatefulSet", &"x".repeat(53)));
        assert!(
            !refused("apps/v1|StatefulSet", &"x".repeat(52))
                && !refused("apps/v1|Deployment", &"x".repeat(53))
        );
    }
}
