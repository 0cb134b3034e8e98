"""From a recipe to what it names: the task, the prompts, the model; and what a run depends on."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from star_mlx import prompts, store, tasks
from star_mlx.recipe import Recipe, from_resolved, resolved
from star_mlx.recipe import differences as recipe_differences
from star_mlx.student import Student
from star_mlx.types import Emit, Engine, Notice, PromptError, RunError, Task

PACKAGES = ("star-mlx", "mlx", "mlx-lm", "transformers", "numpy")


def settled(recipe: Recipe, task: Task) -> dict[str, Any]:
    """Every value of a recipe as plain data, the task's own defaults included."""
    values = resolved(recipe)
    values["task"]["options"] = dict(task.settings())
    return values


def open_task(recipe: Recipe) -> tuple[Task, prompts.Prompts]:
    """The recipe's task with its few-shot prompts, as plain text."""
    from star_mlx.resources import prompts_dir

    task = tasks.make(recipe.task.name, recipe.task.options)
    spec, direct = recipe.prompts, recipe.star.direct or recipe.baseline == "direct"
    file = Path(spec.file) if spec.file else prompts_dir() / task.name / "few_shot.yaml"
    if recipe.baseline == "zero-shot" or spec.k == 0:
        found = prompts.Prompts(task, (), direct, zero_shot=True)
    elif spec.k:
        found = prompts.drawn(task, spec.k, spec.seed, direct=direct)
    elif spec.file is None and not file.is_file():
        raise PromptError(
            f"the task {task.name} has no few-shot examples of its own: give prompts.file=FILE, or "
            "prompts.k=N to draw N from the data"
        )
    else:
        found = prompts.load(file, task, direct=direct)
    return task, found


def in_template(recipe: Recipe, prompt_set: prompts.Prompts, engine: Engine) -> prompts.Prompts:
    """The prompts in the engine's chat template, where the recipe asks for that."""
    if not recipe.prompts.chat:
        return prompt_set
    chat = functools.partial(_chat, engine)
    return dataclasses.replace(prompt_set, chat=chat, system=recipe.prompts.system)


def _chat(engine: Engine, turns: Sequence[tuple[str, str]], reply: bool) -> str:
    return engine.chat(turns, reply=reply)


def task_named(name: str, data: str | None = None) -> Task:
    """A task by its name, or that of a recipe file, with its data where ``data`` says."""
    from star_mlx import recipe as recipes

    spec = recipes.load(task=name, data=data).task
    return tasks.make(spec.name, spec.options)


def open_engine(recipe: Recipe) -> Engine:
    """The recipe's model on this machine."""
    from star_mlx import engine

    model = recipe.model
    return engine.open_engine(
        model.path,
        revision=model.revision,
        trust_remote_code=model.trust_remote_code,
        max_memory=recipe.max_memory,
    )


def resume_recipe(run: Path) -> Recipe:
    """The recipe a run folder was made with."""
    return from_resolved({k: v for k, v in store.read(run).recipe.items() if k != "provenance"})


@contextmanager
def opened(
    run: Path, emit: Emit, engine: Engine | None = None
) -> Iterator[tuple[Task, Student, store.Store]]:
    """A run that exists, locked, with its task and its model, to measure something in it.

    ``engine`` is used where it has the run's base.

    Raises:
        StarError: no such run, or what it was made from has changed.
    """
    record = store.read(run)
    recipe = resume_recipe(run)
    task, prompt_set = open_task(recipe)
    made = record.recipe.get("provenance", {}).get("base", {}).get("hash")
    if engine is None or engine.describe()["hash"] != made:
        engine = open_engine(recipe)
    prompt_set = in_template(recipe, prompt_set, engine)
    values = settled(recipe, task) | {"provenance": provenance(task, prompt_set, engine)}
    refuse_other(record, values, emit)
    with store.opened(run, values) as folder:
        yield task, Student(recipe, task, prompt_set, engine, folder, emit), folder


def provenance(task: Task, prompt_set: prompts.Prompts, engine: Engine) -> dict[str, Any]:
    """What a run depends on beyond its recipe: versions, and the hashes of base, data, prompts."""
    return {
        "versions": {name: _version(name) for name in PACKAGES}
        | {"python": ".".join(map(str, sys.version_info[:3]))},
        "base": dict(engine.describe()),
        "data_sha256": data_sha256(task),
        "rows_left_out": len(task.skipped()),
        "prompts_sha256": prompt_set.digest(),
    }


def data_sha256(task: Task) -> str:
    """SHA-256 of the train and dev problems."""
    data = hashlib.sha256()
    for split in ("train", "dev"):
        for problem in task.problems(split):
            data.update(f"{split}\0{problem.id}\0{problem.question}\0{problem.answer}\n".encode())
    return data.hexdigest()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _placeless(values: Mapping[str, Any]) -> dict[str, Any]:
    """A resolved recipe without where its data lies, whose content is compared by hash, and
    without what the machine has."""
    task = dict(values.get("task", {}))
    options = {k: v for k, v in task.get("options", {}).items() if k not in ("data", "path")}
    return {**values, "task": {**task, "options": options}, "max_memory": None}


def refuse_other(record: store.RunRecord, values: Mapping[str, Any], emit: Emit) -> None:
    """Refuse to go on with a run that another recipe, base, data or prompts made."""
    then, now = dict(record.recipe), dict(values)
    made, make = then.pop("provenance", {}), now.pop("provenance")
    differ = recipe_differences(_placeless(then), _placeless(now))
    same = ("data_sha256", "prompts_sha256")
    differ += [f"{key} (the content has changed)" for key in same if made.get(key) != make[key]]
    if made.get("base", {}).get("hash") != make["base"]["hash"]:
        differ.append("the base model's content")
    if differ:
        raise RunError(
            f"{record.path} was made with another recipe; what differs: {'; '.join(differ)}. "
            "Give another --run, or the same recipe"
        )
    if made.get("versions") != make["versions"]:
        then_now = [
            f"{name} {made.get('versions', {}).get(name)} -> {value}"
            for name, value in make["versions"].items()
            if made.get("versions", {}).get(name) != value
        ]
        emit(Notice("warning", f"versions differ from the run's start: {', '.join(then_now)}"))
