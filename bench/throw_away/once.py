"""Does something once in a process of its own, and tells how long it took until nothing of it was left.

Servers are made to outlive who started them. So the process adopts whatever loses its parent, and the time ends when the last of
its descendants has, or, for what is still there some seconds after its starter, when it is killed and named. Root does it in a namespace
of its own for shared memory too, which shows what a server leaves of that, and goes with it.
"""

import ctypes
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from processes import Failed, adopt_orphans, ending, reason

LIBC = ctypes.CDLL(None, use_errno=True)
PR_SET_PDEATHSIG = 1
CLONE_NEWIPC = 0x08000000

# Seconds for all of it, and for what is still there after the command itself.
LIMIT, GRACE = 120, 5


# Not empty in a process that shares its shared memory with nobody.
OWN_MEMORY = []


class Late(Exception):
    """Raised by the alarm."""


def in_own_process(account, function, *arguments):
    """What the function returns, as JSON, when it is called as the account's user (or as the caller, for `None`)."""
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(reading)
        answer_and_leave(writing, account, function, arguments)
    os.close(writing)
    try:
        with open(reading) as answers:
            answer = json.loads(answers.read() or "{}")
    except BaseException:
        os.kill(pid, signal.SIGTERM)
        raise
    finally:
        os.waitpid(pid, 0)
    if "result" not in answer:
        raise Failed(answer.get("failed", "it ended without a result"))
    return answer["result"]


def answer_and_leave(writing, account, function, arguments):
    try:
        os.setsid()
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        for number in (signal.SIGALRM, signal.SIGTERM):
            signal.signal(number, late)
        adopt_orphans()
        if os.geteuid() == 0 and LIBC.unshare(CLONE_NEWIPC) == 0:
            OWN_MEMORY.append(True)
        become(account)
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        signal.alarm(LIMIT)
        answer = {"result": function(*arguments)}
    except Late:
        answer = {"failed": f"not done after {LIMIT} s"}
    except Exception as error:
        answer = {"failed": str(error) or type(error).__name__}
    finally:
        signal.alarm(0)
        kill_descendants()
    os.write(writing, json.dumps(answer).encode())
    sys.stderr.flush()
    os._exit(0)


def late(*_):
    raise Late


def become(account):
    if account is None:
        return
    os.setgroups([])
    os.setgid(account.pw_gid)
    os.setuid(account.pw_uid)


def to_its_end(command, env, folder):
    """Runs a command until nothing of it is left. Returns the seconds and the names of the processes that had to be killed."""
    with tempfile.TemporaryFile(dir=folder) as output:
        start = time.monotonic()
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=env, cwd=folder)
        code, left = None, []
        while True:
            try:
                pid, status = os.waitpid(-1, 0)
            except ChildProcessError:
                break
            except Late:
                if code is None:
                    raise
                left = kill_descendants()
                continue
            if pid == process.pid:
                code = process.returncode = os.waitstatus_to_exitcode(status)
                signal.alarm(GRACE)
        wall = time.monotonic() - start
        signal.alarm(0)
        if code != 0:
            output.seek(0)
            raise Failed(f"{ending(code)}: {reason(output.read())}")
        if OWN_MEMORY and len(Path("/proc/sysvipc/shm").read_text().splitlines()) > 1:
            left.append("shared memory")
        return {"wall": wall, "left": left}


def kill_descendants():
    """Kills all that this process has started, directly or not, and waits for its end. Returns their names."""
    names = []
    while found := descendants():
        for pid, name in found:
            names.append(name)
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        time.sleep(0.005)
        reap()
    reap()
    return names


def reap():
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def descendants():
    """The process ids and names of all that run below this process."""
    children = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            head, _, rest = path.read_text(errors="replace").rpartition(")")
        except OSError:
            continue
        state, parent = rest.split()[:2]
        if state not in "ZX":
            pid, _, name = head.partition(" (")
            children.setdefault(int(parent), []).append((int(pid), name))
    found = list(children.get(os.getpid(), []))
    for pid, _ in found:
        found += children.get(pid, [])
    return found
