# SPDX-License-Identifier: MIT
import asyncio
import time

def heavy_processing():
    time.sleep(1)  # 本当は重い処理がある想定
    return "done"

async def main():
    result = await asyncio.to_thread(heavy_processing)
    print(result)

asyncio.run(main())
