"""A run: ``star`` wired to an engine, a task, the run folder and whoever listens to the events."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import sys
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from star_mlx import baseline, evaluate, guard, prompts, store, tasks
from star_mlx.recipe import Recipe, from_resolved, resolved
from star_mlx.recipe import differences as recipe_differences
from star_mlx.star import star
from star_mlx.student import Student, decoding, judge
from star_mlx.types import (
    Attempt,
    Done,
    Emit,
    Engine,
    Evaluation,
    IterationFinished,
    Notice,
    Problem,
    PromptError,
    RunError,
    RunFinished,
    RunStarted,
    Task,
)

PACKAGES = ("star-mlx", "mlx", "mlx-lm", "transformers", "numpy")


def choose_run(root: Path, name: str) -> Path:
    """The first of ``root/name-001``, ``root/name-002``, ... that does not exist."""
    number = 1
    while (run := root / f"{name}-{number:03d}").exists():
        number += 1
    return run


def run(recipe: Recipe, run: Path, emit: Emit, *, engine: Engine | None = None) -> None:
    """Run the loop of a recipe in a run folder, from its beginning or from where it stopped.

    Args:
        recipe: what to do.
        run: the folder; made if it is not there.
        emit: called with every event, in order.
        engine: the language model; by default the recipe's, loaded from disk or the Hub.

    Raises:
        StarError: what the user can mend. Nothing is written where the recipe, the task, the
            prompts, the model or the folder is at fault.
    """
    started = time.perf_counter()
    task, prompt_set = open_task(recipe)
    exists = store.check(run)
    begun = exists and bool(store.read(run).metrics)
    taken_over = None if begun else _taken_over(recipe)
    task.problems("train")  # what is wrong with the data is said before a model is loaded
    engine = engine or open_engine(recipe)
    prompt_set = in_template(recipe, prompt_set, engine)
    values = settled(recipe, task)
    values["provenance"] = provenance(task, prompt_set, engine)
    if exists:
        refuse_other(store.read(run), values, emit)
    with store.opened(run, values) as folder:
        if taken_over:
            folder.take_over(taken_over, recipe.star.start_iteration - 1)
        student = Student(recipe, task, prompt_set, engine, folder, emit)
        emit(RunStarted(str(run), values, engine.describe(), tuple(folder.metrics)))
        if skipped := task.skipped():
            emit(Notice("warning", f"{len(skipped)} rows left out: {'; '.join(skipped[:3])}"))
        if not folder.metrics:
            metrics = student.iteration_zero()
            folder.finish(metrics)
            emit(IterationFinished(metrics))
        work = baseline.run if recipe.baseline else _loop
        reason = work(recipe, task, prompt_set, student, folder, emit)
        folder.journal("finished", reason=reason)
    emit(RunFinished(str(run), reason, time.perf_counter() - started))


def _loop(
    recipe: Recipe,
    task: Task,
    prompt_set: prompts.Prompts,
    student: Student,
    folder: store.Store,
    emit: Emit,
) -> str:
    """Algorithm 1 from where the folder stands; why it ended."""
    shown = {shot.id for shot in prompt_set.examples}  # examples drawn from the data

    def problems(evaluations: Sequence[Evaluation | None]) -> Sequence[Problem]:
        return [p for p in task.training(evaluations) if p.id not in shown]

    history = completed(folder, recipe.star.carry_over)
    choose = guard.teacher(recipe.star.on_regression, recipe.star.patience)
    iterations = star(
        student,
        problems,
        recipe.star.options(),
        seed=recipe.seed,
        completed=history,
        teacher=choose,
    )
    for iteration in iterations:
        done = Done(iteration.number, iteration.trained.adapter, (), iteration.evaluation)
        history.append(done)
        metrics = student.metrics(iteration) | guard.entry(history)
        folder.finish(metrics, iteration.direct)
        emit(IterationFinished(metrics))
        if worse := guard.warning(history, recipe.star.on_regression):
            emit(Notice("warning", worse))
    if history[-1].number >= recipe.star.iterations:
        return "done"
    return "dev accuracy fell" if guard.regressed(history) else "dev accuracy no longer rises"


def settled(recipe: Recipe, task: Task) -> dict[str, Any]:
    """Every value of a recipe as plain data, the task's own defaults included."""
    values = resolved(recipe)
    values["task"]["options"] = dict(task.settings())
    return values


def open_task(recipe: Recipe) -> tuple[Task, prompts.Prompts]:
    """The recipe's task with its few-shot prompts, as plain text."""
    from star_mlx.resources import prompts_dir

    task = tasks.make(recipe.task.name, recipe.task.options)
    spec, direct = recipe.prompts, recipe.star.direct or recipe.baseline == "direct"
    file = Path(spec.file) if spec.file else prompts_dir() / task.name / "few_shot.yaml"
    if recipe.baseline == "zero-shot" or spec.k == 0:
        found = prompts.Prompts(task, (), direct, zero_shot=True)
    elif spec.k:
        found = prompts.drawn(task, spec.k, spec.seed, direct=direct)
    elif spec.file is None and not file.is_file():
        raise PromptError(
            f"the task {task.name} has no few-shot examples of its own: give prompts.file=FILE, or "
            "prompts.k=N to draw N from the data"
        )
    else:
        found = prompts.load(file, task, direct=direct)
    return task, found


def in_template(
    recipe: Recipe, prompt_set: prompts.Prompts, engine: Engine
) -> prompts.Prompts:
    """The prompts in the engine's chat template, where the recipe asks for that."""
    if not recipe.prompts.chat:
        return prompt_set
    chat = functools.partial(_chat, engine)
    return dataclasses.replace(prompt_set, chat=chat, system=recipe.prompts.system)


def _chat(engine: Engine, turns: Sequence[tuple[str, str]], reply: bool) -> str:
    return engine.chat(turns, reply=reply)


def task_named(name: str, data: str | None = None) -> Task:
    """A task by its name, or that of a recipe file, with its data where ``data`` says."""
    from star_mlx import recipe as recipes

    spec = recipes.load(task=name, data=data).task
    return tasks.make(spec.name, spec.options)


def open_engine(recipe: Recipe) -> Engine:
    """The recipe's model on this machine."""
    from star_mlx import engine

    model = recipe.model
    return engine.open_engine(
        model.path, revision=model.revision, trust_remote_code=model.trust_remote_code
    )


def resume_recipe(run: Path) -> Recipe:
    """The recipe a run folder was made with."""
    return from_resolved({k: v for k, v in store.read(run).recipe.items() if k != "provenance"})


def attempt(
    run: Path,
    problems: Sequence[Problem],
    *,
    iteration: int | None = None,
    hinted: bool = False,
    engine: Engine | None = None,
) -> list[Attempt]:
    """Attempt problems with an iteration's model, as the run does: the last by default, 0 the base.

    Raises:
        RunError: no run, or no such iteration in it.
    """
    record = store.read(run)
    recipe = resume_recipe(run)
    task, prompt_set = open_task(recipe)
    number = record.last if iteration is None else iteration
    adapter = record.adapter(number)
    engine = engine or open_engine(recipe)
    prompt_set = in_template(recipe, prompt_set, engine)
    drop = recipe.star.drop_few_shot_from
    prefix, asked = prompt_set.batch(
        problems, hinted=hinted, few_shot=drop is None or number < drop
    )
    completions = engine.generate(
        asked,
        decoding(recipe, prompt_set),
        prefix=prefix,
        adapter=adapter,
        seeds=[recipe.seed] * len(problems),
        progress=lambda done, tokens: None,
    )
    pairs = zip(problems, completions, strict=True)
    return [judge(task, problem, c, hinted=hinted) for problem, c in pairs]


def ask(run: Path, text: str, *, iteration: int | None = None) -> dict[str, Any]:
    """Ask an iteration's model a question as a person types it.

    Returns:
        ``iteration``, ``prompt`` (without the few-shot examples), ``completion``, ``answer`` (None
        where none was found), ``gold`` and ``correct`` (both None where the answer is not known).

    Raises:
        TaskError: the text is no question of the run's task.
        RunError: no run, or no such iteration in it.
    """
    task, prompt_set = open_task(resume_recipe(run))
    problem = task.pose(text)
    number = store.read(run).last if iteration is None else iteration
    [made] = attempt(run, [problem], iteration=number)
    return {
        "iteration": number,
        "prompt": prompt_set.generation(problem, hinted=False),
        "completion": made.completion,
        "answer": made.answer,
        "gold": problem.answer or None,
        "correct": made.correct if problem.answer else None,
    }


def provenance(task: Task, prompt_set: prompts.Prompts, engine: Engine) -> dict[str, Any]:
    """What a run depends on beyond its recipe: versions, and the hashes of base, data, prompts."""
    data = hashlib.sha256()
    for split in ("train", "dev"):
        for problem in task.problems(split):
            data.update(f"{split}\0{problem.id}\0{problem.question}\0{problem.answer}\n".encode())
    return {
        "versions": {name: _version(name) for name in PACKAGES}
        | {"python": ".".join(map(str, sys.version_info[:3]))},
        "base": dict(engine.describe()),
        "data_sha256": data.hexdigest(),
        "prompts_sha256": prompt_set.digest(),
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def refuse_other(record: store.RunRecord, values: Mapping[str, Any], emit: Emit) -> None:
    """Refuse to go on with a run that another recipe, base, data or prompts made."""
    then, now = dict(record.recipe), dict(values)
    made, make = then.pop("provenance", {}), now.pop("provenance")
    differ = recipe_differences(then, now)
    same = ("data_sha256", "prompts_sha256")
    differ += [f"{key} (the content has changed)" for key in same if made.get(key) != make[key]]
    if made.get("base", {}).get("hash") != make["base"]["hash"]:
        differ.append("the base model's content")
    if differ:
        raise RunError(
            f"{record.path} was made with another recipe; what differs: {'; '.join(differ)}. "
            "Give another --run, or the same recipe"
        )
    if made.get("versions") != make["versions"]:
        then_now = [
            f"{name} {made.get('versions', {}).get(name)} -> {value}"
            for name, value in make["versions"].items()
            if made.get("versions", {}).get(name) != value
        ]
        emit(Notice("warning", f"versions differ from the run's start: {', '.join(then_now)}"))


def _taken_over(recipe: Recipe) -> store.RunRecord | None:
    """The run whose first iterations this one starts from."""
    if recipe.star.start_from is None:
        return None
    record = store.read(Path(recipe.star.start_from))
    record.adapter(recipe.star.start_iteration - 1)
    return record


def completed(folder: store.Store, carry_over: int) -> list[Done]:
    """Iteration 0 and the finished ones, as ``star`` is resumed with them."""
    numbers = [line["iteration"] for line in folder.metrics if line["iteration"] > 0]
    carried = numbers[len(numbers) - carry_over :]
    return [
        Done(
            number=n,
            adapter=folder.adapter(n) if n else None,
            examples=folder.examples(n) if n in carried else (),
            evaluation=_evaluation(folder, line),
        )
        for line in folder.metrics
        for n in [line["iteration"]]
    ]


def _evaluation(folder: store.Store, line: Mapping[str, Any]) -> Evaluation | None:
    if "eval" not in line:
        return None
    return evaluate.from_json(line["eval"], folder.attempts(line["iteration"], "dev"))
