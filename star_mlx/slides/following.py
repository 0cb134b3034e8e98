"""The slides of a run folder: of a finished run at once, of one that goes on as it comes."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path

from star_mlx.errors import RunError
from star_mlx.events import RunFinished
from star_mlx.measure import verdict
from star_mlx.progress import watch
from star_mlx.slides import way as ways
from star_mlx.slides.deck import deck
from star_mlx.slides.slide import Slide
from star_mlx.slides.way import Way
from star_mlx.store import reading


class FollowedSlides:
    """The slides of a run folder, read again whenever ``read`` is called. A run that no process
    drives counts as finished.

    Which problem's way is shown is chosen once, when the first iteration is finished.

    Args:
        run: the run folder.
        problem: the id of the problem whose way is shown; by default the most telling one.

    Raises:
        RunError: no such run, a damaged one, a baseline, or no such problem.
    """

    def __init__(self, run: Path, problem: str | None = None) -> None:
        self._run, self._problem = run, problem
        self._files = watch.Files(run)
        if kind := self._files.record.recipe.get("baseline"):
            raise RunError(
                f"{run} is the baseline {kind}, which has no iterations to show: give the folder "
                "of a loop"
            )
        self._way: Way | None = None
        self._verdict: tuple[str, ...] = ()
        self._known = 0  # finished iterations when the way was read
        self.state = self._files.state()
        if self._files.standing(datetime.now(timezone.utc))[0] == "stopped":
            self.state.apply(RunFinished(str(run), "stopped", 0.0))  # what there is, is all
        self._follow(problem, None)  # an error is raised before anything is drawn
        self.slides: Sequence[Slide] = self._slides()

    def read(self) -> None:
        """Read how far the run is now. Slides that are known stay where they are."""
        if self.state.finished:
            return
        self.state = self._files.state()
        with suppress(RunError):  # without it the lesson goes on
            latest = str(max((line.iteration for line in self.state.metrics), default=0))
            self._follow(self._problem, latest)
        found = self._slides()
        self.slides = found if len(found) >= len(self.slides) else self.slides

    def _follow(self, problem: str | None, iteration: str | None) -> None:
        """Choose the problem whose way is shown, or read how its way went on."""
        trained = sum(line.iteration > 0 for line in self.state.metrics)
        if trained == self._known:
            return
        self._known = trained
        if self._way:
            problem, iteration = self._way.trace.id, str(self._way.trace.iteration)
        self._way = ways.of_run(reading.read(self._run), problem, iteration)

    def _slides(self) -> list[Slide]:
        if self.state.finished and not self._verdict:
            with suppress(RunError):
                record, run = reading.read(self._run), str(self._run)
                self._verdict = verdict.of_run(record, run=run).sentences
        return deck(self.state, self._way, self._verdict)
