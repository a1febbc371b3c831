"""A client for MySQL and MariaDB that does no more than a login and `SELECT 1`, in one process, within milliseconds.

It exists because the observer has to log in every few milliseconds without weighing on what it watches, and a driver that
starts slowly, or retries on its own, would blur the moment.
https://dev.mysql.com/doc/dev/mysql-server/latest/PAGE_PROTOCOL.html
"""

import hashlib
import socket
import ssl
import struct

LONG_PASSWORD, WITH_DATABASE, PROTOCOL_41, TLS = 0x1, 0x8, 0x200, 0x800
TRANSACTIONS, SECURE_CONNECTION, PLUGINS = 0x2000, 0x8000, 0x80000
CAPABILITIES = LONG_PASSWORD | WITH_DATABASE | PROTOCOL_41 | TRANSACTIONS | SECURE_CONNECTION | PLUGINS
UTF8MB4 = 45
PACKET_LIMIT = 1 << 24

OK, MORE, END, ERROR = 0x00, 0x01, 0xFE, 0xFF
# What follows MORE with caching_sha2_password: the server remembers the password, or wants to see it.
FULL = 0x04
QUIT, QUERY = b"\x01", b"\x03"

SHA2, NATIVE = "caching_sha2_password", "mysql_native_password"


class Refused(Exception):
    """The server did not take the login, and why."""


def tls_context():
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # Encrypted only because the server takes a password that it does not remember in no other way.
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


CONTEXT = tls_context()


class Connection:
    """A connection that is logged in, and the server's `version`."""

    def __init__(self, address, login, limit):
        self.socket = connect(address, limit)
        try:
            greeting = self.receive()
            self.version = greeting[1 : greeting.index(b"\0", 1)].decode()
            self.log_in(*challenge(greeting), login)
        except BaseException:
            self.socket.close()
            raise

    def log_in(self, capabilities, nonce, plugin, login):
        flags = CAPABILITIES
        if plugin == SHA2 and capabilities & TLS:
            flags |= TLS
            self.send(struct.pack("<IIB23x", flags, PACKET_LIMIT, UTF8MB4))
            self.socket = CONTEXT.wrap_socket(self.socket)
        answer = scramble(plugin, login.password, nonce)
        names = [login.database.encode(), plugin.encode(), b""]
        head = struct.pack("<IIB23x", flags, PACKET_LIMIT, UTF8MB4) + login.user.encode() + b"\0"
        self.send(head + bytes([len(answer)]) + answer + b"\0".join(names))
        while (packet := self.receive())[0] != OK:
            if packet[0] == END:
                plugin, nonce = switch(packet)
                self.send(scramble(plugin, login.password, nonce))
            elif packet[:2] == bytes([MORE, FULL]):
                self.send(login.password.encode() + b"\0")

    def select_1(self):
        self.sequence = -1
        self.send(QUERY + b"SELECT 1")
        # The columns end with one of these packets, the rows with another.
        ends = 0
        while ends < 2:
            packet = self.receive()
            ends += packet[0] == END and len(packet) < 9

    def close(self):
        """A proper goodbye: the server counts connections that just vanish against the client's host."""
        self.sequence = -1
        self.send(QUIT)
        self.socket.close()

    def send(self, packet):
        self.sequence = (self.sequence + 1) % 256
        self.socket.sendall(len(packet).to_bytes(3, "little") + bytes([self.sequence]) + packet)

    def receive(self):
        head = read(self.socket, 4)
        self.sequence = head[3]
        packet = read(self.socket, int.from_bytes(head[:3], "little"))
        if packet[0] == ERROR:
            raise Refused(f"error {int.from_bytes(packet[1:3], 'little')}: {packet[3:].decode(errors='replace')}")
        return packet


def connect(address, limit):
    """A socket on which nothing takes longer than the limit, in seconds, and nothing is held back."""
    connected = socket.create_connection(address, limit)
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connected


def read(source, size):
    """This many bytes from a socket."""
    data = b""
    while len(data) < size:
        part = source.recv(size - len(data))
        if not part:
            raise Refused("the server closed the connection")
        data += part
    return data


def challenge(greeting):
    """The server's capabilities, its nonce, and the name of the method that it prefers."""
    rest = greeting[greeting.index(b"\0", 1) + 1 :]
    first, low, high = rest[4:12], rest[13:15], rest[18:20]
    tail = rest[31:]
    return int.from_bytes(low + high, "little"), first + tail[:12], tail[13:].split(b"\0")[0].decode()


def switch(packet):
    """The method that the server asks for instead, and its nonce."""
    name, _, nonce = packet[1:].partition(b"\0")
    return name.decode(), nonce[:20]


def scramble(plugin, password, nonce):
    """The proof of knowing the password, by the given method."""
    if not password:
        return b""
    if plugin == SHA2:
        once = hashlib.sha256(password.encode()).digest()
        return xor(once, hashlib.sha256(hashlib.sha256(once).digest() + nonce).digest())
    if plugin == NATIVE:
        once = hashlib.sha1(password.encode()).digest()
        return xor(once, hashlib.sha1(nonce + hashlib.sha1(once).digest()).digest())
    raise Refused(f"the server wants {plugin}, which this client does not know")


def xor(left, right):
    return bytes(a ^ b for a, b in zip(left, right))
