//! Tekton's kinds as its documentation describes them, closed: a field that is not listed is refused, and so
//! is a value of another type. Nobody carries the objects out.

use serde_json::{Map, Value, json};

type Fields = Vec<(&'static str, Value)>;

fn text() -> Value {
    json!({"type": "string"})
}

fn flag() -> Value {
    json!({"type": "boolean"})
}

fn number() -> Value {
    json!({"type": "integer"})
}

/// Whatever Kubernetes itself would have there.
fn any() -> Value {
    json!({"x-kubernetes-preserve-unknown-fields": true})
}

fn list(items: Value) -> Value {
    json!({"type": "array", "items": items})
}

fn map(values: Value) -> Value {
    json!({"type": "object", "additionalProperties": values})
}

fn one_of(words: &[&str]) -> Value {
    json!({"type": "string", "enum": words})
}

/// A name with `*` has to be there.
fn object(fields: Fields) -> Value {
    let required: Vec<&str> = fields.iter().filter_map(|(name, _)| name.strip_suffix('*')).collect();
    let properties: Map<String, Value> =
        fields.into_iter().map(|(name, schema)| (name.trim_end_matches('*').to_owned(), schema)).collect();
    let mut schema = json!({"type": "object", "properties": properties});
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    schema
}

fn quantities() -> Value {
    map(json!({"x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}]}))
}

fn resources() -> Value {
    object(vec![("requests", quantities()), ("limits", quantities()), ("claims", any())])
}

fn params() -> Value {
    list(object(vec![
        ("name*", text()),
        ("type", one_of(&["string", "array", "object"])),
        ("description", text()),
        ("properties", map(object(vec![("type", text())]))),
        ("default", any()),
        ("enum", list(text())),
    ]))
}

/// A value is a text, a list of texts or a map of texts: one of several types, which no definition can say.
fn values() -> Value {
    list(object(vec![("name*", text()), ("value*", any())]))
}

fn results() -> Value {
    list(object(vec![
        ("name*", text()),
        ("type", one_of(&["string", "array", "object"])),
        ("description", text()),
        ("properties", map(object(vec![("type", text())]))),
        ("value", any()),
    ]))
}

fn variables() -> Value {
    let key = || object(vec![("name*", text()), ("key*", text()), ("optional", flag())]);
    let from = object(vec![
        ("fieldRef", object(vec![("fieldPath*", text()), ("apiVersion", text())])),
        ("resourceFieldRef", any()),
        ("secretKeyRef", key()),
        ("configMapKeyRef", key()),
    ]);
    list(object(vec![("name*", text()), ("value", text()), ("valueFrom", from)]))
}

fn mounts() -> Value {
    list(object(vec![
        ("name*", text()),
        ("mountPath*", text()),
        ("readOnly", flag()),
        ("subPath", text()),
        ("subPathExpr", text()),
        ("mountPropagation", text()),
        ("recursiveReadOnly", text()),
    ]))
}

fn reference() -> Value {
    object(vec![
        ("name", text()),
        ("kind", text()),
        ("apiVersion", text()),
        ("resolver", text()),
        ("params", values()),
    ])
}

fn when() -> Value {
    list(object(vec![
        ("input", text()),
        ("operator", one_of(&["in", "notin"])),
        ("values", list(text())),
        ("cel", text()),
    ]))
}

/// What a container of a step, a sidecar or a StepAction has.
fn container() -> Fields {
    vec![
        ("image", text()),
        ("command", list(text())),
        ("args", list(text())),
        ("workingDir", text()),
        ("env", variables()),
        ("script", text()),
        ("securityContext", any()),
        ("volumeMounts", mounts()),
    ]
}

fn step() -> Value {
    let own = vec![
        ("name", text()),
        ("displayName", text()),
        ("envFrom", any()),
        ("computeResources", resources()),
        ("volumeDevices", any()),
        ("imagePullPolicy", text()),
        ("timeout", text()),
        ("workspaces", list(object(vec![("name*", text()), ("mountPath*", text())]))),
        ("onError", one_of(&["continue", "stopAndFail"])),
        ("stdoutConfig", object(vec![("path", text())])),
        ("stderrConfig", object(vec![("path", text())])),
        ("ref", reference()),
        ("params", values()),
        ("results", results()),
        ("when", when()),
    ];
    object([container(), own].concat())
}

fn sidecar() -> Value {
    let own = vec![
        ("name*", text()),
        ("ports", any()),
        ("envFrom", any()),
        ("computeResources", resources()),
        ("readinessProbe", any()),
        ("livenessProbe", any()),
        ("startupProbe", any()),
        ("imagePullPolicy", text()),
        ("workspaces", list(object(vec![("name*", text()), ("mountPath*", text())]))),
        ("restartPolicy", text()),
    ];
    object([container(), own].concat())
}

fn task() -> Fields {
    let workspace = object(vec![
        ("name*", text()),
        ("description", text()),
        ("mountPath", text()),
        ("readOnly", flag()),
        ("optional", flag()),
    ]);
    vec![
        ("displayName", text()),
        ("description", text()),
        ("params", params()),
        ("results", results()),
        ("steps", list(step())),
        ("stepTemplate", any()),
        ("sidecars", list(sidecar())),
        ("volumes", any()),
        ("workspaces", list(workspace)),
    ]
}

fn step_action() -> Fields {
    [container(), vec![("description", text()), ("params", params()), ("results", results())]].concat()
}

fn pipeline() -> Fields {
    let metadata = object(vec![("labels", map(text())), ("annotations", map(text()))]);
    let spec = object(
        [task(), vec![("metadata", metadata), ("apiVersion", text()), ("kind", text()), ("spec", any())]]
            .concat(),
    );
    let matrix = object(vec![
        ("params", values()),
        ("include", list(object(vec![("name", text()), ("params", values())]))),
    ]);
    let task = object(vec![
        ("name", text()),
        ("displayName", text()),
        ("description", text()),
        ("taskRef", reference()),
        ("taskSpec", spec),
        ("pipelineRef", reference()),
        ("pipelineSpec", any()),
        ("when", when()),
        ("retries", number()),
        ("runAfter", list(text())),
        ("params", values()),
        ("matrix", matrix),
        ("workspaces", list(object(vec![("name*", text()), ("workspace", text()), ("subPath", text())]))),
        ("timeout", text()),
        ("onError", text()),
    ]);
    vec![
        ("displayName", text()),
        ("description", text()),
        ("params", params()),
        ("tasks", list(task.clone())),
        ("finally", list(task)),
        ("workspaces", list(object(vec![("name*", text()), ("description", text()), ("optional", flag())]))),
        ("results", results()),
    ]
}

fn bindings() -> Value {
    list(object(vec![
        ("name*", text()),
        ("subPath", text()),
        ("volumeClaimTemplate", any()),
        ("persistentVolumeClaim", object(vec![("claimName*", text()), ("readOnly", flag())])),
        ("emptyDir", any()),
        ("configMap", any()),
        ("secret", any()),
        ("projected", any()),
        ("csi", any()),
    ]))
}

fn pipeline_run() -> Fields {
    let task_run = object(vec![
        ("pipelineTaskName*", text()),
        ("serviceAccountName", text()),
        ("podTemplate", any()),
        ("stepSpecs", list(object(vec![("name*", text()), ("computeResources", resources())]))),
        ("sidecarSpecs", list(object(vec![("name*", text()), ("computeResources", resources())]))),
        ("metadata", any()),
        ("computeResources", resources()),
        ("timeout", text()),
    ]);
    vec![
        ("pipelineRef", reference()),
        ("pipelineSpec", object(pipeline())),
        ("params", values()),
        ("status", text()),
        ("timeouts", object(vec![("pipeline", text()), ("tasks", text()), ("finally", text())])),
        ("taskRunTemplate", object(vec![("serviceAccountName", text()), ("podTemplate", any())])),
        ("workspaces", bindings()),
        ("taskRunSpecs", list(task_run)),
    ]
}

fn task_run() -> Fields {
    vec![
        ("debug", any()),
        ("params", values()),
        ("serviceAccountName", text()),
        ("taskRef", reference()),
        ("taskSpec", object(task())),
        ("status", text()),
        ("statusMessage", text()),
        ("retries", number()),
        ("timeout", text()),
        ("podTemplate", any()),
        ("workspaces", bindings()),
        ("stepSpecs", any()),
        ("sidecarSpecs", any()),
        ("computeResources", resources()),
    ]
}

fn definition(kind: &str, version: &str, spec: Fields) -> Value {
    let singular = kind.to_lowercase();
    let schema = object(vec![
        ("apiVersion", text()),
        ("kind", text()),
        ("metadata", json!({"type": "object"})),
        ("spec*", object(spec)),
        ("status", any()),
    ]);
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{singular}s.tekton.dev"), "labels": {"testbed/stand-in": "true"}},
        "spec": {
            "group": "tekton.dev", "scope": "Namespaced",
            "names": {"plural": format!("{singular}s"), "singular": singular, "kind": kind, "listKind": format!("{kind}List")},
            "versions": [{
                "name": version, "served": true, "storage": true, "subresources": {"status": {}}, "schema": {"openAPIV3Schema": schema},
            }],
        },
    })
}

/// The definition of PipelineRuns alone.
pub fn of_pipeline_runs() -> Value {
    definition("PipelineRun", "v1", pipeline_run())
}

/// The definitions of all five kinds.
pub fn all() -> [Value; 5] {
    [
        definition("Task", "v1", task()),
        definition("StepAction", "v1beta1", step_action()),
        definition("Pipeline", "v1", pipeline()),
        definition("TaskRun", "v1", task_run()),
        of_pipeline_runs(),
    ]
}
