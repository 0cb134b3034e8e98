"""Which slide is shown, and what a key does: the projector view without its terminal."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from rich.text import Text

from star_mlx.progress.state import RunState
from star_mlx.slides.deck import now, waiting, working
from star_mlx.slides.slide import PhasePlayed, Slide
from star_mlx.tui.present.drawing import drawn

PLAYED = 3.0  # seconds for the longest phase of a run that is replayed, unless asked for
KEYS = "space: next   left arrow: back   q: leave"
ASKED = "Type a number from 0 to 100 and press Enter. Enter alone skips."
LAST = "the end   left arrow: back   q: leave"
WAITING = "left arrow: back   q: leave"
TYPED = 5  # characters of a guess


class SlideSource(Protocol):
    """A run whose slides are shown; ``slides.following.FollowedSlides`` is one."""

    state: RunState
    slides: Sequence[Slide]

    def read(self) -> None:
        """Read how far the run is now."""


class Presenter:
    """The place in the slides and the class's guesses.

    Args:
        source: the run.
        speed: how many times as fast as it was the run is played again, phase by phase; 0 shows
            each slide at once.
        clock: seconds.
    """

    def __init__(
        self, source: SlideSource, speed: float = 0.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._source, self._speed, self._clock = source, speed, clock
        self._at = 0
        self._seen = 0  # the furthest slide that was shown
        self._since: float | None = None  # when the phase that is played began
        self._typed = ""
        self.guesses: dict[int, float] = {}
        self.left = False

    def press(self, key: str) -> None:
        """React to a key: a character, or ``next``, ``back``, ``enter`` or ``erase``."""
        slide = self._slide
        asks = slide.asks if slide else None
        if key == "q":
            self.left = True
        elif key == "back":
            self._go(self._at - 1)
        elif asks is not None:
            self._guess(asks, key)
        elif self._playing:
            self._since = None
            self._seen = self._at
        elif key in ("next", "enter", " ") and slide:
            self._go(self._at + 1)

    def lines(self, ascii_only: bool = False) -> list[Text]:
        """The lines of the slide that is shown now."""
        state, slide = self._source.state, self._slide
        doing, typed = now(state), ""
        if slide is None:
            shown, keys = waiting(state), WAITING
        elif played := self._playing:
            shown, keys = working(played, self._done(played)), "space: skip   " + WAITING
        elif slide.asks is not None:
            shown, keys, typed = slide, ASKED, self._typed
        else:
            last = state.finished is not None and self._at == len(self._source.slides) - 1
            shown, keys = slide, LAST if last else KEYS
        return drawn(
            shown,
            guesses=self.guesses,
            typed=typed,
            keys=keys,
            now="" if slide is None else doing,
            ascii_only=ascii_only,
        )

    @property
    def _slide(self) -> Slide | None:
        """The slide; None if the run has not come so far."""
        slides = self._source.slides
        if self._source.state.finished:
            self._at = min(self._at, len(slides) - 1)
        return slides[self._at] if self._at < len(slides) else None

    @property
    def _playing(self) -> PhasePlayed | None:
        """The phase that is played before the slide, if it is not over."""
        slide = self._slide
        if self._since is None or slide is None or slide.phase is None:
            return None
        if self._done(slide.phase) < slide.phase.units:
            return slide.phase
        self._since, self._seen = None, self._at
        return None

    def _done(self, played: PhasePlayed) -> int:
        """How much of a phase has been played."""
        gone = (self._clock() - (self._since or 0.0)) * self._speed
        return int(played.units * gone / played.seconds) if played.seconds else played.units

    def _go(self, to: int) -> None:
        """Show a slide; the first one that is not known yet is waited for."""
        slides = self._source.slides
        over = self._source.state.finished is not None
        self._at = max(0, min(to, len(slides) - 1 if over else len(slides)))
        slide = self._slide
        fresh = self._at > self._seen
        self._since = self._clock() if self._speed and fresh and slide and slide.phase else None
        if self._since is None:
            self._seen = max(self._seen, self._at)
        before = self.guesses.get(slide.asks) if slide and slide.asks is not None else None
        self._typed = "" if before is None else f"{before:g}"

    def _guess(self, iteration: int, key: str) -> None:
        if key == "enter":
            if self._typed.strip("."):
                self.guesses[iteration] = float(self._typed)
            else:
                self.guesses.pop(iteration, None)
            self._go(self._at + 1)
        elif key == "erase":
            self._typed = self._typed[:-1]
        elif key in "0123456789.," and len(self._typed) < TYPED:
            typed = self._typed + key.replace(",", ".")
            if re.fullmatch(r"\d+\.?\d?|100\.0?", typed) and float(typed) <= 100:
                self._typed = typed


def speed_of(slides: Sequence[Slide]) -> float:
    """The speed at which the longest phase takes 3 seconds."""
    longest = max((slide.phase.seconds for slide in slides if slide.phase), default=0.0)
    return max(longest, 0.001) / PLAYED
