# SPDX-License-Identifier: MIT
"""Makes aio's single header (tools/single_header.py), and compiles programs that have nothing else of aio.

    single_header.py <project> <folder> <compiler> [option of the compiler]...
        To the compiler it is the same text as the headers; main.cpp runs with it; both at once are refused.
    single_header.py --long <project> <folder> <compiler> [option of the compiler]...
        Also whole files of the tests, with what they need of Catch2; and a program of two files, one of which has the
        single header and the other the headers, as of an installed aio. Takes minutes.

It works in `folder`. What stands in front of a compiler, as in `ccache g++`, may.
"""

import pathlib
import re
import subprocess
import sys

TESTS = ("event_test", "queue_test", "stream_test", "gather_test", "await_trace_test")
NOT_ADDED = {"aio/testing/failing_new.hpp"}  # it replaces operator new

EXCHANGE = """
#include {first}
#include <iostream>
#include <string>

aio::task<std::string> theirs(aio::event& ready, std::shared_ptr<aio::queue<int>> numbers);

aio::task<> exchange() {{
  aio::event ready;
  auto numbers = std::make_shared<aio::queue<int>>(1);
  auto answer = aio::create_task(theirs(ready, numbers));
  co_await ready.wait();
  for (int i = 0; i < 3; ++i) co_await numbers->put(i);
  numbers->shutdown();
  std::cout << co_await answer << '\\n';
}}

int main() {{
  aio::run(exchange());
}}
"""
THEIRS = """
#include {second}
#include <string>

aio::task<std::string> theirs(aio::event& ready, std::shared_ptr<aio::queue<int>> numbers) {{
  ready.set();
  std::string got;
  try {{
    for (;;) got += std::to_string(co_await numbers->get());
  }} catch (aio::queue_shut_down const&) {{
  }}
  co_return got;
}}
"""


class Try:
    def __init__(self, project, folder, compiler):
        self.project, self.folder = pathlib.Path(project), pathlib.Path(folder)
        self.compiler = compiler
        self.folder.mkdir(parents=True, exist_ok=True)

    def make(self, name, *added, file="aio/aio.hpp"):
        """The folder to include from, and the header there."""
        command = [sys.executable, self.project / "tools/single_header.py", self.folder / name / file]
        for header in added:
            command += ["--add", header]
        subprocess.run(command, check=True)
        return self.folder / name

    def compile(self, *arguments, refused=False):
        done = subprocess.run([*self.compiler, "-std=c++20", *arguments], cwd=self.folder,
                              capture_output=True, text=True)
        if (done.returncode != 0) != refused:
            sys.exit(done.stderr + f"single header: {arguments}: " + ("not refused" if refused else "not compiled"))
        return done

    def program(self, name, *arguments, runs=()):
        self.compile(*arguments, "-pthread", "-o", name)
        done = subprocess.run([self.folder / name, *runs], capture_output=True, text=True, timeout=120)
        if done.returncode != 0:
            sys.exit(done.stdout + done.stderr + f"single header: {name} failed")
        return done.stdout

    def write(self, name, text):
        (self.folder / name).write_text(text, encoding="utf-8")
        return name


def same_text(this, single):
    """Whether a compiler reads the same tokens: then each inline function is the same in both, as C++ asks."""
    this.write("one.cpp", "#include <aio/aio.hpp>\n")
    # Without assertions, which have names of files and numbers of lines.
    texts = [this.compile("-DNDEBUG", "-E", "-P", f"-I{folder}", "one.cpp").stdout.split()
             for folder in (single, this.project / "include")]
    if texts[0] != texts[1]:
        at = next((i for i, pair in enumerate(zip(*texts)) if pair[0] != pair[1]), min(map(len, texts)))
        for name, text in zip(("single header", "headers"), texts):
            print(f"{name}: ... {' '.join(text[max(at - 20, 0):at + 20])} ...", file=sys.stderr)
        sys.exit("the single header is not the text of the headers")


def refusals(this, single):
    """Both in one source file are refused, in a sentence."""
    for first, second in (("aio/aio.hpp", "aio/event.hpp"), ("aio/event.hpp", "aio/aio.hpp")):
        this.write("both.cpp", f"#include <{first}>\n#include <{second}>\n")
        told = this.compile("-E", f"-I{single}", f"-I{this.project}/include", "both.cpp", refused=True).stderr
        if "aio is here already" not in told:
            sys.exit(f"{told}single header: {first} before {second} is not refused in a sentence")


def beside_installed(this, single):
    """A task, an event and a queue go from the one to the other."""
    this.write("exchange.cpp", EXCHANGE.format(first="<aio/aio.hpp>"))
    this.write("theirs.cpp", THEIRS.format(second="<aio/queue.hpp>\n#include <aio/event.hpp>\n#include <aio/task.hpp>"))
    headers = this.project / "include"
    this.compile("-c", f"-I{headers}", "theirs.cpp", "-o", "theirs.o")
    this.compile("-c", f"-I{single}", "exchange.cpp", "-o", "exchange.o")
    for order in (("exchange.o", "theirs.o"), ("theirs.o", "exchange.o")):  # whose inline functions are taken
        if (told := this.program("beside", *order)) != "012\n":
            sys.exit(f"single header beside the headers: it printed {told!r}")


def whole_tests(this):
    headers = sorted(str(path.relative_to(this.project / "include"))
                     for path in (this.project / "include").rglob("aio/testing/*.hpp"))
    added = [name.removeprefix("aio/") for name in headers if name not in NOT_ADDED]
    # Not in a folder aio: its places are aio's own by its name.
    single = this.make("with_testing", *added, file="aio.hpp")
    # Their includes of parts lead to the whole.
    for name in (this.project / "include").rglob("aio/**/*.hpp"):
        part = name.relative_to(this.project / "include")
        if str(part) not in NOT_ADDED:
            (single / part).parent.mkdir(parents=True, exist_ok=True)
            (single / part).write_text('#include <aio.hpp>\n', encoding="utf-8")
    this.write("main.cpp", "#define CATCH_CONFIG_MAIN\n#include <catch2/catch.hpp>\n")
    version_2 = subprocess.run([*this.compiler, "-std=c++20", "-E", "main.cpp"], cwd=this.folder,
                               capture_output=True).returncode == 0
    with_main = ["-lCatch2Main", "-lCatch2"]
    if version_2:
        this.compile("-c", "main.cpp", "-o", "main.o")
        with_main = ["main.o"]
    for test in TESTS:
        told = this.program(test, f"-I{single}", f"-I{this.project}/tests", f"{this.project}/tests/{test}.cpp",
                            *with_main)
        print(f"{test}: {re.sub('[=]+', '', told).strip()}")


def main():
    arguments = sys.argv[1:]
    long = arguments[:1] == ["--long"]
    project, folder, *compiler = arguments[long:]
    this = Try(project, folder, compiler)
    single = this.make("single")
    same_text(this, single)
    refusals(this, single)
    this.program("consumer", f"-I{single}", f"{project}/tests/consumer/main.cpp")
    if long:
        beside_installed(this, single)
        whole_tests(this)


if __name__ == "__main__":
    main()
