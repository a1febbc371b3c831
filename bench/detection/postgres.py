"""A client for PostgreSQL that does no more than a login and `SELECT 1`; the twin of mysql.py, for the same reason.

https://www.postgresql.org/docs/current/protocol-flow.html, and SCRAM-SHA-256 as in RFC 5802 and RFC 7677.
"""

import base64
import functools
import hashlib
import hmac
import os
import struct

from detection.mysql import Refused, connect, read, xor

VERSION = 3 << 16
TRUSTED, SASL, SASL_CONTINUE, SASL_FINAL = 0, 10, 11, 12


class Connection:
    """A connection that is logged in, and the server's `version`."""

    def __init__(self, address, login, limit):
        self.socket = connect(address, limit)
        try:
            names = ["user", login.user, "database", login.database, "", ""]
            self.send(b"", struct.pack(">I", VERSION) + "\0".join(names).encode())
            self.version = None
            self.log_in(login.password)
            self.until(b"Z")
        except BaseException:
            self.socket.close()
            raise

    def log_in(self, password):
        scram = None
        while True:
            body = self.until(b"R")
            method = int.from_bytes(body[:4], "big")
            if method == TRUSTED:
                return
            if method == SASL:
                scram = Scram(password)
                first = scram.first().encode()
                self.send(b"p", b"SCRAM-SHA-256\0" + struct.pack(">I", len(first)) + first)
            elif method == SASL_CONTINUE:
                self.send(b"p", scram.final(body[4:].decode()).encode())
            elif method != SASL_FINAL:
                raise Refused(f"the server wants authentication {method}, which this client does not know")

    def select_1(self):
        self.send(b"Q", b"SELECT 1\0")
        self.until(b"Z")

    def close(self):
        self.send(b"X", b"")
        self.socket.close()

    def send(self, kind, body):
        self.socket.sendall(kind + struct.pack(">I", len(body) + 4) + body)

    def until(self, wanted):
        """The body of the next message of the wanted kind."""
        while True:
            kind, size = struct.unpack(">cI", read(self.socket, 5))
            body = read(self.socket, size - 4)
            if kind == b"E":
                fields = {field[:1]: field[1:].decode(errors="replace") for field in body.split(b"\0") if field}
                raise Refused(f"SQLSTATE {fields.get(b'C')}: {fields.get(b'M')}")
            if kind == b"S" and body.startswith(b"server_version\0"):
                self.version = body.split(b"\0")[1].decode()
            if kind == wanted:
                return body


class Scram:
    """One conversation that proves the password to the server."""

    def __init__(self, password):
        self.password = password.encode()
        self.bare = f"n=,r={base64.b64encode(os.urandom(18)).decode()}"

    def first(self):
        return "n,," + self.bare

    def final(self, server_first):
        fields = dict(field.split("=", 1) for field in server_first.split(","))
        without_proof = f"c=biws,r={fields['r']}"
        key = client_key(self.password, base64.b64decode(fields["s"]), int(fields["i"]))
        signed = ",".join([self.bare, server_first, without_proof]).encode()
        signature = hmac.digest(hashlib.sha256(key).digest(), signed, "sha256")
        return f"{without_proof},p={base64.b64encode(xor(key, signature)).decode()}"


@functools.cache
def client_key(password, salt, rounds):
    """The slow part, which is the same for every login of a user."""
    return hmac.digest(hashlib.pbkdf2_hmac("sha256", password, salt, rounds), b"Client Key", "sha256")
