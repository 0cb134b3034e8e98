r"""Formulas: LaTeX and plain text -> ``Node``. It reads; it evaluates nothing.

Implicit products are read as people write them: ``\sin 3x`` is the sine of 3x, ``1\frac{1}{4}`` is
a mixed number. A form that people read in two ways, such as ``1/2x``, is refused.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction

from star_mlx.answers.math.cursor import Cursor
from star_mlx.answers.math.limits import Unreadable
from star_mlx.answers.math.tokens import Token
from star_mlx.answers.math.values import Node, number
from star_mlx.answers.math.vocabulary import (
    APPLIED,
    CLOSERS,
    CONSTANTS,
    DECORATIONS,
    FUNCTIONS,
    GREEK,
    INVERSES,
    OTHER_NAMES,
    TRANSPARENT,
)
from star_mlx.answers.math.written_numbers import (
    CUT_DIGITS,
    plain_number,
    take_digit,
    written_number,
)


def formula(tokens: Sequence[Token], plus: bool = True) -> Node:
    r"""The formula that tokens are.

    Args:
        tokens: all of them are read.
        plus: whether ``\pm`` is + (and ``\mp`` is -).

    Raises:
        Unreadable: they are no formula, or more than one reading is usual.
    """
    parser = _Parser(tokens, plus)
    found = parser.sum()
    if parser.at < len(parser.tokens):
        raise Unreadable(f"there is no reading for {parser.tokens[parser.at].text[:20]!r} in it")
    return found


class _Parser(Cursor):
    """A recursive descent over the tokens; every method reads one construct from ``at`` on."""

    def __init__(self, tokens: Sequence[Token], plus: bool) -> None:
        super().__init__(tokens)
        self._plus = plus
        self._bars = 0  # of absolute values that are open
        self._cut = -1  # the token of which an argument took the first digit

    # ------------------------------------------------------------------ sums and products

    def sum(self) -> Node:
        self.deeper()
        terms: list[Node] = []
        negative = self._signs()
        while True:
            term = self._product()
            terms.append(Node("negate", (term,)) if negative else term)
            if self.next() not in ("+", "-", "pm", "mp"):
                break
            negative = self._signs()
        self.higher()
        return terms[0] if len(terms) == 1 else Node("add", tuple(terms))

    def _signs(self) -> bool:
        """Whether the signs in front of a term make it negative."""
        negative = False
        while (sign := self.next()) in ("+", "-", "pm", "mp"):
            negative ^= sign == "-" or sign == ("mp" if self._plus else "pm")
            self.at += 1
        return negative

    def _product(self) -> Node:
        above: list[Node] = [self._power()]
        below: list[Node] = []
        over = False
        while True:
            sign = self.next()
            if sign in ("*", "/"):
                self.at += 1
                over = sign == "/"
                negative = self._signs()
                factor = self._power()
                factor = Node("negate", (factor,)) if negative else factor
            elif self._begins():
                if over and not self.spaced():
                    raise Unreadable(
                        "its / has more than one reading: write \\frac{}{} or brackets"
                    )
                if self.kind() == "number" and self.tokens[self.at - 1].kind in (
                    "number",
                    "letters",
                ):
                    raise Unreadable("a number in it follows another, or a letter")
                over = False
                factor = self._power()
            else:
                break
            (below if sign == "/" else above).append(factor)
        top = above[0] if len(above) == 1 else Node("multiply", tuple(above))
        if not below:
            return top
        bottom = below[0] if len(below) == 1 else Node("multiply", tuple(below))
        return Node("divide", (top, bottom))

    def _begins(self) -> bool:
        """Whether a factor begins here."""
        kind, text = self.kind(), self.next()
        if kind in ("number", "letters", "operator"):
            return True
        if text == "|":
            return self._bars == 0
        return kind in ("sign", "command") and (
            text in CLOSERS
            or text in GREEK
            or text in FUNCTIONS
            or text in CONSTANTS
            or text in DECORATIONS
            or text in ("frac", "sqrt", "binom")
        )

    # ------------------------------------------------------------------ powers and what follows

    def _power(self) -> Node:
        self.deeper()
        base = self._atom()
        while True:
            if base.op != "factorial" and self.take("!"):
                if base.op in ("power", "function"):
                    raise Unreadable("its ! has more than one reading")
                base = Node("factorial", (base,))
            elif self.take("%"):
                base = Node("percent", (base,))
            elif self._degrees(base):
                base = Node("degrees", (base,))
            elif self.take("^"):
                base = Node("power", (base, self._exponent()))
            else:
                break
        self.higher()
        return base

    def _degrees(self, base: Node) -> bool:
        r"""Whether ``^\circ`` follows; if so it is read.

        Raises:
            Unreadable: it may be a composition, ``f \circ g``, or belong to an argument.
        """
        raised = self.take("^", "circ") or self.take("^", "{", "circ", "}")
        if not raised and not self.take("circ"):
            return False
        if base.op == "function" or not (raised or base.op == "number"):
            raise Unreadable("its \\circ has more than one reading")
        return True

    def _exponent(self) -> Node:
        if self.next() == "{":
            found = self._bracketed("{")
            if self.next() == "^":
                raise Unreadable("it has an exponent behind an exponent")
            return found
        negative = self._signs()
        self.deeper()
        found = plain_number(self) if self.kind() == "number" else self._atom()
        if self.next() == "^":
            self.at += 1
            found = Node("power", (found, self._exponent()))
        self.higher()
        return Node("negate", (found,)) if negative else found

    # ------------------------------------------------------------------ atoms

    def _atom(self) -> Node:
        kind, text = self.kind(), self.next()
        if kind == "number":
            return written_number(self)
        if kind == "letters":
            return self._symbol()
        if kind == "operator":
            name = self.tokens[self.at].text.strip()
            if name not in FUNCTIONS:
                raise Unreadable(f"the function {name[:20]!r} in it is not known")
            return self._function(name)
        if text in ("(", "[", "{"):
            return self._bracketed(text)
        if text in ("lfloor", "lceil"):
            inside = self._bracketed(text)
            return Node("function", (inside,), name="floor" if text == "lfloor" else "ceil")
        if text == "|":
            return self._absolute()
        if kind == "command":
            return self._command(text)
        if not kind:
            raise Unreadable("it ends where something has to follow")
        raise Unreadable(f"there is no reading for {self.tokens[self.at].text[:20]!r} in it")

    def _bracketed(self, opening: str) -> Node:
        bars, self._bars = self._bars, 0
        self.expect(opening)
        inside = self.sum()
        self.expect(CLOSERS[opening])
        self._bars = bars
        return inside

    def _absolute(self) -> Node:
        self.expect("|")
        self._bars += 1
        inside = self.sum()
        self.expect("|")
        self._bars -= 1
        return Node("function", (inside,), name="abs")

    def _argument(self) -> Node:
        """What a command is applied to: a group, or one digit, letter or command."""
        if self.next() in ("{", "("):
            return self._bracketed(self.next())
        if self.kind() == "number":
            digits = self.tokens[self.at].text
            if "." in digits:
                return plain_number(self)
            if take_digit(self):
                self._cut = self.at
            return number(int(digits[0]))
        self.deeper()
        found = self._atom()
        self.higher()
        return found

    def _symbol(self) -> Node:
        name = self.tokens[self.at].text
        self.at += 1
        while self.take("'"):
            name += "'"
        if self.next() == "_":
            return self._subscripted(name)
        if name == "e":
            self._no_power_of_ten()
        if name in ("e", "i"):
            return Node("constant", name=name)
        if name[0] in APPLIED and self.next() == "(":
            return Node("apply", self._arguments(), name=name)
        if name[0] in APPLIED and (self._follow("^{-1}(") or self._follow("^-1(")):
            raise Unreadable("the inverse of a function in it has no reading")
        return Node("symbol", name=name)

    def _no_power_of_ten(self) -> None:
        """Refuse the e of 1e-3, which is a number of people and of programs."""
        before = self.tokens[self.at - 2] if self.at > 1 else None
        if (
            before is not None
            and before.kind == "number"
            and self.next() in ("+", "-")
            and self.kind(1) == "number"
            and not any(self.spaced(ahead) for ahead in (-1, 0, 1))
        ):
            raise Unreadable("its e may be a power of ten, or the number e")

    def _follow(self, text: str) -> bool:
        """Whether these signs and numbers follow."""
        found = ""
        for token in self.tokens[self.at : self.at + len(text)]:
            found += token.text
        return found.startswith(text)

    def _subscripted(self, name: str) -> Node:
        self.at += 1
        if self.next() == "{":
            inside = self.braced()
            if not inside:
                raise Unreadable("a subscript in it has no reading")
            return Node("symbol", name=f"{name}_{inside}")
        if self.kind() not in ("number", "letters"):
            raise Unreadable("a subscript in it has no reading")
        self.at += 1
        return Node("symbol", name=f"{name}_{self.tokens[self.at - 1].text}")

    # ------------------------------------------------------------------ commands and functions

    def _command(self, text: str) -> Node:
        if text in FUNCTIONS:
            return self._function(text)
        if text in GREEK:
            self.at += 1
            return self._subscripted(text) if self.next() == "_" else Node("symbol", name=text)
        if text in CONSTANTS:
            self.at += 1
            return Node("constant", name=CONSTANTS[text])
        if text in ("frac", "binom"):
            self.at += 1
            above, below = self._argument(), self._argument()
            if self._cut == self.at:
                raise Unreadable(CUT_DIGITS)
            if text == "frac":
                return Node("divide", (above, below))
            return Node("function", (above, below), name="binomial")
        if text == "sqrt":
            return self._root()
        if text in DECORATIONS:
            return self._decorated(text)
        raise Unreadable(f"\\{text[:20]} in it has no reading")

    def _root(self) -> Node:
        self.at += 1
        degree = self._bracketed("[") if self.next() == "[" else number(2)
        if self.kind() == "number":  # \sqrt10 is meant as the root of 10
            value = Fraction(self.tokens[self.at].text)
            self.at += 1
            return Node("root", (degree, number(value)))
        return Node("root", (degree, self._argument()))

    def _decorated(self, command: str) -> Node:
        self.at += 1
        if command in TRANSPARENT:
            return self._atom()
        inside = self.braced()
        if not inside and self.kind() == "letters":
            while self.kind() == "letters":
                inside += self.tokens[self.at].text
                self.at += 1
        if not inside:
            raise Unreadable(f"what is below its \\{command} has no reading")
        if command == "overline" and re.fullmatch("[A-Z]{2}", inside):
            inside = "".join(sorted(inside))  # a segment has no direction
        return Node("symbol", name=f"{command} {inside}")

    def _function(self, name: str) -> Node:
        self.at += 1
        name = OTHER_NAMES.get(name, name)
        power: Node | None = None
        base: tuple[Node, ...] = ()
        for _ in range(2):
            if self.take("^"):
                power = self._exponent()
            elif name == "log" and self.take("_"):
                base = (self._argument() if self.kind() != "number" else plain_number(self),)
        inverse = power is not None and power in (
            number(-1),
            Node("negate", (number(1),)),
        )
        if inverse and name in INVERSES:
            name, power = INVERSES[name], None
        opening = self.next()
        args = self._arguments() if opening in ("(", "[", "{") else (self._bare_argument(name),)
        if opening == "{" and (self.next() in ("^", "/", "!") or self._goes_on()):
            raise Unreadable(f"the argument of its {name} has more than one reading")
        if len(args) > 1 and name not in ("gcd", "lcm", "max", "min"):
            raise Unreadable(f"its {name} has more than one argument")
        found = Node("function", args + base, name=name)
        return found if power is None else Node("power", (found, power))

    def _arguments(self) -> tuple[Node, ...]:
        opening = self.next()
        bars, self._bars = self._bars, 0
        self.expect(opening)
        found = [self.sum()]
        while self.take(","):
            found.append(self.sum())
        self.expect(CLOSERS[opening])
        self._bars = bars
        return tuple(found)

    def _bare_argument(self, name: str) -> Node:
        r"""The argument of a function without brackets: 3x of ``\sin 3x \cos x``.

        Raises:
            Unreadable: where it ends is not sure, as in ``\sin x/2`` and ``\log x(x+1)``.
        """
        factors = [self._power()]
        while self._goes_on():
            if self.kind() == "number":
                raise Unreadable("a number in it follows the argument of a function")
            if self.next() in ("(", "[") and (name == "log" or factors[-1].op != "number"):
                raise Unreadable(f"the argument of its {name} has more than one reading")
            factors.append(self._power())
        if self.next() == "/" and not (self.next(1) in FUNCTIONS or self.kind(1) == "operator"):
            raise Unreadable(f"the argument of its {name} has more than one reading")
        return factors[0] if len(factors) == 1 else Node("multiply", tuple(factors))

    def _goes_on(self) -> bool:
        """Whether a factor follows that may belong to the argument of a function."""
        return self._begins() and self.next() not in FUNCTIONS and self.kind() != "operator"
