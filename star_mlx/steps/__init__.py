"""The steps of an iteration one by one, with plain files between them.

Each step does what ``star.star`` does, by the same functions with the same chunks and seeds, so an
iteration done by hand is byte-identical to the loop's. While a step generates, its finished chunks
are in ``OUT.unfinished``, a run folder from which the same command continues.

May import ``run`` and what is below it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec

from star_mlx import engine as engines
from star_mlx.errors import RecipeError, TaskError
from star_mlx.events import Emit, Notice
from star_mlx.measure import findings
from star_mlx.prompts import Prompts
from star_mlx.recipe import opening, provenance
from star_mlx.run import elsewhere
from star_mlx.run import evaluate as measure
from star_mlx.run.learner import Learner
from star_mlx.run.room import sized
from star_mlx.settings import Recipe
from star_mlx.star import failures, in_front, sample
from star_mlx.steps import step_files
from star_mlx.steps.step_files import Summary, quiet
from star_mlx.steps.training import train
from star_mlx.store import rows, writing
from star_mlx.store.results import Result
from star_mlx.store.rows import AddedQuestion
from star_mlx.store.which import BASES
from star_mlx.types import Attempt, Engine, Problem, Task

__all__ = [
    "Summary", "at_work", "drawn", "evaluate", "generate", "named", "quiet", "rationalize", "train",
    "warn_of",
]  # fmt: skip


def generate(
    recipe: Recipe,
    out: Path,
    *,
    iteration: int,
    adapter: Path | None = None,
    force: bool = False,
    emit: Emit = quiet,
    engine: Engine | None = None,
) -> Summary:
    """Attempt the problems of an iteration and write the attempts.

    Args:
        recipe: the settings.
        out: the JSONL file of attempts; written atomically.
        iteration: n of Algorithm 1: it sets which problems are drawn, the seeds, and whether the
            few-shot prompt is in front.
        adapter: the folder of M_{n-1}'s adapter; None is the base.
        force: whether ``out``, and unfinished work of another command on it, may be overwritten.
        emit: called with every event.
        engine: the language model; by default the recipe's.

    Raises:
        StarError: an error that the user can fix.
    """
    step = {"command": "generate", "iteration": iteration}
    with at_work(recipe, out, step, adapter, force, emit, engine) as (task, learner):
        problems = drawn(task, learner.prompts, recipe, iteration)
        few_shot = in_front(recipe.star, iteration, _teacher(iteration, adapter))
        made = learner.attempt(
            problems, adapter, iteration=iteration, hinted=False, few_shot=few_shot
        )
        step_files.write(out, rows.attempts(made))
    return {**step, "problems": len(problems), **_counts(made), "out": str(out)}


def rationalize(
    recipe: Recipe,
    attempts: Path,
    out: Path,
    *,
    iteration: int,
    adapter: Path | None = None,
    force: bool = False,
    emit: Emit = quiet,
    engine: Engine | None = None,
) -> Summary:
    """Attempt the failures among direct ``attempts`` again, with their answers as hints.

    The arguments are those of ``generate``.

    Raises:
        StarError: an error that the user can fix.
    """
    if recipe.star.rationalize and not recipe.star.rationalizes(iteration):
        raise RecipeError(
            f"iteration {iteration} is after the last that rationalizes "
            f"(star.rationalize_until={recipe.star.rationalize_until})"
        )
    if not recipe.star.rationalize:
        raise RecipeError("the recipe has star.rationalize=false: --set star.rationalize=true")
    direct = [a for a in step_files.attempts([attempts]) if not a.hinted]
    content = hashlib.sha256(attempts.read_bytes()).hexdigest()
    step = {"command": "rationalize", "iteration": iteration}
    about = {**step, "attempts": content}
    with at_work(recipe, out, about, adapter, force, emit, engine) as (task, learner):
        problems = named(task, direct, attempts)
        warn_of(problems, drawn(task, learner.prompts, recipe, iteration), iteration, emit)
        failed = failures(problems, direct, recipe.star, recipe.seed, iteration)
        few_shot = in_front(recipe.star, iteration, _teacher(iteration, adapter))
        made = learner.attempt(failed, adapter, iteration=iteration, hinted=True, few_shot=few_shot)
        step_files.write(out, rows.attempts(made))
    return {**step, "problems": len(problems), "failed": len(failed), **_counts(made),
            "out": str(out)}  # fmt: skip


def evaluate(
    recipe: Recipe,
    adapter: Path,
    *,
    iteration: int = 1,
    how: measure.How,
    against: Sequence[str] = (),
    emit: Emit = quiet,
    engine: Engine | None = None,
) -> Result:
    """Measure an adapter that is in no run, as the loop measures that of an iteration.

    Args:
        recipe: the task, the base, and how to measure.
        adapter: the adapter's folder.
        iteration: the one it was trained in, which sets whether the few-shot prompt is in front.
        how: the split, the samples, the temperature and the number of problems.
        against: ``few-shot`` or ``zero-shot`` (the base), or another adapter's folder.
        emit, engine: as in ``generate``.

    Raises:
        StarError: an error that the user can fix.
    """
    models = [_of(str(adapter), iteration), *(_of(name, iteration) for name in against)]
    task, prompt_set = opening.open_task(recipe)
    problems = measure.chosen(task, recipe, how)
    engine = engine or engines.open_base(recipe)
    prompt_set = opening.in_template(recipe, prompt_set, engine)
    recipe = sized(recipe, task, prompt_set, engine)
    made: list[Sequence[Attempt]] = []
    for of in models:
        with TemporaryDirectory() as room, writing.opened(Path(room) / "run", {}) as folder:
            learner = Learner(recipe, task, prompt_set, engine, folder, emit)
            made.append(measure.attempts(learner, folder, problems, of, how))
    right = [findings.verdicts(task, problems, m, how.samples) for m in made]
    others = zip(models[1:], right[1:], strict=True)
    return msgspec.structs.replace(
        findings.summary(task, problems, made[0], how.split, how.samples),
        of=models[0].name,
        iteration=iteration,
        against=[findings.compare(models[0].name, right[0], o.name, v) for o, v in others],
    )


def _of(name: str, iteration: int) -> measure.Of:
    """The base with or without examples, or the adapter in a folder."""
    if name in BASES:
        return measure.Of(name, 0, zero_shot=BASES[name].zero_shot)
    step_files.content(Path(name))
    return measure.Of(name, iteration, adapter=Path(name))


# --------------------------------------------------------------------------- problems and attempts


def drawn(task: Task, prompts: Prompts, recipe: Recipe, iteration: int) -> list[Problem]:
    """The problems that an iteration attempts, in order; of a task that grows, its first ones."""
    return sample(prompts.unseen(task.training([])), recipe.star, recipe.seed, iteration)


def named(
    task: Task,
    attempts: Sequence[Attempt],
    path: Path,
    added: Mapping[str, AddedQuestion] = {},
) -> list[Problem]:
    """The attempted problems, in the order of the attempts; ``added`` are those that a run added to
    the problems of its task.

    Raises:
        TaskError: the task does not have one of them.
    """
    known = {problem.id: problem for problem in task.problems("train")}
    known |= {id: one.problem for id, one in added.items()}
    ids = dict.fromkeys(attempt.id for attempt in attempts)
    if unknown := [name for name in ids if name not in known]:
        raise TaskError(
            f"{path}: the task {task.name} has no training problem {unknown[0]!r} "
            f"({len(unknown)} of {len(ids)} are unknown): give the task options and the data that "
            "the attempts were made with"
        )
    return [known[name] for name in ids]


def warn_of(problems: Sequence[Problem], lot: Sequence[Problem], n: int, emit: Emit) -> None:
    """Warn if some problems are not among those that the iteration draws."""
    ids = {problem.id for problem in lot}
    if others := sum(problem.id not in ids for problem in problems):
        text = (
            f"{others} of {len(problems)} problems are not among those that iteration {n} draws: "
            "the result is not that of the loop unless --iteration, --seed and star.problems are "
            "those of the attempts"
        )
        emit(Notice("warning", text))


def _teacher(iteration: int, adapter: Path | None) -> int:
    """The iteration whose adapter generates: the one before, or 0, the base, without one."""
    return 0 if adapter is None else iteration - 1


def _counts(made: Sequence[Attempt]) -> Summary:
    return {
        "attempts": len(made),
        "correct": sum(a.correct for a in made),
        "kept": sum(a.kept for a in made),
        "parse_failures": sum(a.answer is None for a in made),
        "truncated": sum(a.finish == "length" for a in made),
        "tokens": sum(len(a.token_ids) for a in made),
    }


@contextmanager
def at_work(
    recipe: Recipe,
    out: Path,
    about: Mapping[str, Any],
    adapter: Path | None,
    force: bool,
    emit: Emit,
    engine: Engine | None,
) -> Iterator[tuple[Task, Learner]]:
    """The task and the learner of a step, whose finished chunks are in ``OUT.unfinished``."""
    step_files.check(out, force)
    about = {**about, "adapter": None if adapter is None else step_files.content(adapter)}
    task, prompt_set = opening.open_task(recipe)
    task.problems("train")  # reports errors in the data before a model is loaded
    engine = engine or engines.open_base(recipe)
    prompt_set = opening.in_template(recipe, prompt_set, engine)
    recipe = sized(recipe, task, prompt_set, engine)
    made_from = provenance.provenance(task, prompt_set, engine)
    values = opening.settled(recipe, task) | {"provenance": made_from, "step": about}
    for notice in opening.about_data(task):
        emit(notice)
    if adapter is None and about["iteration"] > 1:
        text = f"iteration {about['iteration']} without --adapter: the base generates"
        emit(Notice("warning", text))
    with (
        elsewhere.uncompared(recipe, engine, emit) as made_by,
        step_files.unfinished(out, values, force) as folder,
    ):
        yield task, Learner(recipe, task, prompt_set, made_by, folder, emit)
        if served := folder.served():
            emit(Notice("info", served.words()))
