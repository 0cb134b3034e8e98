"""What the calls of the API return: an answer, metrics, a measurement, grades."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from star_mlx.formatting import harmless
from star_mlx.measure import findings
from star_mlx.measure.grade import Graded
from star_mlx.store.reading import RunRecord
from star_mlx.types import Split


@dataclass(frozen=True, slots=True)
class Answer:
    """What a run's model answered to a question; printed, it reads as ``star-mlx try`` shows it.

    ``prompt`` is without the few-shot examples. ``answer`` is None if none was found; ``gold`` and
    ``correct`` are None if the right answer is not known.

    >>> import star_mlx as sx
    >>> sx.Answer(1, "Q: 1 + 1?\\nA:", " It is 2. The answer is 2.", "2", "2", True)
    Q: 1 + 1?
    A: It is 2. The answer is 2.
    <BLANKLINE>
    iteration 1 answers 2, right
    """

    iteration: int
    prompt: str
    completion: str
    answer: str | None
    gold: str | None
    correct: bool | None

    @property
    def rationale(self) -> str:
        """All that the model wrote: its reasoning, which ends in the answer."""
        return self.completion.strip()

    def __repr__(self) -> str:
        return "\n\n".join((harmless(self.prompt + self.completion).rstrip("\n"), self._verdict()))

    def _verdict(self) -> str:
        who = f"iteration {self.iteration}" if self.iteration else "the base"
        gold = harmless(self.gold or "")
        if self.answer is None:
            return f"{who} gave no answer" + (f"; right is {gold}" if gold else "")
        verdict = (
            "" if self.gold is None else ", right" if self.correct else f", wrong: it is {gold}"
        )
        return f"{who} answers {harmless(self.answer)}{verdict}"


@dataclass(frozen=True, slots=True)
class Accuracy:
    """A share of right answers with its 95% interval, in all and by class (n, correct).

    >>> import star_mlx as sx
    >>> sx.open_run("runs/first").metrics[1].dev.n
    10
    """

    split: Split
    n: int
    correct: int
    accuracy: float
    ci95: tuple[float, float]
    by_class: Mapping[str, tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Metrics:
    """What a finished iteration came to; of iteration 0, the base, only ``dev`` and ``zero_shot``
    are known, and the counts are 0.

    >>> import star_mlx as sx
    >>> [(it.iteration, it.solved, it.examples) for it in sx.open_run("runs/first").metrics]
    [(0, 0, 0), (1, 0, 20)]
    """

    iteration: int
    problems: int
    solved: int
    rationalized: int
    examples: int
    steps: int
    dev: Accuracy | None
    zero_shot: Accuracy | None


def metrics(record: RunRecord) -> list[Metrics]:
    """The metrics of a run, typed."""
    return [
        Metrics(
            line["iteration"],
            problems=line.get("problems", 0),
            solved=line.get("solved", 0),
            rationalized=line.get("rationalized", 0),
            examples=line.get("examples", 0),
            steps=line.get("train", {}).get("steps", 0),
            dev=_accuracy(line.get("eval")),
            zero_shot=_accuracy(line.get("zero_shot")),
        )
        for line in record.metrics
    ]


def _accuracy(entry: Mapping[str, Any] | None) -> Accuracy | None:
    if entry is None:
        return None
    by_class = {name: (c["n"], c["correct"]) for name, c in entry["by_class"].items()}
    low, high = entry["ci95"]
    return Accuracy(
        entry["split"], entry["n"], entry["correct"], entry["accuracy"], (low, high), by_class
    )


@dataclass(frozen=True, slots=True)
class Measurement:
    """A measurement of a model on a split, as its file in the run's ``results/`` has it.

    >>> import star_mlx as sx
    >>> engine = sx.ScriptedEngine(lambda asked: "1 2 3")
    >>> run = sx.open_run("runs/first", engine=engine)
    >>> run.evaluate("last", limit=4, progress=False).accuracy
    0.0
    """

    entry: Mapping[str, Any]

    @property
    def accuracy(self) -> float:
        return float(self.entry["accuracy"])

    @property
    def n(self) -> int:
        return int(self.entry["n"])

    @property
    def ci95(self) -> tuple[float, float]:
        low, high = self.entry["ci95"]
        return low, high

    @property
    def against(self) -> list[Mapping[str, Any]]:
        """The paired comparisons: ``with``, the counts, ``p`` and the ``verdict`` of each."""
        return list(self.entry["against"])

    def __repr__(self) -> str:
        return harmless("\n".join(findings.report(self.entry)))


@dataclass(frozen=True, slots=True)
class Grades:
    """What ``grade`` found: ``counts`` of all rows, and each row with its verdict in ``rows``.

    >>> import star_mlx as sx
    >>> sx.grade("gsm8k", [{"completion": "#### 10", "gold": "10"}]).counts["correct"]
    1
    """

    counts: Mapping[str, Any]
    rows: tuple[Graded, ...]

    @property
    def accuracy(self) -> float:
        """The share of the rows that are right."""
        return float(self.counts["accuracy"])
