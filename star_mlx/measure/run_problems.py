"""The train and dev problems of a run, from its recipe and data, without a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from star_mlx.errors import StarError
from star_mlx.recipe import opening, provenance
from star_mlx.store.reading import RunRecord
from star_mlx.types import Problem, Task


@dataclass(frozen=True, slots=True)
class Known:
    """The known problems of a run: its task, and the train and dev problems by id.

    If they cannot be loaded, because the data is gone or has changed, ``task`` is None, there are
    no problems, and ``why_not`` says why.
    """

    task: Task | None = None
    train: Mapping[str, Problem] = field(default_factory=dict)
    dev: Mapping[str, Problem] = field(default_factory=dict)
    why_not: str = ""


def of_run(record: RunRecord) -> Known:
    """Load the problems that a run was made with, from its recipe."""
    try:
        task, _ = opening.open_task(opening.resume_recipe(record.path))
        found = provenance.data_sha256(task)
    except StarError as error:
        return Known(why_not=" ".join(str(error).split()))
    if data_hash(record) not in (None, found):
        return Known(why_not="the data has changed since the run was made")
    train, dev = ({p.id: p for p in task.problems(split)} for split in ("train", "dev"))
    return Known(task, train, dev)


def data_hash(record: RunRecord) -> str | None:
    """The hash of the train and dev problems that the run was made with."""
    found = record.provenance.get("data_sha256")
    return None if found is None else str(found)
