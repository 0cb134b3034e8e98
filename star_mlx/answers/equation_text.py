"""Find the two sides of every "=" in a text: the longest calculations directly around it.

A line is cut into tokens, and tokens into runs such as ``3 boxes * 4 = 12 apples``. A word after a
number is its unit. A word, or anything else, that should be a number makes its side unreadable.
Every pattern is linear and every loop goes forward.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise

from star_mlx.answers.numerals import ends, plain
from star_mlx.answers.steps import evaluate

UNREADABLE = "\x01"  # a character that makes its side unreadable
_LONGEST = 60  # tokens of a side
_UNIT_WORDS = 5

_CODE = re.compile(r"```.*?(?:```|\Z)", re.DOTALL)
_ANNOTATION = re.compile(r"<<[^<>]{0,200}=([^<>=]{0,60})>>(?=([-$]{0,2}\.?[0-9])?)")
_ARROW = re.compile(
    r"\\(?:Right|Left|right|left|Longright)arrow\b|\\(?:implies|iff|to)\b|[=-]>|[→⇒]"
)
_BOUND = re.compile(r"\\[()\[\]]|\$\$|&|\\\\")
_TEXT = re.compile(
    r"\\(?:text|mathrm|textbf|mathbf|mbox|operatorname|textit|mathit)\s?\{([^{}]*)\}"
)
_AMONG_WORDS = re.compile(r"(?<=[a-zA-Z] )[0-9]")  # "Time for 5 graves" is the name of a value
_INDEX = re.compile(r"_(?:\{[^{}]{0,40}\}|[A-Za-z0-9]{1,20})")
_FRACTION = re.compile(r"\\[dtc]?frac\s*")
_NAMED = re.compile(r"\((?=[A-Za-z])[A-Za-z ,'’/-]{1,60}\)")
_BULLET = re.compile(r"^\s*(?:[-*+•–]\s+|[0-9]{1,2}[.)]\s+|#+\s+|>\s*)+")
_SQUARED = re.compile(r"(?<=[A-Za-z])(?: ?\} ?)?\^(?:\{[23]\}|[23](?![0-9]))")  # cm^2
_POWER = re.compile(r"(?<=[0-9)])\*\*(?=[0-9(])")
_PART_OF = re.compile(
    r"(%|[0-9]/[0-9]{1,3}|\)\)) {1,3}of {1,3}(?:the |these |those )?(?=[$(]?[0-9])"
)
_WORDS = (
    (re.compile(r"(?<=[0-9a-z%)]) (?:times|multiplied by) (?=[$(]?[0-9.])"), " * "),
    (re.compile(r"(?<=[0-9a-z%)]) divided by (?=[$(]?[0-9.])"), " / "),
    (re.compile(r"(?<=[0-9%)]) plus (?=[$(]?[0-9.])"), " + "),
    (re.compile(r"(?<=[0-9%)]) minus (?=[$(]?[0-9.])"), " - "),
    (re.compile(r"(?<=[0-9]) ?percent\b"), "%"),
    (re.compile(r"(?<=[0-9)%]) ?[xX] ?(?=[$(]?[0-9.])"), " * "),
    (re.compile(r"(?<=[a-z]) [xX] (?=[$(]?[0-9.])"), " * "),
    (re.compile(r"(?<![0-9./])([0-9]{1,3}) ([0-9]{1,2}/[0-9]{1,3})(?![0-9./])"), r"(\1+\2)"),
)
_TOKEN = re.compile(
    r"(?P<number>(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)(?:\.[0-9]+)?(?![0-9])|(?<![0-9.])\.[0-9]+)"
    r"|(?P<word>[^\W\d_](?:[^\W\d_]|['’-](?=[^\W\d_]))*(?:/[^\W\d_]+)*)"
    r"|(?P<equal>(?<![<>!=:≠])=(?![=<>])|[≈≅])"
    r"|(?P<op>[-+*/^()%])"
    r"|(?P<money>[$€£¢])"
    r"|(?P<space>[ \t]+|(?<=\s)\*\*?(?=\w)|\*\*|[{}])"
    r"|(?P<stop>[,;:.!?\"“”'’`\x00])"
    r"|(?P<other>.)",
)
_BREAKS = {"and", "so", "then", "is", "are", "was", "were", "or", "but", "which", "because", "if"}
_BREAKS |= {"since", "has", "had", "have", "gives", "equals", "we", "he", "she", "they", "it", "i"}
_MODIFIES = {
    "of",
    "twice",
    "double",
    "half",
    "triple",
    "thrice",
    "by",
    "to",
    "from",
    "than",
    "sqrt",
}
_MODIFIES |= {"times", "third", "quarter", "square", "root", "between", "and", "plus", "minus"}
_ORDINAL = {"st", "nd", "rd", "th"}


@dataclass
class Hand:
    """One side of an equation: the text next to an "=", as far as it is a calculation.

    ``expression`` is the calculation, or empty if it cannot be read. ``terms`` are the different
    units of its numbers. ``modified`` says that a word such as "twice" is before it, ``labelled``
    that any word is, and ``continued`` that another "=" follows it.
    """

    tokens: list[str] = field(default_factory=list)
    units: set[str] = field(default_factory=set)
    terms: set[str] = field(default_factory=set)
    unread: bool = False
    modified: bool = False
    labelled: bool = False
    continued: bool = False

    @property
    def shown(self) -> str:
        """The calculation as text; a question mark if it cannot be read."""
        return self.expression or "?"

    @property
    def expression(self) -> str:
        return "" if self.unread else _balanced(self.tokens)

    @property
    def bare(self) -> str:
        """The calculation without percent signs."""
        return self.expression.replace("%", "")

    @property
    def percent(self) -> bool:
        return "%" in self.tokens

    @property
    def numbers(self) -> list[str]:
        return [token for token in self.tokens if token[-1:].isdigit()]

    @property
    def calculates(self) -> bool:
        """Whether it is more than one number."""
        return len(self.numbers) > 1 or (self.unread and len(self.tokens) > 1)

    @property
    def sum(self) -> bool:
        return not {"*", "/", "^"} & set(self.tokens)

    @property
    def value(self) -> Fraction | None:
        return evaluate(self.expression) if self.expression else None


def sides(text: str) -> Iterator[tuple[Hand, Hand]]:
    """The sides of every "=" of a text, in order."""
    for line in _prepared(text).split("\n"):
        for run in _runs(_BULLET.sub("", line)):
            yield from pairwise(run)


def _prepared(text: str) -> str:
    """A text without code, and with one form for numbers, operators and LaTeX."""
    text = _CODE.sub("\n", ends(text))
    text = _ANNOTATION.sub(lambda m: "" if m[2] else m[1], text)
    text = _BOUND.sub("\x00", _ARROW.sub("\x00", text))
    text = _SQUARED.sub(lambda m: "}" * ("}" in m[0]), text)
    text = _TEXT.sub(lambda m: f" {_AMONG_WORDS.sub(UNREADABLE, m[1])} ", text)
    text = _INDEX.sub(UNREADABLE, _fractions(text))
    text = plain(text.replace("\\%", "%").replace("\\$", "$").replace("\\approx", "≈"))
    text = _POWER.sub("^", _NAMED.sub(" ", text)).replace("**", "")
    for pattern, instead in _WORDS:
        text = pattern.sub(instead, text)
    return _PART_OF.sub(r"\1 * ", text)


def _fractions(text: str) -> str:
    r"""A text with ``\frac{a}{b}`` as ``((a)/(b))``, one inside another too."""
    for _ in range(4):
        places = [*_FRACTION.finditer(text)]
        if not places:
            break
        for place in reversed(places[:200]):
            top = _braced(text, place.end())
            bottom = top and _braced(text, top[1])
            if top and bottom:
                whole = f"(({top[0]})/({bottom[0]}))"
                mixed = text[: place.start()].rstrip(" ")[-1:].isdigit()  # or a product
                text = f"{text[: place.start()]}{UNREADABLE * mixed}{whole}{text[bottom[1] :]}"
    return text


def _braced(text: str, place: int) -> tuple[str, int] | None:
    """The content of the braces at a place, and where they end."""
    depth = 0
    for i in range(place, min(len(text), place + 300)):
        depth += (text[i] == "{") - (text[i] == "}")
        if depth <= 0:
            return (text[place + 1 : i], i + 1) if i > place and text[place] == "{" else None
    return None


def _runs(line: str) -> Iterator[list[Hand]]:
    """The equations of a line: each run of calculations with "=" between them."""
    run, before, tokens = [Hand()], "", [(m.lastgroup or "", m[0]) for m in _TOKEN.finditer(line)]
    at = 0
    while at < len(tokens):
        kind, text = tokens[at]
        side = run[-1]
        done = _after_operand(side)
        units = _units(tokens, at) if kind == "word" and done else None
        if kind == "space" or (kind == "money" and not done):
            side.units |= {"$"} if kind == "money" else set()
        elif kind == "money":  # 5$ + 3$
            side.units.add("$")
        elif kind == "equal":
            side.unread |= not done
            side.continued = len(run) > 1
            run.append(Hand())
        elif units is not None:
            at += _add_units(side, units)
        elif text == "/" and done and (per := _units(tokens, at + 1)):  # $7.50/hour
            at += _add_units(side, per) + 1
        elif kind == "op" and _opens_anew(text, done, tokens, at):
            yield from _closed(run)
            run = [Hand(tokens=[text])]
        elif kind == "op":
            side.unread |= text != "(" and not done and not (text in "+-" and not before)
            side.tokens.append(text)
        elif kind == "number" and not done and not _ordinal(tokens, at):
            side.modified |= not side.tokens and before in _MODIFIES
            side.labelled |= not side.tokens and len(run) == 1 and before[:1].isalpha()
            side.tokens.append(text.replace(",", ""))
        elif kind == "number":
            yield from _closed(run)
            run = [Hand(tokens=[text.replace(",", "")], modified=before in _MODIFIES)]
            run[0].unread = _ordinal(tokens, at) or tokens[at - 1][0] in ("word", "other")
            run[0].labelled = before[:1].isalpha()
        elif done or (kind == "word" and not side.tokens and len(run) == 1) or kind == "stop":
            yield from _closed(run)
            run = [Hand(unread=kind == "other")]
        else:  # a variable, or a sign that is not known
            side.tokens.append("?")
            side.unread = True
        if kind not in ("space", "money"):
            before = text.casefold() if kind == "word" else "" if kind in ("equal", "stop") else "."
            before = "" if kind == "op" and text == "(" else before
        at += 1
    yield from _closed(run)


def _closed(run: list[Hand]) -> Iterator[list[Hand]]:
    """A run that has an "=", with its last side read as far as it is whole."""
    last = run[-1]
    while last.tokens and last.tokens[-1] in "+-*/^(":
        last.tokens.pop()
        last.unread = True
    if len(run) > 1:
        yield [side for side in run if len(side.tokens) <= _LONGEST]


def _after_operand(side: Hand) -> bool:
    return bool(side.tokens) and (side.tokens[-1][-1:].isdigit() or side.tokens[-1] in ")%?")


def _opens_anew(text: str, done: bool, tokens: list[tuple[str, str]], at: int) -> bool:
    """Whether a bracket begins another calculation: that of "8 hours (5 + 3 = 8)"."""
    return text == "(" and done and at > 0 and tokens[at - 1][0] in ("space", "word")


def _ordinal(tokens: list[tuple[str, str]], at: int) -> bool:
    return tokens[at + 1 : at + 2] != [] and tokens[at + 1][1].casefold() in _ORDINAL


def _units(tokens: list[tuple[str, str]], at: int) -> list[str] | None:
    """The words of a unit from a place on, if a calculation can go on behind them."""
    words: list[str] = []
    for kind, text in tokens[at : at + 2 * _UNIT_WORDS + 2]:
        if kind == "word" and len(words) < _UNIT_WORDS:
            words.append(text.casefold())
        elif kind != "space":
            goes_on = kind == "equal" or (kind == "op" and text != "(")
            return words if goes_on and not _names(words) else None
    return words if not _names(words) else None


def _names(words: list[str]) -> bool:
    """Whether words after a number are no unit but a variable, the rest of a sentence, or none."""
    return not words or bool(_BREAKS & set(words)) or len(words[0]) == 1


def _add_units(side: Hand, words: list[str]) -> int:
    """Note a unit; the number of tokens to skip besides the first."""
    stems = {part.removesuffix("s") for word in words for part in word.split("/")}
    side.units |= stems
    side.terms.add(words[-1].removesuffix("s"))
    return 2 * (len(words) - 1)


def _balanced(tokens: list[str]) -> str:
    """The calculation without brackets that have no partner in it."""
    kept: list[str] = []
    opened: list[int] = []
    for token in tokens:
        if token == ")" and not opened:
            continue
        if token == "(":
            opened.append(len(kept))
        elif token == ")":
            opened.pop()
        kept.append(token)
    return "".join(token for i, token in enumerate(kept) if i not in opened)
