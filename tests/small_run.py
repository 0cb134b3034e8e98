"""A real run on the embedded base, small enough to be made in a test, once for all files."""

from __future__ import annotations

import atexit
import functools
import shutil
import tempfile
from pathlib import Path

SMALL = (
    "task.options.digits=[1,2]",
    "task.options.train=200",
    "task.options.held_out=10",
    "star.iterations=2",
    "star.problems=40",
    "star.schedule.start=4",
    "generate.max_tokens=80",
    "evaluate.dev=20",
)


@functools.cache
def made() -> Path:
    """The folder of the run; whoever writes to it copies it first."""
    from star_mlx.recipe.loading import load
    from star_mlx.run import evaluate, loop

    place = Path(tempfile.mkdtemp(prefix="small-run-"))
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    run = place / "sums"
    loop.run(load(None, task="arithmetic", overrides=SMALL), run, lambda event: None)
    evaluate.evaluate_run(run, "2", how=evaluate.How("test"), against=["few-shot"])
    return run
