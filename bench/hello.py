# SPDX-License-Identifier: MIT
"""W12: how long hello takes to compile, with aio and with Asio alone."""

import os
import re
import resource
import shutil
import subprocess

import measure

FOLDER = measure.HERE / "hello"
INCLUDE = measure.HERE.parent / "include"
FOR_CLANG = ["-DASIO_HAS_CO_AWAIT=1", "-DASIO_HAS_STD_COROUTINE=1"]  # as CMakeLists.txt of the project


def of_asio_in_aio():
    """Options that include every header of Asio that a header of aio includes."""
    found = set()
    for header in INCLUDE.glob("aio/**/*.hpp"):
        found.update(re.findall(r"^#include <(asio/[^>]*)>", header.read_text(), re.MULTILINE))
    return [part for name in sorted(found) for part in ("-include", name)]


def sources():
    """name -> source and more options. The first is what the others are compared with."""
    return {
        "io_context, timer": ("asio_parts.cpp", []),
        "+ aio's of Asio": ("asio_parts.cpp", of_asio_in_aio()),
        "asio::awaitable": ("asio_awaitable.cpp", []),
        "aio/run, sleep": ("aio_parts.cpp", []),
        "aio/aio.hpp": ("aio_hello.cpp", []),
    }


def cpu_of_compiler(compiler, source, options):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [compiler, "-std=c++20", "-DASIO_STANDALONE", *options, "-I", str(INCLUDE), "-c", str(FOLDER / source),
               "-o", os.devnull]
    done = subprocess.run(command, capture_output=True, text=True, env=dict(os.environ, CCACHE_DISABLE="1"))
    if done.returncode != 0:
        raise measure.Failed(f"{' '.join(command)}\n{done.stderr}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measure_all(repeat=3):
    """CPU seconds, the minimum of some runs, for each compiler that is installed, and each optimization."""
    records = []
    for compiler in ("g++", "clang++-19"):
        if not shutil.which(compiler):
            continue
        for optimization in ("-O0", "-O2"):
            seconds = {name: [] for name in sources()}
            for turn in range(repeat):
                for name, (source, options) in sources().items():
                    measure.progress(f"run {turn + 1} of {repeat}: {compiler} {optimization} {name}")
                    more = FOR_CLANG if compiler.startswith("clang") else []
                    seconds[name].append(cpu_of_compiler(compiler, source, [optimization, *options, *more]))
            records.append({"compiler": compiler, "optimization": optimization,
                            "cpu_s": {name: min(times) for name, times in seconds.items()}})
    measure.progress("")
    return records


def as_table(records):
    header = ["", *sources()]
    rows = []
    for record in records:
        times = list(record["cpu_s"].values())
        rows.append([f"{record['compiler']} {record['optimization']}", *(f"{time:.2f}" for time in times)])
        rows.append(["", *(f"x {time / times[0]:.2f}" for time in times)])
    return ("\nW12 compile hello, CPU seconds, with the installed Asio (target: aio at most 1.15 times what it needs of "
            "Asio)\n" + measure.table(rows, header))
