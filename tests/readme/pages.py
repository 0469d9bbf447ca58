# SPDX-License-Identifier: MIT
"""What a page of the documentation shows is true: takes its fenced blocks apart, and compares what they print.

    pages.py split <page.md> <folder> [--leave-out HEADER]...
        programs.cpp   all cpp blocks with a main, each in a namespace of its own, and one main that calls them in turn
        snippets.cpp   the other cpp blocks, each in a namespace, after prelude.hpp; "<!-- wrap: coroutine -->" above
                       one makes it a coroutine's body, and "<!-- for all programs -->" a beginning of programs.cpp
        twins.json     python blocks that call asyncio.run
        texts.json     what programs and twins print: the text block right after them, or after several of them in a row
        *.cmake, *.sh  such blocks, named after the line they begin at
    pages.py run <programs> <folder>     runs them, and compares
    pages.py --self-test

A program's main is its last function. Its time is virtual: aio::run(...) stands for aio::testing::run(...), unless
"<!-- real time -->" is above it. That is the same for a twin and asyncio. "<!-- file: main.cpp -->" above a program
gives its lines that name, and numbers from 1, for texts that show them. "<!-- picture: group -->" has its trace written
where it is to be drawn, see run_traced.hpp and tools/draw_pictures.py. Blocks that include a HEADER are left out.
Blocks of text and console, and other ones of python, stand for what is not aio's and are not looked at.
"""

import json
import pathlib
import re
import subprocess
import sys
import tempfile

MARK = "\x1e"  # a line with it and a name begins what one program prints
COMMENT = re.compile(r"<!-- (.*?) -->\s*$")
INCLUDE = re.compile(r"^[ \t]*#include [^\n]*$", re.M)
MAIN = re.compile(r"^(?:int|auto) main\(", re.M)
RETURNS = re.compile(r"\breturn\b[^;{}]*;\s*\}\s*$")


class BadPage(Exception):
    pass


class Block:
    def __init__(self, language, line, text, before):
        self.language, self.line, self.text = language, line, text
        self.settings = []
        while found := COMMENT.search(before):
            self.settings.append(found[1])
            before = before[:found.start()]
        self.adjacent = not before.strip()  # nothing between the block before and this one
        self.name = f"line_{line:03}"


def blocks_of(page, text):
    """The fenced blocks, in order."""
    found, before, block, line = [], "", None, 0
    for number, content in enumerate(text.splitlines(keepends=True), 1):
        if block is None and content.startswith("```"):
            block, language, line = "", content[3:].strip(), number + 1
        elif block is not None and content.rstrip() == "```":
            found.append(Block(language, line, block, before))
            block, before = None, ""
        elif block is not None:
            block += content
        else:
            before += content
    if block is not None:
        raise BadPage(f"{page}:{line}: a block of {language} does not end")
    return found


def hoist(text, includes):
    """The text without its includes, which go to the top of the file; lines keep their numbers."""
    includes.update(dict.fromkeys(line.strip() for line in INCLUDE.findall(text)))
    return INCLUDE.sub("", text)


def placed(page, block, text):
    line, file = block.line, page
    for setting in block.settings:
        if setting.startswith("file: "):
            line, file = 1, setting[6:]
    return f'#line {line} "{file}"\n{text}'


def in_namespace(page, block, text):
    return f'namespace {block.name} {{\n{placed(page, block, text)}}}  // namespace\n'


def programs_source(page, blocks):
    includes, parts, calls = {}, [], []
    for block in blocks:
        if "for all programs" in block.settings:
            parts.append(placed(page, block, hoist(block.text, includes)))
            continue
        mains = list(MAIN.finditer(block.text))
        if len(mains) != 1:
            raise BadPage(f"{page}:{block.line}: a program has one main, at the beginning of a line")
        text = block.text
        for setting in block.settings:
            if setting.startswith("picture: "):
                includes['#include "run_traced.hpp"'] = None
                text = re.sub(r"\baio::run\(", f'run_traced("{setting[9:]}", ', text)
        if "real time" not in block.settings:
            text = re.sub(r"\baio::run\((?!aio::run_options)", "aio::testing::run(", text)
        text = hoist(text, includes)
        # A function that is not ::main may not end without its return.
        kind = "int" if RETURNS.search(text) else "void"
        text = MAIN.sub(f"{kind} program(", text)
        parts.append(in_namespace(page, block, text))
        call = f"{block.name}::program()"
        calls.append(f'  failed |= run_one("{block.name}", [] {{ ' +
                     (f"return {call};" if kind == "int" else f"{call}; return 0;") + " });\n")
    return ("".join(f"{line}\n" for line in includes) + '#include "run_one.hpp"\n' + "".join(parts) +
            "int main() {\n  int failed = 0;\n" + "".join(calls) + "  return failed;\n}\n")


def snippets_source(page, blocks):
    includes, parts = {}, []
    for block in blocks:
        text = in_namespace(page, block, hoist(block.text, includes))
        if "wrap: coroutine" in block.settings:
            text = text.replace("#line", "aio::task<> snippet() {\n#line", 1).replace("}  // namespace",
                                                                                      "co_return;\n}\n}  // namespace")
        parts.append(text)
    return "".join(f"{line}\n" for line in ['#include "prelude.hpp"', *includes]) + "".join(parts)


def split(page, text, left_out=()):
    """name of a file -> its text."""
    files, programs, snippets, twins, texts = {}, [], [], {}, {}
    in_a_row = []  # programs and twins, while nothing comes between them
    for block in blocks_of(page, text):
        if not block.adjacent:
            in_a_row = []
        if block.language == "cpp" and any(f"#include <{header}>" in block.text for header in left_out):
            in_a_row = []
        elif block.language == "cpp" and "for all programs" in block.settings:
            programs.append(block)
            in_a_row = []
        elif block.language == "cpp" and MAIN.search(block.text):
            programs.append(block)
            in_a_row.append(block.name)
        elif block.language == "cpp":
            snippets.append(block)
            in_a_row = []
        elif block.language == "python" and "asyncio.run(" in block.text:
            twins[block.name] = {"text": block.text, "virtual": "real time" not in block.settings}
            in_a_row.append(block.name)
        elif block.language == "text":
            texts.update(dict.fromkeys(in_a_row, block.text))
            in_a_row = []
        elif block.language in ("cmake", "sh"):
            files[f"{block.name}.{block.language}"] = block.text
            in_a_row = []
        elif block.language in ("python", "console"):
            in_a_row = []
        else:
            raise BadPage(f'{page}:{block.line}: no check knows what to do with a block of "{block.language}"')
    if programs:
        files["programs.cpp"] = programs_source(page, programs)
    if snippets:
        files["snippets.cpp"] = snippets_source(page, snippets)
    files["twins.json"] = json.dumps(twins, indent=1)
    files["texts.json"] = json.dumps(texts, indent=1)
    return files


def write(files, folder):
    """Keeps the times of what did not change, so that it is not compiled again."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        if old.name not in files:
            old.unlink()
    for name, text in files.items():
        path = folder / name
        if not path.exists() or path.read_text() != text:
            path.write_text(text)


def differences(printed, texts):
    """printed and texts: name -> text. A program without a text may print what it wants."""
    found = []
    for name, text in texts.items():
        if name not in printed:
            found.append(f"{name}: it did not run")
        elif printed[name] != text:
            found.append(f"{name}: the page says that it prints:\n{text}\nIt prints:\n{printed[name]}")
    return found


def printed_by(output):
    """What the programs of one process printed, by their names; names of coroutines without the namespace."""
    parts = re.sub(r"\bline_\d{3,}::", "", output).split(MARK)
    return {name: text for name, _, text in (part.partition("\n") for part in parts[1:])}


def run_twins(twins):
    """In one process, for most of a twin's time is to begin python. Time is virtual unless they say otherwise."""
    import asyncio
    import contextlib
    import io
    import selectors
    import time

    class Jumping(selectors.DefaultSelector):
        loop = None

        def select(self, timeout=None):
            others = len(self.get_map()) > 1  # than the loop's own pipe
            if others or self.loop._default_executor:
                began = time.monotonic()
                ready = super().select(timeout)
                self.loop.passed += time.monotonic() - began
                return ready
            if timeout is not None and timeout > 0:
                self.loop.passed += timeout
                timeout = 0
            return super().select(timeout)

    class Virtual(asyncio.SelectorEventLoop):
        def __init__(self):
            self.passed = 0.0
            selector = Jumping()
            selector.loop = self
            super().__init__(selector)

        def time(self):
            return self.passed  # else equal deadlines would not be equal

    usual = asyncio.new_event_loop
    printed = {}
    for name, twin in twins.items():
        asyncio.new_event_loop = asyncio.events.new_event_loop = Virtual if twin["virtual"] else usual
        output = io.StringIO()
        with contextlib.redirect_stdout(output):
            exec(compile(twin["text"], name, "exec"), {"__name__": "__main__"})
        printed[name] = output.getvalue()
    return printed


def run(program, folder):
    texts = json.loads((folder / "texts.json").read_text())
    twins = json.loads((folder / "twins.json").read_text())
    ended = subprocess.run([program], stdout=subprocess.PIPE, text=True, cwd=folder)
    printed = printed_by(ended.stdout)
    if twins:
        printed.update(run_twins(twins))
    for difference in differences(printed, texts):
        print(difference)
    if ended.returncode:
        print(f"{program} ended with {ended.returncode}; it printed:\n{ended.stdout}")
    return not ended.returncode and not differences(printed, texts)


def self_test():
    page = ('a\n```cpp\n#include <a>\nint main() { aio::run(f()); }\n```\n```text\none\n```\n'
            'b\n```python\nasyncio.run(main())\n```\n\n<!-- real time -->\n```cpp\nint main() {\n'
            '  aio::run(g());\n  return 0;\n}\n```\n```text\ntwo\n```\nc\n<!-- wrap: coroutine -->\n```cpp\nf();\n```\n'
            '```sh\nls\n```\n<!-- file: main.cpp -->\n```cpp\nint main() {}\n```\nd\n```text\nof nobody\n```\n'
            '<!-- for all programs -->\n```cpp\nusing namespace x;\n```\n'
            '<!-- file: a.cpp -->\n<!-- picture: group -->\n```cpp\nint main() { aio::run(h()); }\n```\n')
    files = split("p.md", page)
    programs, texts = files["programs.cpp"], json.loads(files["texts.json"])
    assert programs.startswith('#include <a>\n#include "run_traced.hpp"\n#include "run_one.hpp"\n'), programs
    assert '#line 3 "p.md"\n\nvoid program() { aio::testing::run(f()); }' in programs, programs
    assert "int program() {\n  aio::run(g());" in programs and '#line 1 "main.cpp"\nvoid program() {}' in programs
    assert '#line 42 "p.md"\nusing namespace x;\n' in programs, programs
    assert '#include "run_traced.hpp"\n' in programs and '{ run_traced("group", h()); }' in programs, programs
    assert texts == {"line_003": "one\n", "line_011": "two\n", "line_016": "two\n"}, texts
    assert 'aio::task<> snippet() {\n#line 27 "p.md"\nf();\nco_return;\n}\n}' in files["snippets.cpp"], files
    assert files["line_030.sh"] == "ls\n"
    assert "programs.cpp" not in split("p.md", page.split("\nb\n")[0] + "\n", ["a"])
    for bad in ("```cpp\n", "```rust\n```\n", "```cpp\nint main() {}\nint main() {}\n```\n"):
        try:
            split("p.md", bad)
        except BadPage:
            continue
        raise AssertionError(bad)
    printed = printed_by(f"{MARK}a\nline_012::one\n{MARK}b\n")
    assert printed == {"a": "one\n", "b": ""}, printed
    assert not differences(printed, {"a": "one\n"})
    assert len(differences(printed, {"a": "two\n", "b": "x", "c": ""})) == 3
    slow = ("import asyncio, time\nasync def main():\n  began = time.monotonic()\n  await asyncio.sleep(3600)\n"
            "  print(time.monotonic() - began < 60)\nasyncio.run(main())\n")
    assert run_twins({"t": {"text": slow, "virtual": True}}) == {"t": "True\n"}
    with tempfile.TemporaryDirectory() as folder:
        write({"a": "1"}, pathlib.Path(folder))
        write({"b": "2"}, pathlib.Path(folder))
        assert [path.name for path in pathlib.Path(folder).iterdir()] == ["b"]


def main():
    if sys.argv[1:] == ["--self-test"]:
        self_test()
    elif sys.argv[1] == "split":
        page, folder, *left_out = [argument for argument in sys.argv[2:] if argument != "--leave-out"]
        try:
            write(split(page, pathlib.Path(page).read_text(), left_out), pathlib.Path(folder))
        except BadPage as bad:
            sys.exit(str(bad))
    elif not run(pathlib.Path(sys.argv[2]).resolve(), pathlib.Path(sys.argv[3])):
        sys.exit("The page and what its programs print differ")


if __name__ == "__main__":
    main()
