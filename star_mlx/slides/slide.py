"""A slide: what is said on it, independent of any display."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from star_mlx.store.metrics import Measured
from star_mlx.types import Phase

Tone = Literal["", "strong", "good", "bad"]


@dataclass(frozen=True, slots=True)
class Said:
    """A paragraph."""

    text: str
    tone: Tone = ""


@dataclass(frozen=True, slots=True)
class Quoted:
    """A prompt, or a text of the model; it may be hostile.

    ``marked`` is the number of a line, from 0, that is to stand out as good or as bad, and
    ``remark`` says why.
    """

    text: str
    marked: int | None = None
    tone: Tone = "bad"
    remark: str = ""


@dataclass(frozen=True, slots=True)
class Score:
    """A dev accuracy as the largest thing on the slide, with the class's guess beside it."""

    iteration: int
    dev: Measured


@dataclass(frozen=True, slots=True)
class Scores:
    """The dev accuracies so far as bars, in order, each with the class's guess; with ``average``
    also how far the guesses were off."""

    of: tuple[Score, ...]
    average: bool = False


@dataclass(frozen=True, slots=True)
class Meter:
    """How much of a phase is done."""

    done: int
    total: int


SlidePart = Said | Quoted | Score | Scores | Meter


@dataclass(frozen=True, slots=True)
class PhasePlayed:
    """The phase whose result a slide shows. ``units`` are problems or optimizer steps."""

    iteration: int
    phase: Phase
    units: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Slide:
    """A slide.

    ``asks`` is the iteration whose dev accuracy the class is to guess on this slide; None if it
    asks nothing. ``phase`` is played before the slide is shown if the run is replayed.
    """

    title: str
    parts: tuple[SlidePart, ...]
    asks: int | None = None
    phase: PhasePlayed | None = None
