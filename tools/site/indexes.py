# SPDX-License-Identifier: MIT
"""Lists of what there is: the headers, all names, and what the search goes through."""

import html
import re

from names import anchor_of, relative
from pages import Page, plain

# What stands between two anchors of a page
SECTION = re.compile(r'<h([1-3]) id="([^"]*)"[^>]*>(.*?)</h\1>(.*?)(?=<h[1-3] id=|<nav class="neighbours|\Z)', re.S)
FACT = re.compile(r'<li class="is-fact" id="([^"]*)">(.*?)</li>', re.S)
DIFFERENCE = re.compile(r'<tr id="(D\d+)">(.*?)</tr>', re.S)
ANCHOR = re.compile(r'<a class="anchor".*?</a>')


def first_sentence(comment):
    paragraph = "\n".join(comment).partition("\n\n")[0]
    return re.split(r"(?<=\.)\s(?=[A-Z])", paragraph)[0].strip()


def reference_page(pages, library):
    """The list of headers, with the first sentence of each."""
    rows = {"aio": [], "aio/testing": []}
    for page, header in zip(pages, library.headers):
        folder = header.path.rpartition("/")[0]
        said = html.escape(first_sentence(header.comment), quote=False)
        said = re.sub(r"`([^`]+)`", r"<code>\1</code>", said)
        names = ", ".join(f"<code>{html.escape(item.name.removeprefix('testing::'))}</code>" for item in header.items
                          if item.kind in ("class", "alias", "function") and "::operator" not in item.name
                          and not re.search(r"::~|<", item.name) and item.comment)
        names = ", ".join(dict.fromkeys(names.split(", ")))
        rows[folder].append(f'<tr><td><a href="{relative(page.url, "reference/index.html")}">{header.path}</a></td>'
                            f"<td>{said}{f'<br><span class=of>{names}</span>' if names else ''}</td></tr>")
    body = ['<h1 id="top">Reference</h1>', "<p>One page for each header, made from its comments: the example that it "
            "opens with, and what each declaration promises. Facts such as GA-7 lead to their place in "
            '<a href="../semantics.html">what aio does</a>. <a href="names.html">All names</a> from A to Z.</p>']
    headings = []
    for folder, title in (("aio", "aio"), ("aio/testing", "aio/testing")):
        anchor = folder.replace("/", "-")
        headings.append((2, anchor, title))
        body.append(f'<h2 id="{anchor}">{title}</h2><div class="scroll headers" tabindex="0" role="region" '
                    f'aria-label="Headers"><table>{"".join(rows[folder])}</table></div>')
    return Page("reference/index.html", "Reference", "\n".join(body), "include/aio", headings)


def foreign_names(text):
    """Of docs/names.md: (name that another library has, its row, what it is here)."""
    rows = re.findall(r"^\| (?!Looking for|---)(.*?) \| (.*) \|$", text, re.M)
    for number, (first, here) in enumerate(rows, 1):
        for name in re.findall(r"`([^`]+)`", first) or [first]:
            yield name.replace("\\|", "|"), f"names.html#row-{number}", here.replace("`", "").replace("\\|", "|")


def names_page(names, text):
    """All public names, and those of other libraries, from A to Z."""
    entries = {}
    for name, address in names.entities.items():
        last = name.split("::")[-1]
        if re.fullmatch(r"\w+", last) and not name.startswith("aio::detail") and (
                last != (name.split("::")[-2:-1] or [""])[0]):
            entries.setdefault(last, []).append(
                (f"<code>{html.escape(name)}</code>", address, names.kinds[name]))
    for name, address, _ in foreign_names(text):
        shown = html.escape(name) if f"| {name}" in text else f"<code>{html.escape(name)}</code>"
        entries.setdefault(name, []).append((shown, address, "elsewhere"))
    letters = {}
    for last in sorted(entries, key=lambda name: (name.strip("_(").lower(), name)):
        first = next((char for char in last.upper() if char.isalpha()), "#")
        letters.setdefault(first, []).extend(entries[last])
    body = ['<h1 id="top">All names</h1>', "<p>Those of aio, and in italics those that other libraries have, which "
            '<a href="../names.html">Names</a> says what they are here.</p>',
            '<p class="letters">' + " ".join(f'<a href="#{letter}">{letter}</a>' for letter in letters) + "</p>"]
    for letter, found in letters.items():
        body.append(f'<h2 id="{letter}">{letter}</h2><ul class="names">')
        for text, address, kind in found:
            link = f'<a href="{relative(address, "reference/names.html")}">{text}</a>'
            link = f"<em>{link}</em>" if kind == "elsewhere" else link
            body.append(f'<li>{link} <span class="kind">{kind}</span></li>')
        body.append("</ul>")
    return Page("reference/names.html", "All names", "\n".join(body), "docs/names.md")


def words(text):
    text = ANCHOR.sub("", text).replace("</dt>", ": ")
    return " ".join(plain(re.sub(r"</(?:p|li|t[dh]|h\d|dd|pre|text)>", " ", text)).split())


def records_of_header(page):
    """A row for each name; overloads are one."""
    rows = {}
    for name, kind, anchor, text in page.records:
        parts = ["", *name.split("::")]
        if "~" in name or "operator" in name or parts[-1] == parts[-2]:
            continue
        row = rows.setdefault(name, [name, kind, f"{page.url}#{anchor}", "", page.title])
        row[3] = " ".join([row[3], *text.replace("`", "").split()]).strip()
    return [[page.title, "header", page.url, words(page.body.split("<section")[0]), ""], *rows.values()]


def records_of_page(page):
    """A row for each section, and for each fact."""
    rows = []
    for level, anchor, title, text in SECTION.findall(page.body):
        for pattern in (FACT, DIFFERENCE):
            for name, said in pattern.findall(text):
                rows.append([name, "fact", f"{page.url}#{name}", words(said).removeprefix(name).strip(), page.title])
            text = pattern.sub("", text)
        kind = "page" if level == "1" else "section"
        url = page.url if level == "1" else f"{page.url}#{anchor}"
        rows.append([words(title), kind, url, words(text), "" if level == "1" else page.title])
    return rows


def search_records(pages, text_of_names):
    """Rows of [title, kind, address, text, page]."""
    rows = [[name, "elsewhere", url, here, "Names"] for name, url, here in foreign_names(text_of_names)]
    for page in pages.values():
        if page.records:
            rows += records_of_header(page)
        elif page.url != "reference/names.html":
            rows += records_of_page(page)
    return rows
