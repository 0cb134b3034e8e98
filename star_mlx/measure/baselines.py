"""The measured baselines of a run: the base without examples, and those of RUN/baselines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from star_mlx.measure import compare
from star_mlx.store import names, reading
from star_mlx.store.metrics import Measured
from star_mlx.store.reading import RunRecord

TRAINED = ("direct", "sft", "rft")  # the baselines with an adapter of their own


@dataclass(frozen=True, slots=True)
class Baseline:
    """A baseline of a run: its ``eval`` entry and its dev verdicts."""

    name: str
    eval: Measured
    verdicts: Mapping[str, bool]


def of_run(record: RunRecord) -> tuple[Baseline, ...]:
    """The baselines of a run besides iteration 0, the base as the loop asks it.

    Raises:
        RunError: a file of attempts, or the folder of a baseline, is damaged.
    """
    found = []
    for line in record.metrics:
        if entry := line.zero_shot:
            right = compare.dev_verdicts(record, line.iteration, zero_shot=True)
            found.append(Baseline("zero-shot", entry, right))
    for kind in TRAINED:
        folder = names.baseline(record.path, kind)
        if (folder / names.RECIPE).is_file():
            other = reading.read(folder)
            measured = [(m.iteration, m.dev) for m in other.metrics if m.iteration and m.dev]
            for number, dev in measured[-1:]:
                found.append(Baseline(kind, dev, compare.dev_verdicts(other, number)))
    return tuple(found)
