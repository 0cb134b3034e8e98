"""Complete prompts: read their shared prefix once, and decode rows together up to their stops."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

import mlx.nn as nn

from star_mlx.engine import batch_copied
from star_mlx.engine.batch import SharedBatch, prefill
from star_mlx.engine.form import Cache, Form
from star_mlx.engine.lanes import Lanes
from star_mlx.engine.memory import Memory
from star_mlx.engine.sampling import Draws
from star_mlx.engine.text import Stops, Text
from star_mlx.errors import ModelError
from star_mlx.types import Completion, Decoding

CIRCLE = 64  # tokens that must repeat
KEPT_PREFIXES = 4  # few-shot prompts kept in memory, with and without hints, of two adapters


class Prefixes:
    """Caches of prefixes already read, by (adapter, tokens); a pure function of its key."""

    def __init__(self) -> None:
        self._known: dict[tuple[Hashable, tuple[int, ...]], Cache] = {}

    def get(
        self, model: nn.Module, adapter: Hashable, tokens: Sequence[int], reading: int
    ) -> Cache | None:
        """The cache of ``tokens``, read by the model with this adapter, ``reading`` at a time; None
        if there are no tokens."""
        if not tokens:
            return None
        key = (adapter, tuple(tokens))
        cache = self._known.pop(key, None) or prefill(model, tokens, reading)
        self._known[key] = cache  # the last used is last
        while len(self._known) > KEPT_PREFIXES:
            del self._known[next(iter(self._known))]
        return cache


def shared(rows: Sequence[Sequence[int]], prefix: Sequence[int]) -> int:
    """The number of tokens of ``prefix`` that all rows begin with, leaving each at least one."""
    n = min([len(prefix), *(len(row) - 1 for row in rows)])
    for row in rows:
        n = next((i for i in range(n) if row[i] != prefix[i]), n)
    return n


@dataclass(slots=True)
class _Pending:
    """A row while it is decoded; ``limit`` is its maximum number of new tokens."""

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

    Longer prompts start first, so that rows of the same length run together.

    Raises:
        ModelError: a prompt fills the model's ``context`` (tokens).
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
    cache = prefixes.get(model, adapter, tokens[0][:n], memory.reading(n))
    rows = [_Pending(min(decoding.max_tokens, context - len(t))) for t in tokens]
    order = sorted(range(len(tokens)), key=lambda i: -len(tokens[i]))
    most = max(len(t) - n + row.limit for t, row in zip(tokens, rows, strict=True))
    lane_count = 1 if form.unshared else lanes.count(min(decoding.batch_size, len(tokens)))
    copied = n if form.unshared else 0
    batch_size, lane_count, reading = memory.decoding(
        decoding.batch_size,
        lane_count,
        prefix=n,
        longest=longest - n + copied,
        tokens=most + copied,
        copied=bool(form.unshared),
    )
    done = total = 0

    def job(share: Sequence[int], size: int) -> Callable[[Callable[[Any], None]], None]:
        remaining = [tokens[i][n:] for i in share]

        def run(report: Callable[[Any], None]) -> None:
            warm = decoding.temperature > 0
            draws = Draws(decoding, [seeds[i] for i in share]) if warm else None
            with (
                batch_copied.CopiedBatch(model, remaining, prefix=cache, draws=draws, size=size)
                if form.unshared
                else SharedBatch(
                    model, form, remaining,
                    prefix=cache, prefix_length=n, draws=draws, size=size,
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

    # The rows of a lane are fixed in advance, so that a run does not depend on its timing.
    shares = [order[i::lane_count] for i in range(lane_count)]
    if form.unshared and not form.copied:
        batch_size = 1
    sizes = [len(range(i, batch_size, lane_count)) for i in range(lane_count)]
    lanes.run([job(share, size) for share, size in zip(shares, sizes, strict=True)], hear)
    return [row.completion for row in rows if row.completion is not None]


def _run(
    batch: SharedBatch | batch_copied.CopiedBatch,
    rows: Sequence[_Pending],
    text: Text,
    decoding: Decoding,
    report: Callable[[tuple[int, int]], None],
) -> None:
    """Decode until all rows are complete; report the ended rows and new tokens of each step."""
    stops = Stops(text, decoding.stop)
    circles = decoding.stop_repeats and decoding.temperature == 0
    for step in batch.steps():
        ended: list[int] = []
        tokens = 0
        for i, token in step:
            tokens += 1
            rows[i].completion = _advance(rows[i], token, text, stops, circles)
            if rows[i].completion is not None:
                ended.append(i)
        batch.remove(ended)
        report((len(ended), tokens))


def _advance(
    row: _Pending, token: int, text: Text, stops: Stops, circles: bool = False
) -> Completion | None:
    """Add a row's next token; return its completion if it ends there."""
    if token in text.eos:
        return Completion(text.decode(row.ids), tuple(row.ids), "stop")
    row.ids.append(token)
    at = stops.find(row.ids)
    if at is not None:
        return Completion(text.decode(row.ids)[:at], tuple(text.before(row.ids, at)), "stop")
    if len(row.ids) < row.limit and not (circles and circling(row.ids)):
        return None
    return Completion(text.decode(row.ids), tuple(row.ids), "length")


def circling(ids: Sequence[int]) -> bool:
    """Whether the last 64 tokens or more repeat one phrase of at most 32 tokens.

    It must repeat at least four times in a row; checked every 16 tokens.
    """
    if len(ids) < CIRCLE or len(ids) % 16:
        return False
    for period in range(1, CIRCLE // 2 + 1):
        n = max(CIRCLE, 4 * period)
        if len(ids) >= n and ids[-n:-period] == ids[period - n :]:
            return True
    return False
