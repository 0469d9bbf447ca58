# SPDX-License-Identifier: MIT
"""W12: how long hello takes to compile, with aio and with Asio alone."""

import os
import pathlib
import re
import shutil
import subprocess
import tempfile

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
    found = {
        "io_context, timer": ("asio_parts.cpp", []),
        "nothing": ("plain.cpp", []),
        "+ aio's of Asio": ("asio_parts.cpp", of_asio_in_aio()),
        "asio::awaitable": ("asio_awaitable.cpp", []),
    }
    if os.environ.get("AIO_CORRAL"):
        found["corral"] = ("corral.cpp", ["-I", os.environ["AIO_CORRAL"]])
    return found | {
        "aio/run, sleep": ("aio_parts.cpp", []),
        "aio/aio.hpp": ("aio_hello.cpp", []),
        PRECOMPILED: ("aio_hello.cpp", []),
    }


PRECOMPILED = "precompiled"  # aio/aio.hpp, which is not counted


def run_compiler(command):
    """CPU seconds, and the most memory of all its processes, in KiB."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                               env=dict(os.environ, CCACHE_DISABLE="1"))
    said = process.stderr.read()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise measure.Failed(f"{' '.join(command)}\n{said}")
    return used.ru_utime + used.ru_stime, used.ru_maxrss


def precompile(compiler, options, folder):
    """The options that take aio/aio.hpp precompiled with these options."""
    header = pathlib.Path(folder) / "all.hpp"
    header.write_text("#include <aio/aio.hpp>\n")
    clang = "clang" in compiler
    out = header.with_suffix(".pch" if clang else ".hpp.gch")
    run_compiler([compiler, *options, "-x", "c++-header", str(header), "-o", str(out)])
    return ["-include-pch", str(out)] if clang else ["-include", str(header)]


def measure_one(compiler, optimization, repeat):
    seconds, memory = ({name: [] for name in sources()} for _ in range(2))
    common = ["-std=c++20", "-DASIO_STANDALONE", "-I", str(INCLUDE), optimization,
              *(FOR_CLANG if compiler.startswith("clang") else [])]
    with tempfile.TemporaryDirectory() as folder:
        precompiled = precompile(compiler, common, folder)
        for turn in range(repeat):
            for name, (source, options) in sources().items():
                measure.progress(f"run {turn + 1} of {repeat}: {compiler} {optimization} {name}")
                more = precompiled if name == PRECOMPILED else options
                time, most = run_compiler([compiler, *common, *more, "-c", str(FOLDER / source), "-o", os.devnull])
                seconds[name].append(time)
                memory[name].append(most / 1024)
    return {"compiler": compiler, "optimization": optimization,
            "cpu_s": {name: min(times) for name, times in seconds.items()},
            "memory_mib": {name: min(most) for name, most in memory.items()}}


def measure_all(repeat=3):
    """CPU seconds and memory, the least of some runs, for each compiler that is installed, and each optimization."""
    records = [measure_one(compiler, optimization, repeat) for compiler in ("g++", "clang++-19")
               if shutil.which(compiler) for optimization in ("-O0", "-O2")]
    measure.progress("")
    return records


def as_table(records):
    header = ["", *sources()]
    rows = []
    for record in records:
        times = list(record["cpu_s"].values())
        rows.append([f"{record['compiler']} {record['optimization']}", *(f"{time:.2f}" for time in times)])
        rows.append(["", *(f"x {time / times[0]:.2f}" for time in times)])
        rows.append(["MiB", *(f"{most:.0f}" for most in record["memory_mib"].values())])
    return ("\nW12 compile hello, CPU seconds and the most memory, with the installed Asio (target: aio at most 1.15 times "
            "what it needs of Asio)\n" + measure.table(rows, header))
