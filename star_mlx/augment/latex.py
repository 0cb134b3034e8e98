r"""Numbers in LaTeX: which parts of a text are formulas, and where a number is no quantity."""

from __future__ import annotations

import re
from collections.abc import Iterator

from star_mlx.augment.written_number import FIGURE, INDEX, LAYOUT, ORDINAL, REPEATING, UNIT

Span = tuple[int, int]

FRACTION = (
    r"\\[dtc]?frac ?(?:\{(?P<{0}a>[0-9]+)\}|(?P<{0}b>[0-9]))"
    r" ?(?:\{(?P<{0}c>[0-9]+)\}|(?P<{0}d>[0-9]))"
)
_FORMULA = re.compile(
    r"\$\$.{1,4000}?\$\$|(?<!\\)\$(?:\\.|[^$\\]){1,4000}\$|\\\(.{1,4000}?\\\)|\\\[.{1,4000}?\\\]"
    r"|\\begin\{(?P<name>align|equation|eqnarray|gather|multline)\*?\}.{1,4000}?\\end\{(?P=name)\*?\}",
    re.DOTALL,
)
_FIGURE = re.compile(r"\[asy\].*?(?:\[/asy\]|\Z)", re.DOTALL)
_LAYOUT = re.compile(
    r"\\(?:[hv]space|phantom|tag|label|ref|vskip|hskip|kern|rule|raisebox|setlength"
    r"|multicolumn|begin\{(?:array|tabular)\})\*?(?:\[[^\]\n]{0,40}\])?"
    r"(?:\{(?:[^{}\n]|\{(?:[^{}\n]|\{[^{}\n]*\})*\})*\}|-?[0-9.]+(?:in|pt|em|ex|cm|mm)){0,2}"
)
_COMMAND = re.compile(r"\\(?:text(?:rm|bf|it)?|mbox|mathrm|operatorname) *\{[^{}]*\}|\\[a-zA-Z]+")
_UNIT_POWER = re.compile(r"\\(?:text(?:rm)?|mbox|mathrm) *\{[^{}]*\} *\^ *\{?\Z")
_ORDINAL_ENDING = re.compile(
    r"\$?\^?\{? *\\?(?:text|mathrm|textrm|mbox|rm)? *\{? *(?:st|nd|rd|th)(?![a-z])"
)


def formulas(text: str) -> list[Span]:
    """The formulas of a text."""
    return [match.span() for match in _FORMULA.finditer(text)]


def protected(text: str) -> Iterator[tuple[Span, str]]:
    """The parts of a text in which no number is masked, each with the reason."""
    for match in _FIGURE.finditer(text):
        yield match.span(), FIGURE
    for match in _LAYOUT.finditer(text):
        yield match.span(), LAYOUT


def no_quantity(text: str, start: int, end: int) -> str:
    """Why the number in ``text[start:end]`` of a formula is no quantity; empty if it may be one."""
    before, after = text[max(0, start - 40) : start], text[end : end + 24]
    if re.search(r"_ *\{? *\Z", before):
        return INDEX
    if re.search(r"\^ *\{ *- *\Z", before) and text[start:end] == "1":
        return INDEX  # of an inverse
    if re.search(r"[\^_]\Z", before) and end - start > 1:
        return INDEX  # x^23 is x^2 and 3
    if re.search(r"\\overline *\{\Z", before) or re.match(r"\.?\\overline", after):
        return REPEATING
    if _ORDINAL_ENDING.match(after):
        return ORDINAL
    if _UNIT_POWER.search(before):
        return UNIT
    return ""


def form(text: str, start: int, end: int) -> str:
    r"""How a variable replaces a number of a formula: after a space in ``\sqrt2``."""
    return " {}" if re.search(r"\\[a-zA-Z]+\Z", text[max(0, start - 24) : start]) else "{}"


def letters(text: str) -> str:
    """The formulas of a text without figures, commands and words: what its variables are in."""
    text = _FIGURE.sub(" ", text)
    return " ".join(_COMMAND.sub(" ", text[start:end]) for start, end in formulas(text))
