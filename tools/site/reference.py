# SPDX-License-Identifier: MIT
"""The reference: a page for each header, one that lists them, and one with all names."""

import dataclasses
import html
import itertools
import re

import colours
from comments import TERMS, Comment
from headers import read_header
from names import REPOSITORY, anchor_of, page_of, relative

KINDS = {"class": "class", "enum": "enumeration", "concept": "concept", "alias": "type", "function": "function",
         "variable": "constant", "macro": "macro", "friend": "operator"}


# Public names that detail/ declares, since lower layers have them: header of the reference -> (where, name)
# What a header below declares for all, and is described here
NAMED_FIRST = {"aio/queue.hpp": ("aio/fwd.hpp", "queue")}
LOWER = {"aio/event_loop.hpp": ("detail/scheduler.hpp", "exception_context"),
         "aio/task.hpp": ("detail/task_state.hpp", "is_task")}


def hidden_base(item):
    """The class in detail whose members are those of an alias or a class, too."""
    if item.kind == "alias":
        match = re.search(r"=\s*detail::(\w+)<", item.text)
    else:
        match = re.search(r":\s*public detail::(\w+)", item.text) or re.search(r": public (\w+)", item.text)
    return match[1] if match else None


class Library:
    """All headers of a project."""

    def __init__(self, root):
        self.root = root
        folder = root / "include"
        files = [*sorted(folder.glob("aio/*.hpp")), *sorted(folder.glob("aio/testing/*.hpp"))]
        self.headers = [self.read(file) for file in files]
        for header in self.headers:
            if header.path in LOWER:
                file, name = LOWER[header.path]
                found = self.read(folder / "aio" / file).items
                header.items.append(next(item for item in found if item.name == name and item.comment))
        by_path = {header.path: header for header in self.headers}
        for path, (lower, name) in NAMED_FIRST.items():
            moved = next(item for item in by_path[lower].items if item.name == name)
            by_path[lower].items.remove(moved)
            by_path[path].items.insert(0, moved)
        self.bases = {}
        for header in self.headers:
            done = {}
            for item in [*header.items]:
                self.inherit(header, item, done)

    def read(self, file):
        return read_header(file.relative_to(self.root / "include").as_posix(), file.read_text())

    def details_of(self, header, name):
        """A class of a namespace detail, of this header or of detail/NAME.hpp."""
        if name in header.details:
            return header.details[name]
        file = self.root / "include/aio/detail" / f"{name}.hpp"
        if name not in self.bases and file.exists():
            self.bases[name] = self.read(file).details.get(name)
        return self.bases.get(name)

    def inherit(self, header, item, done):
        """Gives a class, or an alias, the documented members of what it derives from in detail."""
        for member in item.members:
            self.inherit(header, member, done)
        name = hidden_base(item)
        if item.kind not in ("class", "alias") or not name:
            return
        if name in done:
            item.comment = [*item.comment, "", f"Members: those of `{done[name]}`."]
            return
        while base := self.details_of(header, name) if name else None:
            own = [member for member in base.members if re.search(r"::\w+$", member.name) and not is_lifetime(member)]
            known = {member.name.rsplit("::")[-1] for member in item.members}
            for member in own:
                last = member.name.rsplit("::")[-1]
                if last not in known:
                    item.members.append(dataclasses.replace(member, name=f"{item.name}::{last}", detail=False))
            if item.kind == "alias":  # what it promises, without what it is
                said = itertools.dropwhile(lambda line: not re.match(rf"(?:{TERMS})\b.*: ", line), base.comment)
                item.comment = [*item.comment, "", *said]
            if item.kind == "alias":
                done[name] = item.name
            name = hidden_base(base)


def is_lifetime(item):
    """Constructors, destructors and assignments."""
    parts = item.name.split("::")
    return parts[-1] == "operator=" or parts[-1].startswith("~") or (len(parts) > 1 and parts[-1] == parts[-2])


def groups_of(items):
    """Declarations that stand together under one comment."""
    groups = []
    for item in items:
        joins = item.glued and not item.members and item.kind not in ("class", "enum")
        if joins and groups and not groups[-1][-1].members and groups[-1][0].kind not in ("class", "enum"):
            groups[-1].append(item)
        elif item.comment or not is_lifetime(item) or not groups or not lifetime_only(groups[-1]):
            groups.append([item])
        else:
            groups[-1].append(item)
    return groups


def lifetime_only(group):
    return all(is_lifetime(item) and not item.comment for item in group)


def register(library, names):
    """Tells `names` of all that the reference has."""
    for header in library.headers:
        page = page_of("include/" + header.path)
        names.pages["include/" + header.path] = page

        def add(items):
            for item in items:
                if not is_lifetime(item):  # a constructor is not found before its class
                    names.add(item.name, KINDS[item.kind], f"{page}#{anchor_of(item.name)}")
                for value in enumerators(item):
                    names.add(f"{item.name}::{value}", "enumerator", f"{page}#{anchor_of(f'{item.name}::{value}')}")
                add(item.members)

        add(header.items)


def enumerators(item):
    """The values of an enumeration, each with its comment, above it or behind."""
    if item.kind != "enum":
        return {}
    values, comment = {}, []
    body = item.text.partition("{")[2].rpartition("}")[0]
    for said, code, behind in re.findall(r"^[ \t]*(?:///? ?(.*)|([^/\n]*[^/\s])?[ \t]*(?://+ ?(.*))?)$", body, re.M):
        comment += [said] if said else []
        for name in re.findall(r"(?:^|,)\s*(\w+)", code):
            values[name] = comment + ([behind] if behind else [])
            comment = []
    return values


class HeaderPage:
    def __init__(self, header, names):
        self.header, self.names = header, names
        self.page = page_of("include/" + header.path)
        self.comment = Comment(names, self.page)
        self.headings = []  # (level, anchor, text)
        self.anchors = set()
        self.records = []  # for the search: (name, kind, anchor, text)

    def html(self):
        path = self.header.path
        pieces = [f'<h1 id="top"><code>{path}</code></h1>', self.comment.blocks(self.header.comment)]
        if path != "aio/aio.hpp":
            pieces.append(self.how_to_include())
        for group in groups_of(self.header.items):
            pieces.append(self.group(group, 2))
        return "\n".join(pieces)

    def how_to_include(self):
        path = self.header.path
        said = "" if path in self.names.whole else '<span class="of">It is not part of <code>aio/aio.hpp</code>.</span>'
        source = f"{REPOSITORY}/blob/main/include/{path}"
        return (f'<p class="include"><code>#include &lt;{path}&gt;</code>{said} '
                f'<a class="source" href="{source}">source</a></p>')

    def anchor(self, item):
        """One that nothing else of the page has: overloads get numbers."""
        first = name = anchor_of(item.name)
        count = 1
        while name in self.anchors:
            count += 1
            name = f"{first}-{count}"
        self.anchors.add(name)
        return name

    def title(self, group):
        if all(map(is_lifetime, group)) and len(group) > 1:
            return "Construction and assignment"
        last = [item.name if item.name.startswith("aio::") else item.name.split("::")[-1] for item in group]
        return ", ".join(dict.fromkeys(last))

    def group(self, group, level):
        """A section of declarations that stand together, and what is in it if it is a class."""
        first, level = group[0], min(level, 4)
        anchors = [self.anchor(item) for item in group]
        for item, name in zip(group, anchors):
            self.records.append((item.name, KINDS[item.kind], name, " ".join(first.comment)))
        anchors += self.values_of(first)
        title = html.escape(self.title(group), quote=False)
        if level == 2 and "::" in first.name and not first.name.startswith("aio::"):
            title = html.escape(first.name, quote=False)
        if not all(map(is_lifetime, group)):
            self.enter(level, anchors[0], title)
        scope = first.name if first.kind == "class" else first.name.rpartition("::")[0]
        said = self.comment.blocks(first.comment, scope) + self.values(first)
        inner = "".join(self.group(each, level + 1) for each in groups_of(first.members))
        more = "".join(f'<span id="{html.escape(name)}"></span>' for name in anchors[1:])
        return (f'<section class="entry level{level}">{more}{self.heading(first, level, anchors[0], title)}'
                f"{self.signature(group, scope)}{said}{inner}</section>")

    def values_of(self, item):
        """The anchors of an enumeration's values."""
        names = [f"{item.name}::{value}" for value in enumerators(item)]
        said = enumerators(item).values()
        self.records += [(name, "enumerator", anchor_of(name), " ".join(text)) for name, text in zip(names, said)]
        return [anchor_of(name) for name in names]

    def values(self, item):
        """What the values of an enumeration mean."""
        said = {name: text for name, text in enumerators(item).items() if text}
        listed = "".join(f"<dt><code>{name}</code></dt><dd>{self.comment.inline(' '.join(text), item.name)}</dd>"
                         for name, text in said.items())
        return f'<dl class="contract">{listed}</dl>' if said else ""

    def heading(self, first, level, anchor, title):
        kind = KINDS[first.kind] if level == 2 or first.kind != "function" else ""
        kind = ", ".join(filter(None, [kind, first.access.replace("public", "")]))
        return (f'<h{level} id="{html.escape(anchor)}"><code>{title}</code> <span class="kind">{kind}</span>'
                f'<a class="anchor" href="#{html.escape(anchor)}" aria-label="Link to this">#</a></h{level}>')

    def signature(self, group, scope):
        """The declarations; none where the heading says it all."""
        shown = "\n".join(item.text for item in group)
        if group[0].kind == "enum":
            shown = re.sub(r"\n\s*//.*|[ \t]*//.*", "", shown)
        if re.fullmatch(r"(class|struct) [\w:]+;", shown):
            return ""
        return colours.block(shown, "cpp", self.url_of(scope, group))

    def enter(self, level, anchor, title):
        """A heading for the contents of the page, of overloads the first."""
        since = next((number for number in range(len(self.headings), 0, -1) if self.headings[number - 1][0] < level), 0)
        if level < 4 and title not in {text for _, _, text in self.headings[since:]}:
            self.headings.append((level, anchor, title))

    def url_of(self, scope, group):
        """Where the names in a declaration lead; its own stands above it."""
        find = self.comment.url_of(scope)
        own = {item.name.split("::")[-1] for item in group}
        return lambda name: None if name in own else find(name)
