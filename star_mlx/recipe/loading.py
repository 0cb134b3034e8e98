"""Read a recipe, a file or a shipped one, and apply the options of the command line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from star_mlx import tasks
from star_mlx.errors import RecipeError
from star_mlx.recipe import layers as yaml_layers
from star_mlx.recipe.layers import Layer
from star_mlx.recipe.shipped import recipes_dir
from star_mlx.settings import Recipe


def load(
    name: str | None = None,
    *,
    task: str | None = None,
    data: str | None = None,
    model: str | None = None,
    trust_remote_code: bool | None = None,
    seed: int | None = None,
    rationalize: bool | None = None,
    overrides: Sequence[str] = (),
    options: Mapping[str, str] | None = None,
    below: Sequence[Layer] = (),
    settings: Mapping[str, Any] | None = None,
    base: Mapping[str, Any] | None = None,
) -> Recipe:
    """Read a recipe and apply, in this order, the options given and the overrides.

    Args:
        name: a recipe file, or the name of a shipped one. Without it, the shipped recipe that has
            the task's name, or else the defaults.
        task: the name of a task, or of a recipe file.
        data: the task's data, as for ``--data``.
        model, trust_remote_code, seed, rationalize: as for ``--model`` and so on; None keeps the
            recipe's value.
        overrides: ``"key.path=value"``, with the value as YAML.
        options: the same for options of their own, by how they were given: ``{"--iterations 3":
            "star.iterations=3"}``.
        below: values for whatever nothing else gives.
        settings: values by name, as for ``layers.assigned``.
        base: resolved values (those of a run) to use instead of a recipe's.

    Raises:
        RecipeError: no such recipe, no task, or an unknown key or invalid value.
    """
    if name is None and task is not None and Path(task).suffix in (".yaml", ".yml"):
        name, task = task, None
    if name is None and base is None and task in shipped():
        name = task
    layers = [*below, *(yaml_layers.read(name, recipes_dir()) if name is not None else [])]
    if base is not None:
        layers.append(Layer("the run's recipe.yaml", dict(base)))
    given: dict[str, Any] = {"task": task, "model": model, "seed": seed}
    layers += [Layer(f"--{k}", {k: v}) for k, v in given.items() if v is not None]
    if rationalize is not None:
        option = "--rationalize" if rationalize else "--no-rationalize"
        layers.append(Layer(option, {"star": {"rationalize": rationalize}}))
    if trust_remote_code:
        layers.append(Layer("--trust-remote-code", {"model": {"trust_remote_code": True}}))
    if data is not None:
        option = "path" if _task_name(layers) == "jsonl" else "data"
        layers.append(Layer("--data", {"task": {"options": {option: data}}}))
    layers += [yaml_layers.override(text, how) for how, text in (options or {}).items()]
    layers += [yaml_layers.override(text) for text in overrides]
    layers += [yaml_layers.assigned(k, v, Recipe) for k, v in (settings or {}).items()]
    return _validated(layers)


def _task_name(layers: Sequence[Layer]) -> Any:
    task = yaml_layers.merged(layers).get("task")
    return task.get("name") if isinstance(task, dict) else task


def from_resolved(values: Mapping[str, Any]) -> Recipe:
    """The recipe of values made by ``resolved``."""
    return load(base=values)


def resolved(recipe: Recipe) -> dict[str, Any]:
    """Every value of the recipe, as plain data for YAML."""
    return recipe.model_dump(mode="json")


def differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[str]:
    """The differences of two resolved recipes, as ``"star.iterations 5 -> 7"``, in a's order."""
    left, right = yaml_layers.leaves(a), yaml_layers.leaves(b)
    missing = object()
    return [
        f"{key} {_shown(left, key)} -> {_shown(right, key)}"
        for key in {**left, **right}
        if left.get(key, missing) != right.get(key, missing)
    ]


def shipped() -> list[str]:
    """The names of the recipes that come with the package."""
    return sorted(path.stem for path in recipes_dir().glob("*.yaml"))


def _shown(values: Mapping[str, Any], key: str) -> str:
    return yaml_layers.shown(values[key]) if key in values else "(not set)"


def _validated(layers: Sequence[Layer]) -> Recipe:
    try:
        values = yaml_layers.merged(layers)
        if "task" not in values:
            raise RecipeError(
                "no task: give --task NAME or --recipe FILE (star-mlx tasks lists the tasks)"
            )
        return Recipe(**values)
    except ValidationError as error:
        options = [("task", "options", name) for name in _options(_task_name(layers))]
        raise yaml_layers.explained(error, layers, Recipe, options) from None


def _options(task: Any) -> Iterable[str]:
    """The names of the options of a task, if that is one of the package."""
    known = isinstance(task, str) and task in tasks.TASKS
    return tasks.options(task).model_fields if known else ()
