"""Format numbers, and foreign text, for display."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

_UNSEEN = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}  # control, format, surrogate, private, separators

DOING = {
    "augment": "writing",
    "generate": "generating",
    "rationalize": "generating with hint",
    "train": "training",
    "evaluate": "measuring",
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


def clipped(text: str, most: int = 80) -> str:
    """A text without its middle if it is longer than ``most`` characters."""
    if len(text) <= most:
        return text
    left = len(text) - most
    return f"{text[: most * 2 // 3]}[... {left} characters ...]{text[len(text) - most // 3 :]}"


def without_password(text: str) -> str:
    """A text in which no address of the network holds a user or a password."""
    return re.sub(r"(?<=//)[^/@\s\"']*@", "***@", text)


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


def program() -> str:
    """How the user runs star-mlx, for commands that are printed to be run: ``star-mlx``, or
    ``.venv/bin/star-mlx`` if the shell does not find that one by its name."""
    given = sys.argv[0] if sys.argv else ""
    name = os.path.basename(given)
    if name == "__main__.py" and os.path.basename(os.path.dirname(given)) == "star_mlx":
        return f"{_from_here(sys.executable, os.path.basename(sys.executable))} -m star_mlx"
    return _from_here(given, "star-mlx") if name == "star-mlx" else "star-mlx"


def _from_here(path: str, name: str) -> str:
    """A program's name if the shell finds it by that, else its path, relative if it is below."""
    found = shutil.which(name)
    if found and os.path.abspath(path) == os.path.abspath(found):
        return name
    relative = os.path.relpath(path)
    if relative.startswith(".."):
        return shlex.quote(path)
    return shlex.quote(relative if os.sep in relative else f".{os.sep}{relative}")


_SHOULD = {  # pydantic's types of errors, in a user's words
    "int_type": "be a whole number",
    "int_parsing": "be a whole number",
    "int_from_float": "be a whole number",
    "float_type": "be a number",
    "float_parsing": "be a number",
    "finite_number": "be a finite number",
    "bool_type": "be true or false",
    "bool_parsing": "be true or false",
    "string_type": "be text",
    "string_too_short": "not be empty",
    "tuple_type": "be a list, such as {example}",
    "list_type": "be a list, such as {example}",
    "too_short": "have at least {min_length} entries",
    "too_long": "have at most {max_length} entries",
    "literal_error": "be {expected}",
    "dict_type": "be a group of keys",
    "model_type": "be a group of keys",
    "greater_than": "be more than {gt}",
    "greater_than_equal": "be at least {ge}",
    "less_than": "be less than {lt}",
    "less_than_equal": "be at most {le}",
}
_TYPE = re.compile(r"constrained-|\S*\[|(int|str|float|bool)$")  # in a place: a type of a union


def refused(errors: Sequence[Mapping[str, Any]], example: str) -> tuple[tuple[str, ...], str]:
    """The key of the first value that pydantic refused, and its demand: ``"should be text"``,
    or ``"is missing"``.

    Args:
        errors: those of a ``ValidationError``. A value that may be of several types has an error
            for each of them.
        example: a list that would be right, if the value should be one.
    """
    key = _key(errors[0])
    if errors[0]["type"] == "missing" and not _short(errors[0]):
        return key, "is missing"
    wanted = dict.fromkeys(_demand(error, example) for error in errors if _key(error) == key)
    first, *others = wanted
    return key, " or ".join([f"should {first}", *(text.removeprefix("be ") for text in others)])


def _key(error: Mapping[str, Any]) -> tuple[str, ...]:
    """The place of an error without what is no key: types, and the number of a missing entry."""
    place = error["loc"][:-1] if _short(error) else error["loc"]
    if error["type"] == "extra_forbidden":  # a user's word, which may look like a type
        return tuple(map(str, place))
    return tuple(str(part) for part in place if isinstance(part, int) or not _TYPE.match(part))


def _short(error: Mapping[str, Any]) -> bool:
    """Whether a list has too few entries, which is said of the first one missing."""
    return error["type"] == "missing" and isinstance(error["loc"][-1], int)


def _demand(error: Mapping[str, Any], example: str) -> str:
    if _short(error):
        return f"have at least {error['loc'][-1] + 1} entries"
    if text := _SHOULD.get(error["type"]):
        context = {key: _plain(value) for key, value in error.get("ctx", {}).items()}
        return text.format(example=example, **context)
    said = str(error["msg"]).removeprefix("Input should ").removeprefix("Value error, ")
    return said[:1].lower() + said[1:]


def _plain(value: Any) -> str:
    """A bound, or the allowed words, without what only Python writes."""
    return f"{value:g}" if isinstance(value, float) else str(value).replace("'", "")
