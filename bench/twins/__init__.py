# SPDX-License-Identifier: MIT
"""The workloads in asyncio: what runs twins/asyncio_twin.py."""

import json
import pathlib
import subprocess

import measure

TWIN = pathlib.Path(__file__).resolve().parent / "asyncio_twin.py"
PYTHON = "/usr/bin/python3"  # the one for which Debian's python3-uvloop is
OPERATIONS = {"W1": 1_000_000, "W2": 100_000, "W3": 200_000, "W4": 100_000, "W5": 100_000, "W6": 300_000, "W7": 10_000,
              "W8": 30_000, "W9": 10_000, "W10": 2_000, "W10b": 5_000, "W11b": 1_000_000}


def has_uvloop():
    return subprocess.run([PYTHON, "-c", "import uvloop"], capture_output=True).returncode == 0


def variants(workload):
    if workload not in OPERATIONS or not pathlib.Path(PYTHON).exists():
        return []
    return ["asyncio"] + (["uvloop"] if has_uvloop() else [])


def run(workload, variant, share=1.0):
    operations = max(1, int(OPERATIONS[workload] * share))
    command = [PYTHON, str(TWIN), workload, str(operations)] + (["--uvloop"] if variant == "uvloop" else [])
    return json.loads(measure.checked(command).stdout)
