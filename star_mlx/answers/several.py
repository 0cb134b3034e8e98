"""Answers that have several parts: a set, whose order is free, or a list.

The parts are apart by commas, semicolons, bars, line ends or "and", in any mixture, on both sides
of a comparison: "2 and 3" is ``2, 3`` and ``{3; 2}``. What is in brackets inside stays together.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from star_mlx.answers.choices import own_part
from star_mlx.answers.completion import boxes
from star_mlx.answers.notation import USUAL, Notation
from star_mlx.answers.numerals import ends
from star_mlx.answers.quantities import Quantity, quantity, same_value
from star_mlx.answers.statement import MARKER, brief, cleaned, normalized, statements

_FAR = 2000  # characters of an answer; a gold answer may be longer
_MOST = 400  # parts that are compared one by one
_HASHED = re.compile(r"(?<!#)#{4,}[ \t]{0,4}([^#\n]{1,2000})")
_BULLET = re.compile(r"\A[ \t]{0,4}(?:[-*•+]|\(?[0-9]{1,3}[.)])[ \t]{1,4}(?=\S)")
_LATEX = re.compile(r"\\(?:left|right|lbrace|rbrace|[{},;!: ])")
_GROUPED = re.compile(r"(?<![0-9.,])[0-9]{1,3}(?:,[0-9]{3})+(?![0-9]|,[0-9])")
_OPEN, _CLOSE = "([{⟨", ")]}⟩"
_BETWEEN = re.compile(r"[;,|&\n、，；]|(?<!\w)(?:and|or|und|oder|et|ou)(?!\w)", re.IGNORECASE)
_BRACKET = re.compile(rf"[{re.escape(_OPEN + _CLOSE)}]")
_BOTH = re.compile(r"\A(?:both|either|the set|the list)\b[:\s]{0,3}", re.IGNORECASE)
_PLURAL = re.compile(
    r"\b(?:answers|solutions|roots)\b(?! choices)[^.\n:=]{0,40}?(?:\bare\b|:)", re.IGNORECASE
)
_VARIABLE = re.compile(r"\A([^\W\d_](?:_?[0-9])?) ?= ?(?=\S)")
_EMPTY = {"∅", "ø", "{}", "[]", "()", "\\emptyset", "\\varnothing", "none", "no solution",
          "no solutions", "empty set", "the empty set", "empty list", "the empty list"}  # fmt: skip

_Part = Quantity | str


def final_several(completion: str, marker: str = MARKER) -> str | None:
    """The parts that a completion gives as its answer, as they are written there.

    They are after the last ``####``, in the last box, after the last marker or "answer is" (also
    as a list of lines), else after "answers are" or "solutions are", or else the last line.
    """
    text = own_part(ends(completion))
    hashed = [found[1] for found in _HASHED.finditer(text)][:1]
    for found in (*hashed, *reversed(boxes(text))):
        if found.strip():
            return cleaned(found)
    lines = _lines(text.rstrip())
    for statement in statements(text, marker):
        first = cleaned(_BULLET.sub("", statement))
        return "; ".join(lines) if lines and first == cleaned(lines[0]) else statement
    if lines:
        return "; ".join(lines)
    for statement in statements(_PLURAL.sub("answer is ", text), marker):
        return statement
    last = [line for line in text.split("\n") if line.strip()][-1:]
    return (cleaned(last[0][:_FAR]) or None) if last else None


def same_set(answer: str, gold: str, notation: Notation = USUAL, *, convert: bool = False) -> bool:
    """Whether two texts have the same parts, in any order and number.

    >>> same_set("{3; 2}", "2, 3"), same_set("2, 3, 3", "2 and 3"), same_set("2", "2, 3")
    (True, True, False)
    """

    def same(a: Sequence[_Part], b: Sequence[_Part]) -> bool:
        pairs = [[_same(one, other, convert) for other in b] for one in a]
        return all(map(any, pairs)) and all(any(column) for column in zip(*pairs, strict=True))

    return _compared(answer, gold, notation, lambda a, b: bool(a) == bool(b) and same(a, b))


def same_list(answer: str, gold: str, notation: Notation = USUAL, *, convert: bool = False) -> bool:
    """Whether two texts have the same parts in the same order.

    >>> same_list("2 and 3", "2, 3"), same_list("3, 2", "2, 3")
    (True, False)
    """

    def same(a: Sequence[_Part], b: Sequence[_Part]) -> bool:
        return len(a) == len(b) and all(map(_same, a, b, [convert] * len(a)))

    return _compared(answer, gold, notation, same)


def _compared(
    answer: str,
    gold: str,
    notation: Notation,
    same: Callable[[Sequence[_Part], Sequence[_Part]], bool],
) -> bool:
    right = parts(gold, notation)
    for form in dict.fromkeys((answer, brief(answer))):
        found = parts(form, notation) if form else ()
        if form and max(len(found), len(right)) <= _MOST and same(found, right):
            return True
    return normalized(answer) == normalized(gold)


def parts(text: str, notation: Notation = USUAL) -> tuple[_Part, ...]:
    """The parts of an answer: quantities, and texts in a form to be compared."""
    text = notation.standard(_LATEX.sub(_bare, text))
    text = _GROUPED.sub(lambda m: m[0].replace(",", ""), text)
    text = _inside(cleaned(text).strip("$ "))
    if normalized(text) in _EMPTY or not text:
        return ()
    split = [cleaned(part).strip("$ ") for part in _split(_BOTH.sub("", text))]
    split = [part for part in split if part]
    if len(split) > _MOST:
        return tuple(split)
    variables = {match[1] for part in split if (match := _VARIABLE.match(part))}
    if len(variables) == 1:  # x = 2 or x = 3
        split = [_VARIABLE.sub("", part) for part in split]
    return tuple(_part(part) for part in split)


def _part(text: str) -> _Part:
    found = quantity(text)
    if found is not None and not found.other:
        return found
    return re.sub(r"\s*([(\[{,;)\]}])\s*", r"\1", normalized(text))


def _same(a: _Part, gold: _Part, convert: bool) -> bool:
    if isinstance(a, str) or isinstance(gold, str):
        return a == gold
    return same_value(a, gold, convert=convert)


def _bare(match: re.Match[str]) -> str:
    """The bracket or space that a LaTeX command is."""
    return {"lbrace": "{", "rbrace": "}", "{": "{", "}": "}"}.get(match[0][1:], " ")


def _inside(text: str) -> str:
    """A text without the pair of brackets around all of it."""
    if text.startswith(tuple(_OPEN)):
        depth = 0
        for found in _BRACKET.finditer(text):
            depth += 1 if found[0] in _OPEN else -1
            if depth == 0:
                return text[1:-1].strip() if found.end() == len(text) else text
    return text


def _split(text: str) -> list[str]:
    """The parts between separators that are not in brackets."""
    found, begin, depth = [], 0, 0
    for match in re.finditer(f"{_BRACKET.pattern}|{_BETWEEN.pattern}", text, re.IGNORECASE):
        if match[0] in _OPEN:
            depth += 1
        elif match[0] in _CLOSE:
            depth = max(0, depth - 1)
        elif depth == 0:
            found.append(text[begin : match.start()])
            begin = match.end()
    return [*found, text[begin:]]


def _lines(text: str) -> list[str]:
    """The items of the list of lines that a text ends in."""
    items: list[str] = []
    for line in reversed(text[-_FAR:].split("\n")):
        bullet = _BULLET.match(line)
        if bullet is None:
            break
        items.append(line[bullet.end() :].strip())
    return items[::-1]
