"""Summaries of runs, and many runs on one board."""

from __future__ import annotations

import json
import random
import re
from contextlib import suppress

import pytest

from star_mlx.engine.scripted import ScriptedEngine
from star_mlx.errors import NothingKept, RunError
from star_mlx.measure import leaderboard, summary
from star_mlx.measure.paired import holm, mcnemar
from star_mlx.measure.summary import MeasuredIteration, RunSummary
from star_mlx.report import board as boards
from star_mlx.report import write_report
from star_mlx.run import loop
from star_mlx.store import reading
from tests.report_pages import MADE
from tests.scripts import hopeless, learner
from tests.test_loop import recipe

N = 200
KEYS = "".join(f"{i:010x}" for i in range(N))


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Three runs on the same dev problems: ``a`` learns, ``b`` too, ``c`` does not."""
    folder = tmp_path_factory.mktemp("runs")
    for name, reply, more in (
        ("a", learner, ["star.iterations=1"]),
        ("b", learner, ["star.iterations=1", "seed=3", "star.rationalize=false"]),
        ("c", hopeless, ["star.iterations=1", "train.rank=3"]),
    ):
        with suppress(NothingKept):  # then its base has been measured
            loop.run(recipe(*more), folder / name, lambda _: None, engine=ScriptedEngine(reply))
    return folder


def made(name, right, *, keys=KEYS, settings=None, base="0" * N):
    return RunSummary(
        1, name, "arithmetic", "tiny", settings or {}, keys,
        [MeasuredIteration(0, base), MeasuredIteration(1, right)],
    )  # fmt: skip


def signs(correct, n=N, seed=None):
    marks = ["1"] * correct + ["0"] * (n - correct)
    if seed is not None:
        random.Random(seed).shuffle(marks)
    return "".join(marks)


def put(folder, one, name=None):
    file = folder / (name or f"{one.name}.json")
    file.write_bytes(summary.encoded(one))
    return file


# --------------------------------------------------------------------------- a summary


def test_a_summary_has_every_dev_verdict_and_comes_back_whole(runs, tmp_path):
    record = reading.read(runs / "a")
    one = summary.of_run(record, "Ada")
    assert summary.read(put(tmp_path, one)) == one
    assert one.name == "Ada" and len(one.keys) == len(set(one.keys)) == 20
    for line, entry in zip(record.metrics, one.iterations, strict=True):
        assert line.dev and (entry.iteration, len(entry.right)) == (line.iteration, line.dev.n)
        assert entry.right.count("1") == line.dev.correct
    assert one.zero_shot.count("1") == record.metrics[0].zero_shot.correct


def test_runs_on_the_same_problems_name_them_alike_and_no_text_is_in_the_file(runs):
    one, two = (summary.of_run(reading.read(runs / name)) for name in "ab")
    assert one.problems == two.problems
    assert {"seed": "3", "star.rationalize": "false"}.items() <= two.settings.items()
    assert "seed" not in one.settings and one.settings.items() <= two.settings.items()
    assert b"+" not in summary.encoded(one), "no sum"


def test_a_place_on_the_machine_stays_there(runs):
    record = reading.read(runs / "a")
    record.recipe["model"] = {**record.recipe["model"], "path": "/home/ada/models/mine"}
    record.recipe["endpoints"] = {"urls": ["http://ada:secret@10.0.0.1/v1"]}
    found = summary.settings(record)
    assert found["model.path"] == "mine" and "secret" not in str(found)


def test_a_question_that_is_asked_twice_is_two_problems():
    from star_mlx.types import Problem, Question

    same = [Problem(id, Question("1 + 1"), "2") for id in "ab"]
    first, second = summary._keys(same)
    assert first != second and [first] == list(summary._keys(same[1:]))


def damaged(**changes):
    values = json.loads(summary.encoded(made("Ada", signs(10))))
    return json.dumps({**values, **changes}).encode()


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "input data was truncated"),
        (b"[]", "expected `object`, got `array`"),
        (b"{}", "missing required field `star_mlx_summary`"),
        (b"\xff\xfe", "is not the summary of a run"),
        (b'{"star_mlx_summary": ' + b"[" * 100_000, "is not the summary of a run"),
        (damaged(star_mlx_summary=2), "it has version 2, and this star-mlx reads version 1"),
        (damaged(name=""), "- at `$.name`"),
        (damaged(name="a" * 300), "- at `$.name`"),
        (damaged(name=["<b>"]), "- at `$.name`"),
        (damaged(problems=KEYS[:-1]), "- at `$.problems`"),
        (damaged(problems=KEYS[:10] * N), "it names a problem twice"),
        (damaged(iterations=[]), "- at `$.iterations`"),
        (damaged(iterations=[{"iteration": 0, "right": "1" * 9}]), "it has 200 problems, and 9"),
        (damaged(iterations=[{"iteration": 0, "right": "-" * N}]), "it has no verdict"),
        (damaged(iterations=[{"iteration": 0, "right": "2" * N}]), "- at `$.iterations[0].right`"),
        (damaged(iterations=[{"iteration": 0, "right": "1" * N + "\n"}]), "].right`"),
        (damaged(iterations=[{"iteration": 1, "right": "1" * N}] * 2), "are not in order"),
        (damaged(zero_shot="1"), "it has 200 problems, and 1 verdicts"),
        (damaged(settings={"a": {}}), "- at `$.settings[...]`"),
        (b" " * (summary.LARGEST + 1), "it is larger than 2 MB"),
    ],
)  # fmt: skip
def test_a_damaged_summary_is_one_line_that_names_the_file(tmp_path, star, data, why):
    good, bad = put(tmp_path, made("Ada", signs(10))), tmp_path / "bad.json"
    bad.write_bytes(data)
    err = star("report", good, bad, "--out", tmp_path / "out", code=2)
    assert err.startswith(f"star-mlx: error: {bad} is not the summary of a run: ")
    assert why in err and err.count("\n") == 1
    assert err.endswith("; star-mlx summary RUN --out FILE makes one\n")
    assert not (tmp_path / "out").exists()


def test_the_command_writes_a_small_file_and_replaces_no_other(runs, tmp_path, star):
    out = tmp_path / "deep/ada.json"
    said = star("summary", runs / "a", "--name", " Ada ", "--out", out)
    assert said.startswith(f"{out}: Ada, 2 measurements of 20 problems, ")
    assert star("summary", runs / "b", "--out", out).startswith(f"{out}: b, ")
    other = tmp_path / "thesis.json"
    other.write_text("{}")
    err = star("summary", runs / "a", "--out", other, code=2)
    assert f"{other} exists and is not a summary: give another --out" in err
    assert other.read_text() == "{}"
    assert "give a name" in star("summary", runs / "a", "--out", out, "--name", " ", code=2)
    assert "no such folder" in star("summary", tmp_path / "none", "--out", out, code=2)


def test_a_run_whose_problems_are_gone_cannot_be_summarized(runs):
    record = reading.read(runs / "a")
    record.provenance["data_sha256"] = "another"
    with pytest.raises(RunError, match="its problems cannot be read: the data has changed"):
        summary.of_run(record)


# --------------------------------------------------------------------------- the board


def test_holm_corrects_as_in_the_paper():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0] and holm([]) == []


def test_the_best_is_first_and_only_significant_differences_count():
    given = [made("low", signs(100)), made("high", signs(140)), made("mid", signs(136))]
    board = leaderboard.board([(one.name, one) for one in given])
    assert [one.name for one in board.entries] == ["high", "mid", "low"]
    assert [(p.first, p.second, p.pair.better, p.pair.worse) for p in board.pairs] == [
        (0, 1, 4, 0), (0, 2, 40, 0), (1, 2, 36, 0),
    ]  # fmt: skip
    assert board.pairs[0].p == mcnemar(4, 0) and board.pairs[1].p == 3 * mcnemar(40, 0)
    assert [board.beaten(i) for i in range(3)] == [[2], [2], []]
    said = boards.sentences(board, summaries=True)
    assert said[0].startswith("high is first: 70.0% [63.3–75.9] of 200 dev problems right")
    assert "2 of 3 pairs of runs differ significantly" in said[1] and "for 3 tests" in said[1]
    tied = leaderboard.board([("a", given[1]), ("b", made("too", signs(140)))])
    assert boards.sentences(tied, summaries=True)[0].startswith("high and too are first: 70.0%")
    keys = "".join(f"{i:010x}" for i in range(2 * N))
    more = made("more", signs(280, 2 * N), keys=keys, base="0" * 2 * N)
    found = boards.sentences(leaderboard.board([("a", given[1]), ("b", more)]), summaries=True)[0]
    assert "of 200 and 70.0%" in found and "of 400 dev problems right" in found
    assert said[2] == "Not significantly different from the first: mid."


def test_of_many_runs_that_are_alike_no_two_differ():
    """Uncorrected, some of them would: the smallest p of 435 is below 0.05."""
    given = [(str(i), made(str(i), signs(100, seed=i))) for i in range(30)]
    shifted = [(name, made(name, signs(88 + int(name), seed=int(name)))) for name, _ in given]
    board = leaderboard.board(shifted)
    assert len(board.pairs) == 435 and min(pair.pair.p for pair in board.pairs) < 0.05
    assert not any(board.beaten(i) for i in range(30))
    assert "None of 435 pairs of runs differ" in " ".join(boards.sentences(board, summaries=True))


def test_runs_are_compared_on_the_problems_that_both_have():
    other = "".join(f"{i + N // 2:010x}" for i in range(N))
    none = "".join(f"{i + 9 * N:010x}" for i in range(N))
    given = [made("a", signs(N)), made("b", "0" * N, keys=other), made("c", signs(5), keys=none)]
    board = leaderboard.board([(one.name, one) for one in given])
    [pair] = board.pairs
    assert pair.pair.n == N // 2 and board.apart
    assert "Not all runs were measured" in " ".join(boards.sentences(board, summaries=True))


def test_settings_are_those_that_differ_and_names_are_told_apart():
    given = [
        ("1.json", made("Ada", signs(9), settings={"seed": "1", "train.rank": "8"})),
        ("2.json", made("Ada", signs(8), settings={"train.rank": "8"})),
    ]
    board = leaderboard.board(given)
    assert [one.name for one in board.entries] == ["Ada (1.json)", "Ada (2.json)"]
    assert board.common == {"train.rank": "8"}
    assert [dict(one.settings) for one in board.entries] == [{"seed": "1"}, {}]
    assert [row[-1] for row in boards.table(board).rows] == ["seed=1", "none"]


def test_a_gain_over_the_base_is_marked_unless_it_is_significant():
    given = [made("a", signs(9)), made("b", signs(3)), made("c", signs(0), base="-" * N)]
    board = leaderboard.board([(one.name, one) for one in given])
    assert [boards.gain(one.gain) for one in board.entries] == [
        "+4.5",
        "+1.5 (not significant)",
        "",
    ]


def test_places_in_words():
    assert boards.numbers([1, 3, 4, 5, 8]) == "2, 4–6, 9" and boards.numbers([]) == ""


# --------------------------------------------------------------------------- the report


@pytest.mark.slow
def test_summaries_and_runs_make_one_page_that_nothing_in_them_can_harm(runs, tmp_path, star):
    evil = '"><script>alert(1)</script>\u202e\x1b[2J'
    file = put(tmp_path, made(evil, signs(20), settings={"<b>x</b>": "$a$ {{ 1 }}"}), "evil.json")
    out = tmp_path / "out"
    said = star("report", runs / "a", runs / "b", file, put(tmp_path, made("Bo", signs(9))),
                "--out", out)  # fmt: skip
    page = (out / "index.html").read_text(encoding="utf-8")
    assert "<script" not in page and "<b>" not in page and "&lt;script&gt;alert(1)" in page
    for text in (page, said):
        assert "\u202e" not in text and "\x1b" not in text
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)[1]
    assert (
        policy.startswith("default-src 'none'; style-src 'sha256-") and "script-src" not in policy
    )
    assert "<h1>4 runs</h1>" in page and "Every two runs" in page
    assert "Not all runs were measured on the same problems" in said
    files = {str(f.relative_to(out)) for f in out.rglob("*.*")}
    assert files == {"index.html", "charts/leaderboard.svg", "charts/leaderboard.png"}
    star("report", file, "--out", out)  # an earlier one is replaced
    assert "<h1>1 run</h1>" in (out / "index.html").read_text(encoding="utf-8")


def test_the_report_of_a_class_lies_outside_its_folder(tmp_path):
    assert write_report.folder([put(tmp_path, made("Ada", signs(1)))]).as_posix() == "leaderboard"


@pytest.mark.slow
def test_three_runs_in_full_have_a_board_too(runs, tmp_path, monkeypatch):
    monkeypatch.setattr(write_report, "_draw", lambda found: ({}, []))
    three = [runs / name for name in "abc"]
    written = write_report.write(three, tmp_path / "three", MADE)
    page = written.files[0].read_text(encoding="utf-8")
    assert "<h3>Leaderboard</h3>" in page and "train.rank=3" in page
    assert [one.name for one in written.board.entries][:2] == ["a", "b"]
    two = write_report.write(three[:2], tmp_path / "two", MADE)
    assert two.board is None and "Leaderboard" not in two.files[0].read_text(encoding="utf-8")
