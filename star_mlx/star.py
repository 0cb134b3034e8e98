"""STaR: Algorithm 1 of "STaR: Bootstrapping Reasoning With Reasoning" (Zelikman et al. 2022).

The paper's lines, in its order and words::

    Input M: a pretrained LLM; dataset D = {(x_i, y_i)} (with few-shot prompts)
    1: M_0 <- M                                        # copy the original model
    2: for n in 1...N do                               # outer loop
    3:   (r_i, y^_i) <- M_{n-1}(x_i)                   # perform rationale generation
    4:   (r^rat_i, y^rat_i) <- M_{n-1}(add_hint(x_i, y_i))         # perform rationalization
    5:   D_n <- {(x_i, r_i, y_i) | y^_i = y_i}         # filter rationales by correct answers
    6:   D_n^rat <- {(x_i, r^rat_i, y_i) | y^_i != y_i and y^rat_i = y_i}  # filter rationalized
    7:   M_n <- train(M, D_n u D_n^rat)                # finetune the original model
    8: end for

Departures from the paper:

- M is a frozen quantized base and M_n is that base with a fresh LoRA adapter; the paper
  fine-tunes all weights. Nothing is merged between iterations.
- Line 4 runs only on the problems that line 3 failed: line 6 uses no others.
- An attempt that the length limit cut off is not kept even if an answer can be read in it.
- D may grow as dev accuracy rises (the paper's longer sums) and be sampled and ``augment``-ed per
  iteration. Settings give the probabilities of rationalizing a failure and of showing a hint, and
  how many iterations' examples are carried over. ``teacher`` may roll back, or end the loop.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from star_mlx.types import Amount, Attempt, Done, Evaluation, Example, Iteration, Model, Problem

if TYPE_CHECKING:  # `import star_mlx` loads this file, and should not load pydantic
    from star_mlx.settings import Schedule, Star


def star(
    M: Model,
    D: Sequence[Problem] | Callable[[Sequence[Evaluation | None]], Sequence[Problem]],
    settings: Star,
    *,
    seed: int,
    completed: Sequence[Done] = (),
    teacher: Callable[[Sequence[Done]], Done | None] = lambda history: history[-1],
    augment: Callable[[Sequence[Problem], Done, int], Sequence[Problem]] = lambda x, M_prev, n: x,
) -> Iterator[Iteration]:
    """Yield M_1, M_2, ... one finished ``Iteration`` at a time; save nothing.

    ``completed`` are the iterations already done, in order; the loop continues after them as if it
    had never stopped. ``D`` is the problems to draw from, or a function that returns them from the
    evaluations so far. ``teacher`` gets the finished iterations, the base first, and returns the
    one whose adapter generates next, or None to end. ``augment`` may add problems to those that
    iteration n draws. Iteration n draws from generators seeded with ``(seed, n)`` alone.

    >>> import star_mlx as sx
    >>> for it in sx.star(model, problems, sx.Star(iterations=2), seed=0):
    ...     print(it.number, len(it.direct), len(it.hinted), len(it.examples))
    1 20 20 20
    2 20 0 20
    """
    history = list(completed) or [Done(0, None)]  # 1: M_0 <- M
    first = max(settings.start_iteration, history[-1].number + 1)
    for n in range(first, settings.iterations + 1):  # 2
        if (M_prev := teacher(history)) is None:
            return
        adapter, few_shot = M_prev.adapter, in_front(settings, n, M_prev.number)
        problems = D([d.evaluation for d in history if d.number]) if callable(D) else D
        x = augment(sample(problems, settings, seed, n), M_prev, n)
        direct = M.attempt(x, adapter, iteration=n, hinted=False, few_shot=few_shot)  # 3
        failed = failures(x, direct, settings, seed, n)
        hinted = M.attempt(failed, adapter, iteration=n, hinted=True, few_shot=few_shot)  # 4
        own = kept(M.example, x, [*direct, *hinted], settings, seed, n)  # 5, 6
        examples = union(carried(history, settings.carry_over), own)
        trained = M.train(examples, amount(settings.schedule, n), iteration=n)  # 7
        measured = M.evaluate(trained.adapter, iteration=n, few_shot=settings.few_shot(n))
        history.append(Done(n, trained.adapter, own if settings.carry_over else (), measured))
        made = tuple(x), tuple(direct), tuple(hinted), examples
        yield Iteration(n, *made, trained, measured, M_prev.number)
        del x, direct, failed, hinted, own, examples, made  # memory: one iteration's at a time


def sample(D: Sequence[Problem], settings: Star, seed: int, n: int) -> list[Problem]:
    """Draw distinct problems of D in random order; all of them if D has no more."""
    return random.Random(f"{seed}/{n}").sample(D, min(settings.problems or len(D), len(D)))


def in_front(settings: Star, n: int, teacher: int) -> bool:
    """Whether iteration n generates with the few-shot prompt: as in the iteration after its
    teacher's, so that the base always starts with it."""
    return settings.few_shot(min(n, teacher + 1))


def failures(
    x: Sequence[Problem], direct: Sequence[Attempt], settings: Star, seed: int, n: int
) -> list[Problem]:
    """The problems to rationalize: those without a right attempt, each chosen with probability
    ``p_rationalization``."""
    p = settings.p_rationalization if settings.rationalizes(n) else 0.0
    solved, rng = {r.id for r in direct if r.correct}, random.Random(f"{seed}/{n}/rationalize")
    return [problem for problem in x if problem.id not in solved and rng.random() < p]


def kept(
    example: Callable[..., Example],
    x: Sequence[Problem],
    attempts: Sequence[Attempt],
    settings: Star,
    seed: int,
    n: int,
) -> tuple[Example, ...]:
    """The examples (by ``Model.example``) of the attempts that ended in the right answer, each
    distinct rationale once, at most ``most_per_problem`` of a problem."""
    problems, rng = {problem.id: problem for problem in x}, random.Random(f"{seed}/{n}/show")
    first: dict[str, dict[str, Attempt]] = {}
    for r in filter(lambda r: r.kept, attempts):
        first.setdefault(r.id, {}).setdefault(r.completion.strip(), r)
    right = [r for rs in first.values() for r in [*rs.values()][: settings.most_per_problem]]
    right = weighted(right, settings.most_rationalized, random.Random(f"{seed}/{n}/weigh"))
    shown = [(r, r.hinted and rng.random() < settings.p_show_hint_save) for r in right]
    return tuple(example(problems[r.id], r, iteration=n, show_hint=show) for r, show in shown)


def weighted(right: list[Attempt], times: float | None, rng: random.Random) -> list[Attempt]:
    """The right attempts with at most ``times`` as many hinted ones, drawn at random, as direct."""
    hinted = [r.id for r in right if r.hinted]
    most = len(hinted) if times is None else int(times * (len(right) - len(hinted)))
    taken = {*rng.sample(hinted, min(most, len(hinted)))}
    return [r for r in right if not r.hinted or r.id in taken]


def carried(history: Sequence[Done], last: int) -> tuple[Example, ...]:
    """The examples kept in the ``last`` iterations, oldest first."""
    return tuple(e for done in (history[-last:] if last else []) for e in done.examples)


def union(old: Sequence[Example], new: Sequence[Example]) -> tuple[Example, ...]:
    """Old and new examples, in order, without the old ones that the new repeat token for token."""
    again = {(e.id, e.prompt, e.token_ids) for e in new}
    return (*(e for e in old if (e.id, e.prompt, e.token_ids) not in again), *new)


def amount(schedule: Schedule, n: int) -> Amount:
    """How long iteration n trains: optimizer steps, or passes over the kept examples."""
    if schedule.kind == "exponential":
        return Amount(steps=round(schedule.start * schedule.factor ** (n - 1)))
    if schedule.kind == "linear":
        return Amount(steps=schedule.start + schedule.add * (n - 1))
    return Amount(epochs=schedule.base + schedule.add_epochs * (n - 1))
