"""The types of a line of ``metrics.jsonl``, with its only reader and writer.

A field that is None is not in the line: iteration 0, the base, is only measured, and older versions
wrote fewer fields.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from star_mlx.store.files import json_line
from star_mlx.types import Phase, Split

Verdict = Literal["better", "worse", "not different"]


class ClassCounts(msgspec.Struct, frozen=True):
    """Right answers among the problems of a class."""

    n: int
    correct: int

    @property
    def accuracy(self) -> float:
        """The share of right answers, from 0 to 1."""
        return self.correct / self.n if self.n else 0.0


class Measured(msgspec.Struct, frozen=True):
    """Accuracy on held-out problems: counts, the 95% interval (Wilson 1927), and by class.

    ``classes`` is the meaning of the classes, such as "number of digits"; empty if there are none.
    """

    split: Split
    n: int
    correct: int
    accuracy: float
    ci95: tuple[float, float]
    classes: str = ""
    by_class: dict[str, ClassCounts] = {}


class Training(msgspec.Struct, frozen=True):
    """The figures of a training. ``padding`` is the share of padding in the computed positions;
    losses are in nats per token, over the first and the last tenth of the steps."""

    steps: int
    epochs: float | None = None
    tokens: int | None = None
    padding: float | None = None
    first_loss: float | None = None
    last_loss: float | None = None
    tokens_per_second: float | None = None


class Generated(msgspec.Struct, frozen=True):
    """The tokens of an iteration's attempts, direct and hinted."""

    tokens: int
    tokens_per_second: float


class Served(msgspec.Struct, frozen=True):
    """The work of servers: requests answered, failed attempts that were made ``again``, and the
    tokens of the prompts and completions as the servers count them."""

    requests: int = 0
    again: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def __add__(self, more: Served) -> Served:
        pairs = zip(msgspec.structs.astuple(self), msgspec.structs.astuple(more), strict=True)
        return Served(*(a + b for a, b in pairs))

    def __sub__(self, before: Served) -> Served:
        pairs = zip(msgspec.structs.astuple(self), msgspec.structs.astuple(before), strict=True)
        return Served(*(a - b for a, b in pairs))

    def __bool__(self) -> bool:
        return self.requests > 0

    def words(self) -> str:
        """The figures, in a phrase."""
        failed = f", besides {self.again:,} failed attempts" if self.again else ""
        return (
            f"{self.requests:,} completions by servers{failed}: {self.prompt_tokens:,} tokens of "
            f"prompts and {self.completion_tokens:,} of completions"
        )


class ValidSteps(msgspec.Struct, frozen=True):
    """``n`` kept rationales whose steps can be checked, and the number right in every step."""

    n: int
    valid: int


class AddedKind(msgspec.Struct, frozen=True):
    """The yield of a kind of new questions: what was ``tried`` (rewritings of the model, or numbers
    to mask), why that gave no question, the questions asked, those solved directly, and those that
    were trained on."""

    tried: int
    asked: int
    solved: int
    kept: int
    not_asked: dict[str, int] = {}


class Compared(msgspec.Struct, frozen=True):
    """The paired comparison of an iteration with an earlier one on dev; ``p`` is that of the exact
    two-sided McNemar test."""

    iteration: int
    n: int
    both: int
    better: int
    worse: int
    neither: int
    p: float
    verdict: Verdict


class Metrics(msgspec.Struct, frozen=True, rename={"dev": "eval"}):
    """The metrics of a finished iteration; 0 is the base."""

    iteration: int
    teacher: int | None = None  # the iteration whose model generated
    problems: int | None = None
    solved: int | None = None  # directly, by any of their attempts
    augmented: dict[str, AddedKind] | None = None  # the new ones among the problems, by kind
    rationalized: int | None = None  # failures kept after rationalization
    examples: int | None = None  # of the training set, including those carried over
    parse_failures: int | None = None  # attempts without a readable answer
    undecided: int | None = None  # attempts neither right nor wrong; None for none of them
    truncated: int | None = None  # right, but cut off by the length limit
    too_long: int | None = None  # examples left out for their length
    rejected: dict[str, int] | None = None  # right but not kept, by reason
    hint_leaks: int | None = None  # kept rationalizations that mention their hint
    newly_solved: int | None = None
    forgotten: int | None = None
    valid_steps: dict[str, ValidSteps] | None = None  # direct, rationalized
    train: Training | None = None
    dev: Measured | None = None  # ``eval`` in the file
    zero_shot: Measured | None = None  # iteration 0 only: the base without examples
    generate: Generated | None = None
    served: Served | None = None  # by servers, measurements included; None if they did nothing
    seconds: dict[Phase, float] | None = None
    peak_memory_bytes: int | None = None
    best: int | None = None  # the iteration with the best dev accuracy so far
    compared: dict[str, Compared] | None = None  # with the base, and with the best before

    @property
    def total_seconds(self) -> float:
        """Seconds of all phases."""
        return sum((self.seconds or {}).values())

    def took(self, phase: Phase) -> float | None:
        """Seconds of a phase; None if there was none."""
        return (self.seconds or {}).get(phase)

    @property
    def steps(self) -> int | None:
        """Optimizer steps; None for the base."""
        return self.train.steps if self.train else None

    @property
    def by_class(self) -> dict[str, ClassCounts]:
        """Dev accuracy by class; empty if dev was not measured."""
        return self.dev.by_class if self.dev else {}


def of(values: Mapping[str, Any]) -> Metrics:
    """The metrics of a parsed line.

    Raises:
        msgspec.ValidationError: it is not a line of metrics.
    """
    return msgspec.convert(values, Metrics)


def as_json(part: msgspec.Struct) -> dict[str, Any]:
    """A line, or a part of one, as plain data without the fields that are None."""
    found: dict[str, Any] = _plain(msgspec.to_builtins(part))
    return found


def line(metrics: Metrics) -> bytes:
    """The line, without its newline."""
    return json_line(as_json(metrics)).removesuffix(b"\n")


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(part) for key, part in value.items() if part is not None}
    return list(value) if isinstance(value, tuple) else value
