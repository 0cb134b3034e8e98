"""What a tracker is given, and what it does with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

PROJECT = "star-mlx"  # what runs are filed under, where the tracker's own settings name no other

Steps = Sequence[tuple[int, Mapping[str, float]]]  # optimizer step of the whole run, its numbers
SampleRow = tuple[str, ...]  # a sample, by ``flat.COLUMNS``


@dataclass(frozen=True, slots=True)
class Tracked:
    """A run as a tracker is shown it.

    ``kept`` is the tracker's own, saved with the run and given back when the run is resumed:
    whatever names the tracker's run goes there. The last ``iteration`` (-1: none) and the last
    ``step`` reported stand in it already.
    """

    folder: Path
    config: Mapping[str, Any]  # the resolved recipe, and the model as ``base``
    kept: dict[str, Any]


class Tracker(Protocol):
    """A consumer of a run. It may raise anything: it is then left out, and the run goes on.

    Iterations come in order, and so do steps; neither comes twice, also over resumptions.
    """

    def start(self, run: Tracked) -> None:
        """Begin the tracker's run, or go on with it where ``run.kept`` names one."""

    def metrics(self, iteration: int, values: Mapping[str, float]) -> None:
        """The numbers of a finished iteration, by their paths."""

    def steps(self, steps: Steps) -> None:
        """Optimizer steps that were taken since the last call."""

    def samples(self, iteration: int, rows: Sequence[SampleRow]) -> None:
        """Attempts of an iteration, fit to be shown."""

    def artifact(self, iteration: int, folder: Path) -> None:
        """The adapter of a finished iteration."""

    def finish(self, done: bool) -> None:
        """No more will come; ``done`` is False where the run was interrupted or failed."""
