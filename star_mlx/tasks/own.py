"""The user's own tasks: how a recipe names one, and how it is found again.

A recipe names such a task ``module:Class``, or ``task.py:Class`` if the class was defined in a
notebook or a script: then the run folder keeps its source in ``task.py``, for people to read.
Recipes and run folders are data and may come from others, so neither makes star-mlx import or run
code. A task is found only while it is ``offered``, as an object or as a name given by the user.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import linecache
import os
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from types import FunctionType, MappingProxyType
from typing import Any

from star_mlx.errors import TaskError
from star_mlx.types import Problem, Task

SEPARATOR = ":"
SOURCE = "task.py"  # the file of a run folder, used as the module in a name
ALLOWED = "STAR_MLX_TASKS"  # environment variable with names that the commands may import
_NONE: Mapping[str, Task | str] = MappingProxyType({})
_NEEDED = [*Task.__annotations__, *(name for name in vars(Task) if not name.startswith("_"))]

_offered: ContextVar[Mapping[str, Task | str]] = ContextVar("offered", default=_NONE)


@contextmanager
def offered(*tasks: Task | str) -> Iterator[None]:
    """Let recipes name these tasks inside the block: objects, or ``module:Class`` names.

    A recipe's task is matched by the name of its class, so a class that was moved from a notebook
    to a module is still found.

    Raises:
        TaskError: a class instead of an object of it, or an object that is not a task.
    """
    by_class = {class_name(task): task for task in tasks}
    before = _offered.set({**_offered.get(), **by_class})
    try:
        yield
    finally:
        _offered.reset(before)


def class_name(task: Task | str) -> str:
    """The name of a task's class; for a ``module:Class`` name, its last part.

    Raises:
        TaskError: a class instead of an object of it, or an object that is not a task.
    """
    if isinstance(task, str):
        return task.rpartition(SEPARATOR)[2]
    if isinstance(task, type):
        raise TaskError(f"{task.__name__} is a class: give an object of it, {task.__name__}()")
    cls = type(task)
    if lacking := [name for name in _NEEDED if not hasattr(task, name)]:
        raise TaskError(
            f"{cls.__name__} is not a task, it has no {lacking[0]}: subclass star_mlx.SimpleTask, "
            "which has everything that a task needs except its problems"
        )
    return cls.__name__


def name_of(task: Task) -> str:
    """The name by which a recipe records a task: ``module:Class``, or ``task.py:Class``."""
    module = type(task).__module__ if importable(type(task)) else SOURCE
    return f"{module}{SEPARATOR}{class_name(task)}"


def importable(cls: type) -> bool:
    """Whether another process can import a class: it is at the top of a module that has a file."""
    module = sys.modules.get(cls.__module__)
    named = getattr(module, cls.__name__, None) is cls and cls.__module__ != "__main__"
    return named and bool(getattr(module, "__file__", None))


def source(cls: type) -> str | None:
    """The text of a class definition, in a file or a notebook cell; None if there is none."""
    for made in vars(cls).values():
        if isinstance(made, FunctionType):
            text = "".join(linecache.getlines(made.__code__.co_filename))
            if found := _definition(text, cls.__name__, made.__code__.co_firstlineno):
                return found
    return None


def _definition(text: str, name: str, line: int) -> str | None:
    """The text of the class ``name`` that contains this line of a text."""
    try:
        nodes = list(ast.walk(ast.parse(text)))
    except SyntaxError:  # a cell with a magic command
        return None
    for node in nodes:
        if isinstance(node, ast.ClassDef) and node.name == name:
            first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
            if first <= line <= (last := node.end_lineno or first):
                return textwrap.dedent("".join(text.splitlines(True)[first - 1 : last]))
    return None


def find(name: str, options: Mapping[str, Any]) -> Task:
    """The offered task that a recipe names, with its options.

    Raises:
        TaskError: it is not offered, cannot be imported, or has other options.
    """
    found = _offered.get().get(class_name(name))
    if found is None:
        raise TaskError(_not_offered(name))
    if isinstance(found, str):
        return _made(found, options)
    settings = found.settings()
    if options and _without_places(options) != _without_places(settings):
        raise TaskError(
            f"the given task {name} has the options {dict(settings)}, but the recipe has "
            f"{dict(options)}: give a task with the same options"
        )
    return found


def _not_offered(name: str) -> str:
    module, _, cls = name.rpartition(SEPARATOR)
    python = f"in Python give the task itself: star_mlx.open_run(RUN, task={cls}())"
    if module == SOURCE:
        return (
            f"the task {cls} was defined in a notebook or script, and its source, {SOURCE} in the "
            f"run folder, is never executed: {python}; for the command line save the class in a "
            f"module of yours, such as my_tasks.py, and set {ALLOWED}=my_tasks:{cls}"
        )
    return (
        f"the task {name} is not part of star-mlx, and code is imported only if you allow it: set "
        f"{ALLOWED}={name}, or {python}"
    )


def _made(name: str, options: Mapping[str, Any]) -> Task:
    """Import the class that the user named, and make an object of it."""
    module, _, last = name.rpartition(SEPARATOR)
    if os.getcwd() not in map(os.path.abspath, sys.path):
        sys.path.append(os.getcwd())  # last, so that no file here hides an installed module
    try:
        cls = getattr(importlib.import_module(module), last, None)
    except ModuleNotFoundError as error:
        if error.name is None or not (module + ".").startswith(error.name + "."):
            raise  # the module exists, but one that it imports does not
        raise TaskError(
            f"the task {name} cannot be imported: there is no module {error.name} in this folder "
            "or on PYTHONPATH"
        ) from None
    except ValueError:
        raise TaskError(f"the task {name!r} names no module: write MODULE:CLASS") from None
    if not isinstance(cls, type):
        raise TaskError(f"the task {name} cannot be imported: {module} has no class {last}")
    try:
        inspect.signature(cls).bind(**options)
    except TypeError as error:
        raise TaskError(f"task.options do not fit the class {name}: {error}") from None
    made: Task = cls(**options)
    class_name(made)
    return made


def _without_places(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options without the data's location: its content is compared by hash."""
    return {key: value for key, value in options.items() if key not in ("data", "path")}


def check(task: Task) -> None:
    """Refuse train and dev problems with which a run would silently go wrong.

    Raises:
        TaskError: an empty split, an id used twice, a problem without an answer, or a question in
            both train and dev.
    """
    splits: dict[str, Sequence[Problem]] = {s: task.problems(s) for s in ("train", "dev")}
    ids: set[str] = set()
    for split, problems in splits.items():
        if not problems:
            raise TaskError(f"the task {task.name} has no {split} problems")
        for problem in problems:
            if problem.id in ids:
                raise TaskError(
                    f"the task {task.name}: two of its train and dev problems have the id "
                    f"{problem.id!r}"
                )
            ids.add(problem.id)
            if not problem.answer:
                raise TaskError(f"the task {task.name}: problem {problem.id!r} has no answer")
    trained = {p.question for p in splits["train"]}
    if both := next((p for p in splits["dev"] if p.question in trained), None):
        raise TaskError(
            f"the task {task.name}: the question {both.question.text[:60]!r} is in train and in "
            "dev, so dev accuracy would not be that of unseen problems"
        )
