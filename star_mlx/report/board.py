"""The leaderboard of several runs: its tables, its sentences and its chart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from star_mlx.measure.compare import first_right, second_right
from star_mlx.measure.leaderboard import Entry, Leaderboard
from star_mlx.measure.paired import p_cell
from star_mlx.report.parts import Chart, Table, label, share, whole

if TYPE_CHECKING:
    from star_mlx.measure.paired import Paired

BOARD = "leaderboard"  # the name of the chart's files
DRAWN = 60  # entries in the chart
PAIRS = 500  # pairs in the table
NAMED = 10  # names in a sentence


@dataclass(frozen=True, slots=True)
class BoardOnPage:
    """A leaderboard as a page has it."""

    sentences: list[str]
    table: Table
    pairs: Table

    @classmethod
    def of(cls, board: Leaderboard, *, summaries: bool = False) -> BoardOnPage:
        """A leaderboard in words and tables; ``summaries``: some runs were handed in as files."""
        return cls(sentences(board, summaries=summaries), table(board), pairs(board))


def table(board: Leaderboard) -> Table:
    """The board itself: a row a run, the most accurate first."""
    tasks = len({one.task for one in board.entries}) > 1
    rows = []
    for index, one in enumerate(board.entries):
        rows.append(
            (
                str(index + 1),
                label(one.name),
                *([label(one.task)] if tasks else []),
                share(one.right, one.n),
                whole(one.n),
                f"{one.iteration} of {one.last}",
                gain(one.gain),
                numbers(board.beaten(index)) or "none",
                label(listed(one.settings) or "none", 300),
            )
        )
    heads = ("no.", "run", *(["task"] if tasks else []), "dev accuracy [95%]", "n", "iteration")
    more = ("points above its base", "significantly better than no.", "settings that differ")
    tests = sum(one.gain is not None for one in board.entries)
    marked = "; points above the base are significant unless it says otherwise"
    if tests > 1:
        marked += f" (Holm's correction for {whole(tests)} tests)"
    caption = f"The runs, the most accurate first{marked if tests else ''}"
    return Table(caption, (*heads, *more), tuple(rows))


def pairs(board: Leaderboard) -> Table:
    """Every pair of runs, the surest difference first."""
    found = sorted(board.pairs, key=lambda pair: (pair.p, pair.pair.p))
    rows = [
        (
            f"{pair.first + 1}. {label(board.entries[pair.first].name)}",
            f"{pair.second + 1}. {label(board.entries[pair.second].name)}",
            whole(pair.pair.n),
            whole(pair.pair.better),
            whole(pair.pair.worse),
            p_cell(pair.pair.p),
            p_cell(pair.p),
            "no" if pair.better is None else f"no. {pair.better + 1} is better",
        )
        for pair in found[:PAIRS]
    ]
    left = len(found) - len(rows)
    more = f"; {whole(left)} pairs with a larger p are left out" if left else ""
    heads = ("run", "and", "n", "only the first right", "only the second", "p", "corrected p")
    caption = f"Paired tests on dev: exact McNemar, two-sided, and Holm's correction{more}"
    return Table(caption, (*heads, "significantly different"), tuple(rows))


def sentences(board: Leaderboard, *, summaries: bool) -> list[str]:
    """The board in words; ``summaries``: some runs were handed in as files."""
    lines = [
        _first(board),
        *_differences(board),
        "Each run is shown by the iteration that was best on these same problems, so its accuracy "
        "may be a little too high, and more so the more iterations it had.",
    ]
    if board.apart:
        lines.append(
            "Not all runs were measured on the same problems. Two runs are compared on those that "
            "both have; their order in the table says little if they have few in common."
        )
    if board.common:
        lines.append(f"All runs have {label(listed(board.common), 300)}.")
    if summaries:
        lines.append(
            "The verdicts in summaries are shown as they were handed in, since their runs are not "
            "here to be checked."
        )
    return lines


def _first(board: Leaderboard) -> str:
    """Who is first; runs that are alike share the place."""
    best = _best(board)
    is_first = "is" if len(best) == 1 else "are"
    named = _some([one.name for one in best])
    rights = dict.fromkeys(f"{share(one.right, one.n)} of {whole(one.n)}" for one in best)
    return f"{named} {is_first} first: {_some([*rights])} dev problems right."


def _best(board: Leaderboard) -> list[Entry]:
    """The runs with the highest accuracy."""
    first = board.entries[0]
    return [one for one in board.entries if one.right * first.n == first.right * one.n]


def _some(names: Sequence[str]) -> str:
    """The first names of a list, and how many more there are."""
    shown = [label(name, 40) for name in names[:NAMED]]
    if len(names) > NAMED:
        shown.append(f"{len(names) - NAMED} more")
    return " and ".join(filter(None, (", ".join(shown[:-1]), shown[-1])))


def _differences(board: Leaderboard) -> list[str]:
    """How many differences are more than chance, and who is as good as the first."""
    many = len(board.pairs)
    if not many:
        return ["No two runs were measured on the same problems, so none can be compared."]
    how = "exact McNemar test"
    if many > 1:
        how = f"exact McNemar tests, p < 0.05 after Holm's correction for {whole(many)} tests"
    real = sum(pair.better is not None for pair in board.pairs)
    differ = "differs" if real == 1 else "differ"
    count = f"{whole(real) if real else 'None'} of {whole(many)} pairs of runs {differ}"
    lines = [f"{count} significantly ({how})."]
    named = {*range(len(_best(board))), *board.beaten(0)}
    rivals = [
        board.entries[pair.second].name
        for pair in board.pairs
        if pair.first == 0 and pair.second not in named
    ]
    if rivals and real:
        lines.append(f"Not significantly different from the first: {_some(rivals)}.")
    return lines


def gain(pair: Paired | None) -> str:
    """The points above a run's base: ``"+40.4"``; empty if that was not measured."""
    if pair is None:
        return ""
    points = 100 * (second_right(pair) - first_right(pair)) / pair.n
    return f"{points:+.1f}{' (not significant)' if pair.verdict == 'not different' else ''}"


def numbers(indices: Sequence[int]) -> str:
    """Places in words, from 1: ``"2, 4–7"``."""
    runs: list[list[int]] = []
    for index in indices:
        if runs and runs[-1][1] == index - 1:
            runs[-1][1] = index
        else:
            runs.append([index, index])
    return ", ".join(f"{a + 1}" if a == b else f"{a + 1}–{b + 1}" for a, b in runs)


def listed(settings: Mapping[str, str]) -> str:
    """Settings as they are written on the command line."""
    return ", ".join(f"{key}={value}" for key, value in settings.items())


def chart(board: Leaderboard, *, wide: bool = True) -> Chart:
    """Every run's accuracy with its interval, one below the other."""
    from matplotlib.figure import Figure

    from star_mlx.measure.accuracy import wilson
    from star_mlx.report import drawing

    shown = board.entries[:DRAWN]
    size = (drawing.WIDE if wide else drawing.NARROW, 1.0 + 0.3 * len(shown))
    figure = Figure(figsize=size)
    axes = figure.add_subplot()
    y = range(len(shown))
    x = [100 * one.right / one.n for one in shown]
    ends = [wilson(one.right, one.n) for one in shown]
    low, high = ([100 * end[i] for end in ends] for i in (0, 1))
    axes.errorbar(x, y, xerr=drawing.bars(x, low, high), fmt="o", color=drawing.BLUE,
                  elinewidth=1.2, capsize=3)  # fmt: skip
    axes.set_yticks(y, [_tick(index, one, wide) for index, one in enumerate(shown)])
    axes.set_ylim(len(shown) - 0.5, -0.5)
    axes.set_xlabel("dev accuracy, %")
    rest = len(board.entries) - len(shown)
    some = f" The first {len(shown)} are drawn; the table has all." if rest else ""
    rows = tuple((label(one.name), share(one.right, one.n), whole(one.n)) for one in board.entries)
    return Chart(
        name=BOARD,
        title="Accuracy of every run",
        caption="Share of the dev problems that are answered right, with 95% intervals (Wilson). "
        "Intervals that overlap do not mean that two runs are alike: the tests are paired, problem "
        f"by problem, and see smaller differences.{some}",
        figure=figure,
        table=Table("Accuracy of every run", ("run", "dev accuracy [95%]", "n"), rows),
    )


def _tick(index: int, one: Entry, wide: bool) -> str:
    from star_mlx.report import drawing

    return f"{index + 1}. {drawing.name(one.name, 30 if wide else 16)}"
