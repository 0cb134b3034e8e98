"""Measure how fast this machine generates and trains with a recipe, in some seconds."""

from __future__ import annotations

import itertools
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from star_mlx import engine as engines
from star_mlx.errors import ModelError, TaskError
from star_mlx.prompts import Prompts
from star_mlx.recipe import asking, opening
from star_mlx.run import passes
from star_mlx.run.at_hand import AtHand
from star_mlx.settings import Recipe
from star_mlx.star import sample
from star_mlx.types import Amount, Attempt, Engine, Example, Problem

SECONDS = 8.0  # that each part may take, about
FEW = 4  # rows of the first try, which tells how many more there is time for
MOST_ROWS = 200  # of training
SHORT = 24  # tokens of its completions


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds as they were measured, and from how much.

    ``right`` is the share of the completions with the right answer, ``completion_tokens`` their
    mean length; None if they could not be finished in the time.
    """

    load_seconds: float
    attempt_seconds: float  # of a completion, in a batch
    step_seconds: float  # of an optimizer step
    right: float
    completion_tokens: int | None
    attempts: int
    steps: int
    peak_memory_bytes: int


def measure(
    recipe: Recipe,
    prompts: Prompts,
    engine: Engine,
    problems: Sequence[Problem],
    examples: Sequence[Example],
    load_seconds: float,
) -> Timing:
    """Generate some completions and take some steps.

    Args:
        prompts: in the engine's template.
        problems: at least one.
        examples: rows to train on, at least one.
        load_seconds: how long it took to open the engine.
    """
    made, seconds, whole = _generated(recipe, prompts, engine, problems)
    tokens = sum(len(one.token_ids) for one in made) / len(made)
    if not whole:  # what a completion takes if it were as long as it may be
        seconds *= recipe.generate.max_tokens / max(1.0, tokens)
    step, steps = _trained(recipe, engine, examples)
    return Timing(
        load_seconds=load_seconds,
        attempt_seconds=seconds / len(made),
        step_seconds=step,
        right=sum(one.correct for one in made) / len(made) if whole else 0.0,
        completion_tokens=round(tokens) if whole else None,
        attempts=len(made),
        steps=steps,
        peak_memory_bytes=engine.peak_memory(),
    )


def _generated(
    recipe: Recipe, prompts: Prompts, engine: Engine, problems: Sequence[Problem]
) -> tuple[list[Attempt], float, bool]:
    """Completions, the seconds that they took, and whether they were given their full length."""
    made = recipe.generate
    how = asking.generating(recipe, prompts, few_shot=recipe.star.few_shot(0))

    def timed(count: int, limit: int) -> tuple[list[Attempt], float]:
        some = [problems[i % len(problems)] for i in range(count)]
        asked = replace(how, decoding=replace(how.decoding, max_tokens=limit))
        started = time.perf_counter()
        found = passes.attempts(engine, None, asked, some, seeds=list(range(count)))
        return found, time.perf_counter() - started

    most = min(made.at_once, made.per_chunk)
    timed(1, 1)  # reads the few-shot prompt, which is kept
    found, seconds = timed(FEW, min(SHORT, made.max_tokens))
    each = seconds / max(1, sum(len(one.token_ids) for one in found))  # seconds of a token
    if FEW * made.max_tokens * each > 2 * SECONDS:  # even so few would take too long at full length
        limit = min(made.max_tokens, max(SHORT, int(SECONDS / (each * FEW))))
        return (*timed(FEW, limit), limit == made.max_tokens)
    count = FEW
    while True:  # a row of a large batch takes less than one of a small batch
        found, seconds = timed(count, made.max_tokens)
        if count >= most or seconds > SECONDS / 3:
            return found, seconds, True
        count = min(most, max(2 * count, int(count * SECONDS / 2 / seconds)))


def _trained(recipe: Recipe, engine: Engine, examples: Sequence[Example]) -> tuple[float, int]:
    """Seconds of an optimizer step, and the number of steps measured."""
    size = recipe.train.batch_size

    def timed(count: int, steps: int) -> float:
        stamps: list[float] = []
        some = [examples[i % len(examples)] for i in range(count)]
        settings = recipe.train.model_copy(update={"batch_size": count})
        with tempfile.TemporaryDirectory(prefix="star-mlx-dry-run-") as out:
            engine.train(
                some, settings, Amount(steps=steps + 1), seed=0, out=Path(out),
                progress=lambda _: stamps.append(time.perf_counter()),
            )  # fmt: skip
        pairs = itertools.pairwise(stamps)  # the first step also prepares the others
        return statistics.median(b - a for a, b in pairs)

    few = min(FEW, size)
    each = timed(few, 2) * size / few
    steps = int(min(6.0, SECONDS / max(1e-6, each)))
    if steps < 1:
        return each, 2
    return timed(size, steps), steps


def of(at: AtHand) -> Timing:
    """Open the model of a recipe that is at hand, and measure it.

    Raises:
        ModelError: it is not at hand, or cannot be loaded.
        TaskError: its data is not.
    """
    if at.model is None:
        raise ModelError(
            f"{at.recipe.model.path} is not on this machine, so it cannot be measured: get it by "
            f"`hf download {at.recipe.model.path}`, or give a folder"
        )
    if at.problems is None:
        raise TaskError("the task's data is not on this machine: give --data")
    started = time.perf_counter()
    engine = engines.open_base(at.recipe)
    took = time.perf_counter() - started
    problems = sample(at.problems, at.recipe.star, at.recipe.seed, at.recipe.star.start_iteration)
    prompts = opening.in_template(at.recipe, at.prompts, engine)
    return measure(at.recipe, prompts, engine, problems, examples(at, engine, problems), took)


def examples(at: AtHand, engine: Engine, problems: Sequence[Problem]) -> list[Example]:
    """Training rows as long as the run's will be: of the data's rationales or, if there are none,
    of a few-shot example's."""
    prompts = opening.in_template(at.recipe, at.prompts, engine)
    own = [p for p in problems if p.rationale] or list(at.prompts.examples) or list(problems)
    found = []
    for problem in own[:MOST_ROWS]:
        text = prompts.completion(None if prompts.direct else problem.rationale, problem.answer)
        prompt = prompts.training(problem.question, few_shot=at.recipe.star.few_shot_train)
        ids = tuple(engine.encode(text))
        found.append(Example(problem.id, prompt, text, "given", ids, 1))
    return found
