#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""socat, nc, openssl, wrk and h2load, and Python's asyncio and uvloop, at the other end of aio's connections, of
servers and of clients, by TCP, Unix sockets, TLS, UDP, and terminals: every byte arrives, each direction ends when it
does, and no descriptor is left.

    python3 tests/interop/peers.py <build folder> [--long]

peer.cpp is aio's end, and the examples that serve; python_peers.py is that of Python.
"""

import concurrent.futures
import hashlib
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time
import zlib

from certificates import Files
from harness import (Peer, Program, arguments, check, descriptors, eventually, example, finish, free_port, needs,
                     peer_program, settled_descriptors, wait_for_port)

given = arguments()
peer = peer_program(given.build)
if not os.path.exists(peer):
    print("left out, not built:", peer)
    raise SystemExit(77)
needs("openssl", "socat", "nc")
COUNT = 1000 if given.long else 32
SIZE = COUNT * 65536


def run(*command, send=b"", seconds=60, **more):
    done = subprocess.run([*map(str, command)], input=send, capture_output=True, timeout=seconds, **more)
    return done.stdout


def connect(address, talk, count=1, **more):
    """What aio's client tells, and its exit status"""
    done = subprocess.run([peer, "connect", address, talk, str(count)], stdout=subprocess.PIPE, text=True, timeout=60,
                          **more)
    return done.returncode, done.stdout


def told(data):
    """As peer.cpp tells of it"""
    return f"{len(data)} bytes {zlib.crc32(data):08x}"


def same_both_ways(text):
    """How many connections received what they had sent"""
    return len(re.findall(r"^\w+: sent (\d+ bytes \w+), received \1$", text, re.MULTILINE))


def has_ipv6():
    try:
        return pathlib.Path("/proc/net/if_inet6").read_text().find("00000000000000000000000000000001") >= 0
    except OSError:
        return False


# ------------------------------------------------------------------------------------------ they connect, aio serves


def clients(files, data):
    folder = files.folder
    tcp, tls, lines, endless, first, relay, relay_tls = (free_port() for _ in range(7))
    secret = f"{files['server.pem']}:{files['server.key']}"
    with Peer(given.build, f"tcp:127.0.0.1:{tcp}", "echo", f"unix:{folder}/echo", "echo", f"unix:@{folder}/abstract",
              "echo", f"tls:127.0.0.1:{tls}:{secret}", "echo", f"tcp:127.0.0.1:{lines}", "lines",
              f"tcp:127.0.0.1:{endless}", "endless", f"tcp:127.0.0.1:{first}", f"blocks:{COUNT}:65536",
              f"tcp:127.0.0.1:{relay}", f"relay:unix:{folder}/echo", f"tls:127.0.0.1:{relay_tls}:{secret}",
              f"relay:tcp:127.0.0.1:{relay}") as server:
        before = settled_descriptors(server.pid)
        # What it reads it sends; at its end it ends that direction, and takes what still comes.
        trusts = f"cafile={files['ca.pem']}"
        for name, where in (("TCP", f"TCP:127.0.0.1:{tcp}"), ("a Unix socket", f"UNIX-CONNECT:{folder}/echo"),
                            ("an abstract one", f"ABSTRACT-CONNECT:{folder}/abstract"),
                            ("TLS", f"OPENSSL:localhost:{tls},{trusts},pf=ip4"),
                            ("TCP and a relay of aio's", f"TCP:127.0.0.1:{relay}"),
                            ("TLS and two of them", f"OPENSSL:localhost:{relay_tls},{trusts},pf=ip4")):
            got = run("socat", "-b", "65536", "-t", "30", "-", where, send=data)
            check(f"socat to aio by {name}: {COUNT} blocks of 64 KiB come back", got == data, f"{len(got)} bytes")
        for name, where in (("TCP", ["127.0.0.1", tcp]), ("a Unix socket", ["-U", f"{folder}/echo"]),
                            ("TCP and a relay of aio's", ["127.0.0.1", relay])):
            got = run("nc", "-N", *where, send=data)
            check(f"nc to aio by {name}: {COUNT} blocks of 64 KiB come back", got == data, f"{len(got)} bytes")
        for version in ("-tls1_2", "-tls1_3"):
            for name, port in (("", tls), (", by two relays of aio's", relay_tls)):
                check(f"openssl s_client {version} to aio: {COUNT} blocks of 64 KiB come back{name}",
                      s_client(files, port, data, version))
        got = run("socat", "-", f"TCP:127.0.0.1:{lines},crnl", send=b"one\ntwo\n\nno end")
        check("socat to aio: lines from DOS are lines", got == b"1: one\n2: two\n3: \n4: no end\n", got)
        many = b"".join(b"%d\n" % number for number in range(20_000))
        got = run("nc", "-N", "127.0.0.1", lines, send=many)
        check("nc to aio: 20,000 lines at once are answered", got == b"".join(
            b"%d: %d\n" % (number + 1, number) for number in range(20_000)))
        got = run("socat", "-u", f"TCP:127.0.0.1:{first}", "-")
        check("socat to aio: one that only reads has all", len(got) == SIZE and eventually(
            lambda: server.has_said("blocks: sent " + told(got))), len(got))
        got = run("sh", "-c", f"nc -d 127.0.0.1 {endless} | head -c 10000000")
        check("nc to aio: one that reads a part, and goes away, is told from one that ends", len(got) == 10_000_000
              and eventually(lambda: server.has_said("endless: ", "reset by peer")
                             or server.has_said("endless: ", "Broken pipe")), "".join(server.said[-3:]))
        terminals(files, tcp, lines)
        count = 200 if given.long else 20
        with concurrent.futures.ThreadPoolExecutor(count) as pool:
            some = data[:1_000_000]
            good = sum(pool.map(lambda _: run("nc", "-N", "127.0.0.1", tcp, send=some) == some, range(count)))
        check(f"nc to aio: {count} at once, 1 MB each", good == count, good)
        check("no descriptor is left", eventually(lambda: descriptors(server.pid) == before),
              f"{descriptors(server.pid) - before} more")
    if has_ipv6():
        port = free_port()
        with Peer(given.build, f"tcp::{port}", "echo"):
            for host in ("TCP6:[::1]", "TCP4:127.0.0.1"):
                check(f"socat to aio by {host}, which serves on all addresses",
                      run("socat", "-t", "30", "-", f"{host}:{port}", send=data) == data)


def datagrams():
    port = free_port()
    with Peer(given.build, f"udp:127.0.0.1:{port}", "echo") as server:
        before = descriptors(server.pid)
        for command in (["nc", "-u", "127.0.0.1", str(port)], ["socat", "-", f"UDP:127.0.0.1:{port}"]):
            with Program(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as client:
                right = 0
                for number in range(200):
                    line = b"%d " % number + b"x" * (7 * number) + b"\n"
                    client.stdin.write(line)
                    client.stdin.flush()
                    right += client.stdout.readline() == line
                check(f"{command[0]} to aio by UDP: 200 datagrams come back", right == 200, right)
        check("aio's socket for datagrams is still the only one", descriptors(server.pid) == before)
    with Program(["socat", "-b", "65536", f"UDP-RECVFROM:{port},bind=127.0.0.1,reuseaddr,fork", "PIPE"]):
        eventually(lambda: connect(f"udp:127.0.0.1:{port}", "exact:1:1")[0] == 0)
        for talk in ("exact:20:1", "exact:20:1400", "exact:20:8000"):
            code, said = connect(f"udp:127.0.0.1:{port}", talk)
            check(f"aio to socat by UDP: {talk} come back", code == 0 and same_both_ways(said) == 1, said)
    code, said = connect(f"udp:127.0.0.1:{port}", "exact:2:1")
    check("aio is told that nobody is there", code == 1 and "Connection refused" in said, said)


def s_client(files, port, data, version):
    # It takes the end of its input for no end of the connection, and has to be ended when all is there.
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-servername", "localhost", "-CAfile",
               files["ca.pem"], "-verify_return_error", "-verify_hostname", "localhost", "-quiet", version]
    with open(files["data"], "rb") as source, Program(command, stdin=source, stdout=subprocess.PIPE,
                                                     stderr=subprocess.DEVNULL) as client:
        return client.stdout.read(len(data)) == data


def terminals(files, tcp, lines):
    with Program(["socat", "-", f"EXEC:'{peer} connect tcp:127.0.0.1:{lines} stdio',pty,raw,echo=0,setsid,ctty"],
                 stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as both:
        right = 0
        for number in range(1, 101):
            both.stdin.write(b"line\n")
            both.stdin.flush()
            right += both.stdout.readline() == b"%d: line\n" % number
        check("aio on a terminal of socat's: 100 lines there and back", right == 100, right)
        both.stdin.close()
        both.wait(10)
    with Program(["socat", "-", f"EXEC:'{peer} connect tcp:127.0.0.1:{lines} stdio',pty,echo=0,setsid,ctty"],
                 stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as both:
        both.stdin.write(b"line\n\x04")  # Ctrl-D
        both.stdin.flush()
        said = both.stderr.readline()
        check("Ctrl-D is the end of what is typed", said.startswith(b"stdio: sent 5 bytes") and
              both.stdout.read().replace(b"\r", b"") == b"1: line\n", said)
    link = f"{files.folder}/terminal"
    with Program(["socat", f"PTY,link={link},raw,echo=0,wait-slave", f"TCP:127.0.0.1:{tcp}"]):
        there = eventually(lambda: os.path.exists(link))
        code, said = connect(f"file:{link}", "exact:20:65536")
        check("aio opens a terminal, which socat connects with aio's echo: 20 blocks of 64 KiB come back",
              there and code == 0 and same_both_ways(said) == 1, said)


# ------------------------------------------------------------------------------------------ aio connects, they serve


def servers(files, data):
    folder = files.folder
    port = free_port()
    tls = f"cert={files['server.pem']},key={files['server.key']},verify=0"
    for name, listen, address in (
            ("TCP", f"TCP-LISTEN:{port},bind=127.0.0.1", f"tcp:127.0.0.1:{port}"),
            ("a Unix socket", f"UNIX-LISTEN:{folder}/socat", f"unix:{folder}/socat"),
            ("an abstract one", f"ABSTRACT-LISTEN:{folder}/socat", f"unix:@{folder}/socat"),
            ("TLS", f"OPENSSL-LISTEN:{port},bind=127.0.0.1,{tls}", f"tls:127.0.0.1:{port}:{files['ca.pem']}")):
        # cat has an input that ends when aio has, and an output that is still read then.
        with Program(["socat", "-b", "65536", "-t", "30", f"{listen},reuseaddr,fork,backlog=50", "EXEC:cat"],
                     stderr=subprocess.DEVNULL):
            # A connection that is only tried is one.
            eventually(lambda: connect(address, "exact:1:1", stderr=subprocess.DEVNULL)[0] == 0)
            code, said = connect(address, f"blocks:{COUNT}:65536", 3)
            check(f"aio to socat by {name}: {COUNT} blocks of 64 KiB come back behind the end, three times at once",
                  code == 0 and same_both_ways(said) == 3, said)
            code, said = connect(address, "exact:300:1", 3)
            check(f"aio to socat by {name}: so do 300 bytes one by one", code == 0 and same_both_ways(said) == 3, said)

    with Program(["socat", f"TCP-LISTEN:{port},bind=127.0.0.1,reuseaddr,fork", "SYSTEM:sha256sum"]):
        wait_for_port(port)
        got = run(peer, "connect", f"tcp:127.0.0.1:{port}", "stdio", send=data)
        check("aio to socat: a program that answers when it has all is heard",
              got.decode().startswith(hashlib.sha256(data).hexdigest()), got)
    with Program(["socat", f"TCP-LISTEN:{port},bind=127.0.0.1,reuseaddr,fork,so-linger=0", "SYSTEM:head -c 5"],
                 stderr=subprocess.DEVNULL):
        wait_for_port(port)
        code, said = connect(f"tcp:127.0.0.1:{port}", "endless")
        check("aio to socat: one that does not read on is an error",
              code == 1 and ("reset" in said or "Broken" in said), said)

    for name, where, address in (("TCP", ["127.0.0.1", str(port)], f"tcp:127.0.0.1:{port}"),
                                 ("a Unix socket", ["-U", f"{folder}/nc"], f"unix:{folder}/nc")):
        with Program(["nc", "-N", "-l", *where], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
            result = listened_to(server, data, address)
            check(f"aio to nc by {name}: {COUNT} blocks of 64 KiB in each direction",
                  result == (0, told(data)), result)
    for version in ("-tls1_2", "-tls1_3"):
        with Program(["openssl", "s_server", "-accept", f"127.0.0.1:{port}", "-naccept", "1", "-cert",
                      files["server.pem"], "-key", files["server.key"], version, "-quiet"], stdin=subprocess.PIPE,
                     stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as server:
            result = listened_to(server, data, f"tls:127.0.0.1:{port}:{files['ca.pem']}")
            check(f"aio to openssl s_server {version}: {COUNT} blocks of 64 KiB in each direction",
                  result == (0, told(data)), result)


def listened_to(server, data, address):
    """Of a server that serves one connection, and sends these bytes: aio's exit status and what it has received"""
    with concurrent.futures.ThreadPoolExecutor() as pool:
        reading = pool.submit(server.stdout.read, SIZE)

        def write():
            server.stdin.write(data)
            server.stdin.flush()  # its end stays away: s_server would take it for that of the connection

        writing = pool.submit(write)
        code = 2
        end = time.monotonic() + 10
        while code == 2 and time.monotonic() < end:
            time.sleep(0.05)  # until somebody listens
            code, said = connect(address, f"exact:{COUNT}:65536", stderr=subprocess.DEVNULL)
        if code == 2:
            server.kill()
            return "nobody listens"
        writing.result()
        got = reading.result()
    sent, received = re.match(r"\w+: sent (\d+ bytes \w+), received (\d+ bytes \w+)", said).groups()
    return (code, received) if sent == told(got) else f"{said.strip()}, but {told(got)} arrived"


# ------------------------------------------------------------------------------------------ the examples


def echoes(data):
    port = free_port()
    with Program([example(given.build, "echo_server"), str(port)], stdout=subprocess.DEVNULL) as server:
        wait_for_port(port)
        before = settled_descriptors(server.pid)
        check("socat to echo_server: all comes back, behind the end, too",
              run("socat", "-t", "30", "-", f"TCP:127.0.0.1:{port}", send=data) == data)
        check("nc to echo_server: so it does", run("nc", "-N", "127.0.0.1", port, send=data) == data)
        relay = free_port()
        with Program(["socat", "-t", "30", f"TCP-LISTEN:{relay},bind=127.0.0.1,reuseaddr,fork",
                      f"TCP:127.0.0.1:{port}"]):
            wait_for_port(relay)
            code, said = connect(f"tcp:127.0.0.1:{relay}", f"blocks:{COUNT}:65536", 5)
            check("aio to socat to echo_server: so it does", code == 0 and same_both_ways(said) == 5, said)
        check("echo_server: no descriptor is left", eventually(lambda: descriptors(server.pid) == before))


def chats():
    port = free_port()
    with Program([example(given.build, "chat_server"), str(port)], stdout=subprocess.DEVNULL) as server:
        wait_for_port(port)
        before = settled_descriptors(server.pid)
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        with Program(["nc", "-N", "127.0.0.1", str(port)], **pipes) as ann, Program(
                ["socat", "-t", "5", "-", f"TCP:127.0.0.1:{port}"], **pipes) as bob:
            def say(who, text):
                who.stdin.write(text)
                who.stdin.flush()

            heard = [ann.stdout.readline(), bob.stdout.readline()]
            say(ann, b"Ann\n")
            time.sleep(0.1)
            say(bob, b"Bob\n")
            heard.append(ann.stdout.readline())
            say(ann, b"hello\n")
            heard += [bob.stdout.readline(), ann.stdout.readline()]
            say(bob, b"goodbye\n")
            bob.stdin.close()
            heard += [bob.stdout.read(), ann.stdout.readline(), ann.stdout.readline()]
            check("nc and socat talk in chat_server", heard == [b"* what is your name?\n"] * 2 + [
                b"* Bob is here\n", b"Ann: hello\n", b"Ann: hello\n", b"Bob: goodbye\n", b"Bob: goodbye\n",
                b"* Bob has left\n"], heard)
        check("chat_server: no descriptor is left", eventually(lambda: descriptors(server.pid) == before))


def loads(files):
    """wrk and h2load to http_server, by a relay of aio's"""
    program = example(given.build, "http_server")
    if not os.path.exists(program):
        print("left out, not built:", program)
        return
    site = files.folder / "site"
    site.mkdir()
    (site / "index.html").write_bytes(b"x" * 612)
    port, relay = free_port(), free_port()
    with Program([program, str(site), str(port)], stdout=subprocess.DEVNULL) as server, Peer(
            given.build, f"tcp:127.0.0.1:{relay}", f"relay:tcp:127.0.0.1:{port}") as between:
        wait_for_port(port)
        before = settled_descriptors(server.pid), settled_descriptors(between.pid)
        url = f"http://127.0.0.1:{relay}/"
        if shutil.which("h2load"):
            count = 200_000 if given.long else 5_000
            said = run("h2load", "--h1", "-n", count, "-c", "50", "-m", "4", url, seconds=600).decode()
            check(f"h2load --h1 to aio to http_server: {count:,} requests without an error",
                  f"{count} done, {count} succeeded, 0 failed, 0 errored" in said, said)
        if shutil.which("wrk"):
            said = run("wrk", "-t1", "-c100", f"-d{10 if given.long else 1}s", url).decode()
            check("wrk to aio to http_server: no error", int(re.search(r"(\d+) requests in", said)[1]) > 100
                  and "Socket errors" not in said and "Non-2xx" not in said, said)
        check("http_server and the relay: no descriptor is left", eventually(
            lambda: (descriptors(server.pid), descriptors(between.pid)) == before))


# ------------------------------------------------------------------------------------------ Python


def python(loop, files):
    """What python_peers.py says, with a Python that has that loop"""
    for interpreter in (sys.executable, "/usr/bin/python3"):  # Debian's module is for Debian's
        if subprocess.run([interpreter, "-c", f"import asyncio, {loop}; asyncio.Runner"],
                          capture_output=True).returncode == 0:
            done = subprocess.run([interpreter, pathlib.Path(__file__).with_name("python_peers.py"), loop,
                                   str(files.folder), given.build, *(["--long"] if given.long else [])],
                                  capture_output=True, text=True, timeout=600)
            return done
    return None


def judge(loop, done):
    if done is None:
        print(f"left out, not installed: {loop}")
        return
    for line in done.stdout.splitlines():
        if line.startswith(("ok:    ", "FAILED:")):
            check(line[8:].rstrip(), line.startswith("ok:"))
        elif "passed" not in line:
            print(line)
    check(f"{loop}: it came to its end", done.returncode == 0 or "FAILED:" in done.stdout, done.stderr)


with tempfile.TemporaryDirectory() as name:
    made = Files(pathlib.Path(name))
    content = os.urandom(SIZE)
    (made.folder / "data").write_bytes(content)
    with concurrent.futures.ThreadPoolExecutor() as pool:  # they mostly wait
        loops = {loop: pool.submit(python, loop, made) for loop in ("asyncio", "uvloop")}
        clients(made, content)
        datagrams()
        servers(made, content)
        echoes(content)
        chats()
        loads(made)
        for loop_name, started in loops.items():
            judge(loop_name, started.result())
finish()
