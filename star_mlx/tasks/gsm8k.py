"""Grade-school word problems (GSM8K, Cobbe et al. 2021, arXiv 2110.14168).

One problem: question "Natalia sold clips to 48 of her friends in April, and then she sold half as
many clips in May. How many clips did Natalia sell altogether in April and May?", answer ``72``, and
the human rationale "Natalia sold 48/2 = <<48/2=24>>24 clips in May.\\nNatalia sold 48+24 =
<<48+24=72>>72 clips altogether in April and May." A completion ends in a line ``#### 72``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import Field

from star_mlx import answers, data
from star_mlx.answers import prose, steps
from star_mlx.tasks.written import (
    ProseOptions,
    Written,
    answers_first,
    cites_in_prose,
    gold,
    question_text,
)
from star_mlx.types import Problem, Question

REPOSITORY = "openai/gsm8k"
HUB_FILES = {
    "train": "main/train-00000-of-00001.parquet",
    "test": "main/test-00000-of-00001.parquet",
}


class Gsm8kOptions(ProseOptions):
    """The options of the task gsm8k (``task.options`` of a recipe)."""

    data: str | None = Field(
        None, description="folder with train.jsonl and test.jsonl; null: openai/gsm8k on the Hub"
    )


class Gsm8k(Written):
    """The GSM8K task."""

    name = "gsm8k"
    Options = Gsm8kOptions

    def __init__(self, options: Gsm8kOptions | None = None) -> None:
        self.options: Gsm8kOptions = options or Gsm8kOptions()

    def train_rows(self) -> Iterable[data.Row]:
        return data.official(self.options.data, "train.jsonl", REPOSITORY, HUB_FILES["train"])

    def test_rows(self) -> Iterable[data.Row]:
        return data.official(self.options.data, "test.jsonl", REPOSITORY, HUB_FILES["test"])

    def pose_row(self, row: Mapping[str, Any]) -> Problem:
        answer = gold(row, "answer", answers.gold_number)
        solution = row.get("answer")
        rationale = None
        if isinstance(solution, str) and "####" in solution:
            rationale = solution.rsplit("####", 1)[0].strip() or None
        return Problem(
            str(row.get("id") or ""),
            Question(question_text(row, "question")),
            answer,
            "",
            rationale,
        )

    def worked(self, rationale: str | None, answer: str) -> str:
        return f" #### {answer}" if rationale is None else f" {rationale}\n#### {answer}"

    def read(self, completion: str, question: Question) -> str | None:
        return answers.final_number(completion)

    def equal(self, answer: str, gold: str) -> bool:
        return answers.same_number(answer, gold)

    def valid_steps(self, problem: Problem, completion: str) -> bool | None:
        return prose.valid(completion) if self.options.prose else steps.valid(completion)

    def cites_hint(self, problem: Problem, completion: str) -> bool:
        """As in every task; in prose also if the answer stands before any step, or if no right
        equation has its value, so that it is only repeated."""
        if super().cites_hint(problem, completion):
            return True
        if not self.options.prose:
            return False
        value = answers.number(problem.answer)
        derived = value is not None and prose.comes_to(completion, value)
        return not derived or answers_first(completion) or cites_in_prose(completion)
