#!/usr/bin/python3
"""The records of the Tekton Results API, as its REST specification and its server's checks describe them, over TLS: for tests of what writes
to it. results_api.py CERTIFICATE KEY TOKEN RESULT... prints its port, and keeps the records of these Results (NAMESPACE/results/UID)
in memory. GET /records shows them all, and how many requests each took.
"""

import base64
import binascii
import http.server
import json
import re
import ssl
import sys

PREFIX = "/apis/results.tekton.dev/v1alpha2/parents/"
NAME = re.compile(r"([a-z0-9_-]{1,63})/results/([a-z0-9_-]{1,63})/records/([a-z0-9_-]{1,63})")
LIMIT = 4 << 20

certificate, key, token, *results = sys.argv[1:]
records = {}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, code, body):
        body = json.dumps(body).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def refuse(self, code, grpc, message):
        self.answer(code, {"code": grpc, "message": message, "details": []})

    def do_GET(self):
        if self.path == "/records":
            return self.answer(200, records)
        if self.headers.get("Authorization") != f"Bearer {token}":
            return self.refuse(401, 16, "request unauthenticated with bearer")
        name = self.path.removeprefix(PREFIX)
        if not NAME.fullmatch(name) or name not in records:
            return self.refuse(404, 5, "record not found")
        value = base64.b64encode(json.dumps(records[name]["value"]).encode()).decode()
        self.answer(200, {"name": name, "id": "1", "data": {"type": records[name]["type"], "value": value}})

    def do_POST(self):
        record = self.record()
        if record is None:
            return
        parent = record["name"].rsplit("/records/", 1)[0]
        if self.path != f"{PREFIX}{parent}/records":
            return self.refuse(400, 3, "requested parent does not match resource name")
        if record["name"] in records:
            return self.refuse(409, 6, "duplicate key value violates unique constraint")
        self.keep(record)

    def do_PATCH(self):
        record = self.record()
        if record is None:
            return
        if self.path != PREFIX + record["name"]:
            return self.refuse(400, 3, "the name does not match the path")
        if record["name"] not in records:
            return self.refuse(404, 5, "record not found")
        self.keep(record)

    def record(self):
        """The body, if the server would take it."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Authorization") != f"Bearer {token}":
            return self.refuse(401, 16, "request unauthenticated with bearer")
        record = json.loads(body)
        match = NAME.fullmatch(record.get("name", ""))
        if not match:
            return self.refuse(400, 3, f"name must match {NAME.pattern}")
        if len(body) > LIMIT:
            return self.refuse(429, 8, "grpc: received message larger than max")
        try:
            value = json.loads(base64.b64decode(record["data"]["value"], validate=True))
        except (binascii.Error, ValueError):
            return self.refuse(400, 3, "data is no JSON")
        if set(record) - {"name", "data"} or set(record["data"]) != {"type", "value"} or len(record["data"]["type"]) > 768:
            return self.refuse(400, 3, "unknown field")
        if "/".join([match[1], "results", match[2]]) not in results:
            return self.refuse(404, 5, "record not found")
        return {**record, "value": value}

    def keep(self, record):
        name = record["name"]
        requests = records.get(name, {}).get("requests", 0) + 1
        records[name] = {"type": record["data"]["type"], "value": record["value"], "requests": requests}
        self.answer(200, {"name": name, "id": "1", "data": record["data"]})


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate, key)
server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_address[1], flush=True)
server.serve_forever()
