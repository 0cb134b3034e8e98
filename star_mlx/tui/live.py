"""The live screen: what the loop is doing, drawn in place."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from star_mlx.state import RunState
from star_mlx.text import DOING, describe, duration, harmless, rate
from star_mlx.tui.plain import farewell
from star_mlx.tui.tables import class_cell, class_table, classes_of, fits, summary, summary_table
from star_mlx.types import Event, Sampled

REFRESH = 0.25  # seconds between two drawings, at least
SHARE = 0.01  # of the time may go into drawing
SAMPLE = 8  # lines the attempt shown has at least, where the terminal allows
ROTATE = 5.0  # seconds a sample is shown while no new one comes


class LiveScreen:
    """The run on a terminal, and its table left behind when it ends.

    It draws only when an event comes, in the caller's thread, so it never runs beside the model.
    """

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._console, self._clock = console, clock
        self._state = RunState()
        self._live: Live | None = None  # begun by the first event: downloads show their own bars
        self._began = clock()
        self._next = 0.0
        self._sampled = 0.0

    def __enter__(self) -> LiveScreen:
        self._began = self._clock()
        return self

    def __call__(self, event: Event) -> None:
        self._state.apply(event)
        now = self._clock()
        if isinstance(event, Sampled):
            self._sampled = now
        if self._live is None:
            self._live = Live(console=self._console, screen=True, auto_refresh=False)
            self._live.start()
        if now >= self._next:
            self._draw(self._live, now)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()
        for notice in self._state.notices:
            style = "yellow" if notice.level == "warning" else ""
            self._console.print(Text(f"{notice.level}: {harmless(notice.text)}", style=style))
        if self._state.metrics:
            self._console.print(summary(self._state.metrics, self._console.width))
        if done := self._state.finished:
            words = f"\nfinished in {duration(done.seconds)}: {done.reason}\n"
            self._console.print(Text(words + farewell(self._state)), soft_wrap=True)

    def _draw(self, live: Live, now: float) -> None:
        began = time.perf_counter()
        size = self._console.size
        picture = draw(self._state, size.width, size.height, now - self._began, now - self._sampled)
        live.update(picture, refresh=True)
        cost = time.perf_counter() - began
        self._next = now + max(REFRESH, cost / SHARE)


def draw(
    state: RunState, width: int, height: int, seconds: float = 0.0, since_sample: float = 0.0
) -> RenderableType:
    """The whole screen, ``height`` lines at most.

    Args:
        seconds: how long the screen has been up.
        since_sample: seconds since the newest sample came; older ones are shown in turn.
    """
    top: list[RenderableType] = [*_header(state, width, seconds), Text()]
    notices = [
        _notice(state, i, width) for i in range(max(0, len(state.notices) - 2), len(state.notices))
    ]
    fixed = len(top) + 2 + len(notices)  # 2: the progress bar and a blank line above it
    table, used = _iterations(state, width, height - fixed - SAMPLE)
    rest = height - fixed - used
    parts = [*top, *table, Text(), _progress(state, width), *notices]
    if state.samples and rest >= 4:
        index = int(max(0.0, since_sample) // ROTATE) % len(state.samples)
        parts.append(_sample(state.samples[-1 - index], width, rest))
    return Group(*parts)


def _header(state: RunState, width: int, seconds: float) -> list[RenderableType]:
    first = Table.grid(expand=True)
    first.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    first.add_column(justify="right", no_wrap=True)
    title = Text.assemble(("star-mlx  ", "bold magenta"), (harmless(state.run), "bold"))
    first.add_row(title, Text(duration(seconds), style="dim"))
    task = harmless(str(state.recipe.get("task", {}).get("name", "")))
    words = [task, f"seed {state.recipe.get('seed', 0)}", *describe(state.model)]
    second = Text(" · ".join(word for word in words if word), style="dim", no_wrap=True)
    second.truncate(width, overflow="ellipsis")
    return [first, second]


def _iterations(state: RunState, width: int, room: int) -> tuple[list[RenderableType], int]:
    """The latest iterations in ``room`` lines, and the lines they take."""
    head = 3  # two of header, one rule
    metrics = state.metrics[-max(1, room - head) :]
    if not metrics:
        return [Text("no iteration is finished yet", style="dim")], 1
    names = classes_of(metrics)
    wide = summary_table(metrics, classes="intervals")
    if not names or fits(wide, width):
        return [wide], head + len(metrics)
    narrow = summary_table(metrics, classes="percent")
    if not fits(narrow, width):
        narrow = summary_table(metrics, classes="none")
    used = head + len(metrics)
    classes = class_table(metrics, width)
    if room >= used + 8 + classes.row_count:  # 4 more for the attempt
        return [narrow, Text(), classes], used + 4 + classes.row_count
    by_class = metrics[-1].get("eval", {}).get("by_class", {})
    cells = "  ".join(f"{harmless(n)}: {class_cell(by_class.get(n), True)}" for n in names)
    if by_class and room > used + 1 and len(cells) + 10 <= width:
        return [narrow, Text(f"by class  {cells}", style="cyan", no_wrap=True)], used + 1
    return [narrow], used


def _progress(state: RunState, width: int) -> RenderableType:
    at = state.at
    if at is None:
        return Text("finished" if state.finished else "...", style="dim")
    row = Table.grid(padding=(0, 1), expand=True)
    row.add_column(no_wrap=True)
    row.add_column(ratio=1)
    row.add_column(no_wrap=True, justify="right")
    numbers = [f"{at.done}/{at.total}"]
    if speed := rate(at.done, at.seconds):
        numbers.append(f"{speed}/s")
    if at.loss is not None:
        numbers.append(f"loss {at.loss:.3f}")
    if (tokens := rate(at.tokens, at.seconds)) and width >= 80:
        numbers.append(f"{tokens} tok/s")
    if at.done and at.seconds > 0:
        numbers.append(f"{duration(at.seconds / at.done * (at.total - at.done))} left")
    label = Text(f"iteration {at.iteration}: {DOING[at.phase]}", style="bold")
    bar = ProgressBar(total=max(1, at.total), completed=at.done)
    row.add_row(label, bar, Text("  ".join(numbers), style="cyan"))
    return row


def _notice(state: RunState, index: int, width: int) -> Text:
    notice = state.notices[index]
    text = Text(
        harmless(notice.text).replace("\n", " "),
        no_wrap=True,
        style="yellow" if notice.level == "warning" else "dim",
    )
    text.truncate(width, overflow="ellipsis")
    return text


def _sample(sample: Sampled, width: int, height: int) -> Panel:
    """An attempt: the question, the rationale and answer, the verdict. Nothing is markup."""
    attempt = sample.attempt
    answer, gold = attempt.get("answer"), harmless(sample.gold)
    if attempt.get("finish") == "length":
        verdict, style = "cut off at the length limit", "yellow"
    elif attempt.get("correct"):
        verdict, style = f"right: {gold}", "green"
    elif answer is None:
        verdict, style = f"no answer found; right is {gold}", "red"
    else:
        verdict, style = f"{harmless(str(answer))} is wrong; right is {gold}", "red"
    how = "hinted" if attempt.get("hinted") else "direct"
    body = Text(harmless(sample.question), style="bold")
    body.append("\n" + harmless(str(attempt.get("completion", ""))), style="not bold")
    lines = list(body.wrap(Console(width=width), max(1, width - 4)))
    if len(lines) > height - 2 > 2:  # how it begins and, above all, how it ends
        lines = [lines[0], Text("...", style="dim"), *lines[4 - height :]]
    shown = Text("\n").join(lines[: height - 2])
    return Panel(
        shown,
        title=Text(f"iteration {sample.iteration}, {how}", style="not dim bold"),
        title_align="left",
        subtitle=Text(verdict, style=f"not dim {style}"),
        subtitle_align="left",
        height=min(height, len(lines) + 2),
        border_style="dim",
    )
