"""A measurement as its file in ``results/`` has it, as types: one reader and one writer of it."""

from __future__ import annotations

from typing import Any

import msgspec

from star_mlx.store import metrics
from star_mlx.store.metrics import Verdict
from star_mlx.types import Split


class Share(msgspec.Struct, frozen=True):
    """Right answers in a class: their number, or with several samples a problem the mean accuracy
    alone."""

    n: int
    correct: int | None = None
    accuracy: float | None = None

    @property
    def share(self) -> float:
        """The share of right answers, from 0 to 1."""
        return (self.correct or 0) / self.n if self.accuracy is None else self.accuracy


class Vote(msgspec.Struct, frozen=True):
    """The vote of several samples a problem: how many problems it answers right."""

    correct: int
    accuracy: float
    ci95: tuple[float, float]


class Against(msgspec.Struct, frozen=True, rename={"other": "with"}):
    """A paired comparison with ``other``; ``words`` says it in a sentence."""

    other: str
    n: int
    both: int
    better: int
    worse: int
    neither: int
    p: float
    verdict: Verdict
    words: str


class Result(msgspec.Struct, frozen=True):
    """What was measured of a model on a split.

    ``samples``, ``pass_at_k`` and ``maj_at_k`` are None with one sample a problem; ``correct`` is
    None with several. ``time`` and ``run`` are empty if it was measured outside a run.
    ``temperature`` None is the recipe's. ``test_reads`` counts how often the run's test split was
    read, this time included. ``undecided`` is None for no undecided answers.
    """

    split: Split
    n: int
    accuracy: float
    ci95: tuple[float, float]
    by_class: dict[str, Share]
    parse_failures: int
    truncated: int
    tokens: int
    classes: str = ""
    of: str = ""
    iteration: int = 0
    time: str = ""
    run: str = ""
    temperature: float | None = None
    samples: int | None = None
    correct: int | None = None
    pass_at_k: dict[str, float] | None = None
    maj_at_k: dict[str, Vote] | None = None
    rows_left_out: int | None = None
    against: list[Against] = []
    test_reads: int | None = None
    undecided: int | None = None


_ORDER = (
    "time", "run", "of", "iteration", "temperature", "split", "n", "samples", "correct", "accuracy",
    "ci95", "classes", "by_class", "pass_at_k", "maj_at_k", "parse_failures", "undecided",
    "truncated", "tokens",
    "rows_left_out", "against", "test_reads",
)  # fmt: skip


def as_json(result: Result) -> dict[str, Any]:
    """A result as plain data, in the order of its file."""
    found = metrics.as_json(result)
    if result.run:
        found["temperature"] = result.temperature  # null is the recipe's
    else:
        del found["time"], found["run"]
    return {key: found[key] for key in _ORDER if key in found}


def decoded(data: bytes) -> Result | None:
    """The result that a file holds; None if it is none."""
    try:
        return msgspec.json.decode(data, type=Result)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
