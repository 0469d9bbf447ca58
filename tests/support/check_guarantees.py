# SPDX-License-Identifier: MIT
"""check_guarantees.py <project folder>: holds docs/guarantees.md to the tests that it names.

A promise there is a row of a table, | promise | tests |, and the second column has names of test cases between
quotes, word by word, or links to what holds it otherwise, or says "none":

    | what is promised | "lock: is fair", "semaphore: is fair" |

It fails when a named test is in no *_test.cpp of tests/, when a row has neither a test nor a link nor "none", when a
test stands twice in a row, and when there are quotes outside of the tables: what looks like a test's name there would
not be looked at. `check_guarantees.py --self-test` shows that it notices.
"""

import pathlib
import re
import sys

PAGE = "docs/guarantees.md"
NAME = re.compile(r'"((?:[^"\\]|\\.)*)"')
CASE = re.compile(r'TEST_CASE\(\s*((?:"(?:[^"\\]|\\.)*"\s*)+)')


def cases_in(text):
    """The names of a file's test cases, which may be written in several pieces."""
    return {"".join(NAME.findall(pieces)) for pieces in CASE.findall(text)}


def mistakes_of(page, known):
    mistakes, rows, head = [], 0, False
    for number, line in enumerate(page.splitlines(), 1):
        if not line.startswith("|"):
            head = False
            if NAME.search(line):
                mistakes.append(f"{number}: names in quotes stand in tables only")
            continue
        if not head:  # the title of the columns
            head = True
            continue
        if re.fullmatch(r"\|[-|: ]+\|", line):
            continue
        rows += 1
        columns = line.strip("|").split(" | ")
        named = NAME.findall(columns[-1])
        if NAME.search(" ".join(columns[:-1])):
            mistakes.append(f"{number}: names in quotes stand in the last column only")
        if not named and "](" not in columns[-1] and columns[-1].strip() != "none":
            mistakes.append(f"{number}: neither a test nor a link holds this")
        for name in sorted(set(named)):
            if named.count(name) > 1:
                mistakes.append(f'{number}: "{name}" stands twice')
            if name not in known:
                mistakes.append(f'{number}: there is no test "{name}"')
    if rows == 0:
        mistakes.append("there are no rows")
    return mistakes


def self_test():
    known = cases_in('TEST_CASE("lock: is fair") {}\nTEST_CASE(\n    "lock: is "\n    "quick", "[tag]") {}\n')
    assert known == {"lock: is fair", "lock: is quick"}, known

    def told(row, around=""):
        return mistakes_of(f"# Page\n{around}\n| promise | held by |\n|---|---|\n{row}\n", known)

    for good in ('| a | "lock: is fair" |', '| a | "lock: is fair", "lock: is quick" and more |', "| a | [b](c) |",
                 "| a | none |"):
        assert told(good) == [], (good, told(good))
    for bad in ('| a | "lock: is slow" |', '| a | "lock: is fair", "lock: is fair" |', "| a | |", "| a | to come |",
                '| "lock: is fair" | none |', ""):
        assert len(told(bad)) == 1, (bad, told(bad))
    assert len(told("| a | none |", 'It is as "lock: is slow" says.')) == 1


def main():
    if sys.argv[1:] == ["--self-test"]:
        self_test()
        return
    root = pathlib.Path(sys.argv[1])
    known = set().union(*(cases_in(file.read_text()) for file in root.glob("tests/*_test.cpp")))
    mistakes = mistakes_of((root / PAGE).read_text(), known)
    for mistake in mistakes:
        print(f"{PAGE}:{mistake}")
    sys.exit(1 if mistakes else 0)


if __name__ == "__main__":
    main()
