"""A slide as the 24 lines of a terminal of 80 columns."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, lru_cache

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from star_mlx.formatting import clipped, harmless, percent
from star_mlx.slides.slide import Meter, Quoted, Said, Score, Scores, Slide, SlidePart
from star_mlx.tui.colours import BAD, BOLD, GOOD, MORE, REST
from star_mlx.tui.lines import bar
from star_mlx.tui.present.digits import HEIGHT, large

WIDTH, LINES = 80, 24  # columns and lines of a slide
INNER = 76  # columns of its text
ROOM = 19  # lines between its title and the line of keys
LONGEST = 2000  # characters of a line of a text
STYLES = {"": "", "strong": "bold", "good": GOOD + BOLD, "bad": BAD + BOLD}

Guesses = Mapping[int, float]  # the class's guesses in per cent, by iteration


def drawn(
    slide: Slide,
    *,
    guesses: Guesses | None = None,
    typed: str = "",
    keys: str = "",
    now: str = "",
    ascii_only: bool = False,
) -> list[Text]:
    """A slide, in exactly 24 lines of at most 80 columns.

    Args:
        slide: the slide; its texts are never read as markup.
        guesses: the guesses so far.
        typed: the guess that is being typed, on a slide that asks for one.
        keys: the keys that can be used, for the last line.
        now: what the model is doing now, also for the last line.
        ascii_only: draw without characters that are not ASCII.
    """
    pen = _Pen(guesses or {}, ascii_only)
    title = _cut(Text(f" {_line(slide.title)}", style="bold"), WIDTH)
    rule = Text(("-" if ascii_only else "─") * WIDTH, style=REST)
    body = pen.body(slide.parts, ROOM - (2 * (slide.asks is not None)))
    if slide.asks is not None:
        cursor = "_" if ascii_only else "▁"
        body += [Text(), Text(f"The class guesses: {typed}{cursor} %", style=MORE + BOLD)]
    lines = [Text("  ").append_text(_cut(line, INNER)) for line in body[:ROOM]]
    lines += [Text()] * (ROOM - len(lines))
    return [title, rule, Text(), *lines, Text(), _footer(keys, now)]


def too_small(width: int, height: int) -> Text:
    """What to do about a terminal with too few columns or lines."""
    return Text(
        f"This terminal has {width} columns and {height} lines; the slides need {WIDTH} and "
        f"{LINES}. Make the font smaller or the window larger."
    )


class _Pen:
    def __init__(self, guesses: Guesses, ascii_only: bool) -> None:
        self._guesses, self._ascii = guesses, ascii_only

    def body(self, parts: Sequence[SlidePart], room: int) -> list[Text]:
        """The lines of all parts; a quoted text gets the lines that the others leave."""
        lines: dict[int, list[Text]] = {}
        for n, part in enumerate(parts):
            if not isinstance(part, Quoted):
                lines[n] = [*self._lines(part)]
        rest = room - sum(map(len, lines.values()))
        for n, part in enumerate(parts):
            if isinstance(part, Quoted):
                lines[n] = self._quoted(part, max(3, rest))
        return [line for n in sorted(lines) for line in lines[n]][:room]

    def _lines(self, part: Said | Score | Scores | Meter) -> Iterator[Text]:
        if isinstance(part, Said):
            yield from _wrapped(part.text, INNER, STYLES[part.tone])
        elif isinstance(part, Meter):
            yield bar(part.done / max(1, part.total), INNER, self._ascii)
        elif isinstance(part, Score):
            yield from self._score(part)
        else:
            yield from self._scores(part)

    def _score(self, score: Score) -> Iterator[Text]:
        """The result in large digits, and beside it the guess."""
        guess, found = self._guesses.get(score.iteration), score.dev.accuracy
        left = large(f"{_share(found)}%", self._ascii)
        right = [""] * HEIGHT if guess is None else large(f"{guess:g}%", self._ascii)
        space = INNER - max(map(cell_len, right))
        for one, two in zip(left, right, strict=True):
            yield Text.assemble((set_cell_size(one, space), GOOD), (two, MORE))
        under = "the model"
        if guess is not None:
            off = 100 * found - guess
            much = "exactly right" if abs(off) < 0.05 else f"{abs(off):.1f} points"
            how = "" if abs(off) < 0.05 else " too low" if off > 0 else " too high"
            said = f"your guess: {much}{how}"
            under = set_cell_size(under, INNER - max(len(said), INNER - space)) + said
        yield Text(under, style="bold")
        yield Text()

    def _scores(self, part: Scores) -> Iterator[Text]:
        yield Text()
        mark = "|" if self._ascii else "┃"
        for score in part.of:
            name = f"iteration {score.iteration}" if score.iteration else "the base"
            guess, share = self._guesses.get(score.iteration), score.dev.accuracy
            drawn = bar(share, 40, self._ascii)
            if guess is not None:
                at = min(39, round(guess / 100 * 39))
                drawn = Text.assemble(drawn[:at], (mark, MORE + BOLD), drawn[at + 1 :])
            words = "" if guess is None else f"  {mark} guess {guess:g}%"
            yield Text.assemble(f"{name:<13} ", drawn, (f" {_share(share):>4}%", "bold"), words)
        off = [
            abs(100 * score.dev.accuracy - self._guesses[score.iteration])
            for score in part.of
            if score.iteration in self._guesses
        ]
        if part.average and off:
            mean = f"{sum(off) / len(off):.1f} points"
            yield Text()
            yield Text(f"The class's guesses were {mean} off on average.", style="bold")

    def _quoted(self, part: Quoted, room: int) -> list[Text]:
        """A text; if it is too long, the lines around the marked one."""
        rows, at = _quoted_rows(part, self._ascii)
        return _window([*rows], at, room)


@lru_cache(maxsize=8)  # a slide is drawn ten times a second, and a text may be long
def _quoted_rows(part: Quoted, ascii_only: bool) -> tuple[tuple[Text, ...], int]:
    """The rows of a text, with a line at their left, and the place of the marked one."""
    edge = "| " if ascii_only else "│ "
    sign = ("x " if ascii_only else "✗ ") if part.tone == "bad" else "> "
    rows, at = list[Text](), 0
    for n, line in enumerate(harmless(part.text.strip("\n")).split("\n"), _blank(part.text)):
        marked = n == part.marked
        said = f"   <- {part.remark}" if marked and part.remark else ""
        at = len(rows) if marked else at
        style = STYLES[part.tone] if marked else ""
        for row in _wrapped(clipped(line, LONGEST) + said, INNER - 4, style):
            front = (sign, style) if marked else ("  ", "")
            rows.append(Text.assemble((edge, REST), front, row))
    return tuple(rows), at


def _window(rows: list[Text], at: int, room: int) -> list[Text]:
    """``room`` rows around the row ``at``, with how many are left out before and after."""
    if len(rows) <= room:
        return rows
    start = min(max(0, at - room // 2), len(rows) - room)
    shown = rows[start : start + room]
    if start:
        shown[0] = Text(f"... {start + 1} lines above", style=REST)
    if after := len(rows) - start - room:
        shown[-1] = Text(f"... {after + 1} more lines", style=REST)
    return shown


def _blank(text: str) -> int:
    """The number of empty lines at the beginning of a text, which are not shown."""
    return len(text) - len(text.lstrip("\n"))


def _footer(keys: str, now: str) -> Text:
    left = set_cell_size(f" {keys}", WIDTH - 1 - cell_len(now)) if now else f" {keys}"
    return _cut(Text(left + now, style=REST), WIDTH)


def _share(share: float) -> str:
    """``"79.8"``; ``"100"`` if it is all."""
    return "100" if share == 1 else "0" if share == 0 else percent(share, 1)


def _line(text: str) -> str:
    return harmless(text).replace("\n", " ")


def _wrapped(text: str, width: int, style: str = "") -> list[Text]:
    return list(Text(harmless(text), style=style).wrap(_console(), width)) or [Text()]


def _cut(line: Text, width: int) -> Text:
    line.no_wrap = True
    line.truncate(width, overflow="crop")
    return line


@cache
def _console() -> Console:
    """For wrapping, which asks for one."""
    return Console(width=WIDTH, file=io.StringIO())
