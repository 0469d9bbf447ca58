# SPDX-License-Identifier: MIT
"""The comments of headers as HTML: paragraphs, lists, code, and contracts as a list of terms."""

import html
import re

import colours
from names import relative

TERMS = "Suspends|Resumes|Cancelled|Throws|Lifetime|Threads|Memory|Requires|Complexity|Fair|Allocations|Signals|asyncio"
TERM = re.compile(rf"(?:^|(?<=\. )|(?<=\.\) ))({TERMS})((?:, [a-z ]+)*): ", re.M)
PROSE = re.compile(r"(?! ?- |  )(?=.*\S)")
ITEM = re.compile(r"^ ?- ")
# `code`, a file, f(x), a::b, a_name
WORD = re.compile(r"`([^`]+)`|\b([\w/]+\.hpp)\b|(?<![\w.])((?:\w+::)*~?\w+\([\w.,: ]*\))"
                  r"|(?<![\w.])((?:\w+::)+\w+(?:<\w+>)?)|(?<![\w.:])([a-z]\w*_\w+)\b(?!\()")


class Comment:
    """Writes comments of one header, whose page is `page`."""

    def __init__(self, names, page):
        self.names, self.page = names, page

    def url_of(self, scope):
        def find(name):
            address = self.names.find(name, scope)
            return relative(address, self.page) if address else None

        return find

    def code_in_text(self, text, scope):
        """A name, or a call: a link where it is known."""
        inner = html.escape(text, quote=False)
        match = re.match(r"(?:aio::)?(~?\w+(?:::~?\w+)*)", text)
        address = self.names.find(match[1], scope) if match else None
        if match and not address and text.endswith(")"):
            address = self.names.find_beside(match[1], self.page)
        if address:
            inner = f'<a href="{relative(address, self.page)}">{inner}</a>'
        return f'<code class="short">{inner}</code>' if len(text) <= 28 else f"<code>{inner}</code>"

    def inline(self, text, scope=""):
        """The HTML of some words."""
        pieces, at = [], 0
        for match in WORD.finditer(text):
            pieces.append(self.names.cite(html.escape(text[at : match.start()], quote=False), self.page))
            at = match.end()
            code, file, call, path, word = match.groups()
            if file:
                known = self.header(file)
                pieces.append(f'<a href="{relative(known, self.page)}">{file}</a>' if known else file)
            elif word and not self.names.find(word, scope):
                pieces.append(word)
            else:
                pieces.append(self.code_in_text(code or call or path or word, scope))
        pieces.append(self.names.cite(html.escape(text[at:], quote=False), self.page))
        return "".join(pieces)

    def header(self, file):
        for path in (f"include/{file}", f"include/aio/{file}", f"include/aio/testing/{file}"):
            if path in self.names.pages:
                return self.names.pages[path]
        return None

    def paragraph(self, lines, scope):
        """Text, and the contracts in it as terms."""
        text = "\n".join(lines)
        matches = [*TERM.finditer(text)]
        before = text[: matches[0].start()] if matches else text
        pieces = [f"<p>{self.inline(before.strip(), scope)}</p>"] if before.strip() else []
        if matches:
            pieces.append('<dl class="contract">')
            ends = [match.start() for match in matches[1:]] + [len(text)]
            for match, end in zip(matches, ends):
                said = self.inline(text[match.end() : end].strip(), scope)
                pieces.append(f"<dt>{match[1]}{match[2]}</dt><dd>{said}</dd>")
            pieces.append("</dl>")
        return "".join(pieces)

    def blocks(self, lines, scope=""):
        """The HTML of a whole comment, of which each line is without its slashes."""
        pieces, at = [], 0
        while at < len(lines):
            begin = at
            if not lines[at].strip():
                at += 1
            elif lines[at].startswith("  "):
                while at < len(lines) and (lines[at].startswith("  ") or not lines[at].strip()):
                    at += 1
                code = "\n".join(line[2:] for line in lines[begin:at]).rstrip()
                find = self.url_of(scope)
                pieces.append(colours.block(code, "cpp", lambda name: find(name) if name.startswith("aio::") else None))
            elif ITEM.match(lines[at]):
                items = []
                while at < len(lines) and (ITEM.match(lines[at]) or lines[at].startswith("  ")):
                    if ITEM.match(lines[at]):
                        items.append([])
                    items[-1].append(ITEM.sub("", lines[at]).strip())
                    at += 1
                listed = "".join(f"<li>{self.inline(' '.join(item), scope)}</li>" for item in items)
                pieces.append(f"<ul>{listed}</ul>")
            else:
                while at < len(lines) and PROSE.match(lines[at]):
                    at += 1
                pieces.append(self.paragraph(lines[begin:at], scope))
        return "\n".join(pieces).replace('</dl>\n<dl class="contract">', "")
