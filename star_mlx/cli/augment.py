"""``star-mlx augment``: more questions from the problems of a task."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from star_mlx.cli.recipe_help import RecipeCommand
from star_mlx.cli.recipe_options import Given, recipe_options
from star_mlx.cli.setting_options import (
    DECODED,
    ENDPOINT,
    MAX_TOKENS,
    NUM_REPEAT,
    TEMPERATURE,
)
from star_mlx.cli.step_options import force_option, json_option, out_option

if TYPE_CHECKING:
    from star_mlx.settings import Recipe

HOT = 0.7  # the temperature of MetaMath; a recipe's own is that of its loop
_TEMPERATURE = replace(TEMPERATURE, meaning=f"sampling temperature, by default {HOT}")
_WITH_MODEL = ("generator", "agree", "samples")  # options that need one


class ShareOption(click.ParamType):
    """``2/8``: the second of eight parts."""

    name = "part"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        found = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", str(value))
        if not found or not 1 <= int(found[1]) <= int(found[2]):
            self.fail(f"{value!r} is no part: write i/n, such as 1/4", param, ctx)
        return int(found[1]), int(found[2])


@click.command(cls=RecipeCommand)
@recipe_options(NUM_REPEAT, _TEMPERATURE, MAX_TOKENS, DECODED, ENDPOINT)
@click.option(
    "--kinds",
    metavar="KINDS",
    help="Kinds of questions, with commas between them. ansaug: the questions as they are; "
    "rephrase: in other words; fobar: a number becomes x, the answer is given, and x is asked for; "
    "sv: the same with question and answer as a statement [default: all, or with --questions-only "
    "fobar].",
)
@click.option(
    "--questions-only",
    is_flag=True,
    help="Write questions without answers to them, which needs no model.",
)
@click.option(
    "--generator",
    metavar="NAME",
    help="The model that writes questions and answers [default: --model].",
)
@click.option(
    "--samples",
    type=click.IntRange(min=1),
    metavar="K",
    help="Answers to each rephrased question [default: 4].",
)
@click.option(
    "--agree",
    type=click.IntRange(min=1),
    metavar="A",
    help="How many of them must be right for the question to be kept [default: 2].",
)
@click.option(
    "--max-problems",
    "--max-samples",
    "max_problems",
    type=click.IntRange(min=1),
    help="Use only the first problems.",
)
@click.option(
    "--part",
    type=ShareOption(),
    metavar="I/N",
    help="Use the I-th of N shares of the problems, to divide the work.",
)
@out_option("The JSONL file of rows.")
@click.option(
    "--decontaminate/--no-decontaminate",
    default=True,
    show_default=True,
    help="Leave out questions that are those of a test problem, or share 13 words in a row with "
    "one.",
)
@click.option(
    "--removed",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Write the questions that were left out, with the reason, to this JSONL file.",
)
@force_option
@json_option
def augment(given: Given, questions_only: bool, as_json: bool, **options: Any) -> None:
    """Make more questions from the training problems of a task.

    A model answers them, and rewords some; a row is written for every right answer. If the command
    is interrupted, run it again to continue. With --questions-only, every number of a question that
    can be masked gives one question.
    """
    if questions_only:
        done = _questions(given, **options)
        text = _counted(done, options["decontaminate"])
    else:
        done = _answered(given, **options)
        text = _yielded(done, options["decontaminate"])
    from star_mlx.formatting import harmless

    click.echo(json.dumps(done) if as_json else harmless(text))


def _questions(given: Given, *, kinds: str | None, part: Any, **options: Any) -> dict[str, Any]:
    from star_mlx import tasks
    from star_mlx.steps import masked_questions

    for name in _WITH_MODEL:
        if options.pop(name) is not None:
            raise click.UsageError(f"--{name} needs a model, and --questions-only uses none")
    masked_questions.check_kinds(_split(kinds or "fobar"))
    spec = given.load().task
    return masked_questions.write(tasks.make(spec.name, spec.options), part=part, **options)


def _answered(
    given: Given,
    *,
    kinds: str | None,
    generator: str | None,
    samples: int | None,
    agree: int | None,
    max_problems: int | None,
    part: tuple[int, int] | None,
    decontaminate: bool,
    **files: Any,
) -> dict[str, Any]:
    from star_mlx import tui
    from star_mlx.augment.kinds import KINDS
    from star_mlx.steps import augmented

    plan = augmented.Augmentation(
        kinds=tuple(_split(kinds)) if kinds is not None else KINDS,
        max_problems=max_problems,
        part=part,
        decontaminate=decontaminate,
        **{k: v for k, v in (("samples", samples), ("agree", agree)) if v is not None},
    )
    recipe = _recipe(given, generator)
    with tui.ProgressBar() as emit:
        return augmented.write(recipe, plan=plan, emit=emit, **files)


def _recipe(given: Given, generator: str | None) -> Recipe:
    """The recipe with the generator as its model, and with this command's temperature unless
    another is given."""
    if generator is not None and given.model is not None:
        raise click.UsageError("--generator and --model both name the model: leave one of them out")
    more: dict[str, Any] = {} if generator is None else {"model": generator}
    if not given.gives("generate.temperature"):
        more["settings"] = {"generate.temperature": HOT}
    return given.load(**more)


def _split(kinds: str) -> list[str]:
    return list(dict.fromkeys(kind.strip() for kind in kinds.split(",") if kind.strip()))


# --------------------------------------------------------------------------- for people


def _counted(done: dict[str, Any], decontaminate: bool) -> str:
    """The counts of masked questions."""
    reasons = done["not_masked"]
    lines = [
        f"{_several(done['problems'], 'problem')}, {_several(done['numbers'], 'number')}: "
        f"{done['masked']} masked, {sum(reasons.values())} not",
        *(f"  {count:5} {reason}" for reason, count in reasons.items()),
        _left_out(done, decontaminate),
        f"{_several(done['rows'], 'question')} written to {done['out']}",
    ]
    return "\n".join(lines)


def _yielded(done: dict[str, Any], decontaminate: bool) -> str:
    """A table of what each kind yielded, and why not more."""
    from star_mlx.formatting import duration

    names = ("questions", "answers", "right", "rows", "tokens")
    lines = [f"{'':10}{''.join(f'{name:>11}' for name in names)}{'time':>13}"]
    for kind, counts in done["kinds"].items():
        figures = "".join(f"{counts[name]:>11,}" for name in names)
        lines.append(f"{kind:10}{figures}{duration(counts['seconds']):>13}")
    for kind, counts in done["kinds"].items():
        for title, reasons in (
            (f"{kind}, no question", counts["not_asked"]),
            (f"{kind}, no row", counts["not_kept"]),
        ):
            lines += [f"{title}:"] if reasons else []
            lines += [f"  {count:5} {reason}" for reason, count in reasons.items()]
    lines += [
        _left_out(done, decontaminate),
        f"{_several(done['rows'], 'row')} written to {done['out']}; the yields are in "
        f"{done['report']}",
    ]
    return "\n".join(lines)


def _left_out(done: dict[str, Any], decontaminate: bool) -> str:
    return f"left out: {_several(done['duplicates'], 'duplicate')}" + (
        f", {done['test_exact']} of a test problem, {done['test_13_gram']} that "
        f"share{'s' * (done['test_13_gram'] == 1)} 13 words in a row with one"
        if decontaminate
        else "; not compared with the test problems"
    )


def _several(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' * (count != 1)}"
