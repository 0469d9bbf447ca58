# SPDX-License-Identifier: MIT
"""Usage: echo_test.py PROGRAM"""

import pathlib
import socket
import subprocess
import sys
import threading

sys.path.append(str(pathlib.Path(__file__).parents[2] / "tests"))
from server_under_test import Server, expect  # noqa: E402

server = Server(sys.argv[1])

# Many at once, each a line at a time.
clients = [server.connect() for _ in range(50)]
for round in range(3):
    for number, client in enumerate(clients):
        client.sendall(f"{number} in round {round}\n".encode())
    for number, client in enumerate(clients):
        expect(client.makefile().readline(), f"{number} in round {round}\n")
for client in clients:
    client.close()

# Much at once, by one that reads only when all is sent, and sends its end.
much = bytes(range(256)) * 40_000
client = server.connect()


def send():
    client.sendall(much)
    client.shutdown(socket.SHUT_WR)


sender = threading.Thread(target=send)
sender.start()
got = b"".join(iter(lambda: client.recv(1 << 20), b""))
sender.join()
expect(got == much, True)

# A port that is taken is said to be.
second = subprocess.run([sys.argv[1], str(server.port)], capture_output=True, text=True, timeout=20)
expect(second.returncode, 1)
expect(f"127.0.0.1:{server.port}: Address already in use" in second.stderr, True)

# Ctrl-C, with a client that does nothing.
idle = server.connect()
idle.sendall(b"x")
expect(idle.recv(1), b"x")
server.interrupt()
expect(idle.recv(1), b"")
server.wait()
