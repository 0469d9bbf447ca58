# SPDX-License-Identifier: MIT
"""Runs aio_bench: once, or under callgrind."""

import argparse
import contextlib
import json
import pathlib
import re
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
DEFAULT_PROGRAM = HERE.parent / "build" / "bench" / "bench" / "aio_bench"


class Failed(Exception):
    """A benchmark that did not run."""


def checked(command, timeout=600, environment=None):
    try:
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=timeout,
                              env=environment)
    except FileNotFoundError as e:
        raise Failed(f"{command[0]} is not there ({e.strerror})") from e
    except subprocess.TimeoutExpired as e:
        raise Failed(f"{' '.join(map(str, command))}: not done after {timeout} s") from e
    if done.returncode != 0:
        raise Failed(f"{' '.join(map(str, command))}: status {done.returncode}\n{done.stderr.strip()}")
    return done


class Program:
    def __init__(self, path=DEFAULT_PROGRAM):
        self.path = pathlib.Path(path)
        if not self.path.exists():
            raise Failed(f"{self.path} is not there: cmake --preset bench && "
                         "cmake --build build/bench --target aio_bench")

    def about(self):
        return json.loads(checked([self.path, "--about"]).stdout)

    def cases(self):
        """(workload, variant) -> (unit, default operations, batch), in the order of --list."""
        found = {}
        for line in checked([self.path, "--list"]).stdout.splitlines():
            workload, variant, unit, operations, batch = line.split()
            found[workload, variant] = (unit, int(operations), int(batch))
        return found

    def run(self, workload, variant, operations, *arguments):
        return json.loads(checked([self.path, workload, variant, operations, *arguments]).stdout)

    def instructions(self, workload, variant, counted, *arguments):
        """User instructions per operation, libraries included, start-up and warm-up excluded."""
        few, many = counted
        counts = [self._callgrind(workload, variant, n, *arguments) for n in (few, many)]
        return (counts[1] - counts[0]) / (many - few)

    def _callgrind(self, *command):
        done = checked(["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", self.path, *command])
        found = re.search(r"Collected *: *(\d+)", done.stderr)
        if not found:
            raise Failed(f"callgrind said nothing of instructions:\n{done.stderr}")
        return int(found.group(1))


def require(tool):
    if not shutil.which(tool):
        raise Failed(f"{tool} is not there, so nothing was measured (Debian: apt-get install {tool})")


def parser(description):
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--program", type=pathlib.Path, default=DEFAULT_PROGRAM, help="aio_bench")
    return made


@contextlib.contextmanager
def ends_when_failed():
    try:
        yield
    except Failed as e:
        progress("")
        sys.exit(f"{pathlib.Path(sys.argv[0]).name}: {e}")


def progress(text):
    """A line that replaces itself, for who watches a terminal."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\033[K{text}")
        sys.stderr.flush()


def in_turns(repeat, cases):
    """Each of the cases again and again, so that a busy minute hurts all of them."""
    for turn in range(repeat):
        for case in cases:
            progress(f"run {turn + 1} of {repeat}: {' '.join(map(str, case))}")
            yield turn, case
    progress("")


def table(rows, header, left=1):
    """Rows of strings in columns; the first `left` to the left, the others to the right."""
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]

    def line(row):
        cells = [f"{cell:<{width}}" if i < left else f"{cell:>{width}}"
                 for i, (cell, width) in enumerate(zip(row, widths))]
        return "  ".join(cells).rstrip()

    return "\n".join([line(header), *map(line, rows)])
