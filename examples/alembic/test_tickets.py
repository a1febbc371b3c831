"""The tests find a database with all migrations in it, and leave it to nobody."""

import os

import psycopg2
import pytest


@pytest.fixture
def cursor():
    connection = psycopg2.connect(os.environ["DATABASE_URL"])
    with connection, connection.cursor() as cursor:
        yield cursor
    connection.close()


def test_the_last_migration_is_in(cursor):
    cursor.execute("SELECT version_num FROM alembic_version")
    assert cursor.fetchall() == [("0002",)]


def test_nobody_has_bought_a_ticket_yet(cursor):
    cursor.execute("SELECT count(*) FROM tickets")
    assert cursor.fetchone() == (0,)


def test_a_seat_is_sold_once(cursor):
    sell = "INSERT INTO tickets VALUES (1, 1, %s)"
    cursor.execute(sell, ["Ophelia"])
    with pytest.raises(psycopg2.errors.UniqueViolation):
        cursor.execute(sell, ["Horatio"])
    cursor.connection.rollback()


def test_tickets_are_for_shows_that_there_are(cursor):
    with pytest.raises(psycopg2.errors.ForeignKeyViolation):
        cursor.execute("INSERT INTO tickets VALUES (2, 1, 'Ophelia')")
    cursor.connection.rollback()
