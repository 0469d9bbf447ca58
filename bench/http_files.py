#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""One small file by HTTP under wrk: examples/http_server beside callbacks of Asio with the same parser, and nginx with
one worker.

    cmake --preset bench -D AIO_BUILD_EXAMPLES=ON
    cmake --build build/bench --target aio.example.http_server http_callbacks
    bench/http_files.py              1, 100 and 1,000 connections, three times three seconds each
    bench/http_files.py --calls      also system calls per request, as perf counts them; strace is too slow for that:
                                     every request would be there before it is looked for

Each server has one thread, and so has wrk; they take turns. "CPU µs" is what the server's process took per request,
the least of all runs. nginx keeps the file open (open_file_cache), as http_server keeps it in memory: both look every
second whether it has changed.
"""

import collections
import os
import pathlib
import re
import signal
import socket
import statistics
import subprocess
import tempfile
import time

import measure

CALLS = ("recvfrom", "recvmsg", "sendto", "sendmsg", "writev", "sendfile64", "setsockopt", "epoll_wait", "epoll_ctl",
         "futex", "clock_nanosleep", "timerfd_settime")
BUILD = measure.DEFAULT_PROGRAM.parents[1]
NGINX = """
daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 1000000000; sendfile on; tcp_nopush on; types {{ text/html html; }}
  open_file_cache max=1000; open_file_cache_valid 1s;
  client_body_temp_path {folder}/1; proxy_temp_path {folder}/2; fastcgi_temp_path {folder}/3;
  uwsgi_temp_path {folder}/4; scgi_temp_path {folder}/5;
  server {{ listen 127.0.0.1:{port} backlog=1024; root {folder}/files; }}
}}
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    def __init__(self, command, port, folder):
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=folder)
        end = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                if self.process.poll() is not None or time.monotonic() > end:
                    raise measure.Failed(f"{command[0]} does not serve") from None
                time.sleep(0.02)

    def __enter__(self):
        return self.process.pid

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()


def cpu_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def wrk(port, connections, seconds):
    """How many requests were answered, and how many in a second."""
    done = measure.checked(["wrk", "-t1", f"-c{connections}", f"-d{seconds}", f"http://127.0.0.1:{port}/file.html"])
    requests = re.search(r"(\d+) requests in", done.stdout)
    rate = re.search(r"Requests/sec: *([\d.]+)", done.stdout)
    if not requests or not rate or "Non-2xx" in done.stdout or "Socket errors" in done.stdout:
        raise measure.Failed(f"wrk:\n{done.stdout}")
    return int(requests[1]), float(rate[1])


def driven(command, port, folder, connections, seconds):
    with Server(command, port, folder) as pid:
        wrk(port, connections, 1)  # everything has its memory then
        before = cpu_seconds(pid)
        requests, rate = wrk(port, connections, seconds)
        return rate, (cpu_seconds(pid) - before) / requests * 1e6


def calls(command, port, folder, connections, seconds):
    """System calls per request."""
    events = ",".join(f"syscalls:sys_enter_{each}" for each in CALLS)
    with Server(command, port, folder) as pid:
        wrk(port, connections, 1)
        counter = subprocess.Popen(["perf", "stat", "-x", ",", "-e", events, "-p", str(pid)], stderr=subprocess.PIPE,
                                   text=True)
        time.sleep(0.5)
        requests, _ = wrk(port, connections, seconds)
        counter.send_signal(signal.SIGINT)
        counted = re.findall(r"^(\d+),.*sys_enter_(\w+)", counter.communicate()[1], re.MULTILINE)
        if not counted:
            raise measure.Failed("perf counted nothing: it has to be allowed to (root)")
        return {name: int(count) / requests for count, name in counted}


def main():
    parser = measure.argparse.ArgumentParser(description=__doc__,
                                             formatter_class=measure.argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--http-server", type=pathlib.Path, default=BUILD / "examples" / "http_server" / "http_server")
    parser.add_argument("--callbacks", type=pathlib.Path, default=BUILD / "bench" / "http_callbacks")
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 100, 1000])
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--calls", action="store_true")
    given = parser.parse_args()
    with measure.ends_when_failed(), tempfile.TemporaryDirectory() as folder:
        for tool in ["wrk", "nginx"] + ["perf"] * given.calls:
            measure.require(tool)
        files = pathlib.Path(folder, "files")
        files.mkdir()
        files.joinpath("file.html").write_text("x" * 612)
        port = free_port()
        pathlib.Path(folder, "nginx.conf").write_text(NGINX.format(folder=folder, port=port))
        servers = {
            "http_server": [given.http_server.resolve(), files, port],
            "callbacks": [given.callbacks.resolve(), files / "file.html", port],
            "nginx": ["nginx", "-c", f"{folder}/nginx.conf", "-e", f"{folder}/error.log"],
        }
        commands = {name: [str(part) for part in command] for name, command in servers.items()}
        runs = collections.defaultdict(list)
        cases = [(connections, name) for connections in given.connections for name in commands]
        for _, case in measure.in_turns(given.repeat, cases):
            runs[case].append(driven(commands[case[1]], port, folder, case[0], given.seconds))
        rows = []
        for (connections, name), found in runs.items():
            row = [f"{connections:,}", name, f"{statistics.median(rate for rate, _ in found):,.0f}",
                   f"{min(cost for _, cost in found):.1f}"]
            if given.calls:
                counts = calls(commands[name], port, folder, connections, given.seconds)
                often = ", ".join(f"{call} {count:.2f}" for call, count in counts.items() if count >= 0.01)
                row.append(f"{sum(counts.values()):.2f}: {often}")
            rows.append(row)
    print(measure.table(rows, ["connections", "server", "requests/s", "CPU µs"] + ["calls"] * given.calls, left=2))


if __name__ == "__main__":
    main()
