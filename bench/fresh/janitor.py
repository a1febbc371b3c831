"""What a test pays for a PostgreSQL database by the template of pytest-postgresql: its janitor copies it for each test, and drops the copy.
Takes the schema from standard input, and prints what the client in Go prints for the others."""

import argparse
import json
import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import psycopg
from pytest_postgresql.janitor import DatabaseJanitor

SERVER = {"host": os.environ["PGHOST"], "port": int(os.environ["PGPORT"]), "user": os.environ["PGUSER"], "password": os.environ["PGPASSWORD"]}
TEMPLATE = "bench_template"
SIZE = "SELECT count(*), COALESCE(sum(pg_database_size(oid)), 0) / 1048576 FROM pg_database"


def janitor(name, **more):
    return DatabaseJanitor(dbname=name, connection_timeout=60, **SERVER, **more)


def login(name):
    return psycopg.connect(dbname=name, autocommit=True, **SERVER)


class Test:
    def __init__(self, name):
        self.janitor = janitor(name, template_dbname=TEMPLATE)
        self.janitor.init()
        self.connection = login(name)

    def end(self):
        self.connection.close()
        self.janitor.drop()


def one_by_one(kind, wait, count):
    took = []
    for number in range(count):
        time.sleep(wait)
        start = time.perf_counter()
        test = Test(f"{kind}_{number}")
        took.append((time.perf_counter() - start) * 1000)
        test.end()
    return took


def work(number):
    test = Test(f"many_{number}")
    test.connection.execute("INSERT INTO t0 (name) VALUES ('of a test')")
    (found,) = test.connection.execute("SELECT count(*) FROM t0 WHERE name = 'of a test'").fetchone()
    if found != 1:
        raise RuntimeError(f"{found} rows of a test: somebody else was there")
    test.end()


def many(tests, workers):
    """How long all take, and the most that the databases of the server were."""
    over, most = threading.Event(), {"databases": 0, "mib": 0.0}

    def watch():
        with login("postgres") as connection:
            while True:
                try:
                    databases, mib = connection.execute(SIZE).fetchone()
                    most.update(databases=max(most["databases"], databases), mib=max(most["mib"], float(mib)))
                except psycopg.Error:
                    pass  # A database that goes while it is measured is none.
                if over.wait(2):
                    return

    watcher = threading.Thread(target=watch)
    watcher.start()
    start = time.perf_counter()
    try:
        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(work, range(tests)))
        return time.perf_counter() - start, most
    finally:
        over.set()
        watcher.join()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--tests", type=int, default=1000)
    parser.add_argument("--single", type=int, default=30)
    options = parser.parse_args()
    janitor(TEMPLATE).init()
    with login(TEMPLATE) as connection:
        connection.execute(sys.stdin.read())
    told = {"warm": one_by_one("warm", 0.3, options.single), "empty": one_by_one("empty", 0, options.single)}
    told["many"], told["most"] = many(options.tests, 8)
    print(json.dumps(told))


main()
