"""`testbed run` around a session of tests that nobody has put it around."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import threading
from multiprocessing.connection import Client as Connection
from multiprocessing.connection import Listener
from pathlib import Path

from .client import Client

VARIABLE = "INTEGRESQL_CLIENT_BASE_URL"

MISSING = (
    f"testbed is not in PATH, and {VARIABLE} is not set. Build testbed from its repository (`make build` makes "
    "target/release/testbed) and put it into PATH, or run the tests in `testbed run --with postgres --pool -- pytest`."
)

# Says where the pool is, and stays until nobody has the other end of its standard input any more: also where this
# process is killed.
HOLDER = ["sh", "-c", f'echo "${VARIABLE}"; exec cat >/dev/null']


class Unavailable(Exception):
    """There is no pool, and this is why."""


class Server:
    """The pool, in the process that pytest was called as. It is started when the first test asks for it."""

    def __init__(self, args: list[str], folder: Path, workers: int):
        self._args, self._folder, self._workers = args, folder, workers
        self._lock = threading.Lock()
        self._url: str | None = os.environ.get(VARIABLE)
        self._failure: str | None = None
        self._process: subprocess.Popen | None = None
        self._session: dict[str, tuple] = {}
        self._listener: Listener | None = None

    def url(self) -> str:
        with self._lock:
            if self._failure:
                raise Unavailable(self._failure)
            if self._url is None:
                try:
                    self._url = self._start()
                except Unavailable as why:
                    self._failure = str(why)
                    raise
            return self._url

    def _start(self) -> str:
        program = shutil.which("testbed")
        if program is None:
            raise Unavailable(MISSING)
        command = [program, "run", "-q", *(self._args or self._default()), "--", *HOLDER]
        with tempfile.TemporaryFile() as told:
            self._process = subprocess.Popen(
                command,
                cwd=self._folder,
                # A run around this that serves no pool has nothing to do with this one.
                env={name: value for name, value in os.environ.items() if name != "TESTBED_RUN_ID"},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=told,
                # Ctrl-C is for pytest, which gives the databases back first.
                start_new_session=True,
            )
            url = self._process.stdout.readline().decode().strip()
            if url:
                return url
            code = self._process.wait()
            told.seek(0)
            shown = " ".join(command[1 : -len(HOLDER) - 1])
            raise Unavailable(f"testbed {shown} ended with {code}:\n{told.read().decode(errors='replace')}")

    def _default(self) -> list[str]:
        pool = f"--pool={min(self._workers, 64)}" if self._workers > 2 else "--pool"
        return [pool] if has_settings(self._folder) else ["--with", "postgres", pool]

    def session(self, hash: str):
        """The one database of the whole session. Its template is made or is being made."""
        client = Client(self.url())
        with self._lock:
            if hash not in self._session:
                self._session[hash] = client.get(hash)
            return self._session[hash][1]

    def share(self) -> dict[str, object]:
        """Answers the workers of pytest-xdist from now on, which are other processes."""
        if self._listener is None:
            self._key = secrets.token_bytes(32)
            # On Linux a name without a file, of which nothing is left where this process is killed.
            name = f"\0pytest-testbed-{secrets.token_hex(8)}" if sys.platform == "linux" else None
            self._listener = Listener(name, "AF_UNIX", backlog=64, authkey=self._key)
            threading.Thread(target=self._answer, args=(self._listener,), daemon=True).start()
        return {"address": self._listener.address, "key": self._key.hex()}

    def _answer(self, listener: Listener) -> None:
        while True:
            try:
                connection = listener.accept()
            except Exception:
                if self._listener is None:
                    return
                continue  # A worker that has gone meanwhile.
            try:
                with connection:
                    asked = connection.recv()
                    try:
                        connection.send((True, self.url() if asked is None else self.session(asked)))
                    except Exception as why:
                        connection.send((False, why if isinstance(why, Unavailable) else Unavailable(str(why))))
            except (OSError, EOFError):
                continue

    def close(self) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.close()
        if self._process is None:
            for hash, (number, _) in self._session.items():
                try:
                    Client(self.url()).give_back(hash, number)
                except Exception:
                    pass  # The command's end takes it.
            return
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()


class Remote:
    """The pool of a worker of pytest-xdist."""

    def __init__(self, shared: dict[str, str]):
        self._shared = shared
        self._url: str | None = None

    def _ask(self, what: str | None):
        with Connection(self._shared["address"], "AF_UNIX", bytes.fromhex(self._shared["key"])) as connection:
            connection.send(what)
            is_well, answer = connection.recv()
        if not is_well:
            raise answer
        return answer

    def url(self) -> str:
        if self._url is None:
            self._url = self._ask(None)
        return self._url

    def session(self, hash: str):
        return self._ask(hash)

    def close(self) -> None:
        pass


def has_settings(folder: Path) -> bool:
    """Whether testbed finds a file there that says which databases the project has."""
    for place in [folder, *folder.parents]:
        if any((place / name).exists() for name in ("testbed.yaml", "testbed.yml")):
            return True
        if (place / ".git").exists():
            return False
    return False
