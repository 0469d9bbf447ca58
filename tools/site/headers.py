# SPDX-License-Identifier: MIT
"""What a header of include/aio declares, and what its comments say of it.

Of a header this is all that stands above the line "// ---- implementation": its opening comment, and the declarations
of each namespace and class, with the `///` comment above each. What is private, and undocumented forward declarations,
are left out; what is in a namespace `detail` is kept apart, for aliases of it that are public. It is strict: what it
does not understand is BadHeader, which names the file and the line.
"""

import dataclasses
import re

from declarations import describe, tidy, scan_declaration

IMPLEMENTATION = re.compile(r"^// -{4,} implementation", re.M)
NAMESPACE = re.compile(r"(?:inline\s+)?namespace\s+((?:inline\s+|[\w:])*?)\s*\{")
ACCESS = re.compile(r"(public|protected|private)\s*:(?!:)")


class BadHeader(Exception):
    pass


@dataclasses.dataclass
class Item:
    """One declaration. `members` are those of a class; `glued`: no empty line parts it from the one above."""

    kind: str  # class, enum, concept, alias, function, variable, macro, friend
    name: str  # as semaphore::acquire
    text: str  # what is shown
    comment: list
    line: int
    glued: bool = False
    members: list = dataclasses.field(default_factory=list)
    detail: bool = False
    access: str = "public"


@dataclasses.dataclass
class Header:
    path: str  # as aio/testing/explore.hpp
    comment: list
    items: list
    details: dict  # by name, what is in a namespace detail


@dataclasses.dataclass
class Scope:
    """A namespace or class that is read, and what stands above the next declaration in it."""

    name: str  # of what is in it
    access: str
    detail: bool
    owner: str  # of a class its name; "file": of the whole header
    items: list = dataclasses.field(default_factory=list)
    comment: list = dataclasses.field(default_factory=list)
    comment_line: int = 0
    remark: list = dataclasses.field(default_factory=list)  # a plain comment
    parted: bool = True


class Reader:
    """Goes through the text of a header."""

    def __init__(self, path, text):
        self.path = path
        end = IMPLEMENTATION.search(text)
        self.text = text[: end.start()] if end else text
        self.cut = bool(end)  # then namespaces are open still at the end
        self.at = 0
        self.details = {}

    def line(self, position=None):
        return self.text.count("\n", 0, self.at if position is None else position) + 1

    def fail(self, what, position=None):
        raise BadHeader(f"{self.path}:{self.line(position)}: {what}")

    def rest_of_line(self):
        end = self.text.find("\n", self.at)
        end = len(self.text) if end < 0 else end
        return self.text[self.at : end], end

    def opening_comment(self):
        """What stands behind `#pragma once`."""
        match = re.search(r"^#pragma once\n\n((?://.*\n)+)\n", self.text, re.M)
        if not match:
            self.fail("there is no comment behind #pragma once")
        self.at = match.end()
        return [line[2:].removeprefix(" ") for line in match[1].splitlines()]

    def comment(self):
        """A block of `///` lines, at the first of which it stands."""
        lines = []
        while match := re.compile(r"[ \t]*///(?!/)(.*)\n").match(self.text, self.at):
            lines.append(match[1].removeprefix(" "))
            self.at = match.end()
        return lines

    def preprocessor(self):
        """Skips a directive; gives the lines of a #define, or of the #ifndef that asks for one."""
        begin = self.at
        while True:
            line, self.at = self.rest_of_line()
            self.at += 1
            if not line.endswith("\\"):
                return self.text[begin : self.at].rstrip("\n")

    def macro(self, comment, line):
        """A #define with a comment, also where an #ifndef stands before it, and those on the lines that follow."""
        text = self.preprocessor()
        while re.match(r"#\s*ifn?def\b|#\s*if\b", text):
            text = self.preprocessor()
        match = re.match(r"#\s*define\s+(\w+)", text)
        if not match:
            self.fail("a /// comment stands above a directive that is no #define")
        if "detail::" in text:  # of the machinery
            return []
        shown = re.sub(r"\s*\\\n.*", " ...", text, flags=re.S)
        found = [Item("macro", match[1], re.sub(r"(?<=\)) .*", "", shown), comment, line)]
        while match := re.compile(r"#\s*define\s+(\w+) [^\n\\]*\n").match(self.text, self.at):
            found.append(Item("macro", match[1], match[0].strip(), [], self.line(), True))
            self.at = match.end()
        return found

    def skip_blank(self):
        """Skips white space and says whether there was an empty line."""
        match = re.compile(r"\s*").match(self.text, self.at)
        self.at = match.end()
        return match[0].count("\n") > 1

    def scope(self, name, access, detail=False, owner=""):
        """The items up to the closing brace of a namespace or class, or the end of the text."""
        scope = Scope(name, access, detail, owner)
        while True:
            if self.skip_blank():
                scope.parted, scope.remark = True, []
            if self.at >= len(self.text):
                if not self.cut and owner != "file":
                    self.fail("a brace is not closed")
                return scope.items
            if self.text[self.at] == "}":
                if scope.comment:
                    self.fail("a /// comment stands above nothing")
                self.at += 1
                return scope.items
            if not self.no_declaration(scope):
                self.item(scope)

    def no_declaration(self, scope):
        """Reads a comment, a directive, an access specifier or a namespace, if that is what comes."""
        line, end = self.rest_of_line()
        if line.startswith("///") and not line.startswith("////"):
            if scope.comment:
                self.fail("two /// comments, and nothing between them")
            scope.comment_line, scope.comment = self.line(), self.comment()
        elif line.startswith("//"):
            scope.remark.append(line)
            self.at = end
        elif line.startswith("#"):
            if scope.comment:
                scope.items += self.macro(scope.comment, scope.comment_line)
            else:
                self.preprocessor()
            scope.comment, scope.parted = [], True
        elif line.startswith(";"):
            self.at += 1
        elif match := ACCESS.match(self.text, self.at):
            scope.access, self.at, scope.parted = match[1], match.end(), True
        elif match := NAMESPACE.match(self.text, self.at):
            scope.items += self.namespace(match, scope.name, scope.detail)
            scope.comment, scope.parted = [], True
        else:
            return False
        return True

    def item(self, scope):
        """One declaration, which is kept if it is one of those that are seen."""
        comment = scope.comment
        seen = scope.access == "public" or (scope.access == "protected" and comment and not scope.detail)
        item = self.declaration(scope, not seen)
        if item and seen:
            item.access = scope.access
            item.glued = not scope.parted and not comment and bool(scope.items)
            item.detail = scope.detail
            if item.kind == "variable" and scope.owner not in ("", "file") and scope.remark and not comment:
                item.text = "\n".join([*scope.remark, item.text])
            scope.items.append(item)
            if scope.detail and comment:
                self.details[item.name] = item
        elif comment and not item and not scope.detail and seen:
            self.fail("what is documented here is left out")
        scope.comment, scope.parted, scope.remark = [], False, []

    def namespace(self, match, name, detail):
        self.at = match.end()
        inner = [part for part in match[1].split("::") if part != "aio" and not part.startswith("inline ")]
        hidden = detail or "detail" in inner
        items = self.scope("" if hidden else "::".join([*filter(None, [name]), *inner]), "public", hidden)
        return [] if hidden else items

    def declaration(self, scope, hidden):
        """One declaration; None if it is none of those that are shown."""
        begin, comment = self.at, scope.comment
        end, body = scan_declaration(self.text, begin)
        if end < 0:
            self.fail("this declaration does not end")
        column = begin - (self.text.rfind("\n", 0, begin) + 1)
        head = self.text[begin : body if body >= 0 else end]
        kind, name = describe(head)
        if kind is None:
            self.fail(f"what is declared here? {' '.join(head.split())[:80]}")
        name = f"{scope.name}::{name}" if scope.name else name
        item = Item(kind, name, "", comment, self.line(begin))
        if kind == "class" and body >= 0:
            self.at = body + 1
            access = "private" if re.search(r"\b(class|struct|union)\b", head)[1] == "class" else "public"
            own = name if "detail" in name else name.split("<")[0]
            item.members = self.scope(own, access, hidden or scope.detail, own)
            end = self.text.find(";", self.at) + 1
        elif kind == "enum":
            head = self.text[begin:end]
        remark = re.compile(r"[ \t]*//(?!/)[ \t]?(.*)").match(self.text, end)
        self.at = remark.end() if remark else end
        if kind == "skip" or (kind == "forward" and not comment):
            return None
        item.kind = kind.replace("forward", "class")
        item.text = tidy(head, kind, column)
        if remark and kind == "variable" and not remark[1].startswith("NOLINT"):
            item.text += "  // " + remark[1]
        return item


def read_header(path, text):
    reader = Reader(path, text)
    comment = reader.opening_comment()
    items = reader.scope("", "public", owner="file")
    return Header(path, comment, items, reader.details)
