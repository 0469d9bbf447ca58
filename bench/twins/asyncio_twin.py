#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The workloads in asyncio. Prints JSON, as aio_bench does."""

import argparse
import asyncio
import json
import random
import resource
import time

BATCH = 1_000


async def child(value):
    return value + 1


async def w1(count):
    total = 0
    for _ in range(count):
        total = await child(total)
    return total


async def join(coroutines):
    """TaskGroup, or before Python 3.11 the nearest to it."""
    if hasattr(asyncio, "TaskGroup"):
        async with asyncio.TaskGroup() as group:
            for coroutine in coroutines:
                group.create_task(coroutine)
    else:
        await asyncio.gather(*coroutines)


async def w2(count):
    for _ in range(max(1, count // BATCH)):
        await join(child(i) for i in range(BATCH))


async def turns(count):
    for _ in range(count):
        await asyncio.sleep(0)


async def w3(count):
    await join(turns(count // 100) for _ in range(100))


async def sleep_until(when):
    await asyncio.sleep(when - asyncio.get_running_loop().time())


async def w4(count):
    random.seed(1)
    first = asyncio.get_running_loop().time() + 20e-6 * count
    await join(sleep_until(first + random.random() * 5e-7 * count) for _ in range(count))


async def user(semaphore, times):
    for _ in range(times):
        async with semaphore:
            await asyncio.sleep(0)


async def w5(count):
    semaphore = asyncio.Semaphore(10)
    await join(user(semaphore, count // BATCH) for _ in range(BATCH))


async def produce(queue, count):
    for i in range(count):
        await queue.put(i)


async def consume(queue, count):
    total = 0
    for _ in range(count):
        total += await queue.get()
    return total


async def w6(count):
    queue = asyncio.Queue(128)
    await join([produce(queue, count), consume(queue, count)])


async def w7(count):
    total = 0
    for i in range(count):
        total += sum(await asyncio.gather(*(child(n) for n in range(10))))
    return total


async def failing():
    await asyncio.sleep(0)
    raise RuntimeError("a child failed")


async def w8(count):
    for _ in range(max(1, count // BATCH)):
        try:
            await join([*(asyncio.sleep(3600) for _ in range(BATCH - 1)), failing()])
        except Exception as error:  # the group of them
            assert "child" in repr(error)


class EchoServer(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(data)


class EchoClient(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport

    def exchange(self, messages):
        self.left = messages
        self.over = asyncio.get_running_loop().create_future()
        self.transport.write(b"x")
        return self.over

    def data_received(self, data):
        self.left -= 1
        if self.left > 0:
            self.transport.write(b"x")
        else:
            self.over.set_result(None)


async def connected(wanted):
    """w9, with connections that are there already: as many as wanted, or as the limit of descriptors allows."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if most != resource.RLIM_INFINITY:
        wanted = min(wanted, most // 2 - 32)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(EchoServer, "127.0.0.1", 0, backlog=4096)
    address = server.sockets[0].getsockname()
    clients = [(await loop.create_connection(EchoClient, *address))[1] for _ in range(wanted)]

    async def w9(count):
        each = max(1, count // len(clients))
        await asyncio.gather(*(client.exchange(each) for client in clients))

    return w9, len(clients)


def small():
    return 1


async def w10(count):
    loop = asyncio.get_running_loop()
    call = getattr(asyncio, "to_thread", None) or (lambda f: loop.run_in_executor(None, f))
    for _ in range(count):
        await call(small)


async def w10b(count):
    for _ in range(max(1, count // BATCH)):
        await asyncio.gather(*(asyncio.to_thread(small) for _ in range(BATCH)))


TWINS = {"W1": (w1, "await"), "W2": (w2, "child"), "W3": (w3, "yield"), "W4": (w4, "sleeper"), "W5": (w5, "permit"),
         "W6": (w6, "item"), "W7": (w7, "gather(10)"), "W8": (w8, "child"), "W9": (connected, "message"),
         "W10": (w10, "round_trip"), "W10b": (w10b, "call"), "W11b": (w1, "await")}
IN_BATCHES = {"W2": BATCH, "W3": 100, "W5": BATCH, "W8": BATCH, "W10b": BATCH}


async def main(workload, operations, connections):
    twin, unit = TWINS[workload]
    batch = IN_BATCHES.get(workload, 1)
    if workload == "W9":
        twin, batch = await twin(connections)
    operations = (operations + batch - 1) // batch * batch
    if workload != "W4":
        await twin(2 * batch)  # warms up
    cpu, wall = time.process_time_ns(), time.monotonic_ns()
    await twin(operations)
    cpu, wall = time.process_time_ns() - cpu, time.monotonic_ns() - wall
    result = {"workload": workload, "variant": "asyncio", "unit": unit, "operations": operations,
              "cpu_ns": cpu / operations, "wall_ns": wall / operations}
    if workload == "W9" and batch > 1:
        result["connections"] = batch
    return result


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workload", choices=TWINS)
    parser.add_argument("operations", type=int)
    parser.add_argument("--connections", type=int, default=1, help="of W9")
    parser.add_argument("--uvloop", action="store_true")
    given = parser.parse_args()
    if given.uvloop:
        import uvloop

        uvloop.install()
    result = asyncio.run(main(given.workload, given.operations, given.connections))
    if given.uvloop:
        result["variant"] = "uvloop"
    print(json.dumps(result))
