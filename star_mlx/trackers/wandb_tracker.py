"""Weights & Biases: its server, or files in the run folder with WANDB_MODE=offline."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from star_mlx.trackers.flat import COLUMNS
from star_mlx.trackers.tracker import PROJECT, SampleRow, Steps, Tracked

AXIS = {"metrics": "iteration", "steps": "step/number"}


class WandbTracker:
    """A wandb run. ``kept`` has its ``id`` and the number of ``rows`` of history: the numbers
    continue when the run is resumed, so that no two rows of a run share one."""

    def start(self, run: Tracked) -> None:
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        import wandb

        self._kept = run.kept
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            name=os.environ.get("WANDB_NAME", run.folder.name),
            id=run.kept.setdefault("id", secrets.token_hex(4)),
            resume="allow",
            dir=os.environ.get("WANDB_DIR", str(run.folder)),
            config=dict(run.config),
            reinit="create_new",
            settings=_settings(),
        )
        self._kept["rows"] = max(self._kept.get("rows", 0), self._run.step)
        self._run.define_metric(AXIS["steps"], hidden=True)
        self._run.define_metric("step/*", step_metric=AXIS["steps"])
        self._defined: set[str] = set()

    def metrics(self, iteration: int, values: Mapping[str, float]) -> None:
        for key in values.keys() - self._defined:
            self._run.define_metric(key, step_metric=AXIS["metrics"])
        self._defined |= values.keys()
        self._log({**values, AXIS["metrics"]: iteration})

    def steps(self, steps: Steps) -> None:
        for number, values in steps:
            self._log({**values, AXIS["steps"]: number})

    def samples(self, iteration: int, rows: Sequence[SampleRow]) -> None:
        import wandb

        table = wandb.Table(columns=list(COLUMNS), data=[list(row) for row in rows])
        self._log({"samples": table, AXIS["metrics"]: iteration})

    def artifact(self, iteration: int, folder: Path) -> None:
        import wandb

        made = wandb.Artifact(
            f"adapter-{self._kept['id']}", type="model", metadata={"iteration": iteration}
        )
        made.add_dir(str(folder.absolute()), policy="immutable")  # it is not copied
        self._run.log_artifact(made, aliases=["latest", f"iteration-{iteration}"])

    def finish(self, done: bool) -> None:
        self._run.finish(exit_code=0 if done else 1)

    def _log(self, values: dict[str, Any]) -> None:
        self._run.log(values, step=self._kept["rows"], commit=True)
        self._kept["rows"] += 1


def _settings() -> Any:
    """Silent, and without the metadata wandb takes from the working folder, unless asked for."""
    import wandb

    chosen: dict[str, Any] = {"silent": True, "console": "off"}
    own = {
        "disable_git": True,
        "disable_code": True,
        "init_timeout": 30.0,  # seconds; an unreachable server must not delay a run
        "finish_timeout": 300.0,
        "finish_timeout_raises": True,
    }
    if "WANDB_MODE" in os.environ:  # wandb itself reads it once per process
        chosen["mode"] = os.environ["WANDB_MODE"]
    chosen |= {k: v for k, v in own.items() if f"WANDB_{k.upper()}" not in os.environ}
    return wandb.Settings(**chosen)
