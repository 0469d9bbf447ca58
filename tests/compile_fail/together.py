#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Compiles many cases of tests/compile_fail in one run, each in a namespace of its own, and writes for each what the
compiler said of it. Most of the time of a case is aio.hpp and the compiler's start.

  together.py OUT_FOLDER CASE... -- COMPILE_COMMAND
  together.py --self-test

run.cmake looks into OUT_FOLDER/<case>.txt first. What is not found there (an instantiation that two cases share is heard
of once) it compiles alone, so that this run can only save time.
"""

import pathlib
import re
import subprocess
import sys


def translation_unit(cases):
    includes, bodies = {}, []
    for number, case in enumerate(cases):
        body = []
        for line in case.read_text().splitlines():
            if line.startswith("#include"):
                includes[line] = None
                line = ""
            body.append(line)
        bodies.append(f'namespace case_{number} {{\n#line 1 "{case}"\n' + "\n".join(body) + f"\n}}  // {case.stem}\n")
    return "\n".join(includes) + "\n" + "".join(bodies)


def blocks(output):
    """The compiler's messages, each with the lines that say where it comes from.

    g++ writes those before the message ("In instantiation of", "required from"), Clang after it, as notes."""
    block, said = [], False
    for line in output.splitlines():
        message = re.search(r": (fatal error|error|warning): ", line)
        context = re.match(r"In file included from |\S+: (In|At) |\S+:\d+:\d+:   (required|recursively required|in ) ", line)
        if (message or context) and said:
            yield "\n".join(block)
            block, said = [], False
        block.append(line)
        said = said or bool(message)
    if block:
        yield "\n".join(block)


def sort_by_case(output, cases):
    heard = {case: [] for case in cases}
    for block in blocks(output):
        for case in cases:
            if f"{case}:" in block:
                heard[case].append(block)
    return heard


def self_test():
    a, b = pathlib.Path("/t/a.cpp"), pathlib.Path("/t/b.cpp")
    gcc = """\
/i/x.hpp: In instantiation of 'void f(T) [with T = int]':
/t/a.cpp:4:4:   required from here
/i/x.hpp:1:15: error: static assertion failed: first
/i/x.hpp:1:15: note: 'false' evaluates to false
/t/b.cpp: In function 'int case_1::main()':
/t/b.cpp:3:4: error: second
"""
    clang = """\
In file included from /o/all.cpp:1:
/i/x.hpp:1:15: error: static assertion failed: first
/t/a.cpp:4:4: note: in instantiation of function template specialization 'f<int>' requested here
/t/b.cpp:3:4: error: second
"""
    for output in gcc, clang:
        heard = sort_by_case(output, [a, b])
        assert [len(heard[a]), len(heard[b])] == [1, 1], heard
        assert "first" in heard[a][0] and "second" not in heard[a][0], heard
        assert "second" in heard[b][0] and "first" not in heard[b][0], heard
    unit = translation_unit([pathlib.Path(__file__).with_name("await_int.cpp")])
    assert unit.startswith("#include <aio/aio.hpp>") and unit.count("#include") == 1, unit
    print("together.py: the self-test passes")


def main(arguments):
    if arguments == ["--self-test"]:
        return self_test()
    out = pathlib.Path(arguments[0])
    cut = arguments.index("--")
    cases = [pathlib.Path(each) for each in arguments[1:cut]]
    command = arguments[cut + 1 :]
    out.mkdir(parents=True, exist_ok=True)
    for old in cases:
        out.joinpath(old.stem + ".txt").unlink(missing_ok=True)
    flags = {}
    for case in cases:
        extra = tuple(re.findall(r"^// flags: (.*)$", case.read_text(), re.M))
        flags.setdefault(extra, []).append(case)
    for number, (extra, some) in enumerate(flags.items()):
        source = out / f"all_{number}.cpp"
        source.write_text(translation_unit(some))
        run = subprocess.run(
            [*command, *" ".join(extra).split(), str(source)],
            capture_output=True, text=True, env={"LC_ALL": "C", "PATH": "/usr/local/bin:/usr/bin:/bin"})
        out.joinpath(f"all_{number}.txt").write_text(run.stderr)
        if run.returncode == 0:
            sys.exit(f"{source} compiles, and nothing in it should")
        heard = sort_by_case(run.stderr, some)
        for case, said in heard.items():
            out.joinpath(case.stem + ".txt").write_text("\n".join(said))
        print(f"{len(some)} cases together, of {sum(map(bool, heard.values()))} something was heard")


if __name__ == "__main__":
    main(sys.argv[1:])
