"""Multiple-choice questions of common sense (CommonsenseQA 1.11, Talmor et al. 2019, N19-1421).

One problem: question "What do people aim to do at work?", choices (A) complete job, (B) learn from
each other, (C) kill animals, (D) wear hats, (E) talk to each other, answer ``A``; the data has no
rationales. A completion ends in "So the answer is (A)." The official dev set, whose answers are
public, serves as the test split; the official test set has no answers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import Field

from star_mlx import answers, data
from star_mlx.tasks.written import (
    ProseOptions,
    Written,
    cites_in_prose,
    gold,
    question_text,
    right_label,
)
from star_mlx.types import Problem, Question

REPOSITORY = "tau/commonsense_qa"
HUB_FILES = {
    "train": "data/train-00000-of-00001.parquet",
    "test": "data/validation-00000-of-00001.parquet",
}


class CommonsenseQaOptions(ProseOptions):
    """The options of the task commonsenseqa (``task.options`` of a recipe)."""

    data: str | None = Field(
        None,
        description="folder with train_rand_split.jsonl and dev_rand_split.jsonl; "
        "null: tau/commonsense_qa on the Hub",
    )


class CommonsenseQa(Written):
    """The CommonsenseQA task."""

    name = "commonsenseqa"
    Options = CommonsenseQaOptions

    def __init__(self, options: CommonsenseQaOptions | None = None) -> None:
        self.options: CommonsenseQaOptions = options or CommonsenseQaOptions()

    def train_rows(self) -> Iterable[data.Row]:
        file = "train_rand_split.jsonl"
        return data.official(self.options.data, file, REPOSITORY, HUB_FILES["train"])

    def test_rows(self) -> Iterable[data.Row]:
        file = "dev_rand_split.jsonl"
        return data.official(self.options.data, file, REPOSITORY, HUB_FILES["test"])

    def pose_row(self, row: Mapping[str, Any]) -> Problem:
        inner = row.get("question")
        nested = isinstance(
            inner, Mapping
        )  # the official file; on the Hub they are separate fields
        text = question_text(row, "question.stem" if nested else "question")
        raw = data.value_of(row, "question.choices") if nested else row.get("choices")
        choices = data.choices(raw) if raw is not None else ()
        answer = right_label(gold(row, "answerKey"), choices)
        return Problem(str(row.get("id") or ""), Question(text, choices), answer)

    def worked(self, rationale: str | None, answer: str) -> str:
        conclusion = f" So the answer is ({answer})."
        return conclusion if rationale is None else f" {rationale}{conclusion}"

    def read(self, completion: str, question: Question) -> str | None:
        labels = [label for label, _ in question.choices] or list(data.LABELS[:5])
        return answers.choice(completion, labels, [text for _, text in question.choices])

    def equal(self, answer: str, gold: str) -> bool:
        return answer.casefold() == gold.casefold()

    def cites_hint(self, problem: Problem, completion: str) -> bool:
        found = super().cites_hint(problem, completion)
        return found or (self.options.prose and cites_in_prose(completion))
