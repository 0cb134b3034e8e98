"""A run: ``star`` connected to an engine, a task, a run folder and a receiver of events."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import date
from pathlib import Path
from typing import Any

from star_mlx import engine as engines
from star_mlx.engine import auto
from star_mlx.errors import RunError
from star_mlx.events import Emit, IterationFinished, Notice, RunFinished, RunStarted
from star_mlx.measure import accuracy, findings, power, verdict
from star_mlx.progress import live_json
from star_mlx.prompts import Prompts
from star_mlx.recipe import asking, opening, provenance
from star_mlx.run import (
    augmented_learner,
    baseline,
    elsewhere,
    few_steps,
    guard,
    passes,
    room,
    unlike,
)
from star_mlx.run import evaluate as measure
from star_mlx.run.augmented_learner import AugmentedLearner
from star_mlx.run.learner import Learner
from star_mlx.settings import Recipe
from star_mlx.star import star
from star_mlx.store import reading, writing
from star_mlx.store.metrics import Metrics
from star_mlx.types import Attempt, Done, Engine, Evaluation, Problem, Task


def choose_run(root: Path, name: str) -> Path:
    """The first of ``root/name-001``, ``root/name-002``, ... that does not exist."""
    number = 1
    while (run := root / f"{name}-{number:03d}").exists():
        number += 1
    return run


def run(recipe: Recipe, run: Path, emit: Emit, *, engine: Engine | None = None) -> Engine:
    """Run the loop of a recipe in a run folder, from its beginning or from where it stopped.

    Args:
        recipe: the settings of the run.
        run: the folder; created if it does not exist.
        emit: called with every event, in order. Anything written to standard error during the run,
            also by ``emit``, goes to ``RUN/log.txt``.
        engine: the language model; by default the recipe's, loaded from disk or the Hub.

    Returns:
        The engine; it trains, and unless servers do, it generates.

    Raises:
        StarError: an error that the user can fix. If it is in the recipe, the task, the prompts,
            the model or the folder, nothing is written.
    """
    started = time.perf_counter()
    task, prompt_set = opening.open_task(recipe)
    exists = writing.check(run)
    begun = exists and bool(reading.read(run).metrics)
    taken_over = None if begun else _taken_over(recipe)
    task.problems("train")  # reports errors in the data before a model is loaded
    augmented_learner.check(recipe, task, prompt_set)
    held_out = augmented_learner.held_out(recipe, task)
    engine = engine or engines.open_base(recipe)
    if exists:
        recipe = opening.as_begun(recipe, reading.read(run))
    else:
        recipe = opening.dated(recipe, prompt_set, engine, date.today())
    prompt_set = opening.in_template(recipe, prompt_set, engine)
    given, recipe = recipe, room.sized(recipe, task, prompt_set, engine)
    values = opening.settled(recipe, task)
    values["provenance"] = provenance.provenance(task, prompt_set, engine, given)
    if exists:
        provenance.refuse_other(record := reading.read(run), values, emit)
        if changed := provenance.older(record):
            emit(Notice("warning", changed))
    ready: AbstractContextManager[Engine] = elsewhere.generating(
        recipe, task, prompt_set, engine, run, emit
    )
    if exists and _over(recipe, reading.read(run)):
        ready = nullcontext(engine)  # there is nothing to generate
    with (
        ready as made_by,
        writing.opened(run, values) as folder,
        live_json.shared(run, emit, ended=bool(folder.reason)) as emit,
        _uncollected(),
    ):
        elsewhere.tell(made_by, emit)
        if taken_over:
            folder.take_over(taken_over, recipe.star.start_iteration - 1)
        learner = Learner(recipe, task, prompt_set, made_by, folder, emit)
        emit(RunStarted(str(run), values, engine.describe(), tuple(folder.metrics)))
        prefix = "" if recipe.endpoints.urls else str(engine.describe().get("prefix", ""))
        if prefix.startswith("copied"):
            emit(Notice("info", f"in every row of a batch, the few-shot prompt is {prefix}"))
        if chosen := auto.words(recipe, given):
            emit(Notice("info", chosen))
        if memory := room.needed(recipe, task, prompt_set, engine):
            emit(Notice("info", memory))
        for notice in opening.about_data(task):
            emit(notice)
        if short := _short(recipe, task, prompt_set, folder):
            emit(Notice("warning", short))
        if not folder.metrics:
            if recipe.star.evaluate and not recipe.baseline:
                dev = task.problems("dev")[: recipe.evaluate.dev]
                emit(Notice("info", power.sentence(len(dev))))
            metrics = learner.iteration_zero()
            folder.finish(metrics)
            emit(IterationFinished(metrics))
        if recipe.baseline:
            reason = baseline.run(recipe, task, prompt_set, learner, folder, emit)
        else:
            augmented = AugmentedLearner(learner, task, held_out, folder, emit)
            reason = _loop(recipe, task, prompt_set, augmented, folder, emit)
        if recipe.evaluate.test and not folder.record().test_reads():
            _test(task, learner, folder, emit)
        folder.end(reason)
        if served := folder.served():
            emit(Notice("info", served.words()))
        judged = verdict.of_run(reading.read(run)).lines
        emit(RunFinished(str(run), reason, time.perf_counter() - started, judged))
    return engine


def _over(recipe: Recipe, record: reading.RunRecord) -> bool:
    """Whether a run has all iterations and measurements of its recipe."""
    last = max((line.iteration for line in record.metrics), default=-1)
    tested = not recipe.evaluate.test or record.test_reads() > 0
    return last >= recipe.star.iterations and tested


def _short(recipe: Recipe, task: Task, prompt_set: Prompts, folder: writing.Store) -> str | None:
    """What is wrong with the length of the iterations to come, if it is known before they begin."""
    if recipe.baseline:
        return None
    last = max((line.iteration for line in folder.metrics), default=0)
    to_come = range(max(recipe.star.start_iteration, last + 1), recipe.star.iterations + 1)
    problems = len(prompt_set.unseen(task.training(())))
    return few_steps.at_start(recipe, problems, to_come)


@contextmanager
def _uncollected() -> Iterator[None]:
    """Exclude existing objects from garbage collection inside the block: it would scan the model's
    parts and the task's problems again and again."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _loop(
    recipe: Recipe,
    task: Task,
    prompt_set: Prompts,
    learner: AugmentedLearner,
    folder: writing.Store,
    emit: Emit,
) -> str:
    """Run Algorithm 1 from the state of the folder, and return why it ended."""
    history = completed(folder, recipe.star.carry_over)
    choose = guard.teacher(recipe.star.on_regression, recipe.star.patience)
    iterations = star(
        learner,
        lambda evaluations: prompt_set.unseen(task.training(evaluations)),
        recipe.star,
        seed=recipe.seed,
        completed=history,
        teacher=choose,
        augment=learner.augment,
    )
    for iteration in iterations:
        done = Done(iteration.number, iteration.trained.adapter, (), iteration.evaluation)
        history.append(done)
        metrics = guard.beside_others(learner.metrics(iteration), history)
        folder.finish(metrics, iteration.direct)
        emit(IterationFinished(metrics))
        if worse := guard.warning(history, recipe.star.on_regression):
            emit(Notice("warning", worse))
        del iteration  # frees its memory before the next one
    if history[-1].number >= recipe.star.iterations:
        return "done"
    return "dev accuracy fell" if guard.regressed(history) else "dev accuracy no longer rises"


def _test(task: Task, learner: Learner, folder: writing.Store, emit: Emit) -> None:
    """Measure the best iteration and the base on the test split, once the loop is over."""
    best = reading.read(folder.path).best
    results = measure.on(task, learner, folder, measure.How("test"), [best, 0])
    for result in results:
        path = folder.save_result(result)
        emit(Notice("info", f"{findings.sentence(result)} ({path})"))


def attempt(
    run: Path,
    problems: Sequence[Problem],
    *,
    iteration: int | None = None,
    hinted: bool = False,
    engine: Engine | None = None,
) -> list[Attempt]:
    """Attempt problems with an iteration's model: the last by default; 0 is the base.

    It is asked as in the run's measurements, or with ``hinted`` as in its rationalization.

    Raises:
        RunError: no run, or no such iteration in it.
    """
    record = reading.read(run)
    recipe = opening.resume_recipe(run)
    _, prompt_set = opening.open_task(recipe)
    number = record.last if iteration is None else iteration
    adapter = record.adapter(number)
    engine = engine or engines.open_base(recipe)
    prompt_set = opening.in_template(recipe, prompt_set, engine)
    how = asking.measuring(recipe, prompt_set, number)
    if hinted:
        how = asking.generating(recipe, prompt_set, few_shot=how.few_shot, hinted=True)
    return passes.attempts(engine, adapter, how, problems, seeds=[recipe.seed] * len(problems))


def ask(
    run: Path, text: str, *, iteration: int | None = None, engine: Engine | None = None
) -> dict[str, Any]:
    """Ask an iteration's model a question as a user types it.

    Returns:
        See ``answer``.

    Raises:
        TaskError: the text is not a question of the run's task.
        RunError: no run, or no such iteration in it.
    """
    task, prompt_set = opening.open_task(opening.resume_recipe(run))
    problem = task.pose(text)
    record = reading.read(run)
    number = record.last if iteration is None else iteration
    [made] = attempt(run, [problem], iteration=number, engine=engine)
    remark = unlike.in_run(task, record, number, problem)
    return answer(prompt_set, problem, number, made, remark)


def answer(
    prompts: Prompts, problem: Problem, iteration: int, made: Attempt, remark: str = ""
) -> dict[str, Any]:
    """An attempt at a question typed by a user, as plain data.

    Returns:
        ``iteration``, ``prompt`` (without the few-shot examples), ``completion``, ``answer`` (None
        if none was found), ``gold`` and ``correct`` (both None if the answer is not known), and
        the ``remark``.
    """
    return {
        "iteration": iteration,
        "prompt": prompts.generation(problem, hinted=False),
        "completion": made.completion,
        "answer": made.answer,
        "gold": problem.answer or None,
        "correct": made.correct if problem.answer else None,
        "remark": remark,
    }


def _taken_over(recipe: Recipe) -> reading.RunRecord | None:
    """The run whose first iterations this one starts from."""
    if recipe.star.start_from is None:
        return None
    record = reading.read(Path(recipe.star.start_from))
    record.adapter(recipe.star.start_iteration - 1)
    return record


def completed(folder: writing.Store, carry_over: int) -> list[Done]:
    """Iteration 0 and the finished iterations, in the form from which ``star`` resumes."""
    numbers = [line.iteration for line in folder.metrics if line.iteration > 0]
    carried = numbers[len(numbers) - carry_over :]
    return [
        Done(
            number=n,
            adapter=folder.adapter(n) if n else None,
            examples=folder.examples(n) if n in carried else (),
            evaluation=_evaluation(folder, line),
        )
        for line in folder.metrics
        for n in [line.iteration]
    ]


def _evaluation(folder: writing.Store, line: Metrics) -> Evaluation | None:
    if line.dev is None:
        return None
    if folder.count(line.iteration, "dev") < line.dev.n:
        raise RunError(
            f"{folder.path} lacks dev attempts of iteration {line.iteration}: star-mlx evaluate "
            f"{folder.path} --iteration {line.iteration} makes them again"
        )
    return accuracy.evaluation(line.dev, folder.verdicts(line.iteration, "dev"))
