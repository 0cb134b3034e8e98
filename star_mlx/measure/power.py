"""The power of the paired test: which difference will mostly be seen with n problems.

Uses only the standard library, so that a dry run can say it at once.
"""

from __future__ import annotations

import math
from statistics import NormalDist

from star_mlx.measure.paired import ALPHA, mcnemar

LOST = 0.05  # assumed share of problems that only the old model has right
EXACT = 500  # up to this number of problems the power is computed exactly
LADDER = (1, 2, 3, 5, 10, 15, 20, 30, 40, 50)  # differences to choose from, in points
SEEN, UNSEEN = 0.8, 0.5  # power from which a difference is mostly seen, below which mostly not


def power(n: int, difference: float, lost: float = LOST) -> float:
    """The probability that the exact McNemar test finds a true difference at the 5% level.

    A share ``lost`` of the problems is right before and wrong after, and ``lost + difference`` the
    reverse. Given their sum, the number of discordant pairs is binomial, and given that number so
    are the pairs on one side (Duffy 1984, "Asymptotic and exact power for the McNemar test and its
    analogue with R controls per case"). For large n, the normal approximation of Connor (1987,
    "Sample size for testing differences in proportions for the paired-sample design") with a
    continuity correction.

    Args:
        n: the number of problems that both models are asked.
        difference: in accuracy, as a fraction, from 0 to ``1 - 2 * lost``.
        lost: the assumed share of problems lost.

    Raises:
        ValueError: a negative number of problems, or shares that are not possible.
    """
    share = difference + 2 * lost
    if n < 0 or difference < 0 or lost < 0 or share > 1 + 1e-9:
        raise ValueError(f"no such comparison: n={n}, difference={difference}, lost={lost}")
    if n == 0 or share == 0:
        return 0.0
    if n > EXACT:
        spread = math.sqrt(n * (share - difference**2))
        z = NormalDist().inv_cdf(1 - ALPHA / 2)
        return NormalDist().cdf((n * difference - 1 - z * math.sqrt(n * share)) / spread)
    found, few = 0.0, -1
    around = 6 * math.sqrt(n * share * (1 - share)) + 6  # beyond it there is no weight
    for pairs in range(max(0, int(n * share - around)), min(n, int(n * share + around)) + 1):
        while few + 1 < pairs and mcnemar(pairs - few - 1, few + 1) < ALPHA:
            few += 1  # the largest smaller side that is still significant
        weight = _binomial(n, pairs, share)
        if few >= 0:
            tails = (
                sum(_binomial(pairs, side, part / share) for side in range(few + 1))
                for part in (lost, lost + difference)
            )
            found += weight * sum(tails)
    return min(1.0, found)


def _binomial(n: int, k: int, p: float) -> float:
    if p <= 0 or p >= 1:
        return float(k == (n if p >= 1 else 0))
    ways = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
    return math.exp(ways + k * math.log(p) + (n - k) * math.log1p(-p))


def sentence(n: int) -> str:
    """In one line, which difference n dev problems will mostly show, and which not.

    Assumes that a twentieth of the problems is right before training and wrong after (``LOST``).

    >>> sentence(200)[:70]
    'With 200 dev problems a difference of 5 points will mostly not be seen'
    """
    if n < 1:
        return "There are no dev problems: nothing will show whether the training helps."
    problems = "dev problem" if n == 1 else "dev problems"
    if mcnemar(n, 0) >= ALPHA:
        return f"With {n} {problems} no difference can be significant, however large it is."
    found: dict[int, float] = {}
    for points in LADDER:
        found[points] = power(n, points / 100)
        if found[points] >= SEEN:
            break
    seen = points if found[points] >= SEEN else None
    unseen = max((other for other, value in found.items() if value < UNSEEN), default=None)
    if seen is None:
        most = LADDER[-1]
        return (
            f"With {n} {problems} even a difference of {most} points may not be seen "
            f"(power {_percent(found[most])})."
        )
    if unseen is None:
        return (
            f"With {n} {problems} a difference of {_points(seen)} will be seen "
            f"(power {_percent(found[seen])})."
        )
    return (
        f"With {n} {problems} a difference of {_points(unseen)} will mostly not be seen "
        f"(power {_percent(found[unseen])}); {_points(seen)} will ({_percent(found[seen])})."
    )


def _points(number: int) -> str:
    return f"{number} point" if number == 1 else f"{number} points"


def _percent(value: float) -> str:
    """A power in whole per cent; never called certain."""
    return f"{min(99, round(100 * value))}%"
