# SPDX-License-Identifier: MIT
"""check.py SITE [PROJECT]: holds a site that build.py made to its links, and its reference to the project's names.

Each link and anchor leads somewhere, and no address is of another host but the repository's and those that the pages
name; each page has a title and one heading of the first level; no Markdown is left over. Of the project: each name
`aio::x` of docs/names.md, the README and the other pages has its place in the reference, and each class and function
that a header documents is in the index of names. `check.py --self-test` shows that it notices.
"""

import html.parser
import json
import pathlib
import posixpath
import re
import sys
import urllib.parse

import names
from headers import BadHeader, read_header

REPOSITORY = names.REPOSITORY + "/"
EMPTY = {"meta", "link", "br", "img", "input", "hr", "path", "rect", "line", "circle", "polyline"}
LEFT_OVER = re.compile(r"\*\*\w|\w\*\*|\]\(|^#{1,6} |^\s*\|.*\|\s*$|```|(?<!\w)`\w|<!--|BLOCK\d|^[-*] \w", re.M)
NAME = re.compile(r"\baio::(?!detail)\w+(?:::\w+)*")
# Targets of CMake, and a namespace
NO_NAMES = {"aio::aio", "aio::module", "aio::tls", "aio::testing"}


class PageReader(html.parser.HTMLParser):
    """Anchors, links, titles, and the text that is no code."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.ids, self.links, self.open, self.titles, self.text = [], [], [], {"title": "", "h1": ""}, []
        self.names = 0
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if "id" in attributes:
            self.ids.append(attributes["id"])
        for name in ("href", "src"):
            if name in attributes:
                self.links.append((attributes[name], self.getpos()[0]))
        self.names += tag == "h1"
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag in EMPTY:
            return
        if not self.open or self.open.pop() != tag:
            self.text.append((self.getpos()[0], f"BLOCK0 </{tag}> closes what is not open"))

    def handle_data(self, data):
        for tag in ("title", "h1"):
            if tag in self.open:
                self.titles[tag] += data
        if not {"script", "style", "pre", "code", "svg"} & set(self.open):
            self.text.append((self.getpos()[0], data))


def mistakes_of(pages, files, others, exists):
    """Of {address: HTML}, all addresses of the site, the beginnings of others that may be linked, and a function that
    tells whether the repository has a path."""
    mistakes = []
    read = {address: PageReader(text) for address, text in pages.items()}
    for address, page in read.items():
        if not page.titles["title"].strip() or not page.titles["h1"].strip() or page.names != 1:
            mistakes.append(f"{address}: it has no title, or not one heading")
        for name in {name for name in page.ids if page.ids.count(name) > 1}:
            mistakes.append(f"{address}: there are two #{name}")
        for line, text in page.text:
            if left := LEFT_OVER.search(text):
                mistakes.append(f"{address}:{line}: Markdown is left: {text[max(0, left.start() - 20) :][:60]!r}")
        for link, line in page.links:
            if problem := problem_of(link, address, read, files, others, exists):
                mistakes.append(f"{address}:{line}: {link}: {problem}")
    return mistakes


def problem_of(link, address, read, files, others, exists):
    """Why a link leads nowhere, or None."""
    if link.startswith(REPOSITORY):
        path = re.sub(r"^(blob|tree)/main/", "", link.removeprefix(REPOSITORY))
        return None if exists(path) else "the repository has no such file"
    if re.match(r"[a-z]+:", link):
        return None if link.startswith(tuple(others)) else "no page of the project names that address"
    path, _, anchor = link.partition("#")
    beside = posixpath.join(posixpath.dirname(address), urllib.parse.unquote(path))
    target = posixpath.normpath(beside) if path else address
    if target not in files:
        return "there is no such file"
    if anchor and target in read and urllib.parse.unquote(anchor) not in read[target].ids:
        return "there is no such anchor"
    return None


def missing_names(texts, known):
    """The names of aio in {page: text} that the reference does not have."""
    missing = []
    for page, text in texts.items():
        for match in NAME.finditer(text):
            if match[0] not in NO_NAMES and match[0].removeprefix("aio::") not in known:
                line = text.count("\n", 0, match.start()) + 1
                missing.append(f"{page}:{line}: {match[0]} is not in the reference")
    return missing


def names_of(index):
    """What the search finds as a name, from index.js."""
    rows = json.loads(index.partition("=")[2].rstrip(";\n"))
    return {title for title, kind, *_ in rows if kind not in ("page", "section", "fact", "elsewhere", "header")}, rows


def check(site, project):
    files = {file.relative_to(site).as_posix() for file in site.rglob("*") if file.is_file()}
    pages = {name: (site / name).read_text() for name in files if name.endswith(".html")}
    sources = [project / "README.md", project / "CHANGELOG.md", project / "CONTRIBUTING.md", *project.glob("docs/*.md")]
    texts = {file.relative_to(project).as_posix(): file.read_text() for file in sources}
    others = set()
    for text in texts.values():
        others |= set(re.findall(r"\]\(([a-z]+:[^)\s]+)\)", text))
    mistakes = mistakes_of(pages, files, others, lambda path: (project / path).exists())
    index = (site / "assets/index.js").read_text()
    known, rows = names_of(index)
    inventory = {"tests/asyncio_inventory.md": (project / "tests/asyncio_inventory.md").read_text()}
    mistakes += missing_names({**texts, **inventory}, known)
    facts = set(re.findall(r"^- \*\*([A-Z]+-\d+)\*\*", texts["docs/semantics.md"], re.M))
    mistakes += [f"{fact} is not found by the search" for fact in facts - {row[0] for row in rows if row[1] == "fact"}]
    print(f"{len(pages)} pages, {len(known)} names, {len(facts)} facts, {len(index) // 1024} KiB of index")
    return mistakes


def self_test():
    good = '<html><head><title>A</title></head><body><h1 id="top">A</h1><p>x <code>a**b</code></p>{}</body></html>'

    def told(inner, others=("https://known.example/",)):
        return mistakes_of({"a.html": good.format(inner), "r/b.html": good.format('<a href="../a.html#top">a</a>')},
                           {"a.html", "r/b.html", "s.css"}, others, lambda path: path == "x/y.hpp")

    for inner in ("", '<a href="r/b.html#top">b</a>', '<a href="#top">b</a>', '<link href="s.css">',
                  '<a href="https://known.example/x">x</a>', f'<a href="{REPOSITORY}blob/main/x/y.hpp">x</a>',
                  "<pre># no heading | </pre>", "2 * 3 * 4, a[1] (b)"):
        assert not told(inner), (inner, told(inner))
    for inner in ('<a href="c.html">c</a>', '<a href="r/b.html#no">b</a>', '<a href="#no">b</a>', '<p id="top">',
                  '<a href="https://unknown.example/">x</a>', f'<a href="{REPOSITORY}blob/main/x/z.hpp">x</a>',
                  "<p>**bold**</p>", "<p>[a](b)</p>", "<p>\n# heading</p>",
                  "<p>| a | b |</p>", "<p>`code`</p>", "<h1>B</h1>", "<p></b></p>"):
        assert told(inner), inner
    page = {"docs/names.md": "`aio::run(x)`, `aio::aio`, `aio::queue::get`, aio::detail::x"}
    assert not missing_names(page, {"run", "queue::get"})
    assert missing_names(page, {"queue::get"}) == ["docs/names.md:1: aio::run is not in the reference"]
    assert names_of('window.aioIndex = [["run","function","u","t",""],["A","page","u","t",""]];\n')[0] == {"run"}


def self_test_of_headers():
    """The parser: what it sees, and that it says where it does not understand."""
    begin = "#pragma once\n\n// What it is.\n\nnamespace aio::inline AIO_ABI {\n"
    header = read_header("x.hpp", begin + """
/// A. Throws: b.
template <class T = int>
class [[nodiscard("x")]] a : public b {
  int hidden_ = 0;
 public:
  explicit a(int x) : hidden_{x} { if (x) { throw 1; } }
  /// Of it.
  [[nodiscard("y")]] auto f() const -> decltype(auto) { return "}"; }
  int g(std::function<void(int)> h = {});
};
namespace detail { /// No.
class c; }
/// E.
enum class e : int { one, two };
}
// ---------------------------------------------------------------- implementation
this is not read
""")
    a, e = header.items
    assert (a.name, a.kind, a.comment, e.kind) == ("a", "class", ["A. Throws: b."], "enum"), header.items
    assert a.text == "template <class T = int>\nclass [[nodiscard]] a : public b;", a.text
    assert [member.text for member in a.members] == [
        "explicit a(int x);", "[[nodiscard]] auto f() const -> decltype(auto);",
        "int g(std::function<void(int)> h = {});"], a.members
    for bad, line in (("/// A.\n\n/// B.\nint f();\n}\n", 8), ("int f(\n}\n", 6), ("/// A.\n}\n", 7), ("? x;\n}\n", 6),
                      ("/// A.\nstatic_assert(true);\n}\n", 7), ("class a { int b;\n", 6)):
        try:
            read_header("x.hpp", begin + bad)
        except BadHeader as told:
            assert str(told).startswith(f"x.hpp:{line}: "), (bad, str(told))
        else:
            raise AssertionError(bad)


def main():
    if sys.argv[1:] == ["--self-test"]:
        self_test()
        self_test_of_headers()
        return
    here = pathlib.Path(__file__).resolve().parents[2]
    mistakes = check(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]) if len(sys.argv) > 2 else here)
    print("\n".join(mistakes))
    sys.exit(1 if mistakes else 0)


if __name__ == "__main__":
    main()
