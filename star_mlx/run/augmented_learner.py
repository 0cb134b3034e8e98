"""New questions in the loop: an iteration's problems, augmented with questions made of them.

They are problems like the others: attempted, rationalized and trained on. Only those that the model
wrote itself are not rationalized, see ``AugmentedLearner.attempt``.
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Sequence
from pathlib import Path

import msgspec

from star_mlx.augment import kinds
from star_mlx.augment.kinds import NewQuestion
from star_mlx.augment.overlap import HeldOut
from star_mlx.augment.sieve import Sieve
from star_mlx.augment.yields import Yield
from star_mlx.errors import RunError, TaskError
from star_mlx.events import Emit, Event, Sampled
from star_mlx.prompts import Prompts
from star_mlx.recipe.backward import backward_prompts
from star_mlx.run.augmenting import Augmenting
from star_mlx.run.learner import Learner
from star_mlx.settings import Recipe
from star_mlx.store.metrics import AddedKind, Metrics
from star_mlx.store.rows import AddedQuestion
from star_mlx.store.writing import Store
from star_mlx.types import (
    Amount,
    Attempt,
    Done,
    Evaluation,
    Example,
    Iteration,
    Problem,
    Task,
    Trained,
)

LOOKED_AT = 100  # training problems of which one has to be in words
_RESTORE = "put them back, or give another --run"
_WORD = re.compile(r"[^\W\d_]{2}")


class AugmentedLearner:
    """``types.Model`` on a learner whose iterations also attempt new questions."""

    def __init__(
        self, learner: Learner, task: Task, held_out: HeldOut, folder: Store, emit: Emit
    ) -> None:
        """``held_out`` are the problems that no new question may be near to."""
        self._learner, self._task, self._held_out = learner, task, held_out
        self._folder, self._emit = folder, emit
        self._settings = learner.recipe.augment
        self._backward = learner.prompts
        if set(self._settings.shares) & set(kinds.BACKWARD):
            self._backward = backward_prompts(task, learner.prompts)
        self._added: dict[str, NewQuestion] = {}  # of this iteration, by id
        self._yields: dict[str, Yield] = {}

    def augment(self, x: Sequence[Problem], M_prev: Done, n: int) -> Sequence[Problem]:
        """The problems drawn for iteration n, and behind them the new questions made of them. They
        depend on nothing but the recipe, these problems and the journalled rewritings."""
        self._added, self._yields = {}, {}
        self._learner.prompts_of.clear()
        if not self._settings.shares:
            return x
        sieve = Sieve(self._held_out, [*self._task.problems("train"), *x])
        for kind, most in self._settings.most(len(x)).items():
            counts = self._yields[kind] = Yield()
            found = self._questions(kind, x, most, M_prev, n, sieve, counts)
            rng = random.Random(f"{self._learner.recipe.seed}/{n}/augment/{kind}")
            drawn = sorted(rng.sample(range(len(found)), min(most, len(found))))
            counts.questions = len(drawn)
            for question in (found[place] for place in drawn):
                self._added[question.problem.id] = question
                if kind in kinds.BACKWARD:
                    self._learner.prompts_of[question.problem.id] = self._backward
        self._folder.save_questions(n, [_row(question) for question in self._added.values()])
        return [*x, *(question.problem for question in self._added.values())]

    def _questions(
        self,
        kind: str,
        x: Sequence[Problem],
        most: int,
        M_prev: Done,
        n: int,
        sieve: Sieve,
        counts: Yield,
    ) -> list[NewQuestion]:
        """The questions of a kind from the first problems: no more are rewritten than are asked."""
        samples = math.ceil(self._settings.shares[kind]) if kind == "rephrase" else 1
        if kind in kinds.REWRITTEN:
            x = x[: -(-most // samples)]
        augmenting = Augmenting(
            self._learner.on(self._task, self._learner.prompts, self._without_samples),
            self._task,
            self._backward,
            samples=samples,
            iteration=n,
            adapter=M_prev.adapter,
            phase="augment",
            restart=_RESTORE,
            prefix=f"{n}-",  # another model writes another question in the next iteration
        )
        return augmenting.questions(kind, x, sieve, counts)

    def _without_samples(self, event: Event) -> None:
        if not isinstance(event, Sampled):  # a rewriting is no attempt to show
            self._emit(event)

    def attempt(
        self,
        problems: Sequence[Problem],
        adapter: Path | None,
        *,
        iteration: int,
        hinted: bool,
        few_shot: bool,
    ) -> list[Attempt]:
        """Attempt problems. With a hint, those that the model wrote are left out: only a right
        answer without a hint shows that a rewriting has kept the question's meaning.

        Raises:
            RunError: the folder has attempts at other new questions.
        """
        if hinted:
            problems = [problem for problem in problems if not self._rewritten(problem)]
        if self._yields:
            self._refuse_others(problems, iteration, "hinted" if hinted else "direct")
        return self._learner.attempt(
            problems, adapter, iteration=iteration, hinted=hinted, few_shot=few_shot
        )

    def _refuse_others(self, problems: Sequence[Problem], iteration: int, kind: str) -> None:
        made = list(self._folder.verdicts(iteration, kind))
        if made != [problem.id for problem in problems[: len(made)]]:
            raise RunError(
                f"{self._folder.path}: iteration {iteration} was begun with other new questions "
                "than those of now, so the test problems that they are compared with have changed: "
                f"{_RESTORE}"
            )

    def _rewritten(self, problem: Problem) -> bool:
        added = self._added.get(problem.id)
        return added is not None and added.kind in kinds.REWRITTEN

    def example(
        self, problem: Problem, attempt: Attempt, *, iteration: int, show_hint: bool
    ) -> Example:
        return self._learner.example(problem, attempt, iteration=iteration, show_hint=show_hint)

    def train(self, examples: Sequence[Example], amount: Amount, *, iteration: int) -> Trained:
        return self._learner.train(examples, amount, iteration=iteration)

    def evaluate(
        self, adapter: Path | None, *, iteration: int, few_shot: bool
    ) -> Evaluation | None:
        return self._learner.evaluate(adapter, iteration=iteration, few_shot=few_shot)

    def metrics(self, iteration: Iteration) -> Metrics:
        """The metrics line of an iteration that just ended, with the yields of new questions."""
        line = self._learner.metrics(iteration)
        if not self._yields:
            return line
        solved = {attempt.id for attempt in iteration.direct if attempt.correct}
        kept = {row.id for row in iteration.examples if row.iteration == iteration.number}
        made: dict[str, AddedKind] = {}
        for kind, counts in self._yields.items():
            ids = {name for name, question in self._added.items() if question.kind == kind}
            why_not = dict(counts.not_asked.most_common())
            made[kind] = AddedKind(
                counts.tried, len(ids), len(ids & solved), len(ids & kept), why_not
            )
        seconds = line.seconds or {}
        if set(self._yields) & set(kinds.REWRITTEN):
            writing = sum(counts.seconds for counts in self._yields.values())
            seconds = {"augment": round(writing, 3), **seconds}
        return msgspec.structs.replace(line, augmented=made, seconds=seconds)


def held_out(recipe: Recipe, task: Task) -> HeldOut:
    """The problems that new questions are compared with: dev, and with ``augment.decontaminate``
    test. None are read if there are no new questions.

    Raises:
        TaskError: the test problems cannot be read.
    """
    if not recipe.augment.shares:
        return HeldOut()
    try:
        tests = task.problems("test") if recipe.augment.decontaminate else ()
    except TaskError as error:
        raise TaskError(
            f"{error}; augment.decontaminate=false leaves the test split unread"
        ) from None
    return HeldOut.of([*task.problems("dev"), *tests])


def check(recipe: Recipe, task: Task, prompts: Prompts) -> None:
    """Check that questions of the recipe's kinds can be made of the task's problems.

    Raises:
        RunError: they cannot.
    """
    shares = recipe.augment.shares
    if set(shares) & set(kinds.BACKWARD):
        backward_prompts(task, prompts, "augment")
    if "rephrase" in shares:
        texts = [problem.question.text for problem in task.problems("train")[:LOOKED_AT]]
        if not any(map(_WORD.search, texts)):
            raise RunError(
                f"the questions of the task {task.name} have no words, so they cannot be put in "
                "other words: leave rephrase out of augment"
            )


def _row(question: NewQuestion) -> AddedQuestion:
    problem = question.problem
    return AddedQuestion(
        id=problem.id,
        kind=question.kind,
        original=question.original.id,
        question=problem.question.text,
        answer=problem.answer,
        choices=problem.question.choices,
        group=problem.group,
    )
