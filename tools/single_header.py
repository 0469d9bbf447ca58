#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes aio as one file, for programs that would rather copy a header than install a library.

    single_header.py third_party/aio/aio.hpp
    single_header.py third_party/aio/aio.hpp --add testing/virtual_clock.hpp --add tls.hpp

It has all that aio/aio.hpp includes, and what is added, in the order in which a compiler would read it; a header of
the standard library or of Asio is included once. The contracts stay, and comments of the implementation go. To a
compiler it is the same text as the headers, so that other files of the program may use an installed aio of the same
version.
"""

import argparse
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
INCLUDE = re.compile(r'#\s*include\s*(?:"(?P<own>aio/[^"]+)"|(?P<other><[^>]+>))')
CONDITION = re.compile(r"#\s*(if|elif|else|endif)")
COMMENT = re.compile(r"\s*//")
IMPLEMENTATION = re.compile(r"// -+ implementation$")


class Merger:
    def __init__(self, folder):
        self.folder = folder
        self.lines = []
        self.own = set()
        self.others = set()  # with the conditions that they are under

    def add(self, name):
        """Adds that header, after what it includes and has not been added."""
        text = (self.folder / name).read_text(encoding="utf-8")
        if "#pragma once\n" in text:
            if name in self.own:
                return
            self.own.add(name)
        bare = name.startswith("aio/detail/")  # all of it is implementation
        conditions = []
        for number, line in enumerate(text.splitlines(), 1):
            bare = bare or bool(IMPLEMENTATION.match(line))
            if line in ("#pragma once", "// SPDX-License-Identifier: MIT") or (bare and COMMENT.match(line)):
                continue
            if condition := CONDITION.match(line):
                if condition[1] == "if":
                    conditions.append(line)
                elif condition[1] == "endif":
                    conditions.pop()
                else:
                    conditions[-1] += "\n" + line
            if include := INCLUDE.match(line):
                if include["own"]:
                    self.add_under(include["own"], conditions, f"{name}:{number}")
                elif not any((include["other"], *conditions[:depth]) in self.others
                             for depth in range(len(conditions) + 1)):
                    self.others.add((include["other"], *conditions))
                    self.append(line)
            else:
                self.append(line)

    def add_under(self, name, conditions, place):
        """Adds a header that is included under conditions. Each may be read without them: it has its own."""
        if not conditions or name.startswith("aio/detail/keywords_"):
            self.add(name)
        elif name not in self.own:
            if len(conditions) > 1 or "\n" in conditions[0]:
                sys.exit(f"{place}: {name}: it would be there under those conditions only")
            self.append("#endif")
            self.add(name)
            self.append(conditions[0])

    def append(self, line):
        """Without empty lines in a row, and conditions that nothing is left under."""
        if line == "#endif":
            while not self.lines[-1]:
                self.lines.pop()
            if self.lines[-1].startswith("#if"):
                self.lines.pop()
                return
        if line or (self.lines and self.lines[-1]):
            self.lines.append(line)


def version(root):
    config = (root / "include/aio/config.hpp").read_text(encoding="utf-8")
    return ".".join(re.search(rf"AIO_VERSION_{part} (\d+)", config)[1] for part in ("MAJOR", "MINOR", "PATCH"))


def commit(root):
    """ of the checkout, and nothing where there is none."""
    if not (root / ".git").exists():
        return ""
    try:
        found = subprocess.run(["git", "-C", root, "describe", "--always", "--dirty", "--exclude=*"],
                               capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return f" ({found.stdout.strip()})"


def merged(root, added):
    merger = Merger(root / "include")
    for name in ["aio.hpp", *added]:
        merger.add(f"aio/{name}")
    license_text = (root / "LICENSE").read_text(encoding="utf-8").strip()
    lines = [
        f"// aio {version(root)}{commit(root)}, asyncio for C++20, as one file: made by tools/single_header.py.",
        *(f"// With aio/{name}." for name in added),
        "//",
        *(f"// {line}".rstrip() for line in license_text.splitlines()),
        "// SPDX-License-Identifier: MIT",
        "#pragma once",
        "",
        "#if defined(AIO_VERSION_MAJOR)",
        "#error aio is here already, as its headers or as another single file: a source file can have one of them",
        "#include <nothing that follows would be of use>",
        "#endif",
        "",
        *merger.lines,
        "",
        "#define AIO_SINGLE_HEADER 1",
    ]
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=pathlib.Path, help="to be written; name it aio.hpp, for messages of aio's")
    parser.add_argument("--add", action="append", default=[], metavar="HEADER",
                        help="a header that aio.hpp does not include, as named in include/aio")
    arguments = parser.parse_args()
    text = merged(ROOT, arguments.add)
    arguments.file.parent.mkdir(parents=True, exist_ok=True)
    arguments.file.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
