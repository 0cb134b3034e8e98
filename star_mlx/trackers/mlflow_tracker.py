"""MLflow: the server of MLFLOW_TRACKING_URI, else a SQLite database beside the runs."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from star_mlx.store import names
from star_mlx.trackers import flat
from star_mlx.trackers.tracker import PROJECT, SampleRow, Steps, Tracked

DEFAULTS = {  # for variables that the user has not set
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",  # seconds; an unreachable server must not delay a run
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
}
BATCH = 1000  # maximum metrics per request
PARAMS = 100  # maximum parameters per request
LENGTH = 500  # maximum characters of a parameter's value


class MlflowTracker:
    """An MLflow run. ``kept`` has its ``run_id``."""

    def start(self, run: Tracked) -> None:
        for name, value in DEFAULTS.items():
            os.environ.setdefault(name, value)
        for chatty in ("mlflow", "alembic"):
            logging.getLogger(chatty).setLevel(logging.ERROR)
        from mlflow import MlflowClient

        home = _home(run.folder.absolute())
        uri = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{home / 'mlflow.db'}"
        self._client = MlflowClient(tracking_uri=uri)
        if "run_id" in run.kept:
            self._id = run.kept["run_id"]
            self._client.update_run(self._id, status="RUNNING")
        else:
            made = self._client.create_run(self._experiment(home), run_name=run.folder.name)
            self._id = run.kept["run_id"] = made.info.run_id
            self._params(flat.settings(run.config))

    def metrics(self, iteration: int, values: Mapping[str, float]) -> None:
        self.steps([(iteration, values)])

    def steps(self, steps: Steps) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        rows = [
            Metric(key, value, now, at) for at, values in steps for key, value in values.items()
        ]
        for first in range(0, len(rows), BATCH):
            self._client.log_batch(self._id, metrics=rows[first : first + BATCH])

    def samples(self, iteration: int, rows: Sequence[SampleRow]) -> None:
        table = json.dumps({"columns": flat.COLUMNS, "data": rows}, ensure_ascii=False)
        self._client.log_text(self._id, table, f"samples/{iteration:03d}.json")

    def artifact(self, iteration: int, folder: Path) -> None:
        self._client.log_artifacts(self._id, str(folder), f"adapters/{iteration:03d}")

    def finish(self, done: bool) -> None:
        self._client.set_terminated(self._id, "FINISHED" if done else "KILLED")

    def _experiment(self, home: Path) -> str:
        """The experiment's id; if the database is ours, its artifacts are beside it."""
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
        if found := self._client.get_experiment_by_name(name):
            return found.experiment_id
        own = not os.environ.get("MLFLOW_TRACKING_URI")
        place = (home / "mlflow-artifacts").as_uri() if own else None
        return self._client.create_experiment(name, artifact_location=place)

    def _params(self, values: Mapping[str, Any]) -> None:
        from mlflow.entities import Param

        params = [Param(key, str(value)[:LENGTH]) for key, value in values.items()]
        for first in range(0, len(params), PARAMS):
            self._client.log_batch(self._id, params=params[first : first + PARAMS])


def _home(run: Path) -> Path:
    """The folder the run lies in; that of a baseline is its run's, so that they are compared."""
    return run.parents[2] if run.parent.name == names.BASELINES else run.parent
