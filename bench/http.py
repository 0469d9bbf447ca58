#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Requests per second of a small HTTP server in aio, in callbacks and in asio::awaitable, by wrk; where that is not
there by Python, which asks less often.

    bench/http.py                                100 connections, three times three seconds
    bench/http.py --connections 1000 --seconds 10

The server has one thread, who asks another; the variants take turns. "CPU ns" is what the server's process took per
request.
"""

import json
import re
import select
import shutil
import signal
import socket
import statistics
import subprocess
import time

import measure

REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
VARIANTS = ("aio", "callbacks", "awaitable")


def by_wrk(port, connections, seconds):
    done = measure.checked(["wrk", "-t1", f"-c{connections}", f"-d{seconds}", f"http://127.0.0.1:{port}/"])
    found = re.search(r"Requests/sec: *([\d.]+)", done.stdout)
    if not found or "Non-2xx" in done.stdout or "Socket errors" in done.stdout:
        raise measure.Failed(f"wrk:\n{done.stdout}")
    return float(found.group(1))


def by_python(port, connections, seconds):
    clients = {}
    ready = select.epoll()
    for _ in range(connections):
        client = socket.create_connection(("127.0.0.1", port))
        clients[client.fileno()] = client
        ready.register(client, select.EPOLLIN)
        client.send(REQUEST)
    answers = 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for descriptor, _ in ready.poll():
            if not clients[descriptor].recv(4096).startswith(b"HTTP/1.1 200 OK"):
                raise measure.Failed("an answer was not 200 OK")
            clients[descriptor].send(REQUEST)
            answers += 1
    for client in clients.values():
        client.close()
    return answers / seconds


def driven(program, variant, connections, seconds):
    """Requests per second, and what the server says of itself."""
    server = subprocess.Popen([program.path, "http", variant], stdout=subprocess.PIPE, text=True)
    try:
        port = json.loads(server.stdout.readline())["port"]
        rate = (by_wrk if shutil.which("wrk") else by_python)(port, connections, seconds)
        server.send_signal(signal.SIGTERM)
        return rate, json.loads(server.communicate(timeout=30)[0])
    finally:
        server.kill()
        server.wait()


def main():
    parser = measure.parser(__doc__)
    parser.add_argument("--connections", type=int, default=100)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--repeat", type=int, default=3)
    given = parser.parse_args()
    with measure.ends_when_failed():
        program = measure.Program(given.program)
        runs = {variant: [] for variant in VARIANTS}
        for _, (variant,) in measure.in_turns(given.repeat, [(variant,) for variant in VARIANTS]):
            runs[variant].append(driven(program, variant, given.connections, given.seconds))
    rows = []
    for variant, found in runs.items():
        rates = [rate for rate, _ in found]
        costs = [server["cpu_ns"] for _, server in found]
        rows.append([variant, f"{statistics.median(rates):,.0f}", f"{max(rates):,.0f}", f"{min(costs):,.0f}",
                     f"{found[0][1]['allocations']:.3f}"])
    print(measure.table(rows, [f"{given.connections} connections", "requests/s", "most", "CPU ns", "allocs"]))


if __name__ == "__main__":
    main()
