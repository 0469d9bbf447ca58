# SPDX-License-Identifier: MIT
"""What leads where: facts, differences, public names, headers, pages, and files of the repository."""

import posixpath
import re
import urllib.parse

REPOSITORY = "https://github.com/aio-cpp/aio"
CITATION = re.compile(r"\b([A-Z]{1,5}-\d+)\b|\b(D\d+)\b")


def anchor_of(name):
    return re.sub(r"\s+", "_", name)


def page_of(path):
    """The address of a Markdown page, or of a header, in the site."""
    if path.startswith("include/aio/"):
        return "reference/" + path.removeprefix("include/aio/").replace(".hpp", ".html")
    return posixpath.basename(path).lower().replace(".md", ".html")


def relative(to, page):
    """An address of the site as seen from a page of it."""
    path, mark, anchor = to.partition("#")
    quoted = mark + urllib.parse.quote(anchor, safe=":~_-.")
    if path == page and mark:
        return quoted
    return posixpath.relpath(path, posixpath.dirname(page) or ".") + quoted


def in_its_header(name, address):
    return posixpath.basename(address.partition("#")[0]) == name.split("::")[-1] + ".html"


class Names:
    def __init__(self):
        self.facts = {}  # GA-7, D9
        self.entities = {}  # semaphore::acquire -> reference/semaphore.html#semaphore::acquire
        self.kinds = {}
        self.pages = {}  # docs/index.md -> index.html, include/aio/run.hpp -> reference/run.html
        self.folders = {}  # by path: "blob" or "tree", as GitHub has files and folders
        self.whole = set()  # the headers that aio.hpp includes

    def add(self, name, kind, address):
        """Of several places it is that in the header of its name, else the first."""
        if name not in self.entities or (in_its_header(name, address) and not in_its_header(name, self.entities[name])):
            self.entities[name], self.kinds[name] = address, kind

    def find(self, name, scope=""):
        """The address of a public name, as it is called from inside of a class or namespace."""
        name = name.removeprefix("::").removeprefix("aio::")
        parts = scope.split("::") if scope else []
        for count in range(len(parts), -1, -1):
            found = self.entities.get("::".join([*parts[:count], name]))
            if found:
                return found
        return None

    def find_beside(self, name, page):
        """The address of a member that one class alone of a header's page has."""
        found = {address for known, address in self.entities.items()
                 if known.endswith("::" + name) and address.partition("#")[0] == page}
        return found.pop() if len(found) == 1 else None

    def file(self, path):
        """Where a path of the repository leads: a page, or its place on GitHub."""
        path = posixpath.normpath(path)
        if path in self.pages:
            return self.pages[path]
        if path not in self.folders:
            raise ValueError(f"{path}, which a page links to, is not there")
        return f"{REPOSITORY}/{self.folders[path]}/main/{path}"

    def cite(self, text, page):
        """Links at the facts that an HTML text names, which has no tags."""

        def link(match):
            address = self.facts.get(match[0])
            return f'<a class="fact" href="{relative(address, page)}">{match[0]}</a>' if address else match[0]

        return CITATION.sub(link, text)
