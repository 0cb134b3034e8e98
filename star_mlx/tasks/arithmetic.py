"""Sums of two numbers, of the same length as in section 4.2 of the paper or of any two lengths.

One problem: question ``6 2 4 + 2 5 9``, answer ``8 8 3``, group ``3`` (its number of digits), and
the worked scratchpad of ``arithmetic_text`` as its rationale. Problems are generated from a seed.
With ``lengths: any`` the group is the number of digits of the longer number.
From 2 digits up a fixed tenth of all sums (``held_out``) is kept for dev and test and never
trained on; sums of 1 digit are too few (100) to be kept apart.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import zip_longest
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from star_mlx.errors import TaskError
from star_mlx.tasks.arithmetic_text import held_out, question, scratchpad, spaced
from star_mlx.types import Evaluation, Problem, Question, Split


class ArithmeticOptions(BaseModel):
    """The options of the arithmetic task (``task.options`` of a recipe)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    digits: tuple[int, int] = Field((1, 5), description="minimum and maximum digits of a number")
    lengths: Literal["equal", "any"] = Field(
        "equal",
        description="equal: both numbers have as many digits; any: one of them may have fewer",
    )
    train: int = Field(50_000, ge=1, description="training problems, as many of each length")
    held_out: int = Field(100, ge=1, description="dev problems and test problems per length")
    data_seed: int = Field(0, ge=0, description="seed of the generated problems")
    grow_to: int | None = Field(
        None, ge=1, description="add a digit each time the longest length is mastered, up to this"
    )
    mastered: float = Field(
        0.9, gt=0, le=1, description="dev accuracy at which a length is mastered"
    )

    @model_validator(mode="after")
    def _ordered(self) -> ArithmeticOptions:
        low, high = self.digits
        if not 1 <= low <= high <= 18:
            raise ValueError(f"digits {low} to {high}: give 1 <= fewest <= most <= 18")
        if self.grow_to is not None and self.grow_to < high:
            raise ValueError(f"grow_to {self.grow_to} is below the most digits, {high}")
        return self


class Arithmetic:
    """The arithmetic task."""

    name = "arithmetic"
    Options = ArithmeticOptions
    stop = ("\n\n",)
    classes = "number of digits"

    def __init__(self, options: ArithmeticOptions | None = None) -> None:
        self.options = options or ArithmeticOptions()

    def settings(self) -> Mapping[str, Any]:
        return self.options.model_dump(mode="json")

    def problems(self, split: Split) -> Sequence[Problem]:
        return {"train": self._train, "dev": self._dev, "test": self._test}[split]

    def training(self, evaluations: Sequence[Evaluation | None]) -> Sequence[Problem]:
        """The training problems after these evaluations: longer as lengths are mastered."""
        longest = self.options.digits[1]
        for evaluation in evaluations:
            n, correct = (evaluation.by_class if evaluation else {}).get(str(longest), (0, 0))
            if n and correct / n >= self.options.mastered and longest < self._longest:
                longest += 1
        return [p for p in self._train if int(p.group) <= longest]

    def ask(self, question: Question) -> str:
        return f"Input:\n{question.text}\nTarget:\n"

    def ask_hinted(self, question: Question, answer: str) -> str:
        return f"Input:\n{question.text}\nTarget: {answer}\n"

    def worked(self, rationale: str | None, answer: str) -> str:
        return answer if rationale is None else f"{rationale}\n{answer}"

    def zero_shot(self, question: Question) -> str:
        return self.ask(question)  # the embedded base cannot read words

    def read(self, completion: str, question: Question | None = None) -> str | None:
        """The last line, if it is digits; inside an unclosed scratchpad there is no answer."""
        after = completion.rsplit("</scratch>", 1)[-1]
        if "<scratch>" in after:
            return None
        found = re.fullmatch(r"[0-9]( ?[0-9])*", after.strip())
        return found.group() if found else None

    def equal(self, answer: str, gold: str) -> bool:
        return answer.replace(" ", "") == gold.replace(" ", "")

    def valid_steps(self, problem: Problem, completion: str) -> bool | None:
        if problem.rationale is None or "<scratch>" not in completion:
            return None
        return completion.rsplit("\n", 1)[0].strip() == problem.rationale

    def wrong_line(self, problem: Problem, completion: str) -> int | None:
        """The first line that differs from the worked scratchpad and its answer; see
        ``tasks.wrong_line``."""
        if problem.rationale is None or "<scratch>" not in completion:
            return None
        made = completion.rstrip().split("\n")
        before = next(n for n, line in enumerate(made) if line.strip())
        right = self.worked(problem.rationale, problem.answer).split("\n")
        for n, line in enumerate(made[before:]):
            if n == len(right) or line.split() != right[n].split():
                return before + n
        return None

    def cites_hint(self, problem: Problem, completion: str) -> bool:
        return "Target" in completion

    def skipped(self) -> Sequence[str]:
        return ()

    def pose_row(self, row: Mapping[str, Any]) -> Problem:
        """A row with the sum as its ``question``; with a ``gold`` it may have none."""
        asked, gold = row.get("question"), row.get("gold")
        if asked is None and gold is not None:
            return Problem("", Question(""), str(gold))
        if not isinstance(asked, str):
            raise TaskError("has neither a question such as '7 8 + 4 5' nor a gold")
        problem = self.pose(asked)
        return problem if gold is None else replace(problem, answer=str(gold))

    def pose(self, text: str) -> Problem:
        """A sum as a person types it: ``"78+45"`` or ``"7 8 + 4 5"``."""
        parts = [part.replace(" ", "") for part in text.strip().rstrip("=? ").split("+")]
        if len(parts) != 2 or not all(re.fullmatch("[0-9]{1,18}", part) for part in parts):
            raise TaskError(f"{text!r} is not a sum: write two numbers, such as '7 8 + 4 5'")
        a, b = map(int, parts)
        short, long = sorted(len(str(number)) for number in (a, b))
        posed = _problem(a, b, f"{a}+{b}")
        if short == long or self.options.lengths == "any":
            return posed
        return replace(posed, group=f"{short} and {long}")

    @property
    def _longest(self) -> int:
        return self.options.grow_to or self.options.digits[1]

    @cached_property
    def _train(self) -> Sequence[Problem]:
        lengths = range(self.options.digits[0], self._longest + 1)
        rng = random.Random(f"arithmetic/train/{self.options.data_seed}")
        seen: dict[str, int] = {}
        problems = []
        for i in range(self.options.train):
            a, b = self._draw(rng, lengths[i % len(lengths)], False)
            name = f"{a}+{b}"
            seen[name] = seen.get(name, 0) + 1
            problems.append(_problem(a, b, name if seen[name] == 1 else f"{name}/{seen[name]}"))
        return problems

    @cached_property
    def _dev(self) -> Sequence[Problem]:
        return self._held_out("dev", set())

    @cached_property
    def _test(self) -> Sequence[Problem]:
        return self._held_out("test", {p.id for p in self._dev})

    def _held_out(self, split: str, taken: set[str]) -> Sequence[Problem]:
        """``held_out`` distinct sums per length, but at most a third of all sums of that length.

        The lengths alternate, so that the first n problems are spread over all lengths.
        """
        rng = random.Random(f"arithmetic/{split}/{self.options.data_seed}")
        by_length = []
        for digits in range(self.options.digits[0], self._longest + 1):
            there_are = 100 if digits == 1 else 9 * 9 * 10 ** (2 * digits - 2) // 30
            found: dict[str, Problem] = {}
            while len(found) < min(self.options.held_out, there_are):
                a, b = self._draw(rng, digits, digits > 1)
                if digits == 1 or f"{a}+{b}" not in taken:
                    found[f"{a}+{b}"] = _problem(a, b, f"{a}+{b}")
            by_length.append(found.values())
        return [p for turn in zip_longest(*by_length) for p in turn if p is not None]

    def _draw(self, rng: random.Random, digits: int, kept_apart: bool) -> tuple[int, int]:
        """Draw two numbers, the longer of ``digits`` digits, from the held-out sums or from the
        others."""
        while True:
            a = b = digits
            if self.options.lengths == "any":
                a, b = rng.sample((digits, rng.randint(1, digits)), 2)
            first, second = _number(rng, a), _number(rng, b)
            if held_out(first, second) == kept_apart:
                return first, second


def _number(rng: random.Random, digits: int) -> int:
    return rng.randrange(10 ** (digits - 1) if digits > 1 else 0, 10**digits)


def _problem(a: int, b: int, name: str) -> Problem:
    text = Question(question(a, b))
    return Problem(name, text, spaced(a + b), str(len(str(max(a, b)))), scratchpad(a, b))
