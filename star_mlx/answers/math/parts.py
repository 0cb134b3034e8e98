r"""The parts of an answer: lists and sets, intervals, points, matrices, relations, units.

Everything works on tokens, and splits them only outside brackets.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from star_mlx.answers.math import equality, regions
from star_mlx.answers.math.brackets import OPEN, any_of, enclosed, matrix, split
from star_mlx.answers.math.formula import formula
from star_mlx.answers.math.limits import MOST_ITEMS, Unreadable
from star_mlx.answers.math.quantities import quantity
from star_mlx.answers.math.statements import statement
from star_mlx.answers.math.tokens import Token, tokens
from star_mlx.answers.math.values import (
    Formula,
    Label,
    Named,
    Node,
    Phrase,
    Ratio,
    Region,
    Relation,
    Several,
    Value,
)

_JOINING = {"and": "and", "or": "or", "wedge": "and", "vee": "or"}
_LABEL = re.compile(r"[(\[]? ?([A-Z]) ?[)\].:]?")
_LABELS = re.compile(r"\(?[A-Z]\)?(?:(?:, ?(?:and )?| and | or )\(?[A-Z]\)?)+")
_TIME = re.compile(r"[0-9]{1,2}:0[0-9]")  # no ratio has such a zero
_ALL = frozenset({"allrealnumbers", "allreals", "realnumbers", "everyrealnumber", "allrealx"})
_NONE = frozenset({"nosolution", "nosolutions", "emptyset", "norealsolutions", "norealsolution",
                   "norealroots", "nosuchvalues"})  # fmt: skip


# --------------------------------------------------------------------------- lists


def together(items: Sequence[Value]) -> Value:
    """One item as it is, and several as a list."""
    return items[0] if len(items) == 1 else Several(tuple(items), "list")


def listed(parts: Sequence[Token]) -> list[Value]:
    """The items of a list without brackets around it.

    Raises:
        Unreadable: one of them has no reading.
    """
    while enclosed(parts) and parts[0].text == "{" and parts[0].kind == "sign":
        parts = parts[1:-1]
    items, between = split(_with_words(parts), _separator)
    items = [item for item in items if item]  # "1, and 2"
    if not items:
        raise Unreadable("it has nothing in it")
    if len(items) > MOST_ITEMS:
        raise Unreadable(f"it has more than {MOST_ITEMS} items")
    found = [value for item in items for value in _item(item)]
    if len(items) > 1 and any(_condition(value) for value in found):
        if set(between) - {","} == {"or"}:
            return [_either(found)]
        raise Unreadable("it is several conditions at once")
    logic = len(items) > 1 and any(token.text in ("wedge", "vee") for token in parts)
    if logic and not all(isinstance(value, Named) for value in found):
        raise Unreadable("it is a formula of logic")
    return _one_name(found)


def _condition(value: Value) -> bool:
    """Whether it is an interval or an inequality."""
    if isinstance(value, Relation):
        return set(value.signs) != {"="}
    return isinstance(value.value if isinstance(value, Named) else value, Region)


def _either(conditions: Sequence[Value]) -> Value:
    """The union of ``x < 1 or x > 3``.

    Raises:
        Unreadable: they are conditions on several variables, or no regions.
    """
    names = {value.name for value in conditions if isinstance(value, Named)}
    if len(names) > 1:
        raise Unreadable("it has conditions on several variables")
    bare = [value.value if isinstance(value, Named) else value for value in conditions]
    regions_ = [value for value in bare if isinstance(value, Region)]
    if len(regions_) < len(bare):
        raise Unreadable("it is several conditions at once")
    union = regions.joined(regions_)
    return Named(names.pop(), union) if names else union


def _separator(token: Token) -> str:
    if token.text in (",", ";"):
        return ","
    return _JOINING.get(token.text, "") if token.kind == "command" else ""


def _with_words(parts: Sequence[Token]) -> list[Token]:
    r"""Tokens with "and" and "or", in ``\text{}`` or not, as commands."""
    found: list[Token] = []
    for token in parts:
        word = token.text.strip(" ,").casefold() if token.kind in ("text", "letters") else ""
        if word in ("and", "or", "&"):
            found.append(Token("command", "and" if word == "&" else word, True))
        else:
            found.append(token)
    return found


def _one_name(items: list[Value]) -> list[Value]:
    """The name x of ``x = 1, 2`` or ``x = 1 or x = 2``, said once, in front of the list."""
    first = items[0]
    if len(items) == 1 or not isinstance(first, Named):
        return items
    if any(isinstance(item, Named) and item.name != first.name for item in items):
        return items
    bare = [item.value if isinstance(item, Named) else item for item in items]
    return [Named(first.name, Several(tuple(bare), "list"))]


# --------------------------------------------------------------------------- one item


def _item(parts: Sequence[Token]) -> list[Value]:
    r"""An item of a list; two for one with ``\pm``.

    Raises:
        Unreadable: it has no reading.
    """
    signs = [t.text for t in parts if t.kind == "command" and t.text in ("pm", "mp")]
    if not signs:
        return [_value(parts, True)]
    if len(signs) > 1 and "mp" not in signs:
        raise Unreadable("its \\pm may be the same sign, or each its own")
    return [_value(parts, True), _value(parts, False)]


def _value(parts: Sequence[Token], plus: bool) -> Value:
    while enclosed(parts) and parts[0].text == "{" and parts[0].kind == "sign":
        parts = parts[1:-1]
    if not parts:
        raise Unreadable("a part of it is blank")
    if parts[0].kind == "text" and len(parts) == 1:
        return text_value(parts[0].text)
    joined = _union(parts, plus)
    if joined is not None:
        return joined
    related = statement(parts, plus, _value)
    if related is not None:
        return related
    if enclosed(parts):
        found = _bracketed(parts, plus)
        if found is not None:
            return found
    sides, colons = split(parts, any_of(":"))
    if colons:
        spelled = "".join(token.text for token in parts)
        if _TIME.fullmatch(spelled):
            return Phrase.of(spelled)
        return Ratio(tuple(formula(side, plus) for side in sides))
    table = matrix(parts, plus)
    return table if table is not None else quantity(parts, plus)


def text_value(text: str) -> Value:
    r"""What a ``\text{...}`` is that is the whole answer: choices, a number, or words."""
    text = text.strip(" .,$")
    label = _LABEL.fullmatch(text)
    if label:
        return Label(label[1])
    if _LABELS.fullmatch(text):
        letters = re.findall("[A-Z]", re.sub("and|or", "", text))
        return Several(tuple(Label(letter) for letter in letters), "list")
    words = Phrase.of(text)
    if words.text in _ALL or words.text in _NONE:
        return regions.LINE if words.text in _ALL else regions.EMPTY
    if re.fullmatch(r"[-+]?[0-9.,/ ]+%?", text):
        return together(listed(tokens(text)))
    if not words.text:
        raise Unreadable("it is blank")
    return words


# --------------------------------------------------------------------------- brackets


def _bracketed(parts: Sequence[Token], plus: bool) -> Value | None:
    """What brackets around all of an answer make of it; None if it is a formula in brackets."""
    opening, closing, inside = parts[0].text, parts[-1].text, parts[1:-1]
    if parts[0].kind == "begin":
        return None
    if opening == "\\{" and closing == "\\}":
        return _set(inside, plus)
    items, commas = split(inside, any_of(",", ";"))
    if not commas:
        if opening == "(" and len(inside) == 1:
            label = inside[0].text.strip()
            if inside[0].kind in ("letters", "text") and _LABEL.fullmatch(label):
                return Label(label)
        if opening == "langle":
            raise Unreadable("it has a single part in pointed brackets")
        return None
    if len(items) > MOST_ITEMS:
        raise Unreadable(f"it has more than {MOST_ITEMS} items")
    kinds = {"(": "()", "[": "[]", "langle": "<>"}
    if len(items) == 2 and opening in "([" and closing in ")]":
        region = _interval(items, opening, closing, plus)
        if region is not None:
            return region
    if opening not in kinds or closing != OPEN[opening]:
        raise Unreadable("its brackets do not match")
    return Several(tuple(_value(item, plus) for item in items), "tuple", kinds[opening])


def _interval(
    items: Sequence[Sequence[Token]], opening: str, closing: str, plus: bool
) -> Region | None:
    """An interval; None for a pair in round brackets without infinity, which may be a point."""
    infinite = any(
        t.text in ("infty", "infinity", "inf", "Infinity") for item in items for t in item
    )
    if opening == "(" and closing == ")" and not infinite:
        return None
    low, high = (formula(item, plus) for item in items)
    return regions.one_piece(low, high, (opening == "[", closing == "]"))


def _set(inside: Sequence[Token], plus: bool) -> Value:
    """A set in braces: its members, or those for which a condition holds."""
    if not inside:
        return regions.EMPTY
    for sign in ("|", ":"):
        halves, bars = split(inside, any_of(sign))
        if len(bars) == 1:
            related = statement(halves[1], plus, _value)
            if isinstance(related, Named) and isinstance(related.value, Region):
                member = "".join(token.text for token in halves[0])
                if member.removesuffix("inmathbb{R}") != related.name:
                    raise Unreadable("its condition is not on any real number")
                return related.value
    found = listed(inside)
    if len(found) == 1 and isinstance(found[0], Named):
        raise Unreadable("it has a name inside a set")
    return Several(tuple(found), "set")


def _union(parts: Sequence[Token], plus: bool) -> Region | None:
    r"""A union of intervals and sets of numbers; None without ``\cup`` or ``\mathbb{R}``."""
    pieces, cups = split(parts, _cup)
    if cups and all(pieces):
        return regions.joined(regions.of_value(_value(piece, plus)) for piece in pieces)
    names = [t.text for t in parts]
    if names[:4] == ["mathbb", "{", "R", "}"] or names[:2] == ["mathbb", "R"]:
        rest = parts[4 if names[1] == "{" else 2 :]
        if not rest:
            return regions.LINE
        if rest[0].text in ("setminus", "-", "\\\\"):
            taken = _value(rest[1:], plus)
            if isinstance(taken, Several) and taken.kind == "set":
                return regions.without(_in_order(taken))
        raise Unreadable("what follows the real numbers has no reading")
    if names in (["emptyset"], ["\\{", "\\}"]):
        return regions.EMPTY
    return None


def _cup(token: Token) -> str:
    return "cup" if token.text in ("cup", "U") and token.kind in ("command", "letters") else ""


def _in_order(numbers: Several) -> list[Node]:
    nodes = [item.node for item in numbers.items if isinstance(item, Formula)]
    values = [equality.rational(node) for node in nodes]
    if len(nodes) < len(numbers.items) or None in values:
        raise Unreadable("what is taken out of the real numbers has no order")
    return [node for _, node in sorted(zip(values, nodes, strict=True), key=lambda p: p[0] or 0)]
