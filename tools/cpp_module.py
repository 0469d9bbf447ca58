#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes include/aio/aio.cppm: what aio/aio.hpp declares for users, as the C++20 module `aio`.

    cpp_module.py           writes it anew, after a public name was added
    cpp_module.py --check   fails where it is not what would be written
"""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools/site"))
from reference import Library  # noqa: E402

MODULE = ROOT / "include/aio/aio.cppm"
HEAD = """\
// SPDX-License-Identifier: MIT
//
// The C++20 module `aio`: what aio/aio.hpp declares, but for its macros, which aio/config.hpp has. How it is built, and
// by which compilers: docs/packages.md. Written by tools/cpp_module.py.
module;
#include "aio/aio.hpp"
export module aio;

export namespace aio {
"""


def names_of(library):
    """What aio/aio.hpp includes: its names of namespace aio. Members and specialisations come with their class."""
    whole = set(re.findall(r'#include "(aio/\w+\.hpp)"', (ROOT / "include/aio/aio.hpp").read_text()))
    items = [item for header in library.headers if header.path in whole for item in header.items]
    return sorted({item.name for item in items
                   if item.kind not in ("macro", "friend") and not re.search("::|<", item.name)
                   and not item.text.startswith("namespace ")})


def text():
    return HEAD + "".join(f"using aio::{name};\n" for name in names_of(Library(ROOT))) + "}  // namespace aio\n"


def main():
    if sys.argv[1:] == ["--check"]:
        if MODULE.read_text() != text():
            sys.exit(f"{MODULE.relative_to(ROOT)} lacks a name of aio/aio.hpp, or has one too many: tools/cpp_module.py")
    elif sys.argv[1:]:
        sys.exit(__doc__)
    else:
        MODULE.write_text(text())


if __name__ == "__main__":
    main()
