# SPDX-License-Identifier: MIT
"""examples/supervisor with real programs: that end, are killed, do not listen, leave others behind, print without end;
with files that change, and signals at every time.

    python3 tests/interop/supervisor.py <build folder> [--long]

--long: 500 programs in place of 40.
"""

import concurrent.futures
import itertools
import os
import pathlib
import re
import signal
import subprocess
import tempfile
import time

from harness import Program, arguments, check, descriptors, eventually, example, finish, resident

given = arguments()
folder = pathlib.Path(tempfile.mkdtemp(prefix="aio-supervisor-"))
numbers = itertools.count()


class Supervisor(Program):
    """One whose standard output is a file"""

    def __init__(self, *options, **more):
        number = next(numbers)
        self.path = folder / f"out-{number}"
        self.mark = f"{folder.name}-{number}-"  # in the environment of all that it starts
        more.setdefault("stdout", open(self.path, "wb"))
        super().__init__([example(given.build, "supervisor"), *options], cwd=folder,
                         env={**os.environ, "AIO_TEST_MARK": self.mark}, **more)

    def printed(self):
        return self.path.read_text(errors="replace")

    def pids(self, name):
        return [int(each) for each in re.findall(rf"^\* {name}: process (\d+)$", self.printed(), re.M)]

    def says(self, text, count=1, seconds=10):
        return eventually(lambda: self.printed().count(text) >= count, seconds)

    def all(self):
        """What it has started, also what its programs have"""
        return {pid: command for pid, command in marked(self.mark).items() if pid != self.pid}

    def alive(self, pid):
        return pid in self.all()

    def end(self, *numbers, seconds=10):
        """Its exit status, and how long it took to end"""
        begin = time.monotonic()
        for number in numbers:
            self.send_signal(number)
            time.sleep(0.2)
        return self.wait(seconds), time.monotonic() - begin


def marked(mark):
    """All processes with that mark in their environment, also those of programs that are gone"""
    found = {}
    for each in pathlib.Path("/proc").iterdir():
        try:
            if each.name.isdigit() and f"AIO_TEST_MARK={mark}".encode() in (each / "environ").read_bytes():
                found[int(each.name)] = (each / "cmdline").read_text().replace("\0", " ")
        except OSError:
            pass
    return found


def none_is_left(of, when):
    check(f"no process is left {when}", eventually(lambda: not of.all(), 3), str(of.all() or ""))


def zombies(parent):
    count = 0
    for each in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            state, its_parent = each.read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        count += state == "Z" and int(its_parent) == parent
    return count


def write(name, *lines):
    (folder / name).write_text("\n".join(lines) + "\n")
    return str(folder / name)


def keeps_running():
    # Each start leaves its time.
    with Supervisor("-p", "0.1", "-u", "0.4", "-n", "5", "quick: date +%s.%N >>quick; echo out; echo err >&2; exit 3",
                    "slow: date +%s.%N >>slow; sleep 0.5", "steady: sleep 1000",
                    "leaver: sleep 2000 & sleep 2000 & echo left") as one:
        check("a program that ends too soon is given up in the end",
              one.says("* quick: is given up: it ended too soon 5 times in a row"))
        check("what it prints has its name before it", 
              re.findall("^quick: .*", one.printed(), re.M) == ["quick: out", "quick: err"] * 5)
        check("how it ended is told", one.printed().count("* quick: exit status 3\n") == 5)
        starts = [float(line) for line in (folder / "quick").read_text().split()]
        pauses = [b - a for a, b in zip(starts, starts[1:])]
        check("it was started again, with pauses that grow",
              len(pauses) == 4 and all(pause >= 0.1 * 2**i for i, pause in enumerate(pauses)),
              " ".join(f"{each:.2f}" for each in pauses))
        pid = one.pids("steady")[0]
        os.kill(pid, signal.SIGKILL)
        check("one that is killed is started again", one.says("* steady: process", 2))
        check("that is told", "* steady: was ended by signal 9\n" in one.printed())
        check("what a program leaves behind is ended with it",
              one.says("* leaver: is given up") and not any("sleep 2000" in each for each in one.all().values()))
        check("one that runs long enough is not given up, and the pause stays short", one.says("* slow: process", 7))
        starts = [float(line) for line in (folder / "slow").read_text().split()[:6]]
        took = starts[-1] - starts[0]  # 3 s; 5.6 s if the pause grew
        check("so it is started again at once, each time", took < 4.8, f"{took:.1f} s for five times")
        check("there is no zombie", zombies(one.pid) <= 1)  # one that ended this moment
        status, took = one.end(signal.SIGTERM)
        check("it ends, with status 1 where some were given up", status == 1 and took < 3, f"{status}, {took:.1f} s")
    none_is_left(one, "where programs were given up")
    with Supervisor("-n", "2", "-p", "0.05", "false", "nowhere: /no/such/program") as one:
        check("it ends with status 1 when all are given up", one.wait(10) == 1)


def reads_its_file_again():
    programs = write("programs", "# a comment", "", "a: sleep 1001", "b: echo one; sleep 1002", "  c:\tsleep 1003")
    with Supervisor("-f", programs, "-g", "1") as one:
        check("three programs run", one.says(": process ", 3))
        a, b, c = (one.pids(name)[0] for name in "abc")
        write("programs", "d: sleep 1004", "b: echo two; sleep 1002", "a: sleep 1001")
        one.send_signal(signal.SIGHUP)
        check("SIGHUP starts what is new", one.says("* d: process"))
        check("ends what is gone", one.says("* c: was ended by signal 15") and not one.alive(c))
        check("starts anew what is otherwise", one.says("b: two\n") and not one.alive(b))
        check("and leaves the others alone", one.alive(a) and one.pids("a") == [a])
        b, d = one.pids("b")[-1], one.pids("d")[-1]
        write("programs", "a: sleep 1", "a: sleep 2")
        one.send_signal(signal.SIGHUP)
        check("a file that makes no sense changes nothing", one.says("* nothing is changed: there are two programs"))
        os.unlink(programs)
        one.send_signal(signal.SIGHUP)
        check("nor does one that is not there", one.says("* nothing is changed: ", 2))
        check("all of them run on", one.alive(a) and one.alive(b) and one.alive(d))
        write("programs", "flaky: exit 1", "a: sleep 1001")
        for _ in range(20):
            one.send_signal(signal.SIGHUP)
        check("many at once do no harm", one.says("* flaky: process"))
        check("the one that is in all files has never ended", one.alive(a) and one.pids("a") == [a])
        check("the status is 0 where none was given up", one.end(signal.SIGTERM)[0] == 0)
    none_is_left(one, "after all files")
    deaf = [f"deaf{n}: trap '' TERM; echo is ready; while :; do sleep 0.05; done" for n in range(8)]
    with Supervisor("-f", write("programs", "a: sleep 1001", *deaf), "-g", "1.5") as one:
        one.says("is ready", 8)
        write("programs", "a: sleep 1001")
        begin = time.monotonic()
        one.send_signal(signal.SIGHUP)
        check("those that are gone have their grace at the same time, and are killed",
              one.says("was ended by signal 9", 8, 20) and 1.5 <= time.monotonic() - begin < 8,
              f"{time.monotonic() - begin:.1f} s")
    none_is_left(one, "where they did not listen")


def ends_all_in_order():
    def polite(name):
        return f"{name}: trap 'echo {name} >>order; exit 0' TERM; echo is ready; while :; do sleep 0.05; done"

    def deaf(name):
        return f"{name}: trap '' TERM; echo is ready; while :; do sleep 0.05; done"

    for number in (signal.SIGTERM, signal.SIGINT):
        (folder / "order").unlink(missing_ok=True)
        with Supervisor("-g", "0.7", polite("first"), polite("second"), deaf("deaf"), polite("last")) as one:
            one.says("is ready", 4)
            status, took = one.end(number)
            check(f"{number.name} ends all, the last one first",
                  (folder / "order").read_text() == "last\nsecond\nfirst\n")
            check("one that does not listen is killed after its grace",
                  0.7 <= took < 4 and "* deaf: was ended by signal 9" in one.printed(), f"{took:.1f} s")
            check("the status is 0", status == 0, str(status))
        none_is_left(one, f"after {number.name}")
    with Supervisor("-g", "1000", *(deaf(name) for name in "abcdef")) as one:
        one.says("is ready", 6)
        status, took = one.end(signal.SIGTERM, signal.SIGHUP, signal.SIGTERM)
        check("a second signal kills all at once", status == 0 and took < 3, f"{status}, {took:.1f} s")
        check("all six of them", one.printed().count("was ended by signal 9") == 6)
    none_is_left(one, "after two signals")
    # As early as possible: whenever it comes, nothing is left.
    left = {}
    for i in range(8):
        with Supervisor("-g", "1", *(f"n{n}: sleep 1000 & sleep 1000" for n in range(5))) as one:
            time.sleep(0.01 * i)
            one.send_signal(signal.SIGTERM)
            one.wait(10)
        eventually(lambda: not one.all(), 3)
        left |= one.all()
    check("no process is left after signals while it began", not left, str(left or ""))


def passes_all_on():
    lines = "seq 50000 | sed 's/^/line /'; head -c 1000000 /dev/zero | tr '\\0' x; echo; printf 'no end'; sleep 1000"
    with Supervisor(f"a: {lines}", f"b: {lines}") as one:
        check("100,000 lines of two programs come, whole and in order",
              one.says("line 50000\n", 2, 20)
              and all(re.findall(rf"^{name}: line (\d+)$", one.printed(), re.M) == [str(n + 1) for n in range(50000)]
                      for name in "ab"))
        check("a line of 1 MB comes in parts, each with the name", eventually(lambda: sum(
            len(part) for part in re.findall("^b: (x+)$", one.printed(), re.M)) == 1000000))
        check("no other line is there", all(re.match(r"[ab]: (line \d+|x+)$|\* [ab]: process", line)
                                            for line in one.printed().splitlines()))
        one.end(signal.SIGTERM)
        check("a last line without an end comes, too",
              "a: no end\n" in one.printed() and "b: no end\n" in one.printed())
    # Nobody reads.
    read, write_end = os.pipe()
    with Supervisor("-g", "0.3", "yes: yes", "deaf: trap '' TERM; yes", stdout=write_end) as one:
        os.close(write_end)
        time.sleep(0.7)
        check("where nobody reads, it does not grow", resident(one.pid) < 50_000_000, f"{resident(one.pid)} bytes")
        status, took = one.end(signal.SIGTERM, signal.SIGTERM)
        check("and ends", status in (0, 1) and took < 8, f"{status}, {took:.1f} s")
        os.close(read)
    none_is_left(one, "where nobody read")
    read, write_end = os.pipe()
    with Supervisor("-p", "0.1", "-n", "1000", "x: while echo x; do echo >>still; sleep 0.05; done",
                    stdout=write_end) as one:
        os.close(write_end)
        time.sleep(0.3)
        os.close(read)
        before = (folder / "still").stat().st_size
        time.sleep(0.7)
        check("where the reader goes away, programs run on, and do not notice",
              (folder / "still").stat().st_size > before and len(one.all()) >= 1)
        check("and it ends as ever", one.end(signal.SIGTERM)[0] == 0)
    none_is_left(one, "where the reader went away")


def many(count):
    steady = [f"s{n}: sleep 1000" for n in range(count)]
    flapping = [f"f{n}: echo {n}; sleep 0.1" for n in range(count)]
    with Supervisor("-p", "0.1", "-n", "1000000", "-u", "0.01", "-f", write("many", *steady)) as one:
        one.says(": process ", count, 30)
        usual = descriptors(one.pid)
        write("many", *steady, *flapping)
        one.send_signal(signal.SIGHUP)
        check(f"{count} programs that flap beside {count} that do not", one.says("exit status 0", 2 * count, 60))
        check("none that does not was started again", all(len(one.pids(f"s{n}")) == 1 for n in range(0, count, 7)))
        write("many", *steady)
        one.send_signal(signal.SIGHUP)
        check("every descriptor is back", eventually(lambda: descriptors(one.pid) == usual, 30),
              f"{usual}, {descriptors(one.pid)} now")
        check("there is no zombie of them", eventually(lambda: zombies(one.pid) == 0))
        status, took = one.end(signal.SIGTERM, seconds=60)
        check("all end", status == 0, f"{took:.1f} s")
    none_is_left(one, "of many")


def refuses():
    for wrong in ([], ["-f"], ["-f", "/no/such/file"], ["-n", "0", "x"], ["a: b", "a: c"], [": x"], ["x:"], ["# x"],
                  ["-f", "x", "y"]):
        with Supervisor(*wrong, stderr=subprocess.DEVNULL) as one:
            check(f"{wrong} is refused", one.wait(10) == 2)


try:
    refuses()
    with concurrent.futures.ThreadPoolExecutor() as pool:  # they mostly wait
        parts = [pool.submit(each) for each in
                 (keeps_running, reads_its_file_again, ends_all_in_order, passes_all_on)]
    for each in parts:
        each.result()
    many(500 if given.long else 40)
finally:
    for each in marked(folder.name):
        try:
            os.kill(each, signal.SIGKILL)
        except ProcessLookupError:
            pass
    subprocess.run(["rm", "-rf", str(folder)])
finish()
