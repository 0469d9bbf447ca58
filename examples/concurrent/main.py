# SPDX-License-Identifier: MIT
import asyncio

async def say_after(delay, msg):
    await asyncio.sleep(delay)
    print(msg)

async def main():
    task1 = asyncio.create_task(say_after(1, "A"))
    task2 = asyncio.create_task(say_after(1, "B"))
    await task1
    await task2

asyncio.run(main())
