"""An attempt at a problem: the question, the rationale, the verdict, and the fate."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.panel import Panel
from rich.text import Text

from star_mlx.events import Sampled
from star_mlx.formatting import harmless
from star_mlx.progress.state import RunState
from star_mlx.tui.colours import BAD, BOLD, GOOD, REST
from star_mlx.types import Phase

ROTATE = 5.0  # seconds for which a sample is shown if no new one comes
SIDES = 96  # minimum width for both attempts side by side
ANSWER = 24  # maximum characters of an answer in the verdict
WHERE: dict[Phase, str] = {
    "augment": "written",
    "generate": "generated",
    "rationalize": "with hint",
    "evaluate": "measured on dev",
    "train": "",
}


def chosen(state: RunState, since: float) -> Sampled | None:
    """The sample to show ``since`` seconds after the newest came: those of the current phase in
    turn, else those of the current iteration, else the newest."""
    samples = [*state.samples]
    of_phase = [sample for sample in samples if not is_earlier(state, sample)]
    at = state.at
    of_iteration = [sample for sample in samples if at and sample.iteration == at.iteration]
    pool = of_phase or of_iteration or samples[-1:]
    return pool[-1 - int(max(0.0, since) // ROTATE) % len(pool)] if pool else None


def is_earlier(state: RunState, sample: Sampled) -> bool:
    """Whether an attempt was made before the current phase."""
    if state.at is None:
        return bool(state.metrics) and sample.iteration <= state.metrics[-1].iteration
    if sample.iteration != state.at.iteration:
        return True
    return phase_of(sample) not in (None, state.at.phase)


def phase_of(sample: Sampled) -> Phase | None:
    """The phase of an attempt; None if its writer, an older version, did not say."""
    return sample.phase or ("rationalize" if sample.attempt.get("hinted") else None)


def fate(state: RunState, sample: Sampled) -> list[str]:
    """The verdict on each attempt at the problem, and what became of it: ``["wrong", "again with
    hint", "kept"]``."""
    attempt = sample.attempt
    if phase_of(sample) == "evaluate":
        return [verdict(attempt)]
    if not attempt.get("hinted"):
        if attempt.get("correct"):
            return [verdict(attempt), _kept(state, sample)]
        return [verdict(attempt), *_next(state, sample)]
    before = [verdict(sample.first)] if sample.first else []
    if attempt.get("correct"):
        return [*before, "again with hint", _kept(state, sample)]
    second = verdict(attempt)
    if before == [second] or second == "wrong":
        second = f"still {second}" if before else second
    return [*before, "again with hint", second]


def verdict(attempt: Mapping[str, Any]) -> str:
    """``right``, ``wrong``, ``undecided``, ``cut off`` or ``no answer found``."""
    if attempt.get("correct"):
        return "right"
    if attempt.get("finish") == "length":
        return "cut off"
    if attempt.get("undecided"):
        return "undecided"
    return "no answer found" if attempt.get("answer") is None else "wrong"


def _kept(state: RunState, sample: Sampled) -> str:
    """What became of a right attempt."""
    if sample.attempt.get("finish") == "length":
        return "not kept: cut off"
    if reason := sample.attempt.get("rejected"):
        return f"not kept: {harmless(str(reason))}"
    at = state.at
    if at is not None and at.iteration == sample.iteration and at.phase == "train":
        return "kept, being trained on"
    return "kept"


def _next(state: RunState, sample: Sampled) -> list[str]:
    """What comes after a failure without hint, as far as that is known."""
    star, at = state.recipe.get("star", {}), state.at
    if phase_of(sample) is None and not (at and at.phase == "generate"):
        return []  # perhaps a measurement
    here = at is not None and at.iteration == sample.iteration
    if not star.get("rationalize", True) or (here and at and at.phase in ("train", "evaluate")):
        return ["not kept"]
    sure = star.get("p_rationalization", 1.0) == 1 and (
        state.recipe.get("generate", {}).get("samples", 1) == 1
    )
    return ["to be tried again with hint"] if here and sure else []


class Pane:
    """An attempt in at most ``height`` lines; its text is never read as markup."""

    def __init__(self, state: RunState, sample: Sampled, width: int, height: int) -> None:
        self._state, self._sample = state, sample
        self._width, self._height = width, height

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        lines = self._lines()
        yield Panel(
            Text("\n").join(lines),
            title=Text(self._title(), style="bold"),
            title_align="left",
            subtitle=self._verdict(" -> " if options.ascii_only else " → "),
            subtitle_align="left",
            height=min(self._height, len(lines) + 2),
            border_style=console.get_style(REST, default="none"),
        )

    def _title(self) -> str:
        phase = phase_of(self._sample)
        where = f", {WHERE[phase]}" if phase else ""
        earlier = "earlier: " if is_earlier(self._state, self._sample) else ""
        return f"{earlier}iteration {self._sample.iteration}{where}"

    def _verdict(self, then: str) -> Text:
        """The fate in the longest form that fits."""
        attempt, steps = self._sample.attempt, fate(self._state, self._sample)
        long = then.join([steps[0] + _answers(self._sample), *steps[1:]])
        words = long if len(long) <= self._width - 6 else then.join(steps)
        good = attempt.get("correct") and not attempt.get("rejected")
        style = GOOD if good and attempt.get("finish") != "length" else BAD
        return Text.assemble((words, style + BOLD))

    def _lines(self) -> list[Text]:
        inner = max(1, self._width - 4)
        lines = list(Text(harmless(self._sample.question), style="bold").wrap(_console(), inner))
        del lines[max(1, (self._height - 2) // 2) :]  # the attempt matters more
        room = max(1, self._height - 2 - len(lines))
        second, first = _completion(self._sample.attempt), self._sample.first or {}
        if first.get("completion") and self._width >= SIDES:
            return [*lines, *_beside(_completion(first), second, inner, room)]
        return [*lines, *_within(_wrapped(second, inner), room)]


@cache
def _console() -> Console:
    """For wrapping, which asks for one."""
    return Console(width=80, file=io.StringIO())


def _wrapped(text: str, width: int) -> list[Text]:
    return list(Text(text).wrap(_console(), max(1, width)))


def _answers(sample: Sampled) -> str:
    """``" (8 8 4, not 8 8 3)"``: the first verdict's answer and the right one."""
    attempt, gold = sample.first or sample.attempt, _short(sample.gold)
    if attempt.get("correct"):
        return f" ({gold})"
    answer = attempt.get("answer")
    return f" ({gold} is right)" if answer is None else f" ({_short(answer)}, not {gold})"


def _short(answer: object) -> str:
    words = harmless(str(answer)).replace("\n", " ")
    return words if len(words) <= ANSWER else words[: ANSWER - 1] + "…"


def _completion(attempt: Mapping[str, Any]) -> str:
    return harmless(str(attempt.get("completion", "")))


def _within(lines: list[Text], room: int) -> list[Text]:
    """The lines, or their end, which is more important than their beginning."""
    return lines if len(lines) <= room else [Text("..."), *lines[len(lines) - room + 1 :]]


def _beside(left: str, right: str, width: int, room: int) -> Sequence[Text]:
    """The first attempt and the one with hint side by side."""
    half = (width - 3) // 2
    columns = []
    for name, text in (("without hint:", left), ("with hint:", right)):
        lines = _within(_wrapped(text, half), max(1, room - 1))
        columns.append([Text(name, style=REST), *lines][:room])
    rows = []
    for n in range(max(map(len, columns))):
        one, two = (column[n] if n < len(column) else Text() for column in columns)
        row = one.copy()
        row.append(" " * (half - one.cell_len))
        rows.append(row.append(" | ", REST).append_text(two))
    return rows
