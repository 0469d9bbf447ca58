#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""examples/http_server with curl, wrk, h2load, ab, nc and asyncio as clients, and with such as mean no good.

Not called http.py, for then no script here could import Python's module of that name.
"""

import asyncio
import hashlib
import os
import pathlib
import re
import resource
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

from harness import (Program, arguments, check, descriptors, eventually, example, finish, free_port, needs,
                     settled_descriptors, wait_for_port)

given = arguments()
program = example(given.build, "http_server")
if not pathlib.Path(program).exists():
    print("left out, not built:", program)
    raise SystemExit(77)
needs("curl", "nc")
_, most = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, 8192), most))

folder = tempfile.TemporaryDirectory()
root = pathlib.Path(folder.name, "files")
pathlib.Path(root, "sub folder").mkdir(parents=True)
pathlib.Path(folder.name, "secret").write_text("secret")
(root / "index.html").write_text("hello\n")
(root / "sub folder" / "index.html").write_text("hello below\n")
(root / "small.html").write_text("x" * 612)
(root / "large").write_bytes(os.urandom(10_000_000))
(root / "out").symlink_to("../secret")
(root / "shut").write_text("secret")
(root / "shut").chmod(0)
os.mkfifo(root / "pipe")


def serve(port, *more):
    server = Program([program, str(root), str(port), *more], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    wait_for_port(port)
    return server


def curl(*options, send=None):
    return subprocess.run(["curl", "-s", *options], input=send, capture_output=True, timeout=60).stdout


def raw(data, port, piece=None, pause=0.0):
    """What the server answers to these bytes up to its end, and whether it reset the connection"""
    answer = b""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            for at in range(0, len(data), piece or len(data)):
                client.sendall(data[at : at + (piece or len(data))])
                time.sleep(pause)
            client.shutdown(socket.SHUT_WR)
            while block := client.recv(65536):
                answer += block
        except ConnectionError as error:
            return answer, error
    return answer, None


def status(data, port):
    return re.findall(rb"HTTP/1\.1 (\d+) ", raw(data, port)[0])


def talks_to_curl(port):
    at = f"http://127.0.0.1:{port}"
    check("curl: a large file comes as it is", hashlib.sha256(curl(f"{at}/large")).digest()
          == hashlib.sha256((root / "large").read_bytes()).digest())
    connects = curl("-o", "/dev/null", "-w", "%{num_connects} ", f"{at}/", "-o", "/dev/null", f"{at}/none",
                    "-o", "/dev/null", f"{at}/small.html").split()
    check("curl: one connection serves several requests", connects == [b"1", b"0", b"0"], connects)
    answer = curl("-0i", f"{at}/")
    check("curl: HTTP/1.0 is answered, and ends", b"hello" in answer and b"Connection: close" in answer)
    answer = curl("-I", f"{at}/small.html")
    check("curl: HEAD says what GET would", b"Content-Length: 612" in answer and answer.endswith(b"\r\n\r\n"))
    code = ["-o", "/dev/null", "-w", "%{http_code}"]
    check("curl: what is not there is 404", curl(*code, f"{at}/none") == b"404")
    check("curl: a folder has its index.html", curl(f"{at}/sub%20folder/?query") == b"hello below\n")
    check("curl: POST is 405, and the connection stays",
          curl(*code, "-d", "x=1", f"{at}/", "-o", "/dev/null", f"{at}/") == b"405405")
    check("curl: a body of 2 MB is 413", curl(*code, "--data-binary", "@-", f"{at}/", send=bytes(2_000_000)) == b"413")
    check("curl: so is one in chunks", curl(*code, "-H", "Transfer-Encoding: chunked", "--data-binary", "@-",
                                          f"{at}/", send=bytes(2_000_000)) == b"413")
    took = time.monotonic()
    check("curl: one that waits for 100 Continue gets it", curl(
        *code, "-H", "Expect: 100-continue", "--expect100-timeout", "20", "--data-binary", "@-", f"{at}/",
        send=bytes(1_000_000)) == b"405" and time.monotonic() - took < 15)
    outside = ["/../secret", "/%2e%2e/secret", "/sub%20folder/../../secret", "/..%2fsecret", "//../secret", "/out",
               "/x%00/../secret", "/..%5csecret", f"/{folder.name}/secret", f"//{folder.name}/secret", "/.", "/..",
               "/pipe", "/sub%20folder"]
    answers = {path: curl("--path-as-is", "-w", "%{http_code}", at + path) for path in outside}
    wrong = {path: answer for path, answer in answers.items() if not answer.endswith(b"404")}
    check("curl: nothing outside of the folder is read, and no pipe is opened", not wrong, wrong or "")
    if os.geteuid() != 0:
        check("curl: what cannot be read is 500", curl(*code, f"{at}/shut") == b"500")
    each = [option for _ in range(200) for option in ("-o", "/dev/null", f"{at}/small.html")]
    codes = curl("-Z", "--parallel-max", "50", "-w", "%{http_code} ", *each).split()
    check("curl: 200 requests at once", codes == [b"200"] * 200, len(codes))
    sums = {hashlib.sha256(each).digest() for each in in_threads(4, lambda _: curl(f"{at}/large"))}
    check("curl: a large file to four at once", sums == {hashlib.sha256((root / "large").read_bytes()).digest()})


def in_threads(count, call):
    results = [None] * count

    def one(number):
        results[number] = call(number)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(count)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    return results


def minds_its_limits(port):
    get = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    done = subprocess.run(["nc", "-N", "127.0.0.1", str(port)], input=get * 1000, capture_output=True, timeout=30)
    check("nc: 1,000 requests at once are answered in order", done.stdout.count(b"HTTP/1.1 200 OK\r\n") == 1000)
    mixed = (get + get.replace(b"/ ", b"/none ")) * 15
    check("each with its own answer", status(mixed, port) == [b"200", b"404"] * 15)
    with subprocess.Popen(["nc", "-N", "127.0.0.1", str(port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as slow:
        for byte in get + get:
            slow.stdin.write(bytes([byte]))
            slow.stdin.flush()
            time.sleep(0.002)
        slow.stdin.close()
        check("nc: byte by byte", slow.stdout.read().count(b"200 OK") == 2)
    post = b"POST / HTTP/1.1\r\nHost: x\r\n"
    chunks = post + b"Transfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n0\r\nT: x\r\n\r\n"
    check("chunks with trailers end where they end, byte by byte too",
          status(chunks + get, port) == [b"405", b"200"] and raw(chunks + get, port, 1)[0].count(b"200 OK") == 1)
    bad = {
        "garbage": (b"\x16\x03\x01\x02\x00\x01\x00\x01" * 10, b"400"),
        "no host": (b"GET / HTTP/1.1\r\n\r\n", b"400"),
        "two hosts": (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", b"400"),
        "a length and chunks": (post + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", b"400"),
        "two lengths": (post + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", b"400"),
        "a length that is none": (post + b"Content-Length: -1\r\n\r\n", b"400"),
        "a space before the colon": (b"GET / HTTP/1.1\r\nHost : x\r\n\r\n", b"400"),
        "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"400"),
        "HTTP/3.1": (b"GET / HTTP/3.1\r\nHost: x\r\n\r\n", b"505"),
        "HTTP/0.9": (b"GET /\r\n\r\n", b"505"),
        "a long target": (b"GET /" + b"a" * 20000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", b"431"),
        "a long field": (b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 20000 + b"\r\n\r\n", b"431"),
        "many fields": (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 200 + b"\r\n", b"431"),
        "long trailers": (chunks[:-2] + b"A: " + b"a" * 20000 + b"\r\n\r\n", b"431"),
    }
    for what, (data, wanted) in bad.items():
        answer, error = raw(data + get * 3, port)
        found = re.findall(rb"HTTP/1\.1 (\d+) ", answer)
        check(f"{what}: {wanted.decode()}, what follows is not served, and the answer arrives",
              found == [wanted] and b"Connection: close" in answer and error is None,
              found if found != [wanted] else "")


async def asks(port, times, paths):
    right = 0
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for number in range(times):
        path, size = paths[number % len(paths)]
        writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(re.search(rb"Content-Length: (\d+)", head)[1])
        right += len(await reader.readexactly(length)) == size
    writer.close()
    await writer.wait_closed()
    return right


def stands_load(port, many):
    async def all_ask():
        return await asyncio.gather(*(asks(port, 20, [("/", 6), ("/small.html", 612)]) for _ in range(200)))

    check("asyncio: 200 connections with 20 requests each", sum(asyncio.run(all_ask())) == 4000)
    at = f"http://127.0.0.1:{port}/small.html"
    if shutil.which("wrk"):
        for connections in (1, 100, 1000):
            done = subprocess.run(["wrk", "-t1", f"-c{connections}", f"-d{10 if many else 1}s", at],
                                  capture_output=True, text=True, timeout=120).stdout
            requests = int(re.search(r"(\d+) requests in", done)[1])
            check(f"wrk: {connections} connections without an error",
                  requests > connections and "Socket errors" not in done and "Non-2xx" not in done,
                  f"{requests} requests")
    if shutil.which("h2load"):
        count = 1_000_000 if many else 20_000
        done = subprocess.run(["h2load", "--h1", "-n", str(count), "-c", "100", "-m", "4", at], capture_output=True,
                              text=True, timeout=900).stdout
        check(f"h2load: {count:,} requests without an error",
              f"{count} done, {count} succeeded, 0 failed, 0 errored" in done, re.search("finished in .*", done)[0])
    if shutil.which("ab"):
        for keep, count in ((["-k"], 20_000), ([], 2_000)):
            done = subprocess.run(["ab", "-q", *keep, "-n", str(count), "-c", "50", at], capture_output=True, text=True,
                                  timeout=120).stdout
            kept = int((re.search(r"Keep-Alive requests: *(\d+)", done) or [0, 0])[1])
            check(f"ab {' '.join(keep)}: {count:,} requests without an error",
                  re.search(rf"Complete requests: *{count}\nFailed requests: *0\n", done) is not None
                  and kept == (count if keep else 0))


class Asker:
    """A client that asks as long as it may, and counts what became of its requests"""

    def __init__(self, at_once):
        self.at_once = at_once
        self.answered = self.cut = self.unanswered = self.closed = self.refused = 0

    async def run(self, port):
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            self.refused += 1
            return
        last = False
        while not last:
            writer.write(b"GET /small.html HTTP/1.1\r\nHost: x\r\n\r\n" * self.at_once)
            for _ in range(self.at_once):
                try:
                    head = await reader.readuntil(b"\r\n\r\n")
                    await reader.readexactly(612)
                except (asyncio.IncompleteReadError, ConnectionError) as error:
                    if getattr(error, "partial", b""):
                        self.cut += 1
                    else:
                        self.unanswered += 1
                    return
                self.answered += 1
                last = last or b"Connection: close" in head
        self.closed += 1
        writer.close()


def ends_well(port, number, tool):
    """The server is told to end while all of these ask"""
    server = serve(port)
    with server:
        load = subprocess.Popen(tool, stdout=subprocess.PIPE, text=True) if tool else None
        slow = socket.create_connection(("127.0.0.1", port), timeout=30)
        slow.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
        slow.recv(1, socket.MSG_PEEK)  # its answer has begun
        half = socket.create_connection(("127.0.0.1", port), timeout=30)
        half.sendall(b"GET / HTTP/1.1\r\nHo")
        idle = socket.create_connection(("127.0.0.1", port), timeout=30)
        idle.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        idle.recv(1000)
        askers = [Asker(at_once) for at_once in (1, 1, 1, 5)]

        async def ask():
            everybody = [asyncio.ensure_future(each.run(port)) for each in askers for _ in range(25)]
            await asyncio.sleep(0.5)
            server.send_signal(number)
            await asyncio.sleep(0.3)
            half.sendall(b"st: x\r\n\r\n")
            await asyncio.wait_for(asyncio.gather(*everybody), 20)

        asyncio.run(ask())
        total = {name: sum(getattr(each, name) for each in askers) for name in vars(askers[0]) if name != "at_once"}
        name = f"{signal.Signals(number).name} under {tool[0] if tool else 'no'} load"
        check(f"{name}: every request of 100 connections is answered, and none in part",
              total["cut"] == total["unanswered"] == 0 and total["closed"] == 100 and total["answered"] > 100, total)
        answer = half.recv(1000)
        check(f"{name}: so is one of which half had arrived", answer.endswith(b"\r\n\r\nhello\n"), answer[:15])
        check(f"{name}: an idle connection is closed", idle.recv(1000) == b"")
        got = b""
        while block := slow.recv(1 << 20):
            got += block
        check(f"{name}: a large answer is sent to its end",
              got.partition(b"\r\n\r\n")[2] == (root / "large").read_bytes())
        for each in (slow, half, idle):
            each.close()
        server.wait(20)
        check(f"{name}: the process ends by the signal, and has nothing to say",
              server.returncode == -number and server.stderr.read() == b"", server.returncode)
        if load:
            report = load.communicate(timeout=60)[0]
            failed = re.search(r"read (\d+), write (\d+), timeout (\d+)|(\d+) errored", report)
            check(f"{name}: {tool[0]} has its report", "finished in" in report or "requests in" in report,
                  failed[0] if failed else "")


def ends_at_once(port):
    with serve(port) as server, socket.create_connection(("127.0.0.1", port)) as stuck:
        stuck.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
        stuck.recv(1)
        server.send_signal(signal.SIGINT)
        time.sleep(0.5)
        waited = server.poll() is None
        server.send_signal(signal.SIGINT)
        server.wait(10)
        check("a second Ctrl-C does not wait for a client that does not read",
              waited and server.returncode == -signal.SIGINT)


def with_threads(port):
    with serve(port, "127.0.0.1", "2") as server:
        async def all_ask():
            return await asyncio.gather(*(asks(port, 20, [("/", 6)]) for _ in range(50)))

        check("two threads: 1,000 requests", sum(asyncio.run(all_ask())) == 1000)
        server.send_signal(signal.SIGTERM)
        server.wait(20)
        check("two threads: SIGTERM ends both", server.returncode == -signal.SIGTERM and server.stderr.read() == b"")


def too_slow(port, results):
    """Clients that take too long, in the background, for it takes long"""

    def begins(name, data, pause, piece=1):
        begun = time.monotonic()
        answer, error = b"", None
        with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
            try:
                client.setblocking(False)
                while True:
                    try:
                        block = client.recv(65536)
                        if not block:
                            break
                        answer += block
                        continue
                    except BlockingIOError:
                        pass
                    if data:
                        client.send(data[:piece])
                        data = data[piece:]
                    time.sleep(pause)
            except ConnectionError as e:
                error = e
        results[name] = (answer, error, time.monotonic() - begun)

    def sends_without_end():
        begun = time.monotonic()
        with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
            try:
                while time.monotonic() < begun + 10:
                    client.send(b"POST / HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 65536)
            except OSError:
                pass
        results["endless"] = (b"", None, time.monotonic() - begun)

    get = b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 1000
    post = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n"
    slow = [("head", get, 0.1, 1), ("body", post, 0.1, 60), ("nothing", b"", 0.1, 1)]
    threads = [threading.Thread(target=begins, args=each) for each in slow[: 3 if given.long else 2]]
    threads.append(threading.Thread(target=sends_without_end))
    if given.long:
        def reads_nothing():
            with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
                client.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
                time.sleep(45)
                got, error = 0, None
                try:
                    while block := client.recv(1 << 20):
                        got += len(block)
                except ConnectionError as e:
                    error = e
                results["reads nothing"] = (got, error, 0)

        threads.append(threading.Thread(target=reads_nothing))
    for each in threads:
        each.start()
    return threads


with folder:
    first = free_port()
    with serve(first) as main:
        idle_descriptors = settled_descriptors(main.pid)
        times = {}
        background = too_slow(first, times)
        talks_to_curl(first)
        minds_its_limits(first)
        stands_load(first, given.long)
        for each in background:
            each.join()
        for part in ("head", "body"):
            answer, _, took = times[part]
            check(f"a {part} that takes more than 10 s is 408", b"HTTP/1.1 408 " in answer and 9 < took < 15,
                  f"{took:.1f} s")
        check("one that sends without end is sent away", times["endless"][2] < 8, f"{times['endless'][2]:.1f} s")
        if given.long:
            answer, error, took = times["nothing"]
            check("who says nothing for 30 s is sent away without a word", answer == b"" and 29 < took < 36,
                  f"{took:.1f} s")
            got, error, _ = times["reads nothing"]
            check("who takes nothing for 30 s sees a reset", got < 10_000_000 and error is not None, f"{got} bytes")
        check("every descriptor is back", eventually(lambda: descriptors(main.pid) == idle_descriptors),
              f"{idle_descriptors} at first, {descriptors(main.pid)} now")
    port = free_port()
    url = f"http://127.0.0.1:{port}/small.html"
    tools = [["wrk", "-t1", "-c50", "-d1s", url], ["h2load", "--h1", "-c50", "-D", "1", url]]
    ends = [(signal.SIGTERM, tools[0]), (signal.SIGINT, None)]
    if given.long:
        ends = [*ends, (signal.SIGTERM, tools[1])] * 5
    for number, tool in ends:
        if not tool or shutil.which(tool[0]):
            ends_well(port, number, tool)
    ends_at_once(port)
    with_threads(port)
finish()
