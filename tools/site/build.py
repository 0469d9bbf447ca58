# SPDX-License-Identifier: MIT
"""build.py [--check] OUT: writes the documentation as a static site into the folder OUT.

It is made of docs/*.md, README.md, CHANGELOG.md, CONTRIBUTING.md, and of the comments in include/aio/*.hpp and
include/aio/testing/*.hpp. It needs python3-markdown and python3-pygments, and no network; neither does the site. With
--check it holds what it wrote to what check.py says.
"""

import json
import os
import pathlib
import re
import shutil
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
ASSETS = pathlib.Path(__file__).resolve().parent / "assets"
SYSTEMS_PYTHON = "/usr/bin/python3"
OF_THE_PROJECT = ["CHANGELOG.md", "CONTRIBUTING.md"]

try:
    import markdown  # noqa: F401  # pages.py needs it
    import pygments  # noqa: F401
except ImportError as missing:
    # The first python3 of the path may be another than the one that the system's packages are for.
    if os.path.exists(SYSTEMS_PYTHON) and not os.environ.get("AIO_SITE_PYTHON"):
        os.environ["AIO_SITE_PYTHON"] = SYSTEMS_PYTHON
        sys.stdout.flush()
        os.execv(SYSTEMS_PYTHON, [SYSTEMS_PYTHON, *sys.argv])
    print(f"site: {missing.name} is not there (Debian: python3-markdown, python3-pygments)")
    sys.exit(77)

from check import check  # noqa: E402
from headers import BadHeader  # noqa: E402
from indexes import names_page, reference_page, search_records  # noqa: E402
from layout import whole_page  # noqa: E402
from names import REPOSITORY, Names, page_of  # noqa: E402
from pages import Converter, Page, facts_of  # noqa: E402
from reference import HeaderPage, Library, register  # noqa: E402


def order_of(index):
    """The sections of docs/index.md, each with its pages: (title, address)."""
    sections = []
    for block in re.split(r"^## ", index, flags=re.M)[1:]:
        title, _, rest = block.partition("\n")
        pages = re.findall(r"^- \[([^\]]+)\]\(((?:\.\./)?[\w-]+\.md)\)", rest, re.M)
        sections.append((title, [(text, page_of(path)) for text, path in pages]))
    return sections


def read_names(texts, library):
    """Where facts, names, pages and files are."""
    names = Names()
    for path, text in texts.items():
        names.pages[path] = page_of(path)
        names.facts |= facts_of(path, text)
    names.pages["include/aio"] = names.pages["include"] = names.pages["include/aio/testing"] = "reference/index.html"
    register(library, names)
    whole = next(header for header in library.headers if header.path == "aio/aio.hpp")
    names.whole = set(re.findall(r'#include "(aio/\w+\.hpp)"', (ROOT / "include" / whole.path).read_text()))
    for top in ROOT.iterdir():
        if top.name not in ("build", ".git"):
            for path in [top, *top.rglob("*")]:
                names.folders[path.relative_to(ROOT).as_posix()] = "tree" if path.is_dir() else "blob"
    return names


def pages_of_headers(library, names):
    for header in library.headers:
        made = HeaderPage(header, names)
        body = made.html()
        source = f"include/{header.path}"
        yield Page(made.page, header.path.removeprefix("aio/"), body, source, made.headings, made.records)


def build():
    """All pages, in their order, and the sections of the navigation."""
    files = [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md")), *(ROOT / name for name in OF_THE_PROJECT)]
    texts = {file.relative_to(ROOT).as_posix(): file.read_text() for file in files}
    library = Library(ROOT)
    names = read_names(texts, library)
    converted = [Converter(path, text, names, ROOT).convert() for path, text in texts.items()]
    pages = {page.url: page for page in converted}

    sections = order_of(texts["docs/index.md"])
    listed = {url for _, entries in sections for _, url in entries}
    missing = [path for path in texts if path.startswith("docs/") and page_of(path) not in listed | {"index.html"}]
    if missing:
        raise ValueError(f"docs/index.md does not name {', '.join(missing)}")
    headers = [*pages_of_headers(library, names)]
    of_reference = [reference_page(headers, library), names_page(names, texts["docs/names.md"])]
    sections.append(("Reference", [("By header", "reference/index.html"), ("All names", "reference/names.html")]))
    of_project = [(name.removesuffix(".md").capitalize(), page_of(name)) for name in OF_THE_PROJECT]
    sections.append(("The project", of_project))
    for page in [*of_reference, *headers]:
        pages[page.url] = page
    return pages, sections, headers


def both_ways(style):
    """The rules of @dark: for who asked the page for it, and for who asked the system and not the page."""
    rules = re.search(r"^@dark (\{.*?^\})", style, re.M | re.S)
    dark = (f':root[data-theme="dark"] {rules[1]}\n'
            f'@media (prefers-color-scheme: dark) {{ :root:not([data-theme="light"]) {rules[1]} }}')
    return style.replace(rules[0], f"@media not print {{\n{dark}\n}}")


def write(out, pages, sections, headers):
    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(ASSETS, out / "assets")
    style = out / "assets/style.css"
    style.write_text(both_ways(style.read_text()))
    reading = [("aio", "index.html"), *(entry for _, entries in sections for entry in entries)]
    of_headers = [(page.title, page.url) for page in headers]
    for page in pages.values():
        order = of_headers if page in headers else reading
        at = next(number for number, (_, url) in enumerate(order) if url == page.url)
        shown = sections
        if page in headers:
            shown = [("Reference", dict(sections)["Reference"]), ("Headers", of_headers)]
        before, after = order[at - 1] if at else None, order[at + 1] if at + 1 < len(order) else None
        path = out / page.url
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(whole_page(page, shown, before, after, f"{REPOSITORY}/blob/main/{page.source}"))
    rows = search_records(pages, (ROOT / "docs/names.md").read_text())
    text = json.dumps(rows, ensure_ascii=False, separators=(",", ":"))
    (out / "assets/index.js").write_text(f"window.aioIndex = {text};\n")


def main():
    arguments = [argument for argument in sys.argv[1:] if argument != "--check"]
    if len(arguments) != 1:
        sys.exit(__doc__)
    out = pathlib.Path(arguments[0])
    if out.exists() and any(out.iterdir()) and not (out / "assets/index.js").exists():
        sys.exit(f"{out} has files that are none of the site")
    try:
        pages, sections, headers = build()
    except (BadHeader, ValueError) as bad:
        sys.exit(str(bad))
    write(out, pages, sections, headers)
    print(f"{out}/index.html: {len(pages)} pages")
    if "--check" in sys.argv[1:] and (mistakes := check(out, ROOT)):
        sys.exit("\n".join(mistakes))


if __name__ == "__main__":
    main()
