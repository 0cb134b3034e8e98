"""The text of a new recipe: every value with its reason, and of a file of examples to fill in."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from star_mlx.answers.accepted import accepted
from star_mlx.init_task import amounts
from star_mlx.init_task.data_files import MOST_TEST, DataFiles
from star_mlx.init_task.guess import Guess
from star_mlx.prompts import dump
from star_mlx.recipe.layers import shown
from star_mlx.tasks.jsonl import Jsonl
from star_mlx.types import Problem

SHOTS = 3
MODEL = "mlx-community/Qwen2.5-0.5B-4bit"


@dataclass(frozen=True, slots=True)
class Contents:
    """What a recipe is written of: the data, its guess, the task made of both, and the counts."""

    file: Path
    files: DataFiles
    found: Guess
    task: Jsonl
    problems: int
    train: int
    skipped: Sequence[str]


def recipe_text(made: Contents, out: Path, model: str | None, prompts: Path | None) -> str:
    """The recipe that is written to ``out``; ``prompts`` is the file of examples if it has one."""
    parts = [
        "# star-mlx on your own data, written by star-mlx init-task from "
        f"{_comment(made.file.name)}:",
        f"# {made.problems} problems. Check the guesses below; docs/your-data.md tells more.",
        "# Settings that are not here have their default: star-mlx settings lists them.",
        "",
        *_task_lines(made, out),
        "",
        *_model_lines(model),
        "",
        *_prompt_lines(prompts),
        "",
        *_amount_lines(made.train, model),
    ]
    return "\n".join(parts) + "\n"


def _amount_lines(train: int, model: str | None) -> list[str]:
    """How much is generated and trained on."""
    problems = min(1000, train)
    size = amounts.parameters(model or MODEL)
    amount = amounts.amounts(problems, size)
    return [
        "star:",
        "  iterations: 3",
        f"  problems: {problems}   # sampled anew each iteration; null: all",
        "  # rationalize: false    # do not retry failures with the answer as a hint",
        amounts.schedule_line(amount),
        "",
        "generate:",
        "  max_tokens: 256         # a completion that is cut off at this length is not kept",
        "  # temperature: 0.7      # 0 is greedy",
        "",
        *amounts.train_lines(amount, size),
    ]


def _task_lines(made: Contents, out: Path) -> list[str]:
    found, options = made.found, made.task.options
    lines = [
        "task:",
        "  name: jsonl",
        "  options:",
        f"    path: {_yaml(beside(made.files.path, out))}   # relative to this recipe",
        *_form_lines(made.files),
        _test_line(options.test, out),
        f"    dev: {options.dev}   # cut from path, to measure every iteration on",
        *_bad_row_lines(made.skipped),
        "    fields:",
    ]
    for name in ("question", "answer", "choices", "id", "rationale", "class"):
        if name in found.fields:
            lines.append(
                f"      {name}: {_yaml(found.fields[name])}   # {_comment(found.why[name])}"
            )
        else:
            lines.append(f"      # {name}: FIELD")
    if found.unused:
        lines.append(f"      # not used: {_comment(', '.join(found.unused))}")
    lines += [
        "    read:                 # how the answer is read from a completion",
        *(f"      {_yaml(key)}: {_yaml(value)}" for key, value in found.read.items()),
        *(f"      # kind: {kind}" for kind in _other_kinds(found)),
    ]
    hint = "mark-choice" if "choices" in found.fields else "answer-after-question"
    return [
        *lines,
        f"    hint: {hint}   # or a text, such as '{{question}} (Hint: {{answer}})'",
        f"    # worked: {_yaml(options.shown_worked)}   # how an example shows its answer",
    ]


def _form_lines(files: DataFiles) -> list[str]:
    """How the file's text is read, if not in the usual way."""
    lines = []
    if files.delimiter is not None:
        lines.append(f"    delimiter: {_yaml(files.delimiter)}   # between the cells")
    if files.encoding is not None:
        lines.append(f"    encoding: {_yaml(files.encoding)}   # of the text; without it UTF-8")
    return lines


def _test_line(test: int | str | None, out: Path) -> str:
    if test is None:
        return "    # test: test.jsonl    # held-out problems: here are too few to hold some out"
    if isinstance(test, str):
        return f"    test: {_yaml(beside(Path(test), out))}   # held-out problems of the data"
    return (
        f"    test: {test}   # held out of path (a fifth, at most {MOST_TEST}), for star-mlx "
        "evaluate; or a file"
    )


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
    kinds = {
        "last-number": "last-number  # the number a completion ends in",
        "number": "number       # a number with its unit",
        "yes-no": "yes-no       # yes or no, true or false",
        "set": "set          # several parts in any order; list: in their order",
        "marker": 'marker       # what follows the marker: "The answer is"',
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
        "# to try the whole recipe without it: star-mlx loop --recipe <this file> --smoke",
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


def examples(problems: Sequence[Problem]) -> str:
    """A prompt file of problems, with the rationales left blank."""
    shots = [replace(problem, answer=accepted(problem.answer)[0]) for problem in problems]
    lines = [
        "# The few-shot examples. Write each rationale: the steps to the answer, without the",
        "# answer's last sentence, which is added. A blank one is refused when the loop begins.",
        "# These problems are of the data: put others in their place if you like.",
    ]
    return "\n".join([*lines, "", *(dump([one], blank=True) for one in shots)])


def beside(file: Path, out: Path) -> str:
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
