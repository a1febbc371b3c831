"""A connection to PostgreSQL, MariaDB, MySQL or SQLite: what differs between their drivers ends here."""

import sqlite3
from contextlib import contextmanager

import psycopg2
import pymysql

DRIVERS = {"postgres": psycopg2, "mysql": pymysql, "sqlite": sqlite3}


class Database:
    def __init__(self, driver, arguments):
        """Takes an entry of testing-databases.json: a driver's name and the arguments of its `connect`."""
        module = DRIVERS[driver]
        self.is_sqlite = driver == "sqlite"
        self.Duplicate = module.IntegrityError
        # PostgreSQL, MariaDB and MySQL lock the rows of a SELECT that says so, SQLite all of the database when a transaction begins.
        self.lock = "" if self.is_sqlite else "FOR UPDATE"
        if self.is_sqlite:
            # Transactions begin below, and a connection may be made in one thread and used in another, as with the other drivers.
            arguments = {"isolation_level": None, "check_same_thread": False, "timeout": 60, **arguments}
        self.connection = module.connect(**arguments)

    def close(self):
        self.connection.close()

    @contextmanager
    def transaction(self, only_reads=False):
        """Gives a function that executes SQL and returns rows. What was done stays if the block ends well; an error undoes all of it."""
        cursor = self.connection.cursor()

        def execute(sql, *values):
            cursor.execute(sql.replace("%s", "?") if self.is_sqlite else sql, values)
            return cursor.fetchall() if cursor.description else []

        try:
            if self.is_sqlite:
                cursor.execute("BEGIN" if only_reads else "BEGIN IMMEDIATE")
            yield execute
            self.connection.commit()
        except BaseException:
            self.connection.rollback()
            raise
        finally:
            cursor.close()
