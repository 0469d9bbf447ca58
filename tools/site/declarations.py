# SPDX-License-Identifier: MIT
"""Where a declaration of a header ends, what it declares, and how it is shown."""

import re
import textwrap

OPEN, CLOSE = "([{", ")]}"
TYPE_WORDS = r"(?:class|struct|union)"
ATTRIBUTES = re.compile(r"\[\[(?:[^\]\"]|\"(?:[^\"\\]|\\.)*\")*\]\]")
COMMENT = re.compile(r"//[^\n]*")
TOKEN = re.compile(r"//[^\n]*|/\*.*?\*/|\"(?:[^\"\\\n]|\\.)*\"|'(?:[^'\\\n]|\\.)+'(?!\w)"
                   r"|\w+(?:'\d+)*|::|->|[<>=!]=|&&|\S", re.S)
MARKS = ("AIO_ALWAYS_INLINE", "AIO_NEVER_INLINE", "AIO_COLD", "AIO_ON_DEMAND", "inline")
OPERATOR = re.compile(r"operator\s*(\(\)|\[\]|co_await|\"\"\s*\w+|[^\s\w(]+|[\w:<>*& ]+?)\s*(?=\()")
UNSEEN = re.compile(r"static_assert|friend\s+(class|struct)?\s*[\w:<>, ]+;|extern\s+template|template\b|AIO_\w+\("
                    r"|using namespace")
CLASS = re.compile(r"(?:requires.*?\n\s*)?" + TYPE_WORDS + r"\s+((?:\w+(?:<[^<>]*>)?::)*\w+(?:<[^{;]*>)?)(.*)", re.S)
NO_FUNCTIONS = {"decltype", "noexcept", "requires", "explicit", "alignas", "sizeof", "static_assert", "if"}


def tokens_of(text, begin=0):
    """Tokens that are no comments, each with its position."""
    for match in TOKEN.finditer(text, begin):
        if not match[0].startswith(("//", "/*")):
            yield match[0], match.start()


def scan_declaration(text, begin):
    """Its end, behind the last character, and where the brace of its body is, or -1. The end is -1 if it has none."""
    depth, angle, before, parens, body = 0, 0, "", False, -1
    initialised = in_constructor = type_head = expression = False
    for token, at in tokens_of(text, begin):
        if angle > 0 or (before == "template" and token == "<"):  # of its parameters
            angle += (token == "<") - (token == ">")
            before = token
            continue
        type_head = type_head or (depth == 0 and not parens and bool(re.fullmatch(TYPE_WORDS + "|enum", token)))
        if depth == 0 and token == ";":
            return at + 1, body
        if token == "requires":
            expression = before in ("requires", "=", "&&", "||", "(")
        if depth == 0 and token == "{" and body < 0 and expression:
            expression = False
        elif depth == 0 and token == "{" and body < 0 and not initialised:
            is_value = in_constructor and re.fullmatch(r"\w+|>", before) and before != "noexcept"
            if not is_value and (parens or type_head):
                body = at
        if token in OPEN:
            parens = parens or (depth == 0 and token == "(")
            depth += 1
        elif token in CLOSE:
            depth -= 1
            if depth < 0:
                return -1, -1
            if depth == 0 and token == "}" and body >= 0 and not type_head:
                return at + 1, body
        elif depth == 0 and not type_head:
            initialised = initialised or (token == "=" and before not in ("operator", "<"))
            in_constructor = in_constructor or (token == ":" and parens)
        before = token
    return -1, -1


def without_template(head):
    """The declaration behind template<...>, and behind a `requires (...)` that follows."""
    while match := re.match(r"\s*template\s*<", head):
        depth = 0
        for token, at in tokens_of(head, match.end() - 1):
            depth += (token in "<([{") - (token in ">)]}")
            if depth == 0:
                head = head[at + 1 :]
                break
        else:
            return head
    return head


def without_angles(text):
    """Without what stands in <...>, however deep."""
    while (shorter := re.sub(r"<[^<>]*>", "", text)) != text:
        text = shorter
    return text


def function_name(head):
    """The name before the list of parameters, and where that begins."""
    angle, before, depth = 0, "", 0
    for token, at in tokens_of(head):
        if depth == 0 and token == "operator" and (match := OPERATOR.match(head, at)):
            return f"operator {match[1]}" if match[1][0].isalpha() else f"operator{match[1]}", match.end()
        if token == "(" and depth == 0 and angle == 0 and re.fullmatch(r"~?\w+", before) and before not in NO_FUNCTIONS:
            start = re.search(r"((?:\w+(?:<[^<>]*>)?::)*~?\w+)\s*$", head[:at])
            return start[1], at
        if token in OPEN:
            depth += 1
        elif token in CLOSE:
            depth -= 1
        elif depth == 0 and token == "<" and re.fullmatch(r"\w+", before):
            angle += 1
        elif depth == 0 and token == ">" and angle > 0:
            angle -= 1
        before = token
    return None, -1


def describe(head):
    """The kind of a declaration, and its name. The kind "skip" is for what is none of a reader's business."""
    plain = ATTRIBUTES.sub(" ", COMMENT.sub("", head))
    plain = without_template(plain).strip()
    plain = re.sub(r"^(?:(?:AIO_\w+|extern|inline|constexpr)\s+)*", "", plain)
    if UNSEEN.match(plain):
        return "skip", plain.split("(")[0]
    if match := re.match(r"using\s+(\w+)\s*=", plain):
        return "alias", match[1]
    if match := re.match(r"using\s+(?:typename\s+)?[\w:<>, ]*::(\w+)\s*;", plain):
        return "alias", match[1]
    if match := re.match(r"concept\s+(\w+)\s*=", plain):
        return "concept", match[1]
    if match := re.match(r"enum\s+(?:class\s+|struct\s+)?(\w+)", plain):
        return "enum", match[1]
    if match := CLASS.match(plain):
        name = re.sub(r"<[^<>]*>(?=::)", "", match[1])
        return ("forward" if match[2].strip() == ";" else "class"), name.strip()
    name, _ = function_name(plain)
    if name:
        return ("friend" if plain.startswith("friend") else "function"), name
    if match := re.search(r"\(\*(\w+)\)", plain):
        return "variable", match[1]
    match = re.match(r"[\w:,*&\s]*?\b(\w+)\s*(?:=|;|\{|\[|$)", without_angles(plain))
    return ("variable", match[1]) if match else (None, "")


def cut_initialisers(head):
    """Without what follows the `:` of a constructor."""
    _, start = function_name(head)
    depth = 0
    for token, at in tokens_of(head, max(start, 0)):
        depth += (token in OPEN) - (token in CLOSE)
        if token == ":" and depth == 0:
            return head[:at]
    return head


def fold(text):
    """The lines of a function set anew: they were broken for more than is left of them."""
    above = re.match(r"(?:template <.*>\n|\s*requires(?:.|\n)*?\n(?=\S))*", text)[0]
    line = re.sub(r"(?<=\() | (?=\))", "", " ".join(text[len(above) :].split()))
    line, requires, constraint = re.match(r"(.*?)(?:( requires\b)(.*))?$", line).groups("")
    after = "\n " + requires + constraint if requires else ""
    if "//" in text or len(line) <= 100:
        return text if "//" in text else above + line + after
    _, start = function_name(line)
    pieces, depth, begin, end = [], 0, start + 1, len(line)
    for token, at in tokens_of(line, start):
        depth += (token in "([{<") - (token in ")]}>")
        if depth == 1 and token == ",":
            pieces.append(line[begin : at + 1].strip())
            begin = at + 1
        if depth == 0:
            end = at
            break
    return above + line[: start + 1] + "\n    " + "\n    ".join([*pieces, line[begin:end].strip()]) + line[end:] + after


def tidy(head, kind, column):
    """A declaration as it is shown: without its body, with short attributes, indented from its own column."""
    text = re.sub(r"[ \t]*// ?(NOLINT|clang-format)[^\n]*", "", head)
    text = ATTRIBUTES.sub(lambda match: "[[nodiscard]]" if match[0].startswith("[[nodiscard") else match[0], text)
    text = re.sub(r"\b(?:" + "|".join(MARKS) + r")\b[ \t]*\n?[ \t]*(?!:)", "", text)
    if kind in ("function", "friend"):
        text = cut_initialisers(text)
    lines = (" " * column + text).split("\n")
    text = textwrap.dedent("\n".join(lines)).strip()
    text = re.sub(r"\[\[nodiscard\]\]\n\s*", "[[nodiscard]] ", text)
    if kind in ("function", "friend"):
        text = fold(text)
    text = re.sub(r"\n[ \t]*\n", "\n", text).rstrip(" {;\n") if kind != "enum" else text.rstrip(";")
    return text + ";"
