"""https://github.com/dbfixtures/pytest-postgresql"""


def test_example_postgres(postgresql):
    postgresql.cursor().execute("SELECT 1")
