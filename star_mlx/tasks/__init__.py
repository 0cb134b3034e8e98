"""The tasks by name. To add one: a file here, a line in ``TASKS`` and a folder of prompts.

May import ``answers``, ``data`` and what is below them.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from pydantic import BaseModel, ValidationError

from star_mlx.errors import TaskError
from star_mlx.tasks import own
from star_mlx.types import Task

TASKS: dict[str, tuple[str, str]] = {
    "arithmetic": (
        "star_mlx.tasks.arithmetic:Arithmetic",
        "sums of two numbers of the same length, worked on a scratchpad (generated, no download)",
    ),
    "gsm8k": (
        "star_mlx.tasks.gsm8k:Gsm8k",
        "grade-school word problems (openai/gsm8k, or --data with the official files)",
    ),
    "commonsenseqa": (
        "star_mlx.tasks.commonsenseqa:CommonsenseQa",
        "multiple-choice questions of common sense (tau/commonsense_qa, or --data)",
    ),
    "jsonl": (
        "star_mlx.tasks.jsonl:Jsonl",
        "your own questions and answers, from a file (star-mlx init-task writes the recipe)",
    ),
}


def names() -> dict[str, str]:
    """Task name -> one-line description."""
    return {name: description for name, (_, description) in TASKS.items()}


def make(name: str, options: Mapping[str, Any]) -> Task:
    """Make a task from its name and options; ``own.find`` finds the user's own ones.

    Raises:
        TaskError: no such task (with the nearest names), an unknown option, or a value out of
            range.
    """
    if own.SEPARATOR in name:
        return own.find(name, options)
    cls = _class(name)
    try:
        return cls(cls.Options(**options))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(["task.options", *map(str, first["loc"])])
        message = first["msg"].removeprefix("Value error, ")
        known = ", ".join(cls.Options.model_fields)
        raise TaskError(
            f"{where}: {message} (got {first['input']!r}); the options of {name} are {known}"
        ) from None


def options(name: str) -> type[BaseModel]:
    """The options of a task, as a model of its fields.

    Raises:
        TaskError: no such task.
    """
    return _class(name).Options


def _class(name: str) -> Any:
    if name not in TASKS:
        near = difflib.get_close_matches(name, TASKS, n=3, cutoff=0.4)
        guess = f"did you mean {' or '.join(near)}?" if near else f"there are: {', '.join(TASKS)}."
        raise TaskError(f"unknown task {name!r}: {guess}")
    module, cls = TASKS[name][0].split(":")
    return getattr(import_module(module), cls)
