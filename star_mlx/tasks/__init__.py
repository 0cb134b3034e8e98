"""The tasks by name. To add one: a file here, a line in ``TASKS`` and a folder of prompts.

May import ``answers``, ``data`` and what is below them.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import to_jsonable_python

from star_mlx.errors import TaskError
from star_mlx.formatting import refused
from star_mlx.tasks import own
from star_mlx.types import Problem, Task

TASKS: dict[str, tuple[str, str]] = {
    "arithmetic": (
        "star_mlx.tasks.arithmetic:Arithmetic",
        "sums of two numbers, worked on a scratchpad (generated, no download)",
    ),
    "gsm8k": (
        "star_mlx.tasks.gsm8k:Gsm8k",
        "grade-school word problems (openai/gsm8k, or --data with the official files)",
    ),
    "math": (
        "star_mlx.tasks.math:Math",
        "competition problems in LaTeX (EleutherAI/hendrycks_math, or --data)",
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
        raise TaskError(_explained(error, name, cls.Options)) from None


def defaults(name: str) -> dict[str, Any]:
    """The options of a shipped task that have a default, as plain data; empty for other tasks."""
    if name not in TASKS:
        return {}
    fields = _class(name).Options.model_fields.items()
    return {
        key: to_jsonable_python(field.get_default(call_default_factory=True))
        for key, field in fields
        if not field.is_required()
    }


def _explained(error: ValidationError, name: str, options: type[BaseModel]) -> str:
    """The first error in a task's options, as one line."""
    errors = error.errors()
    first, group = errors[0], options
    for part in first["loc"][:-1]:
        info = group.model_fields.get(str(part))
        inner = info.annotation if info else None
        group = inner if isinstance(inner, type) and issubclass(inner, BaseModel) else group
    info = group.model_fields.get(str(first["loc"][-1])) if first["loc"] else None
    default = info.get_default(call_default_factory=True) if info else None
    key, demand = refused(errors, json.dumps(default) if isinstance(default, tuple) else "[a, b]")
    path = ".".join(["task.options", *key])
    if first["type"] == "value_error":
        return f"{path}: {first['ctx']['error']}"
    if first["type"] == "extra_forbidden":
        known = [info.alias or field for field, info in group.model_fields.items()]
        near = difflib.get_close_matches(key[-1], known, n=1)
        guess = f"did you mean {near[0]}? " if near else ""
        where = f"the options of {name} are" if group is options else "there are"
        return f"{path} is not an option: {guess}{where} {', '.join(known)}"
    but = "" if demand == "is missing" else f", but is {json.dumps(first['input'], default=repr)}"
    return f"{path} {demand}{but}"


def why_undecided(task: Task, answer: str, gold: str) -> str:
    """Why an answer that is not equal to the right one is not known to be wrong; empty if it is.

    A task says so with a method ``undecided(answer, gold)``, which it need not have.
    """
    undecided = getattr(task, "undecided", None)
    return undecided(answer, gold) if undecided else ""


def wrong_line(task: Task, problem: Problem, completion: str) -> int | None:
    """The first line of a completion with a wrong step, counted from 0; None if none is known.

    It is the line up to which ``valid_steps`` first calls the completion wrong. A task that
    compares rationales as a whole has a method ``wrong_line(problem, completion)`` instead.
    """
    found = getattr(task, "wrong_line", None)
    if found is not None:
        line: int | None = found(problem, completion)
        return line
    if task.valid_steps(problem, "") is False:
        return None  # it compares wholes: no beginning would be right
    lines = completion.split("\n")
    ends = range(1, len(lines) + 1)
    return next(
        (n - 1 for n in ends if task.valid_steps(problem, "\n".join(lines[:n])) is False), None
    )


def notes(task: Task) -> Sequence[str]:
    """Remarks on the data of a task that are shown when a run begins.

    A task makes them with a method ``notes()``, which it need not have.
    """
    made = getattr(task, "notes", None)
    return made() if made else ()


def options(name: str) -> type[BaseModel]:
    """The options of a task, as a model of its fields.

    Raises:
        TaskError: no such task.
    """
    return _class(name).Options


def _class(name: str) -> Any:
    if name not in TASKS:
        near = difflib.get_close_matches(name, TASKS, n=1, cutoff=0.8)
        near = near or difflib.get_close_matches(name, TASKS, n=3, cutoff=0.4)
        guess = f"did you mean {' or '.join(near)}?" if near else f"there are: {', '.join(TASKS)}."
        raise TaskError(f"unknown task {name!r}: {guess}")
    module, cls = TASKS[name][0].split(":")
    return getattr(import_module(module), cls)
