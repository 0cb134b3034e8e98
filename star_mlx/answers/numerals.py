"""Numbers as people and models write them.

Nothing here may fail or crawl on any text: digits are ASCII digits after ``plain``, every pattern
is linear, and a numeral longer than ``LONGEST`` digits has no value (Python refuses to read it).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

LONGEST = 600  # digits; below the least limit Python can be set to for int(str)
LARGEST_EXPONENT = 300
MOST_READ = 60_000  # characters of a text; of a longer one the two ends are read

_CURRENCY = "$€£¥₹₩"
_ALIKE: dict[str, str] = {
    **{chr(0xFF10 + d): str(d) for d in range(10)},
    **dict.fromkeys("−﹣－‐‑–", "-"),
    **dict.fromkeys("\u00a0\u2007\u2009\u202f\u3000", " "),
    **dict.fromkeys("／⁄∕", "/"),
    **dict.fromkeys("×✕✖·⋅∗", "*"),
    **{"÷": "/", "，": ",", "．": ".", "％": "%", "＄": "$", "＝": "=", "：": ":", "＃": "#"},
    **{"½": " 1/2", "¼": " 1/4", "¾": " 3/4", "⅓": " 1/3", "⅔": " 2/3", "\r": "\n"},
    **dict.fromkeys("\u200b\u200c\u200d\ufeff\u2060", ""),
}
_SAME = str.maketrans(_ALIKE)
_GROUPS = re.compile(r"(?<=[0-9])(?:\{,\}|\\[,!;: ]|[\u00a0\u2009\u202f'’])(?=[0-9]{3}(?![0-9]))")
_LATEX = [
    (re.compile(r"\\[dtc]?frac *\{([^{}]{1,80})\} *\{([^{}]{1,80})\}"), r" \1/\2"),
    (re.compile(r"\\[dtc]?frac *([0-9]) *([0-9])"), r" \1/\2"),
    (re.compile(r"\\(?:text|mathrm|textbf|mathbf|mbox|operatorname|textit|rm|bf)\b *"), " "),
    (re.compile(r"\\(?:times|cdot)\b"), "*"),
    (re.compile(r"\\div\b"), "/"),
    (re.compile(r"\\(?:approx|equiv|Rightarrow|implies|to)\b"), " = "),
    (re.compile(r"\\(?:left|right|displaystyle|quad|qquad)\b|\\[,!;: ()\[\]]"), " "),
    (re.compile(r"\\([$%#&_{}])"), r"\1"),
]
_SCIENTIFIC = re.compile(r"(?<=[0-9]) ?[*x] ?10\^\{?(-?[0-9]{1,2})\}?")
_AND_A_HALF = re.compile(r"(?<=[0-9]) and (?:(?:a|one)[ -]half\b|(?=[0-9]/[0-9]))")

# One numeral: sign and currency in either order, digits with or without groups, a decimal part or
# an exponent, or a fraction. A hyphen right after a word, a digit or a bracket is no sign.
_DIGITS = (
    r"(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]{1,2}(?:,[0-9]{2}){1,4},[0-9]{3}(?![0-9])|[0-9]+)"
)
NUMERAL = re.compile(
    r"(?:(?<![\w)\]}%.-])(?<![0-9)] )(?P<sign>[-+])(?=[$€£¥₹₩.0-9]))?"
    rf"(?:[{_CURRENCY}] ?(?P<inner>-)?)?"
    rf"(?P<digits>{_DIGITS}(?:\.[0-9]+)?|(?<![\w.)])\.[0-9]+)"
    r"(?:[eE](?P<exponent>[+-]?[0-9]{1,3})(?!\w)"
    r"|(?P<over> ?/ ?[0-9]{1,12}(?![0-9]|[/.,][0-9]))"
    r"|(?P<mixed> [0-9]{1,3}/[0-9]{1,3}(?![0-9/.])))?"
    r"(?P<percent> ?%)?"
)
SCALE = re.compile(r" (thousand|million|billion)\b", re.IGNORECASE)
_SCALES = {"thousand": 1000, "million": 10**6, "billion": 10**9}
CENTS = re.compile(r" dollars?,?(?: and)? ([0-9]{1,2}) cents?\b", re.IGNORECASE)
_TIME = re.compile(r"(?<![0-9:])([0-9]{1,2}):([0-9]{2})(?![0-9:])")

_WORDS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen twenty thirty forty fifty sixty seventy eighty ninety"
)


def number_words() -> dict[str, int]:
    """The words for 0 to 100, each with its value; "twenty-one" and "twenty one"."""
    words = _WORDS.split()
    values = {word: i for i, word in enumerate(words[:20])}
    for i, ten in enumerate(words[20:], 2):
        values[ten] = 10 * i
        for k, one in enumerate(words[1:10], 1):
            values[f"{ten}-{one}"] = values[f"{ten} {one}"] = 10 * i + k
    return values | {"one hundred": 100, "a hundred": 100, "hundred": 100}


NUMBER_WORDS = number_words()
_SPACED = re.compile(r"(?<![0-9.,])([1-9][0-9]{0,2})((?: [0-9]{3}){1,5})(?![0-9/])")
_THOUSANDS = re.compile(r"(?<![0-9.,])[1-9][0-9]{0,2}(?: [0-9]{3}){0,4} 000(?![0-9])")
_BEFORE = re.compile(r"(?:about|around|approximately|exactly|only|usd|us|rs\.?)\b", re.IGNORECASE)
_UNITS = re.compile(r"(?:[^0-9=+<>^\n]|\^\{?[0-9]\}?|(?<=[a-zA-Z])[23]){0,60}\s*")
_INDEX = re.compile(
    r"(?:step|part|question|problem|example|equation|case|option|method)s? ?#?\Z", re.IGNORECASE
)
_LISTED = re.compile(r"[.)]\*{0,2} +\S")  # after the index of a list's item
_LEFT = re.compile(r"\*{0,2}([.):]?)\*{0,2}\s{0,99}\Z")  # after an index that ends the text


@dataclass(frozen=True, slots=True)
class Numeral:
    """A number found in a text: normalized, and where it stood.

    ``doubtful`` where it is more likely a name than a quantity: the 2 of cm^2, "Step 2", "2. ...".
    ``unfinished`` where it certainly is one: the index of a list's item that was not written.
    """

    text: str
    start: int
    end: int
    doubtful: bool
    unfinished: bool


def plain(text: str) -> str:
    """The text with one form for digits, signs, spaces and LaTeX; times of day taken out."""
    text = ends(text)
    text = _GROUPS.sub("", text.replace("\r\n", "\n")).translate(_SAME)
    if "\\" in text:
        for pattern, instead in _LATEX:
            text = pattern.sub(instead, text)
    text = _THOUSANDS.sub(lambda m: m[0].replace(" ", ""), text)
    text = _AND_A_HALF.sub(_half, _SCIENTIFIC.sub(r"e\1", text))
    return _TIME.sub(lambda m: m[1] if m[2] == "00" else " (time) ", text)


def ends(text: str) -> str:
    """A text of more than ``MOST_READ`` characters without its middle."""
    half = MOST_READ // 2
    return text if len(text) <= MOST_READ else f"{text[:half]}\n{text[-half:]}"


def ungrouped(text: str) -> str:
    """Thousands apart by a space joined: only where a single number is expected."""
    return _SPACED.sub(lambda m: m[1] + m[2].replace(" ", ""), text)


def numerals(text: str, begin: int = 0) -> Iterator[Numeral]:
    """The numbers of a text that went through ``plain``, from a place on, in order."""
    read = begin
    for match in NUMERAL.finditer(text, begin):
        if match.start() < read:
            continue
        found, read = _normalized(match, text)
        unfinished = _breaks_off(match, text)
        yield Numeral(found, match.start(), read, unfinished or _doubtful(match, text), unfinished)


def last_number(text: str) -> str | None:
    """The last number written in a text, without currency, grouping or units; None for none."""
    found = last_numeral(plain(text))
    return found.text if found else None


def last_numeral(text: str) -> Numeral | None:
    """The last number of a text that went through ``plain``, if need be a doubtful one."""
    last = doubtful = None
    for found in numerals(text):
        last, doubtful = (last, found) if found.doubtful else (found, doubtful)
    if last is None and doubtful is not None and doubtful.unfinished:
        return None
    return last or doubtful


def number(text: str) -> Fraction | None:
    """The value of a text that is one number, units allowed after it; None where it is not.

    ``"50%"`` is 50: a percentage is asked for and given in percent.
    """
    if len(text) > 4 * LONGEST:
        return None
    text = alone(text).lstrip(" $")
    match = NUMERAL.match(text)
    if match is None:
        return None
    found, end = _normalized(match, text)
    return _value(found) if _UNITS.fullmatch(text, end) else None


def alone(text: str) -> str:
    """A text that may be one number, through ``plain`` and from the number on."""
    text = plain(text).strip("\"'`*_~≈=:([{ \t\n“”‘’")
    text = _BEFORE.sub("", text, count=1) if _BEFORE.match(text) else text
    return ungrouped(text.lstrip(" "))


def written(value: Fraction) -> str:
    """A value as an integer, a decimal if it has one of at most 12 places, or a fraction."""
    if value.denominator == 1:
        return str(value.numerator)
    scaled = value * 10**12
    if scaled.denominator != 1:
        return f"{value.numerator}/{value.denominator}"
    whole, rest = divmod(abs(scaled.numerator), 10**12)
    return f"{'-' if value < 0 else ''}{whole}.{rest:012d}".rstrip("0")


def _half(match: re.Match[str]) -> str:
    return " 1/2" if match[0].endswith("half") else " "


def _normalized(match: re.Match[str], text: str) -> tuple[str, int]:
    """What a match of ``NUMERAL`` says, and where it ends with its scale or cents."""
    sign = "-" if (match["sign"] == "-") != bool(match["inner"]) else ""
    digits = match["digits"].replace(",", "")
    if "." in digits:
        whole, _, places = digits.partition(".")
        places = places.rstrip("0")
        digits = (whole or "0") + ("." + places if places else "")
    body = sign + digits + (match["over"] or "").replace(" ", "") + (match["mixed"] or "")
    if match["exponent"]:
        body += f"e{int(match['exponent'])}"
        value = _value(body)
        return (body if value is None else written(value)), match.end()
    if scale := SCALE.match(text, match.end()):
        return f"{body} {scale[1].lower()}", scale.end()
    cents, value = CENTS.match(text, match.end()), _value(body)
    if cents and value is not None and value.denominator == 1:
        return written(value + Fraction(int(cents[1]), 100)), cents.end()
    return body, match.end()


def _value(body: str) -> Fraction | None:
    """The value of a normalized numeral; None where it is too long or divides by zero."""
    if len(body) > LONGEST:
        return None
    whole, _, rest = body.rpartition(" ")
    if rest in _SCALES:
        value = _value(whole)
        return None if value is None else value * _SCALES[rest]
    if whole:
        over = _value(rest)
        value = _value(whole)
        if over is None or value is None:
            return None
        return value - over if whole.startswith("-") else value + over
    mantissa, _, exponent = rest.partition("e")
    if abs(int(exponent or 0)) > LARGEST_EXPONENT:
        return None
    if "/" in mantissa:
        top, _, bottom = mantissa.partition("/")
        return Fraction(top) / int(bottom) if int(bottom) else None
    return Fraction(mantissa) * Fraction(10) ** int(exponent or 0)


def _doubtful(match: re.Match[str], text: str) -> bool:
    start = match.start()
    before = text[max(0, start - 14) : start]
    if match[0][0].isdigit() and before[-1:] and (before[-1].isalpha() or before[-1] in "_^/"):
        return True
    if before.endswith("^{") or _INDEX.search(before):
        return True
    if before.rpartition("\n")[2].strip(" *#>") or (start >= 14 and "\n" not in before):
        return False
    return _LISTED.match(text, match.end()) is not None


def _breaks_off(match: re.Match[str], text: str) -> bool:
    """Whether a number that ends the text is the index of a list's item that was not written.

    It begins a line, and so does the index before it, with the same mark. A number without a mark
    is an index only in the line right after that item: elsewhere it may be an answer.
    """
    left = _LEFT.match(text, match.end())
    if left is None or not match[0].isdigit() or len(match[0]) > 2:
        return False
    *lines, before = text[: match.start()].split("\n")
    if before.strip(" *#>("):
        return False
    mark = re.escape(left[1]) or "[.):]"
    index = re.compile(rf"[ *#>(]{{0,8}}{int(match[0]) - 1}\*{{0,2}}{mark}")
    return any(index.match(line) for line in (lines if left[1] else lines[-1:]))
