# SPDX-License-Identifier: MIT
"""W12: how long hello takes to compile, with aio and with the parts of Asio alone."""

import os
import resource
import shutil
import subprocess

import measure

FOLDER = measure.HERE / "hello"
SOURCES = ("asio_parts.cpp", "asio_awaitable.cpp", "aio_hello.cpp")


def cpu_of_compiler(compiler, source, arguments):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = dict(os.environ, CCACHE_DISABLE="1")
    command = [compiler, "-std=c++20", "-DASIO_STANDALONE", *arguments, "-I", str(measure.HERE.parent / "include"), "-c",
               str(source), "-o", os.devnull]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode != 0:
        raise measure.Failed(f"{' '.join(command)}\n{done.stderr}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measure_all(repeat=3):
    """The minimum of some runs, for each compiler that is installed, and each optimization."""
    records = []
    for compiler in ("g++", "clang++-19"):
        if not shutil.which(compiler):
            continue
        for optimization in ("-O0", "-O2"):
            seconds = {source: [] for source in SOURCES}
            for _ in range(repeat):
                for source in SOURCES:
                    measure.progress(f"{compiler} {optimization} {source}")
                    more = ["-DASIO_HAS_CO_AWAIT=1", "-DASIO_HAS_STD_COROUTINE=1"] if compiler.startswith("clang") else []
                    seconds[source].append(cpu_of_compiler(compiler, FOLDER / source, [optimization, *more]))
            records.append({"compiler": compiler, "optimization": optimization,
                            "cpu_s": {source: min(times) for source, times in seconds.items()}})
    measure.progress("")
    return records


def as_table(records):
    rows = []
    for record in records:
        least = record["cpu_s"][SOURCES[0]]
        rows.append([f"{record['compiler']} {record['optimization']}",
                     *(f"{record['cpu_s'][source]:.2f}" for source in SOURCES),
                     *(f"{record['cpu_s'][source] / least:.2f}" for source in SOURCES[1:])])
    header = ["", "io_context, timer", "asio::awaitable", "aio.hpp", "awaitable / first", "aio / first"]
    return ("\nW12 compile hello, CPU seconds (target: aio at most 1.15 times what it needs of Asio)\n" +
            measure.table(rows, header))
