"""Owns processes that this one starts beside itself, and that none of them outlives it, however it ends.

It exists because everybody who watches a start has to watch at the same time, each in a process of its own: one that waits must
not keep another from looking at the clock.
"""

import ctypes
import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass

from processes import Failed, end, reason

PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None, use_errno=True)


def die_with_parent(number, parent):
    """Has the kernel send this process a signal when its parent ends."""
    LIBC.prctl(PR_SET_PDEATHSIG, number, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def leave(number, _):
    """Ends this process the orderly way, once: what it does to leave nothing behind is not interrupted."""
    signal.signal(number, signal.SIG_IGN)
    sys.exit(128 + number)


def enter_network(handle):
    """Moves this process into a network namespace."""
    if LIBC.setns(handle, 0) != 0:
        raise Failed(f"entering a network namespace: {os.strerror(ctypes.get_errno())}")


@dataclass(eq=False)
class Child:
    """A process of ours, and where its output and its complaints go."""

    pid: int
    output: object
    complaints: object
    ended: float | None = None
    code: int | None = None

    def __post_init__(self):
        self.handle = os.pidfd_open(self.pid)

    def text(self):
        self.output.seek(0)
        return self.output.read().decode(errors="replace")

    def complaint(self):
        """The line of its standard error that tells most."""
        self.complaints.seek(0)
        return reason(self.complaints.read())

    def result(self):
        """What a forked function returned. Raises what it failed with."""
        answer = json.loads(self.text() or '{}')
        if "result" not in answer:
            raise Failed(answer.get("failed") or f"it ended without a result: {self.complaint()}")
        return answer["result"]

    def kill(self):
        """Ends the process and what it started, unless it has ended by itself."""
        if self.code is None:
            end(self.pid)
            os.waitpid(self.pid, 0)
        self.close()

    def terminate(self):
        """Asks the process to end, and waits until it has cleaned up and done so."""
        if self.code is None:
            os.kill(self.pid, signal.SIGTERM)
            os.waitpid(self.pid, 0)
        self.close()

    def reap(self):
        self.code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def close(self):
        os.close(self.handle)
        self.output.close()
        self.complaints.close()


def launch(command, environment):
    """Starts a program. What it prints is kept."""
    output, complaints = tempfile.TemporaryFile(), tempfile.TemporaryFile()
    # A session of its own: Ctrl-C is for the benchmark, which ends everything else then.
    process = subprocess.Popen(
        ["setpriv", "--pdeathsig", "KILL", *command],
        stdin=subprocess.DEVNULL, stdout=output, stderr=complaints, env=environment, start_new_session=True,
    )  # fmt: skip
    # From here on the process is waited for by its number.
    process.returncode = 0
    return Child(process.pid, output, complaints)


def fork(function, *arguments, at_our_end=signal.SIGKILL):
    """Calls a function in a process of its own; its result has to fit into JSON."""
    output, complaints, parent = tempfile.TemporaryFile(), tempfile.TemporaryFile(), os.getpid()
    pid = os.fork()
    if pid:
        return Child(pid, output, complaints)
    code = 1
    try:
        os.setsid()
        os.dup2(complaints.fileno(), 2)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, leave)
        die_with_parent(at_our_end, parent)
        try:
            answer = {"result": function(*arguments)}
        except (Failed, OSError, subprocess.SubprocessError) as error:
            answer = {"failed": str(error)}
        output.write(json.dumps(answer).encode())
        output.flush()
        code = 0
    finally:
        # No return into what the parent was doing. An error that nobody expects is printed first.
        if code and not isinstance(sys.exc_info()[1], SystemExit):
            sys.excepthook(*sys.exc_info())
        os._exit(code)


def wait_for(children, deadline):
    """Yields each child when it has ended, with the moment; stops when all have ended, or at the deadline."""
    with selectors.DefaultSelector() as selector:
        for child in children:
            selector.register(child.handle, selectors.EVENT_READ, child)
        while selector.get_map():
            ready = selector.select(max(0.0, deadline - time.monotonic()))
            now = time.monotonic()
            if not ready:
                return
            for key, _ in ready:
                selector.unregister(key.fd)
                key.data.ended = now
                key.data.reap()
                yield key.data
