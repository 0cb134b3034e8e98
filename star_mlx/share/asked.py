"""Ask the model of a folder that ``pull`` fetched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from star_mlx import engine as engines
from star_mlx.export import pulled
from star_mlx.recipe import opening
from star_mlx.run import loop


def ask(
    folder: Path,
    text: str,
    *,
    iteration: str = "last",
    model: str | None = None,
    trust_remote_code: bool = False,
) -> dict[str, Any]:
    """Ask the model of a folder a question as a person types it.

    Args:
        text: the question.
        folder, iteration, model, trust_remote_code: see ``pulled.opened``.

    Returns:
        As ``loop.ask``.

    Raises:
        RunError: the folder lacks a part, or a part is not what ``push`` writes.
        ModelError: the base cannot be had, or is another by its content.
        TaskError: the text is no question of the task.
    """
    found = pulled.opened(
        folder, iteration=iteration, model=model, trust_remote_code=trust_remote_code
    )
    recipe, number = found.recipe, found.iteration
    problem = found.task.pose(text)
    found.base()
    engine = engines.open_base(recipe)
    asked = opening.in_template(recipe, found.prompts, engine)
    found.check_prompt(asked)
    adapter = folder if number else None
    [attempt] = loop.answers(recipe, found.task, asked, engine, [problem], number, adapter)
    return {
        "iteration": number,
        "prompt": found.prompts.generation(problem, hinted=False),
        "completion": attempt.completion,
        "answer": attempt.answer,
        "gold": problem.answer or None,
        "correct": attempt.correct if problem.answer else None,
    }
