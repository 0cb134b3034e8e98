"""``star-mlx init-task``: write a commented recipe of the task ``jsonl`` for a data file.

Every guess is in the recipe with its reason; a recipe is only written if it can be loaded.

May import ``engine``, ``recipe``, ``tasks``, ``data`` and what is below them.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import yaml

from star_mlx import data
from star_mlx.errors import TaskError
from star_mlx.formatting import program
from star_mlx.init_task.data_files import (
    DataFiles,
    beside_notes,
    data_files,
    dev_size,
    held_out_size,
)
from star_mlx.init_task.guess import Guess, guess
from star_mlx.init_task.names import CHOICES, bare, is_text
from star_mlx.init_task.recipe_text import MODEL, SHOTS, Contents, examples, recipe_text
from star_mlx.init_task.shown import ShownProblem, shown_problems
from star_mlx.init_task.wordings import refuse_unread
from star_mlx.recipe import loading
from star_mlx.store import files
from star_mlx.tasks.jsonl import Jsonl
from star_mlx.tasks.jsonl_options import JsonlOptions
from star_mlx.types import Problem, Split

SAMPLE = 200


@dataclass(frozen=True, slots=True)
class NewRecipe:
    """The written files, what is in them, and the command to run next.

    Args:
        recipe, prompts: the files; there are no prompts if the data has rationales.
        path, test: the data files that are taken, and those of the test split if it has its own.
        problems, distinct: how many problems the data has, and different questions in them.
        splits: the problems of each split; none are left out for asking the same.
        shown: problems as the model sees them.
        unused: the fields that are no part of a problem.
        skipped: the rows that cannot be used, each with its reason.
        notes: what to know about the data.
        command: to run next.
    """

    recipe: Path
    prompts: Path | None
    path: Path
    test: Path | None
    problems: int
    distinct: int
    splits: dict[Split, int]
    shown: tuple[ShownProblem, ...]
    unused: tuple[str, ...]
    skipped: tuple[str, ...]
    notes: tuple[str, ...]
    command: str


def init_task(
    file: Path,
    out: Path,
    *,
    model: str | None = None,
    question: str | None = None,
    answer: str | None = None,
    choices: Sequence[str] = (),
    delimiter: str | None = None,
    encoding: str | None = None,
    read: str | None = None,
    force: bool = False,
) -> NewRecipe:
    """Write a recipe for a data file, and a file of few-shot examples if it has no rationales.

    Args:
        file: the data: a file, a folder, or a pattern of names.
        out: the recipe to write; beside it ``<stem>-prompts.yaml``.
        model: the base; by default a small one on the Hub.
        question: its field, several after commas, or a template of fields, if it should not be
            guessed.
        answer, choices: names of fields, if they should not be guessed.
        delimiter: between the cells of a CSV file; by default it is found in the file.
        encoding: of the text, if it is not UTF-8.
        read: how answers are read, as ``read.kind``, if it should not be guessed.
        force: overwrite existing files.

    Raises:
        TaskError: a file to write exists, the data cannot be read, or no guess is possible.
    """
    prompts = out.with_name(f"{out.stem}-prompts.yaml")
    _check_out(out, prompts, force)
    if encoding is not None and not data.encoding.known(encoding):
        raise TaskError(f"--encoding {encoding!r} is no encoding of text, such as cp1252 or utf-16")
    where = data_files(file.expanduser(), delimiter, encoding)
    rows = [row.values for row in islice(where.rows(), SAMPLE)]
    usable = [row for row in rows if not isinstance(row, str)]
    if not usable:
        lines = where.path.suffix.lower() == ".jsonl" and "is not JSON" in str(rows[0])
        more = "; a list of objects over several lines is .json" if lines else ""
        raise TaskError(
            f"{file}: none of the first {len(rows)} rows can be read: it {rows[0]}{more}"
        )
    found = guess(usable, question=question, answer=answer, choices=choices, read=read)
    whole, problems = _read(where, found)
    refuse_unread(whole, problems)
    skipped = tuple(whole.skipped())
    distinct = len({problem.question for problem in problems})
    task, notes = _split(whole, where.tests, distinct)
    train = task.problems("train")
    shots = None if _with_rationale(task, train) == SHOTS else _varied(train)
    made = Contents(file, where, found, task, len(problems), len(train), skipped)
    text = recipe_text(made, out, model, prompts if shots else None)
    _check(text, task)
    out.parent.mkdir(parents=True, exist_ok=True)
    if shots:
        files.replace(prompts, examples(shots).encode())
    files.replace(out, text.encode())
    return NewRecipe(
        recipe=out,
        prompts=prompts if shots else None,
        path=where.path,
        test=Path(task.options.test) if isinstance(task.options.test, str) else None,
        problems=len(problems),
        distinct=distinct,
        splits=_sizes(task),
        shown=tuple(shown_problems(task, train, model or MODEL)),
        unused=found.unused,
        skipped=skipped,
        notes=(*notes, *_notes(found, usable), *_shipped_notes(usable), *beside_notes(file)),
        command=f"{program()} loop --recipe {shlex.quote(str(out))} --smoke",
    )


def _check_out(out: Path, prompts: Path, force: bool) -> None:
    if out.suffix not in (".yaml", ".yml"):
        raise TaskError(f"--out {out}: a recipe's name ends in .yaml")
    for path in (out, prompts):
        if path.is_dir() or (path.exists() and not force):
            how = "" if path.is_dir() else ", or write over it with --force"
            raise TaskError(f"{path} exists: give another name with --out{how}")


def _read(where: DataFiles, found: Guess) -> tuple[Jsonl, list[Problem]]:
    """The task as guessed and all problems of the file; rows that cannot be used are skipped."""
    options = {"path": str(where.path), "fields": found.fields, "read": found.read}
    form = where.options()
    task = Jsonl(JsonlOptions.model_validate({**options, **form, "on_bad_row": "skip"}))
    problems = task.all_problems()
    if len(problems) < 2:
        raise TaskError(f"{where.path} holds one problem that can be used: two are the least")
    return task, problems


def _split(whole: Jsonl, tests: Sequence[Path], distinct: int) -> tuple[Jsonl, list[str]]:
    """The task with its splits: a test file of the data if one can be used, else cut from path.

    The second value says why a test file is not used.
    """
    bad: data.OnBadRow = "skip" if whole.skipped() else "fail"
    notes = []
    for test in tests:
        task = whole.cut_anew(str(test), dev_size(distinct), bad)
        try:
            task.problems("test")
            task.problems("train")
        except TaskError as error:  # the test files of public data sets often lack the answers
            notes.append(f"{test} is not used: {error}")
            continue
        return task, notes
    test_n = held_out_size(distinct)
    dev = dev_size(distinct - (test_n or 0))
    return whole.cut_anew(test_n, dev, bad), notes


def _sizes(task: Jsonl) -> dict[Split, int]:
    splits: tuple[Split, ...] = ("train", "dev", "test")
    there = splits if task.options.test is not None else splits[:2]
    return {split: len(task.problems(split)) for split in there}


def _with_rationale(task: Jsonl, problems: Sequence[Problem]) -> int:
    """The number of problems with a rationale that ends in their answer, up to ``SHOTS``."""
    count = 0
    for p in problems:
        if p.rationale is not None and count < SHOTS:
            read = task.read(task.worked(p.rationale, p.answer), p.question)
            count += read is not None and task.equal(read, p.answer)
    return count


def _varied(problems: Sequence[Problem]) -> list[Problem]:
    """The first problems, with different answers if there are any: a model copies one that is
    always the same."""
    first: dict[str, Problem] = {}
    for problem in problems:
        first.setdefault(problem.answer, problem)
    others = [problem for problem in problems if first[problem.answer] is not problem]
    return [*first.values(), *others][:SHOTS]


def _check(text: str, task: Jsonl) -> None:
    """Check that a recipe loads, and means the task that it is written of."""
    options = loading.load(base=yaml.safe_load(text)).task.options
    again = Jsonl(JsonlOptions(**options)).options
    same = {"path": task.options.path, "hint": task.options.hint}
    if isinstance(task.options.test, str):
        same["test"] = task.options.test  # both are relative to the recipe in its text
    if again.model_copy(update=same) != task.options:
        raise AssertionError(f"the recipe does not mean the task that it is written of: {text}")


def _notes(found: Guess, rows: Sequence[Any]) -> tuple[str, ...]:
    """What is in the data and not in the questions, if it is a part of how they are asked."""
    for name in found.unused:
        if bare(name) in CHOICES and "choices" not in found.fields:
            return (_no_choices(found, name, [data.value_of(row, name) for row in rows]),)
        outer, _, role = name.rpartition(".")
        if role == "system" and f"{outer}." in str(found.fields["question"]):
            said = next((v for row in rows if (v := data.value_of(row, name))), "")
            start = " ".join(str(said).split())[:60]
            return (
                f"the system turn ({start!r}) is not part of the questions: give it as "
                "prompts.system with prompts.chat=true if the model should be asked with it",
            )
    return ()


def _shipped_notes(rows: Sequence[Any]) -> tuple[str, ...]:
    """A note on rows that a task of the package reads as they are."""
    fields = {"problem", "level", "solution"}
    if not all(fields <= row.keys() and "\\boxed" in str(row["solution"]) for row in rows):
        return ()
    return (
        "these are rows of MATH, which the task math reads as they are: put them into a folder as "
        "train.jsonl and test.jsonl, and give --task math --data FOLDER",
    )


def _no_choices(found: Guess, name: str, values: Sequence[Any]) -> str:
    """The note on choices that cannot be used as such, and how to show them to the model."""
    if not is_text([value for value in values if value is not None]):
        return (
            f"the choices in {name!r} are not shown to the model, since the answers are not their "
            "labels, texts or positions: change the answers to one of these"
        )
    question = found.fields["question"]
    if isinstance(question, list):
        more = ",".join([*question, name])
    else:
        more = f"{question if '{' in question else f'{{{question}}}'} {{{name}}}"
    return (
        f"the choices in {name!r} are one text and not shown to the model: make them a part of "
        f'the question with --question "{more}"'
    )
