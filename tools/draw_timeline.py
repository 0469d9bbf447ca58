#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Draws a trace of aio::trace_writer as SVG, to be read on white and on black.

    draw_timeline.py TRACE > timeline.svg
    draw_timeline.py TRACE --tracks 24 --until 800 --title "fetch, 100 pages"
    draw_timeline.py TRACE --few        a small trace, all of which is to be seen

Viewers such as ui.perfetto.dev show all of it, and this what fits on a page: the first tracks, each with its steps
(dark), what it waits for in between, and arrows from who wakes to who is woken. With --few rows are higher, requests
to cancel are drawn as well, a cancelled end is told from a failed one, and tasks have their names alone.
"""

import argparse
import collections
import html
import json
import re

STYLE = """<style>
  text { font: 12px system-ui, sans-serif; fill: #57606a; }
  .strong { font-weight: 600; }
  .grid { stroke: #57606a; stroke-opacity: .3; stroke-width: 1; }
  .step { fill: #24292f; }
  .ready { fill: #cf222e; }
  .arrow { stroke: #8250df; stroke-opacity: .55; stroke-width: 1; fill: none; }
  .end { stroke: #cf222e; stroke-width: 2; fill: none; }
  .asked { stroke: #bf3989; stroke-width: 2; fill: none; }
  @media (prefers-color-scheme: dark) {
    text { fill: #c9d1d9; }
    .grid { stroke: #c9d1d9; }
    .step { fill: #f0f6fc; }
    .ready { fill: #ff7b72; }
    .arrow { stroke: #d2a8ff; }
    .end { stroke: #ff7b72; }
    .asked { stroke: #f778ba; }
  }
</style>"""
# Of what is waited for, the commonest first; they have to be told apart on both backgrounds.
COLOURS = ["#2f81f7", "#d29922", "#3fb950", "#a371f7", "#f0883e", "#8b949e"]
LEFT, ROW, BAR, WIDTH, TOP = 190, 17, 9, 1000, 64
# Marks: what happened -> how it is drawn around a point, and its class.
RING = "m-4 0a4 4 0 1 0 8 0a4 4 0 1 0 -8 0"
MARKS = {"cancel requested": (RING, "asked"), "is cancelled": (RING + "m1.2 -2.8l5.6 5.6", "asked"),
         "fails": ("m-4 -5l8 10m0 -10l-8 10", "end")}


def read(path, few):
    with open(path, encoding="utf-8") as file:
        events = json.load(file)
    names = {}
    slices = collections.defaultdict(list)
    for event in events:
        track = (event["pid"], event.get("tid"))
        if event["ph"] == "M" and event["name"] == "thread_name":
            names[track] = event["args"]["name"]
            if few:
                name, _, function = names[track].partition(" ")
                names[track] = function if re.fullmatch(r"Task-\d+", name) else name
        elif event["ph"] == "X":
            slices[track].append(event)
    return events, names, slices


def ticks(length):
    """Steps of 1, 2 or 5 with a unit; at most twelve."""
    step = 1
    while length / step > 12:
        step *= 2.5 if str(step)[0] == "2" else 2
    return [step * i for i in range(int(length / step) + 1)]


def mark(event, few):
    """How an event is marked, if it is: around a point, and its class."""
    if event["ph"] != "i" or (event["name"] == "cancel requested" and not few):
        return None
    return MARKS.get(event["name"] if few else "fails")


def legend(at, looks, marks):
    """What colours and marks mean, from `at` on."""
    parts = []
    for name, look in looks:
        parts.append(f'<rect x="{at:.0f}" y="26" width="10" height="10" {look}/>'
                     f'<text x="{at + 14:.0f}" y="35">{html.escape(name)}</text>')
        at += 28 + 6.6 * len(name)
    for name in marks:
        shape, look = MARKS[name]
        parts.append(f'<path class="{look}" d="M{at + 5:.0f} 31{shape}"/><text x="{at + 14:.0f}" y="35">{name}</text>')
        at += 28 + 6.6 * len(name)
    return parts


def draw(given):
    row, bar = (26, 13) if given.few else (ROW, BAR)
    events, names, slices = read(given.trace, given.few)
    wanted = [track for track in sorted(names) if slices[track] and given.only in names[track]][:given.tracks]
    last = max(piece["ts"] + piece["dur"] for track in wanted for piece in slices[track]) / 1000
    until = min(given.until or last, last)
    scale = (WIDTH - LEFT - 30) / until
    rows = {track: TOP + row * index for index, track in enumerate(wanted)}

    def x(microseconds):
        return LEFT + min(microseconds / 1000, until) * scale

    waits = collections.Counter()
    for track in wanted:
        for piece in slices[track]:
            if piece["cat"] == "wait":
                waits[piece["name"]] += piece["dur"]
    colours = {name: COLOURS[min(index, len(COLOURS) - 1)] for index, (name, _) in enumerate(waits.most_common())}

    height = TOP + row * len(wanted) + 14
    title = given.title or given.trace
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
             f'aria-label="{html.escape(title)}">', "<!-- SPDX-License-Identifier: MIT -->", STYLE,
             f'<text x="0" y="16" class="strong">{html.escape(title)}</text>']
    happened = {event["name"] for event in events if mark(event, given.few)}
    parts += legend(LEFT, [("step", 'class="step"')] + [(name, f'fill="{colours[name]}"') for name, _ in
                                                        waits.most_common(len(COLOURS))],
                    [name for name in MARKS if given.few and name in happened])
    for each in ticks(until):
        place = LEFT + each * scale
        parts.append(f'<path class="grid" d="M{place:.1f} {TOP - 8}V{height - 8}"/>'
                     f'<text x="{place:.1f}" y="{TOP - 12}" text-anchor="middle">{each:g} ms</text>')
    for track, y in rows.items():
        parts.append(f'<text x="{LEFT - 8}" y="{y + (bar + 9) / 2:g}" text-anchor="end">{html.escape(names[track])}</text>')
        for piece in slices[track]:
            begin, end = x(piece["ts"]), x(piece["ts"] + piece["dur"])
            if piece["ts"] / 1000 > until:
                continue
            if piece["cat"] == "wait":
                parts.append(f'<rect x="{begin:.1f}" y="{y}" width="{max(end - begin, .3):.1f}" height="{bar}" '
                             f'fill="{colours[piece["name"]]}" fill-opacity=".75"/>')
        for piece in slices[track]:
            if piece["cat"] == "step" and piece["ts"] / 1000 <= until:
                width = max(x(piece["ts"] + piece["dur"]) - x(piece["ts"]), 1.4)
                parts.append(f'<rect x="{x(piece["ts"]):.1f}" y="{y - 1}" width="{width:.1f}" height="{bar + 2}" '
                             f'class="step"/>')
    starts = {}
    for event in events:
        track = (event["pid"], event.get("tid"))
        if event["ph"] == "s":
            starts[event["id"]] = (track, event["ts"])
    for event in events:
        track = (event["pid"], event.get("tid"))
        if event["ph"] == "M" or track not in rows or event["ts"] / 1000 > until:
            continue
        y = rows[track] + bar / 2
        if event["ph"] == "f" and event["id"] in starts and starts[event["id"]][0] in rows:
            source, when = starts[event["id"]]
            begin, end, top = x(when), x(event["ts"]), rows[source] + bar / 2
            parts.append(f'<path class="arrow" d="M{begin:.1f} {top}C{begin + 14:.1f} {top} {end - 14:.1f} {y} '
                         f'{end:.1f} {y}"/>')
        elif found := mark(event, given.few):
            parts.append(f'<path class="{found[1]}" d="M{x(event["ts"]):.1f} {y}{found[0]}"/>')
    return "\n".join([*parts, "</svg>", ""])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trace")
    parser.add_argument("--tracks", type=int, default=30, help="so many at most")
    parser.add_argument("--only", default="", help="those whose names contain this")
    parser.add_argument("--until", type=float, help="milliseconds")
    parser.add_argument("--title")
    parser.add_argument("--few", action="store_true", help="draw more of a small trace")
    print(draw(parser.parse_args()), end="")


if __name__ == "__main__":
    main()
