"""The live screen: the current state of a run, updated in place."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.live import Live
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from star_mlx.events import Event, Notice, Sampled
from star_mlx.formatting import DOING, describe, duration, harmless
from star_mlx.progress.state import RunState
from star_mlx.progress.time_left import about, phase_left, seconds_left
from star_mlx.store.metrics import Metrics
from star_mlx.tui.body import Drawn, drawn
from star_mlx.tui.colours import BAD, BOLD
from star_mlx.tui.lines import Lines, bar
from star_mlx.tui.plain import farewell, judged, memory, rank_text, rates
from star_mlx.tui.sample import Pane, chosen
from star_mlx.tui.stages import stage_lines
from star_mlx.tui.tables import summary

REFRESH = 0.25  # minimum seconds between two drawings
SHARE = 0.006  # maximum share of the time for drawing
SAMPLE = 6  # minimum lines of the shown attempt, if the terminal allows
AIRY = 28  # minimum lines of a terminal for a blank line below the header


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
        self._body = _Cached()

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
        leave(self._state, self._console)

    def _draw(self, live: Live, now: float) -> None:
        began = time.perf_counter()
        size, state = self._console.size, self._state
        seconds = state.seconds or now - self._began
        since = now - self._sampled
        picture = draw(state, size.width, size.height, seconds, since, self._body)
        live.update(picture, refresh=True)
        cost = time.perf_counter() - began
        self._next = now + max(REFRESH, cost / self._share)


def leave(state: RunState, console: Console) -> None:
    """Print what is to stay on the terminal: notices, the table, and how the run ended."""
    for notice in state.notices:
        style = BAD + BOLD if notice.level == "warning" else ""
        console.print(Text(f"{notice.level}: {harmless(notice.text)}", style=style))
    if state.metrics:
        console.print(summary(state.metrics, console.width))
    if done := state.finished:
        words = f"\nfinished in {duration(done.seconds)}: {done.reason}\n"
        said = [harmless(words), *judged(state), "", farewell(state)]
        console.print(Text("\n".join(said)), soft_wrap=True)
    elif state.idle:
        console.print(Text(f"\n{harmless(state.idle)}"), soft_wrap=True)


Body = Callable[[Sequence[Metrics], int, int], Drawn]


def draw(
    state: RunState,
    width: int,
    height: int,
    seconds: float = 0.0,
    since_sample: float = 0.0,
    body: Body = drawn,
) -> RenderableType:
    """The whole screen, at most ``height`` lines.

    Args:
        seconds: the time since the run started.
        since_sample: seconds since the newest sample came; older ones are shown in turn.
        body: the function that draws the finished iterations.
    """
    blank = [Text()] if height >= AIRY else []
    above: list[RenderableType] = [*_header(state, width, seconds), *blank]
    stages = stage_lines(state, width)
    above += [*stages, *_progress(state, width)]
    above += [*_ranks(state, width, height // 4), *_idle(state, width)]
    above += [_notice(notice, width) for notice in state.notices[-2:]]
    above.append(Text())
    taken = len(above) + (len(stages) and stages[0].height - 1)
    sample = chosen(state, since_sample)
    least = SAMPLE if sample else 0
    parts, used = body(state.metrics, width, max(1, height - taken - least))
    rest = height - taken - used
    pane = [Pane(state, sample, width, rest)] if sample and rest >= 4 else []
    return Group(*above, *parts, *pane)


class _Cached:
    """``drawn``, cached until the iterations or the room change: tables take most time."""

    def __init__(self) -> None:
        self._of: tuple[Any, ...] = ()
        self._drawn: Drawn = [], 0

    def __call__(self, metrics: Sequence[Metrics], width: int, room: int) -> Drawn:
        if self._of != (of := ([*metrics], width, room)):
            parts, used = drawn(metrics, width, room)
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
    star = state.recipe.get("star", {})
    of = f" of {star['iterations']}" if at.iteration and "iterations" in star else ""
    label = f"iteration {at.iteration}{of}: {DOING[at.phase]} "
    words = f" {'  '.join(numbers)}"
    space = max(0, width - cell_len(label) - cell_len(words))

    def line(ascii_only: bool) -> list[Text]:
        filled = bar(at.done / max(1, at.total), space, ascii_only)
        return [Text.assemble((label, "bold"), filled, (words, "bold"))]

    below = Text("  ".join([*rates(at), *memory(state)]), no_wrap=True)
    below.truncate(width, overflow="ellipsis")
    return [Lines(line), below]


def _ranks(state: RunState, width: int, room: int) -> list[RenderableType]:
    """A line for each process that shares the run, as far as there is room."""
    if state.at is None:
        return []
    lines = [Text(rank_text(rank), no_wrap=True) for rank in state.ranks]
    if len(lines) > room:
        lines = [*lines[: room - 1], Text(f"and {len(lines) - room + 1} more ranks")]
    for line in lines:
        line.truncate(width, overflow="ellipsis")
    return [*lines]


def _idle(state: RunState, width: int) -> list[RenderableType]:
    if not state.idle:
        return []
    text = Text(harmless(state.idle).replace("\n", " "), style=BAD + BOLD)
    return [*text.wrap(Console(width=width), width)][:3]


def _notice(notice: Notice, width: int) -> Text:
    warning = notice.level == "warning"
    words = harmless(notice.text).replace("\n", " ")
    text = Text(f"warning: {words}" if warning else words, style=BAD if warning else "")
    text.no_wrap = True
    text.truncate(width, overflow="ellipsis")
    return text
