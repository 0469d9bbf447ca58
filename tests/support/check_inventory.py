# SPDX-License-Identifier: MIT
"""check_inventory.py <tests folder>: holds asyncio_inventory.md to the tests that it names.

A line of the inventory is one test of CPython and what stands for it here:

    - `test_name`: "sentence of a test", "another", a note if needed
    - `test_name`: no case in C++: the reason

It fails when a line has neither, when a named test is in no *_test.cpp, when one stands twice in its class, and when
the number of lines is not the one that the inventory gives of itself ("N tests").
"""

import pathlib
import re
import sys
import tempfile


def sentences_of(folder):
    found = set()
    for file in folder.glob("*_test.cpp"):
        text = file.read_text()
        for literals in re.findall(r'TEST_CASE\(\s*((?:"(?:[^"\\]|\\.)*"\s*)+)', text):
            found.add("".join(re.findall(r'"((?:[^"\\]|\\.)*)"', literals)))
    return found


def mistakes_of(inventory, known):
    mistakes = []
    seen = set()
    count = 0
    scope = ""
    for number, line in enumerate(inventory.splitlines(), 1):
        if line.startswith("#"):
            scope = line
            continue
        match = re.match(r"- `(\w+)`:\s*(.*)", line)
        if not match:
            if line.startswith("- "):
                mistakes.append(f"{number}: not of the form \"- `test`: ...\"")
            continue
        count += 1
        name, answer = match.groups()
        if (scope, name) in seen:
            mistakes.append(f"{number}: {name} stands twice")
        seen.add((scope, name))
        if re.match(r"no case in C\+\+: \S.{10,}", answer):
            continue
        named = re.findall(r'"((?:[^"\\]|\\.)*)"', answer)
        if not named:
            mistakes.append(f"{number}: {name} has neither a test nor a reason")
        for sentence in named:
            if sentence not in known:
                mistakes.append(f"{number}: {name} names a test that does not exist: \"{sentence}\"")
    total = re.search(r"\b(\d+) tests\b", inventory)
    if not total or int(total.group(1)) != count:
        mistakes.append(f"it has {count} lines, and says {total.group(1) if total else 'nothing'}")
    return mistakes


def self_test():
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        (folder / "a_test.cpp").write_text(
            'TEST_CASE("lock: is fair") {}\nTEST_CASE(\n    "lock: is "\n    "quick", "[tag]") {}\n')
        known = sentences_of(folder)
    assert known == {"lock: is fair", "lock: is quick"}, known
    good = '4 tests\n- `a`: "lock: is fair"\n- `b`: "lock: is quick", "lock: is fair"\n- `c`: no case in C++: no such thing\n## X\n- `a`: "lock: is fair"\n'
    assert mistakes_of(good, known) == [], mistakes_of(good, known)
    for bad in ('1 tests\n- `a`: "lock: is slow"\n', "1 tests\n- `a`: to come\n", "1 tests\n- `a`: no case in C++: \n",
                '2 tests\n- `a`: "lock: is fair"\n', '2 tests\n- `a`: "lock: is fair"\n- `a`: "lock: is fair"\n',
                '1 tests\n- `a`: "lock: is fair"\n- b\n'):
        assert mistakes_of(bad, known), bad


def main():
    if sys.argv[1:] == ["--self-test"]:
        self_test()
        return
    folder = pathlib.Path(sys.argv[1])
    mistakes = mistakes_of((folder / "asyncio_inventory.md").read_text(), sentences_of(folder))
    for mistake in mistakes:
        print(f"asyncio_inventory.md:{mistake}")
    sys.exit(1 if mistakes else 0)


main()
