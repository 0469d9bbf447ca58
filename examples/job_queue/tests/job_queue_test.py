# SPDX-License-Identifier: MIT
"""Usage: job_queue_test.py PROGRAM"""

import pathlib
import signal
import socket
import struct
import sys

sys.path.append(str(pathlib.Path(__file__).parents[2] / "tests"))
from server_under_test import Server, expect  # noqa: E402


class Client:
    def __init__(self, server):
        self.connection = server.connect()
        self.lines = self.connection.makefile()

    def say(self, line):
        self.connection.sendall(line.encode() + b"\n")

    def read(self):
        return self.lines.readline().rstrip("\n")

    def ask(self, line):
        self.say(line)
        return self.read()

    def wait_until(self, number, state):
        while self.ask(f"state {number}") != f"{number} {state}":
            pass

    def vanish(self):
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.lines.close()
        self.connection.close()


def drained(server, *said):
    out, errors = server.process.communicate(timeout=20)
    expect(out.splitlines(), list(said))
    expect(errors, "")


# Priorities: one worker, which is busy with the first until that has taken too long.
server = Server(sys.argv[1], "-w", "1", "-t", "0.5")
ann = Client(server)
expect(ann.ask("run 1 exec sleep 1000"), "1 queued")
ann.wait_until(1, "running")
for number, line in enumerate(("run 9 echo last", "run 1 echo urgent", "run 5 echo next", "run 5 echo next, too"), 2):
    expect(ann.ask(line), f"{number} queued")
expect(ann.ask("state 2"), "2 queued")
expect(ann.ask("wait 1"), "1 failed took too long")
expect(ann.ask("wait 2"), "2 done 0 last")  # and so are all of the others
for number, output in ((3, "urgent"), (4, "next"), (5, "next, too")):
    expect(ann.ask(f"state {number}"), f"{number} done 0 {output}")

# What goes wrong is told.
expect(ann.ask("nonsense"), "error: run PRIORITY COMMAND, primes PRIORITY N, state ID, or wait ID")
expect(ann.ask("wait 1000"), "error: no such job, or no such verb")
expect(ann.ask("x" * 100_000), "error: the line is too long")
expect(ann.ask("run 1 echo out; echo error >&2; exit 3"), "6 queued")
expect(ann.ask("wait 6"), "6 done 3 out\\nerror")
expect(ann.ask("run 1 kill -9 $$"), "7 queued")
expect(ann.ask("wait 7"), "7 done -9")
expect(ann.ask("run 1 yes"), "8 queued")  # no more than 4096 bytes of it
answer = ann.ask("wait 8")
expect(answer[:12], "8 done -9 y\\")
expect(answer.count("y"), 2048)
expect(ann.ask("primes 1 1000"), "9 queued")
expect(ann.ask("wait 9"), "9 done 0 168")
expect(ann.ask("primes 1 2000000000"), "10 queued")  # a thread is asked to stop
expect(ann.ask("wait 10"), "10 failed took too long")

# Clients that vanish: one that waits, one in the middle of a line, one of too long a line.
bob = Client(server)
expect(bob.ask("run 1 sleep 0.2; echo kept"), "11 queued")
bob.say("wait 11")
bob.vanish()
for rest in (b"run 1 ech", b"x" * 100_000):
    carol = Client(server)
    carol.connection.sendall(rest)
    carol.vanish()
expect(ann.ask("wait 11"), "11 done 0 kept")

# SIGTERM: what is there is done, who waits is told, nothing else is taken.
expect(ann.ask("run 1 sleep 0.3; echo one"), "12 queued")
ann.wait_until(12, "running")
expect(ann.ask("run 1 echo two"), "13 queued")
dave = Client(server)
dave.say("wait 13")
server.process.send_signal(signal.SIGTERM)
expect(server.process.stdout.readline(), "draining: 2 left\n")
expect(ann.ask("run 1 echo three"), "error: shutting down")
expect(dave.read(), "13 done 0 two")
expect(ann.ask("state 12"), "12 done 0 one")
ann.vanish()
dave.vanish()
drained(server, "all are done")
expect(server.process.returncode, 0)

# What takes too long at the end is killed, and who waits is told that, too.
server = Server(sys.argv[1], "-w", "1", "-d", "0.2")
ann, bob = Client(server), Client(server)
expect(ann.ask("run 1 exec sleep 1000"), "1 queued")
expect(ann.ask("run 1 echo never"), "2 queued")
ann.say("wait 1")
bob.say("wait 2")
server.process.send_signal(signal.SIGTERM)
expect(ann.read(), "1 cancelled")
expect(bob.read(), "2 cancelled")
ann.vanish()
bob.vanish()
drained(server, "draining: 2 left", "the others were cancelled")
expect(server.process.returncode, 0)

# A second signal does not wait for them.
server = Server(sys.argv[1])
ann = Client(server)
expect(ann.ask("run 1 exec sleep 1000"), "1 queued")
ann.say("wait 1")
server.interrupt()
expect(server.process.stdout.readline(), "draining: 1 left\n")
server.interrupt()
expect(ann.read(), "1 cancelled")
ann.vanish()
drained(server, "the others were cancelled")
expect(server.process.returncode, 0)
