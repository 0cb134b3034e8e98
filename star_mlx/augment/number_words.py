"""Numbers in words: twenty-five, a dozen, half of, two thirds, twice.

The words for amounts that are no numbers are not looked at: a, another, both, single, few, several,
couple, pair, trio, decade, score.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction

from star_mlx.answers.numerals import NUMBER_WORDS
from star_mlx.augment.written_number import (
    ADDED,
    AMOUNT,
    INEXACT,
    MULTIPLE,
    ONCE,
    ORDINAL,
    ORDINAL_OR_PART,
    PART,
    PRONOUN,
    WrittenNumber,
    form_of_fraction,
    found,
)

_ONES = "one|two|three|four|five|six|seven|eight|nine"
_TEENS = "ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen|seventeen|eighteen|nineteen"
_TENS = "twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety"
_DASH = "[-\u2010\u2011]"
_END = r"(?![^\W_])"
_TO_99 = (
    rf"(?:(?:{_TENS})(?:{_DASH}(?:{_ONES}){_END}| (?:{_ONES}){_END}(?!-[a-z]))?|{_TEENS}|{_ONES})"
    + _END
)
_TO_999 = rf"(?:(?:{_TO_99}|a)[ -]hundred{_END}(?:(?: and)? {_TO_99})?|{_TO_99})"
_SCALED = r"[ -](?:thousand|million|billion)" + _END
CARDINAL = (
    rf"(?:zero{_END}|(?:{_TO_999}|a){_SCALED}(?:,?(?: and)? {_TO_999}(?:{_SCALED})?)*|{_TO_999})"
)

PARTS = {
    "half": 2, "third": 3, "quarter": 4, "fourth": 4, "fifth": 5, "sixth": 6, "seventh": 7,
    "eighth": 8, "ninth": 9, "tenth": 10, "twelfth": 12, "fifteenth": 15, "sixteenth": 16,
    "twentieth": 20, "hundredth": 100,
}  # fmt: skip
_PART = "|".join(PARTS)
_PARTS = "halves|" + "|".join(f"{name}s" for name in PARTS)
AND_PART = (  # of a mixed number: "and a half", "-and-two-thirds"
    r"[ -]and[ -](?:(?:an?|one)[ -](?:half|third|quarter|fourth)"
    rf"|(?:{_ONES})[ -](?:{_PARTS})){_END}"
)


_ORDINALS = (
    "first|second|third|fourth|fifth|sixth|seventh|eighth|ninth|tenth|eleventh|twelfth"
    "|(?:thir|four|fif|six|seven|eigh|nine)teenth|(?:twen|thir|for|fif|six|seven|eigh|nine)tieth"
    "|hundredth|thousandth"
)
_WORDS = re.compile(
    r"(?<![^\W_])(?<!\\)(?:"
    rf"(?P<compound>(?:{_TENS})-(?:{_ORDINALS}){_END})"
    rf"|(?P<half_dozen>(?:a )?half(?:[ -]a)?[ -]dozen{_END})"
    rf"|(?P<dozen>a dozen{_END})"
    rf"|(?P<fraction>(?P<top>an?|{_TO_99})[ -](?P<bottom>{_PART}|{_PARTS}){_END})"
    rf"|(?P<half>half{_END})"
    rf"|(?P<cardinal>{CARDINAL}(?P<added>{AND_PART})?)"
    rf"|(?P<times>(?:once|twice|thrice){_END})"
    rf"|(?P<multiple>(?:doubl|tripl|quadrupl|quintupl|halv)(?:e|ed|es|ing){_END})"
    rf"|(?P<ordinal>(?:{_ORDINALS})s?{_END})"
    rf"|(?P<inexact>(?:hundred|thousand|million|billion|dozen)s?{_END})"
    rf"|(?P<part>quarter(?= of\b))"
    r")",
    re.IGNORECASE,
)
_TIMES = {"once": 1, "twice": 2, "thrice": 3}
_SCALE_ENDS = re.compile(r"(?:hundred|thousand|million|billion)\Z", re.IGNORECASE)
_SCALES = {"thousand": 10**3, "million": 10**6, "billion": 10**9}

_OF = re.compile(
    r" (?:of|as|the|that|this|his|her|its|their|more|less|fewer|full|off|were|what)\b"
    r"|[ -](?:pound|mile|cup|hour|inch|gallon|acre|teaspoon|tablespoon|ounce)s?\b",
    re.IGNORECASE,
)
_HALF_OF = re.compile(
    r" (?:of|as|the|that|this|those|these|his|her|its|their|my|our|your|an?|what)\b"
    r"|[ -](?:hour|mile|cup|gallon|inch|pound|day|price|acre|liter|pint|ounce|teaspoon|tablespoon)"
    r"s?\b",
    re.IGNORECASE,
)
_HALF_NAMED = re.compile(
    r"\b(?:the|other|first|second|third|last|final|next|remaining|top|bottom|upper|lower|left|right"
    r"|front|back|this|that|each|every|by) \Z",
    re.IGNORECASE,
)
_NUMBER_BEFORE = re.compile(
    rf"(?:[0-9]\$?|(?<![^\W_])(?:{CARDINAL}))(?:[ -]| ?\([^)]{{0,9}}\) ?)\Z", re.IGNORECASE
)
_PRICE_BEFORE = re.compile(
    r"(?:[0-9]|\b(?:dollars?|cents?|pounds?|euros?|cost|each|per|the|by)) \Z", re.I
)
_ONE_MORE = re.compile(r"\b(?:another|first|last|next|every|extra|additional|full) \Z", re.I)
_UNIT_OF_TIME = re.compile(r"\b(?:per|each|every) \Z|/ ?\Z", re.IGNORECASE)
_ONE_BEFORE = re.compile(
    r"\b(?:no|any|every|each|this|the|which|another|other|last|next|first|second|third|fourth"
    r"|fifth|new|old|red|blue|green|white|black|yellow|big|bigger|biggest|small|smaller|smallest"
    r"|large|larger|largest|long|longer|longest|short|shorter|shortest|previous|remaining|same"
    r"|different|cheaper|loved|younger|older|a)[ -]\Z",
    re.IGNORECASE,
)
_ONE_COUNTS = re.compile(r"\b(?:least|most|only|just|exactly|than|by) \Z", re.IGNORECASE)
_ONE_IDIOM = re.compile(r" (?:by|at|after) (?:one|a time)\b", re.IGNORECASE)
_IDIOM_ONE = re.compile(r"\b(?:one (?:by|to|after|on)|plus) \Z", re.IGNORECASE)
_ONE_AFTER = re.compile(
    r"[.,;:?!)\"']|\s*\Z|'s|[ -](?:on|way|time|sided|eyed|of)\b"
    r"| (?:and|another|are|as|at|but|by|can|contains|could|cost|costs|did|does|eats|else|for|from"
    r"|get|gets|had|has|have|he|holds|if|in|is|it|makes|on|or|per|she|so|takes|than|that|that's"
    r"|they|to|was|weighs|were|when|which|who|will|with|would)\b",
    re.IGNORECASE,
)
_ONE_DAY = re.compile(r" (?:day|night|morning|evening|afternoon)\b", re.IGNORECASE)
_IN_ONE = re.compile(r"\b(?:in|for|per|after|during|of|than|least|only|just|within) \Z", re.I)


def numbers_in_words(text: str) -> Iterator[WrittenNumber]:
    """The numbers in words of a text, in order, each masked as a whole."""
    place = 0
    while match := _WORDS.search(text, place):
        number = _RULES[match.lastgroup or ""](text, match)
        if number is not None:
            yield number
        top = match["top"] or match[0]
        place = number.end if number else match.start() + len(top)


def cardinal(words: str) -> int:
    """The value of a number in words.

    >>> cardinal("two hundred and five thousand, twenty-one")
    205021
    """
    total = part = 0
    for word in re.split(r"[\s,\-\u2010\u2011]+", words.lower()):
        if word == "hundred":
            part = max(part, 1) * 100
        elif word in _SCALES:
            total, part = total + max(part, 1) * _SCALES[word], 0
        elif word == "a":
            part = 1
        elif word != "and":
            part += NUMBER_WORDS[word]
    return total + part


def part_of(name: str) -> Fraction:
    """The value of half, third, quarters, ..."""
    name = name.lower()
    name = "half" if name == "halves" else name
    return Fraction(1, PARTS[name if name in PARTS else name.removesuffix("s")])


def added_part(words: str) -> Fraction:
    """The value of what ``AND_PART`` matches.

    >>> added_part(" and three quarters")
    Fraction(3, 4)
    """
    top, bottom = re.split(r"[ -]", words.lower())[-2:]
    return (1 if top in ("a", "an") else NUMBER_WORDS[top]) * part_of(bottom)


# --------------------------------------------------------------------------- the rules


def _half_dozen(text: str, match: re.Match[str]) -> WrittenNumber:
    return found(text, match.start(), match.end(), "words", Fraction(6))


def _dozen(text: str, match: re.Match[str]) -> WrittenNumber:
    priced = _PRICE_BEFORE.search(text[max(0, match.start() - 12) : match.start()])
    reason = AMOUNT if priced else ""
    return found(text, match.start(), match.end(), "words", Fraction(12), reason)


def _fraction(text: str, match: re.Match[str]) -> WrittenNumber | None:
    top, bottom = match["top"].lower(), match["bottom"].lower()
    start, end = match.span()
    kind = "fraction in words"
    if top in ("a", "an"):
        if bottom.endswith("s"):
            return None
        value, reason = part_of(bottom), ""
        if bottom == "half":
            reason = ADDED if re.search(r"\band \Z", text[max(0, start - 5) : start]) else ""
        elif not _OF.match(text, end):
            reason = PART if bottom == "quarter" else ORDINAL_OR_PART
        return found(text, start, end, kind, value, reason, form_of_fraction(text, end))
    plural = bottom.endswith("s") or bottom == "halves"
    if plural != (top != "one") or (bottom in ("quarter", "quarters") and not _OF.match(text, end)):
        cut = start + len(match["top"])  # one quarter, a coin, or "two third-graders"
        return found(text, start, cut, "words", Fraction(cardinal(top)))
    value = cardinal(top) * part_of(bottom)
    return found(text, start, end, kind, value, form=form_of_fraction(text, end))


def _half(text: str, match: re.Match[str]) -> WrittenNumber:
    start, end = match.span()
    before = text[max(0, start - 12) : start]
    cut_in_half = re.search(r"\bin \Z", before, re.I) and not _HALF_OF.match(text, end)
    if not _HALF_OF.match(text, end) or _HALF_NAMED.search(before) or cut_in_half:
        return found(text, start, end, "fraction in words", Fraction(1, 2), PART)
    form = form_of_fraction(text, end)
    return found(text, start, end, "fraction in words", Fraction(1, 2), form=form)


def _cardinal(text: str, match: re.Match[str]) -> WrittenNumber:
    start, end = match.span()
    words = text[start : match.start("added")] if match["added"] else match[0]
    if match["added"]:
        if _SCALE_ENDS.search(words):  # a million and a half
            return found(text, start, end, "mixed number", None, ADDED)
        value = cardinal(words) + added_part(match["added"])
        return found(text, start, end, "mixed number", value)
    before = text[max(0, start - 16) : start]
    reason = ""
    if words.lower() == "one" and _is_pronoun(text, end, before):
        reason = PRONOUN
    elif words[:2].lower() == "a " and _PRICE_BEFORE.search(before):
        reason = AMOUNT
    return found(text, start, end, "words", Fraction(cardinal(words)), reason)


def _is_pronoun(text: str, end: int, before: str) -> bool:
    """Whether a "one" is no number, by the words beside it."""
    if _ONE_DAY.match(text, end):
        return not _IN_ONE.search(before)
    if _ONE_IDIOM.match(text, end) or _IDIOM_ONE.search(before):
        return True
    if _ONE_COUNTS.search(before):
        return False
    if _ONE_BEFORE.search(before) and text[end : end + 1] != "-":
        return True
    return _ONE_AFTER.match(text, end) is not None


def _times(text: str, match: re.Match[str]) -> WrittenNumber:
    start, end = match.span()
    value = Fraction(_TIMES[match[0].lower()])
    counts = value > 1 or re.match(r" (?:an?|every|per|each|in) ", text[end:])
    reason = "" if counts else ONCE
    return found(text, start, end, "multiple in words", value, reason, "{} times")


def _multiple(text: str, match: re.Match[str]) -> WrittenNumber:
    return found(text, match.start(), match.end(), "multiple in words", None, MULTIPLE)


def _ordinal(text: str, match: re.Match[str]) -> WrittenNumber | None:
    before = text[max(0, match.start() - 40) : match.start()]
    name = match[0].lower()
    timed = _NUMBER_BEFORE.search(before) or _UNIT_OF_TIME.search(before)
    if name == "seconds" or (name == "second" and timed):
        return None  # the unit of time
    return found(text, match.start(), match.end(), "ordinal", None, ORDINAL)


def _inexact(text: str, match: re.Match[str]) -> WrittenNumber | None:
    before = text[max(0, match.start() - 40) : match.start()]
    if _NUMBER_BEFORE.search(before):
        return None  # a unit: 5 dozen, 3 million
    name = match[0].lower()
    exact = not name.endswith("s") and _ONE_MORE.search(before)
    value = Fraction(12 if name == "dozen" else cardinal(name)) if exact else None
    priced = not name.endswith("s") and _PRICE_BEFORE.search(before)
    reason = "" if exact else AMOUNT if priced else INEXACT
    return found(text, match.start(), match.end(), "words", value, reason)


def _part(text: str, match: re.Match[str]) -> WrittenNumber:
    return found(text, match.start(), match.end(), "fraction in words", Fraction(1, 4), PART)


_RULES = {
    "compound": _ordinal,
    "half_dozen": _half_dozen,
    "dozen": _dozen,
    "fraction": _fraction,
    "half": _half,
    "cardinal": _cardinal,
    "times": _times,
    "multiple": _multiple,
    "ordinal": _ordinal,
    "inexact": _inexact,
    "part": _part,
}
