"""Estimate the remaining time of a run from the time its parts have taken so far."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from star_mlx.augment.kinds import KINDS, REWRITTEN
from star_mlx.events import Progress
from star_mlx.progress.state import RunState
from star_mlx.star import amount
from star_mlx.store.metrics import AddedKind, Metrics
from star_mlx.types import Phase

PHASES: tuple[Phase, ...] = ("augment", "generate", "rationalize", "train", "evaluate")
TRAINED: tuple[Phase, ...] = ("train", "evaluate")  # of a baseline that generates nothing
ALIKE: tuple[tuple[Phase, Phase], ...] = (  # assumed to cost the same if nothing better is known
    ("generate", "evaluate"),
    ("rationalize", "generate"),
    ("evaluate", "generate"),
    ("augment", "generate"),
)


def seconds_left(state: RunState) -> float | None:
    """Estimated seconds until the last iteration is done; None if there is no basis for it.

    The current phase is assumed to keep its rate. Later work is assumed to cost per problem or
    optimizer step what it cost last: in the finished phases of this iteration, else in the last
    finished one. The steps follow the schedule; the number of problems, the share rationalized and
    the examples per problem are assumed to stay the same. A loop that ends early
    (``star.patience``) and the measurement on the test split (``evaluate.test``) are not included.
    """
    if state.finished or "star" not in state.recipe:
        return None
    at, last = state.at, max((line.iteration for line in state.metrics), default=-1)
    costs, left = _costs(state), phase_left(state)
    if left is None:
        return None
    if at is not None and at.iteration <= last:  # measured once the loop is over
        return left
    for phase, units in _to_come(state, last):
        if units == 0:
            continue
        if units is None or phase not in costs:
            return None
        left += units * costs[phase]
    return left


def phase_left(state: RunState) -> float | None:
    """Estimated seconds until the current phase is over, 0 between phases; None if unknown.

    Until a quarter of a batch is done, a problem is assumed to cost what it cost last.
    """
    at = state.at
    if at is None or at.done >= at.total:
        return 0.0
    own, known = _own(at, state.recipe), _costs(state, own=False).get(at.phase)
    if known is not None and at.done < _batch(at, state.recipe) / 4:
        return known * (at.total - at.done)
    return own * (at.total - _made(at, state.recipe)) if own else None


def about(seconds: float) -> str:
    """``"~40 s"``, ``"~3 min"``, ``"~2 h 10 min"``: rounded, because it is an estimate."""
    if seconds < 57.5:
        return f"~{max(5, 5 * round(seconds / 5))} s"
    minutes = max(1, round(seconds / 60))
    if minutes < 60:
        return f"~{minutes} min"
    hours, minutes = divmod(10 * round(minutes / 10), 60)
    return f"~{hours} h {minutes} min" if minutes else f"~{hours} h"


def _own(at: Progress, recipe: Mapping[str, Any]) -> float | None:
    """Seconds per problem or step of a phase; None before the first."""
    return at.seconds / _made(at, recipe) if at.done and at.seconds > 0 else None


def _made(at: Progress, recipe: Mapping[str, Any]) -> float:
    """Problems or steps done, plus half of those in progress in the current batch."""
    return at.done + min(_batch(at, recipe) - 1, at.total - at.done) / 2


def _batch(at: Progress, recipe: Mapping[str, Any]) -> int:
    """The number of problems in progress at once."""
    return 1 if at.phase == "train" else int(recipe.get("generate", {}).get("batch_size", 1))


def _costs(state: RunState, *, own: bool = True) -> dict[Phase, float]:
    """The latest seconds per attempted problem or optimizer step, by phase; if nothing else is
    known and ``own``, those of the current phase."""
    costs: dict[Phase, float] = {}
    for line in state.metrics:
        for phase, units in _units(line, state.recipe).items():
            if units and (seconds := line.took(phase)):
                costs[phase] = seconds / units
    for over in state.past:
        if each := _own(over, state.recipe):
            costs[over.phase] = each
    if own and state.at is not None and (each := _own(state.at, state.recipe)):
        costs.setdefault(state.at.phase, each)
    for phase, like in ALIKE:
        if like in costs:
            costs.setdefault(phase, costs[like])
    return costs


def _units(line: Metrics, recipe: Mapping[str, Any]) -> dict[Phase, float]:
    """Attempts and optimizer steps of a finished iteration."""
    problems = line.problems or 0
    tried = recipe.get("star", {}).get("p_rationalization", 1.0)
    written = [made for kind, made in (line.augmented or {}).items() if kind in REWRITTEN]
    return {
        "augment": sum(made.tried for made in written),
        "generate": problems * _samples(recipe),
        "rationalize": (problems - (line.solved or 0) - _presumed(written)) * tried,
        "train": line.steps or 0,
        "evaluate": sum(found.n for found in (line.dev, line.zero_shot) if found),
    }


def _presumed(written: Iterable[AddedKind]) -> int:
    """The questions of the model's own that were not solved: they are not rationalized."""
    return sum(made.asked - made.solved for made in written)


def _samples(recipe: Mapping[str, Any]) -> int:
    return int(recipe.get("generate", {}).get("samples", 1))


def _to_come(state: RunState, last: int) -> Iterator[tuple[Phase, float | None]]:
    """The phases after the current one, with their attempts or steps; None where unknown."""
    at, recipe = state.at, state.recipe
    star, baseline = recipe["star"], recipe.get("baseline")
    number = at.iteration if at else last + 1
    if number == 0 and star["evaluate"]:
        if at is None:
            yield "evaluate", _held_out(state)
        if asks_bare(recipe) and not state.past:
            yield "evaluate", _held_out(state)
    if baseline in ("zero-shot", "few-shot"):
        return
    phases = PHASES if baseline in (None, "rft") else TRAINED
    if at is not None and number > 0:
        for phase in PHASES[PHASES.index(at.phase) + 1 :]:
            yield phase, _work(state, phase, number)
        number += 1
    for n in range(max(number, star.get("start_iteration", 1)), star["iterations"] + 1):
        for phase in phases:
            yield phase, _work(state, phase, n)


def asks_bare(recipe: Mapping[str, Any]) -> bool:
    """Whether the base is still to be measured without examples, after it was with them."""
    zero_shot = recipe.get("evaluate", {}).get("zero_shot", True)
    return bool(zero_shot) and recipe.get("prompts", {}).get("k") != 0


def _work(state: RunState, phase: Phase, n: int) -> float | None:
    """The attempts or optimizer steps of a phase of iteration ``n`` that has not begun."""
    star = state.recipe["star"]
    if phase == "evaluate":
        return _held_out(state) if star["evaluate"] else 0
    if phase == "train":
        return _steps(state, n)
    problems = _problems(state)
    if phase == "augment":
        written = sum(share for kind, share in _shares(state).items() if kind in REWRITTEN)
        own = problems and problems / (1 + sum(_shares(state).values()))  # without the new ones
        return 0 if not written else None if own is None else own * written
    if phase == "generate":
        return None if problems is None else problems * _samples(state.recipe)
    if not star["rationalize"] or star.get("direct"):
        return 0
    share = _rationalized(state)
    return None if problems is None or share is None else problems * share


def _held_out(state: RunState) -> float | None:
    if state.at is not None and state.at.phase == "evaluate":
        return state.at.total
    measured = [line.dev.n for line in state.metrics if line.dev]
    known: int | None = measured[-1] if measured else state.recipe.get("evaluate", {}).get("dev")
    return known


def _problems(state: RunState) -> float | None:
    """Problems per iteration: of the current one, else of the last one, else of the recipe."""
    if begun := _now(state, "generate"):
        return begun.total / _samples(state.recipe)
    last = _last(state)
    if last:
        return last.problems
    known: int | None = state.recipe["star"]["problems"]
    return known and known * (1 + sum(_shares(state).values()))


def _shares(state: RunState) -> dict[str, float]:
    """The new questions of each kind for each problem; an older recipe has none."""
    shares = state.recipe.get("augment") or {}
    return {kind: shares.get(kind, 0) for kind in KINDS}


def _rationalized(state: RunState) -> float | None:
    """The share of problems that are rationalized."""
    problems = _problems(state)
    if problems and (begun := _now(state, "rationalize")):
        return begun.total / problems
    if _now(state, "train"):  # there was nothing to rationalize
        return 0.0
    line = _last(state)
    if line is None or not line.problems:
        return None
    return _units(line, state.recipe)["rationalize"] / line.problems


def _steps(state: RunState, n: int) -> float | None:
    from star_mlx.settings import Schedule  # imports pydantic, which is not needed to show a run

    long = amount(Schedule(**state.recipe["star"]["schedule"]), n)
    if long.steps is not None:
        return long.steps
    line, problems = _last(state), _problems(state)
    if line is None or not line.problems or problems is None:
        return None
    examples = round((line.examples or 0) * problems / line.problems)
    return long.steps_for(examples, state.recipe["train"]["batch_size"])


def _now(state: RunState, phase: Phase) -> Progress | None:
    """A phase of the current iteration, if it has begun."""
    begun = [*state.past, *([state.at] if state.at else [])]
    return next((at for at in begun if at.phase == phase), None)


def _last(state: RunState) -> Metrics | None:
    """The line of the last finished iteration of the loop, or None."""
    return next((line for line in reversed(state.metrics) if line.problems), None)
