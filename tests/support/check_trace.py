#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Whether a file is a trace in Chrome's trace event format, as a viewer wants it:
https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU

    check_trace.py FILE [TEXT...]       each TEXT has to stand in the name of a track or a slice
    check_trace.py --run PROGRAM...     runs the program, which writes the file that "{}" among its arguments stands for
    check_trace.py --self-test          shows that it would notice
"""

import collections
import json
import os
import subprocess
import sys
import tempfile

PHASES = set("XsfMiC")
MANDATORY = {"X": ("name", "ts", "dur", "pid", "tid"), "s": ("id", "ts", "pid", "tid", "cat", "name"),
             "f": ("id", "ts", "pid", "tid", "cat", "name"), "M": ("name", "pid", "args"),
             "i": ("name", "ts", "pid", "tid"), "C": ("name", "ts", "pid", "args")}


def nanoseconds(number):
    return round(number * 1000)


def complaints(events):
    """What is wrong, in sentences."""
    if isinstance(events, dict):
        events = events.get("traceEvents")
    if not isinstance(events, list):
        return ["there is no array of events"]
    wrong = []
    slices, starts, ends, names = collections.defaultdict(list), {}, {}, {}
    for number, event in enumerate(events):
        phase = event.get("ph")
        if phase not in PHASES:
            wrong.append(f"event {number} has the phase {phase!r}")
            continue
        missing = [key for key in MANDATORY[phase] if key not in event]
        if missing:
            wrong.append(f"event {number}, of phase {phase}, has no {', '.join(missing)}")
            continue
        negative = [key for key in ("ts", "dur") if key in event and not event[key] >= 0]
        if negative:
            wrong.append(f"event {number} has a negative {negative[0]}")
        track = (event["pid"], event.get("tid"))
        if phase == "M" and event["name"] == "thread_name":
            names[track] = event["args"]["name"]
        elif phase == "X":
            begin = nanoseconds(event["ts"])
            slices[track].append((begin, begin + nanoseconds(event["dur"]), event["name"]))
        elif phase in "sf":
            known = starts if phase == "s" else ends
            if event["id"] in known:
                wrong.append(f"arrow {event['id']} has two events of phase {phase}")
            known[event["id"]] = (nanoseconds(event["ts"]), track)
    for track, all_of_it in slices.items():
        if track not in names:
            wrong.append(f"track {track} has no name")
        before = None
        for piece in sorted(all_of_it):
            if before and piece[0] < before[1]:
                wrong.append(f"track {track}: {piece} begins before {before} is over")
            before = piece

    def on_slice(at, track):
        return any(begin <= at <= end for begin, end, _ in slices[track])

    # A track can have very many slices, so that only some arrows are looked for there.
    for number, (at, track) in list(starts.items())[:500]:
        if not on_slice(at, track):
            wrong.append(f"arrow {number} begins where there is no slice")
    for number, (at, track) in ends.items():
        if number not in starts:
            wrong.append(f"arrow {number} does not begin")
        elif starts[number][0] > at:
            wrong.append(f"arrow {number} goes back in time")
    for number, (at, track) in list(ends.items())[:500]:
        if not on_slice(at, track):
            wrong.append(f"arrow {number} ends where there is no slice")
    if not slices:
        wrong.append("there are no slices")
    return wrong


def texts(events):
    for event in events:
        yield str(event.get("name"))
        if event["ph"] == "M":
            yield str(event["args"].get("name"))


def check(path, wanted):
    with open(path, encoding="utf-8") as file:
        events = json.load(file)
    wrong = complaints(events)
    there = set(texts(events))
    wrong += [f"nothing is called {text!r}" for text in wanted if not any(text in each for each in there)]
    count = collections.Counter(event["ph"] for event in events)
    print(f"{len(events)} events: " + ", ".join(f"{count[phase]} {phase}" for phase in sorted(count)))
    return wrong


def self_test():
    def trace(**changes):
        events = {"name": {"ph": "M", "pid": 1, "tid": 1, "name": "thread_name", "args": {"name": "t"}},
                  "slice": {"ph": "X", "pid": 1, "tid": 1, "ts": 0.0, "dur": 2.0, "name": "a"},
                  "next": {"ph": "X", "pid": 1, "tid": 1, "ts": 2.0, "dur": 1.0, "name": "b"},
                  "start": {"ph": "s", "pid": 1, "tid": 1, "ts": 1.0, "id": 1, "cat": "c", "name": "n"},
                  "end": {"ph": "f", "pid": 1, "tid": 1, "ts": 2.0, "id": 1, "cat": "c", "name": "n"}}
        for key, change in changes.items():
            events[key] = {**events[key], **change}
        return list(events.values())

    cases = [("a good trace", trace(), 0),
             ("a good trace as an object", {"traceEvents": trace()}, 0),
             ("slices that overlap", trace(next={"ts": 1.0}), 1),
             ("an arrow to nowhere", trace(end={"tid": 2}), 1),
             ("an arrow back in time", trace(start={"ts": 2.5}), 1),
             ("an arrow without a beginning", trace(end={"id": 2}), 1),
             ("a phase that there is not", trace(slice={"ph": "Q"}), 1),
             ("a slice without a length", [{k: v for k, v in e.items() if k != "dur" or e["name"] != "b"}
                                           for e in trace()], 1),
             ("a track without a name", trace(name={"tid": 7}), 1),
             ("no array", 3, 1)]
    bad = 0
    for name, events, count in cases:
        found = complaints(events)
        ok = len(found) >= 1 if count else not found
        bad += not ok
        print(f"{'ok  ' if ok else 'FAIL'}  {name}: {found}")
    return bad == 0


def main():
    arguments = sys.argv[1:]
    if arguments == ["--self-test"]:
        sys.exit(0 if self_test() else "check_trace.py does not notice")
    if arguments[:1] == ["--run"]:
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "trace.json")
            command = [path if each == "{}" else each for each in arguments[1:]]
            done = subprocess.run(command, stdout=subprocess.PIPE, timeout=60, check=False)
            if done.returncode != 0:
                sys.exit(f"{command[0]} ended with {done.returncode}")
            wrong = check(path, [])
    else:
        wrong = check(arguments[0], arguments[1:])
    if wrong:
        sys.exit("\n".join(wrong[:20]))


if __name__ == "__main__":
    main()
