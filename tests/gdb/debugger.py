# SPDX-License-Identifier: MIT
"""Looks into programs that hang, with gdb and tools/aio_gdb.py: in the stopped process, and in its core dump.

    debugger.py build/dev/tests/gdb/aio_stuck_O0

stuck.cpp is the program; what the commands print stands here whole. Ends with "N passed, N failed" and status 1 if
something failed; with 77, which CTest takes for skipped, where there is no gdb with Python, or it may not trace.
"""

import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

here = pathlib.Path(__file__).resolve().parent
commands = here.parent.parent / "tools" / "aio_gdb.py"
source = (here / "stuck.cpp").read_text().splitlines()
config = (here.parent.parent / "include/aio/config.hpp").read_text()
abi = "v" + "_".join(re.search(rf"AIO_VERSION_{part} (\d+)", config)[1] for part in ("MAJOR", "MINOR"))  # AIO_ABI
passed = failed = 0


def skip(why):
    print("left out:", why)
    sys.exit(77)


def check(what, got, wanted):
    global passed, failed
    if got == wanted:
        passed += 1
        return
    failed += 1
    print(f"FAILED: {what}\n--- wanted\n{wanted}\n--- got\n{got}\n---")


def line(text):
    """stuck.cpp:N, of the one line that has that"""
    found = [number for number, each in enumerate(source, 1) if text in each]
    assert len(found) == 1, (text, found)
    return f"stuck.cpp:{found[0]}"


def gdb(*arguments):
    """What gdb prints"""
    done = subprocess.run(
        ["gdb", "-nx", "-batch", "-iex", "set debuginfod enabled off", "-iex", "set width 0", "-ex",
         f"source {commands}", *arguments],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120, check=False)
    text = done.stdout.decode(errors="replace")
    if re.search(r"ptrace: Operation not permitted|Could not trace the inferior|ptrace\(.*: Operation not permitted",
                 text):
        skip("gdb may not trace processes here (ptrace is not permitted)")
    return text


def as_options(lines):
    return [each for text in lines for each in ("-ex", text)]


def shown(text):
    """Between the marks, without what differs: addresses, threads, and the lines that compilers give functions"""
    begin, end = text.find("BEGIN\n"), text.find("END\n")
    if begin < 0 or end < 0:
        return text
    text = re.sub(r"0x[0-9a-f]+", "0x*", text[begin + 6:end])
    text = re.sub(r"thread \d+|thread 0x\*", "thread *", text)
    text = re.sub(r"created at stuck.cpp:\d+", "created at stuck.cpp:*", text)
    return re.sub(r" at [^ ]*/(?=[^/ ]*:\d+$)", " at ", text, flags=re.MULTILINE)


def looked_into(program, folder, mode, asked, language="c", core=True):
    """What `asked` prints in the process, and, which is the same, in its core dump"""
    dump = folder / f"{mode.replace(' ', '-')}.core"
    # Nothing of a core dump can be called, and the thread that was stopped may be in a function of C.
    looks = ["set may-call-functions off", f"set language {language}", "echo BEGIN\\n", *asked, "echo END\\n",
             "set language auto"]
    dumps = [f"generate-core-file {dump}"] if core else []
    live = gdb(*as_options(["break everything_waits", f"run {mode}", *looks, *dumps]), str(program))
    found = shown(live)
    if core:
        check(f"{mode}: the core dump shows what the process does", shown(
            gdb(*as_options(looks), str(program), str(dump))), found)
        dump.unlink(missing_ok=True)
    return found


LOOP = "loop 1 (aio::event_loop at 0x*), run by thread *: "


def two_locks(program, folder):
    found = looked_into(program, folder, "locks", ["aio tasks", "aio tree", "aio bt 1", "aio bt saves"])
    group = line("co_await aio::with_task_group(both)")
    second = line("co_await to.acquire()")
    found = re.sub(r"(task_group|task_handle)\.hpp:\d+", r"\1.hpp:*", found)
    check("two locks", found, f"""\
{LOOP}3 tasks
  1  Task-1  waiting, created at stuck.cpp:*, awaits in two_locks ({group}), for the tasks of its task_group
  2  saves  waiting, created at stuck.cpp:*, awaits in transfer ({second}), for lock::acquire of 0x*, held by spends
  3  spends  waiting, created at stuck.cpp:*, awaits in transfer ({second}), for lock::acquire of 0x*, held by saves
{LOOP}3 tasks
  Task-1
      two_locks ({group})
      waits for the tasks of its task_group
    2 x saves, spends
        transfer ({second})
        waits for lock::acquire of 0x*, 0x*
Task-1 (number 1, at 0x*), waiting, created at stuck.cpp:*
    waits for the tasks of its task_group
#0  0x* in aio::detail::group_access::run at task_group.hpp:*
#1  0x* in two_locks at {group}
saves (number 2, at 0x*), waiting, created at stuck.cpp:*
    waits for lock::acquire of 0x*, held by spends, in the frame of two_locks of Task-1
#0  0x* in transfer at {second}
#1  0x* in aio::detail::call_with at task_handle.hpp:*
""")


def deaf_child(program, folder):
    found = looked_into(program, folder, "cancel", ["aio tasks", "aio tree", "aio bt Task-2"])
    outer, inner = line("co_await child;"), line("co_await news.wait()")
    found = re.sub(r"task_handle\.hpp:\d+", "task_handle.hpp:*", found)
    check("a child that takes no notice of its cancellation", found, f"""\
{LOOP}2 tasks
  1  Task-1  waiting, created at stuck.cpp:*, awaits in deaf_child ({outer}), for Task-2
  2  Task-2  waiting (cancel requested), created at stuck.cpp:*, awaits in never_mind ({inner}), for event::wait of 0x*
{LOOP}2 tasks
  Task-1
      deaf_child ({outer})
      waits for Task-2
    Task-2 (cancel requested)
        never_mind ({inner})
        waits for event::wait of 0x*
Task-2 (number 2, at 0x*), waiting (cancel requested), created at stuck.cpp:*
    waits for event::wait of 0x*, in the frame of deaf_child of Task-1
#0  0x* in never_mind at {inner}
#1  0x* in aio::detail::call_with at task_handle.hpp:*
""")


def empty_queue(program, folder):
    asked = ["aio tasks 3", "aio tree", "aio bt 4", "aio bt 4 1", "aio bt nobody"]
    found = looked_into(program, folder, "queue 5", asked)
    gathers, clock = line("co_await aio::gather("), line("co_await aio::sleep_for(period)")
    serves, gets = line("co_await next_order("), line("co_await orders.get()")
    waits = "waits for queue::get of 0x*"
    check("consumers of a queue that nobody fills", found, f"""\
{LOOP}7 tasks
  1  Task-1  waiting, created at stuck.cpp:*, awaits in empty_queue ({gathers}), for gather
  2  clock  sleeping, created at stuck.cpp:*, awaits in empty_queue::{{lambda}} ({clock}), for its sleep to end
  3  Task-3  waiting, created at stuck.cpp:*, awaits in next_order ({gets}), for queue::get of 0x*
  and 4 more: aio tasks 7
{LOOP}7 tasks
  Task-1
      empty_queue ({gathers})
      waits for gather
    5 x Task-3, Task-4, Task-5, ... Task-7
        serve ({serves})
        next_order ({gets})
        {waits}
  clock
      empty_queue::{{lambda}} ({clock})
      waits for its sleep to end
Task-4 (number 4, at 0x*), waiting, created at stuck.cpp:*
    {waits}, in the frame of empty_queue of Task-1
#0  0x* in next_order at {gets}
#1  0x* in serve at {serves}
Task-4 (number 4, at 0x*), waiting, created at stuck.cpp:*
    {waits}, in the frame of empty_queue of Task-1
#0  0x* in next_order at {gets}
(and 1 more: aio bt 4 2)
aio bt: there is no unfinished task nobody
""")


def others(program, folder):
    found = looked_into(program, folder, "others", ["aio tasks", "aio tree", "aio bt 1032 2"])
    found = re.sub(r"(uncancellable|task_handle)\.hpp:\d+", r"\1.hpp:*", found)
    outer, ring = line("co_await aio::sleep_for(1ms);  // others"), line("co_await all[which]")
    sleeps, below = line("if (depth == 0) co_await"), line("if (depth > 0) co_await")
    asleep = f"sleeping, created at stuck.cpp:*, awaits in deep ({sleeps}), for its sleep to end"
    first = LOOP + "1 task"
    second = LOOP.replace("loop 1", "loop 2") + "9 tasks"
    check("tasks of a set, in a ring, that keep cancellations back, of two loops", found, f"""\
{first}
  1  Task-1  {asleep}
{second}
  1025  Task-1025  running, created at stuck.cpp:*, last awaited in others ({outer})
  1026  Task-1026  {asleep}
  1027  Task-1027  {asleep}
  1028  of an object  {asleep}
  1029  Task-1029  waiting, created at stuck.cpp:*, awaits in waits_for ({ring}), for Task-1030
  1030  Task-1030  waiting, created at stuck.cpp:*, awaits in waits_for ({ring}), for Task-1031
  1031  Task-1031  waiting, created at stuck.cpp:*, awaits in waits_for ({ring}), for Task-1029
  1032  Task-1032  {asleep.replace("sleeping", "sleeping (cancel requested 2 times, uncancellable)")}
  1033  Task-1033  cancelled before it began (cancel requested), begins in aio::detail::call_with (task_handle.hpp:*)
{first}
  Task-1
      deep ({sleeps})
      waits for its sleep to end
{second}
  Task-1025, running
      others ({outer})
    2 x Task-1026, Task-1027
        2 x deep ({below})
        deep ({sleeps})
        waits for its sleep to end
  of an object, of aio::task_set
      deep ({sleeps})
      waits for its sleep to end
  Task-1032, sleeping (cancel requested 2 times, uncancellable)
      1000 x deep ({below})
      deep ({sleeps})
      waits for its sleep to end
  Task-1033, cancelled before it began (cancel requested)
      aio::detail::call_with (task_handle.hpp:*)
  3 tasks in rings, or below them, that await each other:
    Task-1029 waits for Task-1030
    Task-1030 waits for Task-1031
    Task-1031 waits for Task-1029
Task-1032 (number 1032, at 0x*), sleeping (cancel requested 2 times, uncancellable), created at stuck.cpp:*
    waits for its sleep to end
#0  0x* in deep at {sleeps}
#1  0x* in deep at {below}
(and 1000 more: aio bt 1032 1002)
""")


def printers(program, folder):
    script = folder / "objects.py"
    script.write_text("""
import gdb
address = int(gdb.parse_and_eval("(unsigned long)seen"))
all = gdb.Value(address).cast(gdb.lookup_type("struct objects").pointer()).dereference()
for field in all.type.fields():
    print(field.name, "=", all[field.name].format_string())
""")
    found = looked_into(program, folder, "printers", [f"source {script}", "aio tasks"], language="auto")
    looks, sleeps = line("co_await aio::sleep_for(1ms);  // here"), line("aio::task<> sleeps()")
    check("printers", found, f"""\
made = aio::task<int> of number ({line("aio::task<int> number()")})
moved = aio::task<int>, empty: it was awaited or moved away
done = aio::task_handle<int> of Task-2, done = {{value = 42}}
failed = aio::task_handle<void> of Task-3, failed with std::runtime_error("no such page")
waits = aio::task_handle<void> of Task-4, not done
any = aio::any_task_handle of Task-4, not done
empty = aio::task_handle<void>, empty: it was moved away or never set
value = aio::result<int> with a value = {{value = 7}}
error = aio::result<int> with std::runtime_error("no such page")
nothing = aio::result<void>, done
text = aio::result<std::string> with a value = {{value = "words"}}
group = aio::exception_group "two of them" of 2 errors = \
{{[0] = std::runtime_error("no such page"), [1] = std::logic_error("no such thing")}}
fifo = aio::queue<int> of 8 items = {{[0] = 5, [1] = 6, [2] = 7, [3] = 8, [4] = 9, [5] = 10, [6] = 11, [7] = 12}}
none = aio::queue<int> of no items
smallest = aio::priority_queue<int> of 3 items = {{[0] = 1, [1] = 3, [2] = 2}}
bounded = aio::queue<std::string> of 1 item, at most 2 = {{[0] = "one"}}
{LOOP}2 tasks
  1  Task-1  running, created at stuck.cpp:*, last awaited in printers ({looks})
  4  Task-4  sleeping, created at stuck.cpp:*, awaits in sleeps ({sleeps}), for its sleep to end
""")


def broken(program, folder):
    """What is not as aio left it is a message, and ends"""
    of_boost = f"{abi}_on_boost_asio"
    inside = f"aio::{of_boost if of_boost.encode() in pathlib.Path(program).read_bytes() else abi}::detail"
    script = folder / "frames.py"
    script.write_text(f"""
import gdb, re
at = re.findall("0x[0-9a-f]+", gdb.execute("aio bt 2", to_string=True).split("#0")[1])
frame = "(({inside}::frame_base*)%s - 1)"
gdb.execute("set var " + frame % at[-1] + "->continuation = " + frame % at[0])
""")
    loops = f"{inside}::scheduler::living_"
    first = f"{loops}->tasks.end_.next"
    asked = [f"source {script}", "aio bt 2", f"set var {first}->next = {first}", "aio tasks",
             f"set var {first}->next = (void*)4096", "aio tree", f"set var $last = {loops}",
             "set var $last->next_living_ = $last", "aio tasks"]
    found = looked_into(program, folder, "locks", asked, language="auto", core=False)
    check("lists that are rings or lead nowhere", [each.strip() for each in found.splitlines() if "broken" in each], [
        "broken: the frame at 0x* awaits itself",
        "the list of tasks is broken after 1 of them: the link at 0x* does not lead back",
        "the list of tasks is broken after 1 of them: there is no memory at 0x*",
        "aio: the list of loops is broken at 0x*"])


def without_loops(program, folder):
    del folder
    text = gdb(*as_options(["echo BEGIN\\n", "aio tasks", "aio tree", "echo END\\n"]), str(program))
    check("a program that was not started", shown(text), "no loop of aio is there\n" * 2)
    text = gdb(*as_options(["echo BEGIN\\n", "aio tasks", "echo END\\n"]))
    check("no program", shown(text)[:5], "aio: ")


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    if not shutil.which("gdb"):
        skip("gdb is not installed")
    works = subprocess.run(["gdb", "-nx", "-batch", "-ex", "python print('it' + 's there')"], stdin=subprocess.DEVNULL,
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60, check=False)
    if b"its there" not in works.stdout:
        skip("gdb has no Python")
    with tempfile.TemporaryDirectory() as folder:
        for program in sys.argv[1:]:
            for each in (two_locks, deaf_child, empty_queue, others, printers, broken, without_loops):
                each(pathlib.Path(program).resolve(), pathlib.Path(folder))
    print(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


main()
