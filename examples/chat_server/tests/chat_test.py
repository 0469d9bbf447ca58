# SPDX-License-Identifier: MIT
"""Usage: chat_test.py PROGRAM"""

import pathlib
import signal
import socket
import sys

sys.path.append(str(pathlib.Path(__file__).parents[2] / "tests"))
from server_under_test import Server, expect  # noqa: E402

server = Server(sys.argv[1])


class Member:
    def __init__(self, name):
        self.connection = server.connect()
        self.lines = self.connection.makefile()
        expect(self.read(), "* what is your name?")
        self.say(name)

    def say(self, line):
        self.connection.sendall(line.encode() + b"\n")

    def read(self):
        return self.lines.readline().rstrip("\n")


ada = Member("ada")
ada.say("is anybody here?")
expect(ada.read(), "ada: is anybody here?")  # so she is in the room
bob = Member("bob")
expect(ada.read(), "* bob is here")
bob.say("hello")
expect(ada.read(), "bob: hello")
expect(bob.read(), "bob: hello")

# Who leaves, and who is gone at once.
carol = Member("carol")
expect(ada.read(), "* carol is here")
expect(bob.read(), "* carol is here")
carol.connection.shutdown(socket.SHUT_WR)
expect(ada.read(), "* carol has left")
expect(bob.read(), "* carol has left")
expect(carol.read(), "")

# Names are one's own, and may change.
erin = Member("ada")
expect(erin.read(), "* that name is taken, or none: what is yours?")
erin.say("")
expect(erin.read(), "* that name is taken, or none: what is yours?")
erin.say("erin")
expect([ada.read(), bob.read()], ["* erin is here"] * 2)
erin.say("/name bob")
expect(erin.read(), "* that name is taken")
erin.say("/name eve")
expect([ada.read(), bob.read(), erin.read()], ["* erin is now eve"] * 3)
Member("erin").say("/quit")  # that one is free again
expect([each.read() for each in (ada, bob, erin) for _ in range(2)], ["* erin is here", "* erin has left"] * 3)

# Rooms.
erin.say("/join kitchen")
expect([ada.read(), bob.read()], ["* eve has left"] * 2)
erin.say("is it warm?")
expect(erin.read(), "eve: is it warm?")
bob.say("/join kitchen")
expect([ada.read(), erin.read()], ["* bob has left", "* bob is here"])
bob.say("it is")
expect([bob.read(), erin.read()], ["bob: it is"] * 2)
erin.say("/who")
expect(sorted([erin.read(), erin.read()]), ["* bob is in kitchen", "* eve is in kitchen"])

# Too long a line is not heard by anybody, and ends nothing.
erin.say("x" * 100_000)
expect(erin.read(), "* that line is too long")
erin.say("/quit")
expect(erin.read(), "")
expect(bob.read(), "* eve has left")
bob.say("/join lobby")
expect(ada.read(), "* bob is here")

# Who does not read is dropped, and holds nobody up.
dave = Member("dave")
expect(ada.read(), "* dave is here")
expect(bob.read(), "* dave is here")
dropped = False
for number in range(20_000):
    line = f"{number} " + "x" * 2000
    ada.say(line)
    heard = [ada.read(), bob.read()]
    while heard[0] == "* dave was too slow":
        dropped = True
        heard = [heard[1], ada.read()] if heard[1] != "* dave was too slow" else [ada.read(), bob.read()]
    if dropped:
        break
expect(dropped, True)
try:
    while dave.connection.recv(1 << 20):
        pass
    expect("the end", "a reset")
except ConnectionResetError:
    pass

# Ctrl-C.
eve = Member("eve")
server.interrupt()
last = []
while line := bob.read():
    last.append(line)
expect(last[-1] if last[-1] != "* ada has left" else last[-2], "* goodbye")
server.wait()

# SIGTERM.
server = Server(sys.argv[1])
ann = Member("ann")
ann.say("/who")
expect(ann.read(), "* ann is in lobby")
server.process.send_signal(signal.SIGTERM)
expect([ann.read(), ann.read()], ["* goodbye", ""])
server.wait(signal.SIGTERM)
