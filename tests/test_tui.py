"""The screens: what is shown of a run, that it fits, and that a model's text steers nothing."""

from __future__ import annotations

import io
import json
import math
import re
import sys

import pytest
from rich.cells import cell_len
from rich.console import Console

from star_mlx import tui
from star_mlx.events import (
    IterationFinished,
    Notice,
    PhaseStarted,
    Progress,
    RunFinished,
    RunStarted,
    Sampled,
)
from star_mlx.formatting import class_order, count, duration, interval, percent
from star_mlx.measure.accuracy import wilson
from star_mlx.progress.state import RunState, changes
from star_mlx.recipe.loading import load, resolved
from star_mlx.store.metrics import Metrics, of
from star_mlx.tui.colours import PALETTES
from star_mlx.tui.live_screen import SHARE, draw
from star_mlx.tui.plain import farewell, iteration_line, phase_line
from star_mlx.tui.spark import bars
from star_mlx.tui.tables import (
    FORMS,
    change,
    fits,
    iteration_table,
    measured,
    remarks,
    summary_table,
    width_of,
)

SETTINGS = ["seed=7", "star.iterations=8", "star.problems=1000"]
RECIPE = resolved(load(None, task="arithmetic", overrides=SETTINGS))
MODEL = {"name": "tiny", "bits": 4, "parameters": 1_230_000, "device": "cpu"}
STARTED = RunStarted("runs/a-001", RECIPE, MODEL)
SIZES = [(80, 24), (160, 50), (100, 30), (40, 12)]

LIVE = "star_mlx.tui.live_screen"


def evaluation(counts, n=100):
    correct, total = sum(counts), n * len(counts)
    return {
        "split": "dev",
        "n": total,
        "correct": correct,
        "accuracy": correct / total,
        "ci95": list(wilson(correct, total)),
        "by_class": {str(i): {"n": n, "correct": c} for i, c in enumerate(counts, 1)},
    }


def line(number, counts=(99, 32, 5, 0, 0), without=(), **changes):
    """A metrics line; ``changes`` go over its keys, ``without`` are left out."""
    values = {**values_of(number, counts), **changes}
    return of({key: value for key, value in values.items() if key not in without})


def values_of(number, counts):
    if number == 0:
        return {"iteration": 0, "eval": evaluation((3, 0, 0, 0, 0)), "seconds": {"evaluate": 4.2}}
    return {
        "iteration": number,
        "problems": 1000,
        "solved": 812,
        "rationalized": 133,
        "examples": 945,
        "newly_solved": 40,
        "forgotten": 3,
        "train": {"steps": 48, "last_loss": 0.3124},
        "eval": evaluation(counts),
        "seconds": {"generate": 20.0, "rationalize": 10.0, "train": 12.0, "evaluate": 3.0},
        "peak_memory_bytes": 530_000_000,
    }


def sampled(completion="<scratch>\n</scratch>\n8 8 3", **fields):
    attempt = {
        "id": "624+259",
        "hinted": False,
        "completion": completion,
        "answer": "8 8 3",
        "correct": True,
        "finish": "stop",
        **fields,
    }
    return Sampled(1, "6 2 4 + 2 5 9", "8 8 3", attempt)


def rendered(what, width, height=50):
    console = Console(
        record=True, width=width, height=height, file=io.StringIO(), force_terminal=True
    )
    console.push_theme(PALETTES["dark"].theme())
    console.print(what)
    return console.export_text(styles=False)


def state(*events):
    folded = RunState()
    for event in (STARTED, *events):
        folded.apply(event)
    return folded


# --------------------------------------------------------------------------- state


def test_events_fold_into_the_state():
    at = Progress(1, "train", 10, 48, 900, 2.0, 0.5)
    folded = state(
        IterationFinished(line(0)), PhaseStarted(1, "train", 48), at, Notice("warning", "w")
    )
    assert folded.at == at and [m.iteration for m in folded.metrics] == [0]
    assert folded.notices == [Notice("warning", "w")]
    folded.apply(IterationFinished(line(1)))
    folded.apply(RunFinished("runs/a-001", "done", 9.0))
    assert folded.at is None and folded.finished and len(folded.metrics) == 2


def test_a_resumed_run_begins_with_what_is_done_and_an_iteration_stands_once():
    folded = RunState()
    folded.apply(RunStarted("r", RECIPE, MODEL, (line(0), line(1))))
    folded.apply(IterationFinished(line(1)))
    assert [m.iteration for m in folded.metrics] == [0, 1]


# --------------------------------------------------------------------------- tables


def test_the_table_at_80_columns_has_every_yield_and_the_second_every_interval():
    text = rendered(tui.summary([line(0), line(1)], 80), 80)
    assert all(cell_len(row.rstrip()) <= 80 for row in text.splitlines())
    row = next(r for r in text.splitlines() if " 812 " in r).split()
    assert row == ["1", "1000", "812", "133", "945", "40", "3", "48", "0.312", "27.2", "[23-31]",
                   "+26.6", "45"]  # fmt: skip
    classes = text.splitlines()[-1].split()
    assert classes == ["1", "99", "[95-100]", "32", "[24-42]", "5", "[2-11]",
                       "0", "[0-4]", "0", "[0-4]"]  # fmt: skip
    assert "…" not in text


def test_accuracy_by_class_is_in_a_table_of_its_own_that_says_so_at_every_width():
    for width in (80, 120, 200):
        text = rendered(tui.summary([line(0), line(1)], width), width)
        assert text.count("32 [24-42]") == 1
        assert text.count("dev accuracy by class, % [95% interval]") == 1


def test_many_long_classes_stand_below_each_other():
    entry = evaluation((50, 60))
    names = [f"Counting & Probability [bold] {i}" for i in range(7)]
    entry["by_class"] = {name: {"n": 100, "correct": 50} for name in names}
    text = rendered(tui.summary([line(1, eval=entry)], 80), 80)
    assert all(name in text for name in names) and text.count("50 [40-60]") == 7


def test_ten_classes_are_in_order_of_size():
    entry = evaluation(range(10))
    entry["by_class"] = dict(reversed(entry["by_class"].items()))
    metrics = [line(1, eval=entry)]
    from star_mlx.tui.tables import classes_of

    assert classes_of(metrics) == [str(n) for n in range(1, 11)]


def test_a_run_without_evaluation_or_classes_has_a_table_too():
    bare = line(1, without=("eval",))
    assert "812" in rendered(tui.summary([Metrics(0), bare], 80), 80)
    single = line(1, eval={**evaluation((50,)), "by_class": {"": {"n": 100, "correct": 50}}})
    assert "by class" not in rendered(tui.summary([single], 80), 80)


def test_classes_come_in_order_numbers_by_size_and_then_names():
    names = ["10", "b", "2", "", "aa", "a", "1" * 30]
    assert sorted(names, key=class_order) == ["2", "10", "", "1" * 30, "a", "aa", "b"]


def test_an_interval_is_shown_in_per_cent():
    assert interval((0.4168, 0.506)) == "42-51"
    assert interval([0.4168, 0.506], 1, " to ") == "41.7 to 50.6"


@pytest.mark.parametrize(
    ("fraction", "digits", "text"),
    [(1, 0, "100"), (0.999, 0, "99"), (0.001, 0, "1"), (0, 0, "0"), (0.9999, 1, "99.9"),
     (0.462, 1, "46.2")],
)  # fmt: skip
def test_only_all_right_is_100_percent_and_only_none_0(fraction, digits, text):
    assert percent(fraction, digits) == text


def test_quantities():
    assert [duration(s) for s in (0.44, 34, 303, 7500)] == [
        "0.4 s",
        "34 s",
        "5 min 3 s",
        "2 h 5 min",
    ]
    assert [count(n) for n in (12, 1_230_000, 120e6, 7e9)] == ["12", "1.2M", "120M", "7.0B"]


def test_every_column_fits_at_80_columns_in_a_large_and_perfect_run_as_well():
    large = line(12, (100,) * 5, problems=10_000, solved=10_000, examples=10_000,
                 rationalized=9999, newly_solved=9999, forgotten=9999,
                 seconds={"generate": 9999.0})  # fmt: skip
    text = rendered(tui.summary([line(0), large], 80), 80)
    row = next(r for r in text.splitlines() if r.startswith("  12 ")).split()
    assert row == ["12", "10000", "10000", "9999", "10000", "9999", "9999", "48", "0.312", "100.0",
                   "[99-100]", "+99.4", "9999"]  # fmt: skip
    assert all(cell_len(r.rstrip()) <= 80 for r in text.splitlines()) and "…" not in text


def test_the_table_is_the_roomiest_that_fits_and_narrow_ones_have_what_matters():
    metrics = [line(0), line(1)]
    widths = range(30, 200)
    tables = [summary_table(metrics, form) for form in FORMS]
    for width in widths:
        fitting = [table for table in tables if fits(table, width)] or tables[-1:]
        assert width_of(iteration_table(metrics, width)) == width_of(fitting[0])
    few = rendered(iteration_table(metrics, 40), 40)
    assert "27.2 [23-31]" in few and "945" in few and "+26.6" in few and "812" not in few


def test_a_change_is_against_the_best_before_also_where_that_is_not_shown():
    scores = [(50,), (80,), (70,), (80,), (90,)]
    metrics = [of({"iteration": n, "eval": evaluation(s)}) for n, s in enumerate(scores)]
    told = [change(metrics[:n], entry) for n, entry in enumerate(metrics)]
    assert told == ["", "+30.0", "-10.0", "0.0", "+10.0"]
    text = rendered(iteration_table(metrics, 80, last=2), 80)
    assert "+10.0" in text and "90.0" in text and "-10.0" not in text
    assert change([Metrics(0)], metrics[1]) == "" and change(metrics, Metrics(9)) == ""


def test_a_table_of_an_older_run_has_blanks_where_that_told_nothing():
    old = line(1, without=("newly_solved", "forgotten"), train={"steps": 48})
    row = next(r for r in rendered(tui.summary([old], 80), 80).splitlines() if " 812 " in r)
    assert row.split()[:7] == ["1", "1000", "812", "133", "945", "48", "27.2"]


def test_what_fits_is_what_rich_measures():
    metrics = [line(0), *(line(n) for n in range(9, 12))]
    console = Console(width=10_000)
    for form in FORMS:
        table = summary_table(metrics, form)
        most = console.measure(table).maximum
        assert fits(table, most) and not fits(table, most - 1), form


# --------------------------------------------------------------------------- bars


def test_bars_are_on_a_scale_from_none_to_all():
    assert bars([0.0, 0.5, None, 1.0, 0.999]) == "▁▅ ██"
    assert bars([0.0, 1.0, 2.0]) == "▁▅█"  # more kept than attempted: several samples
    assert bars([0.0, 1.0], "_#") == "_#"


def test_bars_stand_for_a_chart_that_has_no_room():
    bare = [line(n, without=("eval",)) for n in range(4)]
    text = rendered(draw(state(*map(IterationFinished, bare)), 80, 24), 80)
    assert "yield   ███  kept of problems, 94% -> 94%" in text and "dev    " not in text
    many = state(*(IterationFinished(line(n, without=("eval",))) for n in range(200)), sampled())
    text = rendered(draw(many, 80, 30), 80)
    assert "yield" not in text  # the iterations take the room
    assert "yield" not in rendered(draw(state(IterationFinished(line(0))), 80, 24), 80)


def test_bars_are_ascii_where_the_console_is():
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="backslashreplace")
    console = Console(file=out, force_terminal=True, width=80, height=24, color_system=None)
    console.print(draw(state(*(IterationFinished(line(n)) for n in range(3))), 80, 24))
    out.seek(0)
    text = out.read()
    assert "yield   ##  kept" in text and "\\u" not in text and "\\x" not in text


# --------------------------------------------------------------------------- live


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_the_live_screen_fits_its_terminal(width, height):
    folded = state(
        *(IterationFinished(line(n)) for n in range(20)),
        PhaseStarted(20, "generate", 1000),
        Progress(20, "generate", 500, 1000, 30_000, 10.0),
        *(Notice("warning", "long " * 60) for _ in range(5)),
        sampled("step\n" * 100 + "8 8 3"),
    )
    lines = rendered(draw(folded, width, height, 3.0), width, height).splitlines()
    assert len(lines) <= height and all(cell_len(row) <= width for row in lines)


@pytest.mark.parametrize(("width", "height"), SIZES[:3])
def test_the_live_screen_shows_run_table_progress_and_attempt(width, height):
    folded = state(
        *(IterationFinished(line(n)) for n in range(3)),
        PhaseStarted(3, "train", 50),
        Progress(3, "train", 20, 50, 8000, 10.0, 0.4321, 1.0, (412_000_000, 500_000_000)),
        Notice("warning", "something to know"),
        sampled(hinted=True),
    )
    text = rendered(draw(folded, width, height, 65.0), width, height)
    hint = "✓ with hint" if width > 90 else "iteration 3 of 8"
    for part in (
        hint, "✓ generate", "● train", "○ measure", "loss 0.43",
        "runs/a-001", "arithmetic", "seed 7", "tiny", "4-bit", "1.2M parameters", "cpu",
        "1 min 5 s",
        "812", "27.2 [23-31]", "dev", "by class", "32 [24-42]", "iteration 3 of 8: training",
        "20/50", "2.0 steps/s",
        "800 tokens/s", "loss 0.432", "15 s left", "run: ~4 min left", "memory 412 MB, peak 530 MB",
        "something to know", "6 2 4 + 2 5 9", "earlier: iteration 1, with hint",
        "again with hint (8 8 3) → kept",
    ):  # fmt: skip
        assert part in text, part


def test_a_long_attempt_keeps_its_beginning_and_its_end():
    folded = state(sampled("first step\n" + "step\n" * 50 + "the end"))
    text = rendered(draw(folded, 80, 24), 80, 24)
    assert "6 2 4 + 2 5 9" in text and "the end" in text and "first step" not in text


@pytest.mark.parametrize(
    ("fields", "verdict"),
    [
        ({}, "right (8 8 3) → kept"),
        ({"correct": False, "answer": "8 8 4"}, "wrong (8 8 4, not 8 8 3)"),
        ({"correct": False, "answer": None}, "no answer found (8 8 3 is right)"),
        ({"finish": "length"}, "right (8 8 3) → not kept: cut off"),
    ],
)
def test_the_verdict_of_an_attempt(fields, verdict):
    assert verdict in rendered(draw(state(sampled(**fields)), 80, 24), 80, 24)


EVIL = "[bold red]x[/] \x1b[2J\x1b]0;t\x07 \r \x9b31m \u202e \ud800 [link=http://x]y[/link]"


def test_a_models_text_is_neither_markup_nor_control_codes():
    text = rendered(draw(state(sampled(EVIL, answer=EVIL, correct=False)), 160, 50), 160, 50)
    assert "[bold red]x[/]" in text and "[link=http://x]y[/link]" in text
    assert not {"\x1b", "\x07", "\r", "\x9b", "\u202e", "\ud800"} & set(text)
    assert "\u241b[2J" in text and "\\u202e" in text and "\\ud800" in text
    notice = rendered(draw(state(Notice("warning", EVIL)), 160, 50), 160, 50)
    assert "[bold red]x[/]" in notice and "\x1b" not in notice


def test_older_attempts_are_shown_in_turn():
    folded = state(sampled("the older"), sampled("the newer"))
    at = [rendered(draw(folded, 80, 24, 0.0, s), 80, 24) for s in (0.0, 5.1, 10.1)]
    assert ["the newer" in text for text in at] == [True, False, True]
    assert ["the older" in text for text in at] == [False, True, False]


class Ticking:
    """A clock that a test moves."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def test_the_live_screen_draws_at_most_four_times_a_second_and_leaves_the_table(monkeypatch):
    drawn, clock = [], Ticking()
    monkeypatch.setattr(
        "star_mlx.tui.live_screen.draw", lambda *a: drawn.append(clock.now) or "picture"
    )
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=80, height=24)
    with tui.LiveScreen(console, clock, share=1e9) as screen:
        screen(STARTED)
        for i in range(1000):
            clock.now = 10 + i / 100
            screen(Progress(1, "train", i, 1000, i, i / 100))
        screen(Notice("warning", EVIL))
        screen(IterationFinished(line(1)))
        screen(RunFinished("runs/a-001", "done", 9.5))
    assert 30 <= len(drawn) <= 42
    after = out.getvalue().rsplit("\x1b[?1049l", 1)[1]  # what stays when the screen is gone
    assert "27.2" in after and "32 [24-42]" in after and "[bold red]x" in after
    assert "star-mlx try runs/a-001" in after


def test_a_costly_drawing_is_done_seldom(monkeypatch):
    drawn, clock = [], Ticking()
    costs = iter(range(10_000))  # perf_counter: every drawing takes one second
    monkeypatch.setattr(f"{LIVE}.time.perf_counter", lambda: float(next(costs)))
    monkeypatch.setattr(
        "star_mlx.tui.live_screen.draw", lambda *a: drawn.append(clock.now) or "picture"
    )
    with tui.LiveScreen(Console(file=io.StringIO(), force_terminal=True), clock) as screen:
        for i in range(1000):
            clock.now = float(i)
            screen(Progress(1, "train", i, 1000, i, float(i)))
    assert len(drawn) == math.ceil(1000 * SHARE)


def test_the_size_is_read_at_every_drawing(monkeypatch):
    sizes, clock = [], Ticking()
    monkeypatch.setattr(
        "star_mlx.tui.live_screen.draw", lambda s, w, h, *_: sizes.append((w, h)) or ""
    )
    console = Console(file=io.StringIO(), force_terminal=True, width=80, height=24)
    with tui.LiveScreen(console, clock, share=1e9) as screen:
        for n, size in enumerate([(80, 24), (160, 50), (40, 12)]):
            clock.now = 1000.0 * n
            console.size = size
            screen(Progress(1, "train", n, 3, n, 1.0))
    assert sizes == [(80, 24), (160, 50), (40, 12)]


def test_a_finished_iteration_and_another_width_are_drawn_anew():
    out, clock = io.StringIO(), Ticking()
    console = Console(file=out, force_terminal=True, width=80, height=24)
    seen = []
    with tui.LiveScreen(console, clock, share=1e9) as screen:
        for n, width in enumerate((80, 80, 40)):
            clock.now, console.size = 100.0 * n, (width, 24)
            screen(IterationFinished(line(n)))
            seen.append(out.getvalue())
            out.truncate(0)
            out.seek(0)
    assert "27.2" not in seen[0] and " 812 " in seen[1] and "+26.6" in seen[1]
    assert "812" not in seen[2] and seen[2].count("27.2 [23-31]") == 2  # too narrow for all


def test_standard_error_is_not_drawn_through_the_screen():
    before = sys.stderr
    with tui.LiveScreen(Console(file=io.StringIO(), force_terminal=True)) as screen:
        screen(STARTED)
        assert sys.stderr is before


def test_who_watches_is_told_why_nothing_happens():
    folded = state(IterationFinished(line(0)), Progress(1, "train", 3, 10, 900, 2.5))
    folded.idle = (
        "no process is driving this run; resume with: star-mlx loop --run runs/" + "x" * 60
    )
    lines = [r.rstrip() for r in rendered(draw(folded, 80, 24), 80, 24).splitlines()]
    assert len(lines) <= 24 and "x" * 50 in "".join(lines)
    assert any(r.startswith("no process is driving this run") for r in lines)


def test_memory_is_the_last_now_and_the_highest_peak():
    first = Progress(1, "train", 1, 9, 1, 1.0, memory=(100, 900))
    folded = state(first, Progress(1, "train", 2, 9, 1, 1.0, memory=(200, 300)))
    assert (folded.held, folded.peak) == (200, 900)
    folded.apply(IterationFinished(line(1)))
    assert (folded.held, folded.peak) == (200, 530_000_000)
    resumed = RunState()
    resumed.apply(RunStarted("r", RECIPE, MODEL, (line(1),)))
    assert resumed.peak == 530_000_000


def test_an_iteration_in_a_line_says_its_change_and_leaves_out_what_it_does_not_know():
    metrics = [line(0), line(1)]
    assert "dev 27.2 [23-31] % (+26.6 against the best before), " in iteration_line(
        line(1), metrics
    )
    bare = of({"iteration": 0, "seconds": {"evaluate": 2.0}})
    assert iteration_line(bare, [bare]) == "iteration 0 done: 2.0 s"


def test_an_interval_is_rounded_once():
    counts = {"split": "dev", "n": 40, "correct": 19, "accuracy": 0.475, "ci95": [0.3294, 0.625]}
    entry = line(1, eval=counts).dev
    assert (100 * wilson(19, 40)[1], entry.ci95[1]) == (pytest.approx(62.503, abs=0.001), 0.625)
    assert measured(entry) == "47.5 [33-63]", "as on the screen while it is measured"


def test_nothing_is_best_on_dev_if_nothing_was_measured():
    assert remarks([line(0, without=["eval"]), line(1, without=["eval"], best=1)]) == []
    assert "best on dev so far: iteration 1" in remarks([line(0), line(1, best=1)])


# --------------------------------------------------------------------------- plain and JSON


def test_a_measurement_says_how_and_where_it_is_made():
    assert phase_line(PhaseStarted(0, "evaluate", 9, "without examples")) == (
        "iteration 0: measuring without examples, 9 problems"
    )
    over = Progress(0, "evaluate", 9, 9, 1, 1.0)
    once = state(PhaseStarted(0, "evaluate", 9), over)
    again = state(PhaseStarted(0, "evaluate", 9), over, PhaseStarted(0, "evaluate", 9))
    tested = state(IterationFinished(line(0)), PhaseStarted(0, "evaluate", 9))
    notes = [
        [event.note for event in changes(old, new) if isinstance(event, PhaseStarted)]
        for old, new in ((state(), once), (once, again), (state(), tested))
    ]
    assert notes == [[""], ["without examples"], ["on test"]]


def test_plain_lines_have_no_control_codes_and_all_numbers(monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    out = io.StringIO()
    with tui.PlainScreen(out, Ticking()) as screen:
        for event in (
            STARTED,
            PhaseStarted(1, "generate", 1000),
            sampled(EVIL),
            Notice("warning", EVIL),
            IterationFinished(line(1)),
            RunFinished("runs/a-001", "done", 312.0),
        ):
            screen(event)
    text = out.getvalue()
    assert "\x1b" not in text
    lines = text.splitlines()
    assert lines[0] == "run runs/a-001: arithmetic; tiny, 4-bit, 1.2M parameters, cpu; seed 7"
    assert lines[1] == "iteration 1: generating, 1000 problems"
    assert lines[2].startswith("warning: [bold red]x[/] \u241b[2J")
    assert lines[3] == (
        "iteration 1 done: 1000 problems, 812 solved, 133 with hint, 945 kept, "
        "40 newly solved, 3 forgotten, 48 steps, loss 0.312, "
        "dev 27.2 [23-31] %, by class 1: 99 2: 32 3: 5 4: 0 5: 0, 45 s"
    )
    assert lines[4] == "finished in 5 min 12 s: done"
    assert "32 [24-42]" in text and lines[-1] == (
        "the run is in runs/a-001; ask it: star-mlx try runs/a-001 QUESTION; follow one "
        "problem through it: star-mlx trace runs/a-001"
    )


def test_the_command_at_the_end_is_quoted_and_has_a_placeholder_without_a_run():
    assert farewell(RunState(run="my run")).endswith("star-mlx try 'my run' QUESTION")


def test_a_finished_run_ends_with_its_verdict():
    out = io.StringIO()
    with tui.PlainScreen(out) as screen:
        screen(RunStarted("runs/a-001", {}, {}))
        screen(IterationFinished(line(1)))
        screen(RunFinished("runs/a-001", "done", 1.0, ("Training helped: \x1b[2J.",)))
    assert "\nTraining helped: \u241b[2J.\n\nthe run is in runs/a-001" in out.getvalue()
    console = Console(file=io.StringIO(), width=80, force_terminal=True)
    with tui.LiveScreen(console) as screen:
        screen(RunStarted("runs/a-001", {}, {}))
        screen(RunFinished("runs/a-001", "done", 1.0, ("Training helped: \x1b[2J.",)))
    assert "\nTraining helped: \u241b[2J.\n\nthe run is in runs/a-001" in console.file.getvalue()


def test_plain_progress_is_told_after_ten_seconds_and_a_tenth_or_after_a_minute():
    out, clock = io.StringIO(), Ticking()
    with tui.PlainScreen(out, clock) as screen:
        screen(PhaseStarted(1, "train", 1000))
        for second, done in ((5, 400), (11, 50), (12, 100), (15, 300), (22, 190), (23, 200),
                             (82, 201), (84, 202), (90, 1000)):  # fmt: skip
            clock.now = float(second)
            screen(Progress(1, "train", done, 1000, done * 10, float(second), 1.5))
    told = [line.split()[3] for line in out.getvalue().splitlines()[1:]]
    assert told == ["100", "200", "202"]
    assert "training 100 of 1000 steps, 8.3 steps/s, 83 tokens/s, loss 1.500, 1 min 48 s left" in (
        out.getvalue()
    )


def test_json_is_an_object_a_line():
    out = io.StringIO()
    with tui.JsonScreen(out) as screen:
        screen(STARTED)
        screen(sampled("\ud800\n"))
    first, second = map(json.loads, out.getvalue().splitlines())
    assert first["event"] == "run_started" and first["model"] == MODEL
    assert second["event"] == "sampled" and second["attempt"]["completion"] == "\ud800\n"
    assert out.getvalue().isascii()


@pytest.mark.parametrize(
    ("options", "terminal", "term", "kind"),
    [
        ({}, True, "xterm", tui.LiveScreen),
        ({}, True, "dumb", tui.PlainScreen),
        ({}, False, "xterm", tui.PlainScreen),
        ({"plain": True}, True, "xterm", tui.PlainScreen),
        ({"plain": True, "json": True}, True, "xterm", tui.JsonScreen),
    ],
)
def test_which_screen(monkeypatch, options, terminal, term, kind):
    monkeypatch.setattr("sys.stdout.isatty", lambda: terminal, raising=False)
    monkeypatch.setenv("TERM", term)
    monkeypatch.setenv("STAR_MLX_THEME", "dark")  # else the terminal of the tests is asked
    assert type(tui.screen(**options)) is kind


@pytest.mark.parametrize("wanted", [True, False])
def test_no_color_is_respected(monkeypatch, wanted):
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    if not wanted:
        monkeypatch.setenv("NO_COLOR", "1")
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=80, height=24)
    monkeypatch.setenv("STAR_MLX_THEME", "dark")
    tui.themed(console).print(
        draw(state(*(IterationFinished(line(n)) for n in (0, 1)), sampled()), 80, 24)
    )
    assert bool(re.search(r"\x1b\[[\d;]*[39]\d[;m]", out.getvalue())) == wanted
    assert "\x1b[1m" in out.getvalue()  # bold remains
    assert "+26.6" in out.getvalue() and "right (8 8 3) → kept" in out.getvalue()
