# SPDX-License-Identifier: MIT
"""Drawings as SVG, to be read on white and on black."""

import html
import math

from workloads import WORKLOADS

STYLE = """<style>
  text { font: 13px system-ui, sans-serif; fill: #57606a; }
  .strong { font-weight: 600; }
  .line { stroke: #57606a; stroke-opacity: .35; stroke-width: 1; }
  .one { stroke: #57606a; stroke-width: 1.5; }
  @media (prefers-color-scheme: dark) {
    text { fill: #c9d1d9; }
    .line, .one { stroke: #c9d1d9; }
  }
</style>"""

COLOURS = {"aio": "#2f81f7", "awaitable": "#d29922", "awaitable+signals": "#b08800", "callbacks": "#8b949e",
           "epoll": "#3fb950", "asyncio": "#f0883e", "uvloop": "#a371f7"}


def document(width, height, title, parts):
    return "\n".join([f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
                      f'aria-label="{html.escape(title)}">',
                      "<!-- SPDX-License-Identifier: MIT -->", STYLE, *parts, "</svg>", ""])


def text(x, y, said, anchor="start", strong=False):
    weight = ' class="strong"' if strong else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{weight}>{html.escape(said)}</text>'


def line(x1, y1, x2, y2, kind="line"):
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def powers(low, high):
    return [10.0**e for e in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)]


def plain(value):
    if value >= 1e6:
        return f"{value / 1e6:g} M"
    if value >= 1e3:
        return f"{value / 1e3:g} k"
    return f"{value:g}"


def bars(records, about):
    """One group per workload: how long each variant takes, as a multiple of the best that raw Asio does."""
    drawn = [record for record in records if "ratio" in record]
    if not drawn:
        return document(10, 10, "nothing was measured", [])
    left, right, bar, gap, top = 150, 90, 15, 30, 62
    width = 860
    ticks = powers(min(0.1, *(r["ratio"] for r in drawn)), max(10, *(r["ratio"] for r in drawn)))
    low, high = math.log10(ticks[0]), math.log10(ticks[-1])

    def x(ratio):
        return left + (math.log10(ratio) - low) / (high - low) * (width - left - right)

    title = f"CPU time as a multiple of raw Asio's best ({about['compiler']}, Asio {about['asio']})"
    parts = [text(12, 22, title, strong=True), text(x(1), 44, "1 = raw Asio", "middle"),
             text(x(ticks[0]), 44, "faster"), text(x(ticks[-1]), 44, "slower", "end")]
    y = top
    rows = []
    previous = None
    for record in drawn:
        if record["workload"] != previous:
            y += gap - bar if previous else 0
            rows.append(text(12, y + 12, f"{record['workload']}  {WORKLOADS[record['workload']].title}", strong=True))
            y += 20
            previous = record["workload"]
        begin, end = sorted((x(1), x(record["ratio"])))
        colour = COLOURS.get(record["variant"], "#8b949e")
        rows.append(text(left - 8, y + 11, record["variant"], "end"))
        rows.append(f'<rect x="{begin:.1f}" y="{y}" width="{max(1.5, end - begin):.1f}" height="{bar - 3}" '
                    f'fill="{colour}"/>')
        rows.append(text(max(end, x(1)) + 6, y + 11, f"{record['ratio']:.2f} · {record['min_ns']:,.0f} ns"))
        y += bar
    for tick in ticks:
        parts.append(line(x(tick), top - 8, x(tick), y + 6, "one" if tick == 1 else "line"))
        parts.append(text(x(tick), y + 22, f"{tick:g}", "middle"))
    return document(width, y + 34, title, parts + rows)


def curves(series, title, x_title, y_title):
    """Lines over powers of ten, both axes logarithmic. `series`: name -> list of (x, y)."""
    points = [point for values in series.values() for point in values if point[1] > 0]
    if not points:
        return document(10, 10, "nothing was measured", [])
    width, height, left, right, top, bottom = 700, 360, 64, 190, 50, 48
    xs = powers(min(p[0] for p in points), max(p[0] for p in points))
    ys = powers(min(p[1] for p in points), max(p[1] for p in points) * 1.0001)

    def x(value):
        return left + (math.log10(value) - math.log10(xs[0])) / max(1, len(xs) - 1) * (width - left - right)

    def y(value):
        return height - bottom - (math.log10(value) - math.log10(ys[0])) / max(1, len(ys) - 1) * (height - top - bottom)

    parts = [text(12, 22, title, strong=True), text((left + width - right) / 2, height - 10, x_title, "middle"),
             text(left, top - 8, y_title, "end")]
    for tick in xs:
        parts += [line(x(tick), top, x(tick), height - bottom),
                  text(x(tick), height - bottom + 18, plain(tick), "middle")]
    for tick in ys:
        parts += [line(left, y(tick), width - right, y(tick)), text(left - 6, y(tick) + 4, plain(tick), "end")]
    palette = ["#2f81f7", "#d29922", "#3fb950", "#f0883e", "#a371f7", "#8b949e"]
    labels = []
    for (name, values), colour in zip(series.items(), palette):
        shown = [(x(a), y(b)) for a, b in values if b > 0]
        parts.append(f'<polyline fill="none" stroke="{colour}" stroke-width="2.5" points="' +
                     " ".join(f"{a:.1f},{b:.1f}" for a, b in shown) + '"/>')
        parts += [f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3" fill="{colour}"/>' for a, b in shown]
        labels.append([shown[-1][1] + 4, name, colour])
    labels.sort()
    for before, after in zip(labels, labels[1:]):
        after[0] = max(after[0], before[0] + 15)  # names do not lie on each other
    for at, name, colour in labels:
        parts.append(f'<text x="{width - right + 8}" y="{at:.1f}" style="fill:{colour}">{html.escape(name)}</text>')
    return document(width, height, title, parts)
