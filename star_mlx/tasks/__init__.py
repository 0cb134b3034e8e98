"""The tasks by name. Adding one is a file here, a line in ``TASKS`` and a folder of prompts."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from star_mlx.types import Task, TaskError

TASKS: dict[str, tuple[str, str]] = {
    "arithmetic": (
        "star_mlx.tasks.arithmetic:Arithmetic",
        "sums of two numbers of the same length, worked on a scratchpad (generated, no download)",
    ),
}


def names() -> dict[str, str]:
    """Task name -> one-line description."""
    return {name: description for name, (_, description) in TASKS.items()}


def make(name: str, options: Mapping[str, Any]) -> Task:
    """The task of that name with its options.

    Raises:
        TaskError: no such task (naming the nearest), an unknown option, or a value out of range.
    """
    if name not in TASKS:
        near = difflib.get_close_matches(name, TASKS, n=3, cutoff=0.4)
        guess = f"did you mean {' or '.join(near)}?" if near else f"there are: {', '.join(TASKS)}."
        raise TaskError(f"unknown task {name!r}: {guess}")
    module, cls = TASKS[name][0].split(":")
    return getattr(import_module(module), cls).from_options(options)
