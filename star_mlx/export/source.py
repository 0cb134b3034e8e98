"""What is exported: the adapter of a run's iteration, and the base it was trained on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from star_mlx import measure, store
from star_mlx.engine.resolve import Found, content_hash, find
from star_mlx.types import ModelError, RunError


@dataclass(frozen=True, slots=True)
class Source:
    """An adapter folder in mlx-lm's form, the base's folder, and the run they belong to."""

    record: store.RunRecord
    iteration: int
    adapter: Path
    base: Found

    @property
    def base_config(self) -> dict[str, Any]:
        """The base's config.json."""
        text = (self.base.folder / "config.json").read_text(encoding="utf-8")
        return dict(json.loads(text))

    @property
    def base_hash(self) -> str:
        """The content hash of the base, as the run has it."""
        return str(self.record.recipe["provenance"]["base"]["hash"])

    @property
    def base_told(self) -> dict[str, Any]:
        """The base as an exported file names it: a folder without its place."""
        revision = self.base.revision
        name = self.base.name if revision else Path(self.base.name).name
        return {"name": name, "revision": revision, "hash": self.base_hash}

    @property
    def trust_remote_code(self) -> bool:
        """Whether the run trusts Python code that came with the base."""
        return bool(self.record.recipe["model"].get("trust_remote_code"))


@dataclass(frozen=True, slots=True)
class Written:
    """What came of writing a format: what to know of it, and the figures that were measured."""

    notes: tuple[str, ...] = ()
    parity: Mapping[str, Any] | None = None
    gate: Mapping[str, Any] | None = None


def source(run: Path, iteration: str = "best") -> Source:
    """The adapter of an iteration, by its number, ``"best"`` or ``"last"``.

    Raises:
        RunError: no run, no such iteration, or it is the base, which has no adapter.
        ModelError: the run's base cannot be had, or is another by its content.
    """
    record = store.read(run)
    number = measure.which(record, iteration).number
    folder = record.adapter(number)
    if folder is None:
        why = "its best iteration is the base itself" if iteration == "best" else "that is the base"
        raise RunError(f"{run}: {why}, which has no adapter to export; give --iteration N")
    model, made = record.recipe["model"], record.recipe.get("provenance", {}).get("base", {})
    found = find(
        model["path"],
        made.get("revision") or model.get("revision"),
        trust_remote_code=bool(model.get("trust_remote_code")),
    )
    if made.get("hash") != content_hash(found.folder):
        raise ModelError(
            f"the base {model['path']} is not the one {run} was trained on: its content has "
            "changed; an adapter fits its own base alone"
        )
    return Source(record, number, folder, found)
