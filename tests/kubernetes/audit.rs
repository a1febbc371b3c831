//! The API server's own account of who asked it for what.

use serde_json::Value;

use crate::harness::{Namespace, kubeconfig};

/// All requests so far of a ServiceAccount of the namespace, each once. `None`, and a word about it, on a
/// cluster whose audit log does not lie beside its kubeconfig.
pub fn requests_of(namespace: &Namespace, service_account: &str) -> Option<Vec<Value>> {
    let Ok(log) = std::fs::read_to_string(kubeconfig().with_file_name("audit.log")) else {
        eprintln!("not checked: there is no audit.log beside the kubeconfig");
        return None;
    };
    let user = format!("\"system:serviceaccount:{}:{service_account}\"", namespace.name);
    let lines = log.lines().filter(|line| line.contains(&user) && !line.contains("\"ResponseStarted\""));
    Some(lines.map(|line| serde_json::from_str(line).expect("a line of the audit log")).collect())
}

/// What of these requests was refused for lack of a right.
pub fn denied(requests: &[Value]) -> Vec<&Value> {
    requests
        .iter()
        .filter(|request| request["annotations"]["authorization.k8s.io/decision"] != "allow")
        .collect()
}

/// The different `verb resource` of these requests, sorted; a part of a resource is `pods/log`, and a request
/// for no resource has its path there.
pub fn verbs(requests: &[Value]) -> Vec<String> {
    let mut verbs: Vec<String> = requests
        .iter()
        .map(|request| {
            let object = &request["objectRef"];
            let resource = object["resource"].as_str().or_else(|| request["requestURI"].as_str());
            let part = object["subresource"].as_str().map(|part| format!("/{part}")).unwrap_or_default();
            format!("{} {}{part}", request["verb"].as_str().unwrap_or_default(), resource.unwrap_or_default())
        })
        .collect();
    verbs.sort_unstable();
    verbs.dedup();
    verbs
}
