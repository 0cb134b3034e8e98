"""Test on dev problems whether a model that was quantized again still answers as trained."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from star_mlx import engine as engines
from star_mlx.errors import ModelError
from star_mlx.events import Emit, PhaseStarted
from star_mlx.export.prompt import Setup
from star_mlx.export.source import ExportSource
from star_mlx.measure.accuracy import counted
from star_mlx.measure.paired import paired
from star_mlx.run.passes import At, attempts, begun
from star_mlx.types import Attempt, Engine, Problem


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits for a model: on ``problems`` of dev, at most a share ``changed`` of its greedy
    outputs may differ, and McNemar's test must not find it worse at the 5% level."""

    problems: int
    changed: float


def run(
    source: ExportSource, setup: Setup, folder: Path, bits: int, limits: Limits, emit: Emit
) -> dict[str, Any]:
    """The content of gate.json: the adapter on its base and the model in ``folder``, asked the same
    problems."""
    from star_mlx.engine import open_engine

    problems = setup.task.problems("dev")[: limits.problems]
    engine: Engine = engines.open_base(setup.recipe)
    before = _answers(engine, source.adapter, setup, problems, source.iteration, emit)
    del engine
    gc.collect()  # one model at a time
    engine = open_engine(
        str(folder),
        trust_remote_code=source.trust_remote_code,
        max_memory=setup.recipe.max_memory,
    )
    after = _answers(engine, None, setup, problems, source.iteration, emit)
    verdicts = [{a.id: a.correct for a in made} for made in (before, after)]
    pair = paired(*verdicts)
    changed = sum(a.token_ids != b.token_ids for a, b in zip(before, after, strict=True))
    share = changed / len(problems) if problems else 0.0
    return {
        "problems": len(problems),
        "bits": bits,
        "adapter": counted(sum(verdicts[0].values()), len(verdicts[0])),
        "fused": counted(sum(verdicts[1].values()), len(verdicts[1])),
        "paired": pair.as_json(),
        "words": pair.words("the fused model", "the adapter on its base"),
        "changed": changed,
        "changed_share": round(share, 6),
        "changed_limit": limits.changed,
        "passed": pair.verdict != "worse" and share <= limits.changed,
    }


def judge(found: dict[str, Any], force: bool) -> None:
    """Refuse a model that did not pass, unless forced.

    Raises:
        ModelError: it did not pass; the text says what to use instead.
    """
    if not found["passed"] and not force:
        raise ModelError(
            f"quantized again to {found['bits']} bits it does not pass: {found['words']}; "
            f"{found['changed']} of {found['problems']} greedy outputs changed, but only "
            f"{100 * found['changed_limit']:g}% may. Nothing was written: use --format fused "
            "without --quantize, or the adapter itself (--format mlx); --force writes it "
            "anyway"
        )


def _answers(
    engine: Engine,
    adapter: Path | None,
    setup: Setup,
    problems: Sequence[Problem],
    iteration: int,
    emit: Emit,
) -> list[Attempt]:
    emit(PhaseStarted(iteration, "evaluate", len(problems)))
    return attempts(
        engine,
        adapter,
        setup.asking.at(0.0),
        problems,
        seeds=[0] * len(problems),
        progress=At(emit, begun(iteration, "evaluate", len(problems)), engine.memory),
    )
