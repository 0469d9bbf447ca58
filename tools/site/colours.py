# SPDX-License-Identifier: MIT
"""Code with colours, as classes that style.css has, and with links at the names that the reference knows."""

import functools
import html

from pygments.lexers import get_lexer_by_name
from pygments.token import STANDARD_TYPES, Token

LEXERS = {"cpp": "cpp", "python": "python", "cmake": "cmake", "sh": "bash", "console": "console", "text": "text"}


@functools.lru_cache
def lexer_of(language):
    return get_lexer_by_name(LEXERS[language], stripnl=False)


def class_of(token):
    while token not in STANDARD_TYPES:
        token = token.parent
    return STANDARD_TYPES[token]


def tokens_of(code, language):
    """What the lexer says, with `::` as one token."""
    colon = None
    for token, value in lexer_of(language).get_tokens(code):
        if colon and value == ":":
            yield Token.Operator, "::"
            colon = None
            continue
        if colon:
            yield colon
            colon = None
        if value == ":" and language == "cpp":
            colon = token, value
        else:
            yield token, value
    if colon:
        yield colon


def highlight(code, language, url_of=None):
    """HTML of some code. `url_of(name)` is where a name leads, such as aio::gather, or None."""
    if language not in LEXERS:
        raise ValueError(f"no colours for {language!r}")
    pieces, path, before, declared = [], "", "", False
    for token, value in tokens_of(code.rstrip("\n"), language):
        text = html.escape(value, quote=False)
        name = class_of(token)
        url = None
        if url_of and value.isidentifier():
            path = f"{path}::{value}" if before == "::" else value
            if token in Token.Name and before != "." and not (declared and before != "::"):
                url = url_of(path)
        elif value != "::":
            path = ""
        if value.strip():  # behind a type a name is that of a parameter, or of what is declared
            before = value
            declared = token in Token.Name or token in Token.Keyword.Type or value in ("&", "&&", "*", ">")
        if url:
            text = f'<a href="{html.escape(url)}">{text}</a>'
        pieces.append(f'<span class="{name}">{text}</span>' if name and value.strip() else text)
    return "".join(pieces).rstrip("\n")


def block(code, language, url_of=None):
    # The pane scrolls by itself, also by the keyboard.
    return f'<pre class="code {language}" tabindex="0"><code>{highlight(code, language, url_of)}</code></pre>'
