//! What Helm and kubectl's kustomize make of a chart and a kustomization, piped in.

use std::process::Command;

use crate::examples::{is_missing, packages};
use crate::harness::Local;
use crate::support::pages::root;

/// What a program of `tests/install test` says.
fn said(program: &str, args: &[&str]) -> Option<String> {
    let program = packages("piped").join(program);
    if is_missing("Helm with kubectl", Command::new("test").arg("-x").arg(&program)) {
        return None;
    }
    let output = Command::new(program).args(args).current_dir(root().join("tests/piped")).output();
    let output = output.expect("it starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).expect("text"))
}

#[test]
fn a_chart_is_piped_in() {
    let Some(manifest) = said("helm/helm", &["template", "r1", "chart", "--set", "postgres.password=hush"])
    else {
        return;
    };
    let local = Local::new();
    let up = local.call_with_input(&["up", "-", "--run-id", "run-1"], &manifest).ok();
    up.says(
        "left out: shop (example.org/shop:4.5) of Deployment/r1-shop, psql (postgres:15) of Pod/r1-shop-test",
    )
    .keeps("hush");
    let databases = local.databases("testing-databases.json");
    let [database] = databases.as_slice() else { panic!("{databases:?}") };
    assert_eq!((database.user.as_str(), database.database.as_deref()), ("app", Some("shop")));
    assert_eq!(database.value("SELECT count(*) FROM a"), "0");
    local.call(&["down"]).ok();
}

#[test]
fn a_kustomization_is_piped_in() {
    let Some(manifest) = said("kubectl/kubectl", &["kustomize", "kustomization"]) else { return };
    let local = Local::new();
    local
        .call_with_input(&["run", "-", "--strict", "--", "sh", "-c", "test -n \"$DATABASE_URL\""], &manifest)
        .ok();
}
