"""Completing prompts: their shared prefix read once, rows decoded together till their stops."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

import mlx.core as mx
import mlx.nn as nn

from star_mlx.engine import batch_copied
from star_mlx.engine.batch import Rows, Sampler, prefill
from star_mlx.engine.form import Cache, Form
from star_mlx.engine.lanes import Lanes
from star_mlx.engine.memory import Memory
from star_mlx.engine.text import Stops, Text
from star_mlx.types import Completion, Decoding, ModelError

KEPT_PREFIXES = 4  # few-shot prompts kept in memory, with and without hints, of two adapters


class Prefixes:
    """Caches of prefixes already read, by (adapter, tokens); a pure function of its key."""

    def __init__(self) -> None:
        self._known: dict[tuple[Hashable, tuple[int, ...]], Cache] = {}

    def get(
        self, model: nn.Module, adapter: Hashable, tokens: Sequence[int], reading: int
    ) -> Cache | None:
        """The cache of ``tokens`` as the model with this adapter reads them, so many at a time;
        None for none."""
        if not tokens:
            return None
        key = (adapter, tuple(tokens))
        cache = self._known.pop(key, None) or prefill(model, tokens, reading)
        self._known[key] = cache  # the last used stands last
        while len(self._known) > KEPT_PREFIXES:
            del self._known[next(iter(self._known))]
        return cache


def shared(rows: Sequence[Sequence[int]], prefix: Sequence[int]) -> int:
    """How many tokens of ``prefix`` all rows begin with, leaving every row at least one."""
    n = min([len(prefix), *(len(row) - 1 for row in rows)])
    for row in rows:
        n = next((i for i in range(n) if row[i] != prefix[i]), n)
    return n


@dataclass(slots=True)
class _Row:
    """A row while it is decoded; ``limit`` is the most tokens it may take."""

    limit: int
    ids: list[int] = field(default_factory=list)
    completion: Completion | None = None


def generate(
    model: nn.Module,
    form: Form,
    lanes: Lanes,
    memory: Memory,
    text: Text,
    prompts: Sequence[str],
    decoding: Decoding,
    *,
    prefix: str,
    seeds: Sequence[int],
    context: int,
    prefixes: Prefixes,
    adapter: Hashable,
    progress: Callable[[int, int], None],
) -> list[Completion]:
    """Complete ``prefix + prompts[i]`` for every i, in order; see ``types.Engine.generate``.

    Longer prompts start first, so that rows of one length run together.

    Raises:
        ModelError: a prompt leaves no room in the model's ``context`` (tokens).
    """
    if not prompts:
        return []
    tokens = [text.prompt(prefix + prompt) for prompt in prompts]
    longest = max(map(len, tokens))
    if not min(map(len, tokens)):
        raise ModelError("an empty prompt cannot be completed by a model without a start token")
    if longest >= context:
        raise ModelError(
            f"a prompt of {longest} tokens leaves no room in the model's context of {context}: "
            "use fewer few-shot examples or a base with a longer context"
        )
    n = shared(tokens, text.prompt(prefix)) if prefix else 0
    cache = prefixes.get(model, adapter, tokens[0][:n], memory.reading())
    rows = [_Row(min(decoding.max_tokens, context - len(t))) for t in tokens]
    order = sorted(range(len(tokens)), key=lambda i: -len(tokens[i]))
    most = max(len(t) - n + row.limit for t, row in zip(tokens, rows, strict=True))
    lane_count = 1 if form.unshared else lanes.count(min(decoding.batch_size, len(tokens)))
    copied = n if form.unshared else 0
    batch_size, lane_count, reading = memory.decoding(
        decoding.batch_size, lane_count, longest=longest - n + copied, tokens=most + copied
    )
    done = total = 0

    def job(share: Sequence[int], size: int) -> Callable[[Callable[[Any], None]], None]:
        samplers = [sampler(decoding, seeds[i]) for i in share] if decoding.temperature else None
        remaining = [tokens[i][n:] for i in share]

        def run(report: Callable[[Any], None]) -> None:
            with (
                batch_copied.Rows(model, remaining, prefix=cache, samplers=samplers, size=size)
                if form.unshared
                else Rows(
                    model, form, remaining,
                    prefix=cache, prefix_length=n, samplers=samplers, size=size,
                    reading=reading,
                )
            ) as batch:  # fmt: skip
                _run(batch, [rows[i] for i in share], text, decoding, report)

        return run

    def hear(news: tuple[int, int]) -> None:
        nonlocal done, total
        done, total = done + news[0], total + news[1]
        if news[0]:
            progress(done, total)

    # Which rows a lane takes is settled beforehand, so that a run does not depend on its timing.
    shares = [order[i::lane_count] for i in range(lane_count)]
    sizes = [len(range(i, batch_size, lane_count)) for i in range(lane_count)]
    lanes.run([job(share, size) for share, size in zip(shares, sizes, strict=True)], hear)
    return [row.completion for row in rows if row.completion is not None]


def _run(
    batch: Rows | batch_copied.Rows,
    rows: Sequence[_Row],
    text: Text,
    decoding: Decoding,
    report: Callable[[tuple[int, int]], None],
) -> None:
    """Decode until all rows are complete; report how many ended and tokens came, step by step."""
    stops = Stops(text, decoding.stop)
    for step in batch.steps():
        ended: list[int] = []
        tokens = 0
        for i, token in step:
            tokens += 1
            rows[i].completion = _advance(rows[i], token, text, stops)
            if rows[i].completion is not None:
                ended.append(i)
        batch.remove(ended)
        report((len(ended), tokens))


def _advance(row: _Row, token: int, text: Text, stops: Stops) -> Completion | None:
    """Take a row's next token; its completion where it ends there."""
    if token in text.eos:
        return Completion(text.decode(row.ids), tuple(row.ids), "stop")
    row.ids.append(token)
    at = stops.find(row.ids)
    if at is not None:
        return Completion(text.decode(row.ids)[:at], tuple(text.before(row.ids, at)), "stop")
    if len(row.ids) < row.limit:
        return None
    return Completion(text.decode(row.ids), tuple(row.ids), "length")


def sampler(decoding: Decoding, seed: int) -> Sampler:
    """A sampler of one row: temperature, then the nucleus of ``top_p`` (Holtzman et al. 2020).

    Its key is the row's own and is split at every token, so that what it draws depends on the
    seed and the log-probabilities alone, not on the rows beside it.
    """
    key = mx.random.key(seed % (1 << 64))

    def sample(logprobs: mx.array) -> mx.array:
        nonlocal key
        key, now = mx.random.split(key)
        logits = logprobs.astype(mx.float32) / decoding.temperature
        if decoding.top_p < 1.0:
            order = mx.argsort(-logits, axis=-1)
            p = mx.softmax(mx.take_along_axis(logits, order, axis=-1), axis=-1)
            above = mx.cumsum(p, axis=-1) - p  # probability of what ranks higher
            place = mx.argsort(order, axis=-1)
            inside = mx.take_along_axis(above < decoding.top_p, place, axis=-1)
            logits = mx.where(inside, logits, -mx.inf)
        return mx.random.categorical(logits, axis=-1, key=now)

    return sample
