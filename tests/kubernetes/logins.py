"""Logs in through a config file again and again, as a test suite would: `logins.py FILE TIMES`. Prints the failures, and how many."""

import json
import sys
import time

import mysql.connector
import psycopg2

DRIVERS = {"mysql": mysql.connector.connect, "postgres": psycopg2.connect}

failures = 0
entries = json.load(open(sys.argv[1]))
for _ in range(int(sys.argv[2])):
    for driver, arguments in entries:
        try:
            connection = DRIVERS[driver](**arguments)
            cursor = connection.cursor()
            cursor.execute("SELECT 1")
            cursor.fetchall()
            connection.close()
        except (mysql.connector.Error, psycopg2.Error) as error:
            failures += 1
            print(driver, error)
    # The pace of the measurement, not a wait for anything.
    time.sleep(0.01)
print("failures:", failures)
sys.exit(failures > 0)
