# SPDX-License-Identifier: MIT
"""Holds fetch to its promises against a real server: nginx on loopback, 1,000 pages, 100 at once.

    python3 nginx_test.py complete FETCH      every page arrives, every byte is accounted for
    python3 nginx_test.py killed FETCH        the server dies half-way: each URL has an answer or an error
    python3 nginx_test.py interrupted FETCH   Ctrl-C half-way: ends by SIGINT within 100 ms

Ends with 77 (skipped) where nginx is not installed. Starts its own nginx in a temporary folder on a free port,
and stops it on every way out.
"""
import contextlib
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

PAGES = 1000
LIMIT = 100

CONFIG = """
daemon off;
master_process off;
{user}
pid {root}/pid;
error_log {root}/error.log;
events {{ worker_connections 1024; }}
http {{
  log_format sizes "$request_uri $status $body_bytes_sent";
  access_log {root}/access.log sizes;
  client_body_temp_path {root}/body;
  proxy_temp_path {root}/proxy;
  fastcgi_temp_path {root}/fastcgi;
  uwsgi_temp_path {root}/uwsgi;
  scgi_temp_path {root}/scgi;
  server {{
    listen 127.0.0.1:{port};
    root {root}/pages;
    {extra}
  }}
}}
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """nginx with its folder; `sizes` has the bytes of each page, by URL."""

    def __init__(self, root, extra=""):
        self.root = pathlib.Path(root)
        (self.root / "pages").mkdir()
        self.port = free_port()
        self.sizes = {}
        for n in range(PAGES):
            size = n * 7919 % 100_000
            (self.root / "pages" / f"{n}.bin").write_bytes(os.urandom(size))
            self.sizes[f"http://127.0.0.1:{self.port}/{n}.bin"] = size
        self.urls = self.root / "urls.txt"
        self.urls.write_text("\n".join(self.sizes) + "\n")
        user = "user root;" if os.getuid() == 0 else ""  # the folder is ours alone
        config = self.root / "nginx.conf"
        config.write_text(CONFIG.format(root=root, port=self.port, user=user, extra=extra))
        self.process = subprocess.Popen([nginx(), "-p", root, "-c", str(config)], stderr=subprocess.DEVNULL)
        wait_until(lambda: self.listens(), "nginx listens")

    def listens(self):
        assert self.process.poll() is None, (self.root / "error.log").read_text()
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True

    def log(self):
        """One (URL, status, bytes) for each request that nginx has answered."""
        file = self.root / "access.log"
        lines = file.read_text().splitlines() if file.exists() else []
        return [(f"http://127.0.0.1:{self.port}{path}", int(status), int(size))
                for path, status, size in (line.split() for line in lines)]

    def kill(self):
        self.process.kill()
        self.process.wait()


@contextlib.contextmanager
def running_server(extra=""):
    with tempfile.TemporaryDirectory() as root:
        server = Server(root, extra)
        try:
            yield server
        finally:
            server.kill()


def nginx():
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")


def wait_until(condition, what, seconds=30):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s in vain until {what}"
        time.sleep(0.005)


def start(fetch, server, *options):
    return subprocess.Popen([fetch, "--limit", str(LIMIT), "--file", str(server.urls), *options],
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def rows(output):
    """{URL: (status or None, bytes, error)}, and the total of bytes that fetch states."""
    found = {}
    for url, status, size, error in re.findall(
            r"^(http\S+) +(\d+|-) +(\d+) +\d+ +\d+(?:  (.*))?$", output, re.MULTILINE):
        assert url not in found, f"two rows for {url}"
        found[url] = (None if status == "-" else int(status), int(size), error)
    total = int(re.search(r"; (\d+) bytes$", output, re.MULTILINE).group(1))
    return found, total


def complete(fetch):
    with running_server() as server:
        process = start(fetch, server)
        output, errors = process.communicate(timeout=120)
        found, total = rows(output)
        assert process.returncode == 0, (process.returncode, errors, output[-500:])
        assert errors == "", errors
        wrong = {url: (found.get(url), size) for url, size in server.sizes.items()
                 if found.get(url) != (200, size, "")}
        assert not wrong and len(found) == PAGES, wrong
        assert total == sum(server.sizes.values()), total
        wait_until(lambda: len(server.log()) == PAGES, "nginx has logged every page")
        assert sorted(server.log()) == sorted((url, 200, size) for url, size in server.sizes.items())
        return f"{PAGES} pages, {total} bytes: {output.splitlines()[-1]}"


def killed(fetch):
    with running_server("limit_rate 50k;") as server:  # slow enough to have a middle
        process = start(fetch, server)
        wait_until(lambda: len(server.log()) >= 100, "100 pages are answered")
        server.kill()
        output, errors = process.communicate(timeout=120)
        found, total = rows(output)
        assert process.returncode == 1, (process.returncode, errors, output[-500:])
        assert set(found) == set(server.sizes), "each URL has a row"
        answered = {url: size for url, (status, size, _) in found.items() if status == 200}
        assert answered == {url: server.sizes[url] for url in answered}, "an answer is a whole answer"
        unclear = {url: row for url, row in found.items() if url not in answered and (row[0], row[1]) != (None, 0) or
                   url not in answered and not row[2]}
        assert not unclear, unclear
        assert total == sum(answered.values()), total
        assert 100 <= len(answered) < PAGES, len(answered)
        reasons = {re.sub(r"\d+", "N", row[2]) for url, row in found.items() if url not in answered}
        return f"{len(answered)} answered, the others: {sorted(reasons)}"


def interrupted(fetch):
    # A sanitizer makes everything slower; nobody waits for that Ctrl-C.
    bound = 2.0 if re.search(rb"__[at]san_init", pathlib.Path(fetch).read_bytes()) else 0.1
    with running_server("limit_rate 50k;") as server:
        process = start(fetch, server)
        wait_until(lambda: len(server.log()) >= 100, "100 pages are answered")
        watchdog = threading.Timer(60, process.kill)  # wait(timeout) would poll, and blur the time
        watchdog.start()
        begin = time.monotonic()
        process.send_signal(signal.SIGINT)
        process.wait()
        took = time.monotonic() - begin
        watchdog.cancel()
        output, errors = process.communicate()
        assert process.returncode == -signal.SIGINT, (process.returncode, errors)
        assert errors == "", errors  # a sanitizer's report would be here
        assert took < bound, f"took {took:.3f} s"
        return f"ended by SIGINT after {took * 1000:.1f} ms"


if __name__ == "__main__":
    if not nginx():
        print("skipped: nginx is not installed (Debian: apt-get install nginx-light)")
        sys.exit(77)
    case, fetch = sys.argv[1:]
    print({"complete": complete, "killed": killed, "interrupted": interrupted}[case](fetch))
