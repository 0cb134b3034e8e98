"""The names that formulas are made of, and a run of letters taken apart into them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from star_mlx.answers.math.tokens import Token

_GREEK_NAMES = """
alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi rho sigma
tau upsilon phi chi psi omega Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi
Omega ell
"""
GREEK = frozenset(_GREEK_NAMES.split())
_FUNCTION_NAMES = """
sin cos tan sec csc cot arcsin arccos arctan arcsec arccsc arccot sinh cosh tanh ln
log lg exp gcd lcm max min abs asin acos atan arsinh arcosh artanh
"""
FUNCTIONS = frozenset(_FUNCTION_NAMES.split())
OTHER_NAMES = {"asin": "arcsin", "acos": "arccos", "atan": "arctan", "lg": "log10"}
INVERSES = {
    name: "arc" + name if not name.endswith("h") else "ar" + name
    for name in ["sin", "cos", "tan", "sec", "csc", "cot", "sinh", "cosh", "tanh"]
}
CONSTANTS = {"pi": "pi", "infty": "infinity", "infinity": "infinity", "inf": "infinity"}
_DECORATION_NAMES = """
overline bar vec hat tilde overrightarrow widehat mathbf boldsymbol mathcal mathit
bf rm it bm underline angle triangle mathfrak cal overarc widetilde
"""
DECORATIONS = frozenset(_DECORATION_NAMES.split())
TRANSPARENT = frozenset(["mathbf", "mathit", "boldsymbol", "bm", "bf", "rm", "it"])
_WORDS = re.compile(
    r"(?P<command>sqrt|infinity|arcsin|arccos|arctan|sinh|cosh|tanh|sin|cos|tan|sec|csc|cot|log|exp"
    r"|gcd|lcm|max|min|abs|inf|pi|ln)|(?P<letters>.)"
)
APPLIED = frozenset("fghFGH")
CLOSERS = {"(": ")", "[": "]", "{": "}", "lfloor": "rfloor", "lceil": "rceil"}


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
