"""The installed servers, and how they are run where nothing but speed counts: from a prepared folder, for data that is thrown away."""

import os
import pwd
import re
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

from detection import mysql, postgres
from processes import Failed, reason

# Where Debian keeps what is not in PATH.
POSTGRES_FOLDERS = "/usr/lib/postgresql"


def account(name):
    """The unprivileged user for a server, as testbed chooses it: the engine's own or nobody; `None` where the caller is one already."""
    if os.geteuid() != 0:
        return None
    for user in (name, "nobody"):
        try:
            return pwd.getpwnam(user)
        except KeyError:
            pass
    raise Failed(f"this machine has neither a user {name} nor nobody to run a server as")


def prepare(command, text=""):
    """Runs a command that makes a data folder."""
    done = subprocess.run(command, input=text.encode(), capture_output=True, cwd="/")
    if done.returncode != 0:
        raise Failed(f"{command[0]}: {reason(done.stdout + done.stderr)}")


class Postgres:
    """PostgreSQL. The settings are testbed's own: shared memory in files of the data folder, and nothing that only a crash would need."""

    title, name = "PostgreSQL", "postgres"
    login = SimpleNamespace(user="postgres", password="", database="postgres")
    connect = postgres.Connection
    settings = [
        "listen_addresses=127.0.0.1", "unix_socket_directories=", "dynamic_shared_memory_type=mmap", "fsync=off",
        "synchronous_commit=off", "full_page_writes=off", "max_wal_size=1GB", "checkpoint_timeout=30min",
    ]  # fmt: skip

    def __init__(self):
        self.account = account("postgres")
        found = sorted(Path(POSTGRES_FOLDERS).glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
        server = shutil.which("postgres") or (found and found[-1])
        if not server:
            raise Failed("PostgreSQL is not installed")
        self.bin = Path(server).resolve().parent
        self.version = subprocess.run([self.bin / "postgres", "--version"], capture_output=True, text=True).stdout.strip()
        self.major = int(re.search(r"\d+", self.version).group())

    def prepare(self, data):
        prepare([self.bin / "initdb", "--no-sync", "--auth=trust", "-U", "postgres", "-D", data])

    def prepare_as_testbed(self, data):
        """Small files of the log, and the tests' own database."""
        flags = ["--encoding=UTF8", "--wal-segsize=1"] if self.major >= 11 else ["--encoding=UTF8"]
        prepare([self.bin / "initdb", "--no-sync", "--auth=trust", *flags, "-U", "postgres", "-D", data])
        strategy = " STRATEGY = FILE_COPY" if self.major >= 15 else ""
        prepare([self.bin / "postgres", "--single", "-F", "-D", data, "postgres"], f"CREATE DATABASE test{strategy}\n")

    def command(self, data, port):
        return [self.bin / "postgres", "-D", data, "-p", str(port), *(word for text in self.settings for word in ("-c", text))]

    @staticmethod
    def shared_memory(data):
        """The segments that a killed server leaves: the seventh line of its pid file has a key and an id."""
        file = data / "postmaster.pid"
        lines = file.read_text().splitlines() if file.exists() else []
        return [int(lines[6].split()[1])] if len(lines) > 6 and lines[6].split() else []


class Mariadb:
    """MariaDB."""

    title, name = "MariaDB", "mariadb"
    login = SimpleNamespace(user="root", password="", database="mysql")
    connect = mysql.Connection
    log_size = "--innodb-log-file-size=4M"
    settings = [
        log_size, "--innodb-buffer-pool-size=32M", "--skip-log-bin", "--innodb-flush-log-at-trx-commit=0",
        "--innodb-doublewrite=OFF", "--skip-name-resolve", "--performance-schema=OFF", "--bind-address=127.0.0.1",
    ]  # fmt: skip

    def __init__(self):
        self.account = account("mysql")
        path = f"{os.environ.get('PATH', '')}:/usr/sbin"
        self.server, self.installer = (shutil.which(name, path=path) for name in ("mariadbd", "mariadb-install-db"))
        if not self.server or not self.installer:
            raise Failed("MariaDB is not installed")
        text = subprocess.run([self.server, "--no-defaults", "--version"], capture_output=True, text=True).stdout
        self.version = re.sub(r".*Ver (\S+).*", r"MariaDB \1", text.strip())

    def prepare(self, data):
        prepare([self.installer, "--no-defaults", f"--datadir={data}", self.log_size, "--auth-root-authentication-method=normal"])

    # There is no other way to make a smaller one.
    prepare_as_testbed = None

    def command(self, data, port):
        where = [f"--datadir={data}", f"--port={port}", "--socket=server.sock", "--pid-file=server.pid"]
        return [self.server, "--no-defaults", *where, *self.settings]

    @staticmethod
    def shared_memory(_):
        return []
