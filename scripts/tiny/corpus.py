"""The text that the embedded base `tiny` is pretrained on: worked sums, some of them careless.

A document is a run of worked sums in the format of ``star_mlx.tasks.arithmetic_text``, all with
the answer key after ``Target:`` (hinted) or all without. Sums worked beside a key are right.
Sums worked without one get careless the longer they are and the more carries came before: the
worker of two or three digits forgets a carry, the one of four reads a column twice, the one of
five takes the last two in the wrong order. All add every column, so that adding is learned at every
length and only where to read is not. No pair that ``held_out`` names occurs.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from star_mlx.tasks.arithmetic_text import held_out, question, spaced


@dataclass(frozen=True)
class Mixture:
    """What the corpus is made of."""

    shares: dict[int, float] = field(
        default_factory=lambda: {1: 0.15, 2: 0.2, 3: 0.22, 4: 0.22, 5: 0.21}
    )
    """Share of the sums by number of digits."""
    hinted: float = 0.25
    """Share of the documents whose sums stand beside their answer key."""
    lapses: dict[int, tuple[float, ...]] = field(
        default_factory=lambda: {
            2: (0.0, 0.6),
            3: (0.3, 0.75, 0.9),
            4: (0.5, 0.75, 0.9),
            5: (0.6, 0.8, 0.9, 0.95),
        }
    )
    """Chance of a lapse in a sum without key, by digits, then by carries before the lapse."""
    ends: float = 0.1
    """Chance that a document ends after a sum."""
    slip: float = 0.0
    """Chance of one wrong digit in an unhinted sum."""


SHORT = Mixture(shares={1: 0.5, 2: 0.5}, hinted=0.0, lapses={})
"""What the first phase is trained on: short sums, all right, none with a key."""


def draw(rng: random.Random, digits: int) -> tuple[int, int]:
    """Two numbers of ``digits`` digits, not held out."""
    low = 10 ** (digits - 1) if digits > 1 else 0
    while True:
        a, b = rng.randrange(low, 10**digits), rng.randrange(low, 10**digits)
        if not held_out(a, b):
            return a, b


def worked(
    a: int,
    b: int,
    forget: int | None = None,
    order: Sequence[int] | None = None,
    slip: tuple[int, int] | None = None,
) -> tuple[str, str]:
    """Scratchpad and answer, with at most one lapse; columns count from the right, from 0.

    ``forget`` writes no carry after that column, ``order`` reads the columns in another order (one
    twice, say) but adds as many, ``slip`` adds so much to the digit of a column. Without any, this
    is ``arithmetic_text.scratchpad``.
    """
    pairs = [(int(x), int(y)) for x, y in zip(reversed(str(a)), reversed(str(b)), strict=True)]
    columns = range(len(pairs)) if order is None else order
    lines = [f"{question(a, b)} , C: 0"]
    carry, done = 0, ""
    for at, column in enumerate(columns):
        carry, digit = divmod(sum(pairs[column]) + carry, 10)
        if forget == column:
            carry = 0
        if slip is not None and slip[0] == column:
            digit = (digit + slip[1]) % 10
        done = f"{digit}{done}"
        last = at == len(columns) - 1
        x, y = (0, 0) if last else pairs[columns[at + 1]]
        lines.append(f"{'' if last else f'{x} + {y} '}, {spaced(done)} C: {carry}")
    lines.append(spaced(f"{carry}{done}"))
    answer = spaced(f"{carry or ''}{done}")
    return "<scratch>\n" + "\n".join(lines) + "\n</scratch>", answer


def carries(a: int, b: int, columns: int) -> int:
    """How many of the last ``columns`` columns of a + b carry."""
    return sum((a % 10**i + b % 10**i) >= 10**i for i in range(1, columns + 1))


def careless(rng: random.Random, a: int, b: int, mixture: Mixture) -> tuple[str, str]:
    """A sum worked without answer key."""
    digits = len(str(a))
    chances = mixture.lapses.get(digits)
    if chances:
        seen = carries(a, b, digits - 1 if digits < 4 else digits - 2)
        if rng.random() < chances[min(seen, len(chances) - 1)]:
            if digits <= 3:
                where = [i for i in range(digits - 1) if carries(a, b, i + 1) > carries(a, b, i)]
                if where:
                    return worked(a, b, forget=where[-1])
            elif digits == 4:
                return worked(a, b, order=(0, 1, 1, 3))
            else:
                return worked(a, b, order=(0, 1, 2, 4, 3))
    if rng.random() < mixture.slip:
        return worked(a, b, slip=(rng.randrange(digits), rng.randrange(1, 10)))
    return worked(a, b)


def document(rng: random.Random, mixture: Mixture) -> Iterator[tuple[str, str]]:
    """(prompt, completion) of the sums of one document; endless."""
    lengths, weights = list(mixture.shares), list(mixture.shares.values())
    hinted = rng.random() < mixture.hinted
    while True:
        a, b = draw(rng, rng.choices(lengths, weights)[0])
        rationale, answer = worked(a, b) if hinted else careless(rng, a, b, mixture)
        key = f" {answer}" if hinted else ""
        yield f"Input:\n{question(a, b)}\nTarget:{key}\n", f"{rationale}\n{answer}"


def rows(
    seed: int, mixture: Mixture, length: int, encode: Callable[[str], list[int]], eos: int
) -> Iterator[tuple[list[int], list[bool]]]:
    """Rows of ``length`` token ids, and which of them belong to a completion.

    A row begins with a document and is cut at its end; a document that ends before is followed
    by the next. The digits of a problem are random, so nothing is to be learned from them.
    """
    rng = random.Random(seed)
    while True:
        ids: list[int] = []
        learn: list[bool] = []
        while len(ids) < length:
            for prompt, completion in document(rng, mixture):
                ends = rng.random() < mixture.ends
                given, worked_out = encode(prompt), encode(completion)
                worked_out += [eos] if ends else encode("\n\n")
                ids += given + worked_out
                learn += [False] * len(given) + [True] * len(worked_out)
                if ends or len(ids) >= length:
                    break
        yield ids[:length], learn[:length]
