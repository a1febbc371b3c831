//! Wrong manifests on a real cluster: the error comes before anything is created.

use crate::harness::Namespace;

#[test]
fn nothing_is_created_for_a_wrong_manifest() {
    let namespace = Namespace::new("wrong");
    let folder = &namespace.folder;
    let map = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: first-run-1}\n---\n";
    let service = "apiVersion: v1\nkind: Service\nmetadata: {name: db-run-1}\nspec: {selector: {db: x}, ports: [{port: 3306}]}\n";
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: db-run-1, labels: {db: x}}\nspec: {containers: [{name: db, image: 'mysql:9.7'}]}\n";
    let wrong = [
        ("a: $(params.undefined)\n".to_owned(), "$(params.undefined) is not defined"),
        ("a: [1\n".to_owned(), "is not valid YAML"),
        ("text\n".to_owned(), "is a text, not a Kubernetes object"),
        (service.to_owned(), "selects no pod of the manifest"),
        (map.to_owned(), "stands in m.yaml: document 1 (line 1) already"),
        (format!("{service}---\n{pod}"), "set MYSQL_ROOT_PASSWORD"),
        (map.replace("first", &"x".repeat(250)), "Kubernetes takes 253"),
        (service.replace("db-run-1", &"x".repeat(64)), "Kubernetes takes 63"),
        (map.replace("first-run-1", "b, namespace: elsewhere"), "is for namespace elsewhere"),
        (
            map.replace("first-run-1", "b, labels: {test-dependencies: other}"),
            "labels has test-dependencies=other, which is another run",
        ),
    ];
    for (document, part) in wrong {
        folder.file("m.yaml", &format!("{map}{document}"));
        folder.call(&["up", "m.yaml", "--run-id", "run-1"]).fails(2).says(part);
    }
    for run_id in ["$(context.pipelineRun.uid)", ""] {
        folder.file("m.yaml", map);
        folder.call(&["up", "m.yaml", "--run-id", run_id]).fails(2).says("the run id is");
    }
    assert!(namespace.labelled("test-dependencies").is_empty());
}
