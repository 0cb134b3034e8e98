"""trackio: a local database, or the Space of TRACKIO_SPACE_ID if that is set."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path

from star_mlx.trackers.flat import COLUMNS
from star_mlx.trackers.tracker import PROJECT, SampleRow, Steps, Tracked


class TrackioTracker:
    """A trackio run. ``kept`` has its ``name``, which is unique among runs of all folders."""

    def start(self, run: Tracked) -> None:
        import trackio

        self._run = trackio.init(
            project=os.environ.get("TRACKIO_PROJECT", PROJECT),
            name=run.kept.setdefault("name", f"{run.folder.name}-{secrets.token_hex(3)}"),
            config=dict(run.config),
            resume="allow",
            embed=False,
            auto_log_gpu=False,
            auto_log_cpu=False,
        )

    def metrics(self, iteration: int, values: Mapping[str, float]) -> None:
        self._run.log({**values, "iteration": iteration}, step=iteration)

    def steps(self, steps: Steps) -> None:
        for number, values in steps:
            self._run.log(dict(values), step=number)

    def samples(self, iteration: int, rows: Sequence[SampleRow]) -> None:
        import trackio

        table = trackio.Table(columns=list(COLUMNS), data=[list(row) for row in rows])
        self._run.log({"samples": table}, step=iteration)

    def artifact(self, iteration: int, folder: Path) -> None:
        self._run.log_artifact(str(folder), name=f"adapter-{self._run.name}", type="model")

    def finish(self, done: bool) -> None:
        import trackio

        trackio.finish()  # after the run's own method it would be finished again at exit
