"""The rehearsal of a recipe: all phases in seconds, with an engine that follows a script.

Some of its completions are right, some wrong, cut off or without an answer, so that every path is
taken. The run is made in a temporary folder, and nothing of it is kept.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from star_mlx.errors import NothingKept, TaskError
from star_mlx.run import loop
from star_mlx.run.at_hand import AtHand, gather
from star_mlx.run.checks import Remark, checks
from star_mlx.run.plan import plan
from star_mlx.run.script import Script
from star_mlx.run.tryout import Tryout, tryout
from star_mlx.settings import Augment, Endpoints, Recipe
from star_mlx.store import names, reading
from star_mlx.store.metrics import Metrics, as_json
from star_mlx.types import Attempt

PROBLEMS, DEV, ITERATIONS = 15, 5, 2


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What was done, and what was found. ``model`` is None if the base is not at hand."""

    iterations: tuple[Metrics, ...]  # of the scripted run, the base first
    seconds: float  # that it took
    model: Tryout | None
    findings: tuple[Remark, ...]

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "ok": all(one.ok for one in self.findings),
            "findings": [asdict(one) for one in self.findings],
            "model": self.model and asdict(self.model),
            "iterations": [as_json(line) for line in self.iterations],
            "seconds": self.seconds,
        }


def rehearse(recipe: Recipe, folder: Path) -> Rehearsal:
    """Rehearse a recipe: check it on all problems, run it by script, and try its model.

    Args:
        folder: where the run would be written; nothing is.

    Raises:
        StarError: the recipe cannot run.
    """
    at = gather(recipe)
    found = checks(at, plan(at), folder)
    started = time.perf_counter()
    metrics, kept = scripted(at)
    seconds = time.perf_counter() - started
    model = None if at.model is None else tryout(at)
    tried = () if model is None else model.findings
    return Rehearsal(metrics, seconds, model, (*found, kept, *tried))


def scripted(at: AtHand) -> tuple[tuple[Metrics, ...], Remark]:
    """Run the short form of a recipe by script: its metrics, and whether right completions were
    kept.

    Raises:
        TaskError: none was, so the recipe cannot run.
    """
    small = short(at.recipe)
    script = Script(at, small)
    generate = small.generate.model_copy(update={"max_tokens": script.limit})
    small = small.model_copy(update={"generate": generate})
    with tempfile.TemporaryDirectory(prefix="star-mlx-rehearsal-") as place:
        run = Path(place) / "run"
        try:
            loop.run(small, run, lambda event: None, engine=script.engine)
        except NothingKept:
            raise TaskError(
                f"a right completion as the examples show it is not kept: {script.example[:200]!r}"
                ": the task does not read its answer from it, or a filter of star refuses it"
            ) from None
        record = reading.read(run)
        made = [a for block in record.rows(1, names.ATTEMPTS, Attempt) for a in block]
        metrics = tuple(record.metrics)
    right = [attempt for attempt in made if script.succeeds(attempt.id, attempt.hinted)]
    lost = [attempt for attempt in right if not attempt.kept]
    text = f"all {len(right)} right completions of the script were kept"
    if lost:
        text = f"{len(lost)} of {len(right)} right completions of the script were not kept"
        why = lost[0].rejected or ("cut off" if lost[0].correct else "not read as right")
        text += f", the first {why}: {lost[0].completion[-80:]!r}"
    return metrics, Remark("kept", not lost, text)


def short(recipe: Recipe) -> Recipe:
    """A recipe with few problems and iterations, and no limit on the length of a row."""
    star = recipe.star.model_copy(
        update={
            "iterations": min(ITERATIONS, recipe.star.iterations),
            "problems": PROBLEMS,
            "start_iteration": 1,
            "start_from": None,
            "patience": None,
            "on_regression": "warn",
        }
    )
    groups = {
        "star": star,
        "generate": recipe.generate.model_copy(update={"chunk": PROBLEMS // 2}),
        "train": recipe.train.model_copy(update={"max_length": 1 << 40}),
        "evaluate": recipe.evaluate.model_copy(update={"dev": DEV, "test": False}),
        "augment": Augment(),  # the script answers only the problems of the task
    }
    here = {"baseline": None, "max_memory": None, "endpoints": Endpoints()}
    return recipe.model_copy(update={**groups, **here})
