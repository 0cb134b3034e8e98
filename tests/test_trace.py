"""Tracing a problem through an iteration: which one is chosen, and what is said of it."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

from star_mlx.cli import cli
from star_mlx.engine.scripted import ScriptedEngine
from star_mlx.errors import RunError
from star_mlx.measure import tracing
from star_mlx.measure.run_problems import Known
from star_mlx.measure.trace import Trace, TracePart
from star_mlx.run import loop
from star_mlx.store import ledger, reading
from star_mlx.store.rows import AttemptText
from tests.scripts import hopeless, learner, parts
from tests.test_loop import recipe
from tests.test_old_runs import STORED

ALL = ("task.options.train=24", "star.problems=null")  # every iteration asks every problem


def make(path, *overrides, reply=learner):
    loop.run(recipe(*overrides), path, lambda event: None, engine=ScriptedEngine(reply))
    return reading.read(path)


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    """A run that asks every problem in each of two iterations."""
    return make(tmp_path_factory.mktemp("trace") / "run", *ALL, "star.iterations=2")


def titles(found):
    return [part.title for part in found.parts()]


def test_the_chosen_problem_was_wrong_then_kept_with_hint_then_right(record):
    found = tracing.trace(record)
    assert found.iteration == 1 and found.teacher == 0 and found.shots > 0
    assert not any(row.correct for row in found.direct)
    assert [row.correct for row in found.hinted] == [True]
    assert found.fate == "Kept to train on: right with hint"
    assert found.later[0] == 2 and found.later_teacher == 1 and found.later[1][0].correct


def test_the_row_is_the_first_prompt_and_the_second_completion_without_the_hint(record):
    found = tracing.trace(record)
    [row] = found.rows
    assert row.prompt == found.asked != found.asked_hinted
    assert row.completion == found.hinted[0].completion != found.direct[0].completion
    assert f"Target: {found.gold}" in found.asked_hinted and found.gold not in row.prompt
    trained = next(part for part in found.parts() if part.title.startswith("Trained on"))
    assert trained.title == "Trained on: the prompt of the first, the answer of the second"
    assert trained.text == found.asked + found.hinted[0].completion
    assert trained.remark == "Only the answer counts for the loss; the hint is in neither."


def test_the_parts_are_in_the_order_of_the_loop(record):
    assert [title.split(",")[0].split(":")[0] for title in titles(tracing.trace(record))] == [
        "The base is asked",
        "It answers",
        "It is asked again with hint",
        "With hint it answers",
        "Kept to train on",
        "Trained on",
        "The model of iteration 1",
    ]


def test_the_text_numbers_them_and_says_what_was_read(record):
    found = tracing.trace(record)
    text = found.text()
    assert text.startswith(f"problem {found.id} in iteration 1 of {found.run}\n\n1. The base is")
    assert f"   Read as {found.direct[0].answer}: wrong; right is {found.gold}." in text
    assert f"   Read as {found.gold}: right." in text


def test_any_problem_can_be_traced(record):
    for id, history in list(ledger.read(record.path).problems.items())[:4]:
        found = tracing.trace(record, id)
        assert found.id == id and found.text()
        assert bool(found.rows) == found.fate.startswith("Kept")
        for number in history.attempted:
            assert tracing.trace(record, id, str(number)).iteration == number


def test_a_problem_that_was_right_at_once_needs_no_hint(record):
    id = next(id for id, h in ledger.read(record.path).problems.items() if h.direct[:1] == [1])
    found = tracing.trace(record, id, "1")
    assert not found.hinted and found.fate == "Kept to train on: right without hint"
    assert "Trained on: this prompt and this answer" in titles(found)


def test_with_an_iteration_the_most_telling_problem_of_it_is_chosen(record):
    assert tracing.trace(record, iteration="2").iteration == 2
    assert tracing.trace(record, iteration="last").later is None
    assert "No later iteration of this run drew this problem again" in titles(
        tracing.trace(record, iteration="last")
    )


@pytest.mark.parametrize(
    ("id", "iteration", "words"),
    [
        ("1+", None, "attempted a problem '1+'"),
        (None, "0", "iteration 0 is the base"),
        (None, "7", "has no iteration 7: its last is 2"),
        (None, "best!", "no iteration 'best!'"),
    ],
)
def test_what_was_not_attempted_is_refused_in_one_line(record, id, iteration, words):
    with pytest.raises(RunError) as refused:
        tracing.trace(record, id, iteration)
    assert words in str(refused.value) and "\n" not in str(refused.value)


def test_an_unknown_id_gets_near_ones(record):
    id = next(iter(ledger.read(record.path).problems))
    with pytest.raises(RunError, match="did you mean") as refused:
        tracing.trace(record, f"{id}0")
    assert id in str(refused.value)
    with pytest.raises(RunError, match="its problems have ids such as"):
        tracing.trace(record, "x" * 50)


def test_an_iteration_that_did_not_draw_the_problem_says_which_did(tmp_path):
    record = make(tmp_path / "run", "star.iterations=2", "star.problems=5")
    problems = ledger.read(record.path).problems
    id = next(id for id, history in problems.items() if history.attempted == [1])
    with pytest.raises(RunError, match=r"iteration 2 did not draw .*; iteration 1 did"):
        tracing.trace(record, id, "2")


@pytest.mark.parametrize(
    ("overrides", "fate"),
    [
        (["star.rationalize=false"], "this run does not ask again with hint"),
        (["star.p_rationalization=0.5"], "not drawn to be asked with hint"),
    ],
)
def test_why_a_problem_was_not_kept_is_said(tmp_path, overrides, fate):
    record = make(tmp_path / "run", *ALL, "star.iterations=1", *overrides)
    problems = ledger.read(record.path).problems
    id = next(id for id, history in problems.items() if history.fate == "never")
    assert fate in tracing.trace(record, id).fate


def test_wrong_with_hint_too(tmp_path):
    def stubborn(asked):
        a, _, hinted = parts(asked.prompt)
        return hopeless(asked) if hinted and a % 2 else learner(asked)

    record = make(tmp_path / "run", *ALL, "star.iterations=1", reply=stubborn)
    problems = ledger.read(record.path).problems
    id = next(id for id, history in problems.items() if history.fate == "never")
    found = tracing.trace(record, id)
    assert found.fate == "Not kept: wrong with hint too" and not found.rows
    assert "No answer can be read; right is" in found.text()


def test_what_is_cut_off_or_rejected_is_said():
    right = AttemptText("1", False, "", "3", True, "stop")
    cut = AttemptText("1", False, "", "3", True, "length")
    leak = AttemptText("1", True, "", "3", True, "stop", "hint leak")
    run = reading.RunRecord(STORED / "tiny", {}, [])
    assert "cut off at the length limit" in tracing._fate(run, (cut,), (), ())
    assert tracing._fate(run, (), (leak,), ()) == "Not kept: right, but rejected for a hint leak"
    assert tracing._fate(run, (cut, right), (), ()).startswith("Kept")


def test_a_problem_that_cannot_be_read_any_more_is_traced_from_the_record(record):
    gone = Known(why_not="rows.csv: no such file")
    found = tracing.trace(record, known=gone)
    assert found.question is None and found.gold is None
    assert found.asked == found.rows[0].prompt, "known from the training row"
    assert found.asked_hinted is None and "Read as" in found.text()
    record = reading.RunRecord(record.path, record.recipe, record.metrics)
    found = tracing.trace(record, known=gone)
    assert "With hint" in titles(found)


def test_nothing_is_known_of_the_question_if_it_was_not_trained_on(tmp_path):
    record = make(tmp_path / "run", *ALL, "star.iterations=1", "star.rationalize=false")
    problems = ledger.read(record.path).problems
    id = next(id for id, history in problems.items() if history.fate == "never")
    text = tracing.trace(record, id, known=Known(why_not="rows.csv: no such file")).text()
    assert "The question cannot be shown: rows.csv: no such file." in text


def test_a_row_whose_prompt_differs_is_not_called_the_first_prompt(record):
    found = tracing.trace(record)
    other = replace(found.rows[0], prompt="<user>2 + 2<end>")
    chat = titles(replace(found, rows=(other,)))
    assert "Trained on: the question without hint, the answer of the second" in chat
    long = replace(found.rows[0], prompt=f"Examples.\n\n{found.asked}")
    text = replace(found, rows=(long,), left_out=True).text()
    assert "Trained on: the prompt of the first, the answer of the second" in text
    assert "The few-shot examples are in front of it." in text and "Examples." not in text
    assert "It was too long to train on (train.max_length)" in text
    told = replace(found.rows[0], hint_shown=True)
    assert "keeps its hint in the prompt" in replace(found, rows=(told,)).text()


def test_answers_alone_have_no_second_prompt(tmp_path):
    settings = ("star.iterations=1", "star.direct=true")
    record = make(tmp_path / "run", *ALL, *settings, reply=lambda asked: "0\n\n")
    found = tracing.trace(record)
    assert found.asked_hinted is None and found.rows[0].completion == found.gold
    assert found.fate == "Kept to train on: the right answer alone (star.direct)"
    assert "Trained on: the prompt and the right answer" in titles(found)


@pytest.mark.parametrize("name", ["tiny", "scripted"])
def test_runs_of_earlier_versions_are_traced(name):
    found = tracing.trace(reading.read(STORED / name))
    assert found.rows and found.text()


def test_a_baseline_and_an_empty_run_have_nothing_to_trace(tmp_path, record):
    with pytest.raises(RunError, match="is the baseline direct: it attempts no problem"):
        tracing.trace(reading.RunRecord(record.path, {"baseline": "direct"}, record.metrics))
    shutil.copytree(record.path, tmp_path / "run")
    (tmp_path / "run/metrics.jsonl").write_bytes(b"")
    with pytest.raises(RunError, match="has no finished iteration yet"):
        tracing.trace(reading.read(tmp_path / "run"))


# --------------------------------------------------------------------------- the command


def test_the_command_prints_the_trace_or_json(record):
    found = tracing.trace(record)
    done = CliRunner().invoke(cli, ["trace", str(record.path)], catch_exceptions=False)
    assert done.output == f"{found.text()}\n"
    arguments = ["trace", str(record.path), found.id, "--iteration", "1", "--json"]
    values = json.loads(CliRunner().invoke(cli, arguments, catch_exceptions=False).output)
    assert values["id"] == found.id and values["trained_on"][0]["prompt"] == found.asked
    assert values["asked_with_hint"] == found.asked_hinted and values["later"]["iteration"] == 2
    assert "token_ids" not in values["trained_on"][0]


def test_hostile_text_does_not_steer_the_terminal(tmp_path):
    def evil(asked):
        return "\x1b[2J\u202e" + learner(asked)

    record = make(tmp_path / "run", *ALL, "star.iterations=1", reply=evil)
    text = CliRunner().invoke(cli, ["trace", str(record.path)], catch_exceptions=False).output
    assert "\x1b" not in text and "\u202e" not in text and "\u241b[2J" in text


def test_a_long_text_is_cut_and_says_so(record):
    long = TracePart("It answers", "x" * 3000)
    found = tracing.trace(record)

    class Long:
        id, iteration, run = found.id, 1, "r"

        def parts(self):
            return [long]

    assert "(1000 more characters)" in Trace.text(Long())


@pytest.mark.parametrize("number", [None, 3])
def test_the_most_telling_problems_are_those_of_a_plain_sort(number: int | None) -> None:
    states = np.random.default_rng(1).choice(
        [0, ledger.ATTEMPTED, ledger.ATTEMPTED | ledger.DIRECT, ledger.ATTEMPTED | ledger.HINTED],
        (60, 4),
    )
    tallies = [ledger.Tally(at, 0, 0, 0, 0, 0) for at in (1, 2, 3, 7)]
    found = ledger.Ledger([f"p{i}" for i in range(60)], states.astype(np.uint8), tallies)
    every = [
        (tracing._rank(history, at), at, id)
        for id, history in found.problems.items()
        for at in history.attempted
        if number in (None, at)
    ]
    plain = [(id, at) for _, at, id in sorted(every, key=lambda one: one[:2])]
    for most in (1, 20, 500):
        assert tracing._telling(found, number, most) == plain[:most]
