#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The system calls of the echo (W9), per message there and back, by name: strace -f -c.

    bench/syscalls.py                   1 and 100 connections
    bench/syscalls.py --connections 10
    bench/syscalls.py --instructions    also user instructions, by callgrind

As callgrind's instructions, they are the difference of two runs, so that start-up and connecting do not count.
"recvfrom (failed)" found nothing: Asio tries to read before it waits. What was tried against it is in
docs/performance.md.
"""

import collections
import os
import pathlib
import re
import tempfile

import measure

VARIANTS = ("aio", "aio+epoll", "callbacks", "awaitable", "epoll")


def counted(program, variant, messages, connections):
    handle, output = tempfile.mkstemp()
    os.close(handle)
    try:
        measure.checked(["strace", "-f", "-c", "-o", output, program.path, "W9", variant, messages, "--connections",
                         connections])
        return parsed(pathlib.Path(output).read_text())
    finally:
        os.unlink(output)


def parsed(text):
    """What strace -c wrote: name -> calls, and "name (failed)" -> those with an error."""
    calls = collections.Counter()
    for line in text.splitlines():
        # % time, seconds, usecs/call, calls, errors or nothing, name
        found = re.match(r"\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)\s+(?:(\d+)\s+)?(\w+)$", line)
        if found and found.group(3) != "total":
            name = found.group(3)
            failed = int(found.group(2) or 0)
            calls[name] += int(found.group(1)) - failed
            if failed:
                calls[f"{name} (failed)"] += failed
    return calls


def two_runs(connections):
    few, many = 10 * connections + 1000, 60 * connections + 5000
    return few // connections * connections, many // connections * connections


def per_message(program, variant, connections):
    few, many = two_runs(connections)
    before, after = (counted(program, variant, count, connections) for count in (few, many))
    return {name: (after[name] - before[name]) / (many - few) for name in after}


def main():
    parser = measure.parser(__doc__)
    parser.add_argument("--connections", type=int, action="append", help="default: 1 and 100")
    parser.add_argument("--instructions", action="store_true", help="also user instructions")
    given = parser.parse_args()
    with measure.ends_when_failed():
        measure.require("strace")
        program = measure.Program(given.program)
        if given.instructions:
            measure.require("valgrind")
        for connections in given.connections or (1, 100):
            found, instructions = {}, []
            for variant in VARIANTS:
                measure.progress(f"{connections} connections, {variant}")
                found[variant] = per_message(program, variant, connections)
                if given.instructions:
                    count = program.instructions("W9", variant, two_runs(connections), "--connections", connections)
                    instructions.append(f"{count:,.0f}")
            measure.progress("")
            names = sorted({name for calls in found.values() for name, share in calls.items() if share >= 0.0005})
            rows = [[name, *(f"{found[variant].get(name, 0):.3f}" for variant in VARIANTS)] for name in names]
            rows.append(["all", *(f"{sum(found[variant].values()):.3f}" for variant in VARIANTS)])
            if given.instructions:
                rows.append(["instructions", *instructions])
            print(measure.table(rows, [f"{connections} connection{'s' * (connections > 1)}", *VARIANTS]) + "\n")


if __name__ == "__main__":
    main()
