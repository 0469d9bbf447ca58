# SPDX-License-Identifier: MIT
"""The workloads in asyncio: what runs twins/asyncio_twin.py."""

import json
import os
import pathlib
import subprocess

import measure
from workloads import WORKLOADS

TWIN = pathlib.Path(__file__).resolve().parent / "asyncio_twin.py"
PYTHON = "/usr/bin/python3"  # the one for which Debian's python3-uvloop is
OPERATIONS = {"W1": 1_000_000, "W2": 100_000, "W3": 200_000, "W4": 100_000, "W5": 100_000, "W6": 300_000, "W7": 10_000,
              "W8": 30_000, "W9": 10_000, "W9-100": 20_000, "W9-1000": 50_000, "W9-10000": 100_000, "W10": 2_000,
              "W10b": 5_000, "W11b": 1_000_000, "W13": 21_891, "W13b": 21_891, "W13c": 21_891, "W14": 100_000,
              "W15": 10_000, "W15b": 10_000, "W15c": 10_000, "W15d": 10_000, "W15e": 10_000, "W15f": 10_000,
              "W15g": 10_000, "W16": 10_000, "W17": 100_000, "W17b": 100_000, "W18": 100_000, "W19": 300,
              "W19b": 1_000, "W20": 50_000, "W21": 5_000, "W21b": 20_000}

# asyncio reads into 256 KiB, which glibc maps and unmaps for each message until chance raises its threshold: echo
# takes thrice as long then. A long-lived program is on the good side of it, so that is what is compared.
ENVIRONMENT = {**os.environ, "MALLOC_MMAP_THRESHOLD_": str(1 << 20), "MALLOC_TRIM_THRESHOLD_": str(4 << 20)}


def has_uvloop():
    return subprocess.run([PYTHON, "-c", "import uvloop"], capture_output=True).returncode == 0


def variants(workload):
    if workload not in OPERATIONS or not pathlib.Path(PYTHON).exists():
        return []
    return ["asyncio"] + (["uvloop"] if has_uvloop() else [])


def run(workload, variant, share=1.0):
    operations = max(1, int(OPERATIONS[workload] * share))
    case, arguments = WORKLOADS[workload].case or workload, WORKLOADS[workload].arguments
    command = [PYTHON, str(TWIN), case, str(operations), *arguments] + (["--uvloop"] if variant == "uvloop" else [])
    return json.loads(measure.checked(command, environment=ENVIRONMENT).stdout)
