"""The results of the API: an answer, a measurement, grades."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from star_mlx.formatting import harmless
from star_mlx.measure import findings
from star_mlx.measure.grade import Graded
from star_mlx.store.results import Against, Result, as_json


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer of a run's model to a question; its repr is the text that ``star-mlx try`` prints.

    ``prompt`` is without the few-shot examples. ``answer`` is None if none was found; ``gold`` and
    ``correct`` are None if the right answer is not known. ``remark`` says so if the run trained on
    no question of this kind, and is empty otherwise.

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
    remark: str = ""

    @property
    def rationale(self) -> str:
        """The whole text of the model: its reasoning, which ends in the answer."""
        return self.completion.strip()

    def __repr__(self) -> str:
        text = harmless(self.prompt + self.completion).rstrip("\n")
        verdict = self._verdict() + (f" ({harmless(self.remark)})" if self.remark else "")
        return f"{text}\n\n{verdict}"

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
class Measurement:
    """A measurement of a model on a split, as written to the run's ``results/``.

    >>> import star_mlx as sx
    >>> engine = sx.ScriptedEngine(lambda asked: "1 2 3")
    >>> run = sx.open_run("runs/first", engine=engine)
    >>> run.evaluate("last", limit=4, progress=False).accuracy
    0.0
    """

    result: Result
    file: Path

    @property
    def accuracy(self) -> float:
        return self.result.accuracy

    @property
    def n(self) -> int:
        return self.result.n

    @property
    def ci95(self) -> tuple[float, float]:
        return self.result.ci95

    @property
    def against(self) -> list[Against]:
        """The paired comparisons: ``other``, the counts, ``p`` and the ``verdict`` of each."""
        return list(self.result.against)

    def as_json(self) -> dict[str, Any]:
        """The measurement as plain data, with its file."""
        return {**as_json(self.result), "file": str(self.file)}

    def __repr__(self) -> str:
        return harmless("\n".join(findings.report(self.result, str(self.file))))


@dataclass(frozen=True, slots=True)
class Grades:
    """The result of ``grade``: ``counts`` of all rows, and each row with its verdict in ``rows``.

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
