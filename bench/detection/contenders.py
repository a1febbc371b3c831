"""Knows those who say when a database is ready, each the way it is used: testbed, the engines' own pings in a shell's loop, and
repeated logins.

It exists so that all of them watch the same start, each as a process of its own that ends when it says ready.
"""

import json
import os
import time

from detection import children, mysql

TESTBED, PING, LOGIN_1000, LOGIN_100 = "testbed wait", "ping", "login every 1 s", "login every 100 ms"

# What each is called in the report.
NAMES = {
    TESTBED: "`testbed wait`",
    PING: "`mysqladmin ping`, `pg_isready`, every 100 ms",
    LOGIN_1000: "one login, every 1 s",
    LOGIN_100: "one login, every 100 ms",
}

# As people write it.
SHELL_LOOP = 'until "$@" >/dev/null 2>&1; do sleep 0.1; done'

# Seconds that a login may take. Its connection may have to wait until the server takes it.
ATTEMPT = 10


def begin(engine, container, host, testbed):
    """Starts all contenders. Returns them by name."""
    network = container.network()
    try:
        return {
            TESTBED: testbed_wait(engine, container, host, testbed),
            PING: ping(engine, container, host),
            LOGIN_1000: children.fork(log_in, engine, network, host, 1.0),
            LOGIN_100: children.fork(log_in, engine, network, host, 0.1),
        }
    finally:
        os.close(network)


def testbed_wait(engine, container, host, testbed):
    """testbed believes nothing but proof here: no settling window."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TESTBED_")}
    environment[engine.password_variable] = engine.admin.password
    command = [testbed, "wait", engine.url(host), "--settle", "never", "--timeout", "2m", "-o", "json"]
    return children.launch(container.beside(command), environment)


def ping(engine, container, host):
    """The image's own program, of the same version as the server."""
    environment = container.environment | {engine.password_variable: engine.tests.password}
    words = [word.format(host=host, port=engine.port) for word in engine.ping]
    return children.launch(container.inside(["sh", "-c", SHELL_LOOP, "sh", *words]), environment)


def log_in(engine, network, host, interval):
    """Repeats a login and `SELECT 1` as the tests' user until both succeed."""
    children.enter_network(network)
    attempts = 0
    while True:
        attempts += 1
        try:
            connection = engine.client.Connection((host, engine.port), engine.tests, ATTEMPT)
            connection.select_1()
            connection.close()
            return {"attempts": attempts}
        except (OSError, mysql.Refused):
            time.sleep(interval)


def remark(name, child):
    """What else a contender that has ended told: testbed's evidence, or why it failed."""
    if child.code != 0:
        return child.complaint()
    if name == TESTBED:
        return json.loads(child.text())[0]["evidence"]["kind"]
    return None
