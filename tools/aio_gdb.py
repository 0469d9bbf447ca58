# SPDX-License-Identifier: MIT
"""gdb looks at the tasks of a program that uses aio: in a process that stopped, or in a core dump.

    (gdb) source /usr/local/share/aio/aio_gdb.py
    (gdb) aio tasks          a line for each unfinished task of every loop
    (gdb) aio tree           who started whom, and the awaits that each is in, down to what it waits for
    (gdb) aio bt TASK        the awaits of one task, innermost first: by its number, name or address

and prints aio::task, task_handle, any_task_handle, result, exception_group and the queues. The program has to be
compiled with -g, at any level of optimisation, by g++ or Clang. Nothing is called in it: all is read from its memory.
"""

import bisect
import re
import struct

import gdb
import gdb.printing

MOST_TASKS = 10_000_000  # of a list that is longer something is wrong
MOST_FRAMES = 1_000_000
LINES_OF_TASKS = 1000    # of `aio tasks`, unless it is told otherwise
LINES_OF_STACK = 40      # of one task in `aio tree`
LINES_OF_BT = 200        # of `aio bt`, unless it is told otherwise
DEEPEST = 40             # so far `aio tree` indents

# ------------------------------------------------------------------------------------------------- memory and layouts


class Broken(Exception):
    """What is in the memory cannot be what aio left there."""


class Pages:
    """What was read during one command: to ask gdb for each object would take ten times as long"""

    size = 16 * 1024
    kept = None  # by number; null outside of commands: the process may go on

    @classmethod
    def at(cls, number):
        found = cls.kept.get(number)
        if found is None:
            try:
                found = bytes(gdb.selected_inferior().read_memory(number * cls.size, cls.size))
            except (gdb.MemoryError, OverflowError):
                found = b""  # not all of it is there
            cls.kept[number] = found
        return found


def read(address, size):
    if Pages.kept is not None:
        number, offset = divmod(address, Pages.size)
        page = Pages.at(number)
        if page and offset + size <= Pages.size:
            return page[offset:offset + size]
    try:
        return bytes(gdb.selected_inferior().read_memory(address, size))
    except (gdb.MemoryError, OverflowError):
        raise Broken(f"there is no memory at {address:#x}") from None


class Target:
    """What differs between machines"""

    def __init__(self):
        self.pointer_size = gdb.lookup_type("void").pointer().sizeof
        little = "little" in gdb.execute("show endian", to_string=True)
        self.order = "little" if little else "big"
        self.place = struct.Struct(("<" if little else ">") + ("QQII" if self.pointer_size == 8 else "IIII"))

    def number(self, memory, offset, size):
        return int.from_bytes(memory[offset:offset + size], self.order)

    def pointer(self, address):
        return self.number(read(address, self.pointer_size), 0, self.pointer_size)


def text_at(address, most=4096):
    """The characters up to a 0"""
    found = b""
    try:
        while address and len(found) < most and b"\0" not in found:
            size = 256 - (address + len(found)) % 256  # never beyond a page in which there may be a 0
            found += read(address + len(found), size)
    except Broken:
        found += b"?"
    return found.split(b"\0")[0][:most].decode(errors="replace")


def fields_of(a_type):
    return a_type.strip_typedefs().fields()


def find_field(a_type, name):
    """Where a member is, also of a base class: (offset in bits, field); None if there is none"""
    inside = []
    for field in fields_of(a_type):
        if not hasattr(field, "bitpos"):
            continue  # static
        if field.name == name and not field.is_base_class:
            return field.bitpos, field
        if field.is_base_class or field.name is None or field.name == "":
            inside.append(field)
    for field in inside:
        found = find_field(field.type, name)
        if found:
            return field.bitpos + found[0], found[1]
    return None


def find_deep(a_type, name, depth=12):
    """The same, in members of members, too"""
    a_type = a_type.strip_typedefs()
    if depth == 0 or a_type.code not in (gdb.TYPE_CODE_STRUCT, gdb.TYPE_CODE_UNION):
        return None
    found = find_field(a_type, name)
    if found:
        return found
    for field in a_type.fields():
        if hasattr(field, "bitpos"):
            found = find_deep(field.type, name, depth - 1)
            if found:
                return field.bitpos + found[0], found[1]
    return None


# The inline namespaces of what this knows the insides of, by version and Asio (AIO_ABI of config.hpp); gdb does not look
# into them by itself. First the one that was found last.
VERSION = "0.1.0"
VERSIONS = ["v" + "_".join(VERSION.split(".")[:2]) + asio for asio in ("", "_on_boost_asio")]


def in_version(ask, name):
    """ask(name) with the inline namespace that this program has; what else gdb says"""
    for version in list(VERSIONS) if "aio::" in name else []:
        try:
            found = ask(re.sub(r"\baio::", f"aio::{version}::", name))
        except gdb.error:
            continue
        VERSIONS.remove(version)
        VERSIONS.insert(0, version)
        return found
    return ask(name)


def type_of_name(name):
    return in_version(gdb.lookup_type, name)


class Layout:
    """Where the members of a class are, so that an object is read by one access"""

    def __init__(self, target, name, *members):
        try:
            self.type = type_of_name(name)
        except gdb.error:
            raise Broken(f"the type {name} is not known: was the program compiled with -g?") from None
        self.target = target
        self.size = self.type.sizeof
        self.of = {}
        for member in members:
            path = member.split(".")
            bits, inside, field = 0, self.type, None
            for part in path:
                found = find_field(inside, part)
                if not found:
                    raise Broken(f"{name} has no member {member}: these commands are of another version of aio")
                bits += found[0]
                field = found[1]
                inside = field.type
            width = getattr(field, "bitsize", 0)
            first = bits // 8
            self.of[member] = (first, first + (1 if width else field.type.sizeof), bits % 8, (1 << width) - 1)

    def offset(self, member):
        return self.of[member][0]

    def base(self, name):
        for field in fields_of(self.type):
            if field.is_base_class and without_abi(field.name) == name:
                return field.bitpos // 8
        raise Broken(f"{self.type} has no base class {name}")

    def get(self, memory, member):
        first, last, shift, mask = self.of[member]
        found = int.from_bytes(memory[first:last], self.target.order)
        return found >> shift & mask if mask else found


# -------------------------------------------------------------------------------------------------------------- names


def symbol_at(address):
    """The linker's name of what is at an address, without the offset; empty if there is none"""
    if not address:
        return ""
    try:
        line = gdb.execute(f"info symbol {address:#x}", to_string=True).strip()
    except gdb.error:
        return ""
    if line.startswith("No symbol"):
        return ""
    line = re.sub(r" in section .*$", "", line)
    line = re.sub(r" \+ \d+$", "", line)
    line = re.sub(r"@+[A-Z]+_[\w.]+$", "", line)  # the version that a library gave it
    return without_abi(line)


def without_abi(text):
    """Without the inline namespace of aio's version"""
    return re.sub(r"\baio::v\d+_\d+\w*::", "aio::", text)


def without_groups(text, opening, closing):
    """Without what is in brackets"""
    out, depth = [], 0
    for c in text:
        if c == opening:
            depth += 1
        elif c == closing and depth > 0:
            depth -= 1
        elif depth == 0:
            out.append(c)
    return "".join(out)


def function_name(symbol):
    """Of a coroutine's resume function, the name of the coroutine: without parameters, as compilers differ in them"""
    text = re.sub(r" \[clone [^]]*\]", "", symbol)
    text = re.sub(r"\[abi:[^]]*\]", "", text)
    text = text.replace("(anonymous namespace)::", "")
    text = re.sub(r"\$_\d+", "{lambda}", lambdas_named(text))
    text = text.replace("operator()", "operator@")
    text = re.sub(r"operator(<=>|<<|>>|->\*?|<=|>=|<|>)", lambda m: m[0].replace("<", "\1").replace(">", "\2"), text)
    text = without_groups(text, "(", ")")
    short = without_groups(text, "<", ">")
    if len(text) - len(short) > 40 or short.startswith("aio::"):
        text = short
    text = re.sub(r"( const| volatile| &&?| noexcept)+$", "", text.strip())
    text = text.replace("{lambda}::operator@", "{lambda}").replace("operator@", "operator()")
    # Behind the type of the result, which functions made of templates have
    depth = 0
    for at in range(len(text) - 1, -1, -1):
        depth += {">": 1, "}": 1, "<": -1, "{": -1}.get(text[at], 0)
        if text[at] == " " and depth == 0 and not text[:at].endswith("operator"):
            text = text[at + 1:]
            break
    return text.replace("\1", "<").replace("\2", ">")


def lambdas_named(text):
    """{lambda(int)#1} is {lambda}: Clang has other numbers, and other names for parameters"""
    out, at = [], 0
    while True:
        begin = text.find("{lambda(", at)
        if begin < 0:
            return "".join(out) + text[at:]
        out.append(text[at:begin] + "{lambda}")
        depth, end = 0, begin
        while end < len(text):
            depth += {"{": 1, "}": -1}.get(text[end], 0)
            end += 1
            if depth == 0:
                break
        at = end


OWN_FILE = re.compile(r"(^|/)aio/(detail/)?[^/]*\.hpp$")

WAITS = {
    "sleep_wait": "its sleep to end",
    "selected_sleep": "its sleep to end",
    "task_group::exit_awaiter": "the tasks of its task_group",
    "queue_base::waiter": "queue",
    "task_state": "a task",
    "future_state": "a future",
}


def wait_name(class_name):
    """What a task waits for, of the class of that"""
    short = without_groups(class_name, "<", ">").replace("(anonymous namespace)::", "")
    short = short.replace("aio::", "").replace("detail::", "")
    if short in WAITS:
        return WAITS[short]
    return re.sub(r"_(awaiter|waiter|wait|operation)$", "", short)


# -------------------------------------------------------------------------------------------------------------- tasks


class Frame:
    __slots__ = ("base", "next", "phase", "function", "file", "line", "resume")

    def place(self):
        return f"{self.file.rsplit('/', 1)[-1]}:{self.line}" if self.line else "??"

    def own(self):
        return bool(OWN_FILE.search(self.file))

    def text(self):
        return f"{self.function} ({self.place()})"


class Task:
    __slots__ = ("address", "number", "name", "loop", "state", "waits_at", "waits", "what", "owner", "created", "stack",
                 "trouble", "children", "parent", "started_by", "mark")

    def running(self):
        return self.state.startswith("running")


class Loop:
    __slots__ = ("address", "serial", "kind", "thread", "closed", "tasks", "trouble")


class Process:
    """The loops of the process as it is now, and their tasks"""

    def __init__(self):
        target = self.target = Target()
        p = target.pointer_size
        self.scheduler = Layout(target, "aio::detail::scheduler", "next_living_", "serial_", "tasks", "current",
                                "interrupted", "ready_", "batch_", "inbox_.newest_", "runs_on_", "closed_")
        self.core = Layout(target, "aio::detail::task_core", "resume_point_", "waiting_for_", "owner_",
                           "innermost_block_", "created_", "number_", "what_",
                           "status_.cancel_requests", "status_.uncancellable")
        self.base = Layout(target, "aio::detail::frame_base", "where", "continuation", "block_class", "phase",
                           "shifted", "task")
        self.block = Layout(target, "aio::detail::task_block", "extras")
        self.in_all = self.core.base("aio::detail::list_link<aio::detail::all_tasks_tag>")
        self.as_node = self.core.base("aio::detail::ready_node")
        node = Layout(target, "aio::detail::ready_node", "next", "what_")
        self.next_node = node.offset("next")
        kinds = {f.name.rsplit("::", 1)[-1]: f.enumval for f in type_of_name("aio::detail::node_kind").fields()}
        self.kinds = {value: name for name, value in kinds.items()}
        self.phases = {f.enumval: f.name.rsplit("::", 1)[-1]
                       for f in type_of_name("aio::detail::frame_phase").fields()}
        link = Layout(target, "aio::detail::list_link<aio::detail::all_tasks_tag>", "previous", "next")
        self.link_size, self.link = link.size, link
        self.symbols = {}  # what was found, for the next of the same
        self.places = {}
        self.classes = {}
        self.kinds_of_wait = {}
        self.names = None
        self.by_address = {}
        self.p = p
        self.loops = [self.loop(address) for address in self.living()]
        for loop in self.loops:
            self.read_tasks(loop)

    # ---- the loops

    def living(self):
        """The addresses of all loops that there are, oldest first"""
        try:
            at = int(in_version(gdb.parse_and_eval, "aio::detail::scheduler::living_"))
        except gdb.error:
            raise Broken("this program has no loop of aio, or was compiled without -g") from None
        found = []
        while at:
            if at in found or len(found) > 100_000:
                raise Broken(f"the list of loops is broken at {at:#x}")
            found.append(at)
            at = self.target.pointer(at + self.scheduler.offset("next_living_"))
        return sorted(found, key=lambda each: self.scheduler.get(read(each, self.scheduler.size), "serial_"))

    def loop(self, address):
        memory = read(address, self.scheduler.size)
        made = Loop()
        made.address = address
        made.serial = self.scheduler.get(memory, "serial_")
        made.kind = self.class_at(address)[0] or "a loop"
        made.closed = bool(self.scheduler.get(memory, "closed_"))
        runs_on = self.scheduler.get(memory, "runs_on_")
        made.thread = self.thread(runs_on) if runs_on else None
        made.tasks = []
        made.trouble = None
        return made

    def thread(self, number):
        for thread in gdb.selected_inferior().threads():
            try:
                if int.from_bytes(bytes(thread.handle()), self.target.order) == number:
                    return f"thread {thread.num}"
            except (gdb.error, RuntimeError, AttributeError, NotImplementedError):
                break
        return f"thread {number:#x}"

    def in_line(self, loop, memory):
        """The nodes that stand in line to run"""
        found = set()
        for queue in ("ready_", "batch_"):
            self.follow(self.target.number(memory, self.scheduler.offset(queue), self.p), found)
        newest = self.scheduler.get(memory, "inbox_.newest_")
        if newest != 1:  # as it is when the loop is closed
            self.follow(newest, found)
        return found

    def follow(self, node, found):
        node &= ~3
        while node:
            if node in found or len(found) > MOST_TASKS:
                raise Broken(f"what is in line to run is broken at {node:#x}")
            found.add(node)
            node = self.target.pointer(node + self.next_node) & ~3

    # ---- the tasks of one

    def read_tasks(self, loop):
        memory = read(loop.address, self.scheduler.size)
        try:
            in_line = self.in_line(loop, memory)
        except Broken as problem:
            loop.trouble = str(problem)
            in_line = set()
        running = {self.scheduler.get(memory, "current")}
        at, steps = self.scheduler.get(memory, "interrupted"), 0
        if at:
            step = Layout(self.target, "aio::detail::scheduler::interrupted_step", "task", "outer")
            while at and steps < 1000:
                inside = read(at, step.size)
                running.add(step.get(inside, "task"))
                at, steps = step.get(inside, "outer"), steps + 1
        end = loop.address + self.scheduler.offset("tasks")
        before, at = end, self.link.get(read(end, self.link_size), "next")
        try:
            while at != end:
                if len(loop.tasks) >= MOST_TASKS:
                    raise Broken("it has too many")
                task_memory = read(at - self.in_all, self.core.size)
                link = task_memory[self.in_all:self.in_all + self.link_size]
                if self.link.get(link, "previous") != before:
                    raise Broken(f"the link at {at:#x} does not lead back")
                task = self.task(loop, at - self.in_all, task_memory, in_line, running)
                loop.tasks.append(task)
                self.by_address[task.address] = task
                before, at = at, self.link.get(link, "next")
        except Broken as problem:
            loop.trouble = f"the list of tasks is broken after {len(loop.tasks)} of them: {problem}"

    def task(self, loop, address, memory, in_line, running):
        core = self.core
        made = Task()
        made.address = address
        made.loop = loop
        made.number = core.get(memory, "number_")
        made.name = self.given_name(core.get(memory, "innermost_block_")) or f"Task-{made.number}"
        made.owner = core.get(memory, "owner_")
        made.created = self.place(core.get(memory, "created_"))
        made.waits_at = core.get(memory, "waiting_for_")
        made.children, made.parent, made.started_by, made.mark = [], None, None, None
        made.waits, made.what = None, None
        kind = self.kinds.get(core.get(memory, "what_"))
        notes = []
        if address in running:
            made.state = "running"
        elif kind == "first_step":
            made.state = "not begun"
        elif kind == "never_started":
            made.state = "cancelled before it began"
        elif address + self.as_node in in_line:
            made.state = "ready"
        elif kind == "sleeper":
            made.state = "sleeping"
        else:
            made.state = "waiting"
        cancels = core.get(memory, "status_.cancel_requests")
        if cancels:
            notes.append("cancel requested" + (f" {cancels} times" if cancels > 1 else ""))
        if core.get(memory, "status_.uncancellable"):
            notes.append("uncancellable")
        if notes:
            made.state += f" ({', '.join(notes)})"
        made.stack, made.trouble = self.stack(address, core.get(memory, "resume_point_"))
        if made.waits_at and made.state.split(" ")[0] in ("waiting", "sleeping"):
            try:
                made.waits, made.what = self.waits_for(made.waits_at)
            except Broken:
                made.waits = f"something at {made.waits_at:#x}"
        return made

    def given_name(self, block):
        if not block:
            return None
        try:
            extras = self.target.pointer(block + self.block.offset("extras"))
            if not extras:
                return None
            if self.names is None:
                self.names = self.find_names()
            if not self.names:
                return None
            engaged, text, length = self.names
            if not read(extras + engaged, 1)[0]:
                return None
            count = self.target.pointer(extras + length)
            return read(self.target.pointer(extras + text), min(count, 200)).decode(errors="replace")
        except Broken:
            return None

    def find_names(self):
        """Where the name is: of libstdc++'s optional and string; else tasks go by their numbers"""
        name = find_field(type_of_name("aio::detail::task_extras"), "name")
        parts = name and [find_deep(name[1].type, part) for part in ("_M_engaged", "_M_p", "_M_string_length")]
        if not parts or None in parts:
            return ()
        return tuple((name[0] + part[0]) // 8 for part in parts)

    def place(self, location):
        """File, line, function of a std::source_location, which is a pointer"""
        found = self.places.get(location)
        if found is None:
            if not location:
                found = ("", 0, "")
            else:
                try:
                    file, function, line, _ = self.target.place.unpack(read(location, self.target.place.size))
                    found = (text_at(file), line, text_at(function))
                except Broken:
                    found = ("", 0, "")
            self.places[location] = found
        return found

    # ---- where it awaits

    def stack(self, task, base):
        """The frames, innermost first, and what is wrong with them"""
        found, seen = [], set()
        try:
            while base:
                if base in seen or len(found) > MOST_FRAMES:
                    raise Broken(f"the frame at {base:#x} awaits itself")
                seen.add(base)
                memory = read(base, self.base.size + 2 * self.p)
                if self.base.get(memory, "task") != task:
                    raise Broken(f"the frame at {base:#x} is none of this task")
                found.append(self.frame(base, memory))
                base = found[-1].next
        except Broken as problem:
            return found, str(problem)
        return found, None

    def frame(self, base, memory):
        made = Frame()
        made.base = base
        made.next = self.base.get(memory, "continuation")
        made.phase = self.phases.get(self.base.get(memory, "phase"), "?")
        made.file, made.line, named = self.place(self.base.get(memory, "where"))
        shifted = self.base.get(memory, "shifted")
        made.resume = self.target.number(memory, self.base.size + (self.p if shifted else 0), self.p)
        made.function = self.coroutine(made.resume) or named or "??"
        return made

    def coroutine(self, resume):
        found = self.symbols.get(resume)
        if found is None:
            found = self.symbols[resume] = function_name(symbol_at(resume))
        return found

    # ---- what it waits for, who started it

    def class_at(self, address):
        """The class of the object that has a base at that address, and where the object begins"""
        table = self.target.pointer(address)
        found = self.classes.get(table)
        if found is None:
            symbol = symbol_at(table)
            if symbol.startswith("vtable for "):
                to_top = self.target.pointer(table - 2 * self.p)
                if to_top >= 1 << (8 * self.p - 1):
                    to_top -= 1 << (8 * self.p)
                found = (symbol[len("vtable for "):], to_top)
            else:
                found = ("", 0)
            self.classes[table] = found
        return found[0], address + found[1]

    def waits_for(self, address):
        """In words, and the address of what it is"""
        name, begin = self.class_at(address)
        if not name:
            return f"something at {address:#x}", None
        known = self.kinds_of_wait.get(name)
        if known is None:
            known = self.kinds_of_wait[name] = self.kind_of_wait(name)
        words, owner, end, ends = known
        if end is not None:
            words = f"{words}::{ends.get(read(begin + end, 1)[0], 'get')}"
        return words, self.target.pointer(begin + owner) if owner is not None else None

    @staticmethod
    def kind_of_wait(name):
        """Of a class: words, where it refers to what is waited for, and at which end of a queue; None if it does not"""
        words, owner, end, ends = wait_name(name), None, None, {}
        try:
            kind = type_of_name(name)
            field = find_field(kind, "owner_")
            if field and field[1].type.strip_typedefs().code in (gdb.TYPE_CODE_PTR, gdb.TYPE_CODE_REF):
                owner = field[0] // 8
            field = find_field(kind, "end_") if words == "queue" else None
            if field:
                last = field[1].type.sizeof - 1 if Target().order == "big" else 0
                end = field[0] // 8 + last
                ends = {f.enumval: f.name.rsplit("::", 1)[-1] for f in fields_of(field[1].type)}
        except gdb.error:
            pass
        return words, None if name.startswith("aio::task_group::") else owner, end, ends

    def words_of_wait(self, task, with_object=True):
        if not task.waits:
            return ""
        other = self.by_address.get(task.waits_at)
        if other:
            return other.name
        return task.waits + (f" of {task.what:#x}{self.holder(task)}" if with_object and task.what else "")

    def holder(self, task):
        """Of a lock that a task waits for: ", held by" who acquired it last, unless that has ended"""
        if task.waits != "lock::acquire":
            return ""
        try:
            at = find_field(type_of_name("aio::lock"), "holder_")[0] // 8
            number = self.target.number(read(task.what + at, 8), 0, 8)
        except (gdb.error, TypeError, Broken):
            return ""
        found = [each.name for each in self.by_address.values() if each.number == number]
        return f", held by {found[0]}" if found else ""

    def find_parents(self):
        waiting = {}
        for task in self.by_address.values():
            if task.waits_at:
                try:
                    waiting[self.class_at(task.waits_at)[1]] = task
                except Broken:
                    pass
        frames = sorted((frame.base, task) for task in self.by_address.values() for frame in task.stack
                        ) if any(task.owner for task in self.by_address.values()) else []
        bases = [base for base, _ in frames]
        parent_in_group, starters = None, {}
        for task in self.by_address.values():
            if not task.owner:
                continue
            try:
                name, begin = self.class_at(task.owner)
                if name not in starters:
                    starters[name] = without_groups(name, "<", ">")
                task.started_by = starters[name] or f"something at {task.owner:#x}"
                if name == "aio::task_group":
                    if parent_in_group is None:
                        parent_in_group = find_field(type_of_name(name), "parent_")[0] // 8
                    parent = self.by_address.get(self.target.pointer(begin + parent_in_group))
                elif begin in waiting:
                    parent = waiting[begin]
                else:
                    at = bisect.bisect_right(bases, begin) - 1
                    parent = frames[at][1] if at >= 0 and begin < bases[at] + self.block_size(bases[at]) else None
                if parent is not task:
                    task.parent = parent
            except Broken:
                pass
        for task in self.by_address.values():  # those that nobody owns are with who awaits them
            awaited = self.by_address.get(task.waits_at)
            if awaited and not awaited.owner and not awaited.parent and awaited is not task:
                awaited.parent = task
                awaited.started_by = None
        for task in self.by_address.values():
            if task.parent:
                task.parent.children.append(task)

    def frame_around(self, address):
        """The coroutine in whose frame something is, and its task; None if it is elsewhere"""
        best = None
        for task in self.by_address.values():
            for frame in task.stack:
                if frame.base < address and (best is None or best[0].base < frame.base):
                    best = (frame, task)
        if best and address < best[0].base + self.block_size(best[0].base):
            return best[0].function, best[1].name
        return None

    def block_size(self, base):
        """From there to the end of the block; too large by that of the result"""
        # frame_pool: sizes of 24 bytes and 16 more for each class; nothing is known of the last
        index = self.base.get(read(base, self.base.size), "block_class")
        return 24 + 16 * index - self.core.size if index < 256 else 64 * 1024


# ----------------------------------------------------------------------------------------------------------- commands


def created(task):
    file, line, _ = task.created
    if not line or OWN_FILE.search(file):
        return ""
    return f"created at {file.rsplit('/', 1)[-1]}:{line}"


def loop_line(loop):
    count = len(loop.tasks)
    where = f"run by {loop.thread}" if loop.thread else "closed" if loop.closed else "does not run"
    return f"loop {loop.serial} ({loop.kind} at {loop.address:#x}), {where}: {count} task{'' if count == 1 else 's'}"


def innermost(task):
    """Where it awaits: the innermost frame that is not aio's own"""
    for frame in task.stack:
        if not frame.own() and frame.line:
            return frame
    return task.stack[0] if task.stack else None


def show(line):
    try:
        gdb.write(line + "\n")
    except UnicodeError:  # gdb's own character set
        gdb.write(line.encode("ascii", "backslashreplace").decode() + "\n")


class Aio(gdb.Command):
    """The tasks of aio: aio tasks, aio tree, aio bt TASK."""

    def __init__(self):
        super().__init__("aio", gdb.COMMAND_STACK, gdb.COMPLETE_NONE, True)


class AioCommand(gdb.Command):
    def __init__(self, name):
        super().__init__("aio " + name, gdb.COMMAND_STACK)

    def invoke(self, argument, from_tty):
        self.dont_repeat()
        Pages.kept = {}
        language = gdb.parameter("language")
        gdb.execute("set language c++", to_string=True)  # the frame may be one of C
        try:
            self.run(argument.strip())
        except Broken as problem:
            raise gdb.GdbError(f"aio: {problem}") from None
        finally:
            Pages.kept = None
            gdb.execute(f"set language {language}", to_string=True)


class AioTasks(AioCommand):
    """The unfinished tasks of every loop, a line for each: aio tasks [COUNT].

Number, name, state, where it was created, the innermost await that is not aio's own, and what it waits for.
Of a loop with more than 1,000 tasks, or COUNT, the others are counted."""

    def __init__(self):
        super().__init__("tasks")

    def run(self, argument):
        most = int(argument) if argument.isdigit() else LINES_OF_TASKS
        process = Process()
        if not process.loops:
            show("no loop of aio is there")
        for loop in process.loops:
            show(loop_line(loop))
            for task in loop.tasks[:most]:
                parts = [task.state]
                if created(task):
                    parts.append(created(task))
                frame = innermost(task)
                if frame:
                    begun = frame.phase in ("entered", "cleaning_up", "ended", "gone")
                    words = "begins in" if not begun else "last awaited in" if task.running() else "awaits in"
                    parts.append(f"{words} {frame.text()}")
                if task.waits:
                    parts.append("for " + process.words_of_wait(task))
                show(f"  {task.number}  {task.name}  {', '.join(parts)}")
            if len(loop.tasks) > most:
                show(f"  and {len(loop.tasks) - most} more: aio tasks {len(loop.tasks)}")
            if loop.trouble:
                show(f"  {loop.trouble}")


class AioTree(AioCommand):
    """Who started whom, and the awaits that each task is in, outermost first, down to what it waits for: aio tree.

Below a task are those of its groups and gatherings, and those without an owner that it awaits. Those that stand at one
place and look alike are one entry with a count. Coroutines of aio itself are left out."""

    def __init__(self):
        super().__init__("tree")

    def run(self, argument):
        process = Process()
        process.find_parents()
        if not process.loops:
            show("no loop of aio is there")
        for loop in process.loops:
            show(loop_line(loop))
            numbers = {}
            roots = [task for task in loop.tasks if not task.parent]
            self.number(roots, numbers, process)
            self.print(roots, process)
            rings = [task for task in loop.tasks if task.mark is None]
            if rings:
                show(f"  {len(rings)} tasks in rings, or below them, that await each other:")
                for task in rings[:LINES_OF_STACK]:
                    show(f"    {task.name} waits for {process.words_of_wait(task)}")
                if len(rings) > LINES_OF_STACK:
                    show(f"    and {len(rings) - LINES_OF_STACK} more")
            if loop.trouble:
                show(f"  {loop.trouble}")

    def number(self, roots, numbers, process):
        """Gives tasks that look alike, with all that is below them, the same mark."""
        order = list(roots)
        for task in order:  # grows
            order.extend(task.children)
        for task in reversed(order):
            below = {}
            for child in task.children:
                below[child.mark] = below.get(child.mark, 0) + 1
            looks = (self.title(task), tuple(self.lines(task)), self.waits(task, process), tuple(sorted(below.items())))
            task.mark = numbers.setdefault(looks, len(numbers))

    @staticmethod
    def title(task):
        notes = [] if task.state in ("waiting", "sleeping") else [task.state.replace("waiting (", "(")]
        if task.started_by and not task.parent:
            notes.append(f"of {task.started_by}")
        return tuple(notes)

    def lines(self, task):
        frames = [frame.text() for frame in reversed(task.stack) if not frame.own()]
        lines, count = [], 0  # each that awaits itself is one
        for at, text in enumerate(frames or [frame.text() for frame in reversed(task.stack)]):
            count += 1
            if at + 1 >= len(frames) or frames[at + 1] != text:
                lines.append(text if count == 1 else f"{count} x {text}")
                count = 0
        if len(lines) > LINES_OF_STACK:
            half = LINES_OF_STACK // 2
            lines[half:-half] = [f"... {len(lines) - 2 * half} frames more"]
        if task.trouble:
            lines.insert(0, f"broken: {task.trouble}")
        return lines

    @staticmethod
    def waits(task, process):
        if not task.waits:
            return ""
        other = process.by_address.get(task.waits_at)
        return "a task" if other else task.waits

    def print(self, roots, process):
        work = [(each, 1) for each in reversed(self.groups(roots))]
        while work:
            group, depth = work.pop()
            task = group[0]
            indent = "  " * min(depth, DEEPEST)
            names = ", ".join(each.name for each in group[:3])
            if len(group) > 1:
                more = f", ... {group[-1].name}" if len(group) > 3 else ""
                names = f"{len(group)} x {names}{more}"
            notes = ", ".join(self.title(task))
            show(indent + names + (("" if notes.startswith("(") else ",") + " " + notes if notes else ""))
            for line in self.lines(task):
                show(f"{indent}    {line}")
            if task.waits:
                show(f"{indent}    waits for {self.words(group, process)}")
            below = [child for each in group for child in each.children]
            work.extend((each, depth + 1) for each in reversed(self.groups(below)))

    @staticmethod
    def groups(tasks):
        """Those that look alike, in the order of the first of each"""
        found = {}
        for task in tasks:
            found.setdefault(task.mark, []).append(task)
        return list(found.values())

    @staticmethod
    def words(group, process):
        if len(group) == 1 or len({(each.waits, each.what, each.waits_at if each.waits_at in process.by_address else 0)
                                   for each in group}) == 1:
            return process.words_of_wait(group[0])
        if group[0].waits_at in process.by_address:
            return "a task each"
        objects = sorted({each.what for each in group if each.what})
        if len(objects) <= 3:
            return group[0].waits + " of " * bool(objects) + ", ".join(f"{each:#x}" for each in objects)
        return f"{group[0].waits} of {len(objects)} objects"


class AioBt(AioCommand):
    """The awaits that a task is in, innermost first, as bt does for calls: aio bt TASK [COUNT].

TASK is a number, a name, or the address of a task or of one of its frames. COUNT is how many frames are printed."""

    def __init__(self):
        super().__init__("bt")

    def run(self, argument):
        if not argument:
            raise gdb.GdbError("aio bt: of which task? By its number, name or address: see aio tasks")
        process = Process()
        most = LINES_OF_BT
        found = self.find(process, argument)
        if not found and re.search(r" \d+$", argument):
            argument, count = argument.rsplit(" ", 1)
            most = int(count)
            found = self.find(process, argument.strip())
        if not found:
            raise gdb.GdbError(f"aio bt: there is no unfinished task {argument}")
        for task in found[:20]:
            self.show_stack(process, task, most)
        if len(found) > 20:
            show(f"and {len(found) - 20} more of that name")

    @staticmethod
    def find(process, text):
        tasks = process.by_address.values()
        found = [task for task in tasks if task.name == text]
        if not found and text.isdigit():
            found = [task for task in tasks if task.number == int(text)]
        if not found and re.fullmatch(r"0x[0-9a-fA-F]+|\$.*", text):
            address = int(gdb.parse_and_eval(text))
            found = [task for task in tasks
                     if task.address == address
                     or any(address in (frame.base, frame.base + process.base.size) for frame in task.stack)]
        return found

    @staticmethod
    def show_stack(process, task, most):
        words = [f"{task.name} (number {task.number}, at {task.address:#x})", task.state]
        if created(task):
            words.append(created(task))
        show(", ".join(words))
        if task.waits:
            owner = process.frame_around(task.what) if task.what else None
            where = f", in the frame of {owner[0]} of {owner[1]}" if owner else ""
            show(f"    waits for {process.words_of_wait(task)}{where}")
        elif task.running():
            show("    runs: what is inside of this is on the stack of its thread")
        for index, frame in enumerate(task.stack[:most]):
            address = frame.base + process.base.size
            begun = "" if frame.phase in ("entered",) else f" ({frame.phase})"
            show(f"#{index:<3}{address:#018x} in {frame.function} at {frame.file or '??'}:{frame.line}{begun}")
        if len(task.stack) > most:
            show(f"(and {len(task.stack) - most} more: aio bt {task.number} {len(task.stack)})")
        if task.trouble:
            show(f"broken: {task.trouble}")


# ----------------------------------------------------------------------------------------------------- pretty printers


def class_words(kind):
    """The name of a type, in which a string is std::string"""
    name = re.sub(r"\b(class|struct) ", "", without_abi(str(kind.strip_typedefs().unqualified())))  # there in C
    return re.sub(r"std::(__cxx11::|__1::)?basic_string<char, std::(__1::)?char_traits<char>, "
                  r"std::(__1::)?allocator<char> ?>( (?=[>,]))?", "std::string", name)


def safely(what, *args):
    """what(*args), or a word about why not: a printer does not fail where memory is not what it was"""
    try:
        return what(*args)
    except (Broken, gdb.error) as problem:
        return f"<{problem}>"


class TaskPrinter:
    def __init__(self, value):
        self.value = value

    def to_string(self):
        frame = int(self.value["frame_"])
        name = short_class(self.value)
        if not frame:
            return f"{name}, empty: it was awaited or moved away"
        return f"{name} of {safely(self.describe, frame)}"

    @staticmethod
    def describe(frame):
        target = Target()
        base = Layout(target, "aio::detail::frame_base", "where", "phase", "shifted")
        memory = read(frame, base.size + 2 * target.pointer_size)
        shifted = target.pointer_size if base.get(memory, "shifted") else 0
        resume = target.number(memory, base.size + shifted, target.pointer_size)
        location = base.get(memory, "where")
        file, function, line, _ = target.place.unpack(read(location, target.place.size))
        name = function_name(symbol_at(resume)) or without_abi(text_at(function))
        return f"{name} ({text_at(file).rsplit('/', 1)[-1]}:{line})"


def short_class(value):
    """aio::task<int>, but aio::task<...> where that is long"""
    name = class_words(value.type)
    return name if len(name) <= 60 else without_groups(name, "<", ">") + "<...>"


class HandlePrinter:
    """A task_handle or any_task_handle"""

    def __init__(self, value):
        self.value = value
        member = "core_" if find_field(value.type, "core_") else "state_"
        self.pointer = value[member]["state_"]
        self.state = int(self.pointer)

    def to_string(self):
        name = short_class(self.value)
        if not self.state:
            return f"{name}, empty: it was moved away or never set"
        return f"{name} of {safely(self.describe)}"

    def core(self):
        return gdb.Value(self.state).cast(type_of_name("aio::detail::task_core").pointer()).dereference()

    def outcome(self):
        return str(self.core()["status_"]["state"]).rsplit("::", 1)[-1]

    def describe(self):
        core = self.core()
        number = int(core["number_"])
        name = f"Task-{number}"
        block = int(core["innermost_block_"])
        if block:
            process = Process.__new__(Process)  # only what given_name() needs
            process.target, process.names = Target(), None
            process.block = Layout(process.target, "aio::detail::task_block", "extras")
            name = process.given_name(block) or name
        outcome = self.outcome()
        if outcome == "error":
            return f"{name}, failed with {error_words(core['error_'])}"
        words = {"pending": "not done", "value": "done", "cancelled": "cancelled"}.get(outcome, outcome)
        if outcome == "value" and core["status_"]["value_taken"]:
            words += ", its value was taken"
        return f"{name}, {words}"

    def children(self):
        found = safely(self.value_of)
        if isinstance(found, gdb.Value):
            yield "value", found

    def value_of(self):
        """The value that stands before the task, see block_layout"""
        if not self.state or find_field(self.value.type, "core_") or self.outcome() != "value":
            return None
        if self.core()["status_"]["value_taken"]:
            return None
        of = self.value.type.strip_typedefs().template_argument(0).strip_typedefs()
        if of.code == gdb.TYPE_CODE_VOID:
            return None
        reference = of.code in (gdb.TYPE_CODE_REF, gdb.TYPE_CODE_RVALUE_REF)
        core = type_of_name("aio::detail::task_core").sizeof
        base = type_of_name("aio::detail::frame_base").sizeof
        stored = of.target().pointer() if reference else of
        if not reference and getattr(of, "alignof", 0) > 16:
            stored = of.pointer()
        size = (stored.sizeof + 15) // 16 * 16 + (16 - (core + base) % 16) % 16
        found = gdb.Value(self.state - size).cast(stored.pointer()).dereference()
        return found if stored is of else found.dereference()


def error_words(pointer):
    """The type of the exception in a std::exception_ptr, and its what() where the standard library keeps that"""
    return safely(describe_error, pointer)


def describe_error(pointer):
    field = find_field(pointer.type, "_M_exception_object")
    if not field:
        return "an error"
    target = Target()
    begin = int(pointer["_M_exception_object"])
    if not begin:
        return "no error"
    if target.pointer_size != 8:
        return f"the error at {begin:#x}"
    # Of __cxa_exception, which stands before the object and begins with its type
    symbol = symbol_at(target.pointer(begin - 112))
    if not symbol.startswith("typeinfo for "):
        return f"the error at {begin:#x}"
    name = symbol[len("typeinfo for "):]
    if name in WITH_TEXT or derives(name, WITH_TEXT):
        return f'{name}("{text_at(target.pointer(begin + target.pointer_size), 200)}")'
    return name


# Their text is the first member behind the table of functions; what is derived from them is found by its type.
WITH_TEXT = ("std::runtime_error", "std::logic_error", "std::invalid_argument", "std::out_of_range",
             "std::length_error", "std::domain_error", "std::range_error", "std::overflow_error",
             "std::underflow_error")


def derives(name, names, depth=8):
    """Whether one of `names` is a base class, at the beginning"""
    try:
        kind = type_of_name(name)
    except gdb.error:
        return False  # Clang describes classes of libraries only where it is told so
    for field in fields_of(kind):
        if field.is_base_class and field.bitpos == 0 and depth > 0:
            return field.name in names or derives(field.name, names, depth - 1)
    return False


class ResultPrinter:
    def __init__(self, value):
        self.value = value
        self.variant = value["state_"]
        found = find_field(self.variant.type, "_M_index")
        self.index = int(self.variant["_M_index"]) if found else None

    def to_string(self):
        name = short_class(self.value)
        if self.index is None:
            return f"{name} {self.variant}"
        if self.index == 0:
            of = self.value.type.strip_typedefs().template_argument(0)
            return f"{name} with a value" if of.strip_typedefs().code != gdb.TYPE_CODE_VOID else f"{name}, done"
        if self.index == 1:
            return f"{name} with {error_words(self.alternative(1))}"
        return f"{name} of nothing: an assignment to it threw"

    def alternative(self, index):
        at = self.variant["_M_u"]
        for _ in range(index):
            at = at["_M_rest"]
        found = at["_M_first"]["_M_storage"]
        kind = gdb.lookup_type("std::__exception_ptr::exception_ptr") if index == 1 else self.stored()
        if found.type.strip_typedefs() == kind.strip_typedefs():
            return found
        return gdb.Value(int(found.address)).cast(kind.pointer()).dereference()

    def stored(self):
        return self.variant.type.strip_typedefs().template_argument(0)

    def children(self):
        if self.index != 0:
            return
        of = self.value.type.strip_typedefs().template_argument(0).strip_typedefs()
        if of.code == gdb.TYPE_CODE_VOID:
            return
        found = safely(self.alternative, 0)
        if isinstance(found, gdb.Value) and of.code in (gdb.TYPE_CODE_REF, gdb.TYPE_CODE_RVALUE_REF):
            found = found["_M_data"].dereference()
        yield "value", found


def elements(vector, kind=None):
    """Where a std::vector has its elements: (first, count); None if it is not one that is known"""
    if find_field(vector.type, "_M_impl"):
        first, last = vector["_M_impl"]["_M_start"], vector["_M_impl"]["_M_finish"]
    elif find_field(vector.type, "__begin_"):
        first, last = vector["__begin_"], vector["__end_"]
    else:
        return None
    count = int(last - first)
    return (first, count) if 0 <= count < MOST_TASKS else None


def string_words(string):
    """A std::string of libstdc++"""
    if not find_field(string.type, "_M_string_length"):
        return str(string)
    count = min(int(string["_M_string_length"]), 1000)
    return read(int(string["_M_dataplus"]["_M_p"]), count).decode(errors="replace")


class GroupPrinter:
    """An exception_group"""

    def __init__(self, value):
        self.value = value
        shared = value["shared_"]
        member = next((each for each in ("_M_ptr", "__ptr_") if find_field(shared.type, each)), None)
        self.inside = shared[member] if member else None

    def to_string(self):
        if self.inside is None:
            return "aio::exception_group"
        if not int(self.inside):
            return "aio::exception_group, empty: it was moved away"
        return safely(self.describe)

    def describe(self):
        inside = self.inside.dereference()
        found = elements(inside["exceptions"])
        count = found[1] if found else "?"
        return f'aio::exception_group "{string_words(inside["message"])}" of {count} error{"" if count == 1 else "s"}'

    def children(self):
        if self.inside is None or not int(self.inside):
            return
        found = safely(elements, self.inside.dereference()["exceptions"])
        if isinstance(found, tuple):
            first, count = found
            for index in range(count):
                yield f"[{index}]", error_words((first + index).dereference())


class QueuePrinter:
    """A queue, lifo_queue or priority_queue: its items in the order in which they stand in memory"""

    def __init__(self, value):
        self.value = value
        self.items = value["items_"]
        self.ring = find_field(self.items.type, "places_") is not None

    def to_string(self):
        kind = str(self.value.type.strip_typedefs().template_argument(1).strip_typedefs())
        name = ("aio::queue" if "fifo_items" in kind else "aio::lifo_queue" if "lifo_items" in kind else
                "aio::priority_queue" if "smallest_first" in kind else "aio::basic_queue")
        of = class_words(self.value.type.strip_typedefs().template_argument(0))
        count = int(self.value["count_"])
        words = f"{name}<{of}> of " + (f"{count} item{'' if count == 1 else 's'}" if count else "no items")
        if int(self.value["maxsize_"]):
            words += f", at most {int(self.value['maxsize_'])}"
        if self.value["shut_down_"]:
            words += ", shut down"
        return words

    def children(self):
        try:
            yield from self.all_of_them()
        except (Broken, gdb.error) as problem:
            yield "broken", str(problem)

    def all_of_them(self):
        if self.ring:
            first, capacity = int(self.items["first_"]), int(self.items["capacity_"])
            places, count = self.items["places_"], int(self.items["count_"])
            if count > capacity or (capacity and capacity & (capacity - 1)):
                raise Broken(f"{count} items in {capacity} places")
            for index in range(count):
                yield f"[{index}]", self.item(places + ((first + index) & (capacity - 1)))
        else:
            found = elements(self.items["items_"])
            if found:
                for index in range(found[1]):
                    yield f"[{index}]", self.item(found[0] + index)

    @staticmethod
    def item(place):
        """Of an item_place: there, or where its pointer leads"""
        item = place.dereference()["item_"]
        of = place.dereference().type.strip_typedefs().template_argument(0)
        if item.type.strip_typedefs().unqualified() == of.strip_typedefs().unqualified():
            return item
        return gdb.Value(Target().pointer(int(item.address))).cast(of.pointer()).dereference()


OURS = r"^aio::(?:v\d+_\d+\w*::)?"


def printers():
    made = gdb.printing.RegexpCollectionPrettyPrinter("aio")
    made.add_printer("task", OURS + "task<.*>$", TaskPrinter)
    made.add_printer("task_handle", OURS + "task_handle<.*>$", HandlePrinter)
    made.add_printer("any_task_handle", OURS + "any_task_handle$", HandlePrinter)
    made.add_printer("result", OURS + "result<.*>$", ResultPrinter)
    made.add_printer("exception_group", OURS + "exception_group$", GroupPrinter)
    made.add_printer("queue", OURS + "detail::basic_queue<.*>$", QueuePrinter)
    return made


gdb.printing.register_pretty_printer(None, printers(), replace=True)
Aio()
AioTasks()
AioTree()
AioBt()
