"""Tells from outside when a database became ready: when the container's process 1 had become the server, and when that server
first took a full login of the tests' user.

It exists because none of the contenders may be the judge. It trusts the kernel about who process 1 is, and nothing but a real
login about being ready. It logs in over and over with hardly a pause, so that its moment is late by no more than that pause and
the server's own time for its first login; what that was is measured in every start, and nothing is subtracted from anything.
"""

import os
import time

from detection import mysql
from processes import Failed

# Seconds between looks at process 1, and between an attempt and the next. A refused attempt costs less than a tenth of that.
PAUSE = 0.001
# The highest there is for ordinary processes.
PRIORITY = -20
# Seconds until an attempt is given up: a server may listen before it takes connections.
ATTEMPT = 10


def await_program(pid, program, deadline):
    """Waits until the process has become the program. Returns the moment."""
    path = f"/proc/{pid}/exe"
    while True:
        try:
            found = os.path.basename(os.readlink(path))
        except FileNotFoundError as error:
            raise Failed(f"process 1 ended before it became {program}") from error
        now = time.monotonic()
        if found == program:
            return now
        if now > deadline:
            raise Failed(f"process 1 was still {found}, and not yet {program}, at the deadline")
        time.sleep(PAUSE)


def observe(engine, pid, host, deadline):
    """One start's moments (CLOCK_MONOTONIC), and what else was seen of it.

    `final`: process 1 had become the server. `impossible`: the last moment at which the server certainly had taken no login,
    which is when the last attempt that failed began. `attempt`: the one that succeeded began. `login`: its login was complete.
    """
    # So that a busy machine does not keep it from looking at the clock in time. It sleeps nearly always.
    os.setpriority(os.PRIO_PROCESS, 0, PRIORITY)
    final = impossible = await_program(pid, engine.program, deadline)
    attempts = 0
    while True:
        begin = time.monotonic()
        attempts += 1
        try:
            connection = engine.client.Connection((host, engine.port), engine.tests, ATTEMPT)
        except (OSError, mysql.Refused) as error:
            if begin > deadline:
                raise Failed(f"{engine.program} took no login until the deadline: {error}") from error
            impossible = begin
            time.sleep(PAUSE)
            continue
        login = time.monotonic()
        connection.close()
        moments = {"final": final, "impossible": impossible, "attempt": begin, "login": login}
        return {"moments": moments, "attempts": attempts, "version": connection.version}
