"""Format numbers, and foreign text, for display."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

_UNSEEN = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}  # control, format, surrogate, private, separators

DOING = {
    "generate": "generating",
    "rationalize": "rationalizing",
    "train": "training",
    "evaluate": "evaluating",
}


def harmless(text: str) -> str:
    """Make control characters visible, so that a text cannot control the terminal.

    Newlines are kept, and tabs become spaces.
    """
    return "".join(c if c == "\n" or _seen(c) else _symbol(c) for c in text)


def _seen(c: str) -> bool:
    return unicodedata.category(c) not in _UNSEEN


def _symbol(c: str) -> str:
    if c == "\t":
        return "    "
    if ord(c) < 0x20:
        return chr(0x2400 + ord(c))  # U+241B is a picture of the escape character
    return f"\\u{ord(c):04x}"


def duration(seconds: float) -> str:
    """``"0.4 s"``, ``"34 s"``, ``"5 min 3 s"``, ``"2 h 5 min"``."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def rate(count: float, seconds: float) -> str:
    """A rate per second, to two or three digits; empty if no time has passed."""
    if seconds <= 0 or count <= 0:
        return ""
    value = count / seconds
    return f"{value:.0f}" if value >= 10 else f"{value:.1f}" if value >= 1 else f"{value:.2f}"


def count(number: float) -> str:
    """A large number in about three digits: ``"1.2M"``."""
    for unit, size in (("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            return (
                f"{number / size:.1f}{unit}"
                if number < 100 * size
                else f"{number / size:.0f}{unit}"
            )
    return f"{number:.0f}"


def describe(model: Mapping[str, Any]) -> list[str]:
    """The properties of a model, in a few words each."""
    words = [harmless(str(model.get("name", "model")))]
    if bits := model.get("bits"):
        words.append(f"{bits}-bit")
    if parameters := model.get("parameters"):
        words.append(f"{count(parameters)} parameters")
    if device := model.get("device"):
        words.append(harmless(str(device)))
    return words


def percent(fraction: float, digits: int = 0) -> str:
    """A fraction as a percentage, never rounded to 0 or 100."""
    text = f"{100 * fraction:.{digits}f}"
    step = 10.0**-digits
    if fraction < 1 and float(text) >= 100:
        return f"{100 - step:.{digits}f}"
    return f"{step:.{digits}f}" if fraction > 0 and float(text) == 0 else text


def interval(ends: Sequence[float], digits: int = 0, between: str = "-") -> str:
    """The ends of an interval of fractions, in per cent: ``"42-51"``."""
    low, high = ends
    return f"{100 * low:.{digits}f}{between}{100 * high:.{digits}f}"


def class_order(name: str) -> tuple[bool, int, str]:
    """The sort key of classes of problems: numbers by size, then names."""
    number = name.isdecimal() and len(name) < 20
    return not number, int(name) if number else 0, name
