"""A fresh copy of a template with one of everything, made of what the command's own pool serves; its dump has to be
that of the template. With an argument, what is done in the end."""

import json
import os
import subprocess
import sys
import urllib.request

URL = os.environ["INTEGRESQL_CLIENT_BASE_URL"] + "/v1"
DUMP = ["--routines", "--events", "--triggers", "--skip-comments", "--skip-dump-date", "--hex-blob", "--dump-history"]


def ask(method, path, body=None):
    data = json.dumps(body).encode() if body else None
    request = urllib.request.Request(URL + path, data, {"Content-Type": "application/json"}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=120) as answer:
            text = answer.read()
    except urllib.error.HTTPError as error:
        raise SystemExit(f"{method} {path}: {error.code} {error.read().decode()}")
    return json.loads(text)["database"]["config"] if text else None


def client(program, database, *arguments, **options):
    login = [f"--host={database['host']}", f"--port={database['port']}", f"--user={database['username']}"]
    environment = {**os.environ, "MYSQL_PWD": database["password"]}
    command = [program, "--no-defaults", *login, *arguments, database["database"]]
    return subprocess.run(command, env=environment, check=True, capture_output=True, **options).stdout


def dump(database, *options):
    own = f"`{database['database']}`".encode()
    return client("mariadb-dump", database, *options).replace(own, b"`itself`")


template = ask("POST", "/templates", {"hash": "a"})
options = DUMP
if len(sys.argv) > 2:
    with open(sys.argv[2], "rb") as schema:
        client("mariadb", template, "--default-character-set=utf8mb4", stdin=schema)
else:
    # Whoever is no administrator sees neither routines nor events of others.
    client("mariadb", template, input=b"CREATE TABLE t (n int); INSERT INTO t VALUES (1); CREATE VIEW v AS SELECT n FROM t")
    options = ["--skip-comments", "--skip-dump-date"]
expected = dump(template, *options)
ask("PUT", "/templates/a")
copy = ask("GET", "/templates/a/tests")
if dump(copy, *options) != expected:
    raise SystemExit("the copy is not the template")
print(f"{copy['username']} has the same in {copy['database'][:13]}, {len(expected) > 10000}")
if sys.argv[1] == "kill":
    os.kill(os.getppid(), 9)
