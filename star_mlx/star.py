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
- Line 4 runs only where line 3 failed. Line 6 uses no other rationalization, so the result is the
  same and the work less.
- An attempt that was cut off by the length limit is not kept even if an answer can be read in it:
  it did not end in that answer.
- D may grow as dev accuracy rises (the paper's longer sums) and be sampled per iteration (as in
  the authors' code), the share of failures rationalized and of hints shown may be set, kept
  examples may be carried over, and the loop may stop when dev accuracy no longer rises: all
  options of ``Options``, none on by default.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from star_mlx.types import Amount, Done, Evaluation, Example, Iteration, Model, Problem


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long iteration n trains; the defaults are the reference code's.

    ``exponential``: ``start * factor ** (n-1)`` steps; ``linear``: ``start + add * (n-1)`` steps;
    ``epochs``: ``base + add_epochs * (n-1)`` passes over the kept examples.
    """

    kind: Literal["exponential", "linear", "epochs"] = "exponential"
    start: int = 40
    factor: float = 1.2
    add: int = 20
    base: float = 1.0
    add_epochs: float = 0.2

    def amount(self, n: int) -> Amount:
        if self.kind == "exponential":
            return Amount(steps=round(self.start * self.factor ** (n - 1)))
        if self.kind == "linear":
            return Amount(steps=self.start + self.add * (n - 1))
        return Amount(epochs=self.base + self.add_epochs * (n - 1))


@dataclass(frozen=True, slots=True)
class Options:
    """The options of the algorithm; ``recipe.Star`` says what each is for."""

    iterations: int
    problems: int | None = None
    start_iteration: int = 1
    rationalize: bool = True
    p_rationalization: float = 1.0
    p_show_hint_save: float = 0.0
    drop_few_shot_from: int | None = None
    carry_over: int = 0
    patience: int | None = None
    schedule: Schedule = Schedule()


def star(
    M: Model,
    D: Callable[[Sequence[Evaluation | None]], Sequence[Problem]],
    options: Options,
    *,
    seed: int,
    completed: Sequence[Done] = (),
) -> Iterator[Iteration]:
    """Yield M_1, M_2, ... one finished ``Iteration`` at a time; save nothing.

    ``completed`` are the iterations already done, in order: the next one follows them as if the
    loop had never stopped. ``D`` is given the evaluations so far and returns the problems to draw
    from. Iteration n draws from a generator seeded with ``(seed, n)`` alone.
    """
    history = list(completed)
    adapter = history[-1].adapter if history else None  # 1: M_0 <- M
    first = history[-1].number + 1 if history else options.start_iteration
    for n in range(first, options.iterations + 1):  # 2
        evaluations = [done.evaluation for done in history]
        if plateaued(evaluations, options.patience):
            return
        rng = random.Random(f"{seed}/{n}")
        x = sample(D(evaluations), options.problems, rng)
        few_shot = options.drop_few_shot_from is None or n < options.drop_few_shot_from
        direct = M.attempt(x, adapter, iteration=n, hinted=False, few_shot=few_shot)  # 3
        failed = [p for p, r in zip(x, direct, strict=True) if not r.correct]
        p_rat = options.p_rationalization if options.rationalize else 0.0
        failed = [p for p in failed if rng.random() < p_rat]
        hinted = M.attempt(failed, adapter, iteration=n, hinted=True, few_shot=few_shot)  # 4
        kept = [(p, r, False) for p, r in zip(x, direct, strict=True) if r.kept]  # 5
        kept += [  # 6
            (p, r, rng.random() < options.p_show_hint_save)
            for p, r in zip(failed, hinted, strict=True)
            if r.kept
        ]
        own = tuple(M.example(p, r, iteration=n, show_hint=shown) for p, r, shown in kept)
        examples = union(carried(history, options.carry_over), own)
        trained = M.train(examples, options.schedule.amount(n), iteration=n)  # 7
        adapter = trained.adapter
        evaluation = M.evaluate(adapter, iteration=n, few_shot=few_shot)
        history.append(Done(n, adapter, own if options.carry_over else (), evaluation))
        yield Iteration(n, tuple(x), tuple(direct), tuple(hinted), examples, trained, evaluation)


def sample(D: Sequence[Problem], size: int | None, rng: random.Random) -> list[Problem]:
    """``size`` different problems of D in random order; all of them where it holds no more."""
    return rng.sample(D, len(D) if size is None else min(size, len(D)))


def carried(history: Sequence[Done], last: int) -> tuple[Example, ...]:
    """The examples kept in the ``last`` iterations, oldest first."""
    recent = history[-last:] if last else []
    return tuple(example for done in recent for example in done.examples)


def union(old: Sequence[Example], new: Sequence[Example]) -> tuple[Example, ...]:
    """Both, in order, without what of the old stands in the new again, token for token."""
    again = {(e.id, e.prompt, e.token_ids) for e in new}
    return (*(e for e in old if (e.id, e.prompt, e.token_ids) not in again), *new)


def plateaued(evaluations: Sequence[Evaluation | None], patience: int | None) -> bool:
    """Whether the last ``patience`` iterations brought no dev accuracy above the best before."""
    scores = [e.accuracy for e in evaluations if e is not None]
    if patience is None or len(scores) <= patience:
        return False
    return max(scores[-patience:]) <= max(scores[:-patience])
