#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Notices when aio got slower: instructions and allocations per operation, compared with guard.json.

    bench/guard.py              fails when a workload takes more than 3 % more instructions, or allocates more
    bench/guard.py --update     writes guard.json anew: after an improvement, or with a reason to give in the commit
    bench/guard.py --self-test  shows that it would notice, on numbers that it makes worse itself

Instructions are those in user mode by callgrind, libraries included: unlike times they do not depend on the machine's
load. Repeated, the numbers differ by less than 0.05 %; a change of another part of the program can move W8, W15 and W16
by 1 %, because the unwinder searches tables in which everything has its place. W17 is not guarded: how often one thread
has to wake the other is the scheduler's to say.

They do depend on the compiler, on Asio and on the C library. guard.json says for which it holds; with others nothing
can be compared, which is an error unless --lenient is given.
"""

import json
import platform
import sys

import measure
from workloads import WORKLOADS

NUMBERS = measure.HERE / "guard.json"
WORSE = 0.03  # instructions may grow by that
NOISE = 0.0005  # allocations per operation that are no growth: a start-up part among thousands of operations


def taken_with(about):
    return {"compiler": about["compiler"], "asio": about["asio"], "libc": " ".join(platform.libc_ver()),
            "machine": platform.machine()}


def measured(program, names):
    numbers = {}
    for name in names:
        workload = WORKLOADS[name]
        measure.progress(f"{name} {workload.title}")
        case = workload.case or name
        more = workload.arguments + workload.counted_arguments
        run = program.run(case, "aio", workload.counted[1], *more)
        numbers[name] = {"instructions": round(program.instructions(case, "aio", workload.counted, *more), 1),
                         "allocations": round(run["allocations"], 4)}
    measure.progress("")
    return numbers


def compare(expected, found):
    """Rows of a table, and what is worse, in sentences."""
    rows, complaints = [], []
    for name, now in found.items():
        before = expected.get(name)
        if not before:
            complaints.append(f"{name} is not in {NUMBERS.name}: run guard.py --update")
            continue
        growth = now["instructions"] / before["instructions"] - 1
        more = now["allocations"] - before["allocations"]
        verdict = "ok"
        what = f"{name} ({WORKLOADS[name].title})"
        if growth > WORSE:
            complaints.append(f"{what}: {now['instructions']:,.1f} instructions per operation, were "
                              f"{before['instructions']:,.1f}: {growth:+.1%}")
            verdict = "WORSE"
        if more > NOISE:
            complaints.append(f"{what}: {now['allocations']:.4f} allocations per operation, were "
                              f"{before['allocations']:.4f}")
            verdict = "WORSE"
        if verdict == "ok" and (growth < -WORSE or more < -NOISE):
            verdict = "better"
        rows.append([name, f"{before['instructions']:,.1f}", f"{now['instructions']:,.1f}", f"{growth:+.2%}",
                     f"{before['allocations']:.4f}", f"{now['allocations']:.4f}", verdict])
    for name in expected:
        if name not in found:
            complaints.append(f"{name} was not measured")
    return rows, complaints


HEADER = ["workload", "instr before", "now", "change", "allocs before", "now", ""]


def self_test():
    """Doctors the numbers, as a slower aio would."""
    expected = {"W1": {"instructions": 100.0, "allocations": 0.0}, "W2": {"instructions": 1000.0, "allocations": 1.0}}

    def complaints(**changes):
        found = {name: dict(numbers) for name, numbers in expected.items()}
        for change, value in changes.items():
            name, key = change.split("_")
            found[name][key] = value
        return compare(expected, found)[1]

    cases = [
        ("the same numbers pass", complaints(), 0),
        ("2.9 % more instructions pass", complaints(W1_instructions=102.9), 0),
        ("3.1 % more instructions fail", complaints(W1_instructions=103.1), 1),
        ("half the instructions pass", complaints(W2_instructions=500.0), 0),
        ("one allocation in a hundred operations fails", complaints(W1_allocations=0.01), 1),
        ("fewer allocations pass", complaints(W2_allocations=0.0), 0),
        ("both fail twice", complaints(W2_instructions=2000.0, W2_allocations=2.0), 2),
        ("a workload that is new fails", compare({"W1": expected["W1"]}, expected)[1], 1),
        ("a workload that is missing fails", compare(expected, {"W1": expected["W1"]})[1], 1),
    ]
    bad = [f"{name}: {found}" for name, found, count in cases if len(found) != count]
    for name, found, count in cases:
        print(f"{'ok  ' if len(found) == count else 'FAIL'}  {name}")
    return not bad


def main():
    parser = measure.parser(__doc__)
    parser.add_argument("workloads", nargs="*", metavar="WORKLOAD", help="default: all that are counted")
    parser.add_argument("--update", action="store_true", help="writes guard.json")
    parser.add_argument("--lenient", action="store_true", help="nothing to compare with is no error")
    parser.add_argument("--self-test", action="store_true", help="checks the comparison alone")
    given = parser.parse_args()
    if given.self_test:
        sys.exit(0 if self_test() else "guard.py: the guard does not notice")

    guarded = [name for name, workload in WORKLOADS.items() if workload.counted]
    names = given.workloads or guarded
    for name in names:
        if name not in guarded:
            parser.error(f"{name} is not guarded: {' '.join(guarded)}")
    with measure.ends_when_failed():
        measure.require("valgrind")
        program = measure.Program(given.program)
        about = program.about()
        if not about["optimized"]:
            raise measure.Failed("this aio_bench was built without optimization, or with assertions: use the preset "
                                 "bench")
        here = taken_with(about)
        known = json.loads(NUMBERS.read_text()) if NUMBERS.exists() else {"taken_with": None, "workloads": {}}
        if known["taken_with"] != here and not given.update:
            print(f"cannot compare: {NUMBERS.name} was taken with {known['taken_with']}, this is {here}")
            sys.exit(0 if given.lenient else 1)
        found = measured(program, names)

    same = known["taken_with"] == here
    rows, complaints = compare({name: numbers for name, numbers in known["workloads"].items() if name in names}, found)
    if same and rows:
        print(measure.table(rows, HEADER))
    if given.update:
        kept = {**(known["workloads"] if same else {}), **found}
        ordered = {name: kept[name] for name in WORKLOADS if name in kept}
        NUMBERS.write_text(json.dumps({"taken_with": here, "workloads": ordered}, indent=2) + "\n")
        print(f"written: {NUMBERS}")
        return
    if complaints:
        print("\n" + "\n".join(complaints))
        print("\nIf that is wanted: bench/guard.py --update, and the reason in the commit.")
        sys.exit(1)
    print("\nno worse than before")


if __name__ == "__main__":
    main()
