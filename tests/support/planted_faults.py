# SPDX-License-Identifier: MIT
"""planted_faults.py <project folder> [--compiler clang++-19] [--set core] [--only TEXT]: which faults the tests find.

Copies the headers, and plants the faults of planted/*.py in the copy, each where a variable of the environment asks
for it. Compiles with them, once, the programs that are to find them. Then runs those without a fault, when they have
to pass, and with each, when they have to fail. Prints the rows of the tables in docs/trust.md. Takes half an hour, most
of it for faults by which a program hangs, and is run by hand. In a --folder that stays, with ccache in --compiler, only
what has changed is compiled again.
"""

import argparse
import os
import pathlib
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time

from planted import core, explored, failing, found, interleaved

# Of each set: what finds its faults, by names of programs or of test files, where a fault itself does not say; FAULTS;
# and perhaps the names of those of other sets that it finds, too, in ALSO.
SETS = {"explored": explored, "core": core, "failing": failing, "found": found, "interleaved": interleaved}

# What is compiled together, which takes a fraction of the time; the others by themselves.
TOGETHER = {
    "order": "cancellation_order gather_order group_order order queue_order semaphore_order timeout_order "
             "uncancel_order",
} | found.TOGETHER
CORPUS = "core sync queues all found".split()
RUN_MUCH = ("conformance", "explored", "interleavings")  # are optimised; of the others the compiler takes most of the time
PATIENCE = 60  # seconds

ASKED = """#pragma once
#include <cstdlib>
inline bool aio_planted(int number) {
  static int const which = std::getenv("AIO_FAULT") ? std::atoi(std::getenv("AIO_FAULT")) : 0;
  return number == which;
}
"""


class Fault:
    """One of FAULTS: (header, what stands there, what it becomes, in words), in which `P` is whether that fault is
    asked for. Changes that are one fault stand in one tuple, with another header before those that are in it; a list of
    who finds it may stand last, see SETS."""

    def __init__(self, entry, finders):
        *changes, self.words = entry
        self.finders = finders.split()
        if isinstance(self.words, list):
            *changes, self.words, self.finders = entry
        self.changes = []
        while changes:
            if changes[0].endswith(".hpp"):
                header = changes.pop(0)
            self.changes.append((header, changes.pop(0), changes.pop(0)))


def faults_of(name):
    chosen = SETS[name]
    faults = [Fault(each, chosen.FINDERS) for each in chosen.FAULTS]
    also = getattr(chosen, "ALSO", [])
    others = [Fault(each, chosen.FINDERS) for other in SETS.values() if other is not chosen for each in other.FAULTS]
    found_also = [fault for fault in others if fault.words in also]
    if len(found_also) != len(also):
        sys.exit("ALSO names what is no fault")
    return faults + found_also


def plant(faults, headers):
    config = headers / "config.hpp"
    config.write_text(config.read_text().replace("#pragma once\n", ASKED, 1))
    for number, fault in enumerate(faults, 1):
        for header, before, after in fault.changes:
            path = headers / header
            text = path.read_text()
            if text.count(before) != 1:
                sys.exit(f"{header} has changed: of '{fault.words}' planted_faults.py does not find once\n{before}")
            path.write_text(text.replace(before, re.sub(r"\bP\b", f"aio_planted({number})", after)))


class Programs:
    """Those that look for faults; `folder` has the planted headers."""

    def __init__(self, given, folder):
        self.tests = given.project / "tests"
        self.folder = folder
        self.compiler = [*shlex.split(given.compiler), "-std=c++20", "-DASIO_STANDALONE", "-DASIO_NO_DEPRECATED",
                         "-DASIO_HAS_CO_AWAIT=1", "-DASIO_HAS_STD_COROUTINE=1",
                         f"-I{folder / 'include'}", f"-I{self.tests}"]
        self.catch = None

    def compiled(self, source, name):
        made = self.folder / f"{name}.o"
        options = ["-O1" if name in RUN_MUCH else "-O0", "-DCATCH_CONFIG_CONSOLE_WIDTH=1000"]  # whole names
        subprocess.run([*self.compiler, *options, "-c", str(source), "-o", str(made)], check=True)
        return str(made)

    def linked(self, objects, name):
        subprocess.run([*self.compiler, *objects, "-o", str(self.folder / name), "-pthread"], check=True)

    def make(self, name):
        """`name`: "conformance", "interleavings", a name of TOGETHER, "explored", or a test file's without _test.cpp."""
        if name == "conformance":
            with tarfile.open(self.tests / "conformance" / "corpus.tar.xz") as corpus:
                corpus.extractall(self.folder / "corpus")
            return self.linked([self.compiled(self.tests / "conformance" / "replay.cpp", name)], name)
        if name == "interleavings":
            return self.linked([self.compiled(self.tests / "interleavings" / "main.cpp", name)], name)
        if name in TOGETHER:
            source = self.folder / f"{name}.cpp"
            files = "".join(f'AIO_TEST_FILE {{\n#include "{each}_test.cpp"\n}}\n' for each in TOGETHER[name].split())
            source.write_text('#include "support/precompiled.hpp"\n' + files)
        else:
            source = self.tests / ("primitives_explored_test.cpp" if name == "explored" else f"{name}_test.cpp")
        if not self.catch:
            self.catch = self.compiled(self.tests / "support" / "catch_main.cpp", "catch_main")
        self.linked([self.compiled(source, name), self.catch], name)

    def run(self, finder, number):
        """Whether `finder` passes, and else in which words it fails."""
        if finder == "conformance":
            return self.run_corpus(number)
        if finder == "interleavings":
            return self.run_interleavings(number)
        program = program_of(finder)
        reporter = "compact" if program == "explored" else "console"
        chosen = ["-#", f"[#{finder}_test]"] if program != finder else []  # the tests of that file
        how, output = self.tell(number, program, "-r", reporter, *chosen)
        return in_words(program, how, output) if how else True

    def tell(self, number, program, *arguments):
        env = os.environ | {"AIO_FAULT": str(number)}
        running = subprocess.Popen([str(self.folder / program), *arguments], env=env, stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True, errors="replace",
                                   start_new_session=True)
        hangs = False
        try:
            output, _ = running.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            hangs = True
            running.terminate()  # by which Catch2 says where it is
            try:
                output, _ = running.communicate(timeout=5)
            except subprocess.TimeoutExpired:
                kill_all_of(running)
                output, _ = running.communicate()
        finally:
            kill_all_of(running)
        how = "hangs" if hangs else "" if running.returncode == 0 else \
            "aborted" if running.returncode < 0 else "fails"
        return how, output

    def run_interleavings(self, number):
        how, output = self.tell(number, "interleavings", "--most", "20000")
        if not how:
            return True
        found = re.search(r"^(.*?) +(\d+) schedules.*\n  FAILS: (.*)", output, re.M)
        if not found:
            inside = re.findall(r"^(.*?) +\d+ schedules", output, re.M)
            return f"the program is aborted, behind `{inside[-1]}`" if inside else "the program is aborted"
        more = len(re.findall(r"^  FAILS: ", output, re.M)) - 1
        return f"`{found[1]}`, schedule {found[2]}: {found[3]}" + (f"; {more} more" if more else "")

    def run_corpus(self, number):
        differ = 0
        for part in CORPUS:
            how, output = self.tell(number, "conformance", "check",
                                    *(str(self.folder / "corpus" / f"{part}{end}.jsonl") for end in ("", ".trace")))
            if how in ("hangs", "aborted"):
                return f"the replayer {'hangs' if how == 'hangs' else 'is aborted'}, in `{part}`"
            if how:
                differ += int(re.search(r"(\d+) differ", output)[1])
        return f"{differ} traces" if differ else True


def kill_all_of(program):
    try:
        os.killpg(program.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def program_of(finder):
    return next((name for name, files in TOGETHER.items() if finder in files.split()), finder)


def in_words(program, how, output):
    if program == "explored":
        where = re.search(r"schedule (\d+)", output)
        inside = re.search(r"'(.*), cancelled: ", output)
        if where and inside:
            return f"`{inside[1]}`, schedule {where[1]}"
        return "the program is aborted" + (f", in `{inside[1]}`" if inside else "")
    failed = list(dict.fromkeys(re.findall(r"^-{99,}\n(.*)\n(?:.*\n)*?-{99,}\n(?:.*/)?(\S+?)\.cpp:\d+\n\.{99,}$",
                                           output, re.M)))
    name, file = failed[0] if failed else ("?", program)
    more = f" and {len(failed) - 1} more" if len(failed) > 1 else ""
    how = {"hangs": ", which hangs", "aborted": ", aborted", "fails": ""}[how]
    return f"`{file}`: {name}{how}{more}"


def look(name, given, folder):
    """Looks for the faults of a set, and says how many were not found."""
    faults = faults_of(name)
    shutil.rmtree(folder / "include", ignore_errors=True)
    shutil.copytree(given.project / "include", folder / "include")
    plant(faults, folder / "include" / "aio")
    chosen = [(number, fault) for number, fault in enumerate(faults, 1) if given.only in fault.words]
    finders = list(dict.fromkeys(finder for _, fault in chosen for finder in fault.finders))
    programs = Programs(given, folder)
    for program in dict.fromkeys(map(program_of, finders)):
        programs.make(program)
    for finder in finders:
        without = programs.run(finder, 0)
        if without is not True:
            sys.exit(f"{finder} fails without a fault: {without}")
    missed = 0
    for number, fault in chosen:
        columns = []
        for finder in fault.finders:
            begin = time.monotonic()
            found_by = programs.run(finder, number)
            if found_by is True:
                columns.append("no")
            else:
                columns.append(f"{found_by}, {time.monotonic() - begin:.1f} s")
        nobody = all(each == "no" for each in columns)
        missed += nobody
        if nobody:
            columns = ["**nobody**"]
        elif not SETS[name].FINDERS:  # they have one column
            columns = ["; ".join(each for each in columns if each != "no")]
        print(f"| {fault.words} | {' | '.join(columns)} |", flush=True)
    return missed


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("project", type=pathlib.Path)
    parser.add_argument("--compiler", default="c++")
    parser.add_argument("--set", choices=SETS, help="else all of them")
    parser.add_argument("--only", default="", help="those whose words have this text")
    parser.add_argument("--folder", type=pathlib.Path, help="where to compile; else in one that goes")
    parser.add_argument("--check", action="store_true", help="only whether the headers have what the faults change")
    given = parser.parse_args()
    given.project = given.project.resolve()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # tests send it, which a shell's "&" has had ignored
    missed = 0
    with tempfile.TemporaryDirectory() as place:
        for name in [given.set] if given.set else SETS:
            folder = (given.folder or pathlib.Path(place)).resolve() / name
            folder.mkdir(parents=True, exist_ok=True)
            if given.check:
                shutil.copytree(given.project / "include", pathlib.Path(place) / "check", dirs_exist_ok=True)
                plant(faults_of(name), pathlib.Path(place) / "check" / "aio")
                shutil.rmtree(pathlib.Path(place) / "check")
            else:
                missed += look(name, given, folder)
    sys.exit(f"{missed} were not found" if missed else 0)


main()
