#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""aio beside raw Asio, and beside asyncio: runs the workloads and prints a table.

    cmake --workflow --preset bench         builds, and runs this with its defaults
    bench/run.py                            all workloads, five times each
    bench/run.py W1 W3 --quick              two of them, three short runs
    bench/run.py --instructions --target    also user instructions, which do not depend on the machine's load, and
                                            what aio is to reach
    bench/run.py --python --compile         also asyncio (and uvloop, where it is installed), and the time to compile
                                            hello

The variants take turns, so that a busy minute hurts all of them. Times are CPU time of the process, user and kernel,
per operation; W10 and W17 have time on the wall. W9's instructions are those with 100 connections. Compare ratios of
minima; where the machine is shared, a fifth is noise. A ratio of 0.5 means that aio takes half of what the other takes.

  callbacks            raw Asio, functions as handlers, concrete executors
  awaitable            raw Asio, asio::awaitable and co_spawn
  awaitable+signals    W8 with a cancellation signal per child, where `awaitable` is a parallel group
  aio (9,968)          W9-10000 where the limit of descriptors allows no more connections
  epoll                W9 with nothing but the kernel
  aio+epoll            W9 in aio, with sockets in an epoll set of their own, that Asio watches as one descriptor
  asyncio, uvloop      the same in Python, see twins/

Python 3.9 or newer, nothing else. --instructions needs valgrind.
"""

import json
import pathlib
import statistics
import sys

import chart
import hello
import measure
import twins
from workloads import ASIO, WORKLOADS


def parse():
    parser = measure.parser(__doc__)
    parser.add_argument("workloads", nargs="*", metavar="WORKLOAD", help=f"of {' '.join(WORKLOADS)}; default: all but "
                        f"{' '.join(name for name, workload in WORKLOADS.items() if workload.extra)}")
    parser.add_argument("--variant", action="append", help="only these (may be repeated)")
    parser.add_argument("--repeat", type=int, help="runs of each case (default 5)")
    parser.add_argument("--quick", action="store_true", help="a tenth of the operations, three runs")
    parser.add_argument("--instructions", action="store_true",
                        help="also user instructions per operation, by callgrind")
    parser.add_argument("--target", action="store_true", help="also what aio is to reach, and whether it does")
    parser.add_argument("--python", action="store_true", help="also asyncio and uvloop")
    parser.add_argument("--compile", action="store_true", help="also W12, the time to compile hello")
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE", help="default: results.json beside the program")
    parser.add_argument("--svg", type=pathlib.Path, metavar="FILE", help="draws the ratios as bars")
    given = parser.parse_args()
    for name in given.workloads:
        if name not in WORKLOADS:
            parser.error(f"there is no workload {name}: {' '.join(WORKLOADS)}")
    return given


def collect(given, program):
    """(workload, variant) -> list of results, one per run."""
    wanted = given.workloads or [name for name, workload in WORKLOADS.items() if not workload.extra]
    cases = {(name, variant): what for name in wanted for (case, variant), what in program.cases().items()
             if case == (WORKLOADS[name].case or name)}
    runners = {}
    for (workload, variant), (_, operations, _) in cases.items():
        count = max(1, operations // 10) if given.quick and workload != "W4" else operations
        runners[workload, variant] = (program.run, WORKLOADS[workload].case or workload, variant, count,
                                      *WORKLOADS[workload].arguments)
    if given.python:
        for workload in wanted:
            for variant in twins.variants(workload):
                runners[workload, variant] = (twins.run, workload, variant, 0.1 if given.quick else 1.0)
    if given.variant:
        runners = {case: runner for case, runner in runners.items() if case[1] in given.variant}

    results = {case: [] for case in runners}
    repeat = given.repeat or (3 if given.quick else 5)
    for turn, case in measure.in_turns(repeat, runners):
        if turn < WORKLOADS[case[0]].most_runs:
            function, *arguments = runners[case]
            results[case].append(function(*arguments))
    if given.instructions:
        for case in cases:
            counted = WORKLOADS[case[0]].counted
            if case in results and counted:
                measure.progress(f"counting instructions: {' '.join(case)}")
                more = WORKLOADS[case[0]].arguments + WORKLOADS[case[0]].counted_arguments
                results[case][0]["instructions"] = program.instructions(*case, counted, *more)
    measure.progress("")
    return results


def summarize(results):
    """One record per case, in the order of the workloads."""
    order = list(WORKLOADS)
    records = []
    for (workload, variant), runs in sorted(results.items(), key=lambda item: order.index(item[0][0])):
        times = [run[WORKLOADS[workload].clock] for run in runs]
        record = {"workload": workload, "variant": variant, "unit": runs[0]["unit"], "clock": WORKLOADS[workload].clock,
                  "median_ns": statistics.median(times), "min_ns": min(times), "times_ns": times}
        for key in ("operations", "allocations", "bytes", "peak_bytes", "instructions", "connections"):
            if key in runs[0]:
                record[key] = runs[0][key]
        records.append(record)
    by_case = {(record["workload"], record["variant"]): record["min_ns"] for record in records}
    for record in records:
        asio = {variant: by_case[record["workload"], variant] for variant in ASIO
                if (record["workload"], variant) in by_case}
        if "instructions" in record:
            record["instruction_ratios"] = {
                other["variant"]: record["instructions"] / other["instructions"] for other in records
                if other["workload"] == record["workload"] and other["variant"] in ASIO and "instructions" in other}
        record["ratios"] = {variant: record["min_ns"] / ns for variant, ns in asio.items()}
        if asio:
            record["ratio"] = record["min_ns"] / min(asio.values())
    return records


def target_of(record):
    """What aio is to reach, and whether it does: "instr 130 no, 0.6 x awaitable ok"."""
    if record["variant"] != "aio":
        return ""
    wanted = WORKLOADS[record["workload"]]
    said = []

    def compare(name, value, most):
        if value is None:
            said.append(name)
        else:
            said.append(f"{name} {'ok' if value <= most else 'NO'}")

    if wanted.instructions:
        compare(f"instr {wanted.instructions}", record.get("instructions"), wanted.instructions)
    if wanted.instruction_ratio:
        variant, most = wanted.instruction_ratio
        compare(f"instr {most} x {variant}", record.get("instruction_ratios", {}).get(variant), most)
    if wanted.peak_bytes:
        compare(f"peak {wanted.peak_bytes} B", record.get("peak_bytes"), wanted.peak_bytes)
    if wanted.ratio:
        variant, most = wanted.ratio
        compare(f"{most} x {variant}", record["ratios"].get(variant), most)
    return ", ".join(said)


def number(value, digits=1):
    if value is None:
        return ""
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.{digits}f}"


def print_table(records, given):
    header = ["workload", "variant", "median ns", "min ns", "x best asio", "x awaitable", "x callbacks", "allocs",
              "bytes"]
    memory = any("peak_bytes" in record for record in records)
    instructions = any("instructions" in record for record in records)
    header += ["peak B"] * memory + ["instr"] * instructions + ["target"] * given.target
    rows = []
    previous = None
    for record in records:
        workload = record["workload"]
        if workload != previous:
            if previous:
                rows.append([""] * len(header))
            rows.append([f"{workload} {WORKLOADS[workload].title}, per {record['unit']}"
                         f"{' (on the wall)' if record['clock'] == 'wall_ns' else ''}"] + [""] * (len(header) - 1))
            previous = workload
        asked = WORKLOADS[workload].arguments
        fewer = "connections" in record and asked and str(record["connections"]) != asked[1]
        row = ["", record["variant"] + (f" ({record['connections']:,})" if fewer else ""),
               number(record["median_ns"]), number(record["min_ns"]), number(record.get("ratio"), 2),
               number(record["ratios"].get("awaitable"), 2), number(record["ratios"].get("callbacks"), 2),
               number(record.get("allocations"), 2), number(record.get("bytes"), 0)]
        row += [number(record.get("peak_bytes"), 0)] * memory + [number(record.get("instructions"))] * instructions
        row += [target_of(record)] * given.target
        rows.append(row)
    print(layout(rows, header))


def layout(rows, header):
    """The title of a workload takes a line of its own, and no part in the widths."""
    lines = measure.table([row[1:] for row in rows], header[1:]).split("\n")
    texts = ["    " + lines[0]]
    for row, line in zip(rows, lines[1:]):
        texts.append(row[0] if not any(row[1:]) else "    " + line)
    return "\n".join(texts)


def main():
    given = parse()
    with measure.ends_when_failed():
        program = measure.Program(given.program)
        about = program.about()
        if given.instructions:
            measure.require("valgrind")
        if not about["optimized"]:
            print("note: this aio_bench was built without optimization, or with assertions", file=sys.stderr)
        records = summarize(collect(given, program))
        compiled = hello.measure_all() if given.compile or "W12" in given.workloads else []
    print(f"{about['compiler']}, Asio {about['asio']}\n")
    if records:
        print_table(records, given)
    if compiled:
        print(hello.as_table(compiled))
    output = given.json or given.program.parent / "results.json"
    output.write_text(json.dumps({"about": about, "results": records, "compiled": compiled}, indent=1) + "\n")
    if given.svg:
        given.svg.write_text(chart.bars(records, about))
    print(f"\nall numbers: {output}" + (f", drawn: {given.svg}" if given.svg else ""))


if __name__ == "__main__":
    main()
