"""The parts of the live screen: stages, accuracy by class, the chart, an attempt and its fate."""

from __future__ import annotations

import io
import runpy
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console

from star_mlx.events import IterationFinished, PhaseStarted, Progress, RunFinished, Sampled
from star_mlx.progress.state import RunState
from star_mlx.tui.body import drawn
from star_mlx.tui.chart import chart
from star_mlx.tui.class_bars import ClassBars
from star_mlx.tui.live_screen import draw
from star_mlx.tui.sample import Pane, chosen, fate
from star_mlx.tui.stages import stage_lines, stages
from tests.test_loop import run
from tests.test_tui import RECIPE, evaluation, line, rendered, sampled, state

ROOMY = [(80, 24), (120, 35), (200, 50)]


def ascii_only(what, width, height=30):
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="backslashreplace")
    Console(file=out, width=width, height=height, force_terminal=True, color_system=None).print(
        what
    )
    out.seek(0)
    return out.read()


def passed(phase, done, total, **found):
    return Progress(3, phase, done, total, 10, 1.0, **found)


def told(*parts, width=120):
    """The stages after some phases of iteration 3, as text."""
    events = [IterationFinished(line(n)) for n in range(3)]
    for part in parts:
        events += [PhaseStarted(3, part.phase, part.total), part]
    [lines] = stage_lines(state(*events), width)
    return rendered(lines, width)


GENERATED = passed("generate", 300, 300, judged=300, right=212, kept=210)
HINTED = passed("rationalize", 88, 88, judged=88, right=60, kept=58)
TRAINED = passed("train", 40, 40, loss=0.2149)


# --------------------------------------------------------------------------- stages


def test_the_stages_with_the_yield_of_each():
    names, yields = told(GENERATED, HINTED, TRAINED, passed("evaluate", 90, 200)).splitlines()
    assert names.split(" ▸ ")[0].strip() == "✓ generate"
    assert [n.strip() for n in names.split("▸")] == [
        "✓ generate", "✓ keep", "✓ with hint", "✓ train", "● measure",
    ]  # fmt: skip
    for part in ("300, right 71%", "210", "58 of 88", "40 steps, loss 0.21", "90/200"):
        assert part in yields
    for name, found in (("✓ keep", "210"), ("✓ with hint", "58 of 88"), ("● measure", "90/200")):
        assert names.index(name) == yields.index(found)  # below its name


def test_a_stage_says_no_more_than_is_known():
    assert "212" not in told(passed("generate", 100, 300, judged=0, right=0, kept=0))
    text = told(passed("generate", 212, 300, judged=200, right=142, kept=140))
    assert "● generate" in text and "212/300, right 71%" in text and "140" in text
    old = told(passed("generate", 300, 300), passed("rationalize", 40, 88))  # of an older version
    assert "300 " in old and "right" not in old and "40/88" in old and "kept" not in old
    assert " of " not in told(passed("rationalize", 88, 88), TRAINED)
    done = told(GENERATED, HINTED, TRAINED, passed("evaluate", 200, 200, judged=200, right=195))
    assert "97.5% [94-99]" in done


def test_an_iteration_in_which_nothing_failed_says_so():
    assert "none to try" in told(GENERATED, TRAINED)


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({}, ["generate", "keep", "with hint", "train", "measure"]),
        ({"star": {"rationalize": False}}, ["generate", "keep", "train", "measure"]),
        ({"star": {"p_rationalization": 0.0}}, ["generate", "keep", "train", "measure"]),
        ({"star": {"evaluate": False}}, ["generate", "keep", "with hint", "train"]),
        ({"baseline": "sft"}, ["train", "measure"]),
        (
            {"baseline": "rft", "star": {"rationalize": False}},
            ["generate", "keep", "train", "measure"],
        ),
        ({"baseline": "few-shot"}, ["measure the base", "measure it without examples"]),
    ],
)
def test_a_run_has_the_stages_of_its_recipe(changes, names):
    star = {**RECIPE["star"], **changes.get("star", {})}
    folded = RunState(recipe={**RECIPE, **changes, "star": star})
    folded.apply(IterationFinished(line(0)))
    assert [stage.name for stage in stages(folded)] == names


def test_the_base_and_the_test_split_are_only_measured():
    folded = state(PhaseStarted(0, "evaluate", 9), Progress(0, "evaluate", 9, 9, 1, 1.0))
    assert [s.when for s in stages(folded)] == ["now", "later"]
    folded.apply(PhaseStarted(0, "evaluate", 9))
    assert [s.when for s in stages(folded)] == ["over", "now"]
    late = state(*(IterationFinished(line(n)) for n in range(3)), PhaseStarted(2, "evaluate", 9))
    assert [stage.name for stage in stages(late)] == ["measure on test"]
    late.apply(RunFinished("r", "done", 1.0))
    assert stages(late) == [] and stage_lines(late, 80) == []


@pytest.mark.parametrize("width", range(10, 130, 3))
def test_stages_fit_and_the_current_one_is_the_last_to_lose_its_yield(width):
    text = told(GENERATED, HINTED, passed("train", 12, 40, loss=0.21), width=width)
    assert all(cell_len(row.rstrip()) <= width for row in text.splitlines())
    assert len(text.splitlines()) <= 2 and ("train" in text or width < 20)
    if "58 of 88" in text or "300" in text:
        assert "12/40" in text


def test_stages_in_ascii():
    folded = state(IterationFinished(line(0)), PhaseStarted(1, "generate", 9))
    text = ascii_only(stage_lines(folded, 80)[0], 80)
    assert text.startswith("* generate > - keep > - with hint > - train > - measure\n")


# --------------------------------------------------------------------------- classes


def test_a_class_is_a_bar_with_its_interval_before_and_now():
    bars = ClassBars([line(0), line(1), line(2, (50, 50, 50, 50, 90))], 100, 20)
    text = rendered(bars.lines(), 100)
    assert len(text.splitlines()) == bars.height == 6
    assert "by class" in text and "█▓ iteration 2" in text and "┃ iteration 0" in text
    row = text.splitlines()[5]
    assert row.startswith("5 ┃") and "0 [0-4] → 90 [83-94]" in row
    bar = row[2:42]
    assert (bar.count("█"), bar.count("▓"), bar.count("░")) == (32, 3, 2)  # 83, 90, 94 of 100


def test_the_first_measurement_has_nothing_before():
    text = rendered(ClassBars([line(0)], 100, 20).lines(), 100)
    assert "┃" not in text and "→" not in text and "3 [1-8]" in text


@pytest.mark.parametrize("room", range(7))
@pytest.mark.parametrize("width", [30, 40, 80, 120])
def test_classes_take_the_room_they_say(width, room):
    bars = ClassBars([line(0), line(1)], width, room)
    assert bars.height <= room
    if bars.height:
        rows = rendered(bars.lines(), width).splitlines()
        assert len(rows) == bars.height and all(cell_len(row.rstrip()) <= width for row in rows)


def test_of_many_classes_the_weakest_are_shown():
    entry = evaluation(range(0, 100, 5))
    names = [f"Counting & Probability [bold] {i}" for i in range(20)]
    counts = entry["by_class"].values()
    entry["by_class"] = dict(zip(names, counts, strict=True))
    text = rendered(ClassBars([line(1, eval=entry)], 80, 5).lines(), 80)
    assert "the 4 weakest of 20" in text
    assert [n for n in (0, 5, 10, 15) if f" {n} [" in text] == [0, 5, 10, 15]
    assert "20 [" not in text


def test_a_run_without_classes_has_no_bars():
    assert ClassBars([], 80, 20).height == 0
    assert ClassBars([line(1, without=("eval",))], 80, 20).height == 0
    single = line(1, eval={**evaluation((50,)), "by_class": {"": {"n": 100, "correct": 50}}})
    assert ClassBars([single], 80, 20).height == 0


@pytest.mark.parametrize(("width", "height"), ROOMY)
def test_classes_are_shown_once_and_with_their_label_at_every_size(width, height):
    folded = state(*(IterationFinished(line(n)) for n in range(4)), sampled())
    text = rendered(draw(folded, width, height), width, height)
    assert text.count("by class") == 1 and text.count("32 [24-42]") == 1
    assert text.count("█") > 5


# --------------------------------------------------------------------------- chart


def points(text, mark):
    rows = text.splitlines()
    return [(row.index(mark), n) for n, row in enumerate(rows) if mark in row and n]


def test_the_chart_has_a_point_with_its_interval_at_each_iteration():
    lines = [line(n, (share,)) for n, share in enumerate((0, 50, 100))]
    text = rendered(chart(lines, 60, 12), 60)
    rows = text.splitlines()
    assert len(rows) == 12 and all(cell_len(row) <= 60 for row in rows)
    assert "● dev accuracy, %" in rows[0] and "○ kept per 100 problems" in rows[0]
    assert sorted(points(text, "●")) == [(7, 9), (33, 5), (58, 1)]
    assert points(text, "○") == [(33, 1)]  # the last is beside the accuracy
    for label, row in (("100", 1), ("75", 3), ("50", 5), ("25", 7), ("0", 9)):
        assert rows[row].startswith(f"{label:>3} ┤")
    assert rows[-1].split() == ["iter", "0", "1", "2"]
    assert any(0x2800 < ord(c) < 0x2900 for c in text)  # a line between the points


def test_the_chart_without_unicode():
    text = ascii_only(chart([line(0), line(1), line(2)], 60, 12), 60)
    assert text.isascii() and "\\u" not in text
    assert "o dev accuracy, %" in text and "100 |" in text and text.count("o") > 3


@pytest.mark.parametrize("n", [2, 3, 64, 500])
@pytest.mark.parametrize("width", [24, 44, 120])
def test_a_chart_of_any_number_of_iterations_fits(n, width):
    lines = [line(i, (100,), examples=3000) for i in range(n)]  # three examples per problem
    rows = rendered(chart(lines, width, 8), width).splitlines()
    assert len(rows) == 8 and all(cell_len(row) <= width for row in rows)


def test_a_wide_screen_has_the_chart_beside_the_table_and_a_narrow_one_none():
    metrics = [line(n) for n in range(4)]

    def shown(width, room):
        parts, used = drawn(metrics, width, room)
        text = "\n".join(rendered(part, width) for part in parts)
        assert len([row for part in parts for row in rendered(part, width).splitlines()]) == used
        assert used <= room
        return text

    wide = shown(200, 35)
    assert "● dev accuracy, %" in wide.splitlines()[0] and "iter  problems" in wide
    many = [line(n) for n in range(64)]
    parts, used = drawn(many, 120, 21)
    text = "\n".join(rendered(part, 120) for part in parts)
    assert used <= 21 and "●" in text and "by class" in text  # the iterations leave them room
    assert "dev accuracy, %" in shown(120, 21) and "●" not in shown(80, 11)
    assert "●" in shown(80, 35)


@pytest.mark.parametrize("width", [40, 60, 80, 100, 120, 150, 200, 250])
@pytest.mark.parametrize("n", [1, 2, 5, 64])
def test_the_screen_fits_every_size(width, n):
    folded = state(
        *(IterationFinished(line(i)) for i in range(n)),
        PhaseStarted(n, "train", 50),
        Progress(n, "train", 20, 50, 8000, 10.0, 0.4321),
        sampled("step\n" * 100 + "8 8 3"),
    )
    for height in (12, 16, 20, 24, 28, 35, 50, 80):
        rows = rendered(draw(folded, width, height), width, height).splitlines()
        assert len(rows) <= height, (width, height)
        assert all(cell_len(row) <= width for row in rows)


# --------------------------------------------------------------------------- an attempt


def attempt(correct, phase="generate", first=None, **fields):
    hinted = phase == "rationalize"
    made = sampled(correct=correct, hinted=hinted, **fields).attempt
    return Sampled(3, "6 2 4 + 2 5 9", "8 8 3", made, phase, first)


WRONG = attempt(False, answer="8 8 4").attempt
CUT = attempt(False, answer=None, finish="length").attempt
AGAIN = "rationalize"


@pytest.mark.parametrize(
    ("sample", "words"),
    [
        (attempt(True), "right → kept"),
        (attempt(True, rejected="wrong step"), "right → not kept: wrong step"),
        (attempt(True, finish="length"), "right → not kept: cut off"),
        (attempt(False, answer="8 8 4"), "wrong → to be tried again with hint"),
        (attempt(False, answer=None), "no answer found → to be tried again with hint"),
        (attempt(True, AGAIN, WRONG), "wrong → again with hint → kept"),
        (attempt(False, AGAIN, WRONG, answer="1"), "wrong → again with hint → still wrong"),
        (attempt(False, AGAIN, CUT, answer="1"), "cut off → again with hint → still wrong"),
        (
            attempt(False, AGAIN, CUT, finish="length"),
            "cut off → again with hint → still cut off",
        ),
        (
            attempt(True, AGAIN, WRONG, rejected="hint leak"),
            "wrong → again with hint → not kept: hint leak",
        ),
        (attempt(True, AGAIN), "again with hint → kept"),
        (attempt(True, "evaluate"), "right"),
        (attempt(False, "evaluate"), "wrong"),
    ],
)
def test_the_fate_of_an_attempt(sample, words):
    phase = {"evaluate": "evaluate"}.get(sample.phase, "generate")
    folded = state(PhaseStarted(3, phase, 300))
    assert " → ".join(fate(folded, sample)) == words


def test_what_is_not_to_be_tried_again_is_not_promised():
    failed = attempt(False)
    for star, generate, words in (
        ({"rationalize": False}, {}, ["wrong", "not kept"]),
        ({"p_rationalization": 0.5}, {}, ["wrong"]),
        ({}, {"samples": 4}, ["wrong"]),
    ):
        folded = state(PhaseStarted(3, "generate", 300))
        folded.recipe = {"star": star, "generate": generate}
        assert fate(folded, failed) == words
    assert fate(state(PhaseStarted(3, "train", 40)), failed) == ["wrong", "not kept"]
    kept = attempt(True)
    assert fate(state(PhaseStarted(3, "train", 40)), kept) == ["right", "kept, being trained on"]


def test_the_second_attempt_takes_the_place_of_the_first():
    folded = state(PhaseStarted(3, "generate", 300), attempt(False, answer="8 8 4"))
    folded.apply(PhaseStarted(3, "rationalize", 88))
    pane = Pane(folded, chosen(folded, 0.0), 80, 8)
    assert "earlier: iteration 3, generated" in rendered(pane, 80)
    folded.apply(attempt(True, AGAIN))
    [sample] = folded.samples
    assert sample.first["answer"] == "8 8 4"  # taken from the first
    text = rendered(Pane(folded, sample, 80, 8), 80)
    assert "─ iteration 3, with hint ─" in text and "earlier" not in text
    assert "wrong (8 8 4, not 8 8 3) → again with hint → kept" in text
    dev = attempt(False, "evaluate")
    folded.apply(dev)
    folded.apply(attempt(True, AGAIN))
    assert dev in folded.samples


def test_samples_of_the_current_phase_come_before_older_ones():
    folded = state(PhaseStarted(3, "generate", 300), attempt(True), attempt(False))
    assert [chosen(folded, s) for s in (0.0, 5.1)] == [attempt(False), attempt(True)]
    folded.apply(PhaseStarted(3, "evaluate", 200))
    assert chosen(folded, 0.0) == attempt(False)  # none of this phase yet
    folded.apply(attempt(True, "evaluate"))
    assert {chosen(folded, s).phase for s in (0.0, 5.1, 10.1)} == {"evaluate"}
    folded.apply(PhaseStarted(4, "generate", 300))
    text = rendered(Pane(folded, chosen(folded, 5.1), 80, 8), 80)
    assert "earlier: iteration 3, measured on dev" in text


def test_both_attempts_are_side_by_side_where_there_is_room():
    first = {**WRONG, "completion": "a\nwrong way"}
    folded = state(PhaseStarted(3, "rationalize", 88))
    sample = attempt(True, AGAIN, first)
    wide = rendered(Pane(folded, sample, 120, 9), 120)
    assert "without hint:" in wide and "wrong way" in wide and "<scratch>" in wide
    narrow = rendered(Pane(folded, sample, 80, 9), 80)
    assert "wrong way" not in narrow and "<scratch>" in narrow
    assert all(cell_len(row) <= 120 for row in wide.splitlines()) and len(wide.splitlines()) <= 9


def test_the_fate_is_shown_even_where_the_answers_do_not_fit():
    folded = state(PhaseStarted(3, "rationalize", 88))
    sample = attempt(True, AGAIN, {**WRONG, "answer": "long " * 50})
    text = rendered(Pane(folded, sample, 50, 8), 50)
    assert "wrong → again with hint → kept" in text
    text = ascii_only(Pane(folded, sample, 50, 8), 50)
    assert "wrong -> again with hint -> kept" in text


# --------------------------------------------------------------------------- the pictures


@pytest.mark.slow
def test_the_pictures_are_drawn_from_a_run_folder(tmp_path, monkeypatch):
    run(tmp_path / "run")
    out = tmp_path / "docs/screen.svg"
    out.parent.mkdir()
    script = str(Path(__file__).parent.parent / "scripts/screen.py")
    monkeypatch.setattr("sys.argv", [script, str(tmp_path / "run"), str(out)])
    monkeypatch.setenv("STAR_MLX_THEME", "dark")  # restored, as the script sets it
    runpy.run_path(script, run_name="__main__")
    names = {str(p.relative_to(out.parent)) for p in out.parent.rglob("*.svg")}
    sizes = {f"screens/{w}x{h}-{kind}.svg" for w, h in ROOMY for kind in ("dark", "light")}
    assert names == {"screen.svg", "screen-running.svg", *sizes}
    for name in names:
        text = (out.parent / name).read_text(encoding="utf-8")
        assert len(text) < 200_000 and "train" in text
    dark, light = ((out.parent / f"screens/80x24-{kind}.svg") for kind in ("dark", "light"))
    assert "#87d7ff" in dark.read_text() and "#005faf" in light.read_text()


def test_the_pictures_in_the_documentation_are_small():
    docs = Path(__file__).parent.parent / "docs"
    found = [*docs.glob("screen*.svg"), *docs.glob("screens/*.svg")]
    assert len(found) == 14 and all(path.stat().st_size < 200_000 for path in found)
