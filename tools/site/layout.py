# SPDX-License-Identifier: MIT
"""What stands around each page: head, navigation, contents, what comes before and after."""

import html
import re

from names import relative

HEAD = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<link rel="stylesheet" href="{root}assets/style.css">
<script>
document.documentElement.classList.add("js");
try {{ var theme = localStorage.getItem("aio-theme"); if (theme) document.documentElement.dataset.theme = theme; }}
catch (e) {{}}
</script>
<script defer src="{root}assets/search.js"></script>
<script defer src="{root}assets/site.js"></script>
</head>
<body data-root="{root}">
<a class="skip" href="#content">To the text</a>
<header class="bar">
<button class="menu needs-js" type="button" aria-expanded="false" aria-controls="nav">Pages</button>
<a class="home" href="{root}index.html">aio</a>
<div class="search needs-js" role="search">
<input id="search" type="search" placeholder="Search ( / )" aria-label="Search" autocomplete="off" spellcheck="false"
 role="combobox" aria-expanded="false" aria-controls="results" aria-autocomplete="list">
<ul id="results" role="listbox" aria-label="Results" hidden></ul>
</div>
<a class="top-link" href="{root}reference/index.html">Reference</a>
<button class="theme needs-js" type="button" aria-label="Switch between light and dark">
<svg viewBox="0 0 16 16" width="16" height="16" aria-hidden="true"><circle cx="8" cy="8" r="6.5" fill="none"
 stroke="currentColor" stroke-width="1.5"/><path d="M8 1.5a6.5 6.5 0 0 1 0 13z" fill="currentColor"/></svg></button>
</header>
"""


def navigation(sections, page):
    """The list of pages; that of `page` is marked."""
    pieces = []
    for title, entries in sections:
        pieces.append(f"<h2>{html.escape(title)}</h2><ul>")
        for text, url in entries:
            here = ' aria-current="page"' if url == page else ""
            pieces.append(f'<li><a href="{relative(url, page)}"{here}>{text}</a></li>')
        pieces.append("</ul>")
    return "".join(pieces)


def contents(headings):
    """The headings of a page, of two levels; none where there are less than two."""
    if len(headings) < 2:
        return "", ""
    items = "".join(f'<li class="l{level}"><a href="#{html.escape(anchor)}">{text}</a></li>'
                    for level, anchor, text in headings)
    items = re.sub(r"</?(?:strong|em)>", "", items)
    wide = f'<aside class="toc wide" aria-label="On this page"><h2>On this page</h2><ul>{items}</ul></aside>'
    narrow = f'<details class="toc narrow"><summary>On this page</summary><ul>{items}</ul></details>'
    return wide, narrow


def neighbours(before, after, page):
    pieces = []
    for name, text, entry in (("prev", "Before", before), ("next", "Next", after)):
        if entry:
            pieces.append(f'<a rel="{name}" class="{name}" href="{relative(entry[1], page)}">'
                          f"<span>{text}</span> {entry[0]}</a>")
    return f'<nav class="neighbours" aria-label="Before and next">{"".join(pieces)}</nav>' if pieces else ""


def whole_page(page, sections, before, after, source):
    root = "../" * page.url.count("/")
    wide, narrow = contents(page.headings)
    title = page.title if page.title.startswith("aio") else f"{page.title} – aio"
    first, rest = page.body.split("</h1>", 1)
    return (HEAD.format(title=html.escape(title), root=root)
            + f'<div class="columns"><nav id="nav" aria-label="Pages">{navigation(sections, page.url)}</nav>\n'
            + f'<main id="content" tabindex="-1">\n{first}</h1>\n{narrow}{rest}\n'
            + neighbours(before, after, page.url)
            + f'<footer><a href="{source}">Source of this page</a> · MIT</footer></main>\n{wide}</div>\n'
            + "</body>\n</html>\n")
