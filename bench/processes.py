"""Runs one command and tells what it cost: wall-clock time, processor time, peak memory. Linux only.

Linux takes the peak memory of a process over when the process becomes another program, and a fresh child of Python is as
large as Python, which is larger than testbed: its `ru_maxrss` would be Python's. So a small shell starts the command and
leaves, and this process, as the orphan's new parent, waits for it.
"""

import ctypes
import os
import signal
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass

PR_SET_CHILD_SUBREAPER = 36

# A shell gives what it starts in the background /dev/null as standard input, so the real one takes a way around.
LAUNCH = 'exec 3<&0; "$@" <&3 3<&- >&2 & echo $!'

# Seconds after which a command is killed. Longer than the deadlines that the commands have themselves.
LIMIT = 400


class Failed(Exception):
    """A failure whose text is all that a person has to see."""


@dataclass
class Cost:
    """What one process cost, or several one after the other: seconds, seconds of user and system, bytes."""

    wall: float = 0.0
    processor: float = 0.0
    memory: int = 0

    def __add__(self, other):
        return Cost(self.wall + other.wall, self.processor + other.processor, max(self.memory, other.memory))


def adopt_orphans():
    """Makes this process the parent of what its children leave behind. Has to be called once, before `measure`."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise Failed(f"becoming the parent of orphans: {os.strerror(ctypes.get_errno())}")


def measure(command, text, env, folder):
    """Runs the command in the folder, with the text as its standard input. Returns its cost; raises if it fails."""
    with tempfile.TemporaryFile() as stdin, tempfile.TemporaryFile() as output:
        stdin.write(text.encode())
        stdin.seek(0)
        start = time.monotonic()
        shell = subprocess.Popen(
            ["sh", "-c", LAUNCH, "sh", *command],
            stdin=stdin, stdout=subprocess.PIPE, stderr=output, env=env, cwd=folder, start_new_session=True,
        )  # fmt: skip
        # Both are in a session of their own, so that Ctrl-C ends them by way of this process.
        guard = threading.Timer(LIMIT, end, [shell.pid])
        guard.start()
        try:
            pid = int(shell.communicate()[0])
            _, status, usage = os.wait4(pid, 0)
        except BaseException:
            end(shell.pid)
            raise
        finally:
            guard.cancel()
        cost = Cost(time.monotonic() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)
        code = os.waitstatus_to_exitcode(status)
        if code != 0:
            output.seek(0)
            raise Failed(f"{shown(command)}: {ending(code)}: {reason(output.read())}")
        return cost


def end(group):
    """Kills a process group, unless it has ended by itself."""
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        pass


def shown(command):
    """A command as a person would write it, without the flags that every kubectl here has."""
    words = [word for word in command[1:] if not word.startswith(("--cache-dir=", "--kubeconfig="))]
    return " ".join([os.path.basename(command[0]), *words])


def ending(code):
    """How a process ended."""
    return f"exit code {code}" if code >= 0 else f"ended by {signal.Signals(-code).name}"


def reason(output):
    """The one line of a failed command's output that tells most."""
    lines = [line.strip() for line in output.decode(errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines if line.lower().startswith("error")]
    return (errors or lines or ["it said nothing"])[-1]
