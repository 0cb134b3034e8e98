"""The interface of a tracker: the data it gets, and its methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

PROJECT = "star-mlx"  # the project of runs, unless the tracker's own settings name another

Steps = Sequence[tuple[int, Mapping[str, float]]]  # optimizer step of the whole run, its numbers
SampleRow = tuple[str, ...]  # a sample, by ``flat.COLUMNS``


@dataclass(frozen=True, slots=True)
class Tracked:
    """The data of a run for a tracker.

    ``kept`` belongs to the tracker; it is saved with the run and given back when the run is
    resumed, and should hold the identity of the tracker's run. The last reported ``iteration``
    (-1: none) and ``step`` are already in it.
    """

    folder: Path
    config: Mapping[str, Any]  # the resolved recipe, and the model as ``base``
    kept: dict[str, Any]


class Tracker(Protocol):
    """A service that logs a run. If it raises any exception, it is left out, and the run goes on.

    Iterations come in order, and so do steps; neither comes twice, even if the run is resumed.
    """

    def start(self, run: Tracked) -> None:
        """Begin the tracker's run, or resume the one in ``run.kept``."""

    def metrics(self, iteration: int, values: Mapping[str, float]) -> None:
        """The numbers of a finished iteration, by their paths."""

    def steps(self, steps: Steps) -> None:
        """The optimizer steps since the last call."""

    def samples(self, iteration: int, rows: Sequence[SampleRow]) -> None:
        """Attempts of an iteration, ready for display."""

    def artifact(self, iteration: int, folder: Path) -> None:
        """The adapter of a finished iteration."""

    def finish(self, done: bool) -> None:
        """End the tracker's run; ``done`` is False if the run was interrupted or failed."""
