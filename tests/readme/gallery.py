# SPDX-License-Identifier: MIT
"""The gallery has every example, and shows what they print.

    gallery.py <docs/gallery.md> <examples> <build folder of the examples>
    gallery.py --self-test

A heading of the third level is an example; the console block in it begins with "$ " and the example's name, and goes on
with what that prints. Under "<!-- by hand -->" nothing is run: servers, and what depends on the day or the machine.
Examples with a twin in Python are run faster, by --scale.
"""

import concurrent.futures
import pathlib
import re
import subprocess
import sys
import tempfile


def sections(text):
    """name -> (by hand, what is printed)"""
    found = {}
    for part in re.split(r"^### ", text, flags=re.M)[1:]:
        name, body = part.split("\n", 1)
        block = re.search(r"^```console\n(.*?)^```$", body, re.M | re.S)
        if not block:
            raise ValueError(f"{name} shows nothing")
        by_hand = "<!-- by hand -->" in body
        command, _, printed = block[1].partition("\n")
        if not by_hand and command != f"$ {name}":
            raise ValueError(f"{name} begins with {command!r}")
        if by_hand and not command.startswith("$ "):
            raise ValueError(f"{name} shows no command")
        found[name] = by_hand, printed
    return found


def mistakes(text, examples, programs):
    try:
        shown = sections(text)
    except ValueError as error:
        return [str(error)]
    there = {main.parent.name: main.parent for main in examples.glob("*/main.cpp")}
    wrong = [f"{name} is not shown" for name in there.keys() - shown.keys()]
    wrong += [f"there is no example {name}" for name in shown.keys() - there.keys()]

    def compared(name):
        program = programs / name / name
        scale = ["--scale", "0.02"] if (there[name] / "main.py").exists() else []
        if not program.exists():
            return []
        said = subprocess.run([program, *scale], capture_output=True, text=True, timeout=60, check=False).stdout
        return [] if said == shown[name][1] else [f"{name} prints\n{said}"]

    to_run = [name for name in there.keys() & shown.keys() if not shown[name][0]]
    with concurrent.futures.ThreadPoolExecutor(len(to_run) or 1) as pool:  # they mostly sleep
        return wrong + [each for found in pool.map(compared, to_run) for each in found]


def self_test():
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        for name in ("one", "two"):
            (root / name).mkdir()
            (root / name / "main.cpp").touch()
            (root / name / name).write_text(f"#!/bin/sh\necho {name}\n")
            (root / name / name).chmod(0o755)
        right = "### one\n\n```console\n$ one\none\n```\n\n### two\n\n<!-- by hand -->\n\n```console\n$ two 1\nxx\n```\n"
        for text, expected in ((right, []), (right.replace("\none\n", "\nelse\n"), ["one prints\none\n"]),
                               (right.split("### two")[0], ["two is not shown"]),
                               (right.replace("### two", "### three"), ["two is not shown", "there is no example three"]),
                               (right.replace("$ one", "$ other"), ["one begins with '$ other'"]),
                               (right.replace("```console\n$ two 1\nxx\n```", ""), ["two shows nothing"]),
                               (right.replace("$ two 1\n", ""), ["two shows no command"])):
            assert mistakes(text, root, root) == expected, (text, mistakes(text, root, root))


def main():
    if sys.argv[1:] == ["--self-test"]:
        self_test()
        return
    page, examples, programs = map(pathlib.Path, sys.argv[1:])
    found = mistakes(page.read_text(), examples, programs)
    print("\n".join(found))
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
