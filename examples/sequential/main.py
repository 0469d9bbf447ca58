# SPDX-License-Identifier: MIT
import asyncio

async def say_after(delay, msg):
    await asyncio.sleep(delay)
    print(msg)

async def main():
    await say_after(1, "A")
    await say_after(1, "B")  # Aが終わってからB

asyncio.run(main())
