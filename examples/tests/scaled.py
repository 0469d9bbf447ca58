# SPDX-License-Identifier: MIT
"""Runs one of the Python twins, unchanged, with every sleep multiplied.

    python3 scaled.py --scale 0.02 ../gather/main.py
"""
import asyncio
import runpy
import sys
import time

option, scale, program = sys.argv[1:]
assert option == "--scale", __doc__
scale = float(scale)

asyncio_sleep, time_sleep = asyncio.sleep, time.sleep
asyncio.sleep = lambda delay, result=None: asyncio_sleep(delay * scale, result)
time.sleep = lambda delay: time_sleep(delay * scale)

# Three tasks that sleep for "the same" second have deadlines some microseconds apart. Whether asyncio
# wakes them in one iteration is luck (about 97 % here), and "finish 1" may then come after "start 3".
# With this, timers due within 8 ms of the first one always go together.
asyncio.BaseEventLoop._clock_resolution = property(lambda loop: 0.008, lambda loop, seconds: None)

runpy.run_path(program, run_name="__main__")
