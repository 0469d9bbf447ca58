# SPDX-License-Identifier: MIT
"""Usage: downloader_test.py PROGRAM"""

import collections
import http.server
import pathlib
import signal
import subprocess
import sys
import tempfile
import threading
import time

sys.path.append(str(pathlib.Path(__file__).parents[2] / "tests"))
from server_under_test import expect  # noqa: E402

program = sys.argv[1]
asked = collections.Counter()
asked_at = []
now, most = 0, 0
lock = threading.Lock()
gate = threading.Event()


class Pages(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        global now, most
        name = self.path.rpartition("/")[2]
        with lock:
            asked[name] += 1
            asked_at.append(time.monotonic())
            now += 1
            most = max(most, now)
        try:
            self.answer(name)
        except OSError:  # the client has hung up
            pass

    def answer(self, name):
        global now
        status = 404 if name == "none" else 503 if name == "busy" and asked[name] < 3 else 200
        body = name.encode() * 50_000
        self.send_response(status)
        self.send_header("Content-Length", str(len(body) + (name == "cut")))
        self.end_headers()
        if name.startswith("half"):
            self.wfile.write(body[: len(body) // 2])
            self.wfile.flush()
            gate.wait(20)
        elif name == "slow":
            gate.wait(20)
        with lock:
            now -= 1  # before the client can have all, and ask for the next
        self.wfile.write(body if status == 200 else b"")

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        pass


server = Server(("127.0.0.1", 0), Pages)
threading.Thread(target=server.serve_forever, daemon=True).start()
root = f"http://127.0.0.1:{server.server_port}/"


def files(folder):
    return sorted(each.name for each in pathlib.Path(folder).iterdir())


def run(*words, **more):
    return subprocess.run([program, *words], capture_output=True, text=True, timeout=60, check=False, **more)


# All that can become of one, and what is left in the folder.
with tempfile.TemporaryDirectory() as folder:
    urls = [root + path for path in ("a", "other/a", "busy", "none", "slow", "cut")] + ["ftp://x/y"]
    done = run("-j", "4", "-r", "1000", "-t", "0.5", "-o", folder, "-", input="\n".join(urls))
    expect(done.stderr, "")
    expect(done.returncode, 1)
    expect(done.stdout.splitlines(), [
        "     bytes  tries  file",
        "     50000      1  a",
        "     50000      1  2-a",
        "    200000      3  busy",
        "         0      1  none: status 404",
        "         0      3  slow: no answer in time",
        "         0      3  cut: the answer was cut short",
        "         0      0  ftp://x/y: not an http URL",
        "7 files, 4 failed; 300000 bytes"])
    expect(files(folder), ["2-a", "a", "busy"])
    expect((pathlib.Path(folder) / "busy").read_bytes(), b"busy" * 50_000)
    expect(asked["none"], 1)
gate.set()

# So many at once, so many a second: 31 at 100 a second take 0.3 s, and none comes out of turn.
with tempfile.TemporaryDirectory() as folder:
    now, most = 0, 0
    asked_at.clear()
    done = run("-j", "3", "-r", "100", "-o", folder, *(f"{root}{n}" for n in range(31)))
    expect((done.returncode, done.stderr), (0, ""))
    expect(len(files(folder)), 31)
    expect(most <= 3, True)
    expect(asked_at[-1] - asked_at[0] > 0.2, True)

# Ctrl-C: what is not whole is removed, and the table is there.
gate.clear()
for number in (signal.SIGINT, signal.SIGTERM):
    with tempfile.TemporaryDirectory() as folder:
        urls = [root + name for name in ("b", "half", "half2", "c")]
        process = subprocess.Popen([program, "-j", "2", "-r", "1000", "-o", folder, *urls],
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        end = time.monotonic() + 20
        while files(folder) != ["b", "half.part", "half2.part"] and time.monotonic() < end:
            time.sleep(0.005)
        process.send_signal(number)
        out, errors = process.communicate(timeout=20)
        expect(errors, "")
        expect(process.returncode, -number)
        expect(files(folder), ["b"])
        expect(out.splitlines()[1:], ["     50000      1  b", "         0      1  half: interrupted",
                                      "         0      1  half2: interrupted", "         0      0  c: not begun",
                                      "4 files, 3 failed; 50000 bytes"])
gate.set()
