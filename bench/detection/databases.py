"""Knows what the benchmark starts: the engines, the kinds of set-up server, and the logins that the images are told to make.

It exists so that all who watch a start, and the start itself, agree on these.
"""

from dataclasses import dataclass

from detection import mysql, postgres
from detection.container import ADDRESS, LOOPBACK

DATABASE = "orders"
# Of the images' own variables. The databases live for seconds, where nobody else can reach them.
ADMIN_PASSWORD, TESTS_USER, TESTS_PASSWORD = "admin-password", "tests", "tests-password"

# Seconds that the lingering set-up server stays after its work, as one with long init scripts does.
LINGER = 20

# What each kind asks of the test images' entrypoint (tests/cluster/images/setup.sh).
KINDS = {
    "hidden": {"TESTBED_SETUP_SERVER": "hidden"},
    "visible": {"TESTBED_SETUP_SERVER": "visible"},
    "loopback": {"TESTBED_SETUP_SERVER": "loopback"},
    "lingering": {"TESTBED_SETUP_SERVER": "visible", "TESTBED_SETUP_LINGER": str(LINGER)},
}


@dataclass(frozen=True)
class Login:
    """Who logs in where."""

    user: str
    password: str
    database: str = DATABASE


@dataclass(frozen=True)
class Engine:
    """One engine: its image, its server's program, and how one asks it."""

    name: str
    image: str
    program: str
    port: int
    client: object
    environment: dict
    tests: Login
    admin: Login
    password_variable: str
    # The engine's own answer to "is it there", as shell scripts use it.
    ping: tuple

    def url(self, host):
        """The address as a URL, with the administrator's name and without the password."""
        return f"{self.name}://{self.admin.user}@{host}:{self.port}/{DATABASE}"


def mysql_family(name, image, program, ping):
    variables = {
        f"{name.upper()}_ROOT_PASSWORD": ADMIN_PASSWORD,
        f"{name.upper()}_DATABASE": DATABASE,
        f"{name.upper()}_USER": TESTS_USER,
        f"{name.upper()}_PASSWORD": TESTS_PASSWORD,
    }
    tests, admin = Login(TESTS_USER, TESTS_PASSWORD), Login("root", ADMIN_PASSWORD)
    command = (ping, "--host={host}", "--port={port}", f"--user={TESTS_USER}", "ping")
    return Engine(name, image, program, 3306, mysql, variables, tests, admin, "MYSQL_PWD", command)


def postgres_engine(name, image):
    # The image makes one user, who is the administrator.
    variables = {"POSTGRES_USER": TESTS_USER, "POSTGRES_PASSWORD": TESTS_PASSWORD, "POSTGRES_DB": DATABASE}
    login = Login(TESTS_USER, TESTS_PASSWORD)
    command = ("pg_isready", "--host={host}", "--port={port}", f"--username={TESTS_USER}", f"--dbname={DATABASE}")
    return Engine(name, image, "postgres", 5432, postgres, variables, login, login, "PGPASSWORD", command)


ENGINES = {
    "mysql": mysql_family("mysql", "mysql:9.7", "mysqld", "mysqladmin"),
    "mariadb": mysql_family("mariadb", "mariadb:11.8", "mariadbd", "mariadb-admin"),
    "postgres": postgres_engine("postgres", "postgres:17"),
}


def host_of(kind):
    """The address to ask. A port-forward into a pod arrives from loopback, and so does who watches a loopback server."""
    return LOOPBACK if kind == "loopback" else ADDRESS
