"""Formulas with a currency before them, or a unit or a word behind: reading them from tokens."""

from __future__ import annotations

import re
from collections.abc import Sequence

from star_mlx.answers.math.formula import formula
from star_mlx.answers.math.limits import Unreadable
from star_mlx.answers.math.measures import DEGREES, PERCENT
from star_mlx.answers.math.tokens import Token
from star_mlx.answers.math.values import Formula, Measure, Node, Phrase, Value, number
from star_mlx.answers.math.vocabulary import DECORATIONS, spread
from star_mlx.answers.units import Unit, whole_unit

_MONEY = frozenset("$€£¥₹₩")
_SCALES = {"hundred": 10**2, "thousand": 10**3, "million": 10**6, "billion": 10**9,
           "trillion": 10**12, "dozen": 12}  # fmt: skip
# Words that say more than what is counted: they are not left out.
_NOT_COUNTED = re.compile(
    r"\b(?:not|no|if|for|when|where|with|or|and|mod|times|to|than|per|of|is|are|as|base|more|less"
    r"|remainder|approximately|about|each|every|plus|minus|over|out|at|least|most|except|but)\b",
    re.IGNORECASE,
)
_COUNTED = re.compile(r"[a-z]+(?:[ -][a-z]+){0,3}(?:\^[23])?", re.IGNORECASE)
_SOUNDS = re.compile(r"[a-z]+[aeiou][a-z]*", re.IGNORECASE)  # a word, unlike abcd
_HOURS = re.compile(r"(?:a\.? ?m|p\.? ?m|o'clock)\.?", re.IGNORECASE)
_RAISED = {"square": "^2", "sq": "^2", "cubic": "^3"}


def quantity(parts: Sequence[Token], plus: bool) -> Value:
    """A formula, with a currency before it or a unit behind it.

    Raises:
        Unreadable: it has no reading, or two units.
    """
    parts = list(parts)
    money = next((k for k, token in enumerate(parts[:2]) if token.text in _MONEY), None)
    currency: Unit = (("", 1),) if money is None else ((parts.pop(money).text, 1),)
    if parts and parts[-1].text == "%" and parts[-1].kind == "sign":
        if money is not None:
            raise Unreadable("it has two units")
        return Measure(formula(parts[:-1], plus), frozenset({PERCENT}))
    head, words = _unit_words(parts)
    node = formula(head, plus)
    if money is not None:
        found = _with_words(node, words)
        if isinstance(found, Measure) and currency not in found.units:
            raise Unreadable("it has two units")
        if isinstance(found, Formula | Measure):
            return Measure(found.node, frozenset({currency}))
    angle = _degrees(node)
    if angle is not None and not words:
        return angle
    return _with_words(node, words)


def _unit_words(parts: Sequence[Token]) -> tuple[Sequence[Token], str]:
    """The tokens of the formula, and the words behind it: text, or words of letters."""
    for place, token in enumerate(parts):
        if token.kind == "text" and place:
            return parts[:place], _spelled(parts[place:])
    begin = len(parts)
    tail = len(parts) - 2 if [t.text for t in parts[-2:-1]] == ["^"] else len(parts)
    while tail > 1 and _is_word(parts[tail - 1]) and parts[tail - 2].text not in DECORATIONS:
        tail = begin = tail - 1
    words = _spelled(parts[begin:]) if begin < len(parts) else ""
    counted = words.startswith(" ") and len(words) > 3  # 2abcd is a product
    known = words and (whole_unit(words) or counted)
    return (parts[:begin], words) if known else (parts, "")


def _is_word(token: Token) -> bool:
    text = token.text
    return (
        token.kind == "letters"
        and len(text) > 1
        and (
            bool(whole_unit(text))  # 5 min, which is no minimum
            or (_SOUNDS.fullmatch(text) is not None and len(spread([token])) == len(text))
        )
    )


def _spelled(parts: Sequence[Token]) -> str:
    spelled = "".join(" " * (t.spaced or t.kind == "text") + t.text for t in parts)
    return re.sub(r" ?\^ ?\{? ?([23]) ?\}?", r"^\1", spelled)


def _with_words(node: Node, words: str) -> Value:
    """A formula with the words behind it: a unit, a scale such as million, or what is counted.

    Raises:
        Unreadable: the words say more than that.
    """
    words = " ".join(words.strip(" .,;:!").split())
    if not words:
        return Formula(node)
    first, _, rest = words.partition(" ")
    if first.casefold() in _SCALES:
        scaled = Node("multiply", (node, number(_SCALES[first.casefold()])))
        return _with_words(scaled, rest)
    if _HOURS.fullmatch(words) and node.op == "number":
        return Phrase(f"{node.value}{words[0].lower()}{'m' if words[0] in 'aApP' else 'clock'}")
    units = whole_unit(words)
    if units:
        return Measure(node, units)
    if _NOT_COUNTED.search(words) or not _COUNTED.fullmatch(words):
        raise Unreadable(f"the words {words[:30]!r} after it are no unit")
    return Measure(node, words=_counted(words))


def _counted(words: str) -> str:
    """Words without case and number, "square units" as "unit^2"."""
    words = words.casefold()
    first, _, rest = words.partition(" ")
    if rest and first in _RAISED:
        words = rest + _RAISED[first]
    name, power, digit = words.partition("^")
    return name.removesuffix("s") + power + digit


def _degrees(node: Node) -> Measure | None:
    r"""The angle that ``30^\circ`` is, with or without a sign."""
    if node.op == "degrees":
        return Measure(node.args[0], frozenset({DEGREES}))
    if node.op == "negate" and node.args[0].op == "degrees":
        return Measure(Node("negate", node.args[0].args), frozenset({DEGREES}))
    return None
