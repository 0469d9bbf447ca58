# SPDX-License-Identifier: MIT
"""examples/tail_files on real files: that grow, come later, are emptied, rotated, removed, or cannot be read; many at
once, and many lines; beside `tail -F` and logrotate's ways.

    python3 tests/interop/tail_files.py <build folder> [--long]

--long: 5,000 files in place of 300, ten times the lines.
"""

import concurrent.futures
import contextlib
import os
import pathlib
import resource
import signal
import subprocess
import tempfile
import threading
import time

from harness import Program, arguments, check, descriptors, eventually, example, finish, resident

given = arguments()
folder = pathlib.Path(tempfile.mkdtemp(prefix="aio-tail-")).resolve()
LATE = 3  # s, after which every line must have come: the longest interval is 1 s


class Tail(Program):
    def __init__(self, *what, waits=True, **more):
        self.path = folder / f"out-{time.monotonic_ns()}"
        self.words = self.path.with_suffix(".errors")
        more.setdefault("stdout", open(self.path, "wb"))
        more.setdefault("stderr", open(self.words, "wb"))
        super().__init__([example(given.build, "tail_files"), *what], cwd=folder, **more)
        # Until it has all that are there open, and knows where they end.
        there = {str(folder / each) for each in what if (folder / each).is_file()}
        if waits and not eventually(lambda: there <= self.opened(), 30):
            self.kill()
            raise TimeoutError(f"not opened: {there - self.opened()}")
        time.sleep(0.2)

    def opened(self):
        found = set()
        for each in pathlib.Path(f"/proc/{self.pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):  # closed meanwhile
                found.add(os.readlink(each))
        return found

    def lines(self):
        return self.path.read_text(errors="replace").splitlines()

    def said(self):
        return self.words.read_text()

    def prints(self, lines, seconds=LATE):
        return eventually(lambda: self.lines() == lines, seconds)


def append(name, text):
    with open(folder / name, "a") as file:
        file.write(text)


def one_file():
    append("log", "old 1\nold 2\n")
    with Tail("log") as one, Tail("-a", "log") as whole:
        expected = ["new 1", "", "with \t blanks  ", "from DOS", "ä€😀"]
        append("log", "new 1\n\nwith \t blanks  \nfrom DOS\r\nä€😀\n")
        check("lines that are added come, without those that were there", one.prints(expected), str(one.lines()))
        check("with -a those, too", whole.prints(["old 1", "old 2", *expected]))
        append("log", "half a ")
        time.sleep(0.3)
        check("half a line does not come", one.lines() == expected)
        append("log", "line\n")
        check("until its end does", one.prints([*expected, "half a line"]))
        time.sleep(1.5)  # at its longest interval
        begin = time.monotonic()
        append("log", "late\n")
        check("a file that was quiet is looked at each second",
              one.prints([*expected, "half a line", "late"]), f"{time.monotonic() - begin:.2f} s")
        append("log", "x" * 3_000_000 + "\n")
        check("a line of 3 MB comes", eventually(lambda: len(one.lines()[-1]) == 3_000_000))
        one.send_signal(signal.SIGINT)
        check("Ctrl-C ends it, by the signal", one.wait(5) == -signal.SIGINT)
        whole.send_signal(signal.SIGTERM)
        check("as SIGTERM does", whole.wait(5) == -signal.SIGTERM)
    check("nothing is said about it", one.said() + whole.said() == "", one.said())


def files_that_change():
    append("a", "old\n")
    with Tail("a", "b") as one:
        expected = []

        def then(sentence, *lines):
            expected.extend(lines)
            check(sentence, one.prints(expected), "" if one.lines() == expected else str(one.lines()[-5:]))

        check("a file that is not there is told of, once", eventually(lambda: one.said().count("[b]") == 1))
        append("b", "b 1\nb 2\n")
        then("it is read from its beginning when it comes", "b: b 1", "b: b 2")
        append("a", "a 1\n")
        then("lines have their file's name", "a: a 1")
        os.truncate(folder / "a", 0)
        append("a", "a 2\n")
        then("one that became shorter is read from its beginning", "a: a 2")
        append("a", "no end")
        time.sleep(0.3)
        (folder / "a").write_text("a 3\n")
        then("half a line that it had comes first", "a: no end", "a: a 3")
        # As logrotate does, with a writer that has not heard yet.
        (folder / "a").rename(folder / "a.1")
        append("a.1", "a 4\n")
        append("a", "a 6\n")
        append("a.1", "a 5\n")
        then("of one that is rotated the rest of the old one comes before the new one", "a: a 4", "a: a 5", "a: a 6")
        append("a.1", "nobody hears this\n")
        append("a", "a 7\n")
        then("the new one is followed, the old one is not", "a: a 7")
        os.unlink(folder / "a")
        time.sleep(0.3)
        append("a", "a 8\n")
        then("one that was removed is followed when it is there again", "a: a 8")
        (folder / "next").write_text("a 9\nhalf")
        (folder / "next").rename(folder / "a")
        then("one that was replaced by another is read from its beginning", "a: a 9")
        (folder / "a").rename(folder / "a.1")
        append("a", "a 10\n")
        then("where the old one ends in half a line, that comes", "a: half", "a: a 10")
        (folder / "target").write_text("a 11\n")
        os.unlink(folder / "a")
        (folder / "a").symlink_to("target")
        then("a link to another file is another file", "a: a 11")
        os.unlink(folder / "b")
        (folder / "b").mkdir()
        time.sleep(0.5)
        (folder / "b").rmdir()
        append("b", "b 3\n")
        then("a folder of that name is waited for to go away", "b: b 3")
        os.unlink(folder / "b")
        os.mkfifo(folder / "b")
        time.sleep(0.5)
        os.unlink(folder / "b")
        append("b", "b 4\n")
        then("so is a pipe, which does not hold it up", "b: b 4")
        check("few words are said of all that", len(one.said().splitlines()) < 6, one.said().strip())


def rotates_often(rounds):
    """A writer whose file has its name for little longer than the longest interval"""
    with Tail("-a", "spin", "other") as one:
        written = []

        def write_to(file, text):
            file.write(text + "\n")
            written.append("spin: " + text)

        for number in range(rounds):
            with open(folder / "spin", "x", buffering=1) as file:
                for line in range(2000):
                    write_to(file, f"{number} {line}")
                if number + 1 < rounds:
                    time.sleep(1.5)
                    write_to(file, f"{number} before it is renamed")
                    (folder / "spin").rename(folder / f"spin.{number}")
                    write_to(file, f"{number} after that")
                    time.sleep(0.2 * (number % 4))
        check("of a file that is rotated again and again no line is lost, or comes twice, or too early",
              one.prints(written, 10), f"{len(written)} lines, {len(one.lines())} came")


def many_lines(count):
    """Several writers, who do not wait"""
    names = [f"busy{n}" for n in range(4)]
    with Tail(*names) as one:
        before = descriptors(one.pid)

        def write_all(name):
            with open(folder / name, "w", buffering=1 << 16) as file:
                for number in range(count):
                    file.write(f"{number}: what there is to say, in a line of a usual length\n")

        begin = time.monotonic()
        threads = [threading.Thread(target=write_all, args=[name]) for name in names]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        done = eventually(lambda: one.path.stat().st_size >= sum(
            (folder / name).stat().st_size + len(f"{name}: ") * count for name in names), 60)
        took = time.monotonic() - begin
        lines = one.lines()
        check(f"{count} lines of each of 4 files come, in order", done and len(lines) == 4 * count and all(
            [line.split(": ")[1] for line in lines if line.startswith(name)] == [str(n) for n in range(count)]
            for name in names), f"{took:.1f} s")
        check("memory does not grow by them", resident(one.pid) < 60_000_000, f"{resident(one.pid)} bytes")
        check("nor do descriptors", descriptors(one.pid) <= before + len(names))
    # Who reads slowly has it wait; who goes away ends it.
    with Tail("-a", names[0], stdout=subprocess.PIPE) as one:
        time.sleep(0.5)
        check("nobody reads: it waits", one.poll() is None and resident(one.pid) < 60_000_000)
        text = b""
        while text.count(b"\n") < count:
            text += os.read(one.stdout.fileno(), 1 << 16)
        check("all lines come then", text == (folder / names[0]).read_bytes())
        one.stdout.close()
        append(names[0], "nobody\n")
        check("it ends when its reader goes away", one.wait(LATE + 2) == 0)
    with Tail("-a", names[0], stdout=subprocess.PIPE) as one:
        one.send_signal(signal.SIGINT)
        check("Ctrl-C ends it, too, while nobody reads", one.wait(5) == -signal.SIGINT)


def many_files(count):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < count + 100:
        return
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, count + 100), hard))
    names = [f"m{n}" for n in range(count)]
    for name in names[::2]:
        append(name, "old\n")
    with Tail(*names) as one:
        for number in range(10):
            for name in names:
                append(name, f"{number}\n")
            if number == 5:
                time.sleep(1.5)  # all are there
                for name in names[::3]:
                    (folder / name).rename(folder / (name + ".1"))

        def all_there():
            found = {name: [] for name in names}
            for line in one.lines():
                name, _, number = line.partition(": ")
                found[name].append(number)
            return all(numbers == [str(n) for n in range(10)] for numbers in found.values())

        check(f"{count} files at once, some of which come later, or are rotated", eventually(all_there, 20))
        usage = pathlib.Path(f"/proc/{one.pid}/stat").read_text().split()
        time.sleep(1)
        again = pathlib.Path(f"/proc/{one.pid}/stat").read_text().split()
        ticks = int(again[13]) + int(again[14]) - int(usage[13]) - int(usage[14])
        check("they cost little when nothing is added", ticks / os.sysconf("SC_CLK_TCK") < max(0.5, count / 5000),
              f"{100 * ticks / os.sysconf('SC_CLK_TCK'):.0f} % of a processor")
        check("one descriptor each", descriptors(one.pid) < count + 30)
        one.send_signal(signal.SIGINT)
        check("Ctrl-C ends it", one.wait(5) == -signal.SIGINT)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    # Without descriptors it says so, and follows the others.
    with Tail(*names[:100], waits=False,
              preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (40, hard))) as one:
        check("without descriptors it says so", eventually(lambda: "Too many open files" in one.said()))
        for name in names[:100]:
            append(name, "then\n")
        check("and follows those that it has", eventually(lambda: len(one.lines()) >= 10))


def refuses():
    for wrong in ([], ["-a"], ["-x", "log"], [""]):
        with Program([example(given.build, "tail_files"), *wrong], stderr=subprocess.DEVNULL) as one:
            check(f"{wrong} is refused", one.wait(10) == 2)


try:
    refuses()
    with concurrent.futures.ThreadPoolExecutor() as pool:  # they mostly wait
        parts = [pool.submit(one_file), pool.submit(files_that_change),
                 pool.submit(rotates_often, 10 if given.long else 2)]
    for each in parts:
        each.result()
    many_lines(500_000 if given.long else 50_000)
    many_files(5000 if given.long else 300)
finally:
    subprocess.run(["rm", "-rf", str(folder)])
finish()
