"""The text that a completion states as its answer: after a marker, and without what goes around.

A statement goes on in many ways ("yes, because ...", "**Paris**. It is ..."). An answer of the data
may hold such words itself, so a statement is read whole, and comparing tries it with and without
them.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from star_mlx.answers.numerals import ends

MARKER = "The answer is"

_FAR = 20_000  # characters that a statement of the answer may take
_SHORT = 80  # characters of a line that is nothing but the answer
_MOST = 64
_GIVEN = re.compile(r"\b(?:final |correct |right )?answer\b(?! choices)", re.IGNORECASE)
_STATES = re.compile(
    r"[^.\n:=]{0,60}?\b(?:is|are|was|be)\b(?!n['’]t)|[\s*_)\]#]{0,6}:", re.IGNORECASE
)
_NOT = re.compile(r"n['’]t\b", re.IGNORECASE)
_PAIRS = ("**", "__", "`", "*", "_")
_BOLD = re.compile(r"\*\*([^*\n]{1,200})\*\*(?!\w)")
_BOLD_ENDS = re.compile(r"\*\*(?=[.,;:!?]?(?:\s|$))")
_REASON = re.compile(
    r"(?:\s?[,;:(–—-]\s?|\s)(?:because|since|as (?:it|the|he|she|they|this|that|we|its)"
    r"|due to|which (?:is|means|was))\b",
    re.IGNORECASE,
)
_NEXT_SENTENCE = re.compile(
    r"[.!?]\*{0,2}\s{1,3}(?:It|Its|This|That|These|Those|The|He|She|They|We|I|You|Because|Since|So|There"
    r"|In|A|An|Here|His|Her|Their|As|For|If|When|Therefore|Thus)\b"
)
_UNKNOWN = re.compile(
    r"\W{0,4}(?:i (?:do not|don['’]t|can(?:not|['’]t))|unknown\b|cannot\b"
    r"|not (?:known|sure|clear)\b)",
    re.IGNORECASE,
)
_ASKS = re.compile(r"[*#\s]{0,4}(?:Q|Question|Problem)\b[^:\n]{0,8}:", re.IGNORECASE)
_SENTENCE = re.compile(
    r"[.!?]\s|\b(?:is|are|was|were|has|have|had|will|can|could|would|so)\b", re.IGNORECASE
)


def after(text: str, marker: str) -> str | None:
    """The text after the last occurrence of a marker, to the end of its line, or if there is only
    a colon, the next line.

    Case does not matter. Colons, Markdown around it and a final full stop are removed. None without
    the marker or with nothing after it.

    >>> after("It is in France. The answer is: **Paris**.", "the answer is")
    'Paris'
    """
    for found in reversed([*re.finditer(re.escape(marker), text, re.IGNORECASE)]):
        if not _NOT.match(text, found.end()):
            return _line(text, found.end())
    return None


def stated(text: str, marker: str = MARKER) -> str | None:
    """The text after a marker; for the usual marker, after any "answer is" or "answer:" instead.

    If there is none, a text that is one short line and no sentence is itself the answer.
    """
    found = after(text, marker)
    if found is None and marker.casefold() == MARKER.casefold():
        found = next(statements(text), None)
    return _whole(text) if found is None else found


def statements(text: str, marker: str = MARKER) -> Iterator[str]:
    """What stands after each marker, "answer is" and "answer:", from the last one on."""
    text = ends(text)
    places = {m.end() for m in re.finditer(re.escape(marker), text, re.IGNORECASE)}
    for given in [*_GIVEN.finditer(text)][-_MOST:]:
        states = _STATES.match(text, given.end())
        if states is not None:
            places.add(states.end())
    for place in sorted(places, reverse=True)[:_MOST]:
        line = None if _NOT.match(text, place) else _line(text, place)
        if line is not None:
            yield line


def cleaned(text: str) -> str:
    """A text without a colon before it, Markdown around it and a stop behind it."""
    text = text.strip().lstrip(" \t\n:=").strip()
    if text.count("**") % 2:  # "**The answer is: Paris.**", from its marker on
        text = text[2:] if text.startswith("**") else _BOLD_ENDS.sub("", text, count=1)
        text = text.strip()
    text = text.removesuffix(".").rstrip()
    for mark in _PAIRS:
        inner = text[len(mark) : -len(mark)]
        if text.startswith(mark) and text.endswith(mark) and inner.strip() and mark not in inner:
            return inner.strip().removesuffix(".").rstrip()
    return text


def forms(answer: str) -> Iterator[str]:
    """A statement as it stands, and without a reason or another sentence behind the answer."""
    yield answer
    yield cleaned(answer)
    bold = _BOLD.match(answer)
    if bold:
        yield cleaned(bold[1])
    reasons = [*_REASON.finditer(answer)]
    for end in (*reasons[:1], *reasons[-1:], _NEXT_SENTENCE.search(answer)):
        if end and end.start():
            yield cleaned(answer[: end.start()])


def brief(answer: str) -> str:
    """A statement without a reason or another sentence behind the answer."""
    ends = (_REASON.search(answer), _NEXT_SENTENCE.search(answer))
    return cleaned(answer[: min((m.start() for m in ends if m), default=len(answer))])


def normalized(text: str) -> str:
    """A text without differences that do not matter: case, width, spaces, quotes, a final stop."""
    text = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    text = text.strip("\"'`“”‘’«» ")
    return text.removesuffix(".").strip("\"'`“”‘’«» ")


def same_text(a: str, b: str) -> bool:
    """Whether two texts are the same after ``normalized``."""
    return normalized(a) == normalized(b)


def same_statement(answer: str, gold: str) -> bool:
    """Whether a statement gives a text as its answer, whatever follows it.

    >>> same_statement("Yes, because it flies", "yes"), same_statement("yes or no", "yes")
    (True, False)
    """
    right = {normalized(gold), normalized(cleaned(gold))}
    return any(form and normalized(form) in right for form in forms(answer))


def _line(text: str, place: int) -> str | None:
    """The statement at a place: the rest of its line, or the next line if only a colon is left."""
    line, _, rest = text[place : place + _FAR].partition("\n")
    if not line.strip(" \t:*_=") and ":" in line + text[place - 1 : place]:
        line = rest.lstrip().partition("\n")[0]
        if _ASKS.match(line):
            return None
    return cleaned(line) or None


def _whole(text: str) -> str | None:
    """A text of one short line, a reason behind it apart; None if it is none."""
    line = text.strip()
    if "\n" in line or "\\boxed" in line or _UNKNOWN.match(line):
        return None
    found = cleaned(line[:_FAR])
    reason = _REASON.search(found)
    answer = found[: reason.start()] if reason else found
    short = 0 < len(answer) <= _SHORT and not _SENTENCE.search(answer)
    return found if short else None
