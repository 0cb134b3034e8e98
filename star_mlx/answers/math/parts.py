r"""The parts of an answer: lists and sets, intervals, points, matrices, relations, units.

Everything works on tokens, and splits them only outside brackets.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from star_mlx.answers.math import equality, measures, regions
from star_mlx.answers.math.brackets import OPEN, any_of, enclosed, matrix, split
from star_mlx.answers.math.formula import FUNCTIONS, formula, spread
from star_mlx.answers.math.limits import MOST_ITEMS, Undecided, Unreadable
from star_mlx.answers.math.tokens import Token, tokens
from star_mlx.answers.math.values import (
    Formula,
    Label,
    Measure,
    Named,
    Node,
    Phrase,
    Ratio,
    Region,
    Relation,
    Rounded,
    Several,
    Value,
    symbols,
)
from star_mlx.answers.units import Unit

_SIGNS = {"=": "=", "<": "<", ">": ">", "le": "<=", "ge": ">=", "ne": "!=", "approx": "~",
          "in": "in"}  # fmt: skip
_LABEL = re.compile(r"[(\[]? ?([A-Z]) ?[)\].:]?")
_LABELS = re.compile(r"\(?[A-Z]\)?(?:(?:, ?(?:and )?| and | or )\(?[A-Z]\)?)+")
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
    conditions = [value for value in found if _condition(value)]
    if len(items) > 1 and len(conditions) == len(found):
        if set(between) - {","} == {"or"}:
            return [_either(conditions)]
        raise Unreadable("it is several conditions at once")
    return _one_name(found)


def _condition(value: Value) -> bool:
    return isinstance(value, Region) or (
        isinstance(value, Named) and isinstance(value.value, Region)
    )


def _either(conditions: Sequence[Value]) -> Value:
    """The union of ``x < 1 or x > 3``.

    Raises:
        Unreadable: they are conditions on several variables.
    """
    names = {value.name for value in conditions if isinstance(value, Named)}
    if len(names) > 1:
        raise Unreadable("it has conditions on several variables")
    bare = [value.value if isinstance(value, Named) else value for value in conditions]
    union = regions.joined(value for value in bare if isinstance(value, Region))
    return Named(names.pop(), union) if names else union


def _separator(token: Token) -> str:
    if token.text in (",", ";"):
        return ","
    return token.text if token.kind == "command" and token.text in ("and", "or") else ""


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
    if any(t.kind == "command" and t.text in ("pm", "mp") for t in parts):
        return [_value(parts, True), _value(parts, False)]
    return [_value(parts, True)]


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
    related = _relation(parts, plus)
    if related is not None:
        return related
    if enclosed(parts):
        found = _bracketed(parts, plus)
        if found is not None:
            return found
    sides, colons = split(parts, any_of(":"))
    if colons:
        return Ratio(tuple(formula(side, plus) for side in sides))
    table = matrix(parts, plus)
    return table if table is not None else _measured(parts, plus)


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


def _measured(parts: Sequence[Token], plus: bool) -> Value:
    """A formula, with a currency before it or a unit behind it."""
    parts = list(parts)
    money = next((k for k, token in enumerate(parts[:2]) if token.text in measures.MONEY), None)
    currency: Unit = (("", 1),) if money is None else ((parts.pop(money).text, 1),)
    if parts and parts[-1].text == "%" and parts[-1].kind == "sign":
        return Measure(formula(parts[:-1], plus), frozenset({measures.PERCENT}))
    head, words = _unit_words(parts)
    node = formula(head, plus)
    if money is not None:
        found = measures.measured(node, words)
        if isinstance(found, Measure) and currency not in found.units:
            raise Unreadable("it has two units")
        if isinstance(found, Formula | Measure):
            return Measure(found.node, frozenset({currency}))
    angle = measures.degrees(node)
    if angle is not None and not words:
        return angle
    return measures.measured(node, words)


def _unit_words(parts: Sequence[Token]) -> tuple[Sequence[Token], str]:
    """The tokens of the formula, and the words behind it: text, or words of letters."""
    for place, token in enumerate(parts):
        if token.kind == "text" and place:
            return parts[:place], _spelled(parts[place:])
    begin = len(parts)
    tail = len(parts) - 2 if [t.text for t in parts[-2:-1]] == ["^"] else len(parts)
    while tail > 1 and _is_word(parts[tail - 1]):
        tail = begin = tail - 1
    words = _spelled(parts[begin:]) if begin < len(parts) else ""
    known = words and (measures.whole_unit(words) or len(words) > 3)
    return (parts[:begin], words) if known else (parts, "")


def _is_word(token: Token) -> bool:
    text = token.text
    return (
        token.kind == "letters"
        and len(text) > 1
        and text not in FUNCTIONS
        and all(t.kind == "letters" for t in spread([token]))
    )


def _spelled(parts: Sequence[Token]) -> str:
    spelled = "".join(" " * (t.spaced or t.kind == "text") + t.text for t in parts)
    return re.sub(r" ?\^ ?\{? ?([23]) ?\}?", r"^\1", spelled)


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
            related = _relation(halves[1], plus)
            if isinstance(related, Named) and isinstance(related.value, Region):
                return related.value
    found = listed(inside)
    if len(found) == 1 and isinstance(found[0], Named):
        raise Unreadable("it has a name inside a set")
    return Several(tuple(found), "set")


def _union(parts: Sequence[Token], plus: bool) -> Region | None:
    r"""A union of intervals and sets of numbers; None without ``\cup`` or ``\mathbb{R}``."""
    pieces, cups = split(parts, _cup)
    if cups:
        return regions.joined(_region(_value(piece, plus)) for piece in pieces)
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


def _region(value: Value) -> Region:
    """A value as a part of a union.

    Raises:
        Unreadable: it is neither an interval nor a set of numbers.
    """
    if isinstance(value, Region):
        return value
    if isinstance(value, Several) and value.kind == "set":
        nodes = [item.node for item in value.items if isinstance(item, Formula)]
        if len(nodes) == len(value.items):
            return regions.joined(regions.point(node) for node in nodes)
    found = open_interval(value)
    if found is None:
        raise Unreadable("a part of the union is no interval")
    return found


def open_interval(value: Value) -> Region | None:
    """The open interval that a pair in round brackets may be."""
    if isinstance(value, Several) and value.brackets == "()" and len(value.items) == 2:
        low, high = value.items
        if isinstance(low, Formula) and isinstance(high, Formula):
            return regions.one_piece(low.node, high.node, (False, False))
    return None


# --------------------------------------------------------------------------- relations


def _relation(parts: Sequence[Token], plus: bool) -> Value | None:
    """What an equation, an inequality, or a rounded value says; None if it is none of them."""
    sides, signs = split(parts, _sign)
    if not signs:
        return None
    if not sides[0]:  # "= 5" and "\approx 5"
        sides, first = sides[1:], signs[0]
        signs = signs[1:]
        if first == "~" and not signs:
            return _rounded(sides[0], plus)
        if first != "=" or signs:
            raise Unreadable("it begins with a sign of comparison")
        return _value(sides[0], plus)
    if any(not side for side in sides):
        raise Unreadable("a side of its comparison is blank")
    if signs[-1] == "~":
        return _rounded(sides[-1], plus)
    if signs == ["in"]:
        member = _name(sides[0])
        if not member:
            raise Unreadable("what is in the set is no name")
        return Named(member, _value(sides[1], plus))
    if set(signs) == {"="}:
        return _equation(sides, plus)
    relation = Relation(tuple(formula(side, plus) for side in sides), tuple(signs))
    region = regions.of_relation(relation)
    if region is None:
        return relation
    return Named(next(name for side in relation.sides for name in symbols(side)), region)


def _sign(token: Token) -> str:
    return _SIGNS.get(token.text, "") if token.kind in ("sign", "command") else ""


def _rounded(side: Sequence[Token], plus: bool) -> Value:
    found = _value(side, plus)
    text = "".join(token.text for token in side)
    value = equality.rational(found.node) if isinstance(found, Formula | Measure) else None
    if value is None or not re.fullmatch(r"-?[0-9]*\.?[0-9]*", text):
        raise Unreadable("what is said to be rounded is no decimal")
    return Rounded(value, len(text.partition(".")[2]))


def _equation(sides: Sequence[Sequence[Token]], plus: bool) -> Value:
    """A name with its value, the result of a calculation, or an equation."""
    name = _name(sides[0])
    if name:
        value = _value(sides[-1], plus)
        if not (isinstance(value, Formula) and name in symbols(value.node)):
            return Named(name, value)
    if len(sides) == 2 and (turned := _name(sides[1])):
        value = _value(sides[0], plus)
        if not (isinstance(value, Formula) and turned in symbols(value.node)):
            return Named(turned, value)
    nodes = tuple(formula(side, plus) for side in sides)
    if not any(symbols(node) for node in nodes):
        try:
            true = all(equality.same(nodes[0], node) for node in nodes[1:])
        except Undecided as error:
            raise Unreadable(str(error)) from None
        if true:
            return Formula(nodes[-1])
        raise Unreadable("it is an equation that does not hold")
    return Relation(nodes, ("=",) * (len(nodes) - 1))


def _name(side: Sequence[Token]) -> str:
    """The name that the left side of an equation is: x, x_1, f(x), AB, (x, y); else empty."""
    text = "".join(t.text.strip() for t in side)
    if any(t.kind not in ("letters", "command", "sign", "number", "text") for t in side):
        return ""
    if len(side) == 1 and side[0].kind in ("letters", "text"):
        return "" if text in ("e", "i") else text
    if len(side) == 1 and side[0].kind == "command":
        return text if text not in FUNCTIONS and text not in ("pi", "infty") else ""
    named = r"(?:[A-Za-z]'*(?:\^\{-1\})?|[A-Za-z]+_\{?\w{1,3}\}?)(?:\([A-Za-z]+(?:,[A-Za-z]+)*\))?"
    pair = r"\([A-Za-z](?:,[A-Za-z])+\)"
    lettered = r"(?:overline|angle|triangle|vec|mathbf)\{?[A-Za-z]{1,3}\}?"
    return text if re.fullmatch(rf"{named}|{pair}|{lettered}", text) else ""
