#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""From 10 to 1,000,000: what one task, sleeper, waiter, child or queue item costs when there are many of them.

    bench/scale.py                  table, and scale-time.svg and scale-memory.svg beside the program
    bench/scale.py --most 100000    stops there
    bench/scale.py --threads        only the second table: a loop on each of two threads

  ns          CPU time per item, the least of some runs; small numbers are repeated on one loop
  live B      bytes from malloc per item when all are there
  resident B  growth of the process's memory per item; of few items it is the page size that shows
  left B      bytes in all that are allocated beyond what was before, when the loop is closed. They do not grow with
              the number of items: what remains are buffers of the C library and the like.
"""

import pathlib

import chart
import measure

KINDS = {"S1": "tasks", "S2": "sleepers", "S3": "waiters on one semaphore", "S4": "children of one group",
         "S5": "items in one queue"}
# Not drawn: with what is there to be ended, cancelled or destroyed.
ENDS = {"S6": "tasks that await each other, all cancelled", "S7": "nested gatherings, cancelled",
        "S8": "waiters for one condition, cancelled", "S9": "shields of one future that expire together",
        "S10": "context variables set in one task", "S11": "callbacks taken back, the last first",
        "S12": "nested coroutines, dropped", "S13": "nested generators, dropped", "S14": "nested eager starts",
        "S15": "nested groups, the innermost fails"}


def scaled(program, most, repeat):
    """(kind, number) -> the runs."""
    numbers = [10**e for e in range(1, 10) if 10**e <= most]
    runs = {(kind, number): [] for kind in KINDS | ENDS for number in numbers}
    for _, (kind, number) in measure.in_turns(repeat, runs):
        runs[kind, number].append(program.run(kind, "aio", number))
    return runs


def threads(program, repeat):
    """One loop, and two on a thread each: CPU time per child says whether they hinder each other, wall time whether
    the machine had two processors for them."""
    best = {}
    for _, (count, _) in measure.in_turns(repeat, [(1, "thread"), (2, "threads")]):
        run = program.run("threads", "aio", 3_000_000, "--threads", count)
        took = best.setdefault(count, [run["wall_ns"], run["cpu_ns"]])
        best[count] = [min(took[0], run["wall_ns"]), min(took[1], run["cpu_ns"])]
    rows = []
    for count, (wall, cpu) in best.items():
        rows.append([f"{count} thread{'s' * (count > 1)}, a loop each", f"{cpu / count:.1f}", f"{wall / count:.1f}",
                     f"{best[1][0] * count / wall:.2f}"])
    print(measure.table(rows, ["", "CPU ns per child", "wall ns per child", "throughput, times one thread"]))


def main():
    parser = measure.parser(__doc__)
    parser.add_argument("--most", type=int, default=1_000_000, help="the largest number (default 1,000,000)")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each (default 3)")
    parser.add_argument("--threads", action="store_true", help="only the threads")
    parser.add_argument("--svg", type=pathlib.Path, metavar="FOLDER", help="where the drawings go")
    given = parser.parse_args()
    with measure.ends_when_failed():
        program = measure.Program(given.program)
        if not given.threads:
            runs = scaled(program, given.most, given.repeat)
            rows, times, memory = [], {}, {}
            for (kind, number), found in runs.items():
                nanoseconds = min(run["cpu_ns"] for run in found)
                one = found[0]
                rows.append([(KINDS | ENDS)[kind] if number == 10 else "", f"{number:,}", f"{nanoseconds:.0f}",
                             f"{one['live_bytes']:.0f}", f"{one['peak_bytes']:.0f}", f"{one['held_bytes']:,}"])
                if kind in ENDS:
                    continue
                times.setdefault(KINDS[kind], []).append((number, nanoseconds))
                memory.setdefault(KINDS[kind], []).append((number, one["live_bytes"]))
            print(measure.table(rows, ["", "number", "ns", "live B", "resident B", "left B"]))
            folder = given.svg or given.program.parent
            (folder / "scale-time.svg").write_text(chart.curves(times, "Time per item", "items at once", "ns"))
            (folder / "scale-memory.svg").write_text(chart.curves(memory, "Memory per item", "items at once", "bytes"))
            print(f"\ndrawn: {folder / 'scale-time.svg'}, {folder / 'scale-memory.svg'}\n")
        threads(program, given.repeat)


if __name__ == "__main__":
    main()
