//! What locks may do, and what they need: the catalog's Role for them against the API server's own account.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::audit;
use crate::credentials::token_of;
use crate::harness::Namespace;
use crate::pipeline_runs::{self, PipelineRuns};
use crate::support::Folder;
use crate::tekton::rights::granted;
use crate::tekton_catalog::documents::Catalog;

const FILE: &str = "samples/lock-rbac.yaml";
const ACCOUNT: &str = "testbed-lock";

#[test]
fn the_role_has_every_verb_that_is_used_and_no_other() {
    let namespace = Namespace::new("lock-rights");
    if audit::requests_of(&namespace, ACCOUNT).is_none() || !pipeline_runs::install() {
        return;
    }
    let catalog = Catalog::read().unwrap_or_else(|problems| panic!("{}", problems.join("\n")));
    catalog.in_file(FILE).for_each(|document| namespace.apply(&document.value.to_string()));
    let config = Folder::new();
    let folder = namespace.folder_as(&token_of(&namespace, &config, ACCOUNT));
    let user = format!("--as=system:serviceaccount:{}:{ACCOUNT}", namespace.name);
    namespace.kubectl_until(&["auth", "can-i", "watch", "pipelineruns.tekton.dev", &user], |answer| {
        answer.trim() == "yes"
    });

    // A lock that is made, taken over from a PipelineRun that is over, and gone.
    let pipeline_runs = PipelineRuns(&namespace);
    pipeline_runs.create("build");
    folder.call(&["lock", "acquire", "db", "--run-id", "one", "--holder", "pipelinerun/build"]).ok();
    let mut waiter = folder.start(&["lock", "acquire", "db", "--run-id", "two"]);
    waiter.until_it_says("held by run one of PipelineRun build since");
    pipeline_runs.delete("build");
    waiter.wait().ok();
    folder.call(&["lock", "release", "db", "--run-id", "two"]).ok().says("released");
    // One of several, by name and by label.
    folder.call(&["lock", "acquire", "--one-of", "db1,db2", "--run-id", "one"]).ok();
    folder.call(&["lock", "show"]).ok();
    folder.call(&["lock", "release", "--one-of", "db1,db2", "--run-id", "one"]).ok().says("released");
    namespace.apply(
        "apiVersion: coordination.k8s.io/v1\nkind: Lease\nmetadata: {name: of-pool, labels: {pool: a}}\n",
    );
    assert_eq!(folder.call(&["lock", "acquire", "-l", "pool=a", "--run-id", "one"]).ok().stdout, "of-pool\n");
    folder.call(&["lock", "release", "-l", "pool=a", "--run-id", "one"]).ok().says("released");

    let requests = audit::requests_of(&namespace, ACCOUNT).expect("the audit log");
    let denied: Vec<&Value> =
        audit::denied(&requests).into_iter().map(|request| &request["requestURI"]).collect();
    assert!(denied.is_empty(), "{denied:#?}");
    // Everyone may ask what there is, and what they may do.
    let used = audit::verbs(&requests)
        .into_iter()
        .filter(|verb| !verb.contains('/') && !verb.contains("selfsubject"));
    let used: BTreeSet<String> = used.collect();
    assert_eq!(used, granted(&catalog, FILE));
}
