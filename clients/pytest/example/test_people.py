import psycopg2
import pytest


@pytest.mark.parametrize("name", ["Ada", "Grace", "Ada", "Grace"])
def test_whoever_goes_is_missed_by_nobody_else(people, name):
    people.execute("SELECT count(*) FROM people")
    assert people.fetchone() == (2,)
    people.execute("DELETE FROM people WHERE name = %s", [name])
    people.connection.commit()
    people.execute("SELECT count(*) FROM people")
    assert people.fetchone() == (1,)


def test_names_are_there_once(people):
    with pytest.raises(psycopg2.errors.UniqueViolation):
        people.execute("INSERT INTO people VALUES ('Ada')")


def test_those_who_only_read_share_one(testbed_session_db):
    connection = psycopg2.connect(testbed_session_db.url)
    cursor = connection.cursor()
    cursor.execute("SELECT name FROM people ORDER BY name")
    assert cursor.fetchall() == [("Ada",), ("Grace",)]
    connection.close()
