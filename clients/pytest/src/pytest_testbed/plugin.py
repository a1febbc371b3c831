"""The fixtures: `testbed_db`, `testbed_worker_db`, `testbed_session_db`."""

from __future__ import annotations

import os
from typing import Callable, Iterator

import pytest

from .client import HASH_OF_SEED, SEED, Client, Database, Refused, hash_of
from .server import Remote, Server, Unavailable

KEEP = "TESTBED_KEEP_FAILED"

_pool = pytest.StashKey["Pool"]()
_failed = pytest.StashKey[bool]()


def _told(why: object) -> BaseException:
    """An error of which a test's report has its words alone."""
    return pytest.fail.Exception(str(why), pytrace=False)


class Pool:
    """What one process of the session knows of the pool."""

    def __init__(self, server: Server | Remote):
        self.server = server
        self._broken: dict[str, str] = {}
        self.hashes: dict[tuple[str, str], str] = {}

    def template(self, hash: str, migrate: Callable[[Database], object]) -> Client:
        client = Client(self._url())
        self._once(hash, lambda: client.template(hash, migrate))
        return client

    def fresh(self, hash: str, migrate: Callable[[Database], object]) -> tuple[Client, int, Database]:
        client = Client(self._url())
        return client, *self._once(hash, lambda: client.fresh(hash, migrate))

    def session(self, hash: str, migrate: Callable[[Database], object]) -> Database:
        self.template(hash, migrate)
        try:
            return self.server.session(hash)
        except (Unavailable, Refused) as why:
            raise _told(why) from None

    def _url(self) -> str:
        try:
            return self.server.url()
        except Unavailable as why:
            raise _told(why) from None

    def _once(self, hash: str, work):
        """A migration that has failed is not tried again for each test, and is told in full once."""
        if hash in self._broken:
            raise _told(f"testbed_migrate has failed already: {self._broken[hash]}")
        try:
            return work()
        except Refused as refused:
            raise _told(refused) from None
        except BaseException as why:
            self._broken[hash] = f"{type(why).__name__}: {why}"
            raise


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addini("testbed_inputs", "globs of the files that the databases' template is made of", "linelist", [])
    parser.addini("testbed_run", "arguments of `testbed run` where the tests do not run in one", "args", [])


def pytest_configure(config: pytest.Config) -> None:
    shared = getattr(config, "workerinput", {}).get("testbed")
    workers = len(getattr(config.option, "tx", None) or [])
    server = Remote(shared) if shared else Server(config.getini("testbed_run"), config.rootpath, workers)
    config.stash[_pool] = Pool(server)


def pytest_unconfigure(config: pytest.Config) -> None:
    if _pool in config.stash:
        config.stash[_pool].server.close()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node) -> None:
    node.workerinput["testbed"] = node.config.stash[_pool].server.share()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo):
    outcome = yield
    if outcome.get_result().failed:
        item.stash[_failed] = True


@pytest.fixture(scope="session")
def testbed_migrate() -> Callable[[Database], object]:
    """What fills the template: a function of its database. A project has a fixture of this name for that."""
    return _nothing


def _nothing(database: Database) -> None:
    """An empty database."""


@pytest.fixture(scope="session")
def testbed_hash() -> str:
    """What tells one template from another, as far as the files and the migration's own place do not."""
    return ""


def _hash(config: pytest.Config, migrate: Callable[[Database], object], more: str) -> str:
    if migrate is SEED:
        return HASH_OF_SEED
    code = getattr(migrate, "__code__", None)
    place = f"{code.co_filename}:{code.co_firstlineno}" if code else repr(type(migrate))
    hashes = config.stash[_pool].hashes
    if (place, more) not in hashes:
        try:
            hashes[place, more] = hash_of(config.getini("testbed_inputs"), str(config.rootpath), [place, more])
        except FileNotFoundError as why:
            raise _told(why) from None
    return hashes[place, more]


def _lend(config, migrate, more, is_failed: Callable[[], bool]) -> Iterator[Database]:
    hash = _hash(config, migrate, more)
    client, number, database = config.stash[_pool].fresh(hash, migrate)
    yield database
    if is_failed() and os.environ.get(KEEP):
        return
    try:
        client.give_back(hash, number)
    except Refused:
        pass  # The end of `testbed run` takes it.


@pytest.fixture
def testbed_db(request: pytest.FixtureRequest, testbed_migrate, testbed_hash) -> Iterator[Database]:
    """A migrated database that only this test has."""
    for database in _lend(request.config, testbed_migrate, testbed_hash, lambda: _failed in request.node.stash):
        request.node.user_properties.append(("testbed_database", database.database))
        if os.environ.get(KEEP):
            note = f"{database!r} is kept if the test fails, until `testbed run` ends"
            request.node.add_report_section("setup", "testbed", note)
        yield database


@pytest.fixture(scope="session")
def testbed_worker_db(request: pytest.FixtureRequest, testbed_migrate, testbed_hash) -> Iterator[Database]:
    """A migrated database for all tests of one process: of a worker of pytest-xdist, or of pytest itself."""
    yield from _lend(request.config, testbed_migrate, testbed_hash, lambda: request.session.testsfailed > 0)


@pytest.fixture(scope="session")
def testbed_session_db(request: pytest.FixtureRequest, testbed_migrate, testbed_hash) -> Database:
    """A migrated database for all tests of the session, whichever process they are in."""
    hash = _hash(request.config, testbed_migrate, testbed_hash)
    return request.config.stash[_pool].session(hash, testbed_migrate)
