# SPDX-License-Identifier: MIT
"""Markdown pages as HTML: python3-markdown makes it, and what that does not know of is done here."""

import dataclasses
import html
import pathlib
import posixpath
import re
import sys

import markdown

import colours
from names import page_of, relative
from pictures import inline_svg

sys.path.append(str(pathlib.Path(__file__).resolve().parents[2] / "tests" / "support"))
from check_links import heading_anchor  # noqa: E402

FENCE = re.compile(r"^(```|~~~)(\w*)\n(.*?)^\1[ \t]*\n", re.M | re.S)
HEADING = re.compile(r"<h([1-6])>(.*?)</h\1>", re.S)
TAG = re.compile(r"(<[^>]+>)")
ELEMENT = re.compile(r"</?([a-z0-9]+)")
TEST = re.compile(r"\b[a-z]\w*_test\b")
FACT = re.compile(r"^- \*\*([A-Z]+-\d+)\*\* ", re.M)
DIFFERENCE = re.compile(r"^\| (D\d+) \|", re.M)


@dataclasses.dataclass
class Page:
    """A page of the site; `records` are (title, kind, anchor, text) for the search."""

    url: str
    title: str
    body: str
    source: str
    headings: list = dataclasses.field(default_factory=list)
    records: list = dataclasses.field(default_factory=list)


def plain(text):
    return html.unescape(TAG.sub("", text))


def facts_of(path, text):
    """What a page is cited for, and the anchors of that."""
    pattern = {"docs/semantics.md": FACT, "README.md": DIFFERENCE}.get(path)
    return {name: f"{page_of(path)}#{name}" for name in pattern.findall(text)} if pattern else {}


class Converter:
    """Converts one page, `path` in the repository."""

    def __init__(self, path, text, names, root):
        self.path, self.text, self.names, self.root = path, text, names, root
        self.url = page_of(path)
        self.headings, self.taken = [], set()

    def convert(self):
        body, blocks = self.markdown()
        body = HEADING.sub(self.heading, body)
        body = re.sub(r'<img alt="([^"]*)" src="([^"]*)" ?/>', self.picture, body)
        body = re.sub(r'href="([^"]*)"', self.link, body)
        body = self.tables(body)
        body = re.sub(r"<li>(<p>)?\s*<strong>([A-Z]+-\d+)</strong>",
                      r'<li class="is-fact" id="\2">\1<a class="fact-name" href="#\2">\2</a>', body)
        body = self.words(body)
        body = re.sub(r"<p>BLOCK(\d+)BLOCK</p>", lambda match: blocks[int(match[1])], body)
        titles = [text for level, _, text in self.headings if level == 1]
        if len(titles) != 1:
            raise ValueError(f"{self.path}: {len(titles)} titles")
        return Page(self.url, plain(titles[0]), body, self.path, [h for h in self.headings if h[0] in (2, 3)])

    def markdown(self):
        """HTML, and the blocks of code that are set apart before: Markdown does not see them."""
        blocks = []

        def set_apart(match):
            blocks.append(colours.block(match[3], match[2] or "text", self.url_of))
            return f"\nBLOCK{len(blocks) - 1}BLOCK\n\n"

        text = FENCE.sub(set_apart, self.text)
        text = re.sub(r"^<!--.*?-->\n", "", text, flags=re.M | re.S)
        body = markdown.markdown(text, extensions=["tables", "sane_lists"], output_format="xhtml")
        return re.sub(r"<pre><code>(.*?)</code></pre>", self.indented, body, flags=re.S), blocks

    def indented(self, match):
        return colours.block(html.unescape(match[1]), "sh")

    def url_of(self, name):
        """Of a name in a program: only those that say aio::."""
        address = self.names.find(name) if name.startswith("aio::") else None
        return relative(address, self.url) if address else None

    def heading(self, match):
        level, text = int(match[1]), match[2]
        anchor = heading_anchor(plain(text), self.taken)
        self.headings.append((level, anchor, re.sub(r"</?a\b[^>]*>", "", text)))
        own = "" if level == 1 else f'<a class="anchor" href="#{anchor}" aria-label="Link to this">#</a>'
        return f'<h{level} id="{anchor}">{text}{own}</h{level}>'

    def picture(self, match):
        text, file = html.unescape(match[1]), self.root / posixpath.dirname(self.path) / match[2]
        return f'</p>{inline_svg(file.read_text(), file.stem, text)}<p>'

    def link(self, match):
        target = html.unescape(match[1])
        if re.match(r"[a-z]+:", target) or target.startswith("#"):
            return match[0]
        file, mark, anchor = target.partition("#")
        address = self.names.file(posixpath.join(posixpath.dirname(self.path), file)) + mark + anchor
        return f'href="{html.escape(address if "://" in address else relative(address, self.url))}"'

    def tables(self, body):
        """Tables scroll in themselves; rows that are cited have anchors."""
        body = body.replace("<table>", '<div class="scroll" tabindex="0" role="region" aria-label="Table"><table>')
        body = body.replace("</table>", "</table></div>").replace("<th>", '<th scope="col">')
        body = re.sub(r"<td>(.*?)</td>", self.cell, body)
        body = re.sub(r"<tr>\s*<td>(D\d+)</td>", r'<tr id="\1"><td><a class="fact-name" href="#\1">\1</a></td>', body)
        if self.path == "docs/names.md":
            rows = iter(range(1, 1000))
            body = re.sub(r"<tr>(?=\s*<td)", lambda _: f'<tr id="row-{next(rows)}">', body)
        return re.sub(r"<p>\s*</p>", "", body)

    def cell(self, match):
        """A cell; one with a sentence must not become narrow."""
        text = match[1].replace("\\|", "|")
        return f'<td class="long">{text}</td>' if len(plain(text)) > 24 else f"<td>{text}</td>"

    def words(self, body):
        """Links at facts, tests and names that the text mentions."""
        inside, pieces = [], []
        for part in TAG.split(body):
            element = ELEMENT.match(part)
            if element:
                if part.startswith("</"):
                    inside = inside[:-1]
                elif not part.endswith("/>"):
                    inside.append(element[1])
            elif part and not {"a", "pre", "svg", "h1", "h2", "h3"} & set(inside):
                part = self.name_in(part) if "code" in inside else self.tests(self.names.cite(part, self.url))
            pieces.append(part)
        return re.sub(r"<code>(?=[^<]{1,28}</code>)", '<code class="short">', "".join(pieces))

    def tests(self, text):
        if self.path != "docs/semantics.md":
            return text

        def link(match):
            path = f"tests/{match[0]}.cpp"
            if path not in self.names.folders:
                return match[0]
            return f'<a class="test" href="{self.names.file(path)}">{match[0]}</a>'

        return TEST.sub(link, text)

    def name_in(self, text):
        """The names of aio in some code."""

        def link(match):
            url = self.url_of(match[0])
            return f'<a href="{url}">{match[0]}</a>' if url else match[0]

        return re.sub(r"\baio::\w+(?:::\w+)*", link, text)
