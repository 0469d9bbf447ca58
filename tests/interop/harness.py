# SPDX-License-Identifier: MIT
"""What the scripts beside this one share: programs that they start and end, ports, descriptors, and what they report.

    with Program([example("echo_server"), str(port)]) as server:
        wait_for_port(port)
        check("two lines come back in order", talk(port) == b"one\\ntwo\\n")

Each script starts real servers and clients from Debian's packages on the loopback interface, or an example of this
repository between them, and ends all of them. It runs with the build folder as its argument and ends with
"N passed, N failed" and status 1 if something failed. "--long" repeats it with the large numbers.
"""

import argparse
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

_passed = 0
_failed = 0


def arguments():
    """What the script was called with: .build (a folder), .long"""
    parser = argparse.ArgumentParser()
    parser.add_argument("build", type=pathlib.Path, help="a build folder with the examples in it")
    parser.add_argument("--long", action="store_true", help="the large numbers, too")
    given = parser.parse_args()
    given.build = given.build.resolve()  # some go elsewhere
    return given


def example(build, name):
    return str(build / "examples" / name / name)


def needs(*programs):
    """Ends the script with status 77, which CTest takes for skipped, where one of the programs is missing."""
    missing = [each for each in programs if shutil.which(each, path=os.environ["PATH"] + ":/usr/sbin") is None]
    if missing:
        print("left out, not installed:", *missing)
        sys.exit(77)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for_port(port, host="127.0.0.1", seconds=20):
    end = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection((host, port), 1).close()
            return
        except OSError:
            if time.monotonic() > end:
                raise TimeoutError(f"nobody listens on port {port} after {seconds} s") from None
            time.sleep(0.02)


def descriptors(pid):
    """How many descriptors a process has open"""
    return len(os.listdir(f"/proc/{pid}/fd"))


def settled_descriptors(pid):
    """The same, when it has not changed for half a second: a connection that was tried is gone then"""
    count = descriptors(pid)
    since = time.monotonic()
    while time.monotonic() < since + 0.5:
        time.sleep(0.05)
        if descriptors(pid) != count:
            count = descriptors(pid)
            since = time.monotonic()
    return count


def threads(pid):
    return len(os.listdir(f"/proc/{pid}/task"))


def resident(pid):
    """Memory of a process in bytes, without what it shares with others"""
    for line in open(f"/proc/{pid}/smaps_rollup"):
        if line.startswith("Private_Dirty:"):
            return int(line.split()[1]) * 1024
    return 0


def eventually(condition, seconds=10):
    """Whether the condition becomes true within the time"""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


class Program(subprocess.Popen):
    """A process that is ended, and waited for, where its block is left: SIGTERM, and SIGKILL after five seconds"""

    def __init__(self, command, **options):
        options.setdefault("stdin", subprocess.DEVNULL)
        options.setdefault("start_new_session", True)
        super().__init__(command, **options)

    def __exit__(self, *error):
        if self.poll() is None:
            self.send_signal(signal.SIGTERM)
            try:
                self.wait(5)
            except subprocess.TimeoutExpired:
                os.killpg(self.pid, signal.SIGKILL)
        super().__exit__(*error)


class Peer(Program):
    """tests/interop/peer.cpp that serves, and the lines that it says"""

    def __init__(self, build, *addresses_and_talks):
        super().__init__([peer_program(build), "serve", *addresses_and_talks], stdout=subprocess.PIPE, text=True)
        self.said = []
        if self.stdout.readline() != "serving\n":
            raise RuntimeError("it does not serve: " + " ".join(addresses_and_talks))
        threading.Thread(target=lambda: self.said.extend(self.stdout), daemon=True).start()

    def has_said(self, *parts):
        return any(all(part in line for part in parts) for line in self.said)


def peer_program(build):
    return str(build / "tests" / "aio_peer")


def check(sentence, holds, detail=""):
    """Of what holds only a short detail is printed."""
    global _passed, _failed
    if holds:
        _passed += 1
        if "\n" in str(detail):
            detail = ""
    else:
        _failed += 1
    print("ok:    " if holds else "FAILED:", sentence, f"({detail})" if detail != "" else "", flush=True)


def finish():
    print(f"{_passed} passed, {_failed} failed")
    sys.exit(1 if _failed else 0)
