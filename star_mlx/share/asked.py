"""Ask the model of a folder that ``pull`` fetched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from star_mlx import engine as engines
from star_mlx.export import pulled
from star_mlx.recipe import asking, opening
from star_mlx.run import loop, passes, unlike


def ask(
    folder: Path,
    text: str,
    *,
    iteration: str = "last",
    model: str | None = None,
    trust_remote_code: bool = False,
) -> dict[str, Any]:
    """Ask the model of a folder a question as a user types it.

    Args:
        text: the question.
        folder, iteration, model, trust_remote_code: see ``pulled.opened``.

    Returns:
        See ``loop.answer``.

    Raises:
        RunError: a part of the folder is missing, or is not in the form that ``push`` writes.
        ModelError: the base cannot be loaded, or its content differs.
        TaskError: the text is not a question of the task.
    """
    found = pulled.opened(
        folder, iteration=iteration, model=model, trust_remote_code=trust_remote_code
    )
    recipe, number = found.recipe, found.iteration
    problem = found.task.pose(text)
    found.base()
    engine = engines.open_base(recipe)
    prompts = opening.in_template(recipe, found.prompts, engine)
    found.check_prompt(prompts)
    adapter = folder if number else None
    how = asking.measuring(recipe, prompts, number)
    [made] = passes.attempts(engine, adapter, how, [problem], seeds=[recipe.seed])
    trained = found.task.problems("train") if number and problem.group else ()
    remark = unlike.remark(found.task, problem, trained)
    return loop.answer(found.prompts, problem, number, made, remark)
