"""Texts that ask the same, and texts that share a long run of words with a test problem."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from star_mlx.types import Problem

N = 13  # words of a run: Brown et al. 2020 (arXiv 2005.14165), appendix C

WordRun = tuple[str, ...]

_WORD = re.compile(
    r"[0-9]+(?:,[0-9]{3})+(?:\.[0-9]+)?(?![0-9])|[0-9]+(?:\.[0-9]+)?|[^\W\d_]+(?:['’][^\W\d_]+)?"
    r"|[^\s.,;:!?\"'’“”‘]"
)


def words(text: str) -> WordRun:
    """The words, numbers and symbols of a text, without case, spaces and punctuation.

    >>> words("Tom's  shirt costs $1,250.50!")
    ("tom's", 'shirt', 'costs', '$', '1250.50')
    """
    text = unicodedata.normalize("NFKC", text).casefold().replace("’", "'")
    return tuple(word.replace(",", "") for word in _WORD.findall(text))


def runs(text: str) -> Iterator[WordRun]:
    """Every run of ``N`` words and numbers of a text, symbols left out."""
    spoken = [word for word in words(text) if word[0].isalnum()]
    return (tuple(spoken[i : i + N]) for i in range(len(spoken) - N + 1))


@dataclass(frozen=True, slots=True)
class Overlap:
    """What a text has in common with a test problem: ``exact``, or the words of a run."""

    problem: str
    kind: str
    shared: str


@dataclass(slots=True)
class HeldOut:
    """The questions of a test split, ready to be compared with."""

    exact: dict[WordRun, str] = field(default_factory=dict)
    runs: dict[WordRun, str] = field(default_factory=dict)

    @classmethod
    def of(cls, problems: Iterable[Problem]) -> HeldOut:
        """The questions of problems, with their choices."""
        made = cls()
        for problem in problems:
            text = problem.question.as_text()
            made.exact.setdefault(words(text), problem.id)
            for run in runs(text):
                made.runs.setdefault(run, problem.id)
        return made

    def overlap(self, text: str) -> Overlap | None:
        """What a text has in common with a test problem; None if nothing."""
        if same := self.exact.get(words(text)):
            return Overlap(same, "exact", text)
        for run in runs(text):
            if near := self.runs.get(run):
                return Overlap(near, f"{N}-gram", " ".join(run))
        return None
