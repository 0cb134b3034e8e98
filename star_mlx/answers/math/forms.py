r"""Whole answers: a text -> the values that it may be.

Most texts have one reading. ``15,600`` is a number or two, ``east`` a word or a product of letters:
such a text has each of its readings, and is right if one is.
"""

from __future__ import annotations

import re
from fractions import Fraction

from star_mlx.answers.math.limits import Unreadable
from star_mlx.answers.math.parts import listed, text_value, together
from star_mlx.answers.math.tokens import clean, tokens
from star_mlx.answers.math.values import Formula, InBase, Phrase, Value, number
from star_mlx.answers.numerals import NUMBER_WORDS

_TRAILING = re.compile(r"(?:[.,;:?]|\\\\| )+$|^[ ,;:]+")
_GOES_ON = re.compile(r"[0-9]\.[0-9]+\.{2,}")  # 0.333...
_GROUPED = re.compile(r"(?<![0-9.,])[1-9][0-9]{0,2}(?:,[0-9]{3})+(?![0-9]|,[0-9])")
_SPACED = re.compile(r"(?<![0-9.,])[1-9][0-9]{0,2}(?: [0-9]{3})+(?![0-9.,/]| [0-9])")
_BASE = re.compile(
    r"(?P<minus>-?) ?\(?(?P<digits>[0-9][0-9A-Za-z]*(?:\.[0-9A-Za-z]+)?|[A-Z][0-9A-Z]+)\)?"
    r" ?_ ?\{? ?(?:\\(?:text|mathrm) ?\{ ?)?(?P<base>[0-9]{1,2}|[a-z]{3,8})[ }]*"
)
_BASES = {"two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9,
          "ten": 10, "eleven": 11, "twelve": 12, "sixteen": 16}  # fmt: skip
_VECTOR = re.compile(r"\\(?:mathbf|boldsymbol|bm|bf|vec|overrightarrow|hat)(?![A-Za-z])")
_PLAIN_WORDS = re.compile(r"[\w][\w '.,:&()-]*")
_TWO_LETTERS = re.compile(r"[^\W\d_]{2}|[ap]\.m", re.IGNORECASE)


def read(text: str) -> tuple[Value, ...]:
    """The readings of an answer, the most usual one first.

    Raises:
        Unreadable: it has none; the message says why.
    """
    cleaned = clean(text)
    if "\\times" in cleaned and _VECTOR.search(cleaned):
        raise Unreadable("it may be a cross product, whose order matters")
    if _GOES_ON.search(cleaned):
        raise Unreadable("its digits go on")
    while (shorter := _TRAILING.sub("", _bare(cleaned))) != cleaned:
        cleaned = shorter
    if not cleaned:
        raise Unreadable("it is blank")
    found: list[Value] = []
    why: Unreadable | None = None
    for form in _written_forms(cleaned):
        try:
            found.append(_reading(form))
        except Unreadable as error:
            why = why or error
    if _PLAIN_WORDS.fullmatch(cleaned) and _TWO_LETTERS.search(cleaned):
        words = text_value(cleaned)
        found.append(words)
        if isinstance(words, Phrase) and words.text.casefold() in _NUMBERS:
            found.append(Formula(number(_NUMBERS[words.text.casefold()])))
    if not found:
        raise why or Unreadable("it has no reading")
    return tuple(dict.fromkeys(found))


def _bare(text: str) -> str:
    """A text without the braces around all of it."""
    if not (text.startswith("{") and text.endswith("}")):
        return text
    depth = 0
    for place, character in enumerate(text):
        depth += {"{": 1, "}": -1}.get(character, 0)
        if depth == 0:
            return text[1:-1].strip() if place == len(text) - 1 else text
    return text


_NUMBERS = {re.sub(r"[\s-]", "", word): value for word, value in NUMBER_WORDS.items()}


def _written_forms(text: str) -> list[str]:
    """A text with its thousands joined, if it may have any, and as it is."""
    if not any(c in text for c in "_"):
        text = _SPACED.sub(lambda m: m[0].replace(" ", ""), text)
    grouped = _GROUPED.search(text)
    if not grouped or any(c in text for c in "([") or "\\{" in text:
        return [text]
    joined = _GROUPED.sub(lambda m: m[0].replace(",", ""), text)
    led = any(group[0] == "0" and len(group) > 1 for group in grouped[0].split(","))
    return [joined, text] if grouped[0] == text and not led else [joined]


def _reading(text: str) -> Value:
    based = _in_base(text)
    if based is not None:
        return based
    return together(listed(tokens(text)))


def _in_base(text: str) -> InBase | None:
    """A numeral with its base; None if the text is something else.

    Raises:
        Unreadable: a digit is too large for the base.
    """
    match = _BASE.fullmatch(text)
    if match is None:
        return None
    base = _BASES.get(match["base"]) or (int(match["base"]) if match["base"].isdecimal() else 0)
    digits = match["digits"].upper()
    if not 2 <= base <= 36 or (digits[0].isalpha() and base <= 10):
        return None
    whole, _, places = digits.partition(".")
    value = Fraction(0)
    for digit in whole + places:
        worth = int(digit, 36)
        if worth >= base:
            raise Unreadable(f"it has the digit {digit} in base {base}")
        value = value * base + worth
    value /= base ** len(places)
    shown = whole.lstrip("0") or "0"
    shown += "." + places.rstrip("0") if places.rstrip("0") else ""
    minus = match["minus"] if value else ""
    return InBase(minus + shown, base, -value if minus else value)
