#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The workloads in asyncio. Prints JSON, as aio_bench does."""

import argparse
import asyncio
import json
import random
import resource
import threading
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


async def w13(n):
    if n < 2:
        return n
    left, right = asyncio.create_task(w13(n - 1)), asyncio.create_task(w13(n - 2))
    return await left + await right


async def w13b(n):
    return sum(await asyncio.gather(w13b(n - 1), w13b(n - 2))) if n > 1 else n


async def w13c(n):
    if n < 2:
        return n
    async with asyncio.TaskGroup() as group:
        left, right = group.create_task(w13c(n - 1)), group.create_task(w13c(n - 2))
    return left.result() + right.result()


async def w14(depth, first=0):
    if depth == 0:
        return first
    return sum(await asyncio.gather(*(w14(depth - 1, first + i * 10 ** (depth - 1)) for i in range(10))))


def tree(of, size_of):
    """The largest tree of at most so many operations, and then all of them by smaller ones."""

    async def trees(count):
        while count > 0:
            depth = max(depth for depth in range(30) if size_of(depth) <= count)
            await of(depth)
            count -= size_of(depth)

    return trees


def fib_calls(n):
    calls, following = 1, 1
    for _ in range(n):
        calls, following = following, calls + following + 1
    return calls


async def sleeper():
    await asyncio.sleep(3600)


async def in_timeout(seconds=3600):
    async with asyncio.timeout(seconds):
        await sleeper()


async def in_finally():
    try:
        await sleeper()
    finally:
        await child(1)


def cancelled(body):
    async def cancellations(count):
        for _ in range(count):
            task = asyncio.create_task(body())
            for _ in range(2):
                await asyncio.sleep(0)
            task.cancel()
            try:
                await task
            except asyncio.CancelledError:
                pass

    return cancellations


async def expiring():
    try:
        await in_timeout(0)
    except TimeoutError:
        pass


async def w15f(count):
    for _ in range(count):
        await expiring()


async def w15g(count):
    for _ in range(count // BATCH):
        await join(expiring() for _ in range(BATCH))


async def fail(awaits):
    if awaits == 0:
        raise RuntimeError("from the deep")
    await fail(awaits - 1)


async def w16(count):
    for _ in range(count):
        try:
            await fail(10)
        except RuntimeError:
            pass


def from_thread(limited):
    async def functions(count):
        loop, over, room = asyncio.get_running_loop(), asyncio.Event(), threading.Semaphore(64)
        left = count

        def function():
            nonlocal left
            if limited:
                room.release()
            left -= 1
            if left == 0:
                over.set()

        def give():
            for _ in range(count):
                if limited:
                    room.acquire()
                loop.call_soon_threadsafe(function)

        thread = threading.Thread(target=give)
        thread.start()
        await over.wait()
        thread.join()

    return functions


async def w18(count):
    futures = [asyncio.get_running_loop().create_future() for _ in range(2)]

    async def side(mine):
        for _ in range(count // 2):
            value = await futures[mine]
            futures[mine] = asyncio.get_running_loop().create_future()
            futures[1 - mine].set_result(value + 1)

    futures[0].set_result(0)
    await join([side(0), side(1)])


async def nothing():
    pass


def w19(count):
    for _ in range(count):
        asyncio.run(nothing())


def w19b(count):
    for _ in range(count):
        loop = asyncio.new_event_loop()
        loop.run_until_complete(nothing())
        loop.close()


async def w20(count):
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    await turns(count)
    server.close()


def hundred_futures():
    return [asyncio.get_running_loop().create_future() for _ in range(100)]


async def w21(count):
    for _ in range(count // 100):
        left = hundred_futures()
        while left:
            left[0].set_result(1)
            left = list((await asyncio.wait(left, return_when=asyncio.FIRST_COMPLETED))[1])


async def w21b(count):
    for _ in range(count // 100):
        futures = hundred_futures()
        for i, following in enumerate(asyncio.as_completed(futures)):
            futures[i].set_result(1)
            await following


TWINS = {"W1": (w1, "await"), "W2": (w2, "child"), "W3": (w3, "yield"), "W4": (w4, "sleeper"), "W5": (w5, "permit"),
         "W6": (w6, "item"), "W7": (w7, "gather(10)"), "W8": (w8, "child"), "W9": (connected, "message"),
         "W10": (w10, "round_trip"), "W10b": (w10b, "call"), "W11b": (w1, "await"),
         "W13": (tree(w13, fib_calls), "call"), "W13b": (tree(w13b, fib_calls), "call"),
         "W13c": (tree(w13c, fib_calls), "call"), "W14": (tree(w14, lambda depth: 10**depth), "leaf"),
         "W15": (cancelled(sleeper), "task"), "W15b": (cancelled(in_timeout), "task"),
         "W15c": (cancelled(lambda: asyncio.wait_for(sleeper(), 3600)), "task"),
         "W15d": (cancelled(in_finally), "task"), "W15e": (cancelled(lambda: join([sleeper()])), "task"),
         "W15f": (w15f, "timeout"), "W15g": (w15g, "timeout"), "W16": (w16, "exception"),
         "W17": (from_thread(True), "function"), "W17b": (from_thread(False), "function"), "W18": (w18, "future"),
         "W19": (w19, "run"), "W19b": (w19b, "run"), "W20": (w20, "yield"), "W21": (w21, "future"),
         "W21b": (w21b, "future")}
IN_BATCHES = {"W2": BATCH, "W3": 100, "W5": BATCH, "W8": BATCH, "W10b": BATCH, "W15g": BATCH, "W18": 2, "W21": 100,
              "W21b": 100}
BEFORE_ANY_LOOP = ("W19", "W19b")
OF_MEMORY = ("W4", "W14", "W17", "W17b")


def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


class Clock:
    def __init__(self, workload, unit, operations):
        self.result = {"workload": workload, "variant": "asyncio", "unit": unit, "operations": operations}
        self.peak, self.cpu, self.wall = peak(), time.process_time_ns(), time.monotonic_ns()

    def stop(self):
        cpu, wall = time.process_time_ns() - self.cpu, time.monotonic_ns() - self.wall
        operations = self.result["operations"]
        memory = {"peak_bytes": (peak() - self.peak) / operations} if self.result["workload"] in OF_MEMORY else {}
        return {**self.result, "cpu_ns": cpu / operations, "wall_ns": wall / operations, **memory}


def main_before_any_loop(workload, operations):
    twin, unit = TWINS[workload]
    twin(10)  # warms up
    clock = Clock(workload, unit, operations)
    twin(operations)
    return clock.stop()


async def main(workload, operations, connections):
    twin, unit = TWINS[workload]
    batch = IN_BATCHES.get(workload, 1)
    if workload == "W9":
        twin, batch = await twin(connections)
    operations = (operations + batch - 1) // batch * batch
    if workload != "W4":
        await twin(2 * batch)  # warms up
    clock = Clock(workload, unit, operations)
    await twin(operations)
    result = clock.stop()
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
    if given.workload in BEFORE_ANY_LOOP:
        result = main_before_any_loop(given.workload, given.operations)
    else:
        result = asyncio.run(main(given.workload, given.operations, given.connections))
    if given.uvloop:
        result["variant"] = "uvloop"
    print(json.dumps(result))
