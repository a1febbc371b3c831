"""Gives each test every database of testing-databases.json in turn, with empty tables."""

import json
import os
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest

from box_office import create_tables
from database import Database

# `testbed run` tells where the file is; `testbed up` writes it to the current folder.
CONFIG = Path(os.environ.get("TESTBED_CONFIG", "testing-databases.json"))


def pytest_configure():
    if not CONFIG.exists():
        raise pytest.UsageError(f"{CONFIG} does not exist: start the databases with `testbed up`, or: testbed run -- python3 -m pytest")


def entries():
    """A driver's name and the arguments of its `connect`, for each database."""
    return json.loads(CONFIG.read_text())


def pytest_generate_tests(metafunc):
    if "entry" in metafunc.fixturenames:
        metafunc.parametrize("entry", entries(), ids=[driver for driver, _ in entries()])


@contextmanager
def emptied(entry, sqlite_file):
    """Gives a function that opens another connection to a database; all of them are closed in the end."""
    driver, arguments = entry
    if driver == "sqlite":
        # In memory, each connection would have a database of its own.
        arguments = {**arguments, "database": sqlite_file}
    with ExitStack() as connections:

        def connect():
            return connections.enter_context(closing(Database(driver, arguments)))

        database = connect()
        with database.transaction() as execute:
            for table in ["tickets", "concerts"]:
                execute(f"DROP TABLE IF EXISTS {table}")
        create_tables(database)
        yield connect


@pytest.fixture
def connect(entry, tmp_path):
    """Connections to the test's database, as many as it asks for."""
    with emptied(entry, tmp_path / "test.sqlite") as connect:
        yield connect


@pytest.fixture
def database(connect):
    """One connection to the test's database."""
    return connect()


@pytest.fixture
def databases(tmp_path):
    """A connection to each of the databases, all at once."""
    with ExitStack() as stack:
        yield [stack.enter_context(emptied(entry, tmp_path / f"{number}.sqlite"))() for number, entry in enumerate(entries())]
