"""The arithmetic of the charts, and when a chart is drawn at all."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from matplotlib.figure import Figure

from star_mlx.measure import accuracy
from star_mlx.measure.accuracy import wilson
from star_mlx.report import charts, drawing, gather
from star_mlx.report.gather import Grid
from star_mlx.types import Evaluation


def ends(correct, n):
    low, high = (100 * end for end in wilson(correct, n))
    return [100 * correct / n], [low], [high]


@pytest.mark.parametrize("part", ["none", "one", "half", "all but one", "all"])
def test_error_bars_are_never_negative_for_any_number_of_problems(part):
    for n in range(1, 501):
        correct = {"none": 0, "one": 1, "half": n // 2, "all but one": n - 1, "all": n}[part]
        y, low, high = ends(correct, n)
        below, above = drawing.bars(y, low, high)
        assert below[0] >= 0 and above[0] >= 0, (n, correct)
        assert below[0] == pytest.approx(y[0] - low[0], abs=1e-9)
        assert above[0] == pytest.approx(high[0] - y[0], abs=1e-9)


def test_an_end_that_differs_in_its_last_digit_makes_a_bar_of_no_length():
    above = np.nextafter(100.0, 101)
    assert drawing.bars([100.0], [above], [100.0]) == ([0.0], [0.0])
    assert drawing.bars([above], [90.0], [100.0])[1] == [0.0]


@pytest.mark.parametrize("n", [1, 3, 7, 11, 29, 200, 333])
@pytest.mark.parametrize("of", ["none", "all"])
def test_none_and_all_right_are_drawn(n, of):
    correct = n if of == "all" else 0
    entry = accuracy.measured(Evaluation("dev", n, correct, {"": (n, correct)}))
    axes = Figure().subplots()
    charts._line(axes, [0.0, 1.0], [entry, entry], "run", drawing.look(0))
    charts._level(axes, 1.3, entry, "zero-shot", 0)
    assert len(axes.containers) == 2


def grid(*rows):
    states = np.array(rows, dtype=np.uint8)
    ids = tuple(map(str, range(len(rows))))
    numbers = tuple(range(1, states.shape[1] + 1))
    return Grid(ids, numbers, states, {})


def test_the_ledger_is_drawn_only_if_problems_recur():
    once, twice = [gather.DIRECT, gather.NOT_ATTEMPTED], [gather.NOT_SOLVED, gather.DIRECT]
    assert not grid(*[once] * 40).recurs
    assert not grid(*[once] * 39, twice).recurs
    assert grid(*[once] * 38, twice, twice).recurs
    assert not grid([gather.DIRECT]).recurs, "one iteration"
    assert not Grid((), (), np.zeros((0, 0), dtype=np.uint8), {}).recurs


def test_narrow_pictures_have_their_panels_below_each_other():
    class Run:
        label = "run"

    figure, panels = drawing.panels([Run(), Run()], wide=False)
    assert figure.get_figwidth() == drawing.NARROW < drawing.WIDE
    assert [axes.get_subplotspec().rowspan.start for axes in panels] == [0, 1]
    _, [(first, second)] = drawing.rows([Run()], wide=False)
    assert first.get_subplotspec().rowspan.start < second.get_subplotspec().rowspan.start
