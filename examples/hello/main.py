# SPDX-License-Identifier: MIT
import asyncio

async def say_after(delay, msg):
    await asyncio.sleep(delay)  # ここで他のタスクに処理が切り替わる
    print(msg)

async def main():
    await say_after(1, "hello")
    await say_after(2, "world")

asyncio.run(main())
