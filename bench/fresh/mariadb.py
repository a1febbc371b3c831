"""What a test pays for a MariaDB of its own: testbed's pool, beside mariadb-dump into a new database. Runs in `testbed run --with mariadb --pool`,
and prints a JSON object of milliseconds, each up to the end of a first login."""

import argparse
import json
import os
import subprocess
import time
import urllib.request

POOL = os.environ["INTEGRESQL_CLIENT_BASE_URL"] + "/v1/templates"


def ask(method, path, body=None):
    request = urllib.request.Request(POOL + path, method=method, data=body and json.dumps(body).encode(), headers={"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        return json.loads(answer.read() or b"null")


def client(login, sql, program="mariadb", words=()):
    environment = {**os.environ, "MYSQL_PWD": login["password"]}
    command = [program, "--no-defaults", "--protocol=tcp", f"--host={login['host']}", f"--port={login['port']}", f"--user={login['username']}", *words]
    return subprocess.run(command, input=sql, capture_output=True, check=True, env=environment).stdout


def schema(tables, rows):
    for n in range(tables):
        before = f", before_id BIGINT, FOREIGN KEY (before_id) REFERENCES t{n - 1} (id)" if n else ""
        yield f"CREATE TABLE t{n} (id BIGINT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(100) NOT NULL, made TIMESTAMP NOT NULL DEFAULT NOW(), KEY (name){before});"
        if share := rows // tables:
            yield f"INSERT INTO t{n} (name) SELECT CONCAT('row ', seq) FROM seq_1_to_{share};"


def timed(action):
    start = time.perf_counter()
    action()
    return (time.perf_counter() - start) * 1000


def from_pool():
    given = ask("GET", "/bench/tests")
    login = given["database"]["config"]
    client(login, b"SELECT 1", words=[login["database"]])
    return given["id"]


def fresh(wait, count):
    took = []
    for _ in range(count):
        time.sleep(wait)
        ids = []
        took.append(timed(lambda: ids.append(from_pool())))
        ask("POST", f"/bench/tests/{ids[0]}/recreate")
    return took


def dumped(login, name):
    client(login, f"CREATE DATABASE {name}".encode())
    text = client(login, None, "mariadb-dump", ["--routines", "--triggers", "--events", login["database"]])
    client(login, text, words=[name])
    client(login, b"SELECT 1", words=[name])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--tables", type=int, required=True)
    parser.add_argument("--rows", type=int, required=True)
    parser.add_argument("--count", type=int, default=10)
    options = parser.parse_args()
    made = ask("POST", "", {"hash": "bench"})["database"]["config"]
    text = "\n".join(schema(options.tables, options.rows)).encode()
    client(made, text, words=[made["database"]])
    ask("PUT", "/bench")
    own = {"host": os.environ["MYSQL_HOST"], "port": os.environ["MARIADB_PORT"], "username": os.environ["MARIADB_USER"], "password": os.environ["MARIADB_PASSWORD"]}
    own["database"] = os.environ["MARIADB_DATABASE"]
    client(own, text, words=[own["database"]])
    told = {"warm": fresh(1.5, options.count), "empty": fresh(0, options.count)}
    told["dump"] = [timed(lambda: dumped(own, f"dump_{n}")) for n in range(3)]
    print(json.dumps(told))


main()
