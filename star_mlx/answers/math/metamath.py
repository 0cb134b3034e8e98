"""MetaMath's comparison of answers to MATH: two texts are equal after a few rewritings.

Written anew from its published rules (Yu et al. 2023, after Hendrycks et al. 2021): it compares
texts and knows no values, so 0.25 and 1/4 are different.
"""

from __future__ import annotations

import re

_REMOVED = ("\n", "\\!", "\\left", "\\right", "^{\\circ}", "^\\circ", "\\$", "\\%", "%")
_ROOT_OF_ONE = re.compile(r"\\sqrt(?!\{|\[)(.)")
_FRACTION = re.compile(r"\\frac(?!\{)(.)(?:\{([^{}]*)\}|(.))")
_SIMPLE = re.compile(r"(-?[0-9]+)/(-?[0-9]+)")
_POINT = re.compile(r"(^|[ {])\.")


def equal(answer: str, gold: str) -> bool:
    """Whether MetaMath's evaluation calls an answer right."""
    return normalized(answer) == normalized(gold)


def normalized(text: str) -> str:
    """An answer in the form in which it is compared."""
    text = text.replace("\\\\", "\\").replace("tfrac", "frac").replace("dfrac", "frac")
    for part in _REMOVED:
        text = text.replace(part, "")
    if text.count("\\text{ ") == 1:  # a unit stands behind the answer
        text = text.partition("\\text{ ")[0]
    text = _POINT.sub(r"\g<1>0.", text)
    if not text:
        return text
    name, equals, value = text.partition("=")
    if equals and "=" not in value and len(name) <= 2:
        text = value
    text = _ROOT_OF_ONE.sub(r"\\sqrt{\1}", text).replace(" ", "")
    text = _FRACTION.sub(
        lambda m: f"\\frac{{{m[1]}}}{{{m[2] if m[2] is not None else m[3]}}}", text
    )
    if text == "0.5":
        text = "\\frac{1}{2}"
    simple = _SIMPLE.fullmatch(text)
    return f"\\frac{{{int(simple[1])}}}{{{int(simple[2])}}}" if simple else text
