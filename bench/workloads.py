# SPDX-License-Identifier: MIT
"""What each workload is, the operations that callgrind counts, and what the project wants of aio."""

import dataclasses
import typing


@dataclasses.dataclass(frozen=True)
class Workload:
    title: str
    case: str = ""  # of aio_bench, where it is not the name
    extra: bool = False  # only when it is named
    most_runs: int = 100
    clock: str = "cpu_ns"  # or wall_ns, where threads wait for each other
    # callgrind counts a run of each number of operations; the difference is free of start-up and warm-up.
    counted: typing.Optional[typing.Tuple[int, int]] = None
    arguments: typing.Tuple[str, ...] = ()  # of every run
    counted_arguments: typing.Tuple[str, ...] = ()  # of those under callgrind, too
    # The target: user instructions per operation with g++ 12 -O2, peak of memory per operation, and the most that aio
    # may take of what another variant takes.
    instructions: typing.Optional[int] = None
    peak_bytes: typing.Optional[int] = None
    ratio: typing.Optional[typing.Tuple[str, float]] = None
    instruction_ratio: typing.Optional[typing.Tuple[str, float]] = None  # the same of instructions


FEW = ("--warm-up", "5000")  # enough for the memory of what is counted

WORKLOADS = {
    "W1": Workload("await a child that returns at once", counted=(10_000, 60_000), instructions=130,
                   ratio=("awaitable", 0.6)),
    "W2": Workload("spawn 1,000 children and join them", counted=(5_000, 25_000), instructions=250,
                   ratio=("awaitable", 0.1)),
    "W3": Workload("yield, 100 tasks", counted=(10_000, 60_000), instructions=70, ratio=("awaitable", 0.08)),
    "W4": Workload("1,000,000 tasks asleep at once", most_runs=3, counted=(5_000, 20_000),
                   counted_arguments=("--lead", "300000"), peak_bytes=300),
    "W5": Workload("1,000 tasks, semaphore of 10", counted=(10_000, 50_000), instructions=160),
    "W6": Workload("queue of 128", counted=(12_800, 64_000), instructions=90),
    "W7": Workload("gather 10 children", counted=(500, 2_500), instructions=2_200),
    "W8": Workload("cancel 1,000 sleeping children", counted=(2_000, 6_000), instructions=10_500),
    "W9": Workload("echo over loopback TCP, 1 connection", counted=(3_000, 9_000),
                   counted_arguments=("--connections", "100"), instructions=2_550,
                   instruction_ratio=("callbacks", 1.09)),
    "W9-100": Workload("echo, 100 connections", case="W9", arguments=("--connections", "100")),
    "W9-1000": Workload("echo, 1,000 connections", case="W9", extra=True, arguments=("--connections", "1000")),
    "W9-10000": Workload("echo, 10,000 connections", case="W9", extra=True, arguments=("--connections", "10000")),
    "W9-1k": Workload("echo of 1 KiB, 100 connections", case="W9", extra=True,
                      arguments=("--connections", "100", "--size", "1024")),
    "W10": Workload("to_thread, one at a time", clock="wall_ns"),
    "W10b": Workload("to_thread, 1,000 at once", clock="wall_ns"),
    "W11": Workload("1,000,000 awaits deep"),
    "W11b": Workload("loop of awaits that are ready"),
    "W12": Workload("compile hello", extra=True),
    "W13": Workload("fib(25), a task per call: create_task", counted=(465, 3_193), counted_arguments=FEW),
    "W13b": Workload("fib(25), a task per call: gather", counted=(465, 3_193), counted_arguments=FEW),
    "W13c": Workload("fib(25), a task per call: task group", counted=(465, 3_193), counted_arguments=FEW),
    "W13d": Workload("fib(25), a task per call: gather(eager)", counted=(465, 3_193), counted_arguments=FEW),
    "W14": Workload("skynet: gather of ten, 1,000,000 leaves", most_runs=3, counted=(1_000, 10_000)),
    "W14b": Workload("skynet: gather(eager) of ten", counted=(1_000, 10_000)),
    "W15": Workload("cancel a task", counted=(100, 600)),
    "W15b": Workload("cancel a task inside with_timeout", counted=(50, 250)),
    "W15c": Workload("cancel a task inside wait_for", counted=(50, 250)),
    "W15d": Workload("cancel a task inside with_finally", counted=(50, 250)),
    "W15e": Workload("cancel a task inside a task group", counted=(50, 250)),
    "W15f": Workload("a timeout expires", counted=(50, 250)),
    "W15g": Workload("1,000 timeouts expire at once", counted=(1_000, 3_000)),
    "W16": Workload("an exception through 10 awaits", counted=(20, 120)),
    "W17": Workload("functions from a thread, at most 64 wait", clock="wall_ns"),
    "W17b": Workload("functions from a thread", clock="wall_ns"),
    "W18": Workload("a number handed over by a future", counted=(2_000, 12_000)),
    "W19": Workload("run of an empty task", counted=(20, 120)),
    "W19b": Workload("run of an empty task, signals left alone", counted=(50, 550)),
    "W20": Workload("yield while an accept is pending", counted=(2_000, 12_000)),
    "W21": Workload("wait for the first of 100, again and again", counted=(100, 600)),
    "W21b": Workload("as_completed of 100", counted=(500, 3_000)),
    "W22": Workload("a line over streams, 1 connection", counted=(1_000, 6_000)),
    "W22-50": Workload("a line over streams, 50 connections", case="W22", counted=(2_000, 10_000),
                       arguments=("--connections", "50")),
    "W22b": Workload("64 lines at once over streams, a line", counted=(6_400, 64_000)),
    "W22c": Workload("64 KiB over streams", counted=(50, 250)),
    "W23": Workload("a datagram there and back", counted=(1_000, 6_000)),
    "W24": Workload("/bin/true, its start and its end", counted=(5, 25)),
    "W25": Workload("for_each(at_most(10))", counted=(5_000, 25_000)),
    "W25b": Workload("gather(at_most(10)) of 1,000", counted=(5_000, 25_000)),
    "W26": Workload("task_set of 100", counted=(5_000, 25_000)),
    "W27": Workload("broadcast to 10", counted=(10_000, 50_000)),
    "W28": Workload("1,000 tasks, limiter of 10", counted=(10_000, 50_000)),
    "W29": Workload("rendezvous", counted=(5_000, 25_000)),
    "W30": Workload("fan-out: a source, 10 workers, results", most_runs=3, counted=(5_000, 25_000)),
    "W31": Workload("select of two ready gets", counted=(5_000, 25_000)),
    "W31b": Workload("select of two gets that wait", counted=(5_000, 25_000)),
}

ASIO = ("awaitable", "awaitable+signals", "callbacks")  # variants that are nothing but Asio
