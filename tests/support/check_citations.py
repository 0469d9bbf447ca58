# SPDX-License-Identifier: MIT
"""check_citations.py <project folder>: holds citations of facts, and docs/semantics.md, to each other.

A fact of asyncio's that aio keeps stands there as a list item, and what shows it behind it:

    - **LOOP-10** `stop()` lets the iteration end. (event_loop_test)

Headers, tests and documents cite it as LOOP-10, or several as TG-1 to TG-8. The differences, D1 to D8, are those of the
README's table. It fails when a citation leads nowhere, when a fact stands twice or out of order, and when a test file
that is named does not exist.
"""

import pathlib
import re
import sys

FACT = re.compile(r"^- \*\*([A-Z]+)-(\d+)\*\* (.*(?:\n  .*)*)", re.M)
CITATION = re.compile(r"\b([A-Z]{1,5})-(\d+)\b(?:(?:\s|/)+to(?:\s|/)+(?:\1-)?(\d+)\b)?")
DIFFERENCE = re.compile(r"\bD(\d+)\b")


def mistakes_of(document, table, citing, test_files):
    """Of a semantics.md, the README, {name: text} of what cites, and the stems of test files."""
    mistakes = []
    facts = set()
    last = None
    for match in FACT.finditer(document):
        family, number, text = match[1], int(match[2]), match[3]
        if (family, number) in facts:
            mistakes.append(f"semantics.md: {family}-{number} stands twice")
        elif last and last[0] == family and last[1] > number:
            mistakes.append(f"semantics.md: {family}-{number} stands behind {family}-{last[1]}")
        facts.add((family, number))
        last = (family, number)
        for stem in re.findall(r"\b\w+_test\b", text):
            if stem not in test_files:
                mistakes.append(f"semantics.md: {family}-{number} names {stem}, which does not exist")
    families = {family for family, _ in facts}
    differences = {int(number) for number in re.findall(r"^\| D(\d+) \|", table, re.M)}
    for name, text in {"semantics.md": document, **citing}.items():
        for match in CITATION.finditer(text):
            if match[1] not in families:
                continue
            for number in range(int(match[2]), int(match[3] or match[2]) + 1):
                if (match[1], number) not in facts:
                    mistakes.append(f"{name}: {match[1]}-{number} is not in docs/semantics.md")
        for number in DIFFERENCE.findall(text):
            if int(number) not in differences:
                mistakes.append(f"{name}: D{number} is not in the README's table")
    return mistakes


def self_test():
    document = "- **FUT-1** One.\n- **FUT-2** Two, which is longer\n  than a line. (a_test)\n- **LK-1** As FUT-1 (D1).\n"
    table = "| D1 | a | b |\n"

    def told(document=document, citing="FUT-1 to FUT-2, TLS-9; FUT-1 to\n/// 2"):
        return mistakes_of(document, table, {"x.hpp": citing}, {"a_test"})

    assert told() == [], told()
    for citing in ("FUT-3", "FUT-1 to FUT-3", "FUT-1 to 3", "LK-2", "D2"):
        assert len(told(citing=citing)) == 1, citing
    for bad in (document.replace("FUT-2", "FUT-1"), document.replace("FUT-1**", "FUT-3**"),
                document.replace("a_test", "b_test"), document.replace("D1", "D3"), document.replace("As FUT-1", "As FUT-7")):
        assert told(document=bad), bad


def main():
    if sys.argv[1:] == ["--self-test"]:
        self_test()
        return
    folder = pathlib.Path(sys.argv[1])
    files = [*folder.glob("include/aio/**/*.hpp"), *folder.glob("tests/*.cpp"), *folder.glob("tests/support/*.hpp"),
             *folder.glob("docs/*.md"), *folder.glob("examples/**/*.cpp"), folder / "tests/asyncio_inventory.md"]
    citing = {str(file.relative_to(folder)): file.read_text() for file in files if file.name != "semantics.md"}
    readme = (folder / "README.md").read_text()
    mistakes = mistakes_of((folder / "docs/semantics.md").read_text(), readme, {**citing, "README.md": readme},
                           {file.stem for file in folder.glob("tests/*_test.cpp")})
    for mistake in mistakes:
        print(mistake)
    sys.exit(1 if mistakes else 0)


main()
