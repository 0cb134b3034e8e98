"""Complete the prompts of a chunk, by whatever engine is given, and end thinking that goes on."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from star_mlx.answers import thinking
from star_mlx.recipe.asking import ChunkWork, PromptBatch
from star_mlx.types import Completion, Engine

Progressing = Callable[[int, int], None]  # see ``Engine.generate``


def complete(
    engine: Engine, adapter: Path | None, batches: Sequence[PromptBatch], progress: Progressing
) -> list[Completion]:
    """Complete the prompts of all batches, one batch after the other."""
    made: list[Completion] = []
    for batch in batches:
        tokens = sum(len(one.token_ids) for one in made)
        made += _completed(
            engine, adapter, batch, functools.partial(_further, progress, len(made), tokens)
        )
    return made


def complete_all(
    engine: Engine, jobs: Iterator[ChunkWork], progress: Progressing
) -> Iterator[list[Completion]]:
    """The completions of each job, in the order of the jobs.

    A job is taken and done when its completions are asked for. An engine that shares work among
    processes (one with a ``share``) takes some ahead.

    Args:
        progress: called with what is done, and not handed out yet.
    """
    share = getattr(engine, "share", None)
    if share is not None:
        yield from share(jobs, progress)
        return
    for job in jobs:
        yield complete(engine, job.adapter, job.batches, progress)


def _further(progress: Progressing, before: int, spent: int, done: int, tokens: int) -> None:
    progress(before + done, spent + tokens)


def _completed(
    engine: Engine, adapter: Path | None, batch: PromptBatch, progress: Progressing
) -> list[Completion]:
    generate = functools.partial(engine.generate, prefix=batch.prefix, adapter=adapter)
    bound = batch.thinking_tokens
    if bound is None or bound >= batch.decoding.max_tokens:  # as in a short trial
        return generate(batch.prompts, batch.decoding, seeds=batch.seeds, progress=progress)
    return _bounded(engine, generate, batch, bound, progress)


def _bounded(
    engine: Engine,
    generate: Callable[..., list[Completion]],
    batch: PromptBatch,
    bound: int,
    progress: Progressing,
) -> list[Completion]:
    """Generate in two parts: as many tokens as thinking may take, and the rest, before which the
    thinking that goes on is ended. A completion that fills the model's context ends there."""
    prompts, seeds = batch.prompts, batch.seeds
    part = replace(batch.decoding, max_tokens=bound)
    made = generate(prompts, part, seeds=seeds, progress=lambda done, tokens: progress(0, tokens))
    found = [i for i, c in enumerate(made) if c.finish == "length" and len(c.token_ids) >= bound]
    marks = [thinking.end_of(made[i].text, prompts[i]) for i in found]
    added = dict(zip(found, (f"\n{mark}\n\n" if mark else "" for mark in marks), strict=True))
    asked = {i: prompts[i] + made[i].text + end for i, end in added.items()}
    going = [i for i in found if _fits(engine, batch.prefix + asked[i])]
    before, tokens = len(made) - len(going), sum(len(c.token_ids) for c in made)
    rest = generate(
        [asked[i] for i in going],
        replace(batch.decoding, max_tokens=batch.decoding.max_tokens - bound),
        seeds=[seed(seeds[i], "after thinking") for i in going],
        progress=lambda done, more: progress(before + done, tokens + more),
    )
    for i, more in zip(going, rest, strict=True):
        ids = (*made[i].token_ids, *engine.encode(added[i]), *more.token_ids)
        made[i] = Completion(made[i].text + added[i] + more.text, ids, more.finish)
    return made


def _fits(engine: Engine, text: str) -> bool:
    """Whether a prompt leaves room in the model's context, if that is known."""
    context = engine.describe().get("context")
    if context is None or len(text.encode()) + 2 < context:  # a token is a byte or more
        return True
    return len(engine.encode(text)) + 1 < context  # 1: a start token


def seed(*parts: object) -> int:
    """A seed in [0, 2**32) derived from its purpose, the same on every machine."""
    text = "/".join(map(str, parts))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")
