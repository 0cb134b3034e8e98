"""TensorBoard: event files in ``RUN/tensorboard``."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from star_mlx.trackers.flat import COLUMNS
from star_mlx.trackers.tracker import SampleRow, Steps, Tracked


class TensorboardTracker:
    """Event files, written by the ``tensorboard`` package itself: neither torch nor tensorflow."""

    def start(self, run: Tracked) -> None:
        from tensorboard.compat.proto.event_pb2 import SessionLog
        from tensorboard.summary.writer.record_writer import RecordWriter

        folder = run.folder / "tensorboard"
        folder.mkdir(exist_ok=True)
        number = len(
            list(folder.glob("events.out.tfevents.*"))
        )  # files are read in the order of their names
        name = f"events.out.tfevents.{int(time.time()):010d}.{number:04d}"
        self._writer = RecordWriter(open(folder / name, "xb"))  # noqa: SIM115 (until finish)
        self._event(file_version="brain.Event:2")
        again = run.kept["iteration"] >= 0 or run.kept["step"] > 0
        # events after the last step that counts are ignored
        self._event(
            step=run.kept["step"] + 1 if again else 0,
            session_log=SessionLog(status=SessionLog.START),
        )
        if not again:
            self._text("config", 0, json.dumps(run.config, indent=2, default=str))
        self._writer.flush()

    def metrics(self, iteration: int, values: Mapping[str, float]) -> None:
        self._scalars(iteration, values)
        self._writer.flush()

    def steps(self, steps: Steps) -> None:
        for number, values in steps:
            self._scalars(number, values)
        self._writer.flush()

    def samples(self, iteration: int, rows: Sequence[SampleRow]) -> None:
        named = (
            [f"{name}: {text}" for name, text in zip(COLUMNS, row, strict=True)] for row in rows
        )
        self._text("samples", iteration, "\n\n".join("\n".join(lines) for lines in named))
        self._writer.flush()

    def artifact(self, iteration: int, folder: Path) -> None:
        """TensorBoard has no artifacts."""

    def finish(self, done: bool) -> None:
        self._writer.close()

    def _scalars(self, step: int, values: Mapping[str, float]) -> None:
        from tensorboard.compat.proto.summary_pb2 import Summary

        found = [Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()]
        self._event(step=step, summary=Summary(value=found))

    def _text(self, tag: str, step: int, text: str) -> None:
        """A text, unchanged: TensorBoard reads Markdown, in which indented lines are code."""
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.compat.proto.tensor_pb2 import TensorProto
        from tensorboard.plugins.text.metadata import create_summary_metadata

        code = "\n".join(f"    {line}" for line in text.split("\n"))
        value = Summary.Value(
            tag=tag,
            metadata=create_summary_metadata(display_name=None, description=None),
            tensor=TensorProto(dtype="DT_STRING", string_val=[code.encode()]),
        )
        self._event(step=step, summary=Summary(value=[value]))

    def _event(self, **fields: Any) -> None:
        from tensorboard.compat.proto.event_pb2 import Event

        self._writer.write(Event(wall_time=time.time(), **fields).SerializeToString())
