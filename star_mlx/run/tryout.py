"""Try a recipe's model on three problems: does it end, is it read, is it ever right?"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from star_mlx import engine as engines
from star_mlx.errors import NothingKept
from star_mlx.recipe import asking, opening
from star_mlx.run import completing, passes
from star_mlx.run.at_hand import AtHand
from star_mlx.run.checks import Remark
from star_mlx.run.learner import example
from star_mlx.run.timing import examples
from star_mlx.star import sample
from star_mlx.types import Amount, Attempt, Engine, Problem

PROBLEMS = 3
STEPS = 2


@dataclass(frozen=True, slots=True)
class Tried:
    """A completion of the model and its verdict. ``shown`` is its beginning and its end."""

    problem: str
    hinted: bool
    gold: str
    answer: str | None
    correct: bool
    finish: str
    tokens: int
    shown: str


@dataclass(frozen=True, slots=True)
class Tryout:
    """The model's completions of a few problems, and a training of two steps.

    ``trained_on`` says what the rows were: the model's own completions, or the examples' if none
    was right.
    """

    tried: tuple[Tried, ...]
    trained_on: str
    losses: tuple[float, ...]
    generating_seconds: float
    training_seconds: float
    peak_memory_bytes: int
    findings: tuple[Remark, ...]


def tryout(at: AtHand, engine: Engine | None = None) -> Tryout:
    """Generate for three problems, directly and with the hint, and take two steps.

    Args:
        at: a recipe with its data, and its model unless the ``engine`` is given.

    Raises:
        ModelError: the model cannot be loaded, or a prompt does not fit it.
    """
    engine = engine or engines.open_base(at.recipe)
    star = at.recipe.star
    drawn = sample(at.problems or (), star, at.recipe.seed, star.start_iteration)[:PROBLEMS]
    started = time.perf_counter()
    direct = _asked(at, engine, drawn, hinted=False)
    failed = [p for p, made in zip(drawn, direct, strict=True) if not made.correct]
    again = star.rationalizes(star.start_iteration) and not at.prompts.direct
    hinted = _asked(at, engine, failed, hinted=True) if again and failed else []
    generated = time.perf_counter() - started
    pairs = [*zip(drawn, direct, strict=True), *zip(failed if again else (), hinted, strict=True)]
    started = time.perf_counter()
    losses, rows = _trained(at, engine, pairs)
    return Tryout(
        tried=tuple(_tried(problem, made) for problem, made in pairs),
        trained_on=rows,
        losses=losses,
        generating_seconds=generated,
        training_seconds=time.perf_counter() - started,
        peak_memory_bytes=engine.peak_memory(),
        findings=tuple(_findings(at, direct, hinted, losses)),
    )


def _asked(
    at: AtHand, engine: Engine, problems: Sequence[Problem], *, hinted: bool
) -> list[Attempt]:
    prompts = opening.in_template(at.recipe, at.prompts, engine)
    few_shot = at.recipe.star.few_shot(0)
    how = asking.generating(at.recipe, prompts, few_shot=few_shot, hinted=hinted)
    seeds = [completing.seed(at.recipe.seed, "rehearsal", problem.id) for problem in problems]
    return passes.attempts(engine, None, how, problems, seeds=seeds)


def _trained(
    at: AtHand, engine: Engine, pairs: Sequence[tuple[Problem, Attempt]]
) -> tuple[tuple[float, ...], str]:
    """The losses of two steps, and what they were taken on."""
    prompts = opening.in_template(at.recipe, at.prompts, engine)
    rows = [
        example(at.recipe, prompts, problem, made, iteration=1, show_hint=False)
        for problem, made in pairs
        if made.kept
    ]
    own = "the right completions"
    if not rows:
        rows = examples(at, engine, [problem for problem, _ in pairs])[:PROBLEMS]
        own = "the examples, as no completion was kept"
    losses: list[float] = []
    place = tempfile.TemporaryDirectory(prefix="star-mlx-rehearsal-")
    with place as out, suppress(NothingKept):  # rows that are too long are found by the checks
        engine.train(
            rows, at.recipe.train, Amount(steps=STEPS), seed=0, out=Path(out),
            progress=lambda step: losses.append(step.loss),
        )  # fmt: skip
    return tuple(losses), own


def _tried(problem: Problem, made: Attempt) -> Tried:
    text = " ".join(made.completion.split())
    return Tried(
        problem=problem.id,
        hinted=made.hinted,
        gold=problem.answer,
        answer=made.answer,
        correct=made.correct,
        finish=made.finish,
        tokens=len(made.token_ids),
        shown=text if len(text) <= 160 else f"{text[:100]} ... {text[-50:]}",
    )


def _findings(
    at: AtHand, direct: Sequence[Attempt], hinted: Sequence[Attempt], losses: Sequence[float]
) -> Iterator[Remark]:
    made, limit = [*direct, *hinted], at.recipe.generate.max_tokens
    cut = sum(one.finish == "length" for one in made)
    text = f"{cut or 'none'} of {len(made)} completions of the model reached max_tokens={limit}"
    if cut:
        text += ": these are not kept. Give a larger generate.max_tokens, or more examples"
    yield Remark("cut off", not cut, text)
    lost = sum(one.answer is None for one in made)
    found = len(made) - lost
    text = f"an answer was found in {found or 'none'} of {len(made)} completions of the model"
    yield Remark("unreadable", not lost, text)
    right = sum(one.correct for one in made)
    text = f"{right or 'none'} of {len(made)} completions of the model were right"
    if not right:
        text += (
            ", with or without the hint. Three problems prove little, but a loop in which none is "
            "right trains on nothing: look at the completions above"
        )
    yield Remark("never right", right > 0, text)
    good = len(losses) == STEPS and all(math.isfinite(loss) for loss in losses)
    shown = " and ".join(f"{loss:.3g}" for loss in losses)
    text = f"{len(losses)} steps were taken, with a loss of {shown}"
    if not losses:
        text = f"no row fits into train.max_length={at.recipe.train.max_length}"
    yield Remark("training", good, text)
