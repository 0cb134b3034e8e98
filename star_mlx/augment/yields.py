"""How much each kind of augmented questions yields, and why not more."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from star_mlx.types import Attempt

CUT_OFF = "cut off"
NO_ANSWER = "no answer found"
UNDECIDED = "undecided"
WRONG = "wrong answer"


@dataclass(slots=True)
class Yield:
    """The counts of a kind.

    Attributes:
        tried: rewritings of a model, numbers of the questions, or for ``ansaug`` the questions.
        not_asked: why they gave no question.
        questions: the questions that were asked.
        answers, right: the answers sampled, and the right ones among them.
        rows: the answers that became rows.
        not_kept: why the others did not.
        tokens, seconds: of everything that was generated.
    """

    tried: int = 0
    not_asked: Counter[str] = field(default_factory=Counter)
    questions: int = 0
    answers: int = 0
    right: int = 0
    rows: int = 0
    not_kept: Counter[str] = field(default_factory=Counter)
    tokens: int = 0
    seconds: float = 0.0

    def refuse(self, reason: str) -> None:
        """Count something that gives no question."""
        self.not_asked[reason] += 1

    def spent(self, made: Sequence[Attempt], seconds: float) -> None:
        """Count a pass of generation."""
        self.tokens += sum(len(attempt.token_ids) for attempt in made)
        self.seconds += seconds

    def as_json(self) -> dict[str, Any]:
        """The counts as plain data, the most frequent reasons first."""
        return {
            "tried": self.tried,
            "not_asked": dict(self.not_asked.most_common()),
            "questions": self.questions,
            "answers": self.answers,
            "right": self.right,
            "rows": self.rows,
            "not_kept": dict(self.not_kept.most_common()),
            "tokens": self.tokens,
            "seconds": round(self.seconds, 1),
        }


def why_not(attempt: Attempt) -> str:
    """Why an answer is not kept; empty if it is right and finished."""
    if attempt.kept:
        return ""
    if attempt.finish == "length":
        return CUT_OFF
    if attempt.answer is None:
        return NO_ANSWER
    if attempt.undecided:
        return UNDECIDED
    return attempt.rejected or WRONG
