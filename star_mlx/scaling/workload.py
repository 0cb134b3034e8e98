"""The numbers of an iteration of a recipe: completions, rows, steps, and their tokens."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

from star_mlx.errors import RecipeError
from star_mlx.run import plan
from star_mlx.run.at_hand import AtHand
from star_mlx.star import amount

FAILURES = 0.5  # of the problems are tried again with their hint, if nothing is known
KEPT = 0.5  # of those then end in a row to train on


@dataclass(frozen=True, slots=True)
class Workload:
    """The numbers of an iteration: problems, attempts at them, those that are tried again
    with their hint, rows kept, steps, dev problems; tokens on average, of the longest prompt and of
    the longest row; bytes of an attempt and of an example on disk."""

    iteration: int
    problems: int
    attempts: int
    hinted: int
    rows: int
    steps: int
    dev: int
    few_shot: int
    prompt: int
    longest: int
    completion: int
    row: int
    longest_row: int
    attempt_bytes: int
    example_bytes: int


class Assumed(NamedTuple):
    """What is not known before a run: the share of the problems that are not solved at first, and
    tokens of a problem's prompt and of a completion; None for those of the data or the examples."""

    failures: float | None = None
    prompt: int | None = None
    completion: int | None = None


UNKNOWN = Assumed()


def workload(at: AtHand, n: int, assumed: Assumed = UNKNOWN) -> Workload:
    """The numbers of iteration n of a recipe.

    Raises:
        RecipeError: there is no such iteration, or the number of problems is not known.
    """
    recipe, star, train = at.recipe, at.recipe.star, at.recipe.train
    if n < star.start_iteration:
        raise RecipeError(f"iteration {n} is before star.start_iteration={star.start_iteration}")
    seen = plan.lengths(at)
    problems = plan.drawn_problems(at)
    if problems is None:
        raise RecipeError(
            "the number of problems is not known, as the task's data is not on this machine: give "
            "--problems or --data"
        )
    if assumed.prompt is not None:
        longest = round(assumed.prompt * seen.longest / max(1, seen.prompt))
        seen = replace(seen, prompt=assumed.prompt, longest=max(assumed.prompt, longest))
    most = recipe.generate.max_tokens
    length = min(most, assumed.completion or seen.completion or most)
    failures = FAILURES if assumed.failures is None else assumed.failures
    samples = recipe.generate.samples
    problems, written = plan.questions(at, problems)
    direct, again = plan.attempts(at, problems, n, presumed=written)
    hinted = round((again - direct) * failures)
    right = round(problems * (1 - failures)) * min(samples, star.most_per_problem or samples)
    times = 1 + min(star.carry_over, n - star.start_iteration)
    rows = max(1, (right + round(KEPT * hinted)) * times)
    attempt, example = plan.row_bytes(at, seen, length, None)

    def row(prompt: int) -> int:
        return min(train.max_length, plan.row_tokens(at, prompt, seen, length))

    return Workload(
        iteration=n,
        problems=problems,
        attempts=direct,
        hinted=hinted,
        rows=rows,
        steps=amount(star.schedule, n).steps_for(rows, train.batch_size),
        dev=_dev(at) if star.evaluate else 0,
        few_shot=seen.few_shot if star.few_shot(n) else 0,
        prompt=seen.prompt,
        longest=seen.longest,
        completion=length,
        row=row(seen.prompt),
        longest_row=row(seen.longest),
        attempt_bytes=attempt,
        example_bytes=example,
    )


def _dev(at: AtHand) -> int:
    """The number of dev problems: of the data or, if it is not at hand, as the settings say."""
    if at.dev is not None:
        return len(at.dev)
    held = at.task.settings().get("dev")
    known = [n for n in (at.recipe.evaluate.dev, held) if isinstance(n, int)]
    return min(known, default=0)
