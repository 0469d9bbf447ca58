#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Checks that every test case that is written is a test of CTest's, and runs what its name says.

  check_discovery.py TESTS_FOLDER BUILD_FOLDER CTEST    what CTest found, beside what the sources have
  check_discovery.py --self-test

Catch2 v2's own script splits a name at a semicolon into entries that match nothing and pass."""

import json
import pathlib
import re
import subprocess
import sys

WRITTEN = re.compile(r'^(TEMPLATE_)?TEST_CASE\w*\(\s*((?:"(?:[^"\\]|\\.)*"\s*)+)', re.M)


def written(source):
    """The names in a source, and of each whether it is always compiled, and whether it is a template's."""
    conditional = 0
    starts = []
    for line in source.splitlines(keepends=True):
        conditional += bool(re.match(r"#\s*if", line)) - bool(re.match(r"#\s*endif", line))
        starts += [conditional == 0] * len(line)
    for found in WRITTEN.finditer(source):
        name = "".join(re.findall(r'"((?:[^"\\]|\\.)*)"', found[2])).replace('\\"', '"').replace("\\\\", "\\")
        yield name, starts[found.start()], bool(found[1])


def complaints(sources, found):
    seen = set()
    for path, source in sources:
        for name, always, template in written(source):
            if name in seen:
                yield f"{path}: there are two tests with the name: {name}"
            seen.add(name)
            if ";" in name:
                yield f"{path}: a semicolon splits the name in two: {name}"
            matches = [one for one in found if one == name or (template and one.startswith(name + " - "))]
            if always and not matches:
                yield f"{path}: is not run: {name}"
            found = found - set(matches)
    for name in sorted(found):
        yield f"CTest runs what no source has: {name}"


def self_test():
    source = 'TEST_CASE("a: b") {}\n#if X\nTEST_CASE("c") {}\n#endif\nTEST_CASE("d"\n          " e", "[tag]") {}\n'
    assert list(written(source)) == [("a: b", True, False), ("c", False, False), ("d e", True, False)]
    assert list(complaints([("f", source)], {"a: b", "d e"})) == []
    assert list(complaints([("f", source)], {"a: b", "c", "d e"})) == []
    assert list(complaints([("f", source)], {"a: b"})) == ["f: is not run: d e"]
    assert list(complaints([("f", source)], {"a: b", "d e", "x"})) == ["CTest runs what no source has: x"]
    split = list(complaints([("f", 'TEST_CASE("g; h") {}')], {"g", "h"}))
    assert len(split) == 4, split
    print("check_discovery.py: the self-test passes")


def main(arguments):
    if arguments == ["--self-test"]:
        return self_test()
    tests, build, ctest = arguments
    listing = subprocess.run([ctest, "--show-only=json-v1", "--test-dir", build], capture_output=True, text=True, check=True)
    found = set()
    for test in json.loads(listing.stdout)["tests"]:
        properties = {each["name"]: each["value"] for each in test.get("properties", [])}
        if "written" in properties.get("LABELS", []):
            found.add(test["name"])
    sources = [(path.name, path.read_text()) for path in sorted(pathlib.Path(tests).glob("*_test.cpp"))]
    wrong = list(complaints(sources, found))
    if wrong or not found:
        sys.exit("\n".join(wrong) or "CTest found none")
    print(f"{len(found)} tests are written, found and run")


if __name__ == "__main__":
    main(sys.argv[1:])
