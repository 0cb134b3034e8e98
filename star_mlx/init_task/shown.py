"""Show problems as a model sees them: the shortest, the median and the longest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from star_mlx.answers.accepted import accepted
from star_mlx.engine import resolve, tokens
from star_mlx.errors import ModelError
from star_mlx.types import Problem, Task


@dataclass(frozen=True, slots=True)
class ShownProblem:
    """A problem as it is asked, and its accepted answers; ``tokens`` is None if the model is not at
    hand."""

    which: str
    prompt: str
    answer: str
    tokens: int | None


def shown_problems(task: Task, problems: Sequence[Problem], model: str) -> list[ShownProblem]:
    """The shortest, the median and the longest of some problems, by the characters asked.

    Their tokens are counted if the model is embedded, a folder, or in the cache of the Hub.
    """
    order = sorted(problems, key=lambda problem: len(task.ask(problem.question)))
    places = {"shortest": 0, "median": len(order) // 2, "longest": len(order) - 1}
    if len(order) < 3:
        del places["median"]
    if len(order) < 2:
        del places["longest"]
    chosen = [order[place] for place in places.values()]
    prompts = [task.ask(problem.question) for problem in chosen]
    counts = _tokens(prompts, model)
    return [
        ShownProblem(which, prompt, " or ".join(accepted(problem.answer)), count)
        for which, prompt, problem, count in zip(places, prompts, chosen, counts, strict=True)
    ]


def _tokens(prompts: Sequence[str], model: str) -> Sequence[int | None]:
    try:
        if found := resolve.at_hand(model):
            return tokens.counter(found)(prompts)
    except ModelError:
        pass  # the run says it; a recipe may be written before the model is there
    return [None] * len(prompts)
