"""Creates a table in each database of a config file, or reads it again: `tables.py FILE write|read`."""

import json
import sqlite3
import sys

import mysql.connector
import psycopg2

DRIVERS = {"mysql": mysql.connector.connect, "postgres": psycopg2.connect, "sqlite": sqlite3.connect}

for driver, arguments in json.load(open(sys.argv[1])):
    connection = DRIVERS[driver](**arguments)
    cursor = connection.cursor()
    if sys.argv[2] == "write":
        cursor.execute("CREATE TABLE kept (value INTEGER)")
        cursor.execute("INSERT INTO kept VALUES (42)")
        connection.commit()
    cursor.execute("SELECT value FROM kept")
    assert cursor.fetchall() == [(42,)], driver
    connection.close()
    print(driver, "ok")
