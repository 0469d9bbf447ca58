# SPDX-License-Identifier: MIT
"""Python's asyncio, or uvloop, at the other end: clients of aio's servers, and servers for aio's clients.

    python_peers.py asyncio|uvloop CERTIFICATES BUILD [--long]

peers.py starts it, with a Python that has what it needs.
"""

import asyncio
import os
import pathlib
import re
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import zlib

from harness import (Peer, Program, arguments, check, descriptors, example, finish, free_port, peer_program,
                     settled_descriptors, wait_for_port)

loop_name, certificates = sys.argv[1], pathlib.Path(sys.argv[2])
del sys.argv[1:3]
given = arguments()
RESET = ("Connection reset by peer", "Broken pipe")
BLOCKS = 800 if given.long else 32
KINDS = ("tcp", "unix", "tls")


def told(data):
    """As peer.cpp tells of it"""
    return f"{len(data)} bytes {zlib.crc32(data):08x}"


def blocks():
    block = os.urandom(65528)
    return b"".join(struct.pack("!Q", number) + block for number in range(BLOCKS))


class Addresses:
    """Where somebody listens, as peer.cpp is told, and as Python is"""

    def __init__(self, folder):
        self.folder = folder
        self.port = {}
        self.trusts = ssl.create_default_context(cafile=certificates / "ca.pem")
        self.serves = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.serves.load_cert_chain(certificates / "server.pem", certificates / "server.key")

    def new(self, kind, name, side):
        """A new one, for peer.cpp as a client or server"""
        if kind == "unix":
            return f"unix:{self.folder}/{name}"
        self.port[kind, name] = free_port()
        return self.known(kind, name, side)

    def known(self, kind, name, side):
        if kind == "unix":
            return f"unix:{self.folder}/{name}"
        files = ["ca.pem"] if side == "client" else ["server.pem", "server.key"]
        where = [kind, "127.0.0.1", str(self.port[kind, name])]
        return ":".join(where + ([str(certificates / each) for each in files] if kind == "tls" else []))

    async def connect(self, kind, name):
        if kind == "unix":
            return await asyncio.open_unix_connection(f"{self.folder}/{name}")
        return await asyncio.open_connection("127.0.0.1", self.port[kind, name],
                                             ssl=self.trusts if kind == "tls" else None)

    async def serve(self, kind, name, handler):
        if kind == "unix":
            return await asyncio.start_unix_server(handler, f"{self.folder}/{name}")
        self.port[kind, name] = free_port()
        return await asyncio.start_server(handler, "127.0.0.1", self.port[kind, name],
                                          ssl=self.serves if kind == "tls" else None)


async def eventually(condition, seconds=10):
    for _ in range(seconds * 50):
        if condition():
            return True
        await asyncio.sleep(0.02)
    return condition()


async def closed(writer):
    writer.close()
    await writer.wait_closed()


def reset(writer):
    """Ends the connection as a program does that crashes: the other side sees a reset."""
    taken = writer.get_extra_info("socket")
    if taken.family != socket.AF_UNIX:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def write_all(writer, data, then_ends):
    for at in range(0, len(data), 65536):
        writer.write(data[at : at + 65536])
        await writer.drain()
    if then_ends:
        writer.write_eof()


async def byte_by_byte(writer, data):
    for byte in data:
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(0)


# ------------------------------------------------------------------------------------------ Python connects, aio serves


async def says_lines(reader, writer, name, count):
    right = 0
    for line in range(count):
        text = f"{name} {line}\n".encode()
        writer.write(text)
        right += await reader.readline() == text
    await closed(writer)
    return right


async def clients(addresses):
    talks = {"echo": "echo", "lines": "lines", "both": f"blocks:{BLOCKS}:65536", "first": "blocks:0:1",
             "reset": "reset", "endless": "endless"}
    words = [word for kind in KINDS for name, talk in talks.items()
             for word in (addresses.new(kind, name, "server"), talk)]
    with Peer(given.build, *words) as server:
        before = settled_descriptors(server.pid)
        for kind in KINDS:
            title = f"{loop_name} to aio, {kind}"
            # More than wait to be accepted are refused at a Unix socket, which Python does not expect.
            count = {"tcp": 1000, "unix": 100, "tls": 200}[kind] if given.long else {"tls": 30}.get(kind, 100)

            async def one(number):
                return await says_lines(*await addresses.connect(kind, "echo"), number, 20)

            right = sum(await asyncio.gather(*(one(number) for number in range(count))))
            check(f"{title}: {count} clients at once, 20 lines each", right == 20 * count)

            data = blocks()
            reader, writer = await addresses.connect(kind, "echo")
            sending = asyncio.ensure_future(write_all(writer, data, False))
            check(f"{title}: {BLOCKS} blocks of 64 KiB come back", await reader.readexactly(len(data)) == data)
            await sending
            await closed(writer)
            check(f"{title}: aio has seen them", await eventually(
                lambda: server.has_said("echo: sent " + told(data) + ", received " + told(data) + "\n")))

            reader, writer = await addresses.connect(kind, "lines")
            text = "".join(f"{number} äöü\r\n" for number in range(30))
            await byte_by_byte(writer, text.encode() + b"the end\n")
            answer = await reader.readuntil(b"the end\n")
            check(f"{title}: lines that come byte by byte are answered", answer.decode() == "".join(
                f"{number + 1}: {number} äöü\n" for number in range(30)) + "31: the end\n")
            await closed(writer)

            if kind != "tls":  # Python's ends in both directions at once
                reader, writer = await addresses.connect(kind, "lines")
                sending = asyncio.ensure_future(write_all(writer, b"line\n" * 20000 + b"no end", True))
                answer = await reader.read()
                check(f"{title}: who has ended still hears all the answers", answer == b"".join(
                    b"%d: line\n" % number for number in range(1, 20001)) + b"20001: no end\n")
                await sending
                await closed(writer)

                reader, writer = await addresses.connect(kind, "both")
                got, _ = await asyncio.gather(reader.read(), write_all(writer, data, True))
                check(f"{title}: {BLOCKS} blocks of 64 KiB in each direction, each with its end", await eventually(
                    lambda: server.has_said("blocks: sent " + told(got) + ", received " + told(data) + "\n"))
                      and len(got) == len(data))
                await closed(writer)

                reader, writer = await addresses.connect(kind, "first")
                ended = await reader.read()
                await asyncio.sleep(0.1)
                await write_all(writer, data, True)
                check(f"{title}: aio ends first, and receives all the same", ended == b"" and await eventually(
                    lambda: server.has_said("blocks: sent 0 bytes", "received " + told(data) + "\n")))
                await closed(writer)

            await resets(title, addresses, kind, server)
        check(f"{loop_name} to aio: no descriptor is left",
              await eventually(lambda: descriptors(server.pid) == before), descriptors(server.pid) - before)
        check(f"{loop_name} to aio: it serves on", server.poll() is None)


async def resets(title, addresses, kind, server):
    already = len(server.said)

    def told_of(*parts):
        return any(all(part in line for part in parts) and any(each in line for each in RESET)
                   for line in server.said[already:])

    if kind != "unix":  # there it is an end as any other
        reader, writer = await addresses.connect(kind, "echo")
        writer.write(b"hello\n")
        await reader.readline()
        reset(writer)
        check(f"{title}: a reset is told from an end", await eventually(lambda: told_of("echo:", " 6 bytes")))
    reader, writer = await addresses.connect(kind, "endless")
    await reader.readexactly(1_000_000)
    reset(writer)
    check(f"{title}: so is one while aio sends", await eventually(lambda: told_of("endless:")),
          "".join(server.said[already:]))
    reader, writer = await addresses.connect(kind, "reset")
    writer.write(b"hello\n")
    try:
        answer = await reader.read()
    except ConnectionResetError as error:
        answer = error
    # uvloop takes one for an end now and then, with TLS, Python's own resets too.
    may_be_end = kind == "unix" or (loop_name, kind) == ("uvloop", "tls")
    check(f"{title}: a reset of aio's is seen as one, where there are resets",
          isinstance(answer, ConnectionResetError) or may_be_end and answer == b"", repr(answer))
    writer.close()


# ------------------------------------------------------------------------------------------ aio connects, Python serves


async def peer(address, talk, count=1):
    process = await asyncio.create_subprocess_exec(peer_program(given.build), "connect", address, talk, str(count),
                                                   stdout=subprocess.PIPE)
    out, _ = await asyncio.wait_for(process.communicate(), 60)
    return process.returncode, out.decode()


def same_both_ways(text):
    """How many connections received what they had sent"""
    return len(re.findall(r"^\w+: sent (\d+ bytes \w+), received \1$", text, re.MULTILINE))


async def echo(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        await closed(writer)
    except OSError:
        writer.close()


async def servers(addresses):
    results = {}

    async def asks(reader, writer):
        await byte_by_byte(writer, "".join(f"{number} äöü\r\n" for number in range(30)).encode())
        results["asks"] = "".join([(await reader.readline()).decode() for _ in range(30)])
        await closed(writer)

    async def both(reader, writer):
        results["mine"] = blocks()
        results["got"], _ = await asyncio.gather(reader.read(), write_all(writer, results["mine"], True))
        await closed(writer)

    async def first(reader, writer):
        writer.write_eof()
        results["got"] = await reader.read()
        await closed(writer)

    async def resetting(reader, writer):
        writer.write(b"hello\n")
        await reader.readline()
        reset(writer)

    async def impatient(reader, writer):
        await reader.readexactly(1_000_000)
        reset(writer)

    size = BLOCKS * 65536
    for kind in KINDS:
        results.clear()
        title = f"aio to {loop_name}, {kind}"
        handlers = {"p-echo": echo, "p-asks": asks, "p-both": both, "p-first": first, "p-resetting": resetting,
                    "p-impatient": impatient}
        running = [await addresses.serve(kind, name, handler) for name, handler in handlers.items()]

        def at(name):
            return addresses.known(kind, name, "client")

        code, said = await peer(at("p-echo"), f"exact:{BLOCKS // 4}:65536", 20)
        check(f"{title}: 20 clients, {BLOCKS // 4} blocks of 64 KiB each come back",
              code == 0 and same_both_ways(said) == 20, said if code else "")
        code, said = await peer(at("p-echo"), "exact:500:1", 10)
        check(f"{title}: so do 500 bytes one by one", code == 0 and same_both_ways(said) == 10)
        if kind == "unix":
            code, said = await peer(at("p-echo"), "exact:3:65536", 300)
            check(f"{title}: 300 clients at the same time, most of whom wait to be accepted",
                  code == 0 and same_both_ways(said) == 300, said)
        code, said = await peer(at("p-asks"), "lines")
        await eventually(lambda: "asks" in results)
        check(f"{title}: lines that come byte by byte are answered", code == 0 and results["asks"] == "".join(
            f"{number + 1}: {number} äöü\n" for number in range(30)))
        if kind != "tls":
            code, said = await peer(at("p-echo"), f"blocks:{BLOCKS}:65536", 5)
            check(f"{title}: who has ended receives all that is answered",
                  code == 0 and same_both_ways(said) == 5 and said.count(f" {size} bytes") == 10, said)
            code, said = await peer(at("p-both"), f"blocks:{BLOCKS}:65536")
            await eventually(lambda: "got" in results)
            check(f"{title}: {BLOCKS} blocks of 64 KiB in each direction, each with its end", code == 0 and
                  said == f"blocks: sent {told(results['got'])}, received {told(results['mine'])}\n", said)
            del results["got"]
            code, said = await peer(at("p-first"), f"blocks:{BLOCKS}:65536")
            await eventually(lambda: "got" in results)
            check(f"{title}: the server ends first, and receives all the same", code == 0 and
                  said == f"blocks: sent {told(results['got'])}, received 0 bytes 00000000\n"
                  and len(results["got"]) == size, said)
        code, said = await peer(at("p-resetting"), "echo")
        check(f"{title}: a reset is told from an end", (code, said.count(RESET[0])) == ((0, 0) if kind == "unix" else
                                                                                        (1, 1)), said)
        code, said = await peer(at("p-impatient"), "endless")
        check(f"{title}: so is one while aio sends", code == 1 and any(each in said for each in RESET), said)
        for each in running:
            each.close()
            await each.wait_closed()


# ------------------------------------------------------------------------------------------ datagrams


class Datagrams(asyncio.DatagramProtocol):
    """Keeps what comes, or sends it back."""

    def __init__(self, echoes):
        self.echoes = echoes
        self.came = asyncio.Queue()

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, address):
        if self.echoes:
            self.transport.sendto(data, address)
        else:
            self.came.put_nowait(data)


async def datagrams():
    loop = asyncio.get_running_loop()
    port = free_port()

    async def one(number):
        transport, protocol = await loop.create_datagram_endpoint(lambda: Datagrams(False),
                                                                  remote_addr=("127.0.0.1", port))
        right = 0
        for size in (1, 1400, 9000, 60000, 10 * number + 1):
            data = os.urandom(size)
            transport.sendto(data)
            right += await asyncio.wait_for(protocol.came.get(), 10) == data
        transport.close()
        return right

    with Peer(given.build, f"udp:127.0.0.1:{port}", "echo") as server:
        before = descriptors(server.pid)
        right = sum([await one(number) for number in range(100)])
        # At once only so many as the system has room for
        right += sum(await asyncio.gather(*(one(number) for number in range(3))))
        check(f"{loop_name} to aio, udp: 515 datagrams come back, up to 60,000 bytes", right == 515, right)
        check(f"{loop_name} to aio, udp: no descriptor is left", descriptors(server.pid) == before)

    transport, _ = await loop.create_datagram_endpoint(lambda: Datagrams(True), local_addr=("127.0.0.1", 0))
    address = "udp:127.0.0.1:" + str(transport.get_extra_info("sockname")[1])
    for talk, count in (("exact:500:1", 3), ("exact:100:1400", 3), ("exact:20:60000", 1)):
        code, said = await peer(address, talk, count)
        check(f"aio to {loop_name}, udp: {talk} come back, {count} at once",
              code == 0 and same_both_ways(said) == count, said)
    transport.close()


# ------------------------------------------------------------------------------------------ the examples


async def http_requests(port, count, paths):
    right = 0
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for number in range(count):
        path, wanted = paths[number % len(paths)]
        writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        right += await reader.readexactly(int(re.search(rb"Content-Length: (\d+)", head)[1])) == wanted
    await closed(writer)
    return right


async def chat(port, count):
    """All hear all, in the same order. Returns how many do."""

    async def enter(number):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await reader.readline()
        writer.write(f"{number}\n".encode())
        return reader, writer

    async def hear(reader):
        heard = []
        while len(heard) < 5 * count:
            line = await reader.readline()
            if not line.startswith(b"*"):  # who comes and goes
                heard.append(line)
        return heard

    members = []
    for number in range(count):
        members.append(await enter(number))
        if members[:-1]:
            await members[0][0].readuntil(b"* %d is here\n" % number)
    for line in range(5):
        for number, (_, writer) in enumerate(members):
            writer.write(f"line {line} of {number}\n".encode())
    heard = await asyncio.gather(*(hear(reader) for reader, _ in members))
    await closed(members[-1][1])
    left = [await reader.readline() == b"* %d has left\n" % (count - 1) for reader, _ in members[:-1]]
    for _, writer in members[:-1]:
        await closed(writer)
    everything = sorted(b"%d: line %d of %d\n" % (n, line, n) for n in range(count) for line in range(5))
    return all(left) and sorted(heard[0]) == everything and heard.count(heard[0]) == count


async def examples(folder):
    (folder / "site").mkdir()
    (folder / "site" / "small").write_bytes(b"x" * 612)
    (folder / "site" / "index.html").write_bytes(b"hello\n")
    programs = {"echo_server": [], "chat_server": [], "http_server": [str(folder / "site")]}
    for name, words in programs.items():
        program = example(given.build, name)
        if not os.path.exists(program):
            print("left out, not built:", name)
            continue
        port = free_port()
        with Program([program, *words, str(port)], stdout=subprocess.DEVNULL) as server:
            wait_for_port(port)
            before = settled_descriptors(server.pid)
            if name == "echo_server":
                async def one(number):
                    return await says_lines(*await asyncio.open_connection("127.0.0.1", port), number, 20)

                right = sum(await asyncio.gather(*(one(number) for number in range(200)))) == 4000
                check(f"{loop_name} to {name}: 200 clients at once, 20 lines each", right)
            elif name == "chat_server":
                heard = await asyncio.wait_for(chat(port, 30), 20)
                check(f"{loop_name} to {name}: 30 talk, and all hear the same", heard)
            else:
                paths = [("/", b"hello\n"), ("/small", b"x" * 612)]
                right = sum(await asyncio.gather(*(http_requests(port, 20, paths) for _ in range(100))))
                check(f"{loop_name} to {name}: 100 connections with 20 requests each", right == 2000)
            check(f"{loop_name} to {name}: no descriptor is left",
                  await eventually(lambda: descriptors(server.pid) == before))


async def everything():
    unheard = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unheard.append(context["message"]))
    with tempfile.TemporaryDirectory() as name:
        addresses = Addresses(pathlib.Path(name))
        await clients(addresses)
        await servers(addresses)
        await datagrams()
        await examples(pathlib.Path(name))
    if unheard:
        print(f"       {loop_name} had {len(unheard)} errors that nobody received, the first: {unheard[0]}")


if loop_name == "uvloop":
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(everything())
else:
    asyncio.run(everything())
finish()
