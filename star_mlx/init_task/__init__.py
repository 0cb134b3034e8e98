"""``star-mlx init-task``: write a commented recipe of the task ``jsonl`` for a data file.

Every guess is in the recipe with its reason; a recipe is only written if it can be loaded.

May import ``engine``, ``recipe``, ``tasks``, ``data`` and what is below them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import yaml

from star_mlx import data
from star_mlx.errors import TaskError
from star_mlx.init_task import amounts
from star_mlx.init_task.guess import Guess, guess
from star_mlx.prompts import dump
from star_mlx.recipe import loading
from star_mlx.recipe.layers import shown
from star_mlx.store import files
from star_mlx.tasks.jsonl import Jsonl
from star_mlx.tasks.jsonl_options import JsonlOptions
from star_mlx.types import Problem

SAMPLE = 200
SHOTS = 3
MODEL = "mlx-community/Qwen2.5-0.5B-4bit"


@dataclass(frozen=True, slots=True)
class NewRecipe:
    """The written files, the first problem as a model will see it, and the command to run next."""

    recipe: Path
    prompts: Path | None
    prompt: str
    answer: str
    problems: int
    skipped: tuple[str, ...]
    command: str


def init_task(
    file: Path,
    out: Path,
    *,
    model: str | None = None,
    question: str | None = None,
    answer: str | None = None,
    choices: Sequence[str] = (),
    force: bool = False,
) -> NewRecipe:
    """Write a recipe for a data file, and a file of few-shot examples if it has no rationales.

    Args:
        file: the data.
        out: the recipe to write; beside it ``<stem>-prompts.yaml``.
        model: the base; by default a small one on the Hub.
        question, answer, choices: names of fields, if they should not be guessed.
        force: overwrite existing files.

    Raises:
        TaskError: a file to write exists, the data cannot be read, or no guess is possible.
    """
    prompts = out.with_name(f"{out.stem}-prompts.yaml")
    _check_out(out, prompts, force)
    rows = [row.values for row in islice(data.rows(file), SAMPLE)]
    usable = [row for row in rows if not isinstance(row, str)]
    if not usable:
        raise TaskError(f"{file}: none of the first {len(rows)} rows can be read: it {rows[0]}")
    found = guess(usable, question=question, answer=answer, choices=choices)
    task, problems = _read(file, found)
    train, _ = data.cut(problems, _dev_size(problems), 0, "dev")
    shots = None if _with_rationale(task, train) == SHOTS else train[:SHOTS]
    text = _recipe(file, out, found, task, problems, model, prompts if shots else None)
    _check(text, file)
    out.parent.mkdir(parents=True, exist_ok=True)
    if shots:
        files.replace(prompts, _examples(shots).encode())
    files.replace(out, text.encode())
    first = train[0]
    return NewRecipe(
        recipe=out,
        prompts=prompts if shots else None,
        prompt=task.ask(first.question),
        answer=first.answer,
        problems=len(problems),
        skipped=tuple(task.skipped()),
        command=f"star-mlx loop --recipe {_quoted(out)} --dry-run",
    )


def _check_out(out: Path, prompts: Path, force: bool) -> None:
    if out.suffix not in (".yaml", ".yml"):
        raise TaskError(f"--out {out}: a recipe's name ends in .yaml")
    for path in (out, prompts):
        if path.is_dir() or (path.exists() and not force):
            how = "" if path.is_dir() else ", or write over it with --force"
            raise TaskError(f"{path} exists: give another name with --out{how}")


def _read(file: Path, found: Guess) -> tuple[Jsonl, list[Problem]]:
    """The task as guessed and all problems of the file; rows that cannot be used are skipped."""
    options = {"path": str(file), "fields": found.fields, "read": found.read}
    task = Jsonl(JsonlOptions.model_validate({**options, "on_bad_row": "skip"}))
    problems = task.all_problems()
    if len(problems) < 2:
        raise TaskError(f"{file} holds one problem that can be used: two are the least")
    return task, problems


def _with_rationale(task: Jsonl, problems: Sequence[Problem]) -> int:
    """The number of problems with a rationale that ends in their answer, up to ``SHOTS``."""
    count = 0
    for p in problems:
        if p.rationale is not None and count < SHOTS:
            read = task.read(task.worked(p.rationale, p.answer), p.question)
            count += read is not None and task.equal(read, p.answer)
    return count


def _check(text: str, file: Path) -> None:
    """Refuse a recipe that does not load, or whose first problems cannot be read."""
    values = yaml.safe_load(text)
    options = loading.load(base=values).task.options
    task = Jsonl(JsonlOptions(**{**options, "path": str(file)}))
    task.problems("train")


# --------------------------------------------------------------------------- the recipe's text


def _recipe(
    file: Path,
    out: Path,
    found: Guess,
    task: Jsonl,
    problems: Sequence[Problem],
    model: str | None,
    prompts: Path | None,
) -> str:
    train = len(problems) - _dev_size(problems)
    size = amounts.parameters(model or MODEL)
    made = amounts.amounts(min(1000, train), size)
    parts = [
        f"# star-mlx on your own data, written by star-mlx init-task from {_comment(file.name)}:",
        f"# {len(problems)} problems. Check the guesses below; docs/your-data.md tells more.",
        "# Settings that are not here have their default: star-mlx loop --help lists them.",
        "",
        *_task_lines(file, out, found, task, problems),
        "",
        *_model_lines(model),
        "",
        *_prompt_lines(prompts),
        "",
        "star:",
        "  iterations: 3",
        f"  problems: {min(1000, train)}   # sampled anew each iteration; null: all",
        "  # rationalize: false    # do not retry failures with the answer as a hint",
        amounts.schedule_line(made),
        "",
        "generate:",
        "  max_tokens: 256         # a completion that is cut off at this length is not kept",
        "  # temperature: 0.7      # 0 is greedy",
        "",
        *amounts.train_lines(made, size),
    ]
    return "\n".join(parts) + "\n"


def _task_lines(
    file: Path, out: Path, found: Guess, task: Jsonl, problems: Sequence[Problem]
) -> list[str]:
    lines = [
        "task:",
        "  name: jsonl",
        "  options:",
        f"    path: {_yaml(_beside(file, out))}   # relative to this recipe",
        "    # test: test.jsonl    # held-out problems: a file, or how many to hold out of path",
        f"    dev: {_dev_size(problems)}   # cut from path, to measure every iteration on",
        *_bad_row_lines(task.skipped()),
        "    fields:",
    ]
    for name in ("question", "answer", "choices", "id", "rationale", "class"):
        if name in found.fields:
            lines.append(
                f"      {name}: {_yaml(found.fields[name])}   # {_comment(found.why[name])}"
            )
        else:
            lines.append(f"      # {name}: FIELD")
    lines += [
        "    read:                 # how the answer is read from a completion",
        *(f"      {key}: {_yaml(value)}" for key, value in found.read.items()),
        *(f"      # kind: {kind}" for kind in _other_kinds(found)),
    ]
    hint = "mark-choice" if "choices" in found.fields else "answer-after-question"
    return [
        *lines,
        f"    hint: {hint}   # or a text, such as '{{question}} (Hint: {{answer}})'",
        f"    # worked: {_yaml(task.options.shown_worked)}   # how an example shows its answer",
    ]


def _bad_row_lines(skipped: Sequence[str]) -> list[str]:
    if not skipped:
        return [
            "    on_bad_row: fail      # or skip: leave a row that cannot be used out, and count it"
        ]
    rows = "1 row" if len(skipped) == 1 else f"{len(skipped)} rows"
    return [
        f"    # {rows} cannot be used, the first: {_comment(skipped[0])}",
        "    on_bad_row: skip      # or fail, once they are mended",
    ]


def _other_kinds(found: Guess) -> list[str]:
    marker = 'marker       # what follows the marker: "The answer is"'
    kinds = {
        "last-number": "last-number  # the number a completion ends in",
        "marker": marker,
        "math": "math         # equal expressions; needs the extra math",
        "exact": "exact        # the whole last line",
        "regex": "regex        # with pattern: 'ANSWER=(\\w+)'",
    }
    return [text for kind, text in kinds.items() if kind != found.read["kind"]]


def _model_lines(model: str | None) -> list[str]:
    if model is not None:
        return [f"model: {_yaml(model)}"]
    return [
        f"model: {MODEL}   # any MLX model: a folder, or owner/name on the Hub",
        "# to try the whole recipe without it: star-mlx loop --recipe THIS_FILE --smoke",
    ]


def _prompt_lines(prompts: Path | None) -> list[str]:
    if prompts is None:
        return [
            "prompts:",
            f"  k: {SHOTS}                    # few-shot examples drawn from the data's rationales",
            "  # file: prompts.yaml    # or your own, instead of k",
        ]
    return [
        "prompts:                  # the data has no rationales: write those of a few examples",
        f"  file: {_yaml(prompts.name)}   # its rationales are blank: a run is refused until then",
    ]


def _examples(problems: Sequence[Problem]) -> str:
    """A prompt file of problems, with the rationales left blank."""
    lines = [
        "# The few-shot examples. Write each rationale: the steps to the answer, without the",
        "# answer's last sentence, which is added. A blank one is refused when the loop begins.",
        "# These problems are of the data: put others in their place if you like.",
    ]
    return "\n".join([*lines, "", *(dump([problem], blank=True) for problem in problems)])


def _dev_size(problems: Sequence[Problem]) -> int:
    return min(200, max(1, len(problems) // 5))


def _beside(file: Path, out: Path) -> str:
    """The data's path relative to the recipe's folder."""
    return os.path.relpath(file.expanduser().resolve(), out.expanduser().resolve().parent)


def _yaml(value: Any) -> str:
    """Any value as YAML on one line."""
    text = shown(value)
    if len(text.splitlines()) == 1:
        return text
    return yaml.safe_dump(
        value, default_style='"', default_flow_style=True, allow_unicode=False, width=10**7
    ).strip()


def _comment(text: Any) -> str:
    """A text for a comment: one line, without unprintable characters."""
    line = json.dumps(" ".join(str(text).split()), ensure_ascii=True)[1:-1]
    return line.replace('\\"', '"') if len(line) <= 200 else line[:200] + "..."


def _quoted(path: Path) -> str:
    import shlex

    return shlex.quote(str(path))
