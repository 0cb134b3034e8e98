"""The functions of ``import star_mlx``: train, open a run, ask it, measure it, compare runs.

They combine functions of the package and add little; the command line is built on the same ones.
A model is opened only when one is needed.

May import everything but ``cli``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from star_mlx import engine as engines
from star_mlx import tasks as known_tasks
from star_mlx.api.results import Answer as Answer
from star_mlx.api.results import Grades
from star_mlx.api.run import Run, folder_of
from star_mlx.errors import TaskError
from star_mlx.events import Emit
from star_mlx.measure import compare as pairs
from star_mlx.measure import grade as grading
from star_mlx.recipe import loading, opening
from star_mlx.recipe.layers import model_values
from star_mlx.run import loop
from star_mlx.settings import MaxMemory, Recipe
from star_mlx.tasks import own
from star_mlx.types import Engine, Task

if TYPE_CHECKING:
    from star_mlx.measure.compare import Comparison


def train(
    what: str | Path | Task | Recipe,
    *,
    out: str | Path | None = None,
    data: str | Path | None = None,
    settings: Mapping[str, Any] | None = None,
    engine: Engine | None = None,
    on_event: Emit | None = None,
    progress: bool | None = None,
    track: Sequence[str] = (),
    **named: Any,
) -> Run:
    """Run the STaR loop of a recipe, or resume it if ``out`` is a run of the same recipe.

    To stop it, interrupt it (Ctrl-C, or the stop button of a notebook): ``KeyboardInterrupt`` is
    raised once the run folder is in order, and ``open_run(out).resume()`` goes on from there.

    Args:
        what: a task's name, a recipe's name or file, a task of your own (see ``SimpleTask``) or
            its import path ``"module:Class"``, or a ``Recipe``.
        out: the run folder; by default a new one in ``runs/``.
        data: the task's data; by default it is fetched from the Hub.
        settings: settings by their key path, such as ``{"train.rank": 8}``.
        engine: the language model; by default the recipe's.
        on_event: called with every event of the run (see ``events.Event``).
        progress: whether to show the progress; by default only if there is no ``on_event``.
        track: experiment trackers to log to: ``wandb``, ``trackio``, ``tensorboard``, ``mlflow``.
        named: settings by their last name, such as ``iterations=3`` or ``rank=8``, or a group of
            them, such as ``train={"rank": 8}`` or ``train=Train(rank=8)``.

    Raises:
        RecipeError: no such recipe or setting, or a value that is not allowed.
        StarError: any other error that the user can fix; its text says how.

    >>> import star_mlx as sx
    >>> engine = sx.ScriptedEngine(lambda asked: asked.prompt.split("Target: ")[-1])
    >>> run = sx.train(
    ...     "arithmetic", iterations=1, problems=20, dev=10, max_length=1000,
    ...     options={"train": 200}, engine=engine, out="runs/first", progress=False,
    ... )
    >>> run.last
    1
    """
    offered = _own(what)
    with own.offered(*offered):
        recipe = _recipe(what, data, {**(settings or {}), **named})
        task, _ = opening.open_task(recipe)
        run = Run(Path(out) if out is not None else new_folder(task), offered, engine)
        if own.SEPARATOR in recipe.task.name:
            own.check(task)
        return run._loop(recipe, on_event, progress, track)


def open_run(
    path: str | Path, *, task: Task | str | None = None, engine: Engine | None = None
) -> Run:
    """Open an existing run folder; it may be in use by another process.

    Args:
        path: the run folder.
        task: the run's task, if it is one of your own: the object, or its import path
            ``"module:Class"``. A run folder alone never makes star-mlx import code.
        engine: the model to ask instead of opening the run's base again.

    Raises:
        RunError: it is not a run folder, or it is damaged.
        TaskError: the task is not that of the run.

    >>> import star_mlx as sx
    >>> sx.open_run("nowhere")
    Traceback (most recent call last):
    ...
    star_mlx.errors.RunError: nowhere is not a run folder: there is no such folder
    """
    offered = () if task is None else (task,)
    with own.offered(*offered):
        run = Run(Path(path), offered, engine)
        recipe = run.recipe
        if offered and own.SEPARATOR not in recipe.task.name:
            raise TaskError(f"{path} is a run of the task {recipe.task.name}: leave task out")
        if offered:
            opening.open_task(recipe)
    return run


def load_task(name: str, *, data: str | Path | None = None, **options: Any) -> Task:
    """Open a task by its name, or by the name or file of a recipe.

    Args:
        name: ``"arithmetic"``, ``"gsm8k"``, a recipe file, or ``"module:Class"`` of your own.
        data: its data; by default it is fetched from the Hub.
        options: the task's own options (``star-mlx tasks NAME`` lists them).

    Raises:
        TaskError: no such task or option.

    >>> import star_mlx as sx
    >>> task = sx.load_task("arithmetic", digits=(1, 2))
    >>> task.pose("78+45").answer
    '1 2 3'
    """
    with own.offered(*_own(name)):
        settings = {f"task.options.{option}": value for option, value in options.items()}
        spec = _recipe(name, data, settings).task
        return known_tasks.make(spec.name, spec.options)


def load_model(
    path: str | Path,
    *,
    revision: str | None = None,
    trust_remote_code: bool = False,
    max_memory: MaxMemory = None,
) -> Engine:
    """Open a base model, for use in several runs (``engine=``).

    Args:
        path: ``"tiny"`` (embedded), a folder, or ``"owner/name"`` on the Hub.
        revision: branch, tag or commit on the Hub; also ``"owner/name@revision"``.
        trust_remote_code: run Python code that comes with the model.
        max_memory: memory limit of mlx, in GiB; None for 0.7 of the device's memory, ``"none"``
            for no limit.

    Raises:
        ModelError: it cannot be found, fetched or opened.

    >>> import star_mlx as sx
    >>> sx.load_model("tiny").describe()["bits"]
    4
    """
    spec = {"revision": revision, **model_values(str(path))}
    return engines.open_engine(
        spec["path"],
        revision=spec["revision"],
        trust_remote_code=trust_remote_code,
        max_memory=max_memory,
    )


def compare(first: Run | str | Path, second: Run | str | Path) -> Comparison:
    """Compare two runs on the dev problems that both were measured on, with McNemar's exact test.

    Args:
        first, second: a run, its folder, or ``"FOLDER:ITERATION"`` with a number, ``best``,
            ``last``, ``few-shot`` or ``zero-shot``; by default the best iteration.

    Returns:
        The comparison; ``pair`` has the counts, ``p`` and the ``verdict`` on the second.

    Raises:
        RunError: no such run or iteration, or no dev problem in common.

    >>> import star_mlx as sx
    >>> run = sx.open_run("runs/first")
    >>> sx.compare("runs/first:few-shot", run).pair.n
    10
    """
    both = [run for run in (first, second) if isinstance(run, Run)]
    with own.offered(*(task for run in both for task in run._tasks)):
        return pairs.compare(folder_of(first), folder_of(second))


def grade(task: Task | str, rows: Sequence[Mapping[str, Any]]) -> Grades:
    """Grade existing completions, reading and comparing answers as the task does.

    Args:
        task: a task, or its name.
        rows: each with a ``completion`` and a ``gold`` answer, or the task's own fields for one.

    Raises:
        TaskError: a row cannot be graded; names its number.

    >>> import star_mlx as sx
    >>> rows = [{"completion": "5 + 5 = 10\\n#### 10", "gold": "10"},
    ...         {"completion": "5 + 5 = 11\\n#### 11", "gold": "10"}]
    >>> grades = sx.grade("gsm8k", rows)
    >>> grades.accuracy, [row.verdict for row in grades.rows]
    (0.5, ['correct', 'wrong'])
    """
    task = load_task(task) if isinstance(task, str) else task
    placed = ((f"row {number}", row) for number, row in enumerate(rows, 1))
    graded = tuple(grading.graded(task, placed))
    return Grades(grading.counts(task, graded), graded)


def new_folder(task: Task, runs: Path = Path("runs")) -> Path:
    """The folder of a new run: the first of ``runs/TASK-001``, ... that does not exist."""
    return loop.choose_run(runs, re.sub(r"[^\w.-]+", "-", task.name))


def _own(what: str | Path | Task | Recipe) -> tuple[Task | str, ...]:
    """``what`` if it is a user's own task (an object, or ``module:Class``), else nothing."""
    if isinstance(what, str):
        return (what,) if own.SEPARATOR in what and not Path(what).exists() else ()
    return () if isinstance(what, Path | Recipe) else (what,)


def _recipe(what: str | Path | Task | Recipe, data: Any, settings: Mapping[str, Any]) -> Recipe:
    data = None if data is None else str(data)
    if isinstance(what, Recipe):
        base = loading.resolved(what)
        return loading.load(base=base, data=data, settings=settings)
    if not isinstance(what, str | Path):
        what = own.name_of(what)
    name = str(what)
    if name in known_tasks.names() or _own(name):
        return loading.load(task=name, data=data, settings=settings)
    return loading.load(name, data=data, settings=settings)


def _folder(run: Run | int | str | Path) -> str:
    return str(run.path if isinstance(run, Run) else run)
