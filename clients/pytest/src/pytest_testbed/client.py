"""The requests that testbed's pool answers. They are IntegreSQL's."""

from __future__ import annotations

import glob
import hashlib
import json
import os
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from typing import Callable, Iterable, Mapping
from urllib.parse import quote, urlencode


@dataclass(frozen=True)
class Database:
    """A database and its login. Neither `repr` nor `str` shows the password."""

    host: str
    port: int
    user: str
    password: str = field(repr=False)
    database: str
    params: Mapping[str, str] = field(default_factory=dict)
    """What libpq has to know besides: `sslmode` and `sslrootcert` where the server takes TLS alone."""

    @property
    def url(self) -> str:
        login = f"{quote(self.user, safe='')}:{quote(self.password, safe='')}"
        query = f"?{urlencode(self.params)}" if self.params else ""
        return f"postgresql://{login}@{self.host}:{self.port}/{quote(self.database, safe='')}{query}"

    @property
    def env(self) -> dict[str, str]:
        """The environment of this process with the variables that lead a command to this database."""
        names = {"sslmode": "PGSSLMODE", "sslrootcert": "PGSSLROOTCERT"}
        return {
            **os.environ,
            "DATABASE_URL": self.url,
            "PGHOST": self.host,
            "PGPORT": str(self.port),
            "PGUSER": self.user,
            "PGPASSWORD": self.password,
            "PGDATABASE": self.database,
            **{names[name]: value for name, value in self.params.items() if name in names},
        }


class Refused(Exception):
    """The pool has not done what it was asked for."""

    def __init__(self, status: int, message: str):
        super().__init__(f"testbed's pool answers {status}: {message}")
        self.status = status


def hash_of(inputs: Iterable[str], folder: str = ".", more: Iterable[str] = ()) -> str:
    """What changes when a file of these globs does: its name or what is in it."""
    digest = hashlib.sha256()
    for part in more:
        digest.update(f"{len(part.encode())}:{part}".encode())
    for pattern in inputs:
        paths = sorted(path for path in glob.glob(os.path.join(folder, pattern), recursive=True) if os.path.isfile(path))
        if not paths:
            raise FileNotFoundError(f"testbed_inputs: no file is called like {pattern} in {folder}")
        for path in paths:
            with open(path, "rb") as file:
                content = file.read()
            name = os.path.relpath(path, folder)
            digest.update(f"{len(name.encode())}:{name}{len(content)}:".encode() + content)
    return digest.hexdigest()


def SEED(database: Database) -> None:
    """In the place of a migration: copies of what the project's seed has put into its database, `seed` in testbed.yaml."""


# The pool's hash for them.
HASH_OF_SEED = "testbed"


class Client:
    def __init__(self, url: str):
        self.url = url
        # A proxy of the caller's has no part in this.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def _ask(self, method: str, path: str, body: object = None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"{self.url}/v1{path}", data, {"Content-Type": "application/json"}, method=method
        )
        try:
            # The pool itself answers within a minute.
            with self._opener.open(request, timeout=90) as answer:
                text = answer.read()
                return json.loads(text) if text else None
        except urllib.error.HTTPError as error:
            text = error.read()
            try:
                message = json.loads(text)["message"]
            except (ValueError, KeyError, TypeError):
                message = text.decode(errors="replace") or error.reason
            raise Refused(error.code, message) from None
        except OSError as error:
            # The address has a secret in it.
            raise Refused(0, f"no answer ({getattr(error, 'reason', error)}); has `testbed run` ended?") from None

    def template(self, hash: str, migrate: Callable[[Database], object]) -> None:
        """Makes a template unless there is one. Of several processes one does it, and the others do not wait here."""
        if hash == HASH_OF_SEED:
            return
        try:
            answer = self._ask("POST", "/templates", {"hash": hash})
        except Refused as refused:
            if refused.status == 423:
                return
            raise
        try:
            migrate(_database(answer))
            self._ask("PUT", f"/templates/{hash}")
        except BaseException:
            try:
                self._ask("DELETE", f"/templates/{hash}")
            except Refused:
                pass  # Why it was not made is what has to be told.
            raise

    def get(self, hash: str) -> tuple[int, Database]:
        answer = self._ask("GET", f"/templates/{hash}/tests")
        return answer["id"], _database(answer)

    def give_back(self, hash: str, number: int) -> None:
        """The database is removed, and nobody ever gets it again."""
        self._ask("POST", f"/templates/{hash}/tests/{number}/recreate")

    def fresh(self, hash: str, migrate: Callable[[Database], object]) -> tuple[int, Database]:
        """A copy of the template, which is made where that has yet to be done."""
        while True:
            self.template(hash, migrate)
            try:
                return self.get(hash)
            except Refused as refused:
                # Somebody else was at it and has failed: here it fails too, and says why.
                if hash == HASH_OF_SEED or refused.status not in (404, 410):
                    raise


def _database(answer) -> Database:
    config = answer["database"]["config"]
    return Database(
        host=config["host"],
        port=int(config["port"]),
        user=config["username"],
        password=config["password"],
        database=config["database"],
        params=dict(config.get("additionalParams") or {}),
    )
