r"""Competition problems (MATH, Hendrycks et al. 2021, arXiv 2103.03874).

One problem: question "What is the positive difference between $120\\%$ of 30 and $130\\%$ of 20?",
answer ``10``, class ``1`` (its level; or ``Algebra``, its subject), and the human rationale, which
is the solution of the data without the box around its answer. A completion ends in
"The answer is $\\boxed{10}$.". Answers are compared as mathematics (docs/answers.md).

The test split is the 500 problems of Lightman et al. 2023. From the Hub, the other 12,000 are the
train and dev splits. A figure is part of a question as the text of its drawing, ``[asy]...[/asy]``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from typing import Any, Literal

from pydantic import Field

from star_mlx import data
from star_mlx.answers import completion as completions
from star_mlx.errors import TaskError
from star_mlx.tasks import math500, math_text
from star_mlx.tasks.written import (
    ProseOptions,
    Written,
    cites_in_prose,
    question_text,
    says_it_was_told,
)
from star_mlx.types import Problem, Question, Split

REPOSITORY = "EleutherAI/hendrycks_math"
_SUBJECTS = ("algebra", "counting_and_probability", "geometry", "intermediate_algebra",
             "number_theory", "prealgebra", "precalculus")  # fmt: skip
HUB_FILES = {
    split: tuple(f"{subject}/{split}-00000-of-00001.parquet" for subject in _SUBJECTS)
    for split in ("train", "test")
}
_BLANK_LINES = re.compile(r"\n\s*\n")
# In other tasks these words speak of the hint, here of a formula more often.
_PARENTHESES = re.compile(r"\bin (?:the )?parenthes[ei]s\b", re.IGNORECASE)
_ANSWER_IN_PARENTHESES = re.compile(
    rf"\b(?:answer|solution|result)\b[^.\n]{{0,40}}{_PARENTHESES.pattern}", re.IGNORECASE
)
_CONCLUSION = re.compile(r"the answer is[^\n]*\Z", re.IGNORECASE)


class MathOptions(ProseOptions):
    """The options of the task math (``task.options`` of a recipe)."""

    data: str | None = Field(
        None,
        description="folder with train.jsonl and test.jsonl; null: EleutherAI/hendrycks_math on "
        "the Hub",
    )
    by: Literal["level", "subject"] = Field(
        "level", description="the classes by which accuracy is reported: level (1 to 5) or subject"
    )


class Math(Written):
    """The MATH task."""

    name = "math"
    Options = MathOptions
    mathematical = True  # answers are compared by ``answers.math``

    def __init__(self, options: MathOptions | None = None) -> None:
        self.options: MathOptions = options or MathOptions()
        self.classes = self.options.by

    # ------------------------------------------------------------------ problems

    def problems(self, split: Split) -> Sequence[Problem]:
        if find_spec("mpmath") is None:  # said now, not after hours by the first root of two
            raise TaskError('the task math needs mpmath: pip install "star-mlx[math]"')
        return super().problems(split)

    def train_rows(self) -> Iterator[data.Row]:
        """The rows of the training file, without those of the test split; from the Hub also those
        of the test files that are not in it."""
        held_out = 0
        for row in self._official("train"):
            if _in_test(row):
                held_out += 1
            else:
                yield row
        if held_out:
            self._reader.skipped.append(f"{held_out} training problems of the test split MATH-500")
        if self.options.data is None:
            yield from (row for row in self._official("test") if not _in_test(row))

    def test_rows(self) -> Iterator[data.Row]:
        if self.options.data is not None:
            yield from self._official("test")
            return
        count = 0
        for row in self._official("test"):
            if _in_test(row):
                count += 1
                yield row
        if count != len(math500.IDS):
            raise TaskError(
                f"{REPOSITORY} on the Hub has {count} of the {len(math500.IDS)} test problems, so "
                "it has changed: give --data FOLDER with train.jsonl and test.jsonl"
            )

    def _official(self, split: Literal["train", "test"]) -> Iterator[data.Row]:
        file = f"{split}.jsonl"
        return data.official(self.options.data, file, REPOSITORY, *HUB_FILES[split])

    def pose_row(self, row: Mapping[str, Any]) -> Problem:
        solution = row.get("solution")
        solution = solution if isinstance(solution, str) else None
        return Problem(
            id=str(row.get("id") or row.get("unique_id") or ""),
            question=Question(question_text(row, "problem")),
            answer=math_text.gold(_right_answer(row)),
            group=_level(row) if self.options.by == "level" else _subject(row),
            rationale=_rationale(solution) if solution else None,
        )

    def notes(self) -> Sequence[str]:
        """See ``tasks.notes``."""
        problems = [*self.problems("train"), *self.problems("dev")]
        figures = sum("[asy]" in problem.question.text for problem in problems)
        if not figures:
            return ()
        return (
            f"{figures} of {len(problems)} problems have a figure, which is in the question as the "
            "text of its drawing ([asy])",
        )

    # ------------------------------------------------------------------ text and answers

    def ask_hinted(self, question: Question, answer: str) -> str:
        return self._asked(f"{question.text} (${answer}$)", ())

    def worked(self, rationale: str | None, answer: str) -> str:
        conclusion = f"The answer is $\\boxed{{{answer}}}$."
        return f" {conclusion}" if rationale is None else f" {rationale}\n{conclusion}"

    def read(self, completion: str, question: Question) -> str | None:
        own = completions.own_part(completion)  # before a problem that the model invented
        return math_text.concluded(own) or math_text.concluded(completion)

    def equal(self, answer: str, gold: str) -> bool:
        return math_text.judged(answer, gold).decision == "right"

    def undecided(self, answer: str, gold: str) -> str:
        """See ``tasks.why_undecided``."""
        return math_text.judged(answer, gold).reason

    def cites_hint(self, problem: Problem, completion: str) -> bool:
        """As in every task, but an equation is a rationale without any words."""
        if self.options.prose and cites_in_prose(completion):
            return True
        steps = _CONCLUSION.sub("", math_text.unboxed(completion.strip()))
        if _ANSWER_IN_PARENTHESES.search(steps):
            return True
        steps = _PARENTHESES.sub("", steps)
        return says_it_was_told(steps) if "=" in steps else super().cites_hint(problem, steps)


def _in_test(row: data.Row) -> bool:
    """Whether a row is one of the 500 test problems."""
    problem = None if isinstance(row.values, str) else row.values.get("problem")
    return isinstance(problem, str) and math500.identity(problem) in math500.IDS


def _right_answer(row: Mapping[str, Any]) -> str:
    """The right answer of a row: its ``gold`` or ``answer``, or else the box in its solution.

    Raises:
        TaskError: there is none.
    """
    for name in ("gold", "answer"):
        if row.get(name) is not None:
            return data.text(row, name)
    found = math_text.boxed(data.text(row, "solution"))
    if found is None:
        raise TaskError("its solution has no answer in \\boxed{}")
    return found


def _rationale(solution: str) -> str | None:
    """A solution without its boxes, and without blank lines, which would end a completion."""
    return _BLANK_LINES.sub("\n", math_text.unboxed(solution)).strip() or None


def _level(row: Mapping[str, Any]) -> str:
    """The level of a row: 3 for ``Level 3``."""
    return str(row.get("level") or "").removeprefix("Level").strip()


def _subject(row: Mapping[str, Any]) -> str:
    return str(row.get("type") or row.get("subject") or "")
