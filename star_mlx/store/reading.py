"""A run folder as it is read, without its attempts: the recipe and the metrics."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from star_mlx.errors import RunError
from star_mlx.store.files import json_lines


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A run as its folder has it: the resolved recipe and the lines of ``metrics.jsonl``."""

    path: Path
    recipe: dict[str, Any]
    metrics: list[dict[str, Any]]

    @property
    def last(self) -> int:
        """The last finished iteration; 0 is the base."""
        return max((line["iteration"] for line in self.metrics), default=0)

    @property
    def best(self) -> int:
        """The finished iteration with the highest dev accuracy, the earliest of equals; the last
        where none was evaluated. It may be 0, the base."""
        scores = {n["iteration"]: n["eval"]["accuracy"] for n in self.metrics if "eval" in n}
        return max(scores, key=lambda number: scores[number]) if scores else self.last

    def adapter(self, iteration: int) -> Path | None:
        """The adapter of a finished iteration; None for iteration 0, the base.

        Raises:
            RunError: the run has no such iteration.
        """
        if iteration == 0:
            return None
        folder = iteration_folder(self.path, iteration) / "adapter"
        if iteration > self.last or not folder.is_dir():
            raise RunError(f"{self.path} has no iteration {iteration}: its last is {self.last}")
        return folder


def read(path: Path) -> RunRecord:
    """Read a run folder without locking it; one that another process is writing can be read.

    Raises:
        RunError: no such folder, not a run, or a file in it cannot be read.
    """
    if not path.is_dir():
        raise RunError(f"{path} is not a run folder: there is no such folder")
    if not (path / "recipe.yaml").is_file():
        raise RunError(f"{path} is not a run folder: it has no recipe.yaml")
    try:
        recipe = yaml.safe_load((path / "recipe.yaml").read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise RunError(f"{path / 'recipe.yaml'}: {' '.join(str(error).split())}") from None
    return RunRecord(path, recipe, list(json_lines(path / "metrics.jsonl")))


def iteration_folder(path: Path, number: int) -> Path:
    """Where a run keeps an iteration."""
    return path / "iterations" / f"{number:03d}"
