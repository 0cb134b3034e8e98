"""Which iteration of a run a name means: a number, best, last, few-shot or zero-shot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from star_mlx.errors import RunError
from star_mlx.store.metrics import Metrics


class HasIterations(Protocol):
    """The part of a run that is needed here; ``reading.RunRecord`` has it."""

    @property
    def path(self) -> Path: ...
    @property
    def metrics(self) -> Sequence[Metrics]: ...
    @property
    def best(self) -> int: ...
    @property
    def last(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Which:
    """An iteration, 0 being the base; ``zero_shot`` is the base without its few-shot prompt."""

    number: int
    zero_shot: bool = False


BASES = {"few-shot": Which(0), "zero-shot": Which(0, zero_shot=True)}
NAMES = ("best", "last", *BASES)  # besides numbers


def is_name(text: str) -> bool:
    """Whether a text can name an iteration, of any run."""
    return text.isdecimal() or text in NAMES


def no_such(name: str) -> str:
    """The error message for a text that does not name an iteration."""
    return f"no iteration {name!r}: give a number, {', '.join(NAMES[:-1])} or {NAMES[-1]}"


def resolve(name: str, *, best: int, last: int) -> Which:
    """The iteration that a name means, whether or not it exists.

    Raises:
        RunError: it is not the name of an iteration.
    """
    if name.isdecimal():
        return Which(int(name))
    numbers = {"best": Which(best), "last": Which(last), **BASES}
    if name not in numbers:
        raise RunError(no_such(name))
    return numbers[name]


def which(run: HasIterations, name: str) -> Which:
    """The iteration of a run that a name means. Its adapter may have been deleted.

    Raises:
        RunError: it is not the name of an iteration, or the run has not finished that iteration.
    """
    found = resolve(name, best=run.best, last=run.last)
    if found.number and found.number not in (line.iteration for line in run.metrics):
        raise RunError(f"{run.path} has no iteration {found.number}: its last is {run.last}")
    return found


def number(run: HasIterations, name: str) -> int:
    """The number of an iteration whose model is to be used: any name but ``zero-shot``.

    Raises:
        RunError: as ``which``, or it is ``zero-shot``.
    """
    found = which(run, name)
    if found.zero_shot:
        raise RunError("zero-shot is a way to measure the base: give a number, best or last")
    return found.number


def most_accurate(accuracies: Mapping[int, float]) -> int | None:
    """The iteration with the highest dev accuracy, the earliest of equals; None if there is none.

    ``accuracies`` are by iteration, in order. The base is included: if nothing beats it, it is the
    best.
    """
    return max(accuracies, key=lambda n: accuracies[n], default=None)
