"""Open an existing run to measure something in it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from star_mlx import engine as engines
from star_mlx.distributed.crew import led
from star_mlx.events import Emit
from star_mlx.recipe.opening import in_template, open_task, resume_recipe, settled
from star_mlx.recipe.provenance import provenance, refuse_other
from star_mlx.run import ranked
from star_mlx.run.learner import Learner
from star_mlx.store import reading, writing
from star_mlx.types import Engine, Task


@contextmanager
def opened(
    run: Path, emit: Emit, engine: Engine | None = None
) -> Iterator[tuple[Task, Learner, writing.Store]]:
    """Open and lock an existing run, with its task and its model, to measure something in it.

    ``engine`` is used if it has the run's base.

    Raises:
        StarError: no such run, or its base, data or prompts have changed.
    """
    record = reading.read(run)
    recipe = resume_recipe(run)
    task, prompt_set = open_task(recipe)
    made = record.provenance.get("base", {}).get("hash")
    if engine is None or engine.describe()["hash"] != made:
        engine = engines.open_base(recipe)
    prompt_set = in_template(recipe, prompt_set, engine)
    values = settled(recipe, task) | {"provenance": provenance(task, prompt_set, engine)}
    refuse_other(record, values, emit)
    if (crew := led()) and not isinstance(engine, ranked.RankedEngine):
        engine = ranked.over(crew, recipe, engine, emit)
        engine.emit = emit
    with writing.opened(run, values) as folder:
        yield task, Learner(recipe, task, prompt_set, engine, folder, emit), folder
