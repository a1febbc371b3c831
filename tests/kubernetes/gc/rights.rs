//! What gc may do, and what it needs: its Role is as small as can be.

use std::path::PathBuf;

use super::run::{Leftover, ago, hence, minutes_ago};
use crate::audit;
use crate::credentials::account;
use crate::harness::{Namespace, kubectl_output};
use crate::pipeline_runs::{self, PipelineRuns};
use crate::support::Folder;

/// All that gc needs: `watch` to see pods and claims end.
const RULES: &str = "[{apiGroups: [''], resources: [pods, persistentvolumeclaims], verbs: [list, watch, delete]}, \
                      {apiGroups: [''], resources: [services, secrets, configmaps], verbs: [list, delete]}]";

/// The same, to look at PipelineRuns as well.
fn with_pipeline_runs() -> String {
    RULES.replace("}]", "}, {apiGroups: [tekton.dev], resources: [pipelineruns], verbs: [get]}]")
}

/// As the CronJob has it: in a pod, under a Role of its own, as nobody in particular, without a home, with
/// nothing to write to.
#[test]
fn in_a_pod_with_the_smallest_role() {
    let namespace = Namespace::new("gc-pod");
    if !pipeline_runs::install() {
        return;
    }
    let pipeline_runs = PipelineRuns(&namespace);
    for run in ["finished", "running"] {
        let uid = pipeline_runs.create(run);
        namespace.apply(
            &Leftover::new(run).expires(&ago(1)).owner("tekton.dev/v1", run, &uid).with_pod().manifest(),
        );
    }
    pipeline_runs.finish("finished", &minutes_ago(25));
    namespace.apply(&Leftover::new("old").expires(&ago(1)).with_pod().manifest());
    namespace.apply(&Leftover::new("live").expires(&hence(1)).manifest());
    account(&namespace, &Folder::new(), &with_pipeline_runs());
    let security = "    securityContext: {runAsUser: 65532, runAsNonRoot: true, readOnlyRootFilesystem: true, allowPrivilegeEscalation: false, \
                    capabilities: {drop: [ALL]}}\n    env:";
    let client = namespace.bare_client("limited", |manifest| manifest.replace("    env:", security));
    client.install_testbed();
    let gc = |env: &str, args: &str| {
        client.shell_ok(&format!("cd / && env {env} /work/testbed gc --pipeline-runs -o json {args}"))
    };

    let dry = gc("-u HOME", "--dry-run");
    assert_eq!(
        (dry.matches("\"runId\"").count(), dry.matches("\"removed\": false").count()),
        (2, 2),
        "{dry}"
    );
    assert_eq!(namespace.of_run("old").len() + namespace.of_run("finished").len(), 8);
    let requests = audit::requests_of(&namespace, "limited");
    if let Some(requests) = &requests {
        let verbs = audit::verbs(requests);
        assert!(
            verbs.iter().all(|verb| ["get ", "list "].iter().any(|read| verb.starts_with(read))),
            "{verbs:?}"
        );
        assert!(audit::denied(requests).is_empty(), "{requests:#?}");
    }

    let gone = gc("HOME=/", "");
    assert_eq!(
        (gone.matches("\"runId\"").count(), gone.matches("\"removed\": true").count()),
        (2, 2),
        "{gone}"
    );
    assert_eq!(["old", "finished", "live", "running"].map(|run| namespace.of_run(run).len()), [0, 0, 3, 4]);
    let Some(requests) = audit::requests_of(&namespace, "limited") else { return };
    assert!(audit::denied(&requests).is_empty(), "{:#?}", audit::denied(&requests));
    let namespaced: Vec<String> =
        audit::verbs(&requests).into_iter().filter(|verb| !verb.contains('/')).collect();
    let used = [
        "delete configmaps",
        "delete pods",
        "delete secrets",
        "delete services",
        "get pipelineruns",
        "list configmaps",
        "list persistentvolumeclaims",
        "list pods",
        "list secrets",
        "list services",
        "watch pods",
    ];
    assert_eq!(namespaced, used);
}

/// What cannot be found out about a PipelineRun is no reason to take its run for one that is over.
#[test]
fn without_the_right_to_look_at_pipeline_runs() {
    let namespace = Namespace::new("gc-blind");
    if !pipeline_runs::install() {
        return;
    }
    let config = Folder::new();
    let folder = namespace.folder_as(&account(&namespace, &config, RULES));
    let uid = PipelineRuns(&namespace).create("build");
    namespace
        .apply(&Leftover::new("of-build").expires(&ago(3)).owner("tekton.dev/v1", "build", &uid).manifest());
    namespace.apply(&Leftover::new("old").expires(&ago(3)).manifest());
    let gc = folder
        .call(&["gc", "--pipeline-runs"])
        .fails(1)
        .says(&format!("removed run old in namespace {} (3 objects): expired 3 h ago", namespace.name))
        .says(&format!("error: reading PipelineRun build in namespace {}: ", namespace.name))
        .says("hint: --pipeline-runs needs the rule {apiGroups: [tekton.dev], resources: [pipelineruns], verbs: [get]}");
    assert_eq!(namespace.of_run("of-build").len(), 3, "{}", gc.transcript());
    folder.call(&["gc"]).ok().says("removed run of-build");
}

#[test]
fn kinds_that_may_not_be_listed_stay() {
    let namespace = Namespace::new("gc-partly");
    let config = Folder::new();
    namespace.apply(&Leftover::new("old").expires(&ago(3)).manifest());
    let services = "[{apiGroups: [''], resources: [services], verbs: [list, delete]}]";
    let folder = namespace.folder_as(&account(&namespace, &config, services));
    folder
        .call(&["gc"])
        .ok()
        .says("warning: objects of kind ConfigMap may not be listed: those of the runs that are removed now stay")
        .says("warning: objects of kind Secret may not be listed")
        .says("removed run old in namespace");
    assert_eq!(super::run::sorted(namespace.of_run("old")), ["configmap/configmap-old", "secret/secret-old"]);
    // Nothing at all is another matter.
    let folder = namespace.folder_as(&account(&namespace, &config, "[]"));
    folder
        .call(&["gc"])
        .fails(1)
        .says("error: looking for runs: listing objects of kind ")
        .says("hint: the Role of this user needs that verb");
    let all = folder.call(&["gc", "--all-namespaces"]).fails(1);
    all.says("hint: --all-namespaces takes a ClusterRole, and a ClusterRoleBinding");
}

#[test]
fn what_may_not_be_deleted_is_told() {
    let namespace = Namespace::new("gc-look");
    let config = Folder::new();
    namespace.apply(&Leftover::new("old").expires(&ago(3)).manifest());
    let rules = RULES.replace(", delete]}]", "]}]");
    let folder = namespace.folder_as(&account(&namespace, &config, &rules));
    folder
        .call(&["gc"])
        .fails(5)
        .says(&format!("error: run old in namespace {}: deleting ", namespace.name))
        .says("cannot delete resource");
    assert_eq!(namespace.of_run("old").len(), 3);
}

/// Somebody who may look at all namespaces, and delete in two of them.
pub struct Everywhere {
    pub kubeconfig: PathBuf,
    name: String,
}

impl Everywhere {
    pub fn new(home: &Namespace, other: &Namespace, folder: &Folder) -> Self {
        let kubeconfig = account(home, folder, RULES);
        let name = home.name.clone();
        let subject = format!("subjects: [{{kind: ServiceAccount, name: limited, namespace: {name}}}]");
        let binding = "apiVersion: rbac.authorization.k8s.io/v1\nkind: ";
        other.apply(&format!(
            "{binding}Role\nmetadata: {{name: limited}}\nrules: {RULES}\n---\n\
             {binding}RoleBinding\nmetadata: {{name: limited}}\n{subject}\nroleRef: {{kind: Role, name: limited, apiGroup: rbac.authorization.k8s.io}}\n---\n\
             {binding}ClusterRole\nmetadata: {{name: {name}}}\nrules: {}\n---\n\
             {binding}ClusterRoleBinding\nmetadata: {{name: {name}}}\n{subject}\nroleRef: {{kind: ClusterRole, name: {name}, apiGroup: rbac.authorization.k8s.io}}\n",
            RULES.replace(", delete", ""),
        ));
        // Until the API server has taken note.
        let user = format!("--as=system:serviceaccount:{name}:limited");
        home.kubectl_until(&["auth", "can-i", "list", "secrets", "-A", &user], |answer| {
            answer.trim() == "yes"
        });
        other.kubectl_until(&["auth", "can-i", "delete", "pods", &user], |answer| answer.trim() == "yes");
        Self { kubeconfig, name }
    }
}

impl Drop for Everywhere {
    fn drop(&mut self) {
        kubectl_output(&["delete", "clusterrole,clusterrolebinding", &self.name, "--ignore-not-found"], None);
    }
}
