"""``star-mlx compare``: compare two runs on the same dev problems, pair by pair."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from star_mlx.measure.compare import Comparison
    from star_mlx.measure.paired import Paired


@click.command()
@click.argument("first", metavar="RUN[:ITERATION]")
@click.argument("second", metavar="RUN[:ITERATION]")
@click.option("--json", "as_json", is_flag=True, help="Print the comparison as JSON.")
def compare(first: str, second: str, as_json: bool) -> None:
    """Compare two runs or iterations, problem by problem.

    On the dev problems that both were measured on: how many both answered correctly, how many only
    one did, and McNemar's exact test of the difference. ITERATION is a number, best, last, few-shot
    (iteration 0, the base) or zero-shot; the default is best. No model is loaded: the answers
    recorded in the runs are compared.
    """
    from star_mlx import api

    found = api.compare(first, second)
    if as_json:
        import json

        click.echo(json.dumps(found.as_json()))
        return
    from rich.console import Console

    for warning in found.warnings:
        click.echo(f"warning: {_line(warning)}", err=True)
    _show(found, Console(highlight=False))


def _line(text: str) -> str:
    """Foreign text on one line, without control characters."""
    from star_mlx.formatting import harmless

    return harmless(text).replace("\n", "\u240a")


def _show(found: Comparison, console: Console) -> None:
    from star_mlx.measure import compare as pairs

    pair = found.pair
    for name, side, right in (
        ("first", found.first, pairs.first_right(pair)),
        ("second", found.second, pairs.second_right(pair)),
    ):
        _say(console, f"{name:<7} {side.name}: {_share(right, pair.n)} of n = {pair.n}")
    console.print()
    console.print(_table({"all": pair}, "", console.width))
    _say(console, f"\n{found.words()}")
    for text in _left_out(found):
        _say(console, text)
    if found.by_class:
        console.print()
        console.print(_table(dict(found.by_class), found.classes or "class", console.width))
    if len(found.by_iteration) > 1:
        numbered = {str(number): part for number, part in found.by_iteration.items()}
        _say(console, "\niterations of the same number")
        console.print(_table(numbered, "iter", console.width))


def _say(console: Console, text: str) -> None:
    console.print(_safe(text), soft_wrap=True, markup=False)


def _safe(text: str) -> str:
    from star_mlx.formatting import harmless

    return harmless(text)


def _left_out(found: Comparison) -> list[str]:
    counts = (
        (found.only_first, "in the first alone"),
        (found.only_second, "in the second alone"),
        (found.changed, "that ask something else in the other"),
    )
    return [f"left out: {n} problems {where}" for n, where in counts if n]


def _table(rows: dict[str, Paired], head: str, width: int) -> Table:
    """One row per comparison, with the verdict in words if the width allows it."""
    from rich.console import Console

    table = _made(rows, head, verdict=True)
    fits = Console(width=10_000).measure(table).maximum <= width
    return table if fits else _made(rows, head, verdict=False)


def _made(rows: dict[str, Paired], head: str, *, verdict: bool) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from star_mlx.measure import compare as pairs
    from star_mlx.measure.paired import p_cell

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.padding = (0, int(verdict), 0, 0)
    table.add_column(Text(_line(head)), justify="right", style="bold", overflow="fold", max_width=9)
    headers = ("n", "first %\n[95%]", "second %\n[95%]", "both\nright", "only\nfirst")
    for header in (*headers, "only\nsecond", "none", "diff.", "p"):
        table.add_column(header, justify="right", overflow="fold")
    if verdict:
        table.add_column("the second is", no_wrap=True)
    for name, pair in rows.items():
        first, second = pairs.first_right(pair), pairs.second_right(pair)
        counts = [str(n) for n in (pair.both, pair.worse, pair.better, pair.neither)]
        points = f"{100 * (second - first) / pair.n:+.1f}"
        cells = [_share(first, pair.n), _share(second, pair.n), *counts, points]
        words = [pair.verdict] if verdict else []
        table.add_row(Text(_line(name)), str(pair.n), *cells, p_cell(pair.p), *words)
    return table


def _share(right: int, n: int) -> str:
    """``"46.2 [42-51]"``, in per cent; ``"100 [84-100]"`` without a decimal, to be no wider."""
    from star_mlx.formatting import interval, percent
    from star_mlx.measure.accuracy import wilson

    share = "100" if right == n else percent(right / n, 1)
    return f"{share} [{interval(wilson(right, n))}]"
