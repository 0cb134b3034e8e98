"""The verdict on a run: its decisions, its words, and the advice from what the run shows."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from star_mlx.cli import cli
from star_mlx.engine.scripted import ScriptedEngine
from star_mlx.events import Notice, RunFinished
from star_mlx.measure import accuracy, verdict
from star_mlx.measure.paired import mcnemar
from star_mlx.run import loop
from star_mlx.store import names, reading
from star_mlx.store.metrics import Metrics, Training, ValidSteps
from star_mlx.store.reading import RunRecord
from star_mlx.store.results import Against, Result
from star_mlx.types import Evaluation
from tests.scripts import learner
from tests.test_loop import recipe as small_recipe

RECIPE = {
    "task": {"name": "gsm8k", "options": {}},
    "star": {"iterations": 1},
    "train": {"warmup": 2, "max_length": 512},
    "generate": {"max_tokens": 80},
}


def dev(right, n):
    return accuracy.measured(Evaluation("dev", n, right, {"": (n, right)}))


def line(number, right, n, **more):
    more = (
        {"problems": 100, "examples": 90, "train": Training(steps=50), **more} if number else more
    )
    return Metrics(number, dev=dev(right, n), seconds={"evaluate": 30.0}, **more)


def verdicts(folder: Path, number, right, n, name=names.DEV, finish="stop"):
    """Write the dev attempts of an iteration, the first ones right."""
    file = names.iteration(folder, number) / name
    file.parent.mkdir(parents=True, exist_ok=True)
    rows = [
        {"id": f"p{i}", "hinted": False, "correct": i < right, "finish": finish} for i in range(n)
    ]
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows))


@pytest.fixture
def judged(tmp_path):
    """Judges a run whose iterations, the base first, have so many of ``n`` dev answers right."""

    def judge(*right, n=200, recipe=None, finish="stop", iteration=None, **more):
        lines = [line(number, r, n, **more) for number, r in enumerate(right)]
        for number, r in enumerate(right):
            verdicts(tmp_path, number, r, n, finish=finish)
        values = {**RECIPE, **(recipe or {})}
        record = RunRecord(tmp_path, values, lines)
        return verdict.of_run(record, run="RUN", iteration=iteration)

    return judge


@pytest.mark.parametrize(
    ("right", "decision", "begins"),
    [
        ((90, 160), "helped", "Training helped: iteration 1 answers 80.0%"),
        ((90, 94), "perhaps", "Training perhaps helped"),
        ((90, 90), "no difference", "No difference was seen"),
        ((90, 88), "no difference", "No difference was seen"),
        ((90, 60), "worse", "Training did harm"),
    ],
)
def test_the_decision_follows_the_paired_test(judged, right, decision, begins):
    found = judged(*right)
    assert found.decision == decision and found.sentences[0].startswith(begins)
    assert bool(found.advice) == (decision != "helped")


def test_the_first_sentence_has_both_accuracies_with_intervals_and_the_test(judged):
    assert judged(90, 160).sentences[0] == (
        "Training helped: iteration 1 answers 80.0% [73.9-85.0] of 200 dev problems right, against "
        "45.0% [38.3-51.9] for the base with its examples (few-shot): +35.0 points, with 70 more "
        "right and 0 fewer (exact McNemar test, p < 0.0001)."
    )


def test_chance_is_named_if_a_gain_is_not_significant(judged):
    first = judged(90, 94).sentences[0]
    assert "+2.0 points, which may be chance, with 4 more right and 0 fewer" in first
    assert "p = 0.12" in first and mcnemar(4, 0) == 0.125
    assert "no difference in all, with 0 more right" in judged(90, 90).sentences[0]
    assert "-1.0 points, which may be chance, with 0 more" in judged(90, 88).sentences[0]
    assert "chance" not in judged(90, 60).sentences[0]


@pytest.mark.parametrize("right", [(0, 0), (0, 5), (5, 5), (5, 0), (1, 1), (0, 1)])
@pytest.mark.parametrize("n", [5, 1000])
def test_all_and_none_right_are_judged_with_any_number_of_problems(judged, right, n):
    found = judged(*(n if r == 5 else r for r in right), n=n)
    assert found.decision in ("helped", "perhaps", "no difference", "worse")
    assert "100.0% [" in found.sentences[0] or "0.0% [" in found.sentences[0] or 1 in right


def test_one_dev_problem_is_spoken_of_in_the_singular(judged):
    assert " of 1 dev problem right" in judged(0, 1, n=1).sentences[0]


def test_the_choice_of_the_best_is_said_and_the_test_split_named(judged):
    found = judged(90, 150, 160, 155)
    assert found.iteration == 2
    assert found.sentences[1] == (
        "Iteration 2 was chosen as the best of 3 on these same problems, so its accuracy may be a "
        "little too high; the test split gives the honest figure: star-mlx evaluate RUN "
        "--iteration 2 --split test --against few-shot"
    )
    assert judged(90, 150).sentences[1].startswith("The test split gives"), "nothing was chosen"


def test_an_iteration_that_was_asked_for_was_not_chosen_unless_it_is_the_best(judged):
    first, second = (judged(90, 150, 160, iteration=n) for n in (1, 2))
    assert (first.iteration, second.iteration) == (1, 2)
    assert "iteration 1 answers 75.0%" in first.sentences[0]
    assert ["was chosen" in found.sentences[1] for found in (first, second)] == [False, True]
    assert judged(90, 150, iteration=7).decision == "unknown"


def test_of_equal_iterations_the_earliest_is_judged(judged):
    assert judged(90, 150, 150).iteration == 1


def test_data_without_a_test_split_gets_no_command_that_fails(judged):
    own = {"task": {"name": "jsonl", "options": {"test": None}}}
    assert (
        judged(90, 150, 160, recipe=own)
        .sentences[1]
        .endswith("this data has no test split (task.options.test).")
    )
    assert len(judged(90, 150, recipe=own).sentences) == 2


def test_a_result_on_the_test_split_is_said_instead_of_the_command(judged, tmp_path):
    result = Result("test", 50, 0.5, (0.366, 0.634), {}, 0, 0, 9, of="best", iteration=1, time="t")
    (tmp_path / names.RESULTS).mkdir()
    data = msgspec.json.encode(result)
    (tmp_path / names.RESULTS / "20260101T000000Z-test-001.json").write_bytes(data)
    assert judged(90, 150).sentences[1] == (
        "On the test split, which took no part in choosing it, iteration 1 answers 50.0% "
        "[36.6-63.4] of 50 problems right."
    )


def test_the_cost_is_said(judged):
    assert judged(90, 150).sentences[-1] == "The run took 1 min 0 s for 1 iteration."
    assert judged(90, 150, 160).sentences[-1] == "The run took 1 min 30 s for 2 iterations."


def test_the_best_of_the_baselines_is_the_one_to_beat(judged, tmp_path):
    verdicts(tmp_path, 0, 120, 200, names.ZERO_SHOT)
    verdicts(tmp_path, 0, 90, 200)
    verdicts(tmp_path, 1, 118, 200)
    lines = [
        msgspec.structs.replace(line(0, 90, 200), zero_shot=dev(120, 200)),
        line(1, 118, 200),
    ]
    found = verdict.of_run(RunRecord(tmp_path, RECIPE, lines), run="RUN")
    assert found.against == "zero-shot" and found.decision == "no difference"
    assert "for the base without examples (zero-shot), the best of 2 baselines" in found.lines[0]
    assert "--against zero-shot" in found.lines[1]


def test_a_trained_baseline_of_the_run_counts(judged, tmp_path):
    folder = names.baseline(tmp_path, "direct")
    verdicts(folder, 1, 180, 200)
    metrics = [line(0, 90, 200), line(1, 180, 200)]
    lines = [json.dumps(msgspec.to_builtins(one)) for one in metrics]
    (folder / names.RECIPE).write_text("baseline: direct\n")
    (folder / names.METRICS).write_text("\n".join(lines) + "\n")
    found = judged(90, 150)
    assert found.decision == "worse" and found.against == "direct"
    assert "training on answers alone (direct), the best of 2 baselines" in found.sentences[0]


def test_a_baseline_is_not_judged(judged):
    found = judged(90, recipe={"baseline": "few-shot"})
    assert found.decision == "unknown"
    assert found.sentences == (
        "This is a baseline, the base with its examples (few-shot): 45.0% [38.3-51.9] of 200 dev "
        "problems right.",
    )


def test_a_run_that_was_not_measured_says_how_to_measure(tmp_path):
    lines = [Metrics(0), Metrics(1, problems=10)]
    found = verdict.of_run(RunRecord(tmp_path, RECIPE, lines), run="my run")
    assert found.decision == "unknown" and found.iteration is None
    assert "evaluate 'my run' --iteration last --against few-shot" in found.sentences[0]
    found = verdict.of_run(RunRecord(tmp_path, RECIPE, []))
    assert found.sentences == (
        "No iteration is finished yet, so nothing can be said of the training.",
    )


def test_a_run_without_a_baseline_says_how_to_measure_one(tmp_path):
    verdicts(tmp_path, 1, 5, 10)
    found = verdict.of_run(RunRecord(tmp_path, RECIPE, [Metrics(0), line(1, 5, 10)]), run="RUN")
    assert found.decision == "unknown" and found.iteration == 1
    assert "no baseline was measured" in found.sentences[0]


def test_a_comparison_that_was_made_later_is_said_instead_of_the_command(tmp_path):
    pair = Against("few-shot", 10, 4, 1, 0, 5, 1.0, "not different", "it is not different")
    result = Result("dev", 10, 0.5, (0.24, 0.76), {}, 0, 0, 9, of="iteration 1", correct=5)
    (tmp_path / names.RESULTS).mkdir()
    data = msgspec.json.encode(msgspec.structs.replace(result, against=[pair], time="t"))
    (tmp_path / names.RESULTS / "20260101T000000Z-dev-001.json").write_bytes(data)
    found = verdict.of_run(RunRecord(tmp_path, RECIPE, [Metrics(0), Metrics(1, problems=9)]))
    said = "iteration 1, dev: 50.0% [23.7-76.3] of n = 10; it is not different."
    assert found.sentences == (
        f"No iteration was measured on dev in the run. Measured later: {said}",
    )
    verdicts(tmp_path, 1, 5, 10)
    found = verdict.of_run(RunRecord(tmp_path, RECIPE, [Metrics(0), line(1, 5, 10)]))
    assert found.sentences[0].endswith(f"right. Compared later: {said}")


def test_missing_or_damaged_attempts_are_no_verdict_and_no_crash(judged, tmp_path):
    judged(90, 150)
    (names.iteration(tmp_path, 1) / names.DEV).write_text("{")
    lines = [line(0, 90, 200), line(1, 150, 200)]
    found = verdict.of_run(RunRecord(tmp_path, RECIPE, lines))
    assert found.decision == "unknown" and "is damaged" in found.sentences[0]


# --------------------------------------------------------------------------- advice


def advised(found, text):
    return any(text in one for one in found.advice)


def test_a_warm_up_that_is_never_over_is_named(judged):
    slow = {**RECIPE["train"], "warmup": 100}
    found = judged(90, 91, recipe={"train": slow}, train=Training(steps=10))
    assert advised(found, "the warm-up is 100 steps and no training took more than 10")
    assert advised(found, "train.warmup=1,")
    assert advised(judged(90, 91, train=Training(steps=19)), "more than 19 optimizer steps")
    assert not advised(judged(90, 91), "optimizer steps")


def test_a_training_that_diverged_is_told_a_lower_rate_and_not_to_train_longer(judged):
    wild = {**RECIPE["train"], "learning_rate": 0.3}
    train = Training(steps=10, first_loss=0.1, last_loss=5.0)
    found = judged(90, 60, n=95, recipe={"train": wild}, train=train)
    assert found.advice[0] == (
        "the training loss of iteration 1 rose from 0.1 to 5: a lower learning rate than 0.3 "
        "(train.learning_rate)"
    )
    assert not advised(found, "optimizer steps") and not advised(found, "more dev problems")
    calm = Training(steps=10, first_loss=0.1, last_loss=0.12)
    assert advised(judged(90, 60, train=calm), "optimizer steps")


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({"examples": 5}, "only 5 examples were kept from 100 problems"),
        ({"examples": 1}, "only 1 example was kept from 100 problems"),
        ({"parse_failures": 40}, "no answer could be read from 40 attempts at 100 problems"),
        ({"rationalized": 40, "hint_leaks": 20}, "20 of 40 rationales kept with hint"),
        ({"valid_steps": {"direct": ValidSteps(50, 20)}}, "30 of 50 kept rationales have a wrong"),
        ({"too_long": 30}, "30 examples were left out for their length"),
    ],
)
def test_each_cause_is_named_if_it_was_seen(judged, more, text):
    assert advised(judged(90, 91, **more), text)
    assert not advised(judged(90, 91), text)
    assert not advised(judged(90, 160, **more), text), "not if it helped"


def test_answers_that_are_cut_off_are_named(judged):
    assert advised(judged(90, 91, finish="length"), "200 of 200 dev answers of iteration 1")
    assert not advised(judged(90, 91), "cut off")


def test_too_few_dev_problems_are_named_with_the_power(judged):
    assert advised(judged(20, 22, n=50), "more dev problems (evaluate.dev")
    assert advised(judged(20, 22, n=50), "With 50 dev problems a difference of 15 points")
    assert not advised(judged(20, 22, n=100), "more dev problems")


def test_nothing_can_be_gained_where_all_is_right(judged):
    assert judged(200, 200).advice == (
        "the baseline has every dev problem right, so nothing can be gained on them: harder "
        "problems",
    )
    assert advised(judged(0, 0), "no dev answer is right, before or after")


def test_there_is_always_advice_and_never_much_of_it(judged):
    assert advised(judged(90, 91), "nothing in the run stands out: try more iterations")
    assert advised(judged(90, 60), "nothing in the run stands out: try a lower learning rate")
    everything = {
        "examples": 5, "parse_failures": 90, "rationalized": 40, "hint_leaks": 20, "too_long": 5,
        "valid_steps": {"direct": ValidSteps(50, 20)}, "train": Training(steps=1),
    }  # fmt: skip
    assert len(judged(0, 0, n=20, finish="length", **everything).advice) == 4


# --------------------------------------------------------------------------- where it is said


def test_the_loop_ends_with_the_verdict_and_begins_with_the_power(tmp_path):
    events = []
    run = tmp_path / "run"
    loop.run(small_recipe(), run, events.append, engine=ScriptedEngine(learner))
    ended = events[-1]
    record = reading.read(run)
    assert isinstance(ended, RunFinished)
    assert ended.verdict == verdict.of_run(record).lines and len(ended.verdict) > 2
    n = record.metrics[0].dev.n
    said = [event.text for event in events if isinstance(event, Notice)]
    assert sum(text.startswith(f"With {n} dev problem") for text in said) == 1
    assert json.loads(json.dumps(ended.to_json()))["verdict"] == list(ended.verdict)
    again = []
    loop.run(small_recipe(), run, again.append, engine=ScriptedEngine(learner))
    assert not any(isinstance(e, Notice) and e.text.startswith("With ") for e in again)
    shown = CliRunner().invoke(cli, ["show", str(run)], catch_exceptions=False).output
    assert ended.verdict[0] in shown
    data = json.loads(CliRunner().invoke(cli, ["show", str(run), "--json"]).output)
    assert data["verdict"]["sentences"][0] == ended.verdict[0]


@pytest.mark.slow
def test_its_command_is_as_the_user_runs_star_mlx_but_not_in_a_card(small_run, monkeypatch):
    monkeypatch.setattr("star_mlx.measure.verdict.program", lambda: ".venv/bin/star-mlx")
    record = reading.read(small_run)
    own = " ".join(verdict.of_run(record).lines)
    assert f" .venv/bin/star-mlx evaluate {small_run} --iteration " in own
    others = " ".join(verdict.of_run(record, run="RUN").lines)
    assert " star-mlx evaluate RUN --iteration " in others
