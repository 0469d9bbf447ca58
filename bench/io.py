#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""CPU time that a server's process takes per operation over loopback, and what other programs cost to start: aio
beside asyncio, uvloop, callbacks of Asio and bare system calls, in one run.

    bench/io.py                        all, the least of five
    bench/io.py --repeat 12 IO1 IO50   some of them
    bench/io.py --syscalls             system calls of the servers per operation, by strace
    bench/io.py --calls                the same by perf, which does not slow them down: with strace a client has
                                       mostly answered before it is looked for
    bench/io.py --list                 what there is

The clock of the server's process is read from outside, when its client has connected and asked a few times, and when
it is done. Memory is what the process grew by (its private pages) per connection, with 2,000 of them. Targets are
shares of what a floor took on the machine where they were set, since machines differ: see docs/performance.md.
"""

import contextlib
import dataclasses
import json
import pathlib
import re
import shutil
import subprocess
import tempfile
import time
import typing

import measure
import syscalls
import twins

# What perf counts, and which of them may find nothing.
CALLS = ("accept", "accept4", "close", "epoll_ctl", "epoll_wait", "ioctl", "read", "recvfrom", "recvmsg", "sendmsg",
         "sendto", "setsockopt", "write", "writev")
MAY_FAIL = ("accept", "accept4", "read", "recvfrom")

TWIN = twins.TWIN.parent / "io_twin.py"


@dataclasses.dataclass(frozen=True)
class Row:
    title: str
    serves: str  # lines, blocks, or what is done with other programs
    client: str = ""  # its mode
    connections: int = 1
    rounds: int = 0
    size: int = 32
    per_round: int = 1  # operations
    # The most that aio is to take: us or bytes; or, since machines differ, a share of what another variant takes here.
    target: typing.Optional[float] = None
    share: typing.Optional[typing.Tuple[float, str]] = None
    variants: typing.Tuple[str, ...] = ("asyncio", "uvloop", "aio", "callbacks", "epoll")


SECRET = ("tls", "handshake")  # clients
PROCESSES = ("asyncio", "uvloop", "aio", "floor")
COLUMNS = ("asyncio", "uvloop", "aio", "callbacks", "floor")

ROWS = {
    "IO1": Row("echo of a line, 1 connection", "lines", "echo", rounds=8000, share=(1.29, "floor")),
    "IO50": Row("echo of a line, 50 connections", "lines", "echo", 50, 300, per_round=50, share=(1.45, "floor")),
    "IO1000": Row("echo of a line, 1,000 connections", "lines", "echo", 1000, 30, per_round=1000),
    "IO64": Row("64 lines per segment, a line", "lines", "echo", rounds=3000, size=2048, per_round=64,
                share=(2.5, "floor")),
    "IOblock": Row("echo of 64 KiB", "blocks", "echo", rounds=2500, size=65536, share=(1.09, "floor")),
    "IOown": Row("the same, by read_some() and send()", "own", "echo", rounds=2500, size=65536,
                 share=(1.09, "floor"), variants=("aio", "callbacks", "epoll")),
    "IOaccept": Row("accept, a line, reset", "lines", "accept", rounds=2500, share=(1.72, "floor")),
    "IOtls": Row("TLS 1.3, echo of a line", "lines", "tls", rounds=5000, share=(0.375, "asyncio")),
    "IOhandshake": Row("TLS 1.3, handshake, a line, close", "lines", "handshake", rounds=200, share=(0.845, "asyncio")),
    "IOtlsblock": Row("TLS 1.3, echo of 64 KiB", "blocks", "tls", rounds=1500, size=65536, share=(0.69, "asyncio")),
    "IOidle": Row("an idle connection, bytes", "lines", "echo", 2000, target=1024),
    "IOspawn": Row("/bin/true", "spawn", rounds=300, share=(1.5, "floor"), variants=PROCESSES),
    "IOspawn16": Row("/bin/true, 16 at once", "together", rounds=320, share=(1.5, "floor"), variants=PROCESSES),
    "IOcat": Row("64 KiB through cat", "cat", rounds=300, variants=PROCESSES),
}


@contextlib.contextmanager
def started(command, **options):
    program = subprocess.Popen([str(part) for part in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               text=True, **options)
    try:
        yield program
        program.stdin.close()  # they end by that
        program.wait(timeout=20)
    finally:
        program.kill()
        program.wait()


def heard(program, what):
    line = program.stdout.readline()
    if not line:
        raise measure.Failed(f"{what} ended with status {program.wait()}")
    return line.strip()


def cpu_of(program):
    return time.clock_gettime((~program.pid << 3) | 2)  # as clock_getcpuclockid() makes it


def private_bytes_of(program):
    text = pathlib.Path(f"/proc/{program.pid}/smaps_rollup").read_text()
    return sum(int(kib) << 10 for kib in re.findall(r"^Private_\w+: +(\d+) kB", text, re.M))


class Programs:
    def __init__(self, folder, tls):
        self.server, self.client = folder / "aio_io_server", folder / "aio_io_client"
        self.tls = tls
        for program in (self.server, self.client):
            if not program.exists():
                raise measure.Failed(f"{program} is not there: cmake --preset bench && cmake --build build/bench "
                                     "--target aio_io_server aio_io_client")

    def server_command(self, row, variant):
        program = [twins.PYTHON, TWIN] if variant in ("asyncio", "uvloop") else [self.server]
        further = self.tls if row.client in SECRET else [] if row.client else [row.rounds]
        return [*program, variant, row.serves, *further]

    @contextlib.contextmanager
    def connected(self, row, variant, rounds):
        """The server, and `go`, which does the rounds."""
        with started(self.server_command(row, variant), env=twins.ENVIRONMENT) as server:
            port = heard(server, f"the server in {variant}")
            before = private_bytes_of(server)
            with started([self.client, port, row.client, row.connections, rounds, row.size,
                          min(row.size, 32)]) as client:
                heard(client, "the client")

                def go():
                    client.stdin.write("\n")
                    client.stdin.flush()
                    heard(client, "the client")

                yield server, go, before

    def cost(self, row, variant):
        """us per operation; or bytes of a connection."""
        if not row.client:
            return json.loads(measure.checked(self.server_command(row, variant)).stdout)["own"]
        with self.connected(row, variant, row.rounds) as (server, go, before):
            if row.rounds == 0:
                return (private_bytes_of(server) - before) / row.connections
            start = cpu_of(server)
            go()
            return (cpu_of(server) - start) * 1e6 / (row.rounds * row.per_round)

    def calls(self, row, variant):
        """name -> system calls of the server per operation."""
        rounds = max(200, row.rounds // 10)
        with tempfile.NamedTemporaryFile() as output, self.connected(row, variant, rounds) as (server, go, _):
            with subprocess.Popen(["strace", "-f", "-c", "-o", output.name, "-p", str(server.pid)],
                                  stderr=subprocess.PIPE, text=True) as tracer:
                tracer.stderr.readline()  # that it is attached
                go()
                tracer.send_signal(2)
            found = syscalls.parsed(pathlib.Path(output.name).read_text())
        return {name: count / (rounds * row.per_round) for name, count in found.items()}

    def calls_by_perf(self, row, variant):
        events = [f"syscalls:sys_enter_{each}" for each in CALLS]
        command = ["perf", "stat", "-x", ",", "-e", ",".join(events)]
        for each in MAY_FAIL:
            command += ["-e", f"syscalls:sys_exit_{each}", "--filter", "ret < 0"]
        with self.connected(row, variant, row.rounds) as (server, go, _):
            with subprocess.Popen([*command, "-p", str(server.pid)], stderr=subprocess.PIPE, text=True) as counter:
                time.sleep(0.5)
                go()
                counter.send_signal(2)
                said = counter.communicate()[1]
        counted = {(kind, name): int(count) / (row.rounds * row.per_round)
                   for count, kind, name in re.findall(r"^(\d+),.*sys_(enter|exit)_(\w+)", said, re.MULTILINE)}
        if not counted:
            raise measure.Failed("perf counted nothing: it has to be allowed to (root)")
        failed = {name: count for (kind, name), count in counted.items() if kind == "exit"}
        found = {name: count - failed.get(name, 0) for (kind, name), count in counted.items() if kind == "enter"}
        return {**found, **{f"{name} (failed)": count for name, count in failed.items()}}


@contextlib.contextmanager
def certificate():
    with tempfile.TemporaryDirectory() as folder:
        chain, key = (pathlib.Path(folder) / name for name in ("chain.pem", "key.pem"))
        measure.checked(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost",
                         "-keyout", key, "-out", chain])
        yield [chain, key]


def has(variant):
    if variant == "asyncio":
        return pathlib.Path(twins.PYTHON).exists()
    return variant != "uvloop" or has("asyncio") and twins.has_uvloop()


def column(variant):
    return "floor" if variant == "epoll" else variant


def judged(name, least):
    """What aio is to reach, and whether it does."""
    target, said = ROWS[name].target, ""
    if target is not None:
        said = f"{target:,.0f}"
    elif ROWS[name].share:
        share, of = ROWS[name].share
        if (name, of) in least:
            target, said = share * least[name, of], f"{share:g} of {of}"
    if target is None:
        return ""
    return said + (", reached" if least[name, "aio"] <= target else ", missed")


def table_of_costs(programs, names, repeat):
    cases = [(name, variant) for name in names for variant in ROWS[name].variants if has(variant)]
    least = {}
    for _, case in measure.in_turns(repeat, cases):
        found = programs.cost(ROWS[case[0]], case[1])
        key = case[0], column(case[1])
        least[key] = min(found, least.get(key, found))
    rows = []
    for name in names:
        cells = [f"{least[name, each]:,.2f}" if (name, each) in least else "" for each in COLUMNS]
        rows.append([name, ROWS[name].title, *cells, judged(name, least)])
    return measure.table(rows, ["", "us of CPU", *COLUMNS, "target"], left=2)


def tables_of_calls(calls_of, names):
    for name in (name for name in names if ROWS[name].client and ROWS[name].rounds):
        variants = [variant for variant in ROWS[name].variants if variant not in ("asyncio", "uvloop")]
        found = {variant: calls_of(ROWS[name], variant) for variant in variants}
        calls = sorted({call for each in found.values() for call, share in each.items() if share >= 0.002})
        rows = [[call, *(f"{found[each].get(call, 0):.3f}" for each in variants)] for call in calls]
        rows.append(["all", *(f"{sum(found[each].values()):.3f}" for each in variants)])
        yield measure.table(rows, [ROWS[name].title, *variants])


def main():
    parser = measure.parser(__doc__)
    parser.add_argument("rows", nargs="*", metavar="ROW", help="default: all")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--syscalls", action="store_true", help="system calls in place of time")
    parser.add_argument("--calls", action="store_true", help="the same, by perf in place of strace")
    parser.add_argument("--list", action="store_true")
    given = parser.parse_args()
    names = given.rows or list(ROWS)
    for name in names:
        if name not in ROWS:
            parser.error(f"{name} is none of {' '.join(ROWS)}")
    if given.list:
        print(measure.table([[name, ROWS[name].title] for name in names], ["", ""], left=2))
        return
    with measure.ends_when_failed(), contextlib.ExitStack() as until_the_end:
        secret = any(ROWS[name].client in SECRET for name in names)
        if secret and not shutil.which("openssl"):
            names = [name for name in names if ROWS[name].client not in SECRET]
            secret = False
        programs = Programs(given.program.parent, until_the_end.enter_context(certificate()) if secret else [])
        if given.syscalls or given.calls:
            measure.require("perf" if given.calls else "strace")
            for table in tables_of_calls(programs.calls_by_perf if given.calls else programs.calls, names):
                print(table + "\n")
        else:
            print(table_of_costs(programs, names, given.repeat))


if __name__ == "__main__":
    main()
