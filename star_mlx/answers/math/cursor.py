"""A place in the tokens of a formula: looking at what comes next, and reading it."""

from __future__ import annotations

from collections.abc import Sequence

from star_mlx.answers.math.limits import Unreadable
from star_mlx.answers.math.tokens import Token
from star_mlx.answers.math.vocabulary import spread

_DEEPEST = 60  # of constructs inside each other, bracketed or not


class Cursor:
    """Reads tokens from ``at`` on."""

    def __init__(self, tokens: Sequence[Token]) -> None:
        self.tokens, self.at = spread(tokens), 0
        self._depth = 0

    def next(self, ahead: int = 0) -> str:
        """The text of a token that is no number, letter or text; empty for those and at the end."""
        place = self.at + ahead
        if place >= len(self.tokens) or self.tokens[place].kind not in ("sign", "command"):
            return ""
        return self.tokens[place].text

    def kind(self, ahead: int = 0) -> str:
        """The kind of a token; empty at the end."""
        place = self.at + ahead
        return self.tokens[place].kind if place < len(self.tokens) else ""

    def spaced(self, ahead: int = 0) -> bool:
        """Whether a space is before a token."""
        place = self.at + ahead
        return place < len(self.tokens) and self.tokens[place].spaced

    def take(self, *texts: str) -> bool:
        """Read these signs and commands, if they are what follows."""
        taken = all(self.next(ahead) == text for ahead, text in enumerate(texts))
        self.at += len(texts) if taken else 0
        return taken

    def expect(self, text: str) -> None:
        """Read a sign or command.

        Raises:
            Unreadable: something else follows.
        """
        if not self.take(text):
            raise Unreadable(f"a {text} is missing in it")

    def deeper(self) -> None:
        """Count one more construct inside the others.

        Raises:
            Unreadable: there are too many.
        """
        self._depth += 1
        if self._depth > _DEEPEST:
            raise Unreadable(f"it has more than {_DEEPEST} parts inside each other")

    def higher(self) -> None:
        """The construct of the last ``deeper`` has been read."""
        self._depth -= 1

    def braced(self) -> str:
        """Read the letters and digits in the braces that follow; empty if it is anything else."""
        text = ""
        if self.next() == "{":
            end = self.at + 1
            while end < len(self.tokens) and self.tokens[end].kind in ("letters", "number"):
                text += self.tokens[end].text
                end += 1
            if end < len(self.tokens) and self.tokens[end].text == "}":
                self.at = end + 1
                return text
        return ""
