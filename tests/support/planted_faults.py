# SPDX-License-Identifier: MIT
"""planted_faults.py <project folder> [--compiler clang++-19] [--catch main.o]: which faults the explored programs find.

Copies the headers, plants each of FAULTS in the copy, where a variable of the environment asks for it, and compiles
tests/primitives_explored_test.cpp with them once. Then runs it without a fault, which has to pass, and with each, which
has to fail. Prints the rows of the table in docs/trust.md. Takes minutes, and is run by hand.
"""

import argparse
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

# (header, what stands there, what it becomes, in words); `P` is whether that fault is asked for. Two changes that
# are one fault stand in one tuple.
FAULTS = [
    ("lock.hpp", "if (!owner_->locked_) owner_->wake_first();", "if (!owner_->locked_ && !P) owner_->wake_first();",
     "lock: one that was woken and is cancelled wakes nobody"),
    ("lock.hpp", "if (locked_ || in_line_ > 0) return false;", "if (locked_ || (in_line_ > 0 && !P)) return false;",
     "lock: a newcomer overtakes one that was woken"),
    ("lock.hpp", "      owner_->locked_ = true;\n    } else", "      if (!P) owner_->locked_ = true;\n    } else",
     "lock: one that waited does not take it"),
    ("semaphore.hpp", "if (woken()) ++owner_->free_;", "if (woken() && !P) ++owner_->free_;",
     "semaphore: the permit of one that is cancelled is lost"),
    ("semaphore.hpp", "      owner_->wake_more();\n    }\n    return task().take",
     "      if (!P) owner_->wake_more();\n    }\n    return task().take",
     "semaphore: the permit of one that is cancelled wakes nobody"),
    ("event.hpp", "line_.wake((std::numeric_limits<std::size_t>::max)());",
     "line_.wake(P ? 1 : (std::numeric_limits<std::size_t>::max)());", "event: wakes one only"),
    ("condition.hpp", "line_.wake(1);  // this task", "if (!P) line_.wake(1);  // this task",
     "condition: the notification of one that is cancelled is lost"),
    ("condition.hpp", "    outcome = result<void>(acquired.error());",
     "    outcome = result<void>(acquired.error());\n    if (P) break;",
     "condition: one that is cancelled does not take the lock again"),
    ("queue.hpp", "if (woken_) owner_->pass_on(end_);  // another", "if (woken_ && !P) owner_->pass_on(end_);  // another",
     "queue: one that was woken and is cancelled wakes nobody"),
    ("rendezvous.hpp", "return item_ ? late::keep : late::deliver;", "return item_ && !P ? late::keep : late::deliver;",
     "rendezvous: the item of one that is cancelled is lost"),
    ("rendezvous.hpp", "return taken_ ? late::keep : late::deliver;", "return taken_ && !P ? late::keep : late::deliver;",
     "  if (taken_) return;", "  if (taken_ && P) check_cancelled();\n  if (taken_) return;",
     "rendezvous: a put() throws whose item was taken"),
    ("barrier.hpp", "~inside() { whole.leave(); }",
     "~inside() { if (P && whole.phase_ == phase::filling) return; whole.leave(); }",
     "barrier: one that is cancelled is counted on"),
    ("task_group.hpp", "while (!group.children_.empty()) {", "while (!group.children_.empty() && !(P && group.aborting_)) {",
     "task_group: does not wait for those that it cancels"),
    ("detail/gather.hpp", "(error_ && left() == 0)", "(error_ && (left() == 0 || P))",
     "gather: does not wait for those that it cancels"),
    ("detail/children_race.hpp", "(enough_ || cancel_requested_) && own_left_ == 0 && waiting()",
     "(enough_ || cancel_requested_) && (own_left_ == 0 || P) && waiting()",
     "race: does not wait for those that it cancels"),
    ("timeout.hpp", "return task_->uncancel_block(cancelling_before_);",
     "if (P) return true;\n    return task_->uncancel_block(cancelling_before_);",
     "timeout: does not take its request back"),
    ("shield.hpp", "    complete(future_state::cancelled);\n    return true;",
     "    if (P) inner_->cancel(message);\n    complete(future_state::cancelled);\n    return true;",
     "shield: cancels what it shields"),
    ("shared_lock.hpp", "if (in_line) owner_->let_in();", "if (in_line && !P) owner_->let_in();",
     "shared_lock: a writer that is cancelled lets no reader in"),
    ("shared_lock.hpp", "override { owner_->give_back(shared_); }", "override { if (!P) owner_->give_back(shared_); }",
     "shared_lock: the turn of one that is cancelled is lost"),
    ("limiter.hpp", "if (in_line) core_->let_in();", "if (in_line && !P) core_->let_in();",
     "limiter: one that is cancelled lets nobody in"),
    ("limiter.hpp", "if (!refused_) core_->give_back(count_);", "if (!refused_ && !P) core_->give_back(count_);",
     "limiter: the permits of one that is cancelled are lost"),
    ("broadcast.hpp", "    if (!handed_) return;\n", "    if (!handed_ || P) return;\n",
     "broadcast: a message is lost with one that was woken for it"),
    ("broadcast.hpp", "return settled_ ? late::keep : late::deliver;", "return settled_ && !P ? late::keep : late::deliver;",
     "    if (settled_) {\n", "    if (settled_) {\n      if (P) check_cancelled();\n",
     "broadcast: a put() throws whose message was sent"),
    ("observable.hpp", "    line_.leave(*next);\n    next->wake();", "    line_.leave(*next);\n    next->wake();\n    if (P) break;",
     "observable: wakes one only"),
    ("task_set.hpp", "    if (!promised_) return;\n", "    if (!promised_ || P) return;\n",
     "task_set: a task is lost with one that was woken for it"),
    ("detail/future_core.hpp", "    loop_->splice(callbacks_);",
     "    if (P) {\n      loop_->push(callbacks_.pop());\n      return;\n    }\n    loop_->splice(callbacks_);",
     "future: wakes one only"),
]

ASKED = """#pragma once
#include <cstdlib>
inline bool aio_planted(int number) {
  static int const which = std::getenv("AIO_FAULT") ? std::atoi(std::getenv("AIO_FAULT")) : 0;
  return number == which;
}
"""


def plant(headers):
    config = headers / "config.hpp"
    config.write_text(config.read_text().replace("#pragma once\n", ASKED, 1))
    for number, (header, *changes, _) in enumerate(FAULTS, 1):
        path = headers / header
        text = path.read_text()
        for before, after in zip(changes[::2], changes[1::2]):
            if text.count(before) != 1:
                sys.exit(f"{header} has changed: planted_faults.py does not find once\n{before}")
            text = text.replace(before, re.sub(r"\bP\b", f"aio_planted({number})", after))
        path.write_text(text)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("project", type=pathlib.Path)
    parser.add_argument("--compiler", default="c++")
    parser.add_argument("--catch", help="an object of tests/support/catch_main.cpp; else it is compiled")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = pathlib.Path(place)
        shutil.copytree(given.project / "include", folder / "include")
        plant(folder / "include" / "aio")
        compile_it = [given.compiler, "-std=c++20", "-O1", "-DASIO_STANDALONE", "-DASIO_NO_DEPRECATED",
                      "-DASIO_HAS_CO_AWAIT=1", "-DASIO_HAS_STD_COROUTINE=1", f"-I{folder / 'include'}",
                      f"-I{given.project / 'tests'}"]
        tests = given.project / "tests"
        catch = given.catch or str(tests / "support" / "catch_main.cpp")
        program = folder / "program"
        subprocess.run([*compile_it, str(tests / "primitives_explored_test.cpp"), catch, "-o", str(program), "-pthread"],
                       check=True)

        def run(number):
            env = os.environ | {"AIO_FAULT": str(number)}
            return subprocess.run([str(program), "-r", "compact"], env=env, stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, text=True, errors="replace", timeout=300)

        without = run(0)
        if without.returncode != 0:
            sys.exit("it fails without a fault:\n" + without.stdout)
        missed = 0
        for number, fault in enumerate(FAULTS, 1):
            ended = run(number)
            found = re.search(r"'(.*), cancelled: ", ended.stdout)
            where = re.search(r"schedule (\d+)", ended.stdout)
            if ended.returncode == 0:
                missed += 1
                how = "**no**"
            elif where:
                how = f"`{found[1]}`, schedule {where[1]}"
            else:
                how = "the program is aborted" + (f", in `{found[1]}`" if found else "")
            print(f"| {fault[-1]} | {how} |", flush=True)
        sys.exit(f"{missed} were not found" if missed else 0)


main()
