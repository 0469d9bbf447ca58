#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Requests per second of a small HTTP server in aio, in callbacks and in asio::awaitable, by wrk.

    bench/http.py                                100 connections, three times three seconds
    bench/http.py --connections 1000 --seconds 10

The server has one thread, wrk another; the variants take turns. "CPU ns" is what the server's process took per request.
"""

import argparse
import json
import pathlib
import re
import shutil
import signal
import statistics
import subprocess
import sys

import measure

VARIANTS = ("aio", "callbacks", "awaitable")


def driven(program, variant, connections, seconds):
    """Requests per second, and what the server says of itself."""
    server = subprocess.Popen([program.path, "http", variant], stdout=subprocess.PIPE, text=True)
    try:
        port = json.loads(server.stdout.readline())["port"]
        done = measure.checked(["wrk", "-t1", f"-c{connections}", f"-d{seconds}", f"http://127.0.0.1:{port}/"])
        found = re.search(r"Requests/sec: *([\d.]+)", done.stdout)
        if not found or "Non-2xx" in done.stdout or "Socket errors" in done.stdout:
            raise measure.Failed(f"wrk:\n{done.stdout}")
        server.send_signal(signal.SIGTERM)
        return float(found.group(1)), json.loads(server.communicate(timeout=30)[0])
    finally:
        server.kill()
        server.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--connections", type=int, default=100)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--program", type=pathlib.Path, default=measure.DEFAULT_PROGRAM, help="aio_bench")
    given = parser.parse_args()
    if not shutil.which("wrk"):
        sys.exit("http.py: wrk is not there, so nothing was measured (Debian: apt-get install wrk)")
    try:
        program = measure.Program(given.program)
        runs = {variant: [] for variant in VARIANTS}
        for turn in range(given.repeat):
            for variant in VARIANTS:
                measure.progress(f"run {turn + 1} of {given.repeat}: {variant}")
                runs[variant].append(driven(program, variant, given.connections, given.seconds))
        measure.progress("")
    except measure.Failed as e:
        measure.progress("")
        sys.exit(f"http.py: {e}")
    rows = []
    for variant, found in runs.items():
        rates = [rate for rate, _ in found]
        costs = [server["cpu_ns"] for _, server in found]
        rows.append([variant, f"{statistics.median(rates):,.0f}", f"{max(rates):,.0f}", f"{min(costs):,.0f}",
                     f"{found[0][1]['allocations']:.3f}"])
    print(measure.table(rows, [f"{given.connections} connections", "requests/s", "most", "CPU ns", "allocs"]))


if __name__ == "__main__":
    main()
