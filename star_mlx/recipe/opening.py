"""Open the task and the prompts that a recipe names."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import functools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from star_mlx import prompts, tasks
from star_mlx.errors import ModelError, PromptError
from star_mlx.events import Notice
from star_mlx.recipe.loading import from_resolved, resolved
from star_mlx.settings import Recipe
from star_mlx.store import reading
from star_mlx.types import Task

_ANOTHER_DAY = datetime.date(2001, 2, 3)


def settled(recipe: Recipe, task: Task) -> dict[str, Any]:
    """Every value of a recipe as plain data, including the task's own defaults."""
    values = resolved(recipe)
    values["task"]["options"] = dict(task.settings())
    return values


def open_task(recipe: Recipe) -> tuple[Task, prompts.Prompts]:
    """The recipe's task with its few-shot prompts, as plain text."""
    from star_mlx.recipe.shipped import prompts_dir

    task = tasks.make(recipe.task.name, recipe.task.options)
    spec, direct = recipe.prompts, recipe.star.direct or recipe.baseline == "direct"
    file = Path(spec.file) if spec.file else prompts_dir() / task.name / "few_shot.yaml"
    if recipe.baseline == "zero-shot" or spec.k == 0:
        found = prompts.Prompts(task, (), direct, zero_shot=True)
    elif spec.k:
        found = prompts.drawn(task, spec.k, spec.seed, direct=direct)
    elif spec.file is None and (shots := getattr(task, "few_shot", ())):
        found = prompts.given(task, shots, direct=direct)
    elif spec.file is None and not file.is_file():
        raise PromptError(
            f"the task {task.name} has no few-shot examples of its own: give prompts.file=FILE, or "
            "prompts.k=N to draw N from the data"
        )
    else:
        found = prompts.load(file, task, direct=direct)
    return task, worded(recipe, found)


def about_data(task: Task) -> Iterator[Notice]:
    """What is said of a task's data before work on it begins."""
    if skipped := task.skipped():
        yield Notice("warning", f"{len(skipped)} rows left out: {'; '.join(skipped[:3])}")
    for note in tasks.notes(task):
        yield Notice("info", note)


def worded(recipe: Recipe, prompt_set: prompts.Prompts) -> prompts.Prompts:
    """The prompts in the recipe's own wording, if it has one."""
    return dataclasses.replace(prompt_set, ask=recipe.prompts.ask, hint=recipe.prompts.hint)


class Templates(Protocol):
    """What has a chat template: an engine, or a tokenizer alone. See ``types.Engine.chat``."""

    def chat(
        self,
        turns: Sequence[tuple[str, str]],
        *,
        reply: bool,
        template: Mapping[str, Any] = ...,
        date: str | None = ...,
    ) -> str: ...


def in_template(recipe: Recipe, prompt_set: prompts.Prompts, engine: Templates) -> prompts.Prompts:
    """The prompts in the engine's chat template, if the recipe says so."""
    if not recipe.prompts.chat:
        return prompt_set
    chat = template(recipe, engine)
    return dataclasses.replace(prompt_set, chat=chat, system=recipe.prompts.system)


def template(recipe: Recipe, engine: Templates) -> prompts.Chat:
    """The engine's chat template, with the arguments and the day of the recipe."""
    spec = recipe.prompts
    given: dict[str, Any] = {"template": spec.template} if spec.template else {}
    if spec.date is not None:
        given["date"] = spec.date
    return functools.partial(_chat, engine, given)


def dated(
    recipe: Recipe, prompt_set: prompts.Prompts, engine: Templates, today: datetime.date
) -> Recipe:
    """The recipe of a run that begins ``today``, with that day if its prompts show the date."""
    if not recipe.prompts.chat or recipe.prompts.date is not None:
        return recipe
    made = [_on(recipe, day.isoformat()) for day in (today, _ANOTHER_DAY)]
    shown = {in_template(one, prompt_set, engine).digest() for one in made}
    return made[0] if len(shown) > 1 else recipe


def as_dated(recipe: Recipe, recorded: Mapping[str, Any], created: str = "") -> Recipe:
    """The recipe with the day on which a run began, from the run's recorded recipe, so that a run
    resumed on another day has the same prompts.

    A run that recorded that there is none goes on without. Earlier versions recorded nothing about
    the day: it is that of ``created``, the time at which the run began, if that is given.
    """
    prompts = recorded.get("prompts") or {}
    day = prompts.get("date")
    if "date" not in prompts:
        with contextlib.suppress(ValueError):  # no time, or a damaged one
            day = datetime.datetime.fromisoformat(created).astimezone().date().isoformat()
    if day is None or not recipe.prompts.chat or recipe.prompts.date is not None:
        return recipe
    return _on(recipe, str(day))


def as_sized(recipe: Recipe, recorded: Mapping[str, Any]) -> Recipe:
    """The recipe with the numbers that a run took for ``auto`` when it began, so that it goes on
    in the same chunks on another machine."""
    names, made = recipe.generate.automatic, recorded.get("generate") or {}
    numbers = {name: made[name] for name in names if name in made}
    if not numbers:
        return recipe
    return recipe.model_copy(update={"generate": recipe.generate.model_copy(update=numbers)})


def as_begun(recipe: Recipe, record: reading.RunRecord) -> Recipe:
    """The recipe with the day and the sizes of a run that it is to continue."""
    dated = as_dated(recipe, record.recipe, record.journal.created)
    return as_sized(dated, record.recipe)


def _on(recipe: Recipe, day: str) -> Recipe:
    spec = recipe.prompts.model_copy(update={"date": day})
    return recipe.model_copy(update={"prompts": spec})


def in_turns(recipe: Recipe, prompt_set: prompts.Prompts) -> prompts.Prompts:
    """The prompts of ``in_template``, made without a model: those of a chat have turns, but no
    text."""
    if not recipe.prompts.chat:
        return prompt_set
    return dataclasses.replace(prompt_set, chat=_no_template, system=recipe.prompts.system)


def _no_template(turns: Sequence[prompts.Turn], reply: bool) -> str:
    raise ModelError("a chat's prompt as text needs the model's chat template")


def _chat(
    engine: Templates, given: Mapping[str, Any], turns: Sequence[prompts.Turn], reply: bool
) -> str:
    return engine.chat(turns, reply=reply, **given)


def task_named(name: str, data: str | None = None) -> Task:
    """Open a task by its name or by a recipe file, with its data in ``data``."""
    from star_mlx.recipe import loading as recipes

    spec = recipes.load(task=name, data=data).task
    return tasks.make(spec.name, spec.options)


def resume_recipe(run: Path) -> Recipe:
    """The recipe a run folder was made with."""
    return recipe_of(reading.read(run))


def recipe_of(record: reading.RunRecord) -> Recipe:
    """The recipe a run was made with."""
    return as_begun(from_resolved(record.recipe), record)
