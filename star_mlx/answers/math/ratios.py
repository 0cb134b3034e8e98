"""Whether two ratios, or a ratio and a number, are the same."""

from __future__ import annotations

import itertools

from star_mlx.answers.math import equality
from star_mlx.answers.math.limits import Undecided
from star_mlx.answers.math.values import Node, Ratio
from star_mlx.answers.math.verdicts import each


def same(answer: Ratio, gold: Ratio) -> bool:
    """Whether two ratios are the same: 3:2 is 6:4.

    Raises:
        Undecided: one of them is of zeros, or the right answer may be a time of day.
    """
    if len(answer.parts) != len(gold.parts):
        return False
    if any(all(equality.sign(part) == 0 for part in ratio.parts) for ratio in (answer, gold)):
        raise Undecided("a ratio of zeros has no value")
    pairs = list(itertools.combinations(zip(answer.parts, gold.parts, strict=True), 2))
    crossed = [[Node("multiply", (p[0][0], p[1][1])) for p in pairs]]
    crossed.append([Node("multiply", (p[1][0], p[0][1])) for p in pairs])
    if not each(equality.same, *crossed):
        return False
    _no_time(gold)
    return True


def _no_time(gold: Ratio) -> None:
    """Refuse 1:5, or 0.2, for a right answer of 6:30.

    Raises:
        Undecided: the right answer may be a time of day.
    """
    hours, *minutes = (equality.rational(part) for part in gold.parts)
    if hours in range(25) and len(minutes) == 1 and minutes[0] in range(10, 60):
        raise Undecided("the right answer may be a time of day")


def same_quotient(ratio: Ratio, bare: Node, *, of_gold: bool) -> bool:
    """Whether a ratio of two is a number: 3:2 is 1.5.

    Args:
        ratio: one side.
        bare: the other side.
        of_gold: whether the ratio is the right answer.

    Raises:
        Undecided: the right answer may be a time of day.
    """
    if len(ratio.parts) != 2 or not equality.same(bare, Node("divide", ratio.parts)):
        return False
    if of_gold:
        _no_time(ratio)
    return True
