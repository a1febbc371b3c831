"""https://github.com/dbfixtures/pytest-mysql"""


def test_example_mysql(mysql):
    mysql.cursor().execute("SELECT 1")
