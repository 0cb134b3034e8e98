"""What STaR is measured against: no examples, few-shot, answers alone, human rationales.

A baseline is a run folder like any other, so it is resumed, shown, tried and evaluated like one.
``zero-shot`` and ``few-shot`` measure the base; ``direct`` (answers alone, the paper's "GPT-J Direct
Finetuned") and ``sft`` (the data's rationales) train one fresh adapter.
"""

from __future__ import annotations

from star_mlx.prompts import Prompts
from star_mlx.recipe import Recipe
from star_mlx.star import sample
from star_mlx.store import Store
from star_mlx.student import Student
from star_mlx.types import Emit, Iteration, IterationFinished, Task, TaskError


def run(
    recipe: Recipe, task: Task, prompts: Prompts, student: Student, folder: Store, emit: Emit
) -> str:
    """Measure the recipe's baseline in an open run folder; why it ended.

    Iteration 0, the base, is measured already. The trained ones are iteration 1: problems are drawn
    as iteration 1 of the loop draws them.

    Raises:
        TaskError: ``sft`` on data without rationales.
    """
    if recipe.baseline in ("zero-shot", "few-shot") or len(folder.metrics) > 1:
        return "done"
    shown = {shot.id for shot in prompts.examples}
    options = recipe.star.options()
    problems = sample([p for p in task.training([]) if p.id not in shown], options, recipe.seed, 1)
    if recipe.baseline == "sft":
        problems = [p for p in problems if p.rationale is not None]
        if not problems:
            raise TaskError(f"the data of {task.name} has no rationales to train on: no sft baseline")
    examples = tuple(student.given(problem, iteration=1) for problem in problems)
    trained = student.train(examples, options.schedule.amount(1), iteration=1)
    evaluation = student.evaluate(
        trained.adapter, iteration=1, few_shot=recipe.star.few_shot_train
    )
    iteration = Iteration(1, tuple(problems), (), (), examples, trained, evaluation)
    line = student.metrics(iteration)
    folder.finish(line)
    emit(IterationFinished(line))
    return "done"
