"""Which new questions are left out: those that another asks, and those too near to a test
problem."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from star_mlx.augment.overlap import HeldOut, Overlap, WordRun, words
from star_mlx.types import Problem

DUPLICATE, EXACT = "duplicate", "exact"


class Sieve:
    """Lets each question through once, and none that a test problem asks or is near to.

    Attributes:
        left_out: the questions that were not let through, as rows with the reason.
        duplicates, exact, near: how many they are, by reason.
    """

    def __init__(self, tests: HeldOut, asked: Iterable[Problem] = ()) -> None:
        """``asked`` are problems whose questions are taken, each by the first that asks it."""
        self._tests = tests
        self._seen: dict[WordRun, str] = {}
        self._overlaps: dict[str, Overlap | None] = {}
        for problem in asked:
            self._seen.setdefault(words(problem.question.as_text()), problem.id)
        self._names: set[str] = set()  # of the questions left out
        self.left_out: list[dict[str, Any]] = []
        self.duplicates = self.exact = self.near = 0

    def refuses(self, name: str, text: str, original: Problem) -> str:
        """Why a question with an id is left out; empty if it is let through.

        The original question that it was made of must not be near to a test problem either.
        """
        if original.id not in self._overlaps:
            self._overlaps[original.id] = self._tests.overlap(original.question.text)
        overlap = self._overlaps[original.id] or self._tests.overlap(text)
        if overlap is not None:
            return self._leave(name, text, overlap.kind, overlap.problem, overlap.shared)
        first = self._seen.setdefault(words(text), name)
        return "" if first == name else self._leave(name, text, DUPLICATE, first, text)

    def _leave(self, name: str, text: str, why: str, of: str, shared: str) -> str:
        if name in self._names:  # an original question, asked for by several kinds
            return why
        self._names.add(name)
        self.duplicates += why == DUPLICATE
        self.exact += why == EXACT
        self.near += why not in (DUPLICATE, EXACT)
        row = {"id": name, "query": text, "why": why, "of": of, "shared": shared}
        self.left_out.append(row)
        return why
