# SPDX-License-Identifier: MIT
"""check_links.py <project folder>: holds the links of the Markdown pages to the files and headings that they lead to.

A link is `[text](target)` or `![text](target)` outside of code. A target without a scheme is a file or folder of the
project, as seen from the page, and may name a heading: `semantics.md#tasks`. A heading is named as GitHub does it: in
lower case, without punctuation, spaces as hyphens; a second one of the same name gets "-1". What is on other hosts is
not looked at. `check_links.py --self-test` shows that it notices.
"""

import pathlib
import re
import sys

FENCE = re.compile(r"^(```|~~~).*?^\1\s*$", re.M | re.S)
CODE = re.compile(r"(`+)(?!`).+?(?<!`)\1(?!`)")
LINK = re.compile(r"\]\(([^()\s]+)\)")
HEADING = re.compile(r"^#{1,6} +(.+?) *#*$", re.M)
FOREIGN = re.compile(r"^[a-z][a-z0-9+.-]*:", re.I)


def heading_anchor(title, taken):
    """The one that GitHub gives to a heading without markup, behind those that are `taken`; takes it."""
    anchor = re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
    name, again = anchor, 0
    while name in taken:
        again += 1
        name = f"{anchor}-{again}"
    taken.add(name)
    return name


def anchors_of(text):
    """What a link may name behind "#"."""
    found = set()
    for title in HEADING.findall(FENCE.sub("", text)):
        title = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title).replace("`", "")
        heading_anchor(title, found)
    return found


def mistakes_of(pages, exists):
    """Of {path: text}, and a function that tells whether another path exists."""
    mistakes = []
    for path, text in pages.items():
        plain = CODE.sub("", FENCE.sub(lambda block: "\n" * block[0].count("\n"), text))
        for match in LINK.finditer(plain):
            line = plain.count("\n", 0, match.start()) + 1
            if FOREIGN.match(match[1]):
                continue
            file, _, anchor = match[1].partition("#")
            target = (path.parent / file) if file else path
            parts = []
            for part in target.parts:
                if part == ".." and parts:
                    parts.pop()
                else:
                    parts.append(part)
            target = pathlib.PurePosixPath(*parts)
            if target not in pages and not exists(target):
                mistakes.append(f"{path}:{line}: {match[1]}: there is no such file")
            elif anchor and target in pages and anchor not in anchors_of(pages[target]):
                mistakes.append(f"{path}:{line}: {match[1]}: there is no such heading")
    return mistakes


def self_test():
    page, other = pathlib.PurePosixPath("docs/a.md"), pathlib.PurePosixPath("README.md")
    readme = "# The `aio::run` of it, and more\n## Twice\n## Twice\n```sh\n# No heading\n```\n"

    def told(text):
        return mistakes_of({page: text, other: readme}, lambda path: str(path) == "tests/x.hpp")

    for good in ("[a](../README.md)", "[a](../README.md#twice-1)", "[a](../README.md#the-aiorun-of-it-and-more)",
                 "[a](https://nowhere.example/b.md#c)", "[a](../tests/x.hpp)", "`[a](b.md)`", "# Here\n[a](#here)",
                 "```cpp\nx[i](y);\n```", "[&](int x) {"):
        assert not told(good.replace("[&](int x) {", "`[&](int x) {`")), (good, told(good))
    for bad in ("[a](b.md)", "![a](b.svg)", "[a](../README.md#thrice)", "[a](../README.md#no-heading)", "[a](#here)",
                "[a](../tests/y.hpp)", "`code` [`a`](b.md)"):
        assert len(told(bad)) == 1, (bad, told(bad))


def main():
    if sys.argv[1:] == ["--self-test"]:
        self_test()
        return
    root = pathlib.Path(sys.argv[1])
    files = [*root.glob("*.md")]
    for folder in ("bench", "docs", "examples", "tests", "tools"):
        files += root.glob(f"{folder}/**/*.md")
    pages = {pathlib.PurePosixPath(file.relative_to(root).as_posix()): file.read_text() for file in files}
    mistakes = mistakes_of(pages, lambda path: (root / path).exists())
    print("\n".join(mistakes))
    sys.exit(1 if mistakes else 0)


if __name__ == "__main__":
    main()
