"""``star-mlx plan``: what an iteration takes on machines that are named, without running it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from star_mlx.cli import completion
from star_mlx.cli.recipe_help import RecipeCommand, help_all_option
from star_mlx.cli.recipe_options import Given, recipe_options
from star_mlx.cli.setting_options import PLAN
from star_mlx.formatting import count, duration, harmless

if TYPE_CHECKING:
    from star_mlx.scaling.iteration import Forecast

PHASES = {
    "generate": "generation", "rationalize": "rationalization", "train": "training",
    "evaluate": "evaluation",
}  # fmt: skip
LARGEST = click.IntRange(1, 1_000_000)


@click.command(cls=RecipeCommand)
@click.argument("name", metavar="[RECIPE]", required=False, shell_complete=completion.recipes)
@recipe_options(*PLAN)
@click.option(
    "--machines",
    "wanted",
    default="here",
    show_default=True,
    metavar="[N x]DEVICE[:GIB]",
    help="Machines, such as m4-max, 4xm4-max:64 (four with 64 GiB each) or 8xh100.",
)
@click.option(
    "--params",
    metavar="SIZE",
    help="Plan for a typical model of this size, such as 7B, instead of --model.",
)
@click.option(
    "--bits",
    type=click.Choice(["4", "8", "16"]),
    default="4",
    show_default=True,
    help="Bits of a weight, with --params.",
)
@click.option(
    "--iteration",
    type=click.IntRange(1),
    metavar="N",
    help="Iteration to plan [default: the first].",
)
@click.option(
    "--failures",
    type=click.FloatRange(0, 1),
    metavar="SHARE",
    help="Share of the problems that are not solved at first [default: 0.5].",
)
@click.option(
    "--prompt-tokens",
    type=LARGEST,
    metavar="N",
    help="Tokens of a problem [default: as the data or the examples have].",
)
@click.option(
    "--completion-tokens",
    type=LARGEST,
    metavar="N",
    help="Tokens of a completion [default: as the data or the examples have].",
)
@click.option(
    "--link",
    type=click.FloatRange(0, min_open=True),
    metavar="GB/S",
    help="Speed of the link between two machines [default: the device's].",
)
@click.option(
    "--measure", is_flag=True, help="Try the model on this machine, and correct the times by that."
)
@click.option("--json", "as_json", is_flag=True, help="Print the plan as JSON.")
@help_all_option
def plan(
    given: Given,
    name: str | None,
    wanted: str,
    params: str | None,
    bits: str,
    iteration: int | None,
    failures: float | None,
    prompt_tokens: int | None,
    completion_tokens: int | None,
    link: float | None,
    measure: bool,
    as_json: bool,
) -> None:
    """Compute an iteration's time, memory, disk and traffic.

    Computes one iteration on this machine or others by the formula in docs/scaling.md, and says
    what is measured and what is estimated. The model need not be on this machine. `loop --dry-run`
    plans all iterations on this machine instead, and shows the recipe and its prompts.
    """
    from star_mlx.scaling import hardware, sizes
    from star_mlx.scaling import iteration as scaling
    from star_mlx.scaling.workload import Assumed

    if params is not None and given.model is not None:
        raise click.UsageError("--params and --model both give a model: leave one of them out")
    if name is not None and given.recipe is not None:
        raise click.UsageError("RECIPE and --recipe both give a recipe: leave one of them out")
    machines = hardware.machines(wanted, None if link is None else link * 1e9)
    if measure and (params or machines.each.name != hardware.HERE):
        raise click.UsageError("--measure needs --machines here and a model, not --params")
    recipe = (replace(given, recipe=name) if name else given).load()
    spec = recipe.model
    model = sizes.of_size(params, int(bits)) if params else sizes.of_model(spec.path, spec.revision)
    assumed = Assumed(failures, prompt_tokens, completion_tokens)
    found = scaling.of_recipe(recipe, model, machines, iteration, assumed, measure=measure)
    if as_json:
        click.echo(json.dumps(found.to_json()))
        return
    for line in lines(found):
        click.echo(harmless(line).rstrip())


def lines(found: Forecast) -> Iterator[str]:
    """A forecast as lines of text."""
    from star_mlx.scaling.hardware import GIB

    work, on, model = found.work, found.machines.each, found.model
    yield (
        f"model      {model.name}: {count(found.parameters)} parameters in {found.bits} bits, "
        f"{size(model.held)} in memory, {size(found.adapter)} for an adapter"
    )
    yield (
        f"machines   {found.machines}: {on.words}; {on.flops / 1e12:.3g} TFLOP/s, "
        f"{on.bandwidth / 1e9:.4g} GB/s, {on.memory / GIB:.3g} GiB of memory"
    )
    yield f"           {on.source}"
    again = f", {work.hinted:,} again with their hint" if work.hinted else ""
    times = f", {work.attempts:,} attempts" if work.attempts > work.problems else ""
    yield (
        f"work       {work.problems:,} problems{times}{again}; {work.rows:,} rows to train on, "
        f"{work.steps:,} steps; {work.dev:,} of dev"
    )
    yield (
        f"tokens     {work.few_shot:,} of the few-shot prompt, {work.prompt:,} of a problem, "
        f"{work.completion:,} of a completion, {work.row:,} of a row"
    )
    yield ""
    several = found.machines.number > 1
    head = f"iteration {work.iteration}"
    yield f"{head:<16}  {'time':>12}  {'mostly':<28}{'a machine sends' if several else ''}"
    rows = [(PHASES[phase], one) for phase, one in found.phases.items() if one.seconds]
    for title, one in rows:
        sent = size(one.sent) if several else ""
        yield f"{title:<16}  {duration(one.seconds):>12}  {one.mostly:<28}{sent}"
    total = size(found.sent) if several else ""
    yield f"{'all':<16}  {duration(found.seconds):>12}  {'':<28}{total}"
    yield ""
    cut = "; ".join(found.needs.cuts())
    yield f"memory     up to about {size(found.memory)} on each machine{': ' * bool(cut)}{cut}"
    adapter = size(found.adapter)
    yield f"disk       {size(found.disk)} more in the run folder, {adapter} of them the adapter"
    yield from _certainty(found)


def _certainty(found: Forecast) -> Iterator[str]:
    """What is measured, and what is not."""
    if found.calibration:
        made = found.calibration
        yield (
            "times      corrected by a measurement on this machine: generation takes "
            f"{made.generation:.2g} times as long as computed, training {made.training:.2g} times"
        )
    else:
        yield (
            "times      estimated, not measured: from the device's peaks and the shares of them "
            "that are assumed to be reached"
        )
    yield "rest       estimated: memory by the arithmetic that a run uses, disk by rows as written"
    if found.machines.number > 1:
        yield (
            "note       the machines share chunks of problems and parts of batches (star-mlx "
            "launch); several of them were not measured"
        )


def size(number: float) -> str:
    """Bytes, in three digits."""
    for unit, one in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if number >= one:
            return f"{number / one:.3g} {unit}"
    return f"{number:.0f} bytes"
