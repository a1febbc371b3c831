"""The same question in a cluster: `testbed up` makes a pod, and `kubectl wait` waits for it beside it.

It exists because `kubectl wait` can only be asked about pods. The observer is the same one: the test cluster's processes are
this machine's, and its pods answer from here.
"""

import json
import os
import time

from detection import children
from detection.databases import ENGINES, KINDS, TESTS_USER
from detection.observer import observe
from processes import Failed

TESTBED, KUBECTL = "testbed up", "kubectl wait --for=condition=ready"

# What testbed has to go by: whether the manifest knows an administrator whom it may ask, and whether it may read the log.
WHO = {
    "administrator, log": (True, True),
    "administrator": (True, False),
    "user, log": (False, True),
    "user": (False, False),
}

# Beside the kinds that everybody watches, a set-up server that is started as the final one is, without an option of its own.
BARE = {"TESTBED_SETUP_SERVER": "visible", "TESTBED_SETUP_OPTIONS": "none", "TESTBED_SETUP_LINGER": "3"}
POD_KINDS = KINDS | {"bare": BARE}

# PostgreSQL's first user is the superuser, until the set-up's last script. From version 16 on the server does not allow that.
DEMOTE = f"REVOKE EXECUTE ON FUNCTION pg_read_file(text) FROM {TESTS_USER}; ALTER ROLE {TESTS_USER} NOSUPERUSER;"
DEMOTABLE = "postgres:15"

RULES = [
    {"apiGroups": [""], "resources": ["pods", "services", "configmaps"], "verbs": ["create", "delete", "get", "list", "watch"]},
    {"apiGroups": [""], "resources": ["pods/portforward"], "verbs": ["create", "get"]},
]
LOG_RULE = {"apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"]}

# What runs the images' entrypoint: a pod has another container beside the database's, which only holds its network.
ENTRYPOINT = "bash"

# Seconds for all of a start, and between looks for a container's process.
LIMIT = 150
SEARCH = 0.01


def accounts(cluster):
    """Makes the users that testbed acts as: one that may read logs, and one that may not."""
    group = "rbac.authorization.k8s.io"
    for log in (True, False):
        name = account(log)
        binding = {"roleRef": {"kind": "Role", "name": name, "apiGroup": group}, "subjects": [{"kind": "User", "name": name, "apiGroup": group}]}
        head = {"apiVersion": f"{group}/v1", "metadata": {"name": name}}
        objects = [head | {"kind": "Role", "rules": RULES + [LOG_RULE] * log}, head | {"kind": "RoleBinding"} | binding]
        cluster.run("apply", "--filename=-", text=stream(objects))


def account(log):
    return "bench-log" if log else "bench"


def watched_by_both(cluster, testbed, engine_name, kind, who, number):
    """Brings one pod up. Returns the moments, in seconds since testbed began."""
    engine, name = ENGINES[engine_name], f"{engine_name}-{kind}-{list(WHO).index(who)}-{number}"
    admin, log = WHO[who]
    environment = cluster.env(None) | {"KUBECONFIG": cluster.kubeconfig(account(log), groups=())}
    path = cluster.folder / f"{name}.json"
    path.write_text(manifest(engine, kind, name, admin))
    up = [testbed, "up", str(path), "--run-id", name, "--output", str(cluster.folder / f"{name}.out")]
    began = time.monotonic()
    deadline = began + LIMIT
    watching = {TESTBED: children.launch(up, environment)}
    try:
        uid = pod(cluster, name, "{.metadata.uid}", deadline)
        wait = cluster.command("wait", f"pod/{name}", "--for=condition=ready", f"--timeout={LIMIT}s")
        watching[KUBECTL] = children.launch(wait, cluster.env(None))
        observer = watching["observer"] = children.fork(observe_pod, cluster, engine, name, uid, deadline)
        for child in children.wait_for(watching.values(), deadline):
            if child is observer:
                child.result()
        return sample(engine_name, kind, began, watching) | {"who": who}
    except Failed as error:
        raise Failed(f"pod {name}: {error}") from error
    finally:
        for child in watching.values():
            child.kill()
        cluster.run("delete", "pod,service,configmap", name, "--now", "--ignore-not-found")


def manifest(engine, kind, name, admin=True):
    """A pod and its Service, as JSON, which is YAML too; unless told otherwise, with an administrator whose password it names."""
    environment, image, scripts = engine.environment | POD_KINDS[kind], engine.image, {}
    if not admin and engine.name == "postgres":
        image, scripts = DEMOTABLE, {"demote.sql": DEMOTE}
    elif not admin:
        password = f"{engine.name.upper()}_ROOT_PASSWORD"
        environment = {key: value for key, value in environment.items() if key != password}
        environment[f"{engine.name.upper()}_RANDOM_ROOT_PASSWORD"] = "yes"
    variables = [{"name": key, "value": value} for key, value in environment.items()]
    mount = {"name": "scripts", "mountPath": "/docker-entrypoint-initdb.d"}
    container = {"name": "database", "image": image, "env": variables, "ports": [{"containerPort": engine.port}], "volumeMounts": [mount]}
    meta = {"name": name, "labels": {"database": name}}
    objects = [
        {"apiVersion": "v1", "kind": "Service", "metadata": meta,
         "spec": {"selector": {"database": name}, "ports": [{"port": engine.port}]}},
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": scripts},
        {"apiVersion": "v1", "kind": "Pod", "metadata": meta,
         "spec": {"containers": [container], "volumes": [{"name": "scripts", "configMap": {"name": name}}],
                  "terminationGracePeriodSeconds": 1}},
    ]  # fmt: skip
    return stream(objects)


def stream(objects):
    # kubectl takes a stream for JSON if it begins with a brace, and then for a single object.
    return "".join(f"---\n{json.dumps(item)}\n" for item in objects)


def pod(cluster, name, path, deadline):
    """A field of a pod, as soon as it is there."""
    while not (value := cluster.run("get", "pod", name, "--ignore-not-found", f"--output=jsonpath={path}")):
        if time.monotonic() > deadline:
            raise Failed(f"it had no {path} at the deadline")
        time.sleep(SEARCH)
    return value


def observe_pod(cluster, engine, name, uid, deadline):
    """The observer, once there is something to observe."""
    pid = container_process(engine, uid, deadline)
    return observe(engine, pid, pod(cluster, name, "{.status.podIP}", deadline), deadline)


def container_process(engine, uid, deadline):
    """This machine's number of the process 1 of the pod's database container."""
    while time.monotonic() < deadline:
        for entry in os.scandir("/proc"):
            if entry.name.isdigit() and process_1(entry.path, uid) in (ENTRYPOINT, engine.program):
                return int(entry.name)
        time.sleep(SEARCH)
    raise Failed("no process of it is on this machine: this needs the test cluster, which tests/cluster/up starts")


def process_1(path, uid):
    """The program of a process that is the first one of a container of the pod."""
    try:
        with open(f"{path}/cgroup") as groups:
            if f"pod{uid}" not in groups.read():
                return None
        with open(f"{path}/status") as status:
            numbers = next(line.split()[1:] for line in status if line.startswith("NSpid:"))
        return os.path.basename(os.readlink(f"{path}/exe")) if numbers[-1] == "1" else None
    except OSError:
        # It ended in the meantime.
        return None


def sample(engine, kind, began, watching):
    """What is kept of a start."""
    observed = watching["observer"].result()
    observed |= {name: moment - began for name, moment in observed.pop("moments").items()}
    said = {}
    for name in (TESTBED, KUBECTL):
        child = watching[name]
        ready = child.ended - began if child.code == 0 else None
        said[name] = {"ready": ready, "remark": child.complaint() if child.code else None}
    return {"engine": engine, "kind": kind, "observed": observed, "said": said}
