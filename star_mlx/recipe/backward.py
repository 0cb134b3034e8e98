"""The prompts of questions for x."""

from __future__ import annotations

import dataclasses

from star_mlx import prompts as prompt_files
from star_mlx.augment import kinds
from star_mlx.errors import PromptError, RunError
from star_mlx.prompts import Prompts
from star_mlx.recipe.shipped import prompts_dir
from star_mlx.types import Task


def backward_prompts(task: Task, prompts: Prompts, where: str = "--kinds") -> Prompts:
    """The prompts of questions for x: worked examples of our own, where the task's prompts have
    examples.

    Args:
        task: the task, with its ``prompts``.
        where: where the kinds of questions were given.

    Raises:
        RunError: the task does not read a number from an answer.
    """
    latex = kinds.is_latex(task)
    path = prompts_dir() / "augment" / f"backward{'-latex' * latex}.yaml"
    try:
        shots = prompt_files.load(path, task).examples
    except PromptError:
        raise RunError(
            f"the task {task.name} reads no numbers as answers, so it has no questions for x: "
            f"leave sv and fobar out of {where}"
        ) from None
    return prompts if prompts.zero_shot else dataclasses.replace(prompts, examples=shots)
