"""The baselines of STaR: no examples, few-shot, answers alone, human rationales, own rationales.

A baseline is a run folder like any other, so it is resumed, shown, tried and evaluated like one.
``zero-shot`` and ``few-shot`` measure the base; ``direct`` (answers alone, as the paper has it),
``sft`` (the data's own rationales) and ``rft`` (the base's own right rationales among several
samples of each problem; Yuan et al. 2023, arXiv 2308.01825) train one fresh adapter.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from star_mlx.errors import TaskError
from star_mlx.events import Emit, IterationFinished
from star_mlx.prompts import Prompts
from star_mlx.recipe import loading as recipes
from star_mlx.run.learner import Learner
from star_mlx.settings import Recipe
from star_mlx.star import amount, kept, sample
from star_mlx.store import reading
from star_mlx.store.writing import Store
from star_mlx.types import Attempt, Iteration, Task

SAMPLES, TEMPERATURE = 8, 0.7  # of rft, if the recipe takes one sample a problem


def recipe(
    base: Recipe, kind: str, *, run: Path | None, steps: int | None, samples: int | None = None
) -> Recipe:
    """The recipe of a baseline to compare with the recipe ``base``.

    Args:
        run: the run it belongs to, if any: a trained baseline gets the steps of its last iteration.
        steps: the number of steps to take instead.
        samples: the attempts at each problem, for ``rft``.
    """
    values = recipes.resolved(base)
    star = values["star"]
    star |= {"iterations": 1, "start_iteration": 1, "start_from": None, "direct": kind == "direct"}
    star["schedule"] |= _budget(base, run, steps)
    if not base.star.few_shot_train:
        star["drop_few_shot_from"] = 1  # asked as it was trained
    values["evaluate"] |= {"zero_shot": False}
    values["augment"] = {}
    if kind == "rft":
        star |= {"rationalize": False, "rationalize_until": None}
        made = base.generate
        values["generate"]["samples"] = samples or (made.samples if made.samples > 1 else SAMPLES)
        values["generate"]["temperature"] = made.temperature or TEMPERATURE
        if base.evaluate.temperature is None:
            values["evaluate"]["temperature"] = made.temperature
    return recipes.from_resolved({**values, "baseline": kind})


def _budget(base: Recipe, run: Path | None, steps: int | None) -> dict[str, Any]:
    """A schedule of one iteration: ``steps``, or else those of the loop's last iteration."""
    if steps is None and run is not None:
        trained = [line.train for line in reading.read(run).metrics if line.train]
        steps = trained[-1].steps if trained else None
    last = amount(base.star.schedule, base.star.iterations)
    if steps is None and last.steps is None:
        return {"kind": "epochs", "base": last.epochs}
    return {"kind": "exponential", "start": steps or last.steps}


def run(
    recipe: Recipe, task: Task, prompts: Prompts, learner: Learner, folder: Store, emit: Emit
) -> str:
    """Measure the recipe's baseline in an open run folder, and return why it ended.

    Iteration 0, the base, is already measured. A trained baseline is iteration 1, and draws its
    problems as iteration 1 of the loop does.

    Raises:
        TaskError: ``sft`` on data without rationales.
    """
    if recipe.baseline in ("zero-shot", "few-shot") or len(folder.metrics) > 1:
        return "done"
    options = recipe.star
    problems = sample(prompts.unseen(task.training([])), options, recipe.seed, 1)
    if recipe.baseline == "sft":
        problems = [p for p in problems if p.rationale is not None]
        if not problems:
            raise TaskError(
                f"the data of {task.name} has no rationales to train on: no sft baseline"
            )
    made: list[Attempt] = []
    if recipe.baseline == "rft":
        made = learner.attempt(problems, None, iteration=1, hinted=False, few_shot=True)
        examples = kept(learner.example, problems, made, options, recipe.seed, 1)
    else:
        examples = tuple(learner.given(problem, iteration=1) for problem in problems)
    trained = learner.train(examples, amount(options.schedule, 1), iteration=1)
    evaluation = learner.evaluate(trained.adapter, iteration=1, few_shot=options.few_shot(1))
    iteration = Iteration(1, tuple(problems), tuple(made), (), examples, trained, evaluation)
    line = learner.metrics(iteration)
    folder.finish(line, made)
    emit(IterationFinished(line))
    return "done"
