"""The ledger: what became of every problem, from the files of a run alone."""

from __future__ import annotations

import json
import os
import shutil
import time

import pytest
from click.testing import CliRunner

from star_mlx.cli import cli
from star_mlx.engine.scripted import Asked, ScriptedEngine
from star_mlx.errors import RunError
from star_mlx.run import loop
from star_mlx.store import journal, ledger, rows, writing
from star_mlx.store.files import json_line
from star_mlx.store.metrics import Metrics
from star_mlx.tasks.arithmetic_text import scratchpad, spaced
from star_mlx.types import Attempt
from tests.lines import json_lines
from tests.scripts import parts
from tests.test_loop import recipe


def fickle(asked: Asked) -> str:
    """What it knows changes with what it was trained on; one hint in three does not help it."""
    a, b, hinted = parts(asked.prompt)
    knows = (a + b) % 3 != 0 if hinted else (a + b + len(asked.trained_on)) % 4 == 0
    if knows:
        return f"{scratchpad(a, b)}\n{spaced(a + b)}\n\n"
    return f"<scratch>\n</scratch>\n{spaced(a)}\n\n"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    path = tmp_path_factory.mktemp("ledger") / "run"
    settings = recipe("task.options.train=40", "star.iterations=6", "star.problems=30")
    loop.run(settings, path, lambda event: None, engine=ScriptedEngine(fickle))
    return path


def call(*arguments):
    return CliRunner().invoke(cli, ["ledger", *map(str, arguments)], catch_exceptions=False)


def row(id, *, correct, hinted=False, finish="stop"):
    return json.loads(rows.attempts([Attempt(id, hinted, "text", "1", correct, finish, (1, 2))]))


def write(path, *iterations, finished=None):
    """A run folder of these rows of attempts."""
    with writing.opened(path, {}) as opened:
        opened.finish(Metrics(0))
        for number, made in enumerate(iterations, 1):
            folder = path / f"iterations/{number:03d}"
            folder.mkdir(parents=True)
            (folder / "attempts.jsonl").write_bytes(b"".join(map(json_line, made)))
            if finished is None or number <= finished:
                opened.finish(Metrics(number))
    return path


# --------------------------------------------------------------------------- reading


def test_its_numbers_are_those_of_the_metrics(run):
    metrics = [line for line in json_lines(run / "metrics.jsonl") if line["iteration"]]
    tallies = ledger.read(run).iterations
    assert len(tallies) == len(metrics) == 6
    for tally, line in zip(tallies, metrics, strict=True):
        assert tally.attempted == line["problems"]
        assert tally.direct == line["solved"]
        assert tally.hinted == line["rationalized"]
        assert tally.newly_solved == line["newly_solved"]
        assert tally.forgotten == line["forgotten"]
    for name in ("newly_solved", "forgotten", "rationalized"):
        assert any(line[name] for line in metrics), f"the run has no {name}: it shows nothing"


def test_the_histories_by_hand(tmp_path):
    path = write(
        tmp_path / "run",
        [
            row("a", correct=True),
            row("b", correct=False),
            row("c", correct=False),
            row("d", correct=False),
            row("b", correct=True, hinted=True),
            row("c", correct=False, hinted=True),
            row("d", correct=True, hinted=True, finish="length"),
        ],
        [row("a", correct=False), row("b", correct=True), row("a", correct=True, hinted=True)],
        [row("a", correct=True), row("c", correct=False)],
    )
    found = ledger.read(path)
    assert found.as_json() == {
        "problems": {
            "a": {"direct": [1, 3], "hinted": [2], "attempted": [1, 2, 3]},
            "b": {"direct": [2], "hinted": [1], "attempted": [1, 2]},
            "c": {"direct": [], "hinted": [], "attempted": [1, 3]},
            "d": {"direct": [], "hinted": [], "attempted": [1]},
        },
        "iterations": [
            {"iteration": 1, "attempted": 4, "direct": 1, "hinted": 1, "newly_solved": 0,
             "forgotten": 0},
            {"iteration": 2, "attempted": 2, "direct": 1, "hinted": 1, "newly_solved": 1,
             "forgotten": 1},
            {"iteration": 3, "attempted": 2, "direct": 1, "hinted": 0, "newly_solved": 1,
             "forgotten": 0},
        ],
        "totals": {"problems": 4, "direct": 2, "hinted_only": 0, "never": 2},
    }  # fmt: skip
    assert found.of("never") == ["c", "d"]


def test_any_right_sample_solves_a_problem(tmp_path):
    """Several direct attempts at a problem in an iteration are one verdict."""
    path = write(
        tmp_path / "run",
        [row("a", correct=True), row("a", correct=False), row("b", correct=False)],
        [row("a", correct=False), row("a", correct=True), row("b", correct=False)],
        [row("a", correct=False), row("a", correct=False), row("b", correct=True)],
    )
    found = ledger.read(path)
    assert found.problems["a"].direct == [1, 2] and found.problems["a"].attempted == [1, 2, 3]
    assert [(t.attempted, t.direct) for t in found.iterations] == [(2, 1)] * 3
    assert [t.newly_solved for t in found.iterations] == [0, 0, 1]
    assert [t.forgotten for t in found.iterations] == [0, 0, 1]


def test_what_is_solved_both_ways_is_solved_directly(tmp_path):
    path = write(tmp_path / "run", [row("a", correct=True), row("a", correct=True, hinted=True)])
    found = ledger.read(path)
    assert (found.iterations[0].direct, found.iterations[0].hinted) == (1, 0)
    assert found.of("direct") == ["a"] and found.problems["a"].hinted == [1]


def test_an_unfinished_iteration_does_not_count(tmp_path):
    path = write(tmp_path / "run", [row("a", correct=False)], [row("a", correct=True)], finished=1)
    assert ledger.read(path).of("never") == ["a"]


def test_missing_and_damaged_files_are_named(tmp_path):
    path = write(tmp_path / "run", [row("a", correct=False)])
    file = path / "iterations/001/attempts.jsonl"
    for text, match in (
        ('{"id":"a"}\n', r"line 1 is damaged: .*`hinted`"),
        ("[]\n", r"line 1 is damaged: Expected `object`"),
        ("{\n", r"line 1 is damaged"),
    ):
        file.write_text(text)
        with pytest.raises(RunError, match=match):
            ledger.read(path)
    file.unlink()
    with pytest.raises(RunError, match=r"attempts\.jsonl is missing"):
        ledger.read(path)
    with pytest.raises(RunError, match="no such folder"):
        ledger.read(tmp_path / "nowhere")


def test_what_looks_like_token_ids_in_a_completion_hides_nothing(tmp_path):
    attempt = Attempt("a", True, '","token_ids":[1],"correct":false', "1", True, "stop", (1,))
    path = write(tmp_path / "run", [json.loads(rows.attempts([attempt]))])
    assert ledger.read(path).of("hinted") == ["a"]


@pytest.mark.slow
def test_a_run_opens_quicker_than_its_rows_are_parsed(tmp_path):
    ids = tuple(range(100))
    attempts = [Attempt(str(i), False, "step " * 40, "1", True, "stop", ids) for i in range(10_000)]
    path = write(tmp_path / "run", *[[json.loads(rows.attempts([a])) for a in attempts]] * 5)
    began = time.process_time()
    assert ledger.read(path).totals()["problems"] == 10_000
    took = time.process_time() - began
    began = time.process_time()
    for file in path.glob("iterations/*/attempts.jsonl"):
        assert sum(1 for _ in json_lines(file)) == 10_000
    assert took < time.process_time() - began


# --------------------------------------------------------------------------- the command


def test_the_tables(run):
    shown = call(run)
    assert shown.exit_code == 0
    totals = ledger.read(run).totals()
    assert f"{totals['problems']} problems seen: {totals['direct']} ever solved" in shown.output
    for tally in ledger.read(run).iterations:
        numbers = f"{tally.iteration} {tally.attempted} {tally.direct} {tally.hinted} "
        numbers += f"{tally.newly_solved} {tally.forgotten}"
        assert numbers in {" ".join(line.split()) for line in shown.output.splitlines()}


def test_json_is_the_ledger(run):
    assert json.loads(call(run, "--json").output) == ledger.read(run).as_json()


def test_never_solved_is_one_harmless_id_a_line(tmp_path):
    rows = [row(id, correct=False) for id in ("plain", "two\nlines", "\x1b[31mred")]
    path = write(tmp_path / "run", [*rows, row("solved", correct=True)])
    shown = call(path, "--never-solved")
    assert shown.output == "plain\ntwo\u240alines\n\u241b[31mred\n"
    refused = call(path, "--never-solved", "--json")
    assert refused.exit_code == 2 and "not both" in refused.output


def test_a_run_without_a_finished_iteration(tmp_path):
    assert "no iteration is finished yet" in call(write(tmp_path / "run")).output


def test_a_trained_baseline_has_none_and_says_so(run, tmp_path):
    from shutil import copytree

    path = copytree(run, tmp_path / "sft") / "recipe.yaml"
    path.write_text(path.read_text().replace("baseline: null", "baseline: sft"))
    with pytest.raises(RunError, match=r"is the baseline sft: it attempts no problem"):
        ledger.read(tmp_path / "sft")


# --------------------------------------------------------------------------- from the journal


def everywhere(monkeypatch, path):
    """The ledger with every attempt read."""
    with monkeypatch.context() as all_read:
        all_read.setattr(ledger, "_journalled", lambda *arguments: None)
        return ledger.read(path).as_json()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that attempts all of its problems in each iteration, from the second on known ones."""
    path = tmp_path_factory.mktemp("ledger") / "whole"
    settings = recipe("task.options.train=40", "star.iterations=4", "star.problems=null")
    loop.run(settings, path, lambda event: None, engine=ScriptedEngine(fickle))
    return path


def test_known_problems_are_read_from_the_journal_and_make_the_same_ledger(run, whole, monkeypatch):
    read = []
    attempts = ledger._attempts
    monkeypatch.setattr(ledger, "_attempts", lambda r, n: read.append(n) or attempts(r, n))
    assert ledger.read(whole).as_json() == everywhere(monkeypatch, whole)
    assert read == [1, 1, 2, 3, 4]
    assert ledger.read(run).as_json() == everywhere(monkeypatch, run)


def test_a_journal_that_finished_an_iteration_twice_is_not_relied_on(whole, tmp_path, monkeypatch):
    path = tmp_path / "run"
    shutil.copytree(whole, path)
    before = everywhere(monkeypatch, path)
    *entries, end = (path / "journal.jsonl").read_bytes().splitlines(keepends=True)
    third = [e for e in entries if b'"event":"iteration","' in e][3]
    wrong = {**json.loads(third), "solved": [], "failed": json.loads(third)["solved"]}
    first = journal.line("iteration", {k: v for k, v in wrong.items() if k not in OWN})
    entries.insert(entries.index(third), first)
    (path / "journal.jsonl").write_bytes(b"".join([*entries, end]))
    assert ledger.read(path).as_json() == before


@pytest.mark.parametrize("keep", [0, 100])
def test_attempts_that_are_gone_are_told_though_the_journal_has_their_verdicts(
    whole, tmp_path, keep
):
    path = tmp_path / "run"
    shutil.copytree(whole, path)
    file = path / "iterations/003/attempts.jsonl"
    if keep:
        os.truncate(file, keep)
    else:
        file.unlink()
    with pytest.raises(RunError, match=r"003/attempts\.jsonl is (missing|damaged: .*cut short)"):
        ledger.read(path)


OWN = ("event", "time", "sum")
