"""Numbers with a unit: 6 km, $18, 50%, 3 m/s."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from star_mlx.answers.completion import final
from star_mlx.answers.numerals import CENTS, NUMERAL, SCALE, alone, number
from star_mlx.answers.units import Unit, in_base, unit_after, unit_around

_SIGNS = "$€£¥₹₩"
_TEX = re.compile(r"[^$0-9\n]{0,40}\$(?![0-9.])")  # $18$ is a formula, $18 is money


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number and the units that its unit may mean; ``other`` is text behind it that is none."""

    value: Fraction
    units: frozenset[Unit]
    other: str


def quantity(text: str) -> Quantity | None:
    """The value of a text that is one number, with its unit; None if it is not.

    >>> quantity("6 kilometers").units == quantity("6km").units
    True
    """
    value = number(text)
    if value is None:
        return None
    shown = alone(text)
    found, match = _unit(shown), NUMERAL.match(shown)
    other = shown[match.end() :].strip() if match and not found else ""
    return Quantity(value, found[0] if found else frozenset(), other)


def final_quantity(completion: str) -> str | None:
    """The number a completion gives as its answer, with its unit if it has one.

    >>> final_quantity("He ran 3 km twice. The answer is 6 kilometers, of course.")
    '6 kilometers'
    """
    found = final(completion)
    if found is None:
        return None
    unit = _unit(found.shown)
    if unit is None:
        return found.number
    sign, written = unit[1], unit[2]
    space = "" if written[:1] in ("", "/", "%", "°") else " "
    minus = "-" if sign and found.number.startswith("-") else ""
    return f"{minus}{sign}{found.number.removeprefix(minus)}{space}{written}"


def same_quantity(answer: str, gold: str, *, convert: bool = False) -> bool:
    """Whether two texts are the same number in the same unit.

    A gold answer without a unit accepts any. One with a word that is no known unit, such as 6
    apples, accepts any but a known unit.

    Args:
        answer: what was read.
        gold: the right answer.
        convert: whether 6000 m is 6 km.
    """
    a, b = quantity(answer), quantity(gold)
    return a is not None and b is not None and same_value(a, b, convert=convert)


def same_value(a: Quantity, gold: Quantity, *, convert: bool) -> bool:
    """``same_quantity`` of two quantities."""
    if not gold.units:
        return a.value == gold.value and not (gold.other and a.units)
    if a.units & gold.units:
        return a.value == gold.value
    return convert and any(
        in_base(a.value, one) == in_base(gold.value, other)
        for one in a.units
        for other in gold.units
    )


def _unit(shown: str) -> tuple[frozenset[Unit], str, str] | None:
    """The units of a number that a text begins with, the sign before it and the text behind it."""
    match = NUMERAL.match(shown)
    if match is None:
        return None
    begin, end = match[0][:3], match.end()
    sign = next((c for c in begin if c in _SIGNS), "")
    if sign == "$" and (tex := _TEX.match(shown, end)):
        sign, shown = "", shown[: tex.end() - 1] + " " + shown[tex.end() :]
    if CENTS.match(shown, end):
        return (frozenset({(("$", 1),)}), "$", "")
    if match["percent"]:
        return (frozenset({(("%", 1),)}), "", "%")
    if scale := SCALE.match(shown, end):
        end = scale.end()
    found = unit_around(sign, shown[end:]) if sign else unit_after(shown[end:])
    return found and (found[0], sign, found[1])
