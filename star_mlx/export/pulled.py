"""Open a folder that ``pull`` fetched: its recipe, prompt and adapter.

Its content is treated as data. A path in its recipe is not followed: the base is ``tiny``, a model
on the Hub, or ``model``, and its content must have the hash recorded in the recipe; the few-shot
examples are the folder's own. Code that comes with the base is run only if the caller allows it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from star_mlx import tasks
from star_mlx.data import yaml_text
from star_mlx.engine.resolve import HUB_ID, Found, content_hash, find
from star_mlx.errors import ModelError, RunError, StarError
from star_mlx.export.run_record import MANIFEST, PROMPTS, RECIPE
from star_mlx.prompts import Prompts, example
from star_mlx.recipe import loading as recipes
from star_mlx.recipe.opening import worded
from star_mlx.settings import Endpoints, Recipe
from star_mlx.store import names
from star_mlx.store.which import resolve
from star_mlx.types import Task

WEIGHTS = names.WEIGHTS


def is_pulled(folder: Path) -> bool:
    """Whether a folder holds an adapter with the record of its run, and is not a run itself."""
    return (folder / RECIPE).is_file() and not (folder / names.RECIPE).exists()


@dataclass(frozen=True, slots=True)
class Opened:
    """The content of a pulled folder, made safe.

    ``values`` is its recipe as written, ``recipe`` the same made safe; ``prompts`` are plain text,
    and ``iteration`` is the number of the adapter, 0 for the base.
    """

    folder: Path
    values: Mapping[str, Any]
    recipe: Recipe
    task: Task
    prompts: Prompts
    iteration: int

    @property
    def made(self) -> Mapping[str, Any]:
        """The provenance of the run, as recorded in its recipe."""
        found: Mapping[str, Any] = self.values["provenance"]
        return found

    def base(self) -> Found:
        """The base, fetched if it is on the Hub.

        Raises:
            ModelError: it cannot be loaded, or its content differs.
        """
        model = self.recipe.model
        found = find(model.path, model.revision, trust_remote_code=model.trust_remote_code)
        base = self.made.get("base")
        if not isinstance(base, dict) or base.get("hash") != content_hash(found.folder):
            raise ModelError(
                f"the base {model.path} is not the one that this adapter was trained on: its "
                "content differs, and an adapter fits only its own base"
            )
        return found

    def check_prompt(self, asked: Prompts) -> None:
        """Check that these prompts, in the base's template, are those the run was made with; raises
        RunError if not."""
        if asked.digest() != self.made.get("prompts_sha256"):
            raise RunError(
                f"{self.folder / PROMPTS} does not make the prompt that the run recorded"
            )


def opened(
    folder: Path,
    *,
    iteration: str = "last",
    model: str | None = None,
    trust_remote_code: bool = False,
) -> Opened:
    """Read a pulled folder.

    Args:
        iteration: ``0`` for the bare base; else the folder's adapter.
        model: the base, if it is not on the Hub.
        trust_remote_code: whether code that comes with the base may be run.

    Raises:
        RunError: a part is missing, or is not in the form that ``push`` writes.
        ModelError: its base is a folder, and no ``model`` is given.
    """
    values = _yaml(folder / RECIPE)
    if not isinstance(values, dict) or not isinstance(values.get("provenance"), dict):
        raise RunError(f"{folder / RECIPE} is not a run's recipe")
    recipe = _recipe(folder, values, values["provenance"], model, trust_remote_code)
    task = tasks.make(recipe.task.name, recipe.task.options)
    prompts = _prompts(folder, recipe, task)
    return Opened(folder, values, recipe, task, prompts, _number(folder, iteration))


def _recipe(
    folder: Path,
    values: Mapping[str, Any],
    made: Mapping[str, Any],
    model: str | None,
    trust_remote_code: bool,
) -> Recipe:
    """The folder's recipe, made safe: see the docstring of the module."""
    plain = {key: value for key, value in values.items() if key != "provenance"}
    try:
        recipe = recipes.from_resolved(plain)
    except StarError as error:
        raise RunError(f"{folder / RECIPE}: {error}") from None
    if recipe.model.trust_remote_code and not trust_remote_code:
        raise ModelError(
            f"the recipe in {folder} asks to run code that comes with the base "
            f"{recipe.model.path}: give --trust-remote-code if you trust its owner"
        )
    base = made.get("base")
    revision = base.get("revision") if isinstance(base, dict) else None
    path = model or recipe.model.path
    if model is None and path != "tiny" and not (revision and HUB_ID.fullmatch(path)):
        raise ModelError(
            f"the base of {folder} is a folder ({path}) that is not part of it: give its place "
            "with --model"
        )
    spec = recipe.model.model_copy(
        update={
            "path": path,
            "revision": None if model else revision,
            "trust_remote_code": trust_remote_code,
            "products": "float32",  # others' machines may have nothing else
        }
    )
    own = {
        "model": spec,
        "prompts": recipe.prompts.model_copy(update={"file": None}),
        "endpoints": Endpoints(),  # no server is asked because a recipe says so
        "max_memory": None,
    }
    return recipe.model_copy(update=own)


def _number(folder: Path, iteration: str) -> int:
    """The number of the iteration to ask; 0 is the base."""
    if not (folder / WEIGHTS).is_file():
        raise RunError(f"{folder} holds no {WEIGHTS}: it was pushed without the format mlx")
    about = _yaml(folder / MANIFEST)
    own = about.get("iteration") if isinstance(about, dict) else None
    if not isinstance(own, int) or own < 1:
        raise RunError(f"{folder / MANIFEST} does not say which iteration this is")
    found = resolve(iteration, best=own, last=own)
    if found.number in (0, own) and not found.zero_shot:
        return found.number
    raise RunError(f"{folder} has only iteration {own}: give --iteration {own}, or 0, the base")


def _prompts(folder: Path, recipe: Recipe, task: Task) -> Prompts:
    """The few-shot examples in the folder."""
    direct = recipe.star.direct or recipe.baseline == "direct"
    if recipe.baseline == "zero-shot" or recipe.prompts.k == 0:
        return worded(recipe, Prompts(task, (), direct, zero_shot=True))
    rows = _yaml(folder / PROMPTS)
    try:
        shots = tuple(example(number, row) for number, row in enumerate(rows, 1))
    except (KeyError, TypeError, ValueError, AttributeError):
        raise RunError(f"{folder / PROMPTS} is not a list of few-shot examples") from None
    return worded(recipe, Prompts(task, shots, direct))


def _yaml(file: Path) -> Any:
    """The content of a YAML or JSON file."""
    try:
        return yaml_text.load(yaml_text.text_of(file))[0]
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise RunError(f"{file} cannot be read: {' '.join(str(error).split())}") from None
