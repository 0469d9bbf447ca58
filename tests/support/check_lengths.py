# SPDX-License-Identifier: MIT
"""check_lengths.py <project folder>: holds the table of docs/beyond.md to the programs in tests/programs.

Each program is there twice, as x.hpp and x_by_hand.hpp. Lines are counted without those that are empty, a comment, an
#include or a #pragma. `check_lengths.py --print <project folder>` prints them; --self-test shows that it counts.
"""

import pathlib
import re
import sys

ROW = re.compile(r"^\| \[(\w+)\]\([^)]*\).*\| (\d+) \| (\d+) \|$", re.M)
NO_CODE = re.compile(r"^\s*(//.*|#\s*(include|pragma)\b.*)?$")


def lines_of_code(text):
    return sum(not NO_CODE.match(line) for line in text.splitlines())


def lengths_of(folder):
    """name -> lines by hand, and with what aio has beyond."""
    found = {}
    for by_hand in sorted(folder.glob("*_by_hand.hpp")):
        name = by_hand.stem.removesuffix("_by_hand")
        found[name] = tuple(lines_of_code(path.read_text()) for path in (by_hand, folder / f"{name}.hpp"))
    return found


def mistakes_of(document, lengths):
    said = {name: (int(by_hand), int(beyond)) for name, by_hand, beyond in ROW.findall(document)}
    mistakes = []
    for name in sorted(said.keys() | lengths.keys()):
        if said.get(name) != lengths.get(name):
            mistakes.append(f"{name}: the table says {said.get(name)}, and there are {lengths.get(name)} lines")
    return mistakes


def self_test():
    code = "// a\n#pragma once\n\n#include <b>\n  /// c\nint d;  // e\n}\n"
    row = "| [pool](../tests/programs/pool.hpp) | text | 2 | 1 |\n"
    cases = [
        ("comments, includes and empty lines are no code", lines_of_code(code) == 2),
        ("the right numbers pass", not mistakes_of(row, {"pool": (2, 1)})),
        ("a wrong number fails", len(mistakes_of(row, {"pool": (2, 2)})) == 1),
        ("a program without a row fails", len(mistakes_of("", {"pool": (2, 1)})) == 1),
        ("a row without a program fails", len(mistakes_of(row, {})) == 1),
    ]
    for name, good in cases:
        print(f"{'ok  ' if good else 'FAIL'}  {name}")
    return all(good for _, good in cases)


def main():
    if sys.argv[1:] == ["--self-test"]:
        sys.exit(0 if self_test() else "check_lengths.py: it does not notice")
    root = pathlib.Path(sys.argv[-1])
    lengths = lengths_of(root / "tests" / "programs")
    if not lengths:
        sys.exit("check_lengths.py: there are no programs")
    if sys.argv[1] == "--print":
        for name, (by_hand, beyond) in lengths.items():
            print(f"{name} {by_hand} {beyond}")
        return
    mistakes = mistakes_of((root / "docs" / "beyond.md").read_text(), lengths)
    print("\n".join(mistakes))
    sys.exit(1 if mistakes else 0)


if __name__ == "__main__":
    main()
