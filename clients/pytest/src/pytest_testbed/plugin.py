"""The fixtures: `testbed_db`, `testbed_worker_db`, `testbed_session_db`."""

from __future__ import annotations

import functools
import inspect
import os
import types
from pathlib import PurePath
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
    what = "\n".join(_identity(migrate, set()))
    hashes = config.stash[_pool].hashes
    if (what, more) not in hashes:
        try:
            hashes[what, more] = hash_of(config.getini("testbed_inputs"), str(config.rootpath), [what, more])
        except FileNotFoundError as why:
            raise _told(why) from None
    return hashes[what, more]


def _identity(thing: object, seen: set[int], deep: int = 0) -> Iterator[str]:
    """What tells one migration from another: where it is, its text, and what it was made with."""
    if isinstance(thing, _PLAIN):
        yield repr(thing)
        return
    # Whatever hangs on an object of others may be large, and different in each process.
    if id(thing) in seen or deep > _DEEPEST:
        return
    seen.add(id(thing))
    parts: list[object] = []
    if isinstance(thing, (tuple, list)):
        yield f"{type(thing).__name__} of {len(thing)}"
        parts = list(thing)
    elif isinstance(thing, dict):
        yield f"dict of {len(thing)}"
        parts = [part for item in thing.items() for part in item]
    elif isinstance(thing, functools.partial):
        parts = [thing.func, thing.args, thing.keywords]
    elif isinstance(thing, types.MethodType):
        parts = [thing.__func__, thing.__self__]
    elif isinstance(thing, types.FunctionType):
        code = thing.__code__
        yield f"{code.co_filename}:{code.co_firstlineno}"
        yield _text(thing, code.co_code.hex())
        # What a decorator, or the function around it, has given it.
        cells = [cell.cell_contents for cell in thing.__closure__ or () if _is_filled(cell)]
        parts = [cells, thing.__defaults__, thing.__kwdefaults__]
    else:
        kind = thing if isinstance(thing, type) else type(thing)
        yield f"{kind.__module__}.{kind.__qualname__}"
        yield _text(kind, "")
        parts = [] if kind is thing else list(getattr(thing, "__dict__", {}).values())
    for part in parts:
        yield from _identity(part, seen, deep + 1)


_DEEPEST = 4
# Values whose text is the same in each process.
_PLAIN = (str, bytes, int, float, complex, bool, type(None), PurePath)


def _text(of: object, otherwise: str) -> str:
    try:
        return inspect.getsource(of)
    except (OSError, TypeError):
        return otherwise


def _is_filled(cell: types.CellType) -> bool:
    try:
        cell.cell_contents
    except ValueError:
        return False
    return True


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
