"""A namespace of its own for a benchmark, and who made which request there.

Other people may use the cluster at the same time, with the same programs. So each measured step acts under a user name of
its own, by impersonation, and the audit log tells its requests from all others, those without a namespace too. That takes
the rights of an administrator, which whoever can read an audit log has. Without an audit log nobody is impersonated.
"""

import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from processes import Failed, ending, reason, shown

# Seconds that an auxiliary command may take, and the namespace until it takes pods and until it is gone.
LIMIT = 120
ADMISSION = 60


def say(text):
    """Progress, for a person."""
    print(text, file=sys.stderr, flush=True)


def find_kubectl(name):
    """The path and version of kubectl.

    The one in Google's SDK is a dispatcher that asks for the server's version before each command; what it dispatches to
    lies beside it, and is what kubectl is elsewhere.
    """
    version = json.loads(output([name, "version", "--client", "--output=json"]))["clientVersion"]
    if not version["gitVersion"].endswith("-dispatcher"):
        return name, version["gitVersion"]
    real = Path(output(["sh", "-c", 'command -v "$0"', name]).strip()).resolve()
    plain = real.with_name(f"kubectl.{version['major']}.{version['minor'].rstrip('+')}")
    if not plain.exists():
        raise Failed(f"{real} is a dispatcher, which asks for the server's version each time: name a plain one with --kubectl")
    return find_kubectl(str(plain))


def output(command, text="", env=None):
    """The standard output of a command that is not measured."""
    try:
        # A session of its own: Ctrl-C is for this process, which has something left to do then.
        done = subprocess.run(command, input=text.encode(), capture_output=True, env=env, timeout=LIMIT, start_new_session=True)
    except OSError as error:
        raise Failed(f"{command[0]}: {error.strerror}") from error
    except subprocess.TimeoutExpired as error:
        raise Failed(f"{shown(command)}: not done after {LIMIT} s") from error
    if done.returncode != 0:
        raise Failed(f"{shown(command)}: {ending(done.returncode)}: {reason(done.stderr)}")
    return done.stdout.decode()


@dataclass
class Requests:
    """What one user asked of the API server."""

    all: int = 0
    port_forwards: int = 0


class AuditLog:
    """The API server's audit log from now on: JSON lines."""

    def __init__(self, path):
        self.path = path
        try:
            self.file = open(path, "rb")
        except OSError as error:
            raise Failed(f"{path}: {error.strerror}") from error
        self.file.seek(0, os.SEEK_END)

    def requests(self):
        """What each impersonated user asked since the beginning, by user name."""
        seen = {}
        for line in self.file:
            if not line.endswith(b"\n"):
                break
            event = json.loads(line)
            user = event.get("impersonatedUser", {}).get("username")
            # A request that lasts is there twice, begun and complete.
            if user and event["stage"] in ("ResponseStarted", "ResponseComplete"):
                is_forward = event.get("objectRef", {}).get("subresource") == "portforward"
                seen.setdefault(user, {})[event["auditID"]] = is_forward
        if not seen:
            raise Failed(f"{self.path} tells of no request made here: is it the audit log of this cluster?")
        return {user: Requests(len(made), sum(made.values())) for user, made in seen.items()}


class Cluster:
    """One namespace of a cluster, and the kubeconfigs that lead there."""

    def __init__(self, kubectl, kubeconfig, folder, audit_log):
        self.kubectl, self.folder, self.audit_log = kubectl, folder, audit_log
        self.namespace = f"bench-{secrets.token_hex(4)}"
        # kubectl's discovery cache: warm after the first command.
        self.cache = folder / "kubectl-cache"
        # kubectl takes JSON for YAML, and Python reads JSON.
        view = ["config", "view", "--raw", "--flatten", "--minify", "--output=json"]
        self.config = json.loads(output([kubectl, *view, f"--kubeconfig={kubeconfig}"]))
        self.own = self.kubeconfig(None)

    def kubeconfig(self, user, groups=("system:masters",)):
        """Writes a kubeconfig for the namespace that acts as the user, with the groups' rights. Returns its path."""
        config = json.loads(json.dumps(self.config))
        config["contexts"][0]["context"]["namespace"] = self.namespace
        if user and (self.audit_log or not groups):
            config["users"][0]["user"] |= {"as": user, "as-groups": list(groups)}
        handle, path = tempfile.mkstemp(prefix="kubeconfig-", dir=self.folder)
        with open(handle, "w") as file:
            json.dump(config, file)
        return path

    def env(self, user):
        """The environment of a measured command. Nothing in it that would change what testbed does in the cluster."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("TESTBED_")}
        # A memory of its own for each user, as pods have: `down` would go by the kubeconfig that `up` has noted.
        memory = self.folder / (user or "all").replace(":", "-")
        place = {"KUBECONFIG": self.kubeconfig(user), "TESTBED_RUNTIME": "kubernetes"}
        return inherited | place | {"XDG_STATE_HOME": str(memory)}

    def command(self, *arguments):
        """A kubectl command line with the benchmark's own discovery cache."""
        return [self.kubectl, f"--cache-dir={self.cache}", *arguments]

    def run(self, *arguments, text=""):
        """Runs kubectl unmeasured, as the benchmark itself, and returns its output."""
        # A cache of its own: it must not warm the measured one.
        command = [self.kubectl, f"--cache-dir={self.folder / 'own-cache'}", f"--kubeconfig={self.own}", *arguments]
        return output(command, text)

    def server_version(self):
        """The version of Kubernetes."""
        return json.loads(self.run("version", "--output=json"))["serverVersion"]["gitVersion"]

    def follow_log(self, pod, marks):
        """Reads a pod's log until all marks have come by, one after the other."""
        command = [self.kubectl, f"--kubeconfig={self.own}", "logs", "--follow", pod]
        following = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True)
        guard = threading.Timer(LIMIT, following.kill)
        guard.start()
        left = list(marks)
        try:
            for line in following.stdout:
                if left[0].encode() in line:
                    left.pop(0)
                    if not left:
                        return
        finally:
            guard.cancel()
            following.kill()
            following.wait()
            following.stdout.close()
        raise Failed(f"pod {pod} did not log {left[0]!r} within {LIMIT} s")

    @contextlib.contextmanager
    def own_namespace(self, manifest):
        """The namespace, from a state in which it takes the manifest until it is gone again."""
        say(f"namespace {self.namespace}")
        try:
            self.run("create", "namespace", self.namespace)
            self.until_admitted(manifest)
            yield
        except BaseException:
            try:
                self.delete_namespace()
            except Failed as error:
                say(f"error: {error}")
            raise
        self.delete_namespace()

    def delete_namespace(self):
        """Deletes the namespace and waits until it is gone. Nothing keeps this from being done to the end."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        say(f"deleting namespace {self.namespace}")
        self.run("delete", "pods", "--all", "--now", "--wait=false")
        self.run("delete", "namespace", self.namespace, "--ignore-not-found", f"--timeout={LIMIT - 10}s")

    def until_admitted(self, manifest):
        """A young namespace refuses pods until its ServiceAccount is there, with its token in older clusters."""
        deadline = time.monotonic() + ADMISSION
        while True:
            try:
                return self.run("create", "--dry-run=server", "--filename=-", text=manifest)
            except Failed as error:
                if time.monotonic() > deadline:
                    raise Failed(f"namespace {self.namespace} takes no pods after {ADMISSION} s: {error}") from error
                time.sleep(0.2)
