#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Where the time goes that a compiler takes for a source file: headers, templates, code.

  compile_time.py FILE [OPTION...]     e.g. compile_time.py bench/hello/aio_hello.cpp -O0 -Iinclude
  compile_time.py --self-test

Clang measures (-ftime-trace). A moment counts for the innermost thing that Clang was at: reading a header, making a class
or function of a template, or making code. So nothing counts twice, and the parts add up to the whole. On a machine with
other work, only shares are of use. Environment: CLANG (clang++-19), ROWS (15) of each list.
"""

import collections
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

OF_ASIO = ["-DASIO_STANDALONE", "-DASIO_HAS_CO_AWAIT=1", "-DASIO_HAS_STD_COROUTINE=1"]  # as CMakeLists.txt of the project
PROJECT = pathlib.Path(__file__).resolve().parent.parent / "include"


def owner_of_header(path):
    """Whose a header is: aio's, Asio's, or the standard library's and the system's."""
    if str(pathlib.Path(path).resolve()).startswith(str(PROJECT)):
        return "aio"
    return "Asio" if re.search(r"/asio(/|\.hpp)", path) else "std"


def owner_of_template(name):
    """By its name, not by those of its arguments: std::vector<aio::task<>> is the standard library's."""
    found = re.match(r"(aio|asio)::", name)
    return {"aio": "aio", "asio": "Asio"}[found[1]] if found else "std"


def without_arguments(name):
    """The name of a template, for all that was made of it: a::b<int>::c<char> is a::b::c."""
    depth = 0
    kept = []
    name = re.sub(r"operator(<=>|<<=?|>>=?|<=?|>=?|->\*?)", lambda found: "operator{" + str(len(found[1])) + "}", name)
    for letter in name:
        depth += letter == "<"
        if depth == 0:
            kept.append(letter)
        depth -= letter == ">"
    return "".join(kept)


def intervals(events):
    """(begin, end, name, detail) of each, in microseconds; those of headers come as two events."""
    open_ones = []
    for event in sorted(events, key=lambda one: one.get("ts", 0)):
        detail = event.get("args", {}).get("detail", "")
        if event.get("ph") == "X" and not event["name"].startswith("Total"):
            yield event["ts"], event["ts"] + event["dur"], event["name"], detail
        elif event.get("ph") == "b":
            open_ones.append((event["ts"], event["name"], detail))
        elif event.get("ph") == "e" and open_ones:
            begin, name, detail = open_ones.pop()
            yield begin, event["ts"], name, detail


def exclusive(spans):
    """Of each span, with the spans around it: the time in which it is the innermost."""
    result = []
    stack = []  # [end, name, detail, time within it, chain]

    def close(until):
        while stack and stack[-1][0] <= until:
            _, name, detail, rest, chain = stack.pop()
            result.append((rest, name, detail, chain))

    for begin, end, name, detail in sorted(spans, key=lambda one: (one[0], -one[1])):
        close(begin)
        if stack:
            end = min(end, stack[-1][0])
            stack[-1][3] -= end - begin
        chain = tuple(one[1:3] for one in stack)
        stack.append([end, name, detail, end - begin, chain])
    close(float("inf"))
    return result


def header_of(name, detail, chain):
    """The innermost header around it."""
    if name == "Source":
        return detail
    for outer, path in reversed(chain):
        if outer == "Source":
            return path
    return None


def account_of(name, detail, chain):
    """For whom the compiler does this: the innermost template around it that is aio's or Asio's, in the header where it
    stands, or else that header. What the standard library's headers need is its own."""
    for outer, what in reversed((*chain, (name, detail))):
        if outer == "Source":
            return owner_of_header(what)
        if outer.startswith("Instantiate") and owner_of_template(what) != "std":
            return owner_of_template(what)
    return "std"


def kind_of(name, detail, chain):
    """What part of the whole this is."""
    if any(outer in ("Backend", "OptModule") for outer, _ in (*chain, (name, detail))):
        return "code"
    for outer, what in reversed((*chain, (name, detail))):
        if outer.startswith("Instantiate"):
            owner, account = owner_of_template(what), account_of(name, detail, chain)
            return f"templates of {owner}" + (f", for {account}" if account != owner else "")
    header = header_of(name, detail, chain)
    return f"headers of {owner_of_header(header)}" if header else "the file itself, and the rest"


def summarise(events):
    kinds, headers, templates = (collections.Counter() for _ in range(3))
    made = collections.Counter()
    for time, name, detail, chain in exclusive(intervals(events)):
        kind = kind_of(name, detail, chain)
        kinds[kind] += time
        header = header_of(name, detail, chain)
        if kind.startswith("headers") and header:
            headers[header] += time
        if name.startswith("Instantiate"):
            templates[without_arguments(detail)] += time
            made[without_arguments(detail)] += 1
    return kinds, headers, templates, made


def trace(file, options):
    clang = os.environ.get("CLANG", "clang++-19")
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder) / "out.o"
        command = [clang, "-std=c++20", *OF_ASIO, *options, "-ftime-trace", "-ftime-trace-granularity=20", "-c", file,
                   "-o", str(out)]
        subprocess.run(command, check=True)
        return json.loads(out.with_suffix(".json").read_text())["traceEvents"]


def short(path):
    resolved = str(pathlib.Path(path).resolve())
    if resolved.startswith(str(PROJECT)):
        return resolved[len(str(PROJECT)) + 1:]
    return re.sub(r"^.*/include/(c\+\+/\d+/|v1/)?", "", path)


def report(events):
    kinds, headers, templates, made = summarise(events)
    whole = sum(kinds.values())
    rows = int(os.environ.get("ROWS", 15))
    print(f"{whole / 1e6:.2f} s\n")
    for kind, time in kinds.most_common():
        print(f"{100 * time / whole:5.1f} %  {kind}")
    for owner in ("aio", "Asio", "std"):
        print(f"\nheaders of {owner}, each without those that it includes:")
        for path, time in [one for one in headers.most_common() if owner_of_header(one[0]) == owner][:rows]:
            print(f"{100 * time / whole:5.2f} %  {short(path)}")
    print("\ntemplates, each without those that it needs, and how often they were made:")
    for name, time in templates.most_common(2 * rows):
        print(f"{100 * time / whole:5.2f} %  {made[name]:5}  {name}")


def self_test():
    assert without_arguments("a::b<int, c<d>>::e<f>") == "a::b::e"
    assert without_arguments("std::chrono::operator<=><long>") == "std::chrono::operator{3}"
    assert without_arguments("a::operator<< <b>").startswith("a::operator{2}")
    assert owner_of_template("std::vector<aio::task<>>") == "std"
    assert owner_of_header(str(PROJECT / "aio/run.hpp")) == "aio"
    assert owner_of_header("/usr/include/asio/post.hpp") == "Asio"

    def header(begin, end, path):
        return [{"ph": "b", "ts": begin, "name": "Source", "args": {"detail": path}},
                {"ph": "e", "ts": end, "name": "Source"}]

    def whole(begin, end, name, detail=""):
        return [{"ph": "X", "ts": begin, "dur": end - begin, "name": name, "args": {"detail": detail}}]

    events = (whole(0, 100, "Frontend") + header(10, 60, "/usr/include/asio/post.hpp") + header(20, 30, "/usr/include/c++/12/new")
              + whole(40, 50, "InstantiateClass", "asio::x<int>") + whole(42, 45, "InstantiateClass", "std::y<1>")
              + whole(100, 140, "Backend") + whole(110, 120, "OptFunction", "f") + whole(0, 140, "Total Source"))
    kinds, headers, templates, made = summarise(events)
    assert kinds == {"the file itself, and the rest": 50, "headers of Asio": 30, "headers of std": 10, "code": 40,
                     "templates of Asio": 7, "templates of std, for Asio": 3}, kinds
    assert headers == {"/usr/include/asio/post.hpp": 30, "/usr/include/c++/12/new": 10}, headers
    assert templates == {"asio::x": 7, "std::y": 3} and made["asio::x"] == 1
    print("compile_time.py: the self-test passes")


if __name__ == "__main__":
    if sys.argv[1:] == ["--self-test"]:
        self_test()
    elif len(sys.argv) < 2:
        sys.exit(__doc__)
    else:
        report(trace(sys.argv[1], sys.argv[2:]))
