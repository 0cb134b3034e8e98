"""Training rows as arrays, and their loss."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import mlx.core as mx
import mlx.nn as nn

from star_mlx.engine import batches, vector
from star_mlx.engine.batches import TrainingRow
from star_mlx.engine.device import on_cpu
from star_mlx.engine.form import Form

WIDTHS = 32  # on a GPU, widths are multiples of this, so that its kernels meet few shapes
SHARES = 8  # and the supervised places are so many eighths of all places


class Padded(NamedTuple):
    """Rows as arrays: inputs (B, T), the N places in B*T that predict supervised tokens, and those.

    ``weights`` (N,) are 0 for places that are only there for the shape; None if there are none.
    """

    inputs: mx.array
    where: mx.array
    targets: mx.array
    weights: mx.array | None


def padded_width(length: int) -> int:
    """The tokens of a row of ``length`` tokens and its padding, if it is the longest of a batch."""
    return length if on_cpu() else math.ceil((length - 1) / WIDTHS) * WIDTHS + 1


def supervised_share(rows: Sequence[TrainingRow]) -> float:
    """The share of the places that are supervised, at most, in any batch of these rows."""
    share = max(1 - row.start / len(row.tokens) for row in rows)
    return share if on_cpu() else min(1.0, math.ceil(SHARES * share) / SHARES)


def padded(part: Sequence[TrainingRow]) -> Padded:
    """Rows as arrays.

    Rows are padded at the end, which causal attention never sees from a real token.
    """
    width = padded_width(max(len(row.tokens) for row in part)) - 1
    inputs = [list(row.tokens[:-1]) + [0] * (width + 1 - len(row.tokens)) for row in part]
    where = [
        b * width + t - 1 for b, row in enumerate(part) for t in range(row.start, len(row.tokens))
    ]
    targets = [token for row in part for token in row.tokens[row.start :]]
    if on_cpu():
        return Padded(mx.array(inputs), mx.array(where), mx.array(targets), None)
    unit = len(part) * width // SHARES
    more = -len(where) % unit
    weights = [1.0] * len(where) + [0.0] * more
    where, targets = where + [0] * more, targets + [0] * more
    return Padded(mx.array(inputs), mx.array(where), mx.array(targets), mx.array(weights))


def loss_sum(
    model: nn.Module,
    form: Form,
    inputs: mx.array,
    where: mx.array,
    targets: mx.array,
    weights: mx.array | None = None,
) -> mx.array:
    """Summed negative log-likelihood (nats) of the supervised tokens, a scalar; see ``Padded``."""
    if vector.wanted() and weights is None and (found := form.frozen_head(model)):
        head, vocabulary = found
        if len(targets) * vocabulary > batches.CPU_LOGITS:
            hidden = form.hidden(model, inputs, where)
            places = max(1, batches.CPU_LOGITS // vocabulary)
            return mx.sum(vector.head_cross_entropy(head, hidden, targets, places))
    logits = form.logits(model, inputs, where).astype(mx.float32)
    if vector.wanted():
        losses = vector.cross_entropy(logits, targets)
    else:
        losses = nn.losses.cross_entropy(logits, targets)
    return mx.sum(losses if weights is None else losses * weights)
