"""The source of an export: the adapter of a run's iteration or of a pulled folder, and its base."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from star_mlx.engine.resolve import Found, content_hash, find
from star_mlx.errors import ModelError, RunError
from star_mlx.export import pulled
from star_mlx.prompts import Prompts
from star_mlx.recipe import opening
from star_mlx.settings import Recipe
from star_mlx.store import reading, which


@dataclass(frozen=True, slots=True)
class ExportSource:
    """An adapter folder in mlx-lm's form, the base's folder, and the run they belong to.

    ``pulled`` is set if the folder was pulled instead of made by a run; then ``record`` has its
    recipe, made safe, and no metrics.
    """

    record: reading.RunRecord
    iteration: int
    adapter: Path
    base: Found
    pulled: pulled.Opened | None = None

    def opened(self) -> tuple[Recipe, Prompts]:
        """The recipe and its prompts as plain text."""
        if self.pulled is not None:
            return self.pulled.recipe, self.pulled.prompts
        recipe = opening.resume_recipe(self.record.path)
        return recipe, opening.open_task(recipe)[1]

    @property
    def stem(self) -> str:
        """The name of a file made from this iteration, without its kind."""
        run = re.sub(r"[^\w.-]+", "-", self.record.path.resolve().name).strip("-") or "run"
        return f"{run}-{self.iteration:03d}"

    @property
    def base_config(self) -> dict[str, Any]:
        """The base's config.json."""
        text = (self.base.folder / "config.json").read_text(encoding="utf-8")
        return dict(json.loads(text))

    @property
    def base_hash(self) -> str:
        """The content hash of the base, as recorded in the run."""
        return str(self.record.provenance["base"]["hash"])

    @property
    def base_told(self) -> dict[str, Any]:
        """The base as named in an exported file: a folder without its location."""
        revision = self.base.revision
        name = self.base.name if revision else Path(self.base.name).name
        return {"name": name, "revision": revision, "hash": self.base_hash}

    @property
    def trust_remote_code(self) -> bool:
        """Whether the run trusts Python code that came with the base."""
        return bool(self.record.recipe["model"].get("trust_remote_code"))


@dataclass(frozen=True, slots=True)
class WrittenFormat:
    """The result of writing a format: notes about it, and the measured figures."""

    notes: tuple[str, ...] = ()
    parity: Mapping[str, Any] | None = None
    gate: Mapping[str, Any] | None = None


def source(
    run: Path,
    iteration: str = "best",
    *,
    model: str | None = None,
    trust_remote_code: bool = False,
) -> ExportSource:
    """The adapter of an iteration, by its number, ``"best"`` or ``"last"``.

    ``run`` may be a pulled folder; ``model`` and ``trust_remote_code`` are for these alone, see
    ``share.pulled.opened``.

    Raises:
        RunError: no run, no such iteration, or it is the base, which has no adapter.
        ModelError: the run's base cannot be loaded, or its content differs.
    """
    if pulled.is_pulled(run):
        return _pulled(run, iteration, model, trust_remote_code)
    if model is not None or trust_remote_code:
        raise RunError(
            "a run has its own base: --model and --trust-remote-code are for pulled folders"
        )
    record = reading.read(run)
    number = which.number(record, iteration)
    folder = record.adapter(number)
    if folder is None:
        why = "its best iteration is the base itself" if iteration == "best" else "that is the base"
        raise RunError(f"{run}: {why}, which has no adapter to export; give --iteration N")
    named, made = record.recipe["model"], record.provenance.get("base", {})
    found = find(
        named["path"],
        made.get("revision") or named.get("revision"),
        trust_remote_code=bool(named.get("trust_remote_code")),
    )
    if made.get("hash") != content_hash(found.folder):
        raise ModelError(
            f"the base {named['path']} is not the one {run} was trained on: its content has "
            "changed, and an adapter fits only its own base"
        )
    return ExportSource(record, number, folder, found)


def _pulled(
    folder: Path, iteration: str, model: str | None, trust_remote_code: bool
) -> ExportSource:
    found = pulled.opened(
        folder, iteration=iteration, model=model, trust_remote_code=trust_remote_code
    )
    if found.iteration == 0:
        raise RunError(f"{folder}: iteration 0 is the base, which has no adapter to export")
    base = found.base()
    values = opening.settled(found.recipe, found.task)
    record = reading.RunRecord(folder, values, [], found.made)
    return ExportSource(record, found.iteration, folder, base, found)
