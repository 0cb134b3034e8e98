"""One trial of ``gsm8k_search.py``: an iteration of a recipe, measured on dev.

The steps are those of ``star_mlx.steps``. What several trials have in common is made once: the
attempts of the base, with and without hint, before any filter, and the base's accuracy.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from star_mlx.engine import open_base
from star_mlx.errors import NothingKept
from star_mlx.events import PhaseStarted, Progress
from star_mlx.measure import accuracy
from star_mlx.measure.paired import paired
from star_mlx.prompts import Prompts
from star_mlx.recipe import loading, opening
from star_mlx.run import passes
from star_mlx.run.evaluate import How, Of, attempts
from star_mlx.run.learner import Learner
from star_mlx.settings import Recipe
from star_mlx.star import amount
from star_mlx.steps import export_data, generate, rationalize, step_files, train
from star_mlx.store import rows, writing
from star_mlx.types import Attempt, Engine, Task

UNFILTERED = ("star.require_valid_steps=false", "star.reject_hint_leaks=false")


@dataclass
class Workshop:
    """What the trials of a search share: the engine, and a folder of what is already made."""

    folder: Path
    engines: dict[str, Engine] = field(default_factory=dict)

    def engine(self, recipe: Recipe) -> Engine:
        """The recipe's base; only the last one stays open."""
        key = _key(recipe, "model", "max_memory")
        if key not in self.engines:
            self.engines.clear()
            self.engines[key] = open_base(recipe)
        return self.engines[key]

    def place(self, kind: str, key: str) -> Path:
        self.folder.mkdir(parents=True, exist_ok=True)
        return self.folder / f"{kind}-{key}"


def run(shop: Workshop, settings: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Run a trial and return its figures.

    Args:
        shop: what is shared with other trials.
        settings: arguments of ``recipe.loading.load``.
        overrides: the trial's own settings, as for ``--set``.
    """
    recipe = loading.load(**settings, overrides=overrides)
    bare = loading.load(**settings, overrides=[*overrides, *UNFILTERED])
    engine = shop.engine(recipe)
    task, plain = opening.open_task(recipe)
    prompts = opening.in_template(recipe, plain, engine)
    began = time.perf_counter()
    base = _measured(shop, recipe, task, prompts, None)
    made, hinted = _attempts(shop, bare, engine)
    generated = time.perf_counter() - began
    kept = [_filtered(recipe, task, one) for one in (made, hinted)]
    found: dict[str, Any] = {
        "problems": len({a.id for a in made}),
        "solved": len({a.id for a in made if a.correct}),
        "with_hint": sum(a.correct for a in hinted),
        "rejected": sum(bool(a.rejected) for part in kept for a in part),
        "base": _counts(base),
        "truncated": sum(a.finish == "length" for a in made),
    }
    adapter = shop.place("adapter", _key(recipe))
    steps = _train(shop, recipe, engine, kept, adapter)
    if steps is None:
        return {**found, "kept": 0, "dev": found["base"], "p": 1.0, "seconds": 0}
    after = _measured(shop, recipe, task, prompts, adapter)
    pair = paired({a.id: a.correct for a in base}, {a.id: a.correct for a in after})
    return {
        **found,
        **steps,
        "dev": _counts(after),
        "better": pair.better,
        "worse": pair.worse,
        "p": pair.p,
        "generating_seconds": round(generated),
        "seconds": round(time.perf_counter() - began),
    }


def _counts(made: Sequence[Attempt]) -> dict[str, Any]:
    right, cut = sum(a.correct for a in made), sum(a.finish == "length" for a in made)
    return {
        "n": len(made),
        "correct": right,
        "ci95": accuracy.wilson(right, len(made)),
        "cut_off": cut,
    }


def _key(recipe: Recipe, *groups: str, without: Sequence[str] = ()) -> str:
    """A name for what depends on these groups of settings, all by default."""
    values = loading.resolved(recipe)
    chosen = {name: values[name] for name in groups or values}
    for path in without:
        *above, last = path.split(".")
        inner = chosen
        for part in above:
            inner = inner.get(part, {})
        inner.pop(last, None)
    text = json.dumps(chosen, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _attempts(
    shop: Workshop, bare: Recipe, engine: Engine
) -> tuple[Sequence[Attempt], Sequence[Attempt]]:
    """The base's attempts at the problems of iteration 1, without and with the hint."""
    asks = ("model", "task", "prompts", "generate", "seed")
    ignored = ("task.options.prose", "prompts.hint")
    key = f"{bare.star.problems}-{_key(bare, *asks, without=ignored)}"
    direct = shop.place("direct", f"{key}.jsonl")
    told = {"emit": _tell, "engine": engine, "iteration": 1}
    if not direct.exists():
        generate(bare, direct, **told)
    made = step_files.attempts([direct])
    if not bare.star.rationalizes(1):
        return made, []
    p = bare.star.p_rationalization
    key = f"{bare.star.problems}-{p}-{_key(bare, *asks, without=ignored[:1])}"
    hinted = shop.place("hinted", f"{key}.jsonl")
    if not hinted.exists():
        rationalize(bare, direct, hinted, **told)
    return made, step_files.attempts([hinted])


def _filtered(recipe: Recipe, task: Task, made: Sequence[Attempt]) -> list[Attempt]:
    known = {problem.id: problem for problem in task.problems("train")}
    return [passes.filtered(task, recipe.star, known[a.id], a) for a in made]


def _train(
    shop: Workshop,
    recipe: Recipe,
    engine: Engine,
    kept: Sequence[Sequence[Attempt]],
    adapter: Path,
) -> dict[str, Any] | None:
    """Train the adapter unless it is there; None if nothing is kept."""
    figures = adapter.with_suffix(".json")
    if figures.exists():
        return dict(json.loads(figures.read_text("utf-8")))
    mine, examples = adapter.with_suffix(".attempts.jsonl"), adapter.with_suffix(".jsonl")
    step_files.write(mine, rows.attempts([a for part in kept for a in part]))
    told = {"emit": _tell, "engine": engine, "iteration": 1}
    try:
        export_data.export(recipe, [mine], examples, force=True, **told)
    except NothingKept:
        return None
    made = train(recipe, examples, adapter, amount=amount(recipe.star.schedule, 1), **told)
    sources = [json.loads(line)["source"] for line in examples.read_text("utf-8").splitlines()]
    found = {
        "kept": len(sources),
        "rationalized": sources.count("rationalized"),
        "steps": made["steps"],
        "too_long": len(made["too_long"]),
        "last_loss": made["last_loss"],
        "training_seconds": round(made["seconds"]),
    }
    figures.write_text(json.dumps(found), "utf-8")
    return found


def _measured(
    shop: Workshop, recipe: Recipe, task: Task, prompts: Prompts, adapter: Path | None
) -> list[Attempt]:
    """The attempts at the dev problems of an adapter, or of the base."""
    problems = task.problems("dev")[: recipe.evaluate.dev]
    asks = ("model", "task", "prompts", "generate", "evaluate", "seed")
    ignored = ("task.options.prose", "prompts.hint", "generate.samples", "generate.chunk")
    key = adapter.name if adapter else "base-" + _key(recipe, *asks, without=ignored)
    place = shop.place("dev", f"{len(problems)}-{key}")
    with writing.opened(place, {}) as folder:
        learner = Learner(recipe, task, prompts, shop.engine(recipe), folder, _tell)
        of = Of("adapter", 1, adapter=adapter) if adapter else Of("base", 0)
        return attempts(learner, folder, problems, of, How("dev", limit=len(problems)))


_last = [0.0]


def _tell(event: object) -> None:
    """Say on standard error where a trial is, at most every ten seconds."""
    now = time.monotonic()
    if isinstance(event, PhaseStarted):
        print(f"  {event.phase}: {event.total}", file=sys.stderr)
    elif isinstance(event, Progress) and now - _last[0] > 10:
        _last[0] = now
        print(f"  {event.phase}: {event.done} of {event.total}", file=sys.stderr)
