"""A server at 192.0.2.7 that asks for the password in clear text (PostgreSQL) or for a login that the client encrypts with the server's own key
(MySQL), with the program under test beside it. Says how much it was answered.

Arguments: postgres or mysql, and what is put behind the URL or on the command line."""

import os
import socket
import subprocess
import sys
import threading

scheme, more = sys.argv[1], sys.argv[2:]
ADDRESS = ("192.0.2.7", 5432 if scheme == "postgres" else 3306)
answered = []


def packet(number, body):
    return len(body).to_bytes(3, "little") + bytes([number]) + body


def postgres(peer):
    request = peer.recv(4096)
    # No TLS here.
    if request[4:8] == bytes([0x04, 0xD2, 0x16, 0x2F]):
        peer.sendall(b"N")
        return
    peer.sendall(b"R\0\0\0\x08\0\0\0\x03")
    answered.append(peer.recv(4096))


def mysql(peer):
    greeting = b"\x0a9.7.0\0\x01\0\0\0abcdefgh\0" + bytes([0x08, 0xA2, 45, 2, 0, 0x08, 0, 21]) + bytes(10)
    peer.sendall(packet(0, greeting + b"ijklmnopqrst\0caching_sha2_password\0"))
    peer.recv(4096)
    peer.sendall(packet(2, b"\x01\x04"))
    answered.append(peer.recv(4096))


def serve(listener):
    while True:
        peer, _ = listener.accept()
        with peer:
            peer.settimeout(2)
            try:
                {"postgres": postgres, "mysql": mysql}[scheme](peer)
            except OSError:
                pass


with socket.create_server(ADDRESS) as listener:
    threading.Thread(target=serve, args=[listener], daemon=True).start()
    url = f"{scheme}://app:sesame@{ADDRESS[0]}/shop" + "".join(word for word in more if word.startswith("?"))
    flags = [word for word in more if not word.startswith("?")]
    command = [os.environ["TESTBED"], "wait", url, "--timeout", "3s", "--settle", "500ms", *flags]
    subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
print(f"the server got {sum(map(len, answered))} bytes of an answer", file=sys.stderr)
