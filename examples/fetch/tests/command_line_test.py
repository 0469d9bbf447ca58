# SPDX-License-Identifier: MIT
"""Addresses from arguments, files and standard input; exit statuses; mistakes in the command line;
signals during the demonstration; the progress line.

    python3 command_line_test.py FETCH
"""
import http.server
import os
import pty
import signal
import subprocess
import sys
import tempfile
import threading


class Pages(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body = b"" if self.path == "/missing" else self.path.encode()
        self.send_response(404 if self.path == "/missing" else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


def run(*arguments, text=""):
    done = subprocess.run([sys.argv[1], *arguments], input=text, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout, done.stderr


def rows(output):
    """The columns url, status, bytes and the error of each row."""
    found = [line.split(maxsplit=5) for line in output.split("\n\n")[0].splitlines()[1:]]
    return [(row[0], row[1], int(row[2]), *row[5:]) for row in found]


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pages)
threading.Thread(target=server.serve_forever, daemon=True).start()
site = f"http://127.0.0.1:{server.server_port}"

# Arguments, a file and standard input, in the order given.
with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
    file.write(f"# a comment\n{site}/two\n\n{site}/three\r\n")
    file.flush()
    expected = [(f"{site}/{page}", "200", len(page) + 1) for page in ("one", "two", "three", "four")]
    for option in (["@" + file.name], ["--file", file.name]):
        status, output, errors = run(f"{site}/one", *option, "-", text=f"{site}/four\n")
        assert (status, rows(output), errors) == (0, expected, ""), (status, output, errors)

# A page that is not there, and a server that is not there.
status, output, errors = run("--retries", "0", f"{site}/missing", "http://127.0.0.1:1/", "no-such-scheme://x/")
assert (status, errors) == (1, ""), (status, output, errors)
missing, refused, scheme = rows(output)
assert missing == (f"{site}/missing", "404", 0), missing
assert refused[1:3] == ("-", 0) and "connect" in refused[3], refused
assert scheme[1:3] == ("-", 0) and "not supported" in scheme[3], scheme

# Mistakes end with 2 and a sentence, before anything is fetched.
for arguments, sentence in {
    ("--limit", "0"): "--limit cannot be 0",
    ("--limit", "many"): "--limit cannot be many",
    ("--timeout",): "--timeout needs a value",
    ("--retries", "-1"): "--retries cannot be -1",
    ("--speed", "9"): "unknown option --speed",
    ("@/no/such/file",): "cannot read /no/such/file",
}.items():
    status, output, errors = run(*arguments)
    assert (status, output) == (2, "") and errors.startswith(f"fetch: {sentence} ("), (arguments, status, errors)

status, output, errors = run("--help")
assert (status, errors) == (0, "") and output.startswith("usage: fetch"), (status, output, errors)

# A terminal gets a progress line. Ctrl-C then ends client and server, wipes the line and leaves no table.
for number in signal.SIGINT, signal.SIGTERM:
    try:
        ours, terminal = pty.openpty()
    except OSError as error:
        print(f"the progress line is not looked at: {error}")
        sys.exit(77)
    process = subprocess.Popen([sys.argv[1]], stdout=subprocess.PIPE, stderr=terminal, text=True)
    os.close(terminal)
    shown = b""
    while b"10 on their way" not in shown:
        shown += os.read(ours, 1000)
    process.send_signal(number)
    output, _ = process.communicate(timeout=60)
    shown += os.read(ours, 1000)
    assert (process.returncode, output) == (-number, ""), (process.returncode, output)
    assert b"/100 done" in shown and shown.endswith(b"\r\x1b[K"), shown
