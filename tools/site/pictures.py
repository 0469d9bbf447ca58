# SPDX-License-Identifier: MIT
"""SVG in a page, so that the page's switch of colours reaches it: its rules get the picture's name before them."""

import html
import re

DARK = re.compile(r"@media \(prefers-color-scheme: dark\) \{(.*?\})\s*\}", re.S)
RULE = re.compile(r"([^{}]+)\{([^{}]*)\}")


def scoped(rules, before):
    """Each selector of some rules, behind `before`."""

    def one(match):
        selectors = ", ".join(f"{before} {each.strip()}" for each in match[1].split(","))
        return f"{selectors} {{{match[2]}}}\n"

    return RULE.sub(one, rules)


def inline_svg(text, name, said):
    """A figure of what a file has; `said` stands for it where it is not seen."""
    text = re.sub(r"<\?xml.*?\?>|<!--.*?-->", "", text, flags=re.S).strip()
    style = re.search(r"<style>(.*?)</style>", text, re.S)
    own = f"#picture-{name}"
    if style:
        dark = "".join(DARK.findall(style[1]))
        rules = scoped(DARK.sub("", style[1]), own) + scoped(dark, f':root[data-theme="dark"] {own}')
        unasked = scoped(dark, f':root:not([data-theme="light"]) {own}')
        rules += f"@media (prefers-color-scheme: dark) {{\n{unasked}}}\n"
        text = text.replace(style[0], f"<style>\n{rules}</style>")
    text = re.sub(r'aria-label="[^"]*"', f'aria-label="{html.escape(said)}"', text, count=1)
    width = re.search(r'viewBox="0 0 (\d+)', text)[1]
    text = text.replace("<svg ", f'<svg style="min-width: min({width}px, 40rem); max-width: {width}px" ', 1)
    return f'<figure class="scroll picture" id="picture-{name}" tabindex="0">{text}</figure>'
