"""Experiment trackers: what a run says of itself, kept where runs are compared.

Each tracker is one file that implements ``tracker.Tracker``; adding one is that file and a line in
``TRACKERS``. ``consumer.Trackers`` turns a run's events into their calls, and sees to it that none
of them can stop a run.

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
NONE = "none"  # the name that stands for no tracker


class TrackerError(StarError):
    """A tracker that does not exist, or whose package is not installed."""


def chosen(values: Sequence[str]) -> tuple[str, ...]:
    """The trackers that ``values`` name, each value one or several separated by commas.

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
        raise TrackerError(f"--track {','.join(names)}: none goes with no other tracker")
    for name in names:
        if name != NONE and not _installed(name):
            raise TrackerError(
                f"--track {name} needs the {name} package: pip install 'star-mlx[{name}]'"
            )
    return tuple(name for name in names if name != NONE)


def open_trackers(names: Sequence[str], folder: Path, emit: Emit) -> Trackers:
    """Trackers of the run in ``folder``, called with its events, which they hand on to ``emit``.

    Nothing is written before the run has started.

    Raises:
        RunError: what earlier trackers left in the folder cannot be read.
    """
    return Trackers({name: TRACKERS[name] for name in names}, folder, emit)


def _installed(package: str) -> bool:
    """Whether it can be imported; a mere folder of that name, such as wandb leaves, is none."""
    spec = importlib.util.find_spec(package)
    return spec is not None and spec.origin is not None
