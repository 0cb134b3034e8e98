"""The live screen: the current state of a run, updated in place."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from star_mlx.events import Event, Notice, Sampled
from star_mlx.formatting import DOING, describe, duration, harmless
from star_mlx.progress.state import RunState
from star_mlx.progress.time_left import about, phase_left, seconds_left
from star_mlx.store.metrics import Metrics
from star_mlx.tui.colours import BAD, GOOD, REST
from star_mlx.tui.plain import farewell, judged, memory, rates
from star_mlx.tui.spark import Spark
from star_mlx.tui.tables import (
    class_cell,
    class_table,
    classes_of,
    iteration_table,
    summary,
)

REFRESH = 0.25  # minimum seconds between two drawings
SHARE = 0.006  # maximum share of the time for drawing
SAMPLE = 6  # minimum lines of the shown attempt, if the terminal allows
ROTATE = 5.0  # seconds for which a sample is shown if no new one comes


class LiveScreen:
    """Shows a run on a terminal, and leaves its table there at the end.

    It draws only when it receives an event or a state, in the caller's thread, so it never runs in
    parallel to the model. Drawing takes at most ``share`` of the time.
    """

    def __init__(
        self,
        console: Console,
        clock: Callable[[], float] = time.monotonic,
        share: float = SHARE,
    ) -> None:
        self._console, self._clock, self._share = console, clock, share
        self._state = RunState()
        self._live: Live | None = None  # begun by the first event: downloads show their own bars
        self._began = clock()
        self._next = 0.0
        self._newest: Sampled | None = None
        self._sampled = 0.0
        self._tables = _Tables()

    def __enter__(self) -> LiveScreen:
        self._began = self._clock()
        return self

    def __call__(self, event: Event) -> None:
        self._state.apply(event)
        self.show(self._state)

    def show(self, state: RunState) -> None:
        """Draw a state if enough time has passed."""
        self._state, now = state, self._clock()
        if state.samples and state.samples[-1] is not self._newest:
            if state.samples[-1] != self._newest:
                self._sampled = now
            self._newest = state.samples[-1]
        if self._live is None:
            self._live = Live(
                console=self._console, screen=True, auto_refresh=False, redirect_stderr=False
            )
            self._live.start()
        if now >= self._next:
            self._draw(self._live, now)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()
        for notice in self._state.notices:
            style = f"bold {BAD}" if notice.level == "warning" else ""
            self._console.print(Text(f"{notice.level}: {harmless(notice.text)}", style=style))
        if self._state.metrics:
            self._console.print(summary(self._state.metrics, self._console.width))
        if done := self._state.finished:
            words = f"\nfinished in {duration(done.seconds)}: {done.reason}\n"
            said = [harmless(words), *judged(self._state), "", farewell(self._state)]
            self._console.print(Text("\n".join(said)), soft_wrap=True)
        elif self._state.idle:
            self._console.print(Text(f"\n{harmless(self._state.idle)}"), soft_wrap=True)

    def _draw(self, live: Live, now: float) -> None:
        began = time.perf_counter()
        size, state = self._console.size, self._state
        seconds = state.seconds or now - self._began
        since = now - self._sampled
        picture = draw(state, size.width, size.height, seconds, since, self._tables)
        live.update(picture, refresh=True)
        cost = time.perf_counter() - began
        self._next = now + max(REFRESH, cost / self._share)


Drawn = tuple[list[RenderableType], int]  # and the number of lines


def draw(
    state: RunState,
    width: int,
    height: int,
    seconds: float = 0.0,
    since_sample: float = 0.0,
    tables: Callable[[Sequence[Metrics], int, int], Drawn] | None = None,
) -> RenderableType:
    """The whole screen, at most ``height`` lines.

    Args:
        seconds: the time since the run started.
        since_sample: seconds since the newest sample came; older ones are shown in turn.
        tables: the function that draws the iterations.
    """
    above: list[RenderableType] = [*_header(state, width, seconds), Text()]
    below = [Text(), *_progress(state, width), *_idle(state, width)]
    below += [_notice(notice, width) for notice in state.notices[-2:]]
    least = SAMPLE if state.samples else 0
    room = height - len(above) - len(below) - least
    sparks = _sparks(state.metrics)
    table, used = (tables or _iterations)(state.metrics, width, room - len(sparks))
    if used + len(sparks) > room:
        sparks = []
    rest = room + least - used - len(sparks)
    if sparks and rest > least:
        sparks, rest = [Text(), *sparks], rest - 1
    parts = [*above, *table, *sparks, *below]
    if state.samples and rest >= 4:
        index = int(max(0.0, since_sample) // ROTATE) % len(state.samples)
        parts.append(_sample(state.samples[-1 - index], width, rest))
    return Group(*parts)


class _Tables:
    """``_iterations``, cached until the iterations or the room change, as tables take most time."""

    def __init__(self) -> None:
        self._of: tuple[Any, ...] = ()
        self._drawn: Drawn = [], 0

    def __call__(self, metrics: Sequence[Metrics], width: int, room: int) -> Drawn:
        if self._of != (of := ([*metrics], width, room)):
            parts, used = _iterations(metrics, width, room)
            self._of, self._drawn = of, ([_Once(part) for part in parts], used)
        return self._drawn


class _Once:
    """Renders a part once for each width."""

    def __init__(self, what: RenderableType) -> None:
        self._what, self._width = what, 0
        self._segments: list[Segment] = []

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if self._width != options.max_width:
            self._width = options.max_width
            self._segments = list(console.render(self._what, options))
        yield from self._segments


def _header(state: RunState, width: int, seconds: float) -> list[RenderableType]:
    first = Table.grid(expand=True)
    first.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    first.add_column(justify="right", no_wrap=True)
    title = Text.assemble("star-mlx  ", (harmless(state.run), "bold"))
    first.add_row(title, Text(duration(seconds)))
    task = harmless(str(state.recipe.get("task", {}).get("name", "")))
    words = [task, *describe(state.model), f"seed {state.recipe.get('seed', 0)}"]
    second = Text(", ".join(word for word in words if word), no_wrap=True)
    second.truncate(width, overflow="ellipsis")
    return [first, second]


def _iterations(metrics: Sequence[Metrics], width: int, room: int) -> Drawn:
    """The latest iterations in ``room`` lines, and the lines they take."""
    if not metrics:
        return [Text("no iteration is finished yet")], 1
    head = 3  # two of header, one rule
    shown = metrics[-max(1, room - head) :]
    table, form = iteration_table(metrics, width, last=len(shown))
    used, names = head + len(shown), classes_of(shown)
    if not names or form.classes == "intervals":
        return [table], used
    classes = class_table(shown, width)
    if room >= used + 8 + classes.row_count:  # 4 more for the attempt
        return [table, Text(), classes], used + 4 + classes.row_count
    by_class = shown[-1].by_class
    cells = "  ".join(f"{harmless(n)}: {class_cell(by_class.get(n), True)}" for n in names)
    if by_class and room > used and len(cells) + 10 <= width:
        return [table, Text(f"by class  {cells}", no_wrap=True)], used + 1
    return [table], used


def _sparks(metrics: Sequence[Metrics]) -> list[RenderableType]:
    """The yield and the dev accuracy over the iterations, one character each, if there are at least
    two."""
    shares: list[float | None] = []
    for line in metrics:
        problems, size = line.problems, line.examples
        shares.append(size / problems if problems and size is not None else None)
    scores = [line.dev.accuracy if line.dev else None for line in metrics]
    lines = [("yield  ", shares, "kept of problems", 0), ("dev    ", scores, "", 1)]
    return [
        Spark(name, values, of, digits)
        for name, values, of, digits in lines
        if sum(value is not None for value in values) > 1
    ]


def _progress(state: RunState, width: int) -> list[RenderableType]:
    """The progress of the phase, the time left of it and of the run, its rates, and memory."""
    at = state.at
    if at is None:
        return [Text("finished" if state.finished else "...")]
    numbers = [f"{at.done}/{at.total}"]
    if rest := phase_left(state):
        numbers.append(f"{duration(rest)} left")
    if width >= 70 and (left := seconds_left(state)) is not None:
        numbers.append(f"run: {about(left)} left")
    row = Table.grid(padding=(0, 1), expand=True)
    row.add_column(no_wrap=True)
    row.add_column(ratio=1)
    row.add_column(no_wrap=True, justify="right")
    label = Text(f"iteration {at.iteration}: {DOING[at.phase]}", style="bold")
    bar = ProgressBar(
        total=max(1, at.total),
        completed=at.done,
        style=REST,
        complete_style=GOOD,
        finished_style=GOOD,
    )
    row.add_row(label, bar, Text("  ".join(numbers), style="bold"))
    below = Text("  ".join([*rates(at), *memory(state)]), no_wrap=True)
    below.truncate(width, overflow="ellipsis")
    return [row, below]


def _idle(state: RunState, width: int) -> list[RenderableType]:
    if not state.idle:
        return []
    text = Text(harmless(state.idle).replace("\n", " "), style=f"bold {BAD}")
    return [*text.wrap(Console(width=width), width)][:3]


def _notice(notice: Notice, width: int) -> Text:
    warning = notice.level == "warning"
    words = harmless(notice.text).replace("\n", " ")
    text = Text(f"warning: {words}" if warning else words, style=BAD if warning else "")
    text.no_wrap = True
    text.truncate(width, overflow="ellipsis")
    return text


def _sample(sample: Sampled, width: int, height: int) -> Panel:
    """An attempt: the question, the rationale and answer, the verdict; never read as markup."""
    attempt = sample.attempt
    answer, gold = attempt.get("answer"), harmless(sample.gold)
    style = BAD
    if attempt.get("finish") == "length":
        verdict = "cut off at the length limit"
    elif attempt.get("correct"):
        verdict, style = f"right: {gold}", GOOD
    elif answer is None:
        verdict = f"no answer found; right is {gold}"
    else:
        verdict = f"{harmless(str(answer))} is wrong; right is {gold}"
    how = "hinted" if attempt.get("hinted") else "direct"
    body = Text(harmless(sample.question), style="bold")
    body.append("\n" + harmless(str(attempt.get("completion", ""))), style="not bold")
    lines = list(body.wrap(Console(width=width), max(1, width - 4)))
    if len(lines) > height - 2 > 2:  # its beginning and, more important, its end
        lines = [lines[0], Text("..."), *lines[4 - height :]]
    shown = Text("\n").join(lines[: height - 2])
    return Panel(
        shown,
        title=Text(f"iteration {sample.iteration}, {how}", style="bold default"),
        title_align="left",
        subtitle=Text(verdict.replace("\n", " "), style=f"bold {style}"),
        subtitle_align="left",
        height=min(height, len(lines) + 2),
        border_style=REST,
    )
