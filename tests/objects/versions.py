#!/usr/bin/env python3
# SPDX-License-Identifier: MIT

"""versions.py NM OBJECT OBJECT: no function or object of aio is defined by both, which are of two versions of it: the
linker would take either for both."""

import subprocess
import sys


def of_aio(nm, path):
    lines = subprocess.run([nm, "--defined-only", "--format=posix", path], check=True, capture_output=True, text=True).stdout
    return {line.split()[0] for line in lines.splitlines() if "3aio" in line and line.split()[1] in "TVWuBD"}


nm, *objects = sys.argv[1:]
first, second = (of_aio(nm, each) for each in objects)
print(f"{len(first)} and {len(second)} names of aio")
both = sorted(first & second)
if both:
    print("both have:", *both[:20], sep="\n  ")
sys.exit(1 if both or min(len(first), len(second)) < 100 else 0)
