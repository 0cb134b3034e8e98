"""Several comparisons as one: a "no" is certain, whatever else is undecided."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from star_mlx.answers.math.limits import Undecided


def all_of(verdicts: Iterable[Callable[[], bool]]) -> bool:
    """Whether every comparison says yes. One "no" is enough for a no, whatever is undecided.

    Raises:
        Undecided: none says no, and one is undecided.
    """
    undecided: Undecided | None = None
    for verdict in verdicts:
        try:
            if not verdict():
                return False
        except Undecided as error:
            undecided = undecided or error
    if undecided is not None:
        raise undecided
    return True


def each(compare: Callable[[Any, Any], bool], a: Sequence[Any], b: Sequence[Any]) -> bool:
    """Whether two sequences of one length are the same, part by part.

    Raises:
        Undecided: no part is different, and one is undecided.
    """
    return all_of(functools.partial(compare, x, y) for x, y in zip(a, b, strict=True))
