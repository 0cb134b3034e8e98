"""The provenance of a run: what it depends on beyond its recipe, and whether that is unchanged."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from star_mlx import prompts, tasks
from star_mlx.errors import RunError
from star_mlx.events import Emit, Notice
from star_mlx.recipe.loading import differences as recipe_differences
from star_mlx.settings import Recipe
from star_mlx.store import reading
from star_mlx.types import Engine, Task

PACKAGES = ("star-mlx", "mlx", "mlx-lm", "transformers", "numpy")


def provenance(
    task: Task, prompt_set: prompts.Prompts, engine: Engine, given: Recipe | None = None
) -> dict[str, Any]:
    """The provenance of a run: versions, the hashes of base, data and prompts, and the settings
    that the recipe ``given`` by the user left to the device (``auto``)."""
    left = [f"generate.{name}" for name in given.generate.automatic] if given else []
    return {
        "versions": versions(),
        "base": dict(engine.describe()),
        "data_sha256": data_sha256(task),
        "rows_left_out": len(task.skipped()),
        "prompts_sha256": prompt_set.digest(),
        **({"auto": left} if left else {}),
    }


def left_to_the_device(record: reading.RunRecord) -> str:
    """What a run took for the settings that were ``auto`` when it was created, in a sentence;
    empty if there were none, or if an earlier version did not record it."""
    made = record.recipe.get("generate") or {}
    keys = [str(key) for key in record.provenance.get("auto") or ()]
    chosen = [f"{key}={made.get(key.removeprefix('generate.'))}" for key in keys]
    return f"auto was {' and '.join(chosen)} when the run was created" if chosen else ""


def versions() -> dict[str, str | None]:
    """The versions of Python and of the packages that results depend on."""
    python = ".".join(map(str, sys.version_info[:3]))
    return {name: _version(name) for name in PACKAGES} | {"python": python}


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


def placeless(values: Mapping[str, Any]) -> dict[str, Any]:
    """A resolved recipe without the location of its data, whose content is compared by hash, and
    without the settings that depend on the machine."""
    task = dict(values.get("task", {}))
    options = {k: v for k, v in task.get("options", {}).items() if k not in ("data", "path")}
    return {**values, "task": {**task, "options": options}, "max_memory": None}


def complete(values: Mapping[str, Any]) -> dict[str, Any]:
    """A recipe with the defaults of the settings that it does not name, such as newer ones."""
    filled = dict(values)
    for name, spec in Recipe.model_fields.items():
        group = values.get(name, {})
        if isinstance(group, Mapping) and isinstance(spec.annotation, type(Recipe)):
            made = {
                key: field.get_default(call_default_factory=True)
                for key, field in spec.annotation.model_fields.items()
                if key not in group and not field.is_required()
            }
            filled[name] = {**made, **group}
    task = filled.get("task")
    if isinstance(task, Mapping) and isinstance(chosen := task.get("options"), Mapping):
        filled["task"] = {**task, "options": {**tasks.defaults(str(task.get("name"))), **chosen}}
    return filled


def _elsewhere(values: Mapping[str, Any]) -> bool:
    """Whether servers generate."""
    group = values.get("endpoints")
    return isinstance(group, Mapping) and bool(group.get("urls"))


def older(record: reading.RunRecord) -> str | None:
    """How the rest of an unfinished run differs from its beginning by an earlier version, which
    recorded no arguments of a template; None if it does not."""
    spec = record.recipe.get("prompts") or {}
    star = record.recipe.get("star") or {}
    last = max((line.iteration for line in record.metrics), default=0)
    if "template" in spec or record.recipe.get("baseline") or last >= star.get("iterations", 0):
        return None
    changes = []
    if spec.get("k") == 0:
        changes.append(
            "with prompts.k=0 models are now trained on the words that ask for reasoning, as they "
            "are asked"
        )
    if spec.get("chat"):
        changes.append(
            "in a chat the thinking of a model is no longer read, and the token trained on after a "
            "completion is the one that ends a turn (another one for gemma and Phi-4-mini)"
        )
    return (
        f"{record.path} was begun by an earlier version: {'; '.join(changes)}. The iterations to "
        "come may therefore differ from those there are; give another --run to have all alike"
        if changes
        else None
    )


def refuse_other(record: reading.RunRecord, values: Mapping[str, Any], emit: Emit) -> None:
    """Refuse to resume a run that was made with another recipe, base, data or prompts."""
    now = dict(values)
    made, make = record.provenance, now.pop("provenance")
    then, now = complete(record.recipe), complete(now)
    if "date" not in (record.recipe.get("prompts") or {}) and "prompts" in then:
        # an earlier version's: the hash of the prompts says whether this is their day
        then["prompts"] = {**then["prompts"], "date": now["prompts"]["date"]}
    if _elsewhere(then) == _elsewhere(now):
        then["endpoints"] = now["endpoints"]  # servers may move, and be asked in another way
    differ = recipe_differences(placeless(then), placeless(now))
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
