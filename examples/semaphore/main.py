# SPDX-License-Identifier: MIT
import asyncio

limit = asyncio.Semaphore(3)  # 同時実行3個に制限

async def worker_with_limit(task_id, semaphore):
    async with semaphore:
        print(f"start {task_id}")
        await asyncio.sleep(2)
        print(f"finish {task_id}")

async def main():
    tasks = [worker_with_limit(i, limit) for i in range(10)]
    await asyncio.gather(*tasks)

asyncio.run(main())
