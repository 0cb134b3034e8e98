"""Measure a model of a run on a split: accuracy, several samples, and paired comparisons.

The attempts are kept in the run folder like the loop's own, so an interrupted measurement continues
where it stopped, and an earlier one is read instead of made again. Every result is a file in
``RUN/results/``, named by its time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import msgspec

from star_mlx.errors import RunError
from star_mlx.events import Emit
from star_mlx.measure.baselines import TRAINED
from star_mlx.measure.findings import compare, summary, verdicts
from star_mlx.recipe import asking
from star_mlx.run.learner import Learner
from star_mlx.run.passes import Pass
from star_mlx.run.reopen import opened
from star_mlx.settings import Recipe
from star_mlx.store import names, reading, writing
from star_mlx.store import which as store_which
from star_mlx.store.results import Result
from star_mlx.store.which import BASES, NAMES, Which
from star_mlx.types import Attempt, Engine, Problem, Split, Task


@dataclass(frozen=True, slots=True)
class How:
    """How to measure: a split, ``limit`` problems of it, ``samples`` attempts at each."""

    split: Split = "dev"
    samples: int = 1
    temperature: float | None = None
    limit: int | None = None

    def kind(self, zero_shot: bool) -> str:
        """The name of the file in which the attempts are kept."""
        parts = [
            "zero-shot" if zero_shot else "",
            self.split,
            "" if self.limit is None else f"n{self.limit}",
            "" if self.samples == 1 else f"k{self.samples}",
            "" if self.temperature is None else f"t{self.temperature:g}",
        ]
        return "-".join(part for part in parts if part)

    def note(self, zero_shot: bool) -> str:
        """What differs from the loop's own measurements, in words."""
        parts = [
            "without examples" if zero_shot else "",
            "" if self.split == "dev" else f"on {self.split}",
        ]
        return " ".join(part for part in parts if part)


@dataclass(frozen=True, slots=True)
class Of:
    """The model to measure: an iteration of a run (0 is the base), with or without examples.

    ``adapter`` is where the iteration's adapter is, if it is not in the run.
    """

    name: str
    number: int
    zero_shot: bool = False
    adapter: Path | None = None


def which(record: reading.RunRecord, name: str) -> Of:
    """``"3"``, ``"best"``, ``"last"``, ``"few-shot"`` (iteration 0) or ``"zero-shot"``.

    Raises:
        RunError: it is none of these, or the run has no such iteration.
    """
    found = store_which.which(record, name)
    record.adapter(found.number)
    return _of(name, found)


def _of(name: str, found: Which) -> Of:
    number = found.number
    words = f"iteration {number}" if number else "iteration 0 (the base)"
    return Of(name if name in BASES else words, number, found.zero_shot)


def attempts(
    learner: Learner, folder: writing.Store, problems: Sequence[Problem], of: Of, how: How
) -> list[Attempt]:
    """The attempts of a model at problems, ``how.samples`` in a row at each."""
    recipe, prompts = learner.recipe, learner.prompts
    if of.zero_shot:
        asked = asking.zero_shot(recipe, prompts)
    else:
        asked = asking.measuring(recipe, prompts, of.number)
    if how.temperature is not None:
        asked = asked.at(how.temperature)
    adapter = of.adapter or (folder.adapter(of.number) if of.number else None)
    kind = how.kind(of.zero_shot)
    if how in (How("dev"), How("dev", limit=recipe.evaluate.dev)):  # as the loop measures
        kind = "zero-shot" if of.zero_shot else "dev"
    return learner.walk(
        problems,
        Pass(
            of.number, kind, "evaluate", adapter, asked, samples=how.samples,
            note=how.note(of.zero_shot),
        ),
    )  # fmt: skip


def chosen(task: Task, recipe: Recipe, how: How) -> Sequence[Problem]:
    """The first ``how.limit`` problems of the split; by default the number the recipe measures on
    dev, and all of test."""
    limit = how.limit
    if limit is None and how.split == "dev":
        limit = recipe.evaluate.dev
    return task.problems(how.split)[:limit]


def entry(
    task: Task,
    problems: Sequence[Problem],
    made: Sequence[Attempt],
    of: Of,
    how: How,
    record: reading.RunRecord,
) -> Result:
    """A result as its file has it; ``test_reads`` counts this one too."""
    return msgspec.structs.replace(
        summary(task, problems, made, how.split, how.samples),
        time=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        run=str(record.path),
        of=of.name,
        iteration=of.number,
        temperature=how.temperature,
        rows_left_out=len(task.skipped()),
        against=[],
        test_reads=record.test_reads() + 1 if how.split == "test" else None,
    )


def on(
    task: Task, learner: Learner, folder: writing.Store, how: How, numbers: Sequence[int]
) -> list[Result]:
    """The results of some iterations, the first compared with every other."""
    record = reading.read(folder.path)
    models = [which(record, str(number)) for number in dict.fromkeys(numbers)]
    asked = chosen(task, learner.recipe, how)
    made = {of: attempts(learner, folder, asked, of, how) for of in models}
    results = [entry(task, asked, made[of], of, how, record) for of in models]
    right = {of: verdicts(task, asked, made[of], how.samples) for of in models}
    first, *others = models
    for of in others:
        results[0].against.append(compare(first.name, right[first], of.name, right[of]))
    return results


def evaluate_run(
    run: Path,
    iteration: str = "best",
    *,
    how: How,
    against: Sequence[str] = (),
    emit: Emit = lambda event: None,
    engine: Engine | None = None,
) -> tuple[Result, Path]:
    """Measure an iteration of a run, compare it with others, and keep the result in the run.

    Args:
        run: the run folder.
        iteration: a number, ``best``, ``last``, ``few-shot`` (iteration 0) or ``zero-shot``.
        how: the split, the samples, the temperature and the number of problems.
        against: models to compare with on the same problems: names as for ``iteration``, the
            baselines ``direct``, ``sft`` and ``rft`` of the run, or the folder of another run (its
            best).

    Returns:
        The result, and its file in the run.

    Raises:
        StarError: no such run, iteration or baseline; or the run's base or data has changed.
    """
    with opened(run, emit, engine) as (task, learner, folder):
        record = reading.read(run)
        of = which(record, iteration)
        others = [_other(name, run) for name in against]  # raises errors before the work
        problems = chosen(task, learner.recipe, how)
        made = attempts(learner, folder, problems, of, how)
        result = entry(task, problems, made, of, how, record)
        right = verdicts(task, problems, made, how.samples)
        for name, elsewhere, other in others:
            if elsewhere is None:
                made = attempts(learner, folder, problems, other, how)
            else:
                with opened(elsewhere, emit, learner.engine) as (_, another, room):
                    made = attempts(another, room, problems, other, how)
            theirs = verdicts(task, problems, made, how.samples)
            result.against.append(compare(of.name, right, name, theirs))
        path = folder.save_result(result)
    return result, path


def _other(name: str, run: Path) -> tuple[str, Path | None, Of]:
    """A model to compare with: its title, its run folder if it is another, and the model."""
    if name in TRAINED:
        elsewhere = names.baseline(run, name)
        if not elsewhere.is_dir():
            raise RunError(
                f"{run} has no baseline {name}: star-mlx baseline {run} --kind {name} makes it"
            )
        return name, elsewhere, which(reading.read(elsewhere), "last")
    if Path(name).is_dir():
        of = which(reading.read(Path(name)), "best")
        return f"{name}, {of.name}", Path(name), of
    if not store_which.is_name(name):
        raise RunError(
            f"nothing is called {name!r}: give --against a number, {', '.join(NAMES)}, one of the "
            f"run's baselines {', '.join(TRAINED)}, or another run's folder"
        )
    of = which(reading.read(run), name)
    return of.name, None, of
