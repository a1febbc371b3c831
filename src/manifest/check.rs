//! What is wrong with a manifest as a whole, found before anything is created.

use std::collections::HashMap;

use anyhow::bail;

use super::Object;
use crate::failure::{Advise, Exit, usage};
use crate::manifest::policy::Allowance;
use crate::run_id::RunId;
use crate::words::count;

/// The longest name of those kinds whose names are DNS labels, or values of their pods' labels.
const LABEL: usize = 63;
const LABELS: [&str; 4] = ["Service", "Namespace", "Job", "StatefulSet"];
/// The longest name of any other.
const MAX_NAME: usize = 253;

/// Refuses objects that could not be created, or that belong elsewhere; returns a warning about what would
/// only go wrong later, in a cluster.
///
/// # Errors
/// A usage error with the object's place in its file.
pub fn check(objects: &[Object], run_id: &RunId) -> anyhow::Result<Option<String>> {
    let mut colliding = Vec::new();
    check_once(objects, None)?;
    for object in objects {
        check_object(object).exit(Exit::Usage)?;
        if !object.name.contains(run_id.as_str()) {
            colliding.push(object);
        }
    }
    Ok(colliding.first().map(|first| {
        let others = match colliding.len() - 1 {
            0 => String::new(),
            others => format!(" (and those of {})", count(others, "other object")),
        };
        format!(
            "{}: the name of {}{others} does not contain the run id, so two runs in one namespace would collide; \
             name it {}-$(context.pipelineRun.uid)",
            first.origin,
            first.label(),
            first.name
        )
    }))
}

/// Refuses two objects of one kind and name. Those that name no namespace are in the run's, once that is known.
fn check_once(objects: &[Object], namespace: Option<&str>) -> anyhow::Result<()> {
    let mut seen: HashMap<(&str, &str, Option<&str>, &str), &Object> = HashMap::new();
    for object in objects {
        let key =
            (group(object), object.kind.as_str(), object.namespace().or(namespace), object.name.as_str());
        if let Some(first) = seen.insert(key, object) {
            let (origin, label) = (&object.origin, object.label());
            return Err(usage(format!("{origin}: {label} stands in {} already", first.origin)));
        }
    }
    Ok(())
}

fn group(object: &Object) -> &str {
    object.api_version.split_once('/').map_or("", |(group, _)| group)
}

fn check_object(object: &Object) -> anyhow::Result<()> {
    let (origin, label, name) = (&object.origin, object.label(), object.name.as_str());
    let most = if LABELS.contains(&object.kind.as_str()) { LABEL } else { MAX_NAME };
    if name.len() > most {
        bail!("{origin}: the name of {label} has {} characters; Kubernetes takes {most}", name.len());
    }
    // Roles and their bindings have any name that can be a part of a path, such as system:pg:leader.
    if group(object) == "rbac.authorization.k8s.io" {
        if [".", ".."].contains(&name) || name.contains(['/', '%']) {
            bail!("{origin}: the name of {label} may be neither '.' nor '..', and hold no '/' and no '%'");
        }
        return Ok(());
    }
    let fit = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c);
    if name.chars().any(|c| !fit(c)) {
        bail!("{origin}: the name of {label} may hold lower-case letters, digits, '-' and '.' only");
    }
    Ok(())
}

/// Refuses objects for another namespace than the run's. Where they are allowed, those still are that testbed
/// has to follow: pods, what makes pods, and the Services in front of them.
///
/// # Errors
/// A usage error with the object's place in its file.
pub fn check_namespace(objects: &[Object], namespace: &str, allowed: &[Allowance]) -> anyhow::Result<()> {
    check_once(objects, Some(namespace))?;
    for object in objects {
        let Some(own) = object.namespace().filter(|own| *own != namespace) else { continue };
        let is_followed =
            matches!(object.kind.as_str(), "Pod" | "Service") || object.pod_template().is_some();
        let why = match (allowed.contains(&Allowance::NAMESPACE), is_followed) {
            (true, false) => continue,
            (true, true) => "pods and Services can be followed in one namespace only",
            (false, _) => "remove metadata.namespace",
        };
        let (origin, label) = (&object.origin, object.label());
        let error = usage(format!(
            "{origin}: {label} is for namespace {own}, but this run is in {namespace}; {why}, or pass --namespace {own}"
        ));
        return if is_followed {
            Err(error)
        } else {
            Err(error)
                .hint("nothing was created; --allow namespace lets objects other than these lie elsewhere")
        };
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::parse::parse;
    use super::*;

    fn checked(text: &str) -> anyhow::Result<Option<String>> {
        let objects = parse("m.yaml", text).unwrap();
        let warning = check(&objects, &RunId::parse("run-1").unwrap())?;
        check_namespace(&objects, "here", &[]).map(|()| warning)
    }

    fn error(text: &str) -> String {
        format!("{:#}", checked(text).unwrap_err())
    }

    fn pod(name: &str, metadata: &str) -> String {
        format!("apiVersion: v1\nkind: Pod\nmetadata:\n  name: {name}\n{metadata}")
    }

    #[test]
    fn names_are_checked_with_their_place() {
        let named = |version: &str, kind: &str, name: &str| {
            format!("apiVersion: {version}\nkind: {kind}\nmetadata: {{name: '{name}'}}\n")
        };
        let long = "x".repeat(64);
        assert!(
            error(&named("v1", "Service", &long))
                .starts_with("m.yaml: document 1 (line 1): the name of Service xxx")
        );
        assert!(
            error(&named("v1", "Secret", &"x".repeat(254)))
                .contains("has 254 characters; Kubernetes takes 253")
        );
        assert!(error(&pod("A", "")).contains("lower-case"));
        let role = |name: &str| named("rbac.authorization.k8s.io/v1", "Role", name);
        assert!(error(&role("a%b")).contains("'%'"));
        for taken in [
            named("v1", "ConfigMap", &"x".repeat(253)),
            named("v1", "Secret", &long),
            named("v1", "Service", "3d-db"),
            role("system:pg:Leader"),
        ] {
            assert!(checked(&taken).is_ok(), "{taken}");
        }
    }

    #[test]
    fn two_objects_with_one_name_are_refused_unless_their_kinds_differ() {
        let twice = format!("{}---\n{}", pod("a", ""), pod("a", ""));
        assert!(error(&twice).contains("Pod a stands in m.yaml: document 1 (line 1) already"));
        let differ =
            format!("{}---\napiVersion: v1\nkind: Service\nmetadata: {{name: a-run-1}}", pod("a-run-1", ""));
        assert_eq!(checked(&differ).unwrap(), None);
        let secret = |namespace: &str| {
            format!("apiVersion: v1\nkind: Secret\nmetadata: {{name: s-run-1, namespace: {namespace}}}\n")
        };
        let check = |text: &str| check(&parse("m.yaml", text).unwrap(), &RunId::parse("run-1").unwrap());
        assert!(check(&format!("{}---\n{}", secret("a"), secret("b"))).is_ok());
        assert!(check(&format!("{}---\n{}", secret("a"), secret("a"))).is_err());
    }

    #[test]
    fn a_name_without_the_run_id_is_a_warning() {
        let warning = checked(&pod("mysql", "")).unwrap().unwrap();
        assert!(warning.contains("the name of Pod mysql does not contain"), "{warning}");
        assert!(warning.contains("mysql-$(context.pipelineRun.uid)"), "{warning}");
        let several = format!("{}---\n{}---\n{}", pod("a", ""), pod("b-run-1", ""), pod("c", ""));
        let warning = checked(&several).unwrap().unwrap();
        assert!(warning.contains("Pod a (and those of 1 other object) does not"), "{warning}");
    }

    #[test]
    fn another_namespace_is_refused() {
        assert!(error(&pod("a", "  namespace: there\n")).contains("pass --namespace there"));
        assert!(checked(&pod("a", "  namespace: here\n")).is_ok());
        let map = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: there}\n";
        assert!(error(map).contains("is for namespace there"));
        let allowed =
            |text: &str| check_namespace(&parse("m.yaml", text).unwrap(), "here", &[Allowance::NAMESPACE]);
        assert!(allowed(map).is_ok());
        assert!(
            allowed(&pod("a", "  namespace: there\n"))
                .unwrap_err()
                .to_string()
                .contains("in one namespace only")
        );
    }
}
