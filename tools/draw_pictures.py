#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Draws the timelines of docs/pictures.md from traces of its programs.

    draw_pictures.py PROGRAM            runs it, and writes docs/pictures/*.svg
    draw_pictures.py --check PROGRAM    fails where these are not what it would write

PROGRAM is that of the page: build/dev/tests/readme/aio.pictures. It runs in virtual time, so that the same pictures
come out each time, and with each compiler.
"""

import argparse
import os
import pathlib
import re
import subprocess
import sys
import tempfile

import draw_timeline

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs/pictures.md"
PICTURE = re.compile(r"^!\[([^\]]+)\]\((pictures/(\w+)\.svg)\)$", re.M)


def drawn(program):
    """{path: text} of all pictures that the page shows."""
    pictures = {}
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([pathlib.Path(program).resolve()], check=True, stdout=subprocess.DEVNULL,
                       env={**os.environ, "AIO_PICTURES": folder})
        for title, path, name in PICTURE.findall(PAGE.read_text()):
            given = argparse.Namespace(trace=f"{folder}/{name}.json", few=True, title=title, only="", until=None,
                                       tracks=30)
            pictures[PAGE.parent / path] = draw_timeline.draw(given)
    return pictures


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--check", action="store_true")
    given = parser.parse_args()
    others = []
    for path, text in drawn(given.program).items():
        if given.check and (not path.exists() or path.read_text() != text):
            others.append(str(path.relative_to(ROOT)))
        elif not given.check:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
    if others:
        sys.exit(f"{', '.join(others)}: drawn anew they differ; look at them, and run tools/draw_pictures.py")


if __name__ == "__main__":
    main()
