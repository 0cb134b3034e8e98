r"""LaTeX, and plain text as models write it, cut into tokens.

Nothing is expanded or executed: a command is a name, looked up in tables. ``clean`` removes what
makes no difference (spacing, ``\left``, delimiters) and writes one form for signs of Unicode.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from star_mlx.answers.math.limits import MOST_TOKENS, Unreadable, check

_ALIKE: dict[str, str] = {
    **dict.fromkeys("−﹣－‐‑–", "-"),
    **dict.fromkeys("\u00a0\u2007\u2009\u202f\u3000\t\r\n", " "),
    **dict.fromkeys("\u200b\u200c\u200d\ufeff\u2060", ""),
    **{chr(0xFF10 + d): str(d) for d in range(10)},
    "×": r"\times ", "·": r"\cdot ", "⋅": r"\cdot ", "∙": r"\cdot ", "÷": r"\div ", "±": r"\pm ",
    "∓": r"\mp ", "√": r"\sqrt ", "∞": r"\infty ", "∪": r"\cup ", "∩": r"\cap ", "∈": r"\in ",
    "≤": r"\le ", "≥": r"\ge ", "≠": r"\ne ", "≈": r"\approx ", "≡": r"\equiv ", "∅": r"\emptyset ",
    "°": r"^\circ ", "º": r"^\circ ", "π": r"\pi ", "θ": r"\theta ", "α": r"\alpha ",
    "β": r"\beta ", "γ": r"\gamma ", "φ": r"\phi ", "λ": r"\lambda ", "μ": r"\mu ",
    "ω": r"\omega ", "σ": r"\sigma ", "⟨": r"\langle ", "⟩": r"\rangle ", "ℝ": r"\mathbb{R}",
    "²": "^2", "³": "^3", "½": r"\frac{1}{2}", "¼": r"\frac{1}{4}", "¾": r"\frac{3}{4}",
    "⁄": "/", "∕": "/", "’": "'", "′": "'", "，": ",", "（": "(", "）": ")", "＝": "=", "：": ":",
}  # fmt: skip
_SAME = str.maketrans(_ALIKE)
_DELIMITER = re.compile(r"(?<!\\)\\[()\[\]]")
_ESCAPED_DOLLAR = re.compile(r"(?<!\\)\\\$")
_SIZES = re.compile(
    r"\\(?:left|right|[bB]igg?[lrm]?)(?![A-Za-z])\s*\.?"
    r"|\\(?:displaystyle|textstyle|limits|nolimits|strut|hfill)(?![A-Za-z])"
)
_GROUP = re.compile(r"(?<=[0-9])(?:, ?\\! ?|\{,\}|\\[,;: ]|~)(?=[0-9]{3}(?![0-9]))")
_SPACING = re.compile(r"(?<!\\)\\(?:[,;:! >]|q?quad(?![A-Za-z])|thinspace(?![A-Za-z]))|~")
_SPACES = re.compile(r" {2,}")
_BOX = re.compile(r"\\(?:boxed|fbox|ensuremath|displaylines)\s*(?=\{)")

_TOKEN = re.compile(
    r"(?P<begin>\\begin ?\{(?P<env>[A-Za-z]+\*?)\})"
    r"|(?P<end>\\end ?\{[A-Za-z]+\*?\})"
    r"|(?P<text>\\(?:text(?:bf|rm|it|sf|tt|up|normal)?|mbox|hbox|mathrm|mathsf|mathtt|operatorname\*?"
    r"|textsc) ?(?=\{))"
    r"|(?P<command>\\[A-Za-z]+)"
    r"|(?P<escaped>\\.)"
    r"|(?P<number>[0-9]+(?:\.[0-9]+)?|\.[0-9]+)"
    r"|(?P<letters>[A-Za-z]+)"
    r"|(?P<sign>.)"
)
_SYNONYMS = {
    "dfrac": "frac", "tfrac": "frac", "cfrac": "frac", "dbinom": "binom", "tbinom": "binom",
    "leq": "le", "leqslant": "le", "geq": "ge", "geqslant": "ge", "neq": "ne", "times": "*",
    "cdot": "*", "ast": "*", "div": "/", "lbrace": "\\{", "rbrace": "\\}", "lbrack": "[",
    "rbrack": "]", "lvert": "|", "rvert": "|", "vert": "|", "mid": "|", "lt": "<", "gt": ">",
    "varnothing": "emptyset", "O": "emptyset", "degree": "circ", "colon": ":", "approxeq": "approx",
    "thickapprox": "approx", "simeq": "approx", "doteq": "approx", "land": "wedge", "lor": "vee",
    "lparen": "(", "rparen": ")", "bigcup": "cup", "dots": "ldots",
    "cdots": "ldots", "varphi": "phi", "vartheta": "theta", "varepsilon": "epsilon",
    "Re": "Re", "textdegree": "circ", "prime": "'", "backslash": "setminus",
}  # fmt: skip
_UNIT_LETTERS = frozenset("mgsLhNJWV")
_SIGNS = {"<=": "le", ">=": "ge", "!=": "ne", "**": "^", "==": "="}


@dataclass(frozen=True, slots=True)
class Token:
    """``kind`` is ``number``, ``letters``, ``text``, ``command`` (also for signs written as one, by
    its name), ``begin``, ``end`` or ``sign``; ``spaced`` is whether a space is before it."""

    kind: str
    text: str
    spaced: bool = False


def clean(text: str) -> str:
    """A text without what makes no difference to its value.

    Raises:
        Unreadable: it is too long, or too deep.
    """
    check(text)
    text = _SPACES.sub(" ", text.translate(_SAME))
    text = _BOX.sub("", text)
    text = _DELIMITER.sub(" ", _SIZES.sub("", text)) if "\\" in text else text
    text = _dollars(text)
    for _ in range(2):  # the groups of 11,\! 111,\! 100
        text = _GROUP.sub("", text)
    return _SPACES.sub(" ", _SPACING.sub(" ", text)).strip()


def _dollars(text: str) -> str:
    r"""``\$`` as $, and the $ of formulas left out; a single one before a digit is money."""
    if "$" not in text:
        return text
    kept = _ESCAPED_DOLLAR.sub("\x00", text)
    if kept.count("$") % 2:
        kept = re.sub(r"\$(?= ?[0-9.])", "\x00", kept, count=1)
    return kept.replace("$", " ").replace("\x00", "$")


def tokens(text: str) -> list[Token]:
    """The tokens of a text that went through ``clean``.

    Raises:
        Unreadable: there are too many, or a brace of a text is not closed.
    """
    found: list[Token] = []
    place, spaced = 0, False
    while place < len(text):
        if text[place] == " ":
            place, spaced = place + 1, True
            continue
        match = _TOKEN.match(text, place)
        if match is None:
            raise Unreadable(f"it holds the sign {text[place]!r}")
        place = match.end()
        kind = match.lastgroup or ""
        kind = "begin" if kind == "env" else kind
        if kind == "text":
            place, token = _text(text, place, match["text"], spaced)
            if token.kind == "letters" and token.text in _UNIT_LETTERS and found:
                token = Token("text", token.text, spaced)
        else:
            token, place = _token(kind, match, text, place, spaced)
        found.append(token)
        spaced = False
        if len(found) > MOST_TOKENS:
            raise Unreadable(f"it has more than {MOST_TOKENS} parts")
    return found


def _token(
    kind: str, match: re.Match[str], text: str, place: int, spaced: bool
) -> tuple[Token, int]:
    shown = match[0]
    if kind == "begin":
        return Token("begin", match["env"].rstrip("*"), spaced), place
    if kind == "end":
        return Token("end", shown[5:-1].strip("{ *"), spaced), place
    if kind == "command":
        name = _SYNONYMS.get(shown[1:], shown[1:])
        return Token("command" if name.isalpha() else "sign", name, spaced), place
    if kind == "escaped":
        bare = shown[1:] if shown[1:] in "%#_&" else shown
        return Token("sign", bare, spaced), place
    twice = shown + text[place : place + 1]
    factorial = twice == "!=" and text[: place - 1].rstrip()[-1:].isdigit()  # 4!=24
    if kind == "sign" and twice in _SIGNS and not factorial:
        name_ = _SIGNS[twice]
        return Token("command" if name_.isalpha() else "sign", name_, spaced), place + 1
    return Token(kind, shown, spaced), place


def _text(text: str, place: int, command: str, spaced: bool) -> tuple[int, Token]:
    r"""The token of a ``\text{...}``, and where it ends."""
    depth = 0
    for end in range(place, len(text)):
        depth += {"{": 1, "}": -1}.get(text[end], 0)
        if depth == 0:
            content = text[place + 1 : end]
            kind = "operator" if command.startswith("\\operatorname") else "text"
            if command.startswith("\\math") and re.fullmatch(r" ?[A-Za-z0-9] ?", content):
                kind = "number" if content.strip().isdigit() else "letters"
                content = content.strip()
            return end + 1, Token(kind, content, spaced)
    raise Unreadable("a brace in it is not closed")
