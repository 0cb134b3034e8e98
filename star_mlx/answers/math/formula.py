r"""Formulas: LaTeX and plain text -> ``Node``. It reads; it evaluates nothing.

Implicit products are read as people write them: ``\sin 3x`` is the sine of 3x, ``1\frac{1}{4}`` is
a mixed number. A form that people read in two ways, such as ``1/2x``, is refused.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction

from star_mlx.answers.math.limits import Unreadable
from star_mlx.answers.math.tokens import Token
from star_mlx.answers.math.values import Node, number

_DEEPEST = 60  # of constructs inside each other, bracketed or not
_GREEK_NAMES = """
alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi rho sigma
tau upsilon phi chi psi omega Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi
Omega ell
"""
GREEK = frozenset(_GREEK_NAMES.split())
_FUNCTIONS_NAMES = """
sin cos tan sec csc cot arcsin arccos arctan arcsec arccsc arccot sinh cosh tanh ln
log lg exp gcd lcm max min abs asin acos atan arsinh arcosh artanh
"""
FUNCTIONS = frozenset(_FUNCTIONS_NAMES.split())
_OTHER_NAMES = {"asin": "arcsin", "acos": "arccos", "atan": "arctan", "lg": "log10"}
_INVERSES = {
    name: "arc" + name if not name.endswith("h") else "ar" + name
    for name in ["sin", "cos", "tan", "sec", "csc", "cot", "sinh", "cosh", "tanh"]
}
_CONSTANTS = {"pi": "pi", "infty": "infinity", "infinity": "infinity", "inf": "infinity"}
_DECORATIONS_NAMES = """
overline bar vec hat tilde overrightarrow widehat mathbf boldsymbol mathcal mathit
bf rm it bm underline angle triangle mathfrak cal overarc widetilde
"""
_DECORATIONS = frozenset(_DECORATIONS_NAMES.split())
_TRANSPARENT = frozenset(["mathbf", "mathit", "boldsymbol", "bm", "bf", "rm", "it"])
_WORDS = re.compile(
    r"(?P<command>sqrt|infinity|arcsin|arccos|arctan|sinh|cosh|tanh|sin|cos|tan|sec|csc|cot|log|exp"
    r"|gcd|lcm|max|min|abs|inf|pi|ln)|(?P<letters>.)"
)
_APPLIED = frozenset("fghFGH")
_CLOSERS = {"(": ")", "[": "]", "{": "}", "lfloor": "rfloor", "lceil": "rceil"}


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


def spread(tokens: Sequence[Token]) -> list[Token]:
    """Tokens with runs of letters as single letters and names of functions."""
    found: list[Token] = []
    for token in tokens:
        if token.kind != "letters" or len(token.text) == 1:
            found.append(token)
            continue
        for place, match in enumerate(_WORDS.finditer(token.text)):
            found.append(Token(match.lastgroup or "", match[0], token.spaced and place == 0))
    return found


class _Parser:
    """A recursive descent over the tokens; every method reads one construct from ``at`` on."""

    def __init__(self, tokens: Sequence[Token], plus: bool) -> None:
        self.tokens, self.at, self.plus = spread(tokens), 0, plus
        self._depth = self._bars = 0
        self._cut = -1  # the token of which an argument took the first digit

    # ------------------------------------------------------------------ tokens

    def _next(self, ahead: int = 0) -> str:
        """The text of a token that is no number, letter or text; empty for those and at the end."""
        place = self.at + ahead
        if place >= len(self.tokens) or self.tokens[place].kind not in ("sign", "command"):
            return ""
        return self.tokens[place].text

    def _kind(self, ahead: int = 0) -> str:
        place = self.at + ahead
        return self.tokens[place].kind if place < len(self.tokens) else ""

    def _spaced(self) -> bool:
        return self.at < len(self.tokens) and self.tokens[self.at].spaced

    def _take(self, text: str) -> bool:
        taken = self._next() == text
        self.at += taken
        return taken

    def _expect(self, text: str) -> None:
        if not self._take(text):
            raise Unreadable(f"a {text} is missing in it")

    def _deeper(self) -> None:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise Unreadable(f"it has more than {_DEEPEST} parts inside each other")

    # ------------------------------------------------------------------ sums and products

    def sum(self) -> Node:
        self._deeper()
        terms: list[Node] = []
        negative = self._signs()
        while True:
            term = self._product()
            terms.append(Node("negate", (term,)) if negative else term)
            if self._next() not in ("+", "-", "pm", "mp"):
                break
            negative = self._signs()
        self._depth -= 1
        return terms[0] if len(terms) == 1 else Node("add", tuple(terms))

    def _signs(self) -> bool:
        """Whether the signs in front of a term make it negative."""
        negative = False
        while (sign := self._next()) in ("+", "-", "pm", "mp"):
            negative ^= sign == "-" or sign == ("mp" if self.plus else "pm")
            self.at += 1
        return negative

    def _product(self) -> Node:
        above: list[Node] = [self._power()]
        below: list[Node] = []
        over = False
        while True:
            sign = self._next()
            if sign in ("*", "/"):
                self.at += 1
                over = sign == "/"
                negative = self._signs()
                factor = self._power()
                factor = Node("negate", (factor,)) if negative else factor
            elif self._begins():
                if over and not self._spaced():
                    raise Unreadable(
                        "its / has more than one reading: write \\frac{}{} or brackets"
                    )
                if self._kind() == "number" and self.tokens[self.at - 1].kind in (
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
        kind, text = self._kind(), self._next()
        if kind in ("number", "letters", "operator"):
            return True
        if text == "|":
            return self._bars == 0
        return kind in ("sign", "command") and (
            text in _CLOSERS
            or text in GREEK
            or text in FUNCTIONS
            or text in _CONSTANTS
            or text in _DECORATIONS
            or text in ("frac", "sqrt", "binom")
        )

    # ------------------------------------------------------------------ powers and what follows

    def _power(self) -> Node:
        self._deeper()
        base = self._atom()
        while True:
            if self._next() == "!" and base.op != "factorial":
                self.at += 1
                base = Node("factorial", (base,))
            elif self._take("%"):
                base = Node("percent", (base,))
            elif self._next() == "^":
                self.at += 1
                if self._degrees():
                    base = Node("degrees", (base,))
                else:
                    base = Node("power", (base, self._exponent()))
            elif self._next() == "circ":
                self.at += 1
                base = Node("degrees", (base,))
            else:
                break
        self._depth -= 1
        return base

    def _degrees(self) -> bool:
        r"""Whether the exponent is ``\circ``; if so it is read."""
        if self._take("circ"):
            return True
        if self._next() == "{" and self._next(1) == "circ" and self._next(2) == "}":
            self.at += 3
            return True
        return False

    def _exponent(self) -> Node:
        if self._next() == "{":
            return self._bracketed("{")
        negative = self._signs()
        self._deeper()
        found = self._atom()
        if self._next() == "^":
            self.at += 1
            found = Node("power", (found, self._exponent()))
        self._depth -= 1
        return Node("negate", (found,)) if negative else found

    # ------------------------------------------------------------------ atoms

    def _atom(self) -> Node:
        kind, text = self._kind(), self._next()
        if kind == "number":
            return self._number()
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
        self._expect(opening)
        inside = self.sum()
        self._expect(_CLOSERS[opening])
        self._bars = bars
        return inside

    def _absolute(self) -> Node:
        self._expect("|")
        self._bars += 1
        inside = self.sum()
        self._expect("|")
        self._bars -= 1
        return Node("function", (inside,), name="abs")

    def _number(self) -> Node:
        text = self.tokens[self.at].text
        self.at += 1
        if self._next() == "." and self._next(1) == "overline" and not self._spaced():
            self.at += 1
            text += "."
        if "." in text and self._next() == "overline":
            return self._repeating(text)
        value = Fraction(text)
        if "." not in text:
            part = self._fraction_part()
            if part is not None:
                return number(value + part)
        return number(value)

    def _repeating(self, text: str) -> Node:
        r"""0.1\overline{6} is 1/6."""
        digits = self._between_braces(self.at + 1)
        if not (digits and digits.isdecimal()):
            raise Unreadable("its line over digits has something else below it")
        whole, _, places = text.partition(".")
        plain = Fraction(f"{whole}.{places or 0}")
        return number(plain + Fraction(int(digits), (10 ** len(digits) - 1) * 10 ** len(places)))

    def _between_braces(self, place: int) -> str:
        """The letters and digits in the braces at a place, which are read; empty if none."""
        text = ""
        if place < len(self.tokens) and self.tokens[place].text == "{":
            end = place + 1
            while end < len(self.tokens) and self.tokens[end].kind in ("letters", "number"):
                text += self.tokens[end].text
                end += 1
            if end < len(self.tokens) and self.tokens[end].text == "}":
                self.at = end + 1
                return text
        return ""

    def _fraction_part(self) -> Fraction | None:
        """The fraction of a mixed number, if one follows."""
        begin = self.at
        if self._next() == "frac":
            self.at += 1
            top, bottom = self._argument(), self._argument()
            if self._cut == self.at:
                raise Unreadable("the digits after its \\frac have more than one reading")
            if top.op == bottom.op == "number" and self._next() != "^":
                if top.value < bottom.value and bottom.value.denominator == 1:
                    return top.value / bottom.value
                raise Unreadable("its number before a fraction has more than one reading")
            self.at = begin
        elif (
            [self._kind(0), self._next(1), self._kind(2)] == ["number", "/", "number"]
            and self._spaced()
            and self._next(3) not in ("^", "/", "!")
        ):
            top_, bottom_ = (Fraction(self.tokens[self.at + k].text) for k in (0, 2))
            if top_.denominator == bottom_.denominator == 1 and top_ < bottom_:
                self.at += 3
                return top_ / bottom_
        return None

    def _argument(self) -> Node:
        """What a command is applied to: a group, or one digit, letter or command."""
        if self._next() in ("{", "("):
            return self._bracketed(self._next())
        if self._kind() == "number":
            digits = self.tokens[self.at].text
            first, rest = (digits[:1], digits[1:]) if "." not in digits else (digits, "")
            if rest:
                self.tokens[self.at] = Token("number", rest)
                self._cut = self.at
            else:
                self.at += 1
            return number(Fraction(first))
        self._deeper()
        found = self._atom()
        self._depth -= 1
        return found

    def _symbol(self) -> Node:
        name = self.tokens[self.at].text
        self.at += 1
        while self._take("'"):
            name += "'"
        if self._next() == "_":
            return self._subscripted(name)
        if name == "e":
            return Node("constant", name="e")
        if name == "i":
            return Node("constant", name="i")
        if name[0] in _APPLIED and self._next() == "(":
            return Node("apply", self._arguments(), name=name)
        return Node("symbol", name=name)

    def _subscripted(self, name: str) -> Node:
        self.at += 1
        if self._next() == "{":
            inside = self._between_braces(self.at)
            if not inside:
                raise Unreadable("a subscript in it has no reading")
            return Node("symbol", name=f"{name}_{inside}")
        if self._kind() not in ("number", "letters"):
            raise Unreadable("a subscript in it has no reading")
        self.at += 1
        return Node("symbol", name=f"{name}_{self.tokens[self.at - 1].text}")

    # ------------------------------------------------------------------ commands and functions

    def _command(self, text: str) -> Node:
        if text in FUNCTIONS:
            return self._function(text)
        if text in GREEK:
            self.at += 1
            return self._subscripted(text) if self._next() == "_" else Node("symbol", name=text)
        if text in _CONSTANTS:
            self.at += 1
            return Node("constant", name=_CONSTANTS[text])
        if text in ("frac", "binom"):
            self.at += 1
            above, below = self._argument(), self._argument()
            if self._cut == self.at:
                raise Unreadable("the digits after its \\frac have more than one reading")
            if text == "frac":
                return Node("divide", (above, below))
            return Node("function", (above, below), name="binomial")
        if text == "sqrt":
            return self._root()
        if text in _DECORATIONS:
            return self._decorated(text)
        raise Unreadable(f"\\{text[:20]} in it has no reading")

    def _root(self) -> Node:
        self.at += 1
        degree = self._bracketed("[") if self._next() == "[" else number(2)
        if self._kind() == "number":  # \sqrt10 is meant as the root of 10
            value = Fraction(self.tokens[self.at].text)
            self.at += 1
            return Node("root", (degree, number(value)))
        return Node("root", (degree, self._argument()))

    def _decorated(self, command: str) -> Node:
        self.at += 1
        if command in _TRANSPARENT:
            return self._atom()
        begin = self.at
        inside = self._between_braces(begin)
        if not inside and self._kind() == "letters":
            while self._kind() == "letters":
                inside += self.tokens[self.at].text
                self.at += 1
        if not inside:
            raise Unreadable(f"what is below its \\{command} has no reading")
        if command == "overline" and re.fullmatch("[A-Z]{2}", inside):
            inside = "".join(sorted(inside))  # a segment has no direction
        return Node("symbol", name=f"{command} {inside}")

    def _function(self, name: str) -> Node:
        self.at += 1
        name = _OTHER_NAMES.get(name, name)
        power: Node | None = None
        base: tuple[Node, ...] = ()
        for _ in range(2):
            if self._take("^"):
                power = self._exponent()
            elif name == "log" and self._take("_"):
                base = (self._argument() if self._kind() != "number" else self._number(),)
        inverse = power is not None and power in (
            number(-1),
            Node("negate", (number(1),)),
        )
        if inverse and name in _INVERSES:
            name, power = _INVERSES[name], None
        args = self._arguments() if self._next() in ("(", "[", "{") else (self._bare_argument(),)
        if len(args) > 1 and name not in ("gcd", "lcm", "max", "min"):
            raise Unreadable(f"its {name} has more than one argument")
        found = Node("function", args + base, name=name)
        return found if power is None else Node("power", (found, power))

    def _arguments(self) -> tuple[Node, ...]:
        opening = self._next()
        bars, self._bars = self._bars, 0
        self._expect(opening)
        found = [self.sum()]
        while self._take(","):
            found.append(self.sum())
        self._expect(_CLOSERS[opening])
        self._bars = bars
        return tuple(found)

    def _bare_argument(self) -> Node:
        r"""The argument of a function without brackets: 3x of ``\sin 3x \cos x``."""
        factors = [self._power()]
        while self._begins() and self._next() not in FUNCTIONS and self._kind() != "operator":
            if self._kind() == "number":
                raise Unreadable("a number in it follows the argument of a function")
            factors.append(self._power())
        return factors[0] if len(factors) == 1 else Node("multiply", tuple(factors))
