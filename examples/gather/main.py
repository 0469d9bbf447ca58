# SPDX-License-Identifier: MIT
import asyncio

async def worker(n):
    print(f"task {n} start")
    await asyncio.sleep(1)
    print(f"task {n} end")

async def main():
    await asyncio.gather(
        worker(1),
        worker(2),
        worker(3),
    )

asyncio.run(main())
