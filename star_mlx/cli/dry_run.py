"""``star-mlx loop --dry-run``: print the full recipe and what it will do, and run nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from star_mlx.formatting import count, duration, harmless

if TYPE_CHECKING:
    from star_mlx.events import Event
    from star_mlx.run.at_hand import AtHand
    from star_mlx.run.plan import Planned, RunPlan
    from star_mlx.settings import Recipe


def dry_run(recipe: Recipe, run: Path | None, *, measure: bool, as_json: bool) -> None:
    """Print the resolved recipe as YAML, and as comments its prompts and its plan.

    What is printed can be used as a recipe. With ``measure`` the model is opened and timed.
    """
    import yaml

    from star_mlx.engine import auto
    from star_mlx.events import Notice
    from star_mlx.recipe import opening
    from star_mlx.recipe.provenance import left_to_the_device
    from star_mlx.run import at_hand, timing
    from star_mlx.run.plan import plan
    from star_mlx.run.shown import prompts
    from star_mlx.store import reading, writing

    notices: list[str] = []

    def emit(event: Event) -> None:
        if isinstance(event, Notice):
            notices.append(event.text)

    if run is not None and writing.check(run):
        recipe = opening.as_begun(recipe, reading.read(run))
    at = at_hand.gather(recipe)
    record = None if run is None else at_hand.resumed(at, run, emit)
    finished = [] if record is None else [line.iteration for line in record.metrics[1:]]
    found = plan(at, finished=finished, timing=timing.of(at) if measure else None)
    values = opening.settled(at.recipe, at.task)
    shown = prompts(at)
    warnings = [*notices, *found.warnings]
    chosen = auto.words(at.recipe, recipe) if record is None else left_to_the_device(record)
    if as_json:
        schedule = [asdict(one) for one in found.iterations]
        made = {"plan": found.to_json(), "prompts": shown.to_json(), "warnings": warnings}
        click.echo(json.dumps({"recipe": values, "schedule": schedule, **made}))
        return
    click.echo(yaml.safe_dump(values, sort_keys=False, allow_unicode=True))
    for title, text in shown.texts():
        click.echo(f"# --- {title}")
        for line in harmless(text).split("\n"):
            click.echo(f"# | {line}".rstrip())
    common = list(_common(at, found))
    for line in [
        *common[:1],
        *[chosen] * bool(chosen),
        *common[1:],
        *map(_iteration, found.iterations),
    ]:
        click.echo(f"# {harmless(line)}")
    for text in warnings:
        click.echo(f"# warning: {harmless(text)}")


def _common(at: AtHand, plan: RunPlan) -> Iterator[str]:
    """What all iterations have in common, in lines."""
    from star_mlx.measure import power
    from star_mlx.tasks import notes

    yield "--- the plan"
    if plan.train_problems is None:
        yield "data: not on this machine, so its problems are not counted"
    else:
        yield f"data: {plan.train_problems} problems to train on, {plan.dev_problems or 0} of dev"
        yield from (f"data: {note}" for note in notes(at.task))
    if plan.dev_problems:
        yield f"dev: {power.sentence(plan.dev_problems)}"
    if at.task.settings().get("test", "") is None:
        yield (
            "test: none is held out, so nothing can confirm the result on dev; task.options.test "
            "holds some out, and later it would make this another recipe"
        )
    yield f"model: {at.recipe.model.path}, {_sizes(plan)}"
    if plan.sizes and plan.sizes.cut:
        yield plan.sizes.cut
    seen = plan.lengths
    how = "" if plan.counted else "about, from its characters: "
    done = "no example shows one" if seen.completion is None else f"about {seen.completion}"
    yield (
        f"tokens: {how}{seen.few_shot} of the few-shot prompt, {seen.prompt} of a problem (the "
        f"longest {seen.longest}), a completion {done} (at most {at.recipe.generate.max_tokens})"
    )
    if any(one.rows for one in plan.iterations):
        yield "ranges: if a quarter of the problems is kept, and if all are"
    yield _time(plan)
    if disk := plan.disk_bytes:
        without = "" if plan.sizes else ", without the adapters"
        yield f"disk: {_span(disk, _bytes)} in all{without}"
    if plan.finished:
        yield f"finished: iteration {_numbers(plan.finished)}"


def _sizes(plan: RunPlan) -> str:
    sizes = plan.sizes
    if sizes is None:
        return "not on this machine: memory and the size of an adapter are not known"
    return (
        f"{count(sizes.parameters)} parameters: up to about {_bytes(sizes.memory)} of memory, "
        f"{_bytes(sizes.adapter)} for an adapter"
    )


def _time(plan: RunPlan) -> str:
    if plan.timing is None:
        return "time: not measured (--measure tries the model for some seconds)"
    made = plan.timing
    took = (
        f"{made.attempt_seconds:.3g} s a completion, {made.step_seconds:.3g} s a step, from "
        f"{made.attempts} completions and {made.steps} steps"
    )
    whole = "" if made.completion_tokens else " (at their longest: the measurement was cut short)"
    if plan.seconds is None:
        return f"time: {took}{whole}"
    return f"time: {_span(plan.seconds, duration)}{whole}; {took}"


def _iteration(one: Planned) -> str:
    much = f"{one.epochs:g} epochs" if one.steps is None else f"{one.steps} steps"
    parts = [f"iteration {one.iteration}: {much}"]
    if one.steps is None and one.steps_taken:
        parts.append(f"{_span(one.steps_taken)} steps")
    if one.peak_rate:
        parts.append(f"peak rate {_span(one.peak_rate, '{:g}'.format)}")
    if one.rows:
        parts.append(f"{_span(one.rows)} rows of {one.problems} problems")
    if one.generated_tokens and one.trained_tokens:
        tokens = f"{_span(one.generated_tokens, count)} tokens generated"
        parts.append(f"{tokens}, {_span(one.trained_tokens, count)} trained on")
    if one.seconds:
        parts.append(_span(one.seconds, duration))
    if one.disk_bytes:
        parts.append(_span(one.disk_bytes, _bytes))
    return "; ".join(parts)


def _span(ends: tuple[Any, Any], shown: Any = str) -> str:
    first, last = shown(ends[0]), shown(ends[1])
    return first if first == last else f"{first} to {last}"


def _bytes(size: float) -> str:
    for unit, one in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= one:
            return f"{size / one:.3g} {unit}"
    return f"{size:.0f} bytes"


def _numbers(numbers: tuple[int, ...]) -> str:
    return f"{numbers[0]}" if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]}"
