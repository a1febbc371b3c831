//! The rules can fail: each of these broken copies of the catalog breaks one.

use crate::RULES;
use crate::tekton::documents::{Catalog, Source};

const UP: &str = "task/testbed-up/testbed-up.yaml";
const DOWN: &str = "task/testbed-down/testbed-down.yaml";
const STEP_UP: &str = "stepaction/testbed-up/testbed-up.yaml";
const PIPELINE: &str = "samples/striv-pipeline.yaml";
const RUN: &str = "samples/striv-run.yaml";
const OPENSHIFT: &str = "samples/striv-run-openshift.yaml";
const TRY: &str = "task/testbed-up/samples/try-it.yaml";
const ONE_TASK: &str = "stepaction/testbed-up/samples/up-test-down.yaml";
const RBAC: &str = "samples/rbac.yaml";
const TASKS: &str = "samples/striv-tasks.yaml";
const GC: &str = "samples/gc.yaml";
const LONE: &str = "task/testbed-up/tests/run.yaml";
const README: &str = "task/testbed-up/README.md";
const ACQUIRE: &str = "task/testbed-lock-acquire/testbed-lock-acquire.yaml";
const RELEASE: &str = "task/testbed-lock-release/testbed-lock-release.yaml";
const STEP_ACQUIRE: &str = "stepaction/testbed-lock-acquire/testbed-lock-acquire.yaml";
const TURNS: &str = "samples/lock-pipeline.yaml";
const TURNS_RUN: &str = "samples/lock-run.yaml";
const SHARED: &str = "samples/lock-database.yaml";
const LOCK_RBAC: &str = "samples/lock-rbac.yaml";
const LOCK_README: &str = "task/testbed-lock-acquire/README.md";

/// A file, what stands in it, what stands there instead, and what is said of it.
const BROKEN: &[(&str, &str, &str, &str)] = &[
    // Schema: a field that no type has, at every depth.
    (
        UP,
        "  workspaces:\n    - name: source",
        "  workspace:\n    - name: source",
        "unknown field `workspace`",
    ),
    (UP, "workingDir:", "workDir:", "unknown field `workDir`"),
    (
        UP,
        "- name: HOME\n          value:",
        "- name: HOME\n          valeu:",
        "unknown field .spec.steps[0].env[0].valeu",
    ),
    (
        UP,
        "fieldRef: {fieldPath:",
        "fieldRef: {path:",
        "unknown field .spec.steps[0].env[2].valueFrom.fieldRef.path",
    ),
    (
        UP,
        "readOnlyRootFilesystem: true",
        "readOnlyRootFileSystem: true",
        "unknown field .spec.steps[0].securityContext.readOnlyRootFileSystem",
    ),
    (UP, "requests: {cpu", "request: {cpu", "unknown field .spec.steps[0].computeResources.request"),
    (UP, "apiVersion: tekton.dev/v1", "apiVersion: tekton.dev/v1beta1", "is no kind of this catalog"),
    (UP, "  steps:\n", "  steps: []\n  stepss:\n", "unknown field `stepss`"),
    (
        STEP_UP,
        "  image: $(params.image)\n",
        "  image: $(params.image)\n  computeResources: {}\n",
        "unknown field `computeResources`",
    ),
    (PIPELINE, "runAfter: [checkout]", "runsAfter: [checkout]", "unknown field `runsAfter`"),
    (RUN, "taskRunSpecs:", "serviceAccountNames:", "unknown field `serviceAccountNames`"),
    (
        RUN,
        "fsGroup: 65532",
        "fsgroup: 65532",
        "unknown field .spec.taskRunTemplate.podTemplate.securityContext.fsgroup",
    ),
    (
        RUN,
        "accessModes:",
        "accessMode:",
        "unknown field .spec.workspaces[0].volumeClaimTemplate.spec.accessMode",
    ),
    (RBAC, "apiGroups: [\"\"]", "apiGroup: [\"\"]", "unknown field .rules[0].apiGroup"),
    (
        README,
        "```yaml\ntasks:",
        "```yaml\napiVersion: tekton.dev/v1\nkind: Pipelines\ntasks:",
        "is no kind of this catalog",
    ),
    (UP, "default: \"640\"", "default: 640", "did not match any variant"),
    // What kubectl and Tekton read otherwise than an editor does.
    (
        ACQUIRE,
        "- name: \"on\"",
        "- name: on",
        "YAML 1.1 and 1.2 differ: .spec.params[3].name is true and \"on\"",
    ),
    (STEP_ACQUIRE, "- name: \"on\"", "- name: on", "YAML 1.1 and 1.2 differ: .spec.params"),
    (UP, "default: \"640\"", "default: 0640", "YAML 1.1 and 1.2 differ"),
    (UP, "      default: \"640\"", "      off: \"640\"", "YAML 1.1 and 1.2 differ"),
    // Layout.
    (UP, "  name: testbed-up\n", "  name: testbed-upp\n", "belongs into task/testbed-up/testbed-upp.yaml"),
    (
        UP,
        "apiVersion:",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: more}\n---\napiVersion:",
        "holds one document",
    ),
    // Conventions.
    (
        UP,
        "app.kubernetes.io/version: \"0.1.0\"",
        "app.kubernetes.io/version: \"0.0.1\"",
        "the label app.kubernetes.io/version",
    ),
    (
        DOWN,
        "tekton.dev/displayName: testbed down",
        "tekton.dev/displayname: testbed down",
        "the annotation tekton.dev/displayName is missing",
    ),
    (DOWN, "minVersion: \"0.63.0\"", "minVersion: \"0.63\"", "minVersion is no version"),
    (UP, "linux/amd64,linux/arm64", "linux/amd64,linux/s390x", "names what the image is not built for"),
    (
        UP,
        "- name: The testbed authors",
        "- nam: The testbed authors",
        "artifacthub.io/maintainers is no list with names",
    ),
    (
        UP,
        "default: registry.example/testbed:0.1.0",
        "default: testbed:0.1.0",
        "the image testbed:0.1.0 needs its registry",
    ),
    (
        UP,
        "default: registry.example/testbed:0.1.0",
        "default: registry.example/testbed:latest",
        "needs its registry and the tag",
    ),
    (UP, "image: $(params.image)", "image: registry.example/testbed:0.1.0", "not the param"),
    (UP, "command: [\"/testbed\"]\n", "script: /testbed up\n", "a script needs a shell"),
    (UP, "args: [\"up\",", "args: [\"up\", \"--with\", \"$(params.with)\",", "{\"with\"} in args"),
    (UP, "      description: How many databases there are.\n", "", "result databases has no description"),
    (
        UP,
        "    - name: timeout\n      description: How long to wait until everything is ready, such as 90s or 10m. Empty for 5m.\n",
        "    - name: timeout\n",
        "param timeout has no description",
    ),
    (
        UP,
        "      type: string\n      default: \"640\"",
        "      default: \"640\"",
        "param mode needs a type and a default",
    ),
    (
        UP,
        "      type: string\n      default: \"640\"",
        "      type: string",
        "param mode needs a type and a default",
    ),
    (UP, "    - name: databases\n", "    - name: database-url\n", "a secret does not belong into a result"),
    (UP, "value: $(params.allow)", "value: \"\"", "param allow is not used"),
    (
        TRY,
        "image: docker.io/library/postgres:17",
        "image: postgres:17",
        "the image postgres:17 needs its registry",
    ),
    // The variables that testbed reads.
    (UP, "name: TESTBED_TIMEOUT", "name: TESTBED_TIME_OUT", "knows no variable TESTBED_TIME_OUT"),
    (DOWN, "name: TESTBED_GRACE_PERIOD", "name: TESTBED_WITH", "testbed down knows no variable TESTBED_WITH"),
    (UP, "args: [\"up\",", "args: [\"upp\",", "testbed has no command \"upp\""),
    (UP, "name: TESTBED_WITH", "name: TESTBED_MODE", "the variable TESTBED_MODE stands there twice"),
    (UP, "value: /tekton/home", "value: /root", "the variable HOME has to be"),
    (
        DOWN,
        "{fieldPath: metadata.namespace}",
        "{fieldPath: metadata.name}",
        "TESTBED_NAMESPACE has to come from the pod",
    ),
    (UP, "value: kubernetes", "value: local", "the variable TESTBED_RUNTIME has to be"),
    (
        UP,
        "value: $(params.run-id)",
        "value: $(context.pipelineRun.uid)",
        "the variable TESTBED_RUN_ID has to be",
    ),
    (
        DOWN,
        "['tekton.dev/pipelineRunUID']",
        "['tekton.dev/pipelineRunUid']",
        "TESTBED_PIPELINE_RUN_UID has to come from",
    ),
    (UP, "['tekton.dev/pipelineRun']", "['tekton.dev/pipeline']", "TESTBED_PIPELINE_RUN has to come from"),
    (
        UP,
        "value: $(params.output)",
        "value: out/$(params.output)",
        "TESTBED_OUTPUT is put together from params",
    ),
    (
        DOWN,
        "key: url, optional: true",
        "key: url",
        "TESTBED_HISTORY has to come from the key url of the Secret testbed-history, which is optional",
    ),
    (
        UP,
        "valueFrom: {secretKeyRef: {name: testbed-history, key: url, optional: true}}",
        "value: $(params.format)",
        "TESTBED_HISTORY has to",
    ),
    (
        UP,
        "key: results-ca, optional",
        "key: ca, optional",
        "TESTBED_RESULTS_CA has to come from the key results-ca",
    ),
    (UP, "['tekton.dev/taskRun']", "['tekton.dev/pipelineTask']", "TESTBED_TASK_RUN has to come from"),
    (
        ACQUIRE,
        "args: [\"lock\", \"acquire\",",
        "args: [\"lock\", \"take\",",
        "testbed has no command \"lock take\"",
    ),
    (RELEASE, "args: [\"lock\", \"release\"]", "args: [\"lock\"]", "testbed has no command \"lock \""),
    (
        RELEASE,
        "name: TESTBED_STRICT",
        "name: TESTBED_LOCK_TTL",
        "testbed lock release knows no variable TESTBED_LOCK_TTL",
    ),
    (
        ACQUIRE,
        "['tekton.dev/pipelineRun']",
        "['tekton.dev/pipeline']",
        "TESTBED_PIPELINE_RUN has to come from",
    ),
    (ACQUIRE, "value: $(params.run-id)", "value: $(params.holder)", "the variable TESTBED_RUN_ID has to be"),
    // Security.
    (
        UP,
        "allowPrivilegeEscalation: false",
        "allowPrivilegeEscalation: true",
        "allowPrivilegeEscalation has to be false",
    ),
    (UP, "{drop: [ALL]}", "{drop: [NET_RAW]}", "drop ALL"),
    (UP, "{drop: [ALL]}", "{drop: [ALL], add: [NET_ADMIN]}", "add none"),
    (UP, "runAsNonRoot: true", "runAsNonRoot: false", "runAsNonRoot has to be true"),
    (UP, "runAsNonRoot: true", "runAsNonRoot: true\n        runAsUser: 65532", "OpenShift refuses it"),
    (
        UP,
        "readOnlyRootFilesystem: true",
        "readOnlyRootFilesystem: false",
        "readOnlyRootFilesystem has to be true",
    ),
    (UP, "{type: RuntimeDefault}", "{type: Unconfined}", "seccompProfile has to be RuntimeDefault"),
    (UP, "        limits: {memory: 128Mi}\n", "", "no computeResources"),
    (TASKS, "allowPrivilegeEscalation: false", "privileged: true", "step copy: securityContext: privileged"),
    (RUN, "runAsNonRoot: true", "runAsNonRoot: false", "podTemplate.securityContext needs runAsNonRoot"),
    (
        OPENSHIFT,
        "  taskRunSpecs:",
        "  taskRunTemplate: {podTemplate: {securityContext: {fsGroup: 1}}}\n  taskRunSpecs:",
        "OpenShift refuses a podTemplate",
    ),
    (
        GC,
        "readOnlyRootFilesystem: true",
        "readOnlyRootFilesystem: false",
        "container gc: readOnlyRootFilesystem has to be true",
    ),
    (GC, "runAsNonRoot: true", "runAsNonRoot: false", "podTemplate.securityContext needs runAsNonRoot"),
    (GC, "--pipeline-runs", "--pipelineruns", "container gc: error: unexpected argument"),
    // A StepAction is its Task.
    (STEP_UP, "default: \"640\"", "default: \"600\"", "or their defaults differ"),
    (STEP_UP, "TESTBED_FORMAT", "TESTBED_OUTPUT", "its command, env or securityContext"),
    (STEP_UP, "$(step.results.config.path)", "$(step.results.databases.path)", "its args are not the Task's"),
    (STEP_UP, "workingDir: $(params.source)", "workingDir: /workspace", "its workingDir is not the Task's"),
    (STEP_UP, "    - name: databases\n", "    - name: count\n", "its results are not the Task's"),
    (
        DOWN,
        "  params:\n    - name: run-id",
        "  workspaces:\n    - {name: source, description: A folder.}\n  params:\n    - name: run-id",
        "stands for the Task's workspace",
    ),
    (STEP_ACQUIRE, "$(step.results.fence.path)", "$(step.results.lock.path)", "its args are not the Task's"),
    (STEP_ACQUIRE, "TESTBED_LOCK_TTL", "TESTBED_LOCK_PERMITS", "its command, env or securityContext"),
    // What is named exists.
    (UP, "$(params.connargs)", "$(params.connarg)", "there is no $(params.connarg) here"),
    (
        UP,
        "$(workspaces.source.path)",
        "$(workspaces.output.path)",
        "there is no $(workspaces.output.path) here",
    ),
    (UP, "$(results.config.path)", "$(results.conf.path)", "there is no $(results.conf.path) here"),
    (UP, "$(params.settings)", "$(context.pipelineRun.uid)", "there is no $(context.pipelineRun.uid) here"),
    (
        STEP_UP,
        "$(step.results.config.path)",
        "$(results.config.path)",
        "there is no $(results.config.path) here",
    ),
    (
        ONE_TASK,
        "$(steps.up.results.databases)",
        "$(steps.up.results.count)",
        "there is no $(steps.up.results.count) here",
    ),
    (
        ONE_TASK,
        "$(steps.step-test.exitCode.path)",
        "$(steps.step-tests.exitCode.path)",
        "there is no $(steps.step-tests.exitCode.path) here",
    ),
    (
        PIPELINE,
        "$(tasks.start-databases.results.config)",
        "$(tasks.start-databases.results.path)",
        "there is no $(tasks.start-databases.results.path) here",
    ),
    (
        PIPELINE,
        "$(params.database-params)",
        "$(params.database-param)",
        "there is no $(params.database-param) here",
    ),
    (TRY, "$(params.count)", "$(params.number)", "there is no $(params.number) here"),
    (
        RUN,
        "  timeouts:",
        "  params: [{name: with, value: $(context.pipelineRun.uid)}]\n  timeouts:",
        "there is no $(context.pipelineRun.uid) here",
    ),
    // What is put together fits.
    (PIPELINE, "{name: with, value", "{name: withs, value", "there is no param withs"),
    (PIPELINE, "value: [test_names.py]", "value: test_names.py", "the param args is of another type"),
    (
        PIPELINE,
        "taskRef: {name: testbed-up}",
        "taskRef: {name: testbed-start}",
        "it is no Task of the catalog",
    ),
    (PIPELINE, "runAfter: [checkout]", "runAfter: [check-out]", "runAfter check-out, which is no task"),
    (
        PIPELINE,
        "{name: output, workspace: source}",
        "{name: source, workspace: source}",
        "wants the workspaces [\"output\"]",
    ),
    (
        PIPELINE,
        "{name: output, workspace: source}",
        "{name: output, workspace: sources}",
        "the pipeline has no workspace sources",
    ),
    (
        PIPELINE,
        "      taskRef: {name: testbed-down}\n      params:",
        "      taskRef: {name: testbed-down}\n      params:\n        - {name: run-id, value: $(tasks.start-databases.results.config)}",
        "refers to a result",
    ),
    (
        PIPELINE,
        "taskRef: {name: testbed-down}",
        "taskRef: {name: striv-checkout}",
        "testbed-up without testbed-down in finally",
    ),
    (RUN, "pipelineRef: {name: striv}", "pipelineRef: {name: strive}", "there is no such Pipeline"),
    (
        RUN,
        "- name: source\n      volumeClaimTemplate",
        "- name: output\n      volumeClaimTemplate",
        "the pipeline wants the workspaces",
    ),
    (
        RUN,
        "pipelineTaskName: start-databases",
        "pipelineTaskName: start-database",
        "there is no task start-database",
    ),
    (
        RUN,
        "pipelineTaskName: stop-databases",
        "pipelineTaskName: unit-tests",
        "it runs a project's code and has a ServiceAccount with rights",
    ),
    (
        RUN,
        "pipelineTaskName: stop-databases",
        "pipelineTaskName: unit-tests",
        "task stop-databases: it has no ServiceAccount",
    ),
    (
        RUN,
        "serviceAccountName: testbed",
        "serviceAccountName: test-bed",
        "there is no ServiceAccount test-bed",
    ),
    (RUN, "finally: 5m", "finally: 10m", "timeouts leave finally no time"),
    (RUN, "    tasks: 25m\n", "", "or finally may get no time"),
    (
        TRY,
        "taskRef: {name: testbed-down}",
        "taskRef: {name: testbed-up}",
        "testbed-up without testbed-down in finally",
    ),
    (
        ONE_TASK,
        "ref: {name: testbed-up}",
        "ref: {name: testbed-start}",
        "there is no StepAction testbed-start",
    ),
    (
        ONE_TASK,
        "{name: source, value: $(workspaces",
        "{name: sauce, value: $(workspaces",
        "there is no param sauce",
    ),
    (
        ONE_TASK,
        "      ref: {name: testbed-up}\n",
        "      ref: {name: testbed-up}\n      image: docker.io/library/python:3.11\n",
        "says itself what the StepAction says",
    ),
    (LONE, "name: run-id", "name: run", "there is no param run"),
    (LONE, "  serviceAccountName: testbed\n", "", "it has no ServiceAccount with rights"),
    (
        TURNS,
        "taskRef: {name: testbed-lock-release}",
        "taskRef: {name: testbed-lock-acquire}",
        "testbed-lock-acquire without testbed-lock-release in finally",
    ),
    (
        TURNS,
        "        - {name: name, value: $(params.lock)}\n        - {name: image, value: $(params.testbed-image)}\n",
        "        - {name: name, value: $(tasks.acquire-lock.results.lock)}\n        - {name: image, value: $(params.testbed-image)}\n",
        "refers to a result",
    ),
    (TURNS, "runAfter: [acquire-lock]", "runAfter: [acquire]", "runAfter acquire, which is no task"),
    (
        TURNS_RUN,
        "pipelineTaskName: acquire-lock",
        "pipelineTaskName: load-data",
        "it runs a project's code and has a ServiceAccount with rights",
    ),
    (
        TURNS_RUN,
        "pipelineTaskName: release-lock",
        "pipelineTaskName: load-data",
        "task release-lock: it has no ServiceAccount",
    ),
    (
        SHARED,
        "image: docker.io/library/postgres:17",
        "image: postgres:17",
        "the image postgres:17 needs its registry",
    ),
    (SHARED, "strategy: {type", "strategy: {kind", "unknown field .spec.strategy.kind"),
    // The rights.
    (
        LOCK_RBAC,
        "  kind: Role\n  name: testbed-lock\n",
        "  kind: Role\n  name: testbed-locks\n",
        "there is no Role testbed-locks",
    ),
    (RBAC, "    name: testbed\nroleRef", "    name: tests\nroleRef", "there is no ServiceAccount tests"),
    (RBAC, "  kind: Role\n  name: testbed\n", "  kind: Role\n  name: tests\n", "there is no Role tests"),
    (RBAC, "verbs: [get]", "verbs: ['*']", "a right of everything"),
    (GC, "serviceAccountName: testbed-gc", "serviceAccountName: gc", "there is no ServiceAccount gc"),
    (GC, "concurrencyPolicy:", "concurrency:", "unknown field .spec.concurrency"),
    // What is run with every param.
    (
        UP,
        "  params:\n",
        "  params:\n    - name: fresh\n      description: A new one.\n      type: string\n      default: \"\"\n",
        "no combination gives the param fresh",
    ),
    (STEP_UP, "name: source\n", "name: folder\n", "no combination gives the param folder"),
    (
        ACQUIRE,
        "    - name: permits\n",
        "    - name: holders\n",
        "a combination gives the param permits, which there is not",
    ),
    (UP, "default: \"640\"", "default: \"600\"", "no combination gives the param mode"),
    // READMEs.
    (README, "## Platforms", "## Platform", "its sections are"),
    (
        README,
        "| `mode` | `640` |",
        "| `mode` | `600` |",
        "Parameters: only the README or only the YAML has: `mode`",
    ),
    (
        README,
        "| `databases` | How many databases there are. |",
        "",
        "Results: only the README or only the YAML has: `databases`",
    ),
    (
        README,
        "| `source` | The project.",
        "| `source` | A project.",
        "Workspaces: only the README or only the YAML has: `source`",
    ),
    (README, "`linux/arm64`", "arm64", "Platforms does not name `linux/arm64`"),
    (
        LOCK_README,
        "| `fence` | A number",
        "| `number` | A number",
        "Results: only the README or only the YAML has: `fence`",
    ),
    ("README.md", "(samples/rbac.yaml)", "(samples/role.yaml)", "samples/role.yaml leads nowhere"),
];

#[test]
fn every_broken_copy_is_caught() {
    let catalog = Catalog::read().unwrap_or_else(|problems| panic!("{}", problems.join("\n")));
    let uncaught: Vec<String> = BROKEN.iter().filter_map(|broken| uncaught(&catalog, broken)).collect();
    assert!(uncaught.is_empty(), "{}", uncaught.join("\n"));
}

/// What is said of a broken copy instead of what should be.
fn uncaught(catalog: &Catalog, (file, from, to, problem): &(&str, &str, &str, &str)) -> Option<String> {
    let source = catalog
        .sources
        .iter()
        .find(|source| source.file == *file)
        .unwrap_or_else(|| panic!("there is no {file}"));
    assert!(source.text.contains(from), "{file} does not contain {from:?}");
    let broken = Source { file: source.file.clone(), text: source.text.replacen(from, to, 1) };
    let problems = match catalog.with(broken) {
        Ok(catalog) => RULES.iter().flat_map(|rule| rule(&catalog)).collect(),
        Err(problems) => problems,
    };
    let is_caught = problems.iter().any(|said| said.contains(problem));
    (!is_caught).then(|| {
        format!("{file}: {to:?} instead of {from:?}: {problem:?} is not said of it, but {problems:#?}")
    })
}
