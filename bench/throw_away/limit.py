"""The limit: how fast one throw-away server can be had here by a plain copy of a prepared folder, without any comfort or safety.

`cp -a`, the bare server as a child of this process, real logins every 2 ms until the first one that succeeds, SIGKILL. No ports are
guarded, no passwords set, no records written, no leftovers of others cleared; nobody is told where the server is.
"""

import encodings.idna  # noqa: F401  (else loaded by the first connection, whose user may not be able to read it)
import os
import shutil
import signal
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from detection.mysql import Refused
from processes import Failed
from throw_away.once import LIBC, in_own_process, kill_descendants

PAUSE = 0.002
IPC_RMID = 0


def once(engine, prepared, folder):
    """One round. Returns the seconds after which each step was done; `wall` is the limit, what comes later is more."""
    data, log = Path(folder) / "data", Path(folder) / "log"
    port = free_port()
    start = time.monotonic()
    steps = {"left": []}
    try:
        subprocess.run(["cp", "-a", prepared, data], check=True)
        steps["copied"] = time.monotonic() - start
        with open(log, "wb") as output:
            server = subprocess.Popen(engine.command(data, port), stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=data)
        connection = logged_in(engine, port, server, log)
        steps["ready"] = time.monotonic() - start
        server.kill()
        server.wait()
        steps["wall"] = time.monotonic() - start
        connection.socket.close()
        # PostgreSQL's other processes notice the end of the first one by themselves.
        wait_for_the_rest()
        steps["gone"] = time.monotonic() - start
    finally:
        kill_descendants()
        for segment in engine.shared_memory(data):
            LIBC.shmctl(segment, IPC_RMID, None)
    shutil.rmtree(data)
    steps["removed"] = time.monotonic() - start
    log.unlink()
    return steps


def at_once(tasks):
    """Several engines' limits at the same time: each task is what `once` takes. The limit of all is that of the slowest."""
    with ThreadPoolExecutor() as threads:
        started = [threads.submit(in_own_process, task[0].account, once, *task) for task in tasks]
        steps = [one.result() for one in started]
    return {name: max(step[name] for step in steps) for name in ("wall", "gone", "removed")} | {"left": []}


def logged_in(engine, port, server, log):
    while True:
        attempt = time.monotonic()
        try:
            return engine.connect(("127.0.0.1", port), engine.login, 10)
        except (OSError, Refused):
            if server.poll() is not None:
                lines = log.read_text(errors="replace").strip().splitlines()
                raise Failed(f"the server ended while it started: {lines[-1] if lines else 'it said nothing'}") from None
        time.sleep(max(0.0, PAUSE - (time.monotonic() - attempt)))


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def wait_for_the_rest():
    signal.alarm(10)
    try:
        while True:
            os.waitpid(-1, 0)
    except ChildProcessError:
        signal.alarm(0)
