# SPDX-License-Identifier: MIT
import asyncio

async def worker_with_limit(task_id, semaphore):
    async with semaphore:
        print(f"start {task_id}")
        await asyncio.sleep(1)
        print(f"finish {task_id}")

async def main():
    limit = asyncio.Semaphore(3)
    async with asyncio.TaskGroup() as tg:
        for i in range(10):
            tg.create_task(worker_with_limit(i, limit))

asyncio.run(main())
