//! What the Tasks and StepActions are run with. Each call is made twice, of the Task and of the StepAction of
//! its name; a test without a cluster compares these lines with the params that the files declare, so that a
//! new one cannot be forgotten.

/// One call.
pub struct Call {
    /// The name that the Task and the StepAction share.
    pub of: &'static str,
    /// Those that are given. `$(context.pipelineRun.*)` is put in, as a pipeline does.
    pub params: &'static [(&'static str, &'static str)],
    pub exit_code: i64,
    /// What the log and the results (`NAME=VALUE`) have to tell.
    pub tells: &'static [&'static str],
    /// Calls of kubectl, or else of a shell in the workspace, and what is in the answer.
    pub leaves: &'static [(&'static str, &'static str)],
}

impl Call {
    const fn of(of: &'static str, params: &'static [(&'static str, &'static str)]) -> Self {
        Self { of, params, exit_code: 0, tells: &[], leaves: &[] }
    }

    const fn fails(self, exit_code: i64) -> Self {
        Self { exit_code, ..self }
    }

    const fn tells(self, tells: &'static [&'static str]) -> Self {
        Self { tells, ..self }
    }

    const fn leaves(self, leaves: &'static [(&'static str, &'static str)]) -> Self {
        Self { leaves, ..self }
    }
}

const fn up(params: &'static [(&'static str, &'static str)]) -> Call {
    Call::of("testbed-up", params)
}

const fn down(params: &'static [(&'static str, &'static str)]) -> Call {
    Call::of("testbed-down", params)
}

const fn acquire(params: &'static [(&'static str, &'static str)]) -> Call {
    Call::of("testbed-lock-acquire", params)
}

const fn release(params: &'static [(&'static str, &'static str)]) -> Call {
    Call::of("testbed-lock-release", params)
}

/// Calls that come one after the other, in a PipelineRun with a workspace.
pub struct Scene {
    pub name: &'static str,
    /// Files of the workspace.
    pub files: &'static [(&'static str, &'static str)],
    /// What there is in the namespace. `IMAGE` is one that can be had there.
    pub objects: &'static str,
    pub calls: &'static [Call],
}

/// The param that every call gets from the tests: the name that it has by default can be nobody's.
pub const IMAGE: &str = "image";

/// Where a StepAction finds what a Task has in its workspace.
pub const SOURCE: &str = "source";

/// These manifests have none.
const WITHOUT: (&str, &str) = ("allow-none", "true");

const WORKSPACE: (&str, &str) = (SOURCE, "$(workspaces.source.path)");

/// How a lock tells that its holder ends with the PipelineRun.
const THIS_PIPELINE_RUN: &str =
    r#""pipelineRun":{"name":"$(context.pipelineRun.name)","uid":"$(context.pipelineRun.uid)"}"#;

/// Something that keeps an object which is deleted, and its end.
const HOLD: &str = r#"kubectl patch service app-$(context.pipelineRun.uid) --type=merge -p {"metadata":{"finalizers":["example.com/hold"]}}"#;
const RELEASE: &str = r#"kubectl patch service app-$(context.pipelineRun.uid) --type=merge -p {"metadata":{"finalizers":null}}"#;

/// An address where nobody listens.
const NO_RESULTS_API: (&str, &str) = ("results-api", "https://127.0.0.1:9");

pub static SCENES: &[Scene] = &[
    Scene {
        // One by its name: as it is, and with all that can be said of a holder.
        name: "name",
        files: &[],
        objects: "",
        calls: &[
            acquire(&[("name", "db")]).tells(&["lock db: held by run $(context.pipelineRun.uid), number", "lock=db\n", "fence="]),
            release(&[("name", "db")]).tells(&["lock db: released"]),
            acquire(&[("name", "db"), ("permits", "2"), ("run-id", "by-hand"), ("holder", "none"), ("ttl", "2h")])
                .tells(&["held by run by-hand"]),
            acquire(&[("name", "db"), ("timeout", "1m"), ("verbose", "true")]).tells(&["held by run $(context.pipelineRun.uid)"]).leaves(
                &[
                    ("kubectl get lease db -o jsonpath={.spec.holderIdentity}", "by-hand, $(context.pipelineRun.uid)"),
                    ("kubectl get lease db -o jsonpath={.metadata.annotations.testbed/lock}", "\"ttlMillis\":7200000"),
                    ("kubectl get lease db -o jsonpath={.metadata.annotations.testbed/lock}", THIS_PIPELINE_RUN),
                ],
            ),
            acquire(&[("name", "db"), ("run-id", "third"), ("no-wait", "true")]).fails(6).tells(&["2 of 2 permits taken"]),
            acquire(&[("name", "db"), ("run-id", "third"), ("timeout", "1s")]).fails(6).tells(&["not to be had within 1s"]),
            release(&[("name", "db"), ("run-id", "by-hand"), ("verbose", "true")]).tells(&["lock db: released"]),
            release(&[("name", "db"), ("strict", "true"), ("timeout", "30s")])
                .tells(&["lock db: released"])
                .leaves(&[("kubectl get lease db --ignore-not-found", "")]),
            release(&[("name", "db"), ("strict", "true")]).fails(1).tells(&["run $(context.pipelineRun.uid) held none of it: db"]),
        ],
    },
    Scene {
        // Whichever of several is free, with one holder each and with two.
        name: "one-of",
        files: &[],
        objects: "",
        calls: &[
            acquire(&[("one-of", "db1,db2")]).tells(&["lock=db1\n"]),
            acquire(&[
                ("one-of", "db1,db2"),
                ("permits", "2"),
                ("run-id", "second"),
                ("holder", "pipelinerun/$(context.pipelineRun.name)"),
                ("ttl", "none"),
            ])
            .tells(&["lock=db2\n"])
            .leaves(&[
                ("kubectl get lease db2 -o jsonpath={.metadata.annotations.testbed/lock}", "\"permits\":2"),
                ("kubectl get lease db2 -o jsonpath={.metadata.annotations.testbed/lock}", THIS_PIPELINE_RUN),
            ]),
            release(&[("one-of", "db1,db2"), ("run-id", "second"), ("strict", "true")]).tells(&["lock db2: released"]),
            release(&[("one-of", "db1,db2")]).tells(&["lock db1: released"]),
        ],
    },
    Scene {
        // The same of a pool, whose Leases stay.
        name: "pool",
        files: &[],
        objects: "
apiVersion: coordination.k8s.io/v1
kind: Lease
metadata: {name: pool-1, labels: {pool: db}}
---
apiVersion: coordination.k8s.io/v1
kind: Lease
metadata: {name: pool-2, labels: {pool: db}}
",
        calls: &[
            acquire(&[("selector", "pool=db")]).tells(&["lock=pool-1\n"]),
            acquire(&[("selector", "pool=db"), ("permits", "2"), ("run-id", "second"), ("no-wait", "true")])
                .tells(&["lock=pool-2\n"])
                .leaves(&[("kubectl get lease pool-2 -o jsonpath={.metadata.annotations.testbed/lock}", "\"permits\":2")]),
            release(&[("selector", "pool=db")]).tells(&["lock pool-1: released"]),
            release(&[("selector", "pool=db"), ("run-id", "second"), ("verbose", "true")])
                .tells(&["lock pool-2: released"])
                .leaves(&[("kubectl get leases -l pool=db -o name", "pool-2")]),
        ],
    },
    Scene {
        // One param says which, and only one.
        name: "which",
        files: &[],
        objects: "",
        calls: &[
            acquire(&[]).fails(2).tells(&["required arguments"]),
            acquire(&[("name", "db"), ("one-of", "db1,db2")]).fails(2).tells(&["cannot be used with"]),
            release(&[]).fails(2).tells(&["required arguments"]),
        ],
    },
    Scene {
        name: "replicas",
        files: &[],
        objects: "
apiVersion: apps/v1
kind: Deployment
metadata: {name: builder}
spec:
  replicas: 0
  selector: {matchLabels: {app: builder}}
  template:
    metadata: {labels: {app: builder}}
    spec: {terminationGracePeriodSeconds: 0, containers: [{name: a, image: 'IMAGE', command: [sleep, '600']}]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: store}
spec:
  serviceName: store
  replicas: 0
  selector: {matchLabels: {app: store}}
  template:
    metadata: {labels: {app: store}}
    spec: {terminationGracePeriodSeconds: 0, containers: [{name: a, image: 'IMAGE', command: [sleep, '600']}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: never}
spec:
  replicas: 0
  selector: {matchLabels: {app: never}}
  template:
    metadata: {labels: {app: never}}
    spec:
      terminationGracePeriodSeconds: 0
      containers: [{name: a, image: 'IMAGE', command: [sleep, '600'], readinessProbe: {exec: {command: ['false']}, periodSeconds: 600}}]
",
        calls: &[
            acquire(&[("on", "deployment/builder")]).tells(&["held by run $(context.pipelineRun.uid)", "lock=builder\n"]),
            acquire(&[("on", "deployment/builder"), ("run-id", "second"), ("no-wait", "true")])
                .fails(6)
                .tells(&["held by run $(context.pipelineRun.uid)"]),
            release(&[("on", "deployment/builder"), ("timeout", "50s"), ("strict", "true"), ("verbose", "true")])
                .tells(&["released", "its pods are gone"])
                .leaves(&[("kubectl get deployment builder -o jsonpath={.spec.replicas}", "0")]),
            acquire(&[
                ("on", "statefulset/store"),
                ("run-id", "second"),
                ("ready-timeout", "1m"),
                ("timeout", "1m"),
                ("holder", "none"),
                ("ttl", "2h"),
                ("verbose", "true"),
            ])
            .tells(&["held by run second", "lock=store\n"])
            .leaves(&[("kubectl get statefulset store -o jsonpath={.metadata.annotations.testbed/lock}", "\"ttlMillis\":7200000")]),
            release(&[("on", "statefulset/store"), ("run-id", "second")]).tells(&["released", "its pods are gone"]),
            acquire(&[("on", "deployment/never"), ("ready-timeout", "1s")])
                .fails(3)
                .tells(&["within 1s"])
                .leaves(&[("kubectl get deployment never -o jsonpath={.spec.replicas}", "0")]),
            acquire(&[("on", "deployment/builder"), ("permits", "2")]).fails(2).tells(&["its one replica is one permit"]),
        ],
    },
    Scene {
        name: "files",
        files: &[
            ("testbed.yaml", "with: [sqlite=of-settings]\n"),
            ("ci/testbed.yaml", "with: [sqlite=of-ci]\nformat: urls\n"),
            ("empty/README", ""),
            ("config.tera", "{% for database in databases %}{{ database.name }} of ci\n{% endfor %}"),
        ],
        objects: "",
        // A run each: the steps of one pod share what testbed has noted, and another up of a run joins it.
        calls: &[
            up(&[WORKSPACE]).tells(&["databases=1\n", "config=/workspace/source/testing-databases.json\n"]),
            // A StepAction's own folder; the Task's is the workspace.
            up(&[("with", "sqlite"), ("mode", "600"), ("run-id", "own-folder")]).tells(&["databases=1\n", "/testing-databases.json\n"]),
            up(&[WORKSPACE, ("with", "sqlite=one, sqlite=two"), ("settings", "none"), ("output", "out.json"), ("mode", "600"), ("run-id", "two")])
                .tells(&["databases=2\n", "config=/workspace/source/out.json\n"]),
            up(&[WORKSPACE, ("settings", "ci/testbed.yaml"), ("verbose", "true"), ("run-id", "of-ci")])
                .tells(&["databases=1\n", "config=/workspace/source/testing-databases.urls.json\n"]),
            up(&[WORKSPACE, ("with", "sqlite=three"), ("format", "dotenv"), ("run-id", "by-hand")])
                .tells(&["run by-hand", "config=/workspace/source/.env.testbed\n"]),
            up(&[
                WORKSPACE,
                ("with", "sqlite=four"),
                ("format", "tera:config.tera"),
                ("output", "config.ini"),
                ("archive-timeout", "1s"),
                ("lifetime", "none"),
                ("timeout", "1m"),
                ("run-id", "last"),
            ])
            .tells(&["config=/workspace/source/config.ini\n"])
            .leaves(&[
                ("stat -c %a out.json config.ini", "600\n640\n"),
                ("cat testing-databases.urls.json", "of-ci"),
                ("cat .env.testbed", "THREE"),
                ("cat config.ini", "four of ci"),
            ]),
            up(&[("source", "/workspace/source"), ("settings", "none")]).fails(2).tells(&["--with"]),
        ],
    },
    Scene {
        name: "server",
        files: &[],
        objects: "",
        calls: &[
            up(&[
                WORKSPACE,
                ("with", "postgres:17=shop"),
                ("params", "user=keeper\nargs=-c max_connections=17"),
                ("connargs", "shop.connect_timeout=5\napplication_name=tests"),
                ("image-prefix", "mirror.example=docker.io"),
                ("timeout", "2m"),
                ("on-cancel", "keep"),
                ("verbose", "true"),
            ])
            .tells(&["databases=1\n", "config=/workspace/source/testing-databases.json\n"])
            .leaves(&[
                ("cat testing-databases.json", "\"user\": \"keeper\""),
                ("cat testing-databases.json", "\"connect_timeout\": 5"),
                ("cat testing-databases.json", "\"application_name\": \"tests\""),
                ("kubectl get pod shop-$(context.pipelineRun.uid) -o jsonpath={.spec.containers[*].args}", "max_connections=17"),
            ]),
            down(&[("grace-period", "0")]).tells(&["run $(context.pipelineRun.uid) is gone"]),
        ],
    },
    Scene {
        name: "objects",
        files: &[("app.yaml", APP), ("more/secret.yaml", SECRET), ("host.yaml", HOST), ("never.yaml", NEVER)],
        objects: "",
        calls: &[
            up(&[WORKSPACE, ("manifest", "app.yaml"), ("params", "greeting=hello")]).fails(2).tells(&["no database was found"]),
            up(&[WORKSPACE, ("manifest", "app.yaml"), ("params", "greeting=hello"), ("on-cancel", "keep"), WITHOUT])
                .tells(&["databases=0\n"])
                .leaves(&[
                    ("kubectl get pod app-$(context.pipelineRun.uid) -o jsonpath={.spec.activeDeadlineSeconds}", "7200"),
                    ("kubectl get service app-$(context.pipelineRun.uid) -o jsonpath={.metadata.labels.greeting}", "hello"),
                    (
                        "kubectl get service app-$(context.pipelineRun.uid) -o jsonpath={.metadata.ownerReferences[*].uid}",
                        "$(context.pipelineRun.uid)",
                    ),
                    (HOLD, "patched"),
                ]),
            up(&[
                WORKSPACE,
                ("manifest", "app.yaml,more"),
                ("params", "greeting=hello"),
                ("run-id", "named"),
                ("lifetime", "10m"),
                ("timeout", "1m"),
                ("on-failure", "keep"),
                ("archive-timeout", "1s"),
                ("verbose", "true"),
                NO_RESULTS_API,
                WITHOUT,
            ])
            .leaves(&[
                ("kubectl get pod app-named -o jsonpath={.spec.activeDeadlineSeconds}", "600"),
                ("kubectl get secret more-named -o jsonpath={.metadata.labels.test-dependencies}", "named"),
            ]),
            up(&[WORKSPACE, ("manifest", "host.yaml")]).fails(2).tells(&["host-path"]),
            up(&[WORKSPACE, ("manifest", "host.yaml"), ("allow", "host-path"), ("run-id", "allowed"), ("lifetime", "none"), WITHOUT]).leaves(&[(
                "kubectl get pod host-allowed -o jsonpath={.spec.activeDeadlineSeconds}{.spec.volumes[0].hostPath.path}",
                "/tmp",
            )]),
            up(&[WORKSPACE, ("manifest", "never.yaml"), ("run-id", "never"), ("timeout", "2s"), WITHOUT])
                .fails(3)
                .tells(&["not ready within 2s"])
                .leaves(&[("kubectl get pods -l test-dependencies=never", "")]),
            up(&[
                WORKSPACE,
                ("with", "postgres:17"),
                ("run-id", "kept"),
                ("timeout", "3s"),
                ("on-failure", "keep"),
                ("image-prefix", "mirror.example/"),
                NO_RESULTS_API,
            ])
            .fails(3)
            .tells(&["not ready within 3s", "warning: the run's story is not complete", "https://127.0.0.1:9"])
            .leaves(&[("kubectl get pod postgres-kept -o jsonpath={.spec.containers[*].image}", "mirror.example/")]),
            // As `retries` of a task in `finally` makes it happen: what held an object lets it go before the
            // second attempt.
            down(&[("timeout", "2s")])
                .fails(5)
                .tells(&["app-$(context.pipelineRun.uid)", "example.com/hold"])
                .leaves(&[(RELEASE, "patched")]),
            down(&[("verbose", "true")]).leaves(&[("kubectl get pods,services -l test-dependencies=$(context.pipelineRun.uid)", "")]),
            down(&[("run-id", "named"), ("grace-period", "0"), ("timeout", "50s"), ("verbose", "true")]).tells(&["run named is gone"]),
            down(&[("run-id", "allowed"), ("archive-timeout", "1s"), NO_RESULTS_API]).tells(&["run allowed is gone"]),
            down(&[("run-id", "kept")]).tells(&["run kept is gone"]).leaves(&[("kubectl get pods -l test-dependencies", "")]),
        ],
    },
];

const APP: &str = "
apiVersion: v1
kind: Pod
metadata: {name: app-$(context.pipelineRun.uid), labels: {app: $(context.pipelineRun.uid)}}
spec: {containers: [{name: a, image: 'IMAGE', command: [sleep, '600']}]}
---
apiVersion: v1
kind: Service
metadata: {name: app-$(context.pipelineRun.uid), labels: {greeting: $(params.greeting)}}
spec: {selector: {app: $(context.pipelineRun.uid)}, ports: [{port: 80}]}
";

const SECRET: &str = "
apiVersion: v1
kind: Secret
metadata: {name: more-$(context.pipelineRun.uid)}
";

const HOST: &str = "
apiVersion: v1
kind: Pod
metadata: {name: host-$(context.pipelineRun.uid)}
spec:
  containers: [{name: a, image: 'IMAGE', command: [sleep, '600']}]
  volumes: [{name: host, hostPath: {path: /tmp}}]
";

const NEVER: &str = "
apiVersion: v1
kind: Pod
metadata: {name: never-$(context.pipelineRun.uid)}
spec:
  containers: [{name: a, image: 'IMAGE', command: [sleep, '600'], readinessProbe: {exec: {command: ['false']}, periodSeconds: 600}}]
";
