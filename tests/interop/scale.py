#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Many connections and processes at once, cancelled connects, and peers that mean no good: what is left of them.

tests/interop/scale.cpp says what each of it is. It counts, and compares, in its own process.
"""

import os
import pathlib
import random
import resource
import subprocess
import time

from harness import Program, arguments, check, finish

given = arguments()
program = given.build / "tests" / "aio_scale"
if not pathlib.Path(program).exists():
    print("left out, not built:", program)
    raise SystemExit(77)

_, most = resource.getrlimit(resource.RLIMIT_NOFILE)
# What malloc keeps for a thread counts as in use, and changes.
environment = {**os.environ, "GLIBC_TUNABLES": "glibc.malloc.tcache_count=0"}


def start(*words, limit=most):
    def begin():
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))

    began = time.monotonic()
    program_started = Program([program, *map(str, words)], stdout=subprocess.PIPE, text=True, env=environment,
                              preexec_fn=begin)
    return program_started, words, began


def judge(started):
    process, words, began = started
    title = " ".join(map(str, words))
    with process:
        try:
            said, _ = process.communicate(timeout=600 if given.long else 60)
        except subprocess.TimeoutExpired:
            process.kill()
            said, _ = process.communicate()
    print(f"{title}, after {time.monotonic() - began:.1f} s:")
    for line in said.splitlines():
        if line.startswith("ok: "):
            check(line[4:], True)
        elif line.startswith("FAILED: "):
            check(line[8:], False)
        else:
            print(line)
    check(f"{title}: ends by itself, with status 0", process.returncode == 0, process.returncode)


# Most of its time it waits for threads that looked up names, which end after five seconds without work.
cancelled = start("cancelled", 500, 1)
judge(start("connections", 500))
judge(start("connections", 500, limit=700))  # the clients in another process
judge(start("processes", 50, 10))
judge(start("resets", 20))
judge(start("slow", 200))
judge(start("deaf", 30))
judge(cancelled)

if given.long:
    judge(start("connections", 10_000))
    judge(start("processes", 1_000, 100))
    judge(start("cancelled", 10_000, random.randrange(1 << 31)))
    judge(start("resets", 300))
    judge(start("slow", 2_000))
    judge(start("deaf", 1_000))

finish()
