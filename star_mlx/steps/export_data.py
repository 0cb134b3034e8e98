"""Write the training set of an iteration from attempts, in star-mlx's format or in common ones."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from star_mlx import engine as engines
from star_mlx.augment.kinds import BACKWARD
from star_mlx.errors import NothingKept, RunError
from star_mlx.events import Emit
from star_mlx.measure import run_problems
from star_mlx.prompts import Prompts
from star_mlx.recipe import opening
from star_mlx.recipe.backward import backward_prompts
from star_mlx.run import learner
from star_mlx.settings import Recipe
from star_mlx.star import kept, union
from star_mlx.steps import Summary, drawn, foreign_rows, named, step_files, warn_of
from star_mlx.store import reading, which
from star_mlx.store.rows import AddedQuestion
from star_mlx.types import Attempt, Engine, Example, Problem, Task

RowFormat = Literal["examples", "prompt-completion", "query-response", "messages"]
FORMATS: tuple[RowFormat, ...] = get_args(RowFormat)


def export(
    recipe: Recipe,
    attempts: Sequence[Path],
    out: Path,
    *,
    iteration: int,
    carry: Sequence[Path] = (),
    format: RowFormat = "examples",
    force: bool = False,
    emit: Emit = lambda event: None,
    engine: Engine | None = None,
) -> Summary:
    """Write the training examples of attempts.

    Args:
        recipe: the settings that the attempts were made with.
        attempts: files of attempts, direct and hinted. With those of a run, the new questions of
            the same iteration are read from the file beside them.
        out: the JSONL file of examples; written atomically.
        iteration: n of Algorithm 1.
        carry: the examples of the ``star.carry_over`` iterations before, the oldest first.
        format: ``examples`` is the format of a run, with the tokens as they were generated.
        force: whether ``out`` may be overwritten.
        emit: called with every event.
        engine: the language model, only needed with ``prompts.chat``; by default the recipe's.

    Raises:
        NothingKept: no attempt may be trained on.
        StarError: any other error that the user can fix.
    """
    step_files.check(out, force)
    wanted = min(recipe.star.carry_over, iteration - 1)
    if len(carry) != wanted:
        raise RunError(
            f"iteration {iteration} with star.carry_over={recipe.star.carry_over} also trains on "
            f"the examples of {wanted} earlier iterations: give --carry FILE for each, not "
            f"{len(carry)}"
        )
    made = sorted(step_files.attempts(attempts), key=lambda attempt: attempt.hinted)
    task, prompt_set = opening.open_task(recipe)
    added = {one.id: one for path in attempts for one in step_files.questions_beside(path)}
    problems = named(task, made, attempts[0], added)
    asked = [problem for problem in problems if problem.id not in added]
    warn_of(asked, drawn(task, prompt_set, recipe, iteration), iteration, emit)
    prompts = prompt_set
    if recipe.prompts.chat:  # only the chat template of the model is used
        prompts = opening.in_template(recipe, prompt_set, engine or engines.open_base(recipe))
    prompts_of = _own_prompts(task, prompts, added)

    def example(problem: Problem, attempt: Attempt, **more: Any) -> Example:
        own_prompts = prompts_of.get(problem.id, prompts)
        return learner.example(recipe, own_prompts, problem, attempt, **more)

    own = kept(example, problems, made, recipe.star, recipe.seed, iteration)
    if not own:
        raise NothingKept(f"none of the {len(made)} attempts may be trained on: none ended right")
    examples = union(tuple(e for path in carry for e in _latest(path)), own)
    rows = shaped(examples, format, task, prompts, recipe.star.few_shot_train, added)
    step_files.write(out, rows)
    return {"command": "export-data", "iteration": iteration, **_counts(examples), "out": str(out)}


def export_run(
    run: Path, iteration: str, out: Path, *, format: RowFormat = "examples", force: bool = False
) -> Summary:
    """Write the training set of a finished iteration of a run: a number, ``best`` or ``last``.

    Raises:
        StarError: no such run or iteration, or the run's base, data or prompts have changed.
    """
    step_files.check(out, force)
    record = reading.read(run)
    number = which.number(record, iteration)
    if number == 0:
        raise RunError(f"iteration 0 of {run} is the base: it was trained on nothing")
    recipe = opening.resume_recipe(run)
    examples = tuple(record.examples(number))
    if format in ("examples", "prompt-completion"):
        rows = [_row(example, format) for example in examples]
    else:
        task, prompt_set = opening.open_task(recipe)
        prompts = opening.in_turns(recipe, prompt_set)
        added = run_problems.added_questions(record)
        rows = shaped(examples, format, task, prompts, recipe.star.few_shot_train, added)
    step_files.write(out, rows)
    return {"command": "export-data", "iteration": number, **_counts(examples), "out": str(out)}


def _own(path: Path) -> tuple[Example, ...]:
    """Read the examples of a file written by ``export``.

    Raises:
        TaskError: the file cannot be read.
        RunError: it has other rows.
    """
    rows = foreign_rows.read(path)
    found = tuple(row for row in rows if isinstance(row, Example))
    if len(found) < len(rows):
        raise RunError(f"{path} has rows that are not examples of star-mlx export-data")
    return found


def _latest(path: Path) -> list[Example]:
    """The examples that a file's own iteration kept, without those carried over."""
    examples = _own(path)
    number = max(example.iteration for example in examples)
    return [example for example in examples if example.iteration == number]


def _counts(examples: Sequence[Example]) -> Summary:
    return {"examples": len(examples), "sources": dict(Counter(e.source for e in examples))}


# --------------------------------------------------------------------------- formats


def shaped(
    examples: Sequence[Example],
    format: RowFormat,
    task: Task,
    prompts: Prompts,
    few_shot: bool,
    added: Mapping[str, AddedQuestion] = {},
) -> list[dict[str, Any]]:
    """Convert examples to rows of a format; ``added`` are the questions that a run added to the
    problems of its task.

    ``query-response`` has the question alone, and ``messages`` the turns for a chat template.

    Raises:
        RunError: the task no longer has the problem of an example.
    """
    if format in ("examples", "prompt-completion"):
        return [_row(example, format) for example in examples]
    known = {problem.id: problem for problem in task.problems("train")}
    known |= {id: one.problem for id, one in added.items()}
    if unknown := [e.id for e in examples if e.id not in known]:
        raise RunError(f"the task {task.name} has no training problem {unknown[0]!r} any more")
    if format == "query-response":
        return [
            {"id": e.id, "query": known[e.id].question.as_text(), "response": e.completion}
            for e in examples
        ]
    own = _own_prompts(task, prompts, added)
    return [_messages(e, known[e.id], own.get(e.id, prompts), few_shot) for e in examples]


def _own_prompts(
    task: Task, prompts: Prompts, added: Mapping[str, AddedQuestion]
) -> dict[str, Prompts]:
    """The prompts of the questions for x among those that a run added, by id."""
    backward = [id for id, one in added.items() if one.kind in BACKWARD]
    return dict.fromkeys(backward, backward_prompts(task, prompts)) if backward else {}


def _row(example: Example, format: RowFormat) -> dict[str, Any]:
    whole = dataclasses.asdict(example)
    return whole if format == "examples" else {k: whole[k] for k in ("id", "prompt", "completion")}


def _messages(
    example: Example, problem: Problem, prompts: Prompts, few_shot: bool
) -> dict[str, Any]:
    if example.hint_shown:
        turns = prompts.turns(problem, hinted=True, few_shot=few_shot)
    else:
        turns = prompts.training_turns(problem.question, few_shot=few_shot)
    turns.append(("assistant", example.completion))
    return {
        "id": example.id,
        "messages": [{"role": role, "content": content} for role, content in turns],
    }
