"""The plugin with a real testbed, which has to be in PATH."""

import functools
import importlib.util
import linecache
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

VARIABLE = "INTEGRESQL_CLIENT_BASE_URL"
PACKAGE = Path(__file__).parents[1]
needs_xdist = pytest.mark.skipif(importlib.util.find_spec("xdist") is None, reason="pytest-xdist is missing")

CONFTEST = """
import psycopg2
import pytest

def ask(database, sql):
    connection = psycopg2.connect(database.url)
    connection.autocommit = True
    cursor = connection.cursor()
    cursor.execute(sql)
    rows = cursor.fetchall() if cursor.description else []
    connection.close()
    return rows

@pytest.fixture(scope="session")
def testbed_migrate():
    def migrate(database):
        with open("migrated", "a") as file:
            file.write("once\\n")
        ask(database, "CREATE TABLE t (n int); INSERT INTO t VALUES (1)")
    return migrate
"""


@pytest.fixture
def project(pytester, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(PACKAGE / "src"), *sys.path]))
    monkeypatch.setenv("PYTEST_ADDOPTS", "-p pytest_testbed.plugin -p no:cacheprovider")
    monkeypatch.delenv("TESTBED_KEEP_FAILED", raising=False)
    pytester.makeconftest(CONFTEST)
    return pytester


@pytest.fixture(params=["inside", "outside"])
def either(request, project, monkeypatch):
    """A project whose tests run in `testbed run`, and one whose tests start it."""
    if request.param == "outside":
        monkeypatch.delenv(VARIABLE, raising=False)
    elif VARIABLE not in os.environ:
        pytest.skip("these tests do not run in `testbed run --pool`")
    return project


def servers(folder):
    """Processes of testbed that work there, or below."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and os.readlink(entry / "cwd").startswith(str(folder)):
                found.append((entry / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue
    return [line for line in found if "testbed run" in line]


def until(what, claim):
    deadline = time.monotonic() + 30
    while not claim():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def test_each_test_has_a_migrated_database_of_its_own(either):
    either.makepyfile(
        """
        import pytest
        from conftest import ask

        @pytest.mark.parametrize("nth", range(5))
        def test_it(testbed_db, nth):
            assert ask(testbed_db, "SELECT n FROM t") == [(1,)]
            ask(testbed_db, "DELETE FROM t")
        """
    )
    either.runpytest_subprocess().assert_outcomes(passed=5)
    assert (either.path / "migrated").read_text() == "once\n"
    assert servers(either.path) == []


def test_a_worker_has_one_and_the_session_has_one(either):
    either.makepyfile(
        """
        from conftest import ask

        def test_one(testbed_worker_db, testbed_session_db):
            ask(testbed_worker_db, "INSERT INTO t VALUES (2)")
            assert testbed_worker_db != testbed_session_db

        def test_other(testbed_worker_db, testbed_session_db):
            assert ask(testbed_worker_db, "SELECT count(*) FROM t") == [(2,)]
            assert ask(testbed_session_db, "SELECT count(*) FROM t") == [(1,)]
        """
    )
    either.runpytest_subprocess().assert_outcomes(passed=2)


@needs_xdist
def test_workers_share_one_server_one_template_and_the_sessions_database(either):
    either.makepyfile(
        """
        import pytest
        from conftest import ask

        @pytest.mark.parametrize("nth", range(24))
        def test_it(testbed_db, testbed_worker_db, testbed_session_db, worker_id, nth):
            assert ask(testbed_db, "SELECT n FROM t") == [(1,)]
            ask(testbed_db, "DELETE FROM t")
            with open("names", "a") as file:
                file.write(f"db {testbed_db.database} {worker_id}\\n")
                file.write(f"worker {testbed_worker_db.database} {worker_id}\\n")
                file.write(f"session {testbed_session_db.database}\\n")
        """
    )
    either.runpytest_subprocess("-n", "4", "-p", "xdist").assert_outcomes(passed=24)
    # One of them has made the template; the others had no part in it.
    assert (either.path / "migrated").read_text() == "once\n"
    lines = (either.path / "names").read_text().splitlines()
    names = {kind: {line for line in lines if line.startswith(kind)} for kind in ("db", "worker", "session")}
    workers = {line.split()[2] for line in lines if line.startswith("worker")}
    assert len(names["db"]) == 24
    assert len(names["worker"]) == len(workers) > 1
    assert len(names["session"]) == 1
    assert servers(either.path) == []


def test_nothing_is_started_for_tests_that_do_not_ask(project, monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    program = project.mkdir("bin") / "testbed"
    program.write_text("#!/bin/sh\ntouch called\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
    project.makepyfile("def test_it(): pass")
    project.runpytest_subprocess().assert_outcomes(passed=1)
    assert not (project.path / "called").exists()


@pytest.mark.parametrize("args", [[], pytest.param(["-n", "2", "-p", "xdist"], marks=needs_xdist)])
def test_without_testbed_those_that_ask_are_told_how_to_install_it(project, monkeypatch, args):
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setenv("PATH", str(project.mkdir("empty")))
    project.makepyfile("def test_one(testbed_db): pass\ndef test_two(testbed_db): pass\ndef test_three(): pass")
    result = project.runpytest_subprocess(*args)
    result.assert_outcomes(passed=1, errors=2)
    result.stdout.fnmatch_lines(["testbed is not in PATH*make build*"])
    assert "Traceback" not in result.stdout.str()
    # Only what it says, and no line of the plugin's.
    assert "plugin.py" not in result.stdout.str()
    assert "another exception" not in result.stdout.str()


def test_what_testbed_says_when_it_cannot_is_shown(project, monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    project.makeini("[pytest]\ntestbed_run = --with postgres:99 --strict --pool")
    project.makepyfile("def test_it(testbed_db): pass")
    result = project.runpytest_subprocess()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["testbed run -q --with postgres:99 --strict --pool ended with *", "error: *"])


def test_the_projects_own_settings_say_what_is_started(project, monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    (project.path / "testbed.yaml").write_text("databases:\n  orders: {use: postgres, user: striv}\n")
    project.makepyfile("def test_it(testbed_db): assert testbed_db.user == 'striv'")
    project.runpytest_subprocess().assert_outcomes(passed=1)


@pytest.mark.parametrize("args", [[], pytest.param(["-n", "2", "-p", "xdist"], marks=needs_xdist)])
def test_the_copies_are_of_the_seed_where_the_project_has_one(project, monkeypatch, args):
    monkeypatch.delenv(VARIABLE, raising=False)
    (project.path / "testbed.yaml").write_text("databases:\n  orders: {use: postgres, seed: seed.sql}\n")
    (project.path / "seed.sql").write_text("CREATE TABLE t (n int); INSERT INTO t VALUES (42)")
    seeded = "from pytest_testbed import SEED\n\n@pytest.fixture(scope='session')\ndef testbed_migrate():\n    return SEED\n"
    project.makeconftest(CONFTEST.partition("@pytest.fixture")[0] + seeded)
    project.makepyfile(
        """
        from conftest import ask

        def test_one(testbed_db, testbed_worker_db, testbed_session_db):
            assert ask(testbed_db, "DELETE FROM t RETURNING n") == [(42,)]
            assert ask(testbed_worker_db, "SELECT n FROM t") == ask(testbed_session_db, "SELECT n FROM t") == [(42,)]

        def test_other(testbed_db):
            assert ask(testbed_db, "DELETE FROM t RETURNING n") == [(42,)]
        """
    )
    project.runpytest_subprocess(*args).assert_outcomes(passed=2)
    (project.path / "testbed.yaml").write_text("databases:\n  orders: {use: postgres}\n")
    result = project.runpytest_subprocess(*args)
    result.assert_outcomes(errors=2)
    result.stdout.fnmatch_lines(["testbed's pool answers 404: * has no seed*"])


def test_a_migration_that_fails_is_told_once_and_not_tried_again(either):
    either.makeconftest(CONFTEST.replace("CREATE TABLE t", "CREATE TALBE t"))
    either.makepyfile("def test_one(testbed_db): pass\ndef test_two(testbed_db): pass")
    result = either.runpytest_subprocess()
    result.assert_outcomes(errors=2)
    result.stdout.fnmatch_lines(["*syntax error*TALBE*", "testbed_migrate has failed already: SyntaxError*"])
    assert (either.path / "migrated").read_text() == "once\n"


def test_other_migrations_and_other_inputs_are_other_templates(either):
    either.makeini("[pytest]\ntestbed_inputs =\n    *.sql")
    (either.path / "a.sql").write_text("first")
    either.makepyfile(
        """
        import pytest
        from conftest import ask

        def test_the_projects(testbed_db):
            assert ask(testbed_db, "SELECT n FROM t") == [(1,)]

        class TestOther:
            @pytest.fixture(scope="session")
            def testbed_migrate(self):
                return lambda database: ask(database, "CREATE TABLE other ()")

            def test_its_own(self, testbed_db):
                assert ask(testbed_db, "SELECT * FROM other") == []
        """
    )
    either.runpytest_subprocess().assert_outcomes(passed=2)
    either.runpytest_subprocess().assert_outcomes(passed=2)
    migrations = (either.path / "migrated").read_text().count("once")
    (either.path / "a.sql").write_text("second")
    either.runpytest_subprocess().assert_outcomes(passed=2)
    assert (either.path / "migrated").read_text().count("once") == migrations + 1
    (either.path / "a.sql").unlink()
    result = either.runpytest_subprocess()
    result.assert_outcomes(errors=2)
    result.stdout.fnmatch_lines(["testbed_inputs: no file is called like *.sql in *"])


def test_nothing_shows_a_password(either):
    either.makepyfile(
        """
        def test_it(testbed_db):
            with open("password", "w") as file:
                file.write(testbed_db.password)
            assert testbed_db.password in testbed_db.url
            assert testbed_db is None
        """
    )
    result = either.runpytest_subprocess("--showlocals", "-vv")
    result.assert_outcomes(failed=1)
    text = result.stdout.str() + result.stderr.str()
    assert "Database(host=" in text
    password = (either.path / "password").read_text()
    assert password and not re.search(rf"\W{re.escape(password)}\W", text)


@pytest.mark.skipif(VARIABLE not in os.environ, reason="these tests do not run in `testbed run --pool`")
def test_a_failed_test_leaves_its_database_only_where_that_is_asked_for(project, monkeypatch):
    project.makepyfile(
        """
        def test_it(testbed_db):
            with open("name", "w") as file:
                file.write(testbed_db.database)
            assert False
        """
    )
    sql = "SELECT count(*) FROM pg_database WHERE datname = '{}'"

    def count():
        name = (project.path / "name").read_text()
        asked = ["psql", "-Atc", sql.format(name)]
        return int(subprocess.run(asked, check=True, stdout=subprocess.PIPE, text=True).stdout)

    project.runpytest_subprocess().assert_outcomes(failed=1)
    until("it is gone", lambda: count() == 0)
    monkeypatch.setenv("TESTBED_KEEP_FAILED", "1")
    result = project.runpytest_subprocess()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["Database(host=* is kept*"])
    assert count() == 1


@pytest.mark.parametrize("args", [[], pytest.param(["-n", "2", "-p", "xdist"], marks=needs_xdist)])
def test_a_pytest_that_is_killed_leaves_no_server(project, monkeypatch, args):
    monkeypatch.delenv(VARIABLE, raising=False)
    project.makepyfile(
        """
        import time

        def test_it(testbed_db):
            open("begun", "w").close()
            time.sleep(60)
        """
    )
    with open(project.path / "output", "w") as output:
        command = [sys.executable, "-m", "pytest", *args]
        process = subprocess.Popen(command, cwd=project.path, stdout=output, stderr=output)
    until("the test runs", lambda: (project.path / "begun").exists() or process.poll() is not None)
    assert servers(project.path), (project.path / "output").read_text()
    process.send_signal(signal.SIGKILL)
    process.wait()
    until("the servers are gone", lambda: not servers(project.path))


@pytest.mark.parametrize("args", [[], pytest.param(["-n", "2", "-p", "xdist"], marks=needs_xdist)])
def test_the_example(either, args):
    for name in ("conftest.py", "pytest.ini", "test_people.py", "migrations"):
        subprocess.run(["cp", "-r", PACKAGE / "example" / name, either.path], check=True)
    either.runpytest_subprocess(*args).assert_outcomes(passed=6)


OF_MARIADB = """
import subprocess
import pytest

def ask(database, sql):
    command = ["mariadb", "--batch", "--skip-column-names", "-e", sql]
    return subprocess.run(command, env=database.env, check=True, stdout=subprocess.PIPE, text=True).stdout

@pytest.fixture(scope="session")
def testbed_migrate():
    return lambda database: ask(database, "CREATE TABLE t (n int); INSERT INTO t VALUES (1)")
"""


def test_a_database_of_mariadb_is_told_as_one(either, monkeypatch):
    if VARIABLE in os.environ:
        # The second of this run's pools: what leads a command to the run's own database is there as well.
        monkeypatch.setenv(VARIABLE, re.sub("api$", "mariadb/api", os.environ[VARIABLE]))
    else:
        (either.path / "testbed.yaml").write_text("databases:\n  mariadb: mariadb\n")
    either.makeconftest(OF_MARIADB)
    either.makepyfile(
        """
        import pytest
        from conftest import ask

        @pytest.mark.parametrize("nth", range(2))
        def test_it(testbed_db, nth):
            assert testbed_db.engine == "mariadb"
            login = f"{testbed_db.user}:{testbed_db.password}"
            place = f"{testbed_db.host}:{testbed_db.port}/{testbed_db.database}"
            assert testbed_db.url == testbed_db.env["DATABASE_URL"] == f"mysql://{login}@{place}"
            assert ask(testbed_db, "SELECT n FROM t; SELECT @@port") == f"1\\n{testbed_db.port}\\n"
            ask(testbed_db, "DELETE FROM t")
        """
    )
    either.runpytest_subprocess().assert_outcomes(passed=2)


def test_what_says_a_login_alone_has_postgresql(monkeypatch):
    """IntegreSQL's own server."""
    monkeypatch.syspath_prepend(str(PACKAGE / "src"))
    from pytest_testbed import client

    config = {"host": "h", "port": 1, "username": "u", "password": "p/", "database": "d"}
    database = client._database({"database": {"templateHash": "x", "config": config}})
    assert (database.engine, database.url) == ("postgres", "postgresql://u:p%2F@h:1/d")
    assert database.env["DATABASE_URL"] == database.url
    assert [database.env[name] for name in ("PGHOST", "PGPORT", "PGUSER", "PGPASSWORD", "PGDATABASE")] == ["h", "1", "u", "p/", "d"]


def test_migrations_are_told_apart_by_what_they_do(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(PACKAGE / "src"))
    from pytest_testbed import plugin

    def identity(thing):
        return "\n".join(plugin._identity(thing, set()))

    def decorated(function):
        def inner(database):
            return function(database)

        return inner

    def load(name, text):
        path = tmp_path / f"{name}.py"
        path.write_text(text)
        spec = importlib.util.spec_from_file_location(name, path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module.migrate

    class Migration:
        def __init__(self, version):
            self.version = version
            self.own = self

        def __call__(self, database):
            return self.version

        def run(self, database):
            return self.version

    def of(version):
        return lambda database: version

    def kept(database, versions=(1, [2], {"a": None})):
        return versions

    migrations = [
        functools.partial(kept, versions=1),
        functools.partial(kept, versions=2),
        functools.partial(of, 1),
        decorated(kept),
        decorated(of),
        of(1),
        of(2),
        of(None),
        kept,
        Migration(1),
        Migration(2),
        Migration(1).run,
        Migration(2).run,
        load("edited", "def migrate(database):\n    return 1\n"),
        load("edited2", "def migrate(database):\n    return 2\n"),
    ]
    identities = [identity(migration) for migration in migrations]
    assert len(set(identities)) == len(migrations)
    # The same in another worker, whose objects are elsewhere in memory.
    assert identity(functools.partial(kept, versions=1)) == identities[0]
    assert identity(Migration(1)) == identities[9]
    assert not [text for text in identities if " at 0x" in text]
    # The body alone has changed.
    before = identity(load("body", "def migrate(database):\n    return 1\n"))
    linecache.clearcache()
    assert identity(load("body", "def migrate(database):\n    return 3\n")) != before
