import subprocess
from pathlib import Path

import psycopg2
import pytest


@pytest.fixture(scope="session")
def testbed_migrate():
    def migrate(database):
        for file in sorted(Path(__file__).parent.glob("migrations/*.sql")):
            subprocess.run(["psql", "-qv", "ON_ERROR_STOP=1", "-f", file], env=database.env, check=True)

    return migrate


@pytest.fixture
def people(testbed_db):
    connection = psycopg2.connect(testbed_db.url)
    yield connection.cursor()
    connection.close()
