# SPDX-License-Identifier: MIT
"""What bench/io_server.cpp does, in asyncio: the same arguments, the variant is asyncio or uvloop."""

import asyncio
import json
import os
import resource
import ssl
import sys

BLOCK = 65536


async def echo_lines(reader, writer):
    try:
        while line := await reader.readline():
            writer.write(line)
            await writer.drain()
    except ConnectionError:
        pass
    writer.close()


async def echo_blocks(reader, writer):
    while block := await reader.read(BLOCK):
        writer.write(block)
        await writer.drain()
    writer.close()


async def serve(what, tls):
    context = None
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*tls)
    server = await asyncio.start_server(echo_lines if what == "lines" else echo_blocks, "127.0.0.1", 0, ssl=context,
                                        backlog=1000)
    print(server.sockets[0].getsockname()[1], flush=True)
    ended = asyncio.Event()
    asyncio.get_running_loop().add_reader(0, ended.set)
    await ended.wait()
    os._exit(0)


def cpu(whose):
    used = resource.getrusage(whose)
    return (used.ru_utime + used.ru_stime) * 1e6


async def spawn_true():
    await (await asyncio.create_subprocess_exec("/bin/true")).wait()


async def through_cat(text):
    cat = await asyncio.create_subprocess_exec("/bin/cat", stdin=asyncio.subprocess.PIPE,
                                               stdout=asyncio.subprocess.PIPE)
    assert len((await cat.communicate(text))[0]) == BLOCK


async def start_processes(what, count):
    text = b"x" * BLOCK
    own, child = cpu(resource.RUSAGE_SELF), cpu(resource.RUSAGE_CHILDREN)
    if what == "together":
        for _ in range(count // 16):
            await asyncio.gather(*(spawn_true() for _ in range(16)))
    else:
        for _ in range(count):
            await (spawn_true() if what == "spawn" else through_cat(text))
    print(json.dumps({"own": (cpu(resource.RUSAGE_SELF) - own) / count,
                      "child": (cpu(resource.RUSAGE_CHILDREN) - child) / count}))


if __name__ == "__main__":
    variant, what, *further = sys.argv[1:]
    if variant == "uvloop":
        import uvloop
        uvloop.install()
    asyncio.run(serve(what, further) if what in ("lines", "blocks") else start_processes(what, int(further[0])))
