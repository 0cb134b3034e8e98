"""Find every number of a text, with its place, its value and how it is written.

Every digit of a text is in exactly one of the numbers that are found. A number that should not be
replaced by a variable has the reason (``written_number``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction

from star_mlx.answers.numerals import LONGEST
from star_mlx.augment import latex as in_latex
from star_mlx.augment.number_words import AND_PART, added_part, numbers_in_words
from star_mlx.augment.written_number import (
    CODE,
    DATE,
    FIGURE,
    FORM,
    LONG,
    ORDINAL,
    RANGE,
    TIME,
    ZERO,
    WrittenNumber,
    form_of_fraction,
    found,
)

_SPACE = "[ \u00a0\u2009\u202f]"
_WHOLE = (
    r"(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]{1,3}(?:(?:\{,\}|,\\!)[0-9]{3})+(?![0-9])"
    rf"|[1-9][0-9]{{0,2}}(?:{_SPACE}[0-9]{{3}}){{0,4}}{_SPACE}000(?![0-9])"
    r"|[1-9][0-9]?(?:,[0-9]{2}){1,4},[0-9]{3}(?![0-9])|[0-9]+)"
)
_SLASH = "[/\u2044\u2215]"
_VULGAR = {
    "½": (1, 2), "⅓": (1, 3), "⅔": (2, 3), "¼": (1, 4), "¾": (3, 4), "⅕": (1, 5), "⅖": (2, 5),
    "⅗": (3, 5), "⅘": (4, 5), "⅙": (1, 6), "⅚": (5, 6), "⅐": (1, 7), "⅛": (1, 8), "⅜": (3, 8),
    "⅝": (5, 8), "⅞": (7, 8), "⅑": (1, 9), "⅒": (1, 10),
}  # fmt: skip
_NUMBER = re.compile(
    r"(?P<date>[0-9]+(?:/[0-9]+){2,}|[0-9]+(?:-[0-9]+){2,}|[0-9]+(?:\.[0-9]+){2,})"
    r"|(?P<time>[0-9]{1,2}:[0-5][0-9](?::[0-5][0-9])?(?![0-9]))"
    rf"|(?P<latex>(?:[0-9]+ ?)?{in_latex.FRACTION.replace('{0}', 'l')})"
    rf"|(?P<fraction>(?:(?P<whole>[0-9]{{1,3}})(?: | and |-))?(?P<top>[0-9]+){_SLASH}"
    r"(?P<bottom>[0-9]+)(?![0-9]|[.,][0-9])(?:'?(?:rds?|ths?|nds?)(?![a-z]))?)"
    rf"|(?P<vulgar>(?:[0-9]+ ?)?(?P<sign>[{''.join(_VULGAR)}]))"
    r"|(?P<ordinal>[0-9]+(?:st|nd|rd|th)(?![a-z]))"
    rf"|(?P<added>(?P<base>{_WHOLE})(?P<part>{AND_PART}))"
    rf"|(?P<plain>{_WHOLE}(?:\.[0-9]+)?|(?<![0-9.])\.[0-9]+)"
    r"|(?P<other>\d+)",
    re.IGNORECASE,
)
_UNIT = re.compile(
    r"(?:am|pm|[km]?g|kgs|lbs?|oz|[kcm]?m|kms|mi|ft|in|yds?|[mcd]?l|mls|gal|hr?s?|mins?|secs?"
    r"|mph|kmp?h|kph|[kmgt]b|[km]?wh?|[kvcfp]|cc|usd|eur)[\u00b2\u00b3]?",
    re.IGNORECASE,
)
_CURRENCY = "$€£¥₹₩¢"
_DASHES = "-\u2010\u2011\u2012\u2013\u2014"
_DECIMAL = re.compile(r"[0-9]+(?:\.[0-9]+)?")
_RATIO = re.compile(r"\bratio|\bproportion", re.IGNORECASE)
_AM_PM = re.compile(r" ?[ap]\.?m\b", re.IGNORECASE)


def find(text: str, latex: bool = False) -> list[WrittenNumber]:
    """The numbers of a text, in order.

    Args:
        text: any text.
        latex: whether it is LaTeX, in which a dollar sign begins a formula.

    >>> [(number.text, str(number.value)) for number in find("Half of the 2 1/2 kg cost $3.50.")]
    [('Half', '1/2'), ('2 1/2', '5/2'), ('3.50', '7/2')]
    """
    digits = list(_digits(text, latex))
    taken = {place for number in digits for place in range(number.start, number.end)}
    words = (n for n in numbers_in_words(text) if taken.isdisjoint(range(n.start, n.end)))
    numbers = sorted((*digits, *words), key=lambda number: number.start)
    return list(_unless_protected(text, numbers)) if latex else numbers


def _unless_protected(text: str, numbers: list[WrittenNumber]) -> Iterator[WrittenNumber]:
    """The numbers, with a reason for those in figures and in the layout."""
    parts = list(in_latex.protected(text))
    inside = {
        number.start: why
        for number in numbers
        for (start, end), why in parts
        if start < number.end and number.start < end
    }
    drawn = {number.value for number in numbers if inside.get(number.start) == FIGURE}
    for number in numbers:
        why = inside.get(number.start, "")
        if not why and number.value is not None and number.value in drawn:
            why = number.reason or FIGURE  # its value could be read there
        yield replace(number, reason=why or number.reason)


def _digits(text: str, latex: bool) -> Iterator[WrittenNumber]:
    """The numbers in digits."""
    formulas = in_latex.formulas(text) if latex else []
    ratio = _RATIO.search(text) is not None
    place = 0
    while match := _NUMBER.search(text, place):
        math = any(start <= match.start() < end for start, end in formulas)
        name = match.lastgroup or ""
        if name == "plain" and not (math and _in_brackets(text, match)):
            number = _plain(text, *match.span(), latex, math)
        elif _is_several(text, match, name, ratio, math):
            end = _first(text, match)
            number = _plain(text, match.start(), end, latex, math)
        else:
            number = _RULES[name](text, match)
        yield number
        place = number.end


def _first(text: str, match: re.Match[str]) -> int:
    """The end of the first number in a match of several."""
    first = _DECIMAL.match(text, match.start(), match.end())
    return first.end() if first else match.end()


def _is_several(text: str, match: re.Match[str], name: str, ratio: bool, math: bool) -> bool:
    """Whether a match has several numbers: 2:15 of a ratio, and in a formula also 3-1-1, (2,125),
    and an index before a fraction."""
    if name == "time":
        return (ratio or math) and not _AM_PM.match(text, match.end())
    if name in ("fraction", "latex"):
        joined = re.match(r"[0-9]+(?:-| and )", match[0])
        raised = match[0][0].isdigit() and _before(text, match.start()) in ("_", "^")
        return math and (joined is not None or (raised and bool(match["whole"] or name == "latex")))
    return math and name in ("plain", "date", "ordinal")


def _in_brackets(text: str, match: re.Match[str]) -> bool:
    """Whether it may be a point: (2,125)."""
    around = _before(text, match.start()) + text[match.end() : match.end() + 1]
    several = re.fullmatch(r"[0-9]+,[1-9][0-9]*", match[0]) is not None
    return several and around in ("()", "[]")


def _before(text: str, start: int) -> str:
    """The character before a place; empty at the beginning."""
    return text[max(0, start - 1) : start]


def _plain(text: str, start: int, end: int, latex: bool, math: bool) -> WrittenNumber:
    """A whole number or a decimal, by what stands beside it."""
    written = text[start:end]
    if sum(map(str.isdigit, written)) > LONGEST:
        return found(text, start, end, "integer", None, LONG)
    value = Fraction(re.sub(r"[^0-9.]", "", written))
    kind = _kind(text, start, end, latex)
    kind = kind or ("decimal" if "." in written else "integer")
    if math:
        why = in_latex.no_quantity(text, start, end)
        return found(text, start, end, kind, value, why, in_latex.form(text, start, end))
    why, form = _beside(text, start, end)
    return found(text, start, end, kind, value, why, form)


def _kind(text: str, start: int, end: int, latex: bool) -> str:
    before, after = text[max(0, start - 2) : start].rstrip(" "), text[end : end + 9]
    currency = before[-1:] in [*_CURRENCY] and (not latex or before[-2:] == "\\$")
    if re.match(r" ?\\?%|[ -]percent\b", after, re.IGNORECASE):
        return "percent"
    if currency or (not latex and after[:1] in ("$", "€", "£", "¢")):
        return "money"
    return ""


def _beside(text: str, start: int, end: int) -> tuple[str, str]:
    """Why a number outside formulas is not masked, or else the form of what replaces it."""
    before, after = text[max(0, start - 2) : start], text[end : end + 2]
    if before[-1:].isalpha() or before[-1:] in ("_", "#"):
        return CODE, "{}"
    if before[-1:] in [*_DASHES] and before[:1].isalnum() and len(before) == 2:
        if before[0].isdigit():
            return RANGE, "{}"
        if not re.match(rf"[{_DASHES}][a-zA-Z]", after):
            return CODE, "{}"  # COVID-19, but not buy-2-get-1-free
    if re.match(rf"[{_DASHES}]\$?[0-9]", text[end : end + 3]) or re.search(
        rf"[0-9][{_DASHES}]\$\Z", text[max(0, start - 3) : start]
    ):
        return RANGE, "{}"
    if glued := re.match(r"[^\W\d_]+", text[end:]):
        return ("", "{} ") if _UNIT.fullmatch(glued[0]) else (CODE, "{}")
    return ("", "{}") if after[:1] != "_" else (CODE, "{}")


# --------------------------------------------------------------------------- the other forms


def _date(text: str, match: re.Match[str]) -> WrittenNumber:
    return found(text, *match.span(), "other", None, DATE)


def _time(text: str, match: re.Match[str]) -> WrittenNumber:
    return found(text, *match.span(), "other", None, TIME)


def _ordinal(text: str, match: re.Match[str]) -> WrittenNumber:
    return found(text, *match.span(), "ordinal", None, ORDINAL)


def _other(text: str, match: re.Match[str]) -> WrittenNumber:
    return found(text, *match.span(), "other", None, FORM)


def _latex(text: str, match: re.Match[str]) -> WrittenNumber:
    whole = re.match(r"[0-9]+", match[0])
    top, bottom = match["la"] or match["lb"], match["lc"] or match["ld"]
    number = _quotient(text, match, whole[0] if whole else "", top, bottom)
    spaced = in_latex.form(text, number.start, number.end)
    return replace(number, reason="", form=spaced) if number.value is not None else number


def _fraction(text: str, match: re.Match[str]) -> WrittenNumber:
    if match[0] == "24/7":
        return found(text, *match.span(), "other", None, CODE)
    return _quotient(text, match, match["whole"] or "", match["top"], match["bottom"])


def _vulgar(text: str, match: re.Match[str]) -> WrittenNumber:
    top, bottom = _VULGAR[match["sign"]]
    return _quotient(text, match, match[0][:-1].strip(), str(top), str(bottom))


def _quotient(text: str, match: re.Match[str], whole: str, top: str, bottom: str) -> WrittenNumber:
    """A fraction, or a mixed number. If its fraction is not less than 1, the whole number before it
    is a number of its own."""
    start, end = match.span()
    if max(map(len, (whole, top, bottom))) > LONGEST:
        return found(text, start, end, "fraction", None, LONG)
    if whole and int(top) >= int(bottom):
        cut = start + len(whole)
        return _plain(text, start, cut, False, False)
    if not int(bottom):
        return found(text, start, end, "fraction", None, ZERO)
    value = int(whole or 0) + Fraction(int(top), int(bottom))
    kind = "mixed number" if whole else "fraction"
    before = _before(text, start)
    reason = CODE if before.isalpha() or before in ("_", "#") else ""
    form = "{}" if whole else form_of_fraction(text, end)
    return found(text, start, end, kind, value, reason, form)


def _added(text: str, match: re.Match[str]) -> WrittenNumber:
    base = re.sub(r"[^0-9]", "", match["base"])
    if len(base) > LONGEST:
        return found(text, *match.span(), "mixed number", None, LONG)
    value = int(base) + added_part(match["part"])
    return found(text, *match.span(), "mixed number", value)


_RULES = {
    "date": _date,
    "time": _time,
    "latex": _latex,
    "fraction": _fraction,
    "vulgar": _vulgar,
    "ordinal": _ordinal,
    "added": _added,
    "other": _other,
}
