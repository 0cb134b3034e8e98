"""Where the time of one iteration goes: the model, sampling, Python around it, the disk.

    python benchmarks/profile_iteration.py --out DIR [--task arithmetic] [--recipe FILE]
        [--model FOLDER] [--data PATH] [--set KEY=VALUE] ...

Runs the loop in this process, with the functions listed in ``places`` timed from outside (see
``spans.py``). The model's time is ``evaluation``, in which mlx computes or is waited for, and
``building``, in which Python says what it is to compute. What a sampler computes is evaluated with
the model, so ``sampling`` is its building alone. Lanes that decode side by side share their time.
Writes ``profile.json`` and ``profile.svg`` and ``.png``.
"""

from __future__ import annotations

import argparse
import functools
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from growth import machine
from spans import Spans, replaced

from star_mlx import engine, settings, tui
from star_mlx.events import Event, IterationFinished, PhaseStarted
from star_mlx.recipe import loading
from star_mlx.run import loop
from star_mlx.types import Engine

MODEL = ("evaluation", "building")
KINDS = (*MODEL, "sampling", "python", "disk")
TARGET = 0.05  # of an iteration's wall time outside the model


def places(spans: Spans) -> list[tuple[Any, str, Callable[[Any], Any]]]:
    """The functions that are timed: (owner, name, what to put in its place)."""
    import mlx.core as mx
    import mlx.nn as nn
    import mlx.optimizers as optim

    from star_mlx import prompts
    from star_mlx.engine import (
        adapter,
        batches,
        decode,
        form,
        lanes,
        lora,
        optimizer_step,
        sampling,
        shared_cache,
        text,
    )
    from star_mlx.run import learner, metrics
    from star_mlx.store import writing

    def making(kind: str) -> Callable[[Any], Any]:
        """For a function that makes functions: those are timed."""
        return lambda make: lambda *given, **more: spans.timed(kind, make(*given, **more))

    timed: dict[str, list[tuple[Any, str]]] = {
        "evaluation": [(mx, "eval"), (mx, "async_eval"), (mx, "clear_cache"),
                       (mx.array, "tolist"), (mx.array, "item")],
        "building": [(form.Form, "logits"), (decode, "prefill"), (optim.Optimizer, "update"),
                     (optim, "clip_grad_norm"), (optimizer_step, "tree_map"),
                     (adapter.Switch, "use"),
                     (shared_cache.SharedCache, "put"), (shared_cache.SharedCache, "select")],
        "sampling": [(sampling.Draws, "nucleus"), (sampling.Draws, "draw")],
        "disk": [(writing.Store, name) for name in
                 ("chunk", "save_chunk", "save_examples", "save_trained", "finish")]
                + [(adapter, "save")],
        "python: tokens and text": [(text.Text, name) for name in
                                    ("encode", "decode", "before", "chat")],
        "python: stops": [(text.Stops, "find")],
        "python: prompts": [(prompts.Prompts, "batch"), (prompts.Prompts, "training")],
        "python: grading": [(learner, "judge"), (metrics, "line")],
        "python: batches": [(batches, "rows"), (optimizer_step, "padded"), (lora, "micro")],
    }  # fmt: skip
    return [
        *((owner, name, functools.partial(spans.timed, kind))
          for kind, functions in timed.items() for owner, name in functions),
        (nn, "value_and_grad", making("building")),
        (lanes.Lanes, "run", spans.side_by_side),
    ]  # fmt: skip


def profile(made: settings.Recipe, base: Engine, run: Path) -> dict[str, Any]:
    """Run a recipe's loop and say where the time of its iterations went, the base's left out."""
    spans = Spans()
    with replaced(places(spans)), spans.watch(), tui.screen(json=False, plain=True) as screen:

        def emit(event: Event) -> None:
            if isinstance(event, PhaseStarted):
                spans.enter(event.phase if event.iteration else None)
            elif isinstance(event, IterationFinished):
                spans.enter(None)
            screen(event)

        loop.run(made, run, emit, engine=base)
    return summary({phase: found for phase, found in spans.seconds.items() if phase is not None})


def summary(seconds: dict[str, dict[str, float]]) -> dict[str, Any]:
    """Seconds by phase and kind, and the share of all that is outside the model."""
    phases = {}
    for phase, found in seconds.items():
        row = dict.fromkeys(KINDS, 0.0)
        for name, value in found.items():
            row[name.split(":")[0]] += value
        detail = {n.split(": ")[1]: round(s, 3) for n, s in sorted(found.items()) if ":" in n}
        shares = {k: round(v, 3) for k, v in row.items()}
        phases[phase] = {**shares, "outside_model": round(outside(row), 4), "python_by": detail}
    whole: dict[str, float] = {k: round(sum(row[k] for row in phases.values()), 3) for k in KINDS}
    return {"phases": phases, "whole": {**whole, "outside_model": round(outside(whole), 4)}}


def outside(row: dict[str, Any]) -> float:
    """The share of a row's time that is not the model's."""
    return 1 - sum(row[k] for k in MODEL) / max(1e-9, sum(row[k] for k in KINDS))


def draw(found: dict[str, Any], out: Path) -> list[Path]:
    """A bar a phase and one for all, each its whole time: SVG and PNG."""
    import growth_pictures as pictures
    from matplotlib import pyplot as plt

    colors = (pictures.BLUE, "#88aadd", pictures.GREEN, pictures.ORANGE, pictures.RED)
    rows = list({**found["phases"], "whole iteration": found["whole"]}.items())[::-1]
    sums = [sum(row[k] for k in KINDS) for _, row in rows]
    names = [f"{name}, {total:.1f} s" for (name, _), total in zip(rows, sums, strict=True)]
    with plt.rc_context(pictures.STYLE):
        figure, axes = plt.subplots(figsize=(9, 1.9 + 0.5 * len(rows)))
        left = [0.0] * len(rows)
        for kind, color in zip(KINDS, colors, strict=True):
            each = [100 * row[kind] / max(1e-9, s) for (_, row), s in zip(rows, sums, strict=True)]
            axes.barh(names, each, left=left, color=color, label=kind, height=0.6)
            left = [a + b for a, b in zip(left, each, strict=True)]
        for i, (_, row) in enumerate(rows):
            axes.text(101, i, f"{100 * outside(row):.1f}% outside the model", va="center")
        axes.axvline(100 * (1 - TARGET), color="black", linestyle="--", linewidth=1)
        axes.set_xlim(0, 130)
        axes.set_xticks([0, 20, 40, 60, 80, 95], ["0", "20", "40", "60", "80", "target 95"])
        axes.grid(axis="y", visible=False)
        axes.set_xlabel("share of the phase's wall time, %")
        axes.set_title(f"Where an iteration's time goes: {found['what']}", loc="left")
        figure.legend(ncols=len(KINDS), frameon=False, loc="outside lower center")
        return pictures.save(out / "profile")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--run", type=Path, help="keep the run folder, which must be new")
    parser.add_argument("--task")
    parser.add_argument("--recipe")
    parser.add_argument("--model")
    parser.add_argument("--data")
    parser.add_argument("--set", dest="settings", action="append", default=[], metavar="KEY=VALUE")
    given = parser.parse_args()
    if given.run and given.run.exists():
        parser.error(f"{given.run} exists: a run that is gone on with shows only its rest")
    made = loading.load(
        given.recipe,
        task=given.task or (None if given.recipe else "arithmetic"),
        model=given.model,
        data=given.data,
        overrides=["star.iterations=1", "evaluate.zero_shot=false", *given.settings],
    )
    spec = made.model
    base = engine.open_engine(
        spec.path, revision=spec.revision, trust_remote_code=spec.trust_remote_code
    )
    given.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="profile-", dir=given.out) as folder:
        found = profile(made, base, given.run or Path(folder) / "run")
    what = f"{made.task.name}, {Path(made.model.path).name}"
    found = {"what": what, "machine": machine(), "settings": given.settings, **found}
    (given.out / "profile.json").write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    draw(found, given.out)
    print(f"outside the model: {100 * found['whole']['outside_model']:.1f}% of the iteration")


if __name__ == "__main__":
    main()
