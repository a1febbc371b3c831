"""The set-up scripts of databases.yaml have run in each database: `testbed run databases.yaml -- python3 -m pytest test_databases.py`."""

import json
import os
from contextlib import closing
from pathlib import Path

import psycopg2
import pymysql

CONNECT = {"postgres": psycopg2.connect, "mysql": pymysql.connect}
CONFIG = Path(os.environ.get("TESTBED_CONFIG", "testing-databases.json"))


def pytest_generate_tests(metafunc):
    entries = json.loads(CONFIG.read_text())
    metafunc.parametrize("driver, arguments", entries, ids=[driver for driver, _ in entries])


def test_the_scripts_have_run(driver, arguments):
    with closing(CONNECT[driver](**arguments)) as connection:
        cursor = connection.cursor()
        cursor.execute("SELECT name, seats FROM halls ORDER BY seats")
        assert list(cursor.fetchall()) == [("Cellar", 60), ("Große Halle", 2000)]
