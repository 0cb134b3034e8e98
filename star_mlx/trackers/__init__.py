"""Experiment trackers: they log the metrics of runs to services where runs are compared.

Each tracker is one file that implements ``tracker.Tracker``; to add one, write that file and a line
in ``TRACKERS``. ``consumer.Trackers`` turns a run's events into calls of the trackers, none of
which can stop a run.

May import ``store``, ``events`` and what is below them.
"""

from __future__ import annotations

import difflib
import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path

from star_mlx.errors import StarError
from star_mlx.events import Emit
from star_mlx.trackers.consumer import Trackers
from star_mlx.trackers.mlflow_tracker import MlflowTracker
from star_mlx.trackers.tensorboard_tracker import TensorboardTracker
from star_mlx.trackers.tracker import Tracker
from star_mlx.trackers.trackio_tracker import TrackioTracker
from star_mlx.trackers.wandb_tracker import WandbTracker

__all__ = ["NONE", "TRACKERS", "Tracker", "TrackerError", "Trackers", "chosen", "open_trackers"]

TRACKERS: dict[str, Callable[[], Tracker]] = {
    "wandb": WandbTracker,
    "trackio": TrackioTracker,
    "tensorboard": TensorboardTracker,
    "mlflow": MlflowTracker,
}
NONE = "none"  # the name for no tracker


class TrackerError(StarError):
    """A tracker that does not exist, or whose package is not installed."""


def chosen(values: Sequence[str]) -> tuple[str, ...]:
    """The trackers named by ``values``, each one name or several separated by commas.

    Raises:
        TrackerError: an unknown name, ``none`` beside others, or a package that is not installed.
    """
    parts = [part.strip() for value in values for part in value.split(",")]
    names = tuple(dict.fromkeys(part for part in parts if part))
    for name in names:
        if name not in (*TRACKERS, NONE):
            near = difflib.get_close_matches(name, TRACKERS, 1)
            hint = f" (did you mean {near[0]}?)" if near else ""
            known = ", ".join((*TRACKERS, NONE))
            raise TrackerError(f"--track {name}: there is no such tracker{hint}; there are {known}")
    if NONE in names and len(names) > 1:
        raise TrackerError(f"--track {','.join(names)}: give none alone, without another tracker")
    for name in names:
        if name != NONE and not _installed(name):
            raise TrackerError(
                f"--track {name} needs the {name} package: pip install 'star-mlx[{name}]'"
            )
    return tuple(name for name in names if name != NONE)


def open_trackers(names: Sequence[str], folder: Path, emit: Emit) -> Trackers:
    """Open trackers for the run in ``folder``. They are called with its events, and pass them on to
    ``emit``.

    Nothing is written before the run has started.

    Raises:
        RunError: the trackers' file in the folder cannot be read.
    """
    return Trackers({name: TRACKERS[name] for name in names}, folder, emit)


def _installed(package: str) -> bool:
    """Whether it can be imported. A folder with that name, such as wandb makes, does not count."""
    spec = importlib.util.find_spec(package)
    return spec is not None and spec.origin is not None
