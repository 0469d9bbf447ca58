# SPDX-License-Identifier: MIT
"""Starts an example that serves, and connects to it."""

import re
import signal
import socket
import subprocess
import sys


class Server:
    def __init__(self, program, *options):
        self.process = subprocess.Popen([program, *options, "0"],
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        self.port = int(re.fullmatch(r"serving on 127\.0\.0\.1:(\d+)\n", line)[1])

    def connect(self):
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=20)
        connection.settimeout(20)
        return connection

    def interrupt(self):
        self.process.send_signal(signal.SIGINT)

    def wait(self, ended_by=signal.SIGINT):
        """It was ended by that signal, and had nothing to say."""
        out, errors = self.process.communicate(timeout=20)
        expect(out, "")
        expect(errors, "")
        expect(self.process.returncode, -ended_by)


def expect(got, wanted):
    if got != wanted:
        sys.exit(f"got {got!r} in place of {wanted!r}")
