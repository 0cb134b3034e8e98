"""``augment`` in a recipe: new questions in the loop, their record, and what reads it."""

from __future__ import annotations

import json
import re
from collections import Counter

import pytest

from star_mlx import tui
from star_mlx.augment.overlap import HeldOut
from star_mlx.engine.scripted import ScriptedEngine
from star_mlx.errors import RecipeError, RunError, TaskError
from star_mlx.events import IterationFinished, PhaseStarted, Sampled
from star_mlx.measure import run_problems, tracing
from star_mlx.progress.state import RunState
from star_mlx.recipe import opening
from star_mlx.recipe.loading import load
from star_mlx.report import gather, words
from star_mlx.run import augmented_learner, few_steps, loop, rehearsal
from star_mlx.run import baseline as baselines
from star_mlx.share import dataset
from star_mlx.steps import export_data
from star_mlx.store import check, ledger, reading
from star_mlx.tui.stages import stages
from tests.lines import json_lines
from tests.test_augment import write_data
from tests.test_augment_model import ANSWERS, HENS, HIDDEN, LEGS, PIES, REWORDED, STATED, TEST
from tests.test_augment_model import DEV as FINGERS
from tests.test_loop import contents, timeless

ALL = "augment={rephrase: 1, sv: 0.7, fobar: 1}"
NEW = {**{REWORDED[text]: ANSWERS[text] for text in REWORDED}, **ANSWERS}
HINT = re.compile(r" \((\d+)\)\Z")


def student(asked):
    """Knows everything but PIES, however it is asked, and what its hints say."""
    prompt = asked.prompt
    if found := re.search(r"Question: (.*)\nReworded question:\Z", prompt):
        return f" {REWORDED[found[1]]}"
    if found := re.search(r"Question: (.*)\nAnswer: .*\nStatement:\Z", prompt):
        return f" {STATED[found[1]]}"
    question = re.search(r"Q: (.*)\nA:\Z", prompt, re.DOTALL)[1]
    if found := HINT.search(question):
        return f" So it is.\n#### {found[1]}"
    if "baker" in question and not asked.trained_on:
        return " A guess.\n#### 99"
    answer = NEW.get(question)
    if answer is None:
        [answer] = [value for text, value in HIDDEN.items() if text in question]
    return f" Way {asked.seed % 2}.\n#### {answer}"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """GSM8K's files, in small."""
    folder = tmp_path_factory.mktemp("data")
    train = [{"question": text, "answer": f"#### {ANSWERS[text]}"} for text in ANSWERS]
    return write_data(folder, "gsm8k", train[:4], [{"question": TEST, "answer": "#### 8"}])


@pytest.fixture
def recipe(data):
    def settled(*more):
        overrides = [
            *("star.iterations=2", "star.schedule.start=2", "train.warmup=0", "generate.chunk=2"),
            *("evaluate.zero_shot=false", "train.max_length=5000", *more),
        ]
        return load(str(data / "recipe.yaml"), overrides=overrides)

    return settled


def run(recipe, folder, reply=student, engine=None):
    events = []
    loop.run(recipe, folder, events.append, engine=engine or ScriptedEngine(reply))
    return events


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):
    """A finished run with questions of every kind, and its events; not to be written to."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    overrides = [
        *("star.iterations=2", "star.schedule.start=2", "train.warmup=0", "generate.chunk=2"),
        *("evaluate.zero_shot=false", "train.max_length=5000", ALL),
    ]
    return folder, run(load(str(data / "recipe.yaml"), overrides=overrides), folder)


def lines(file):
    return list(json_lines(file))


# --------------------------------------------------------------------------- the loop


def test_an_iteration_asks_its_problems_and_behind_them_the_new_questions(whole):
    folder, _ = whole
    first = folder / "iterations/001"
    questions = lines(first / "questions.jsonl")
    assert Counter(one["kind"] for one in questions) == {"rephrase": 3, "sv": 2, "fobar": 3}
    assert {one["id"]: one["question"] for one in questions if one["kind"] == "rephrase"} == {
        "train-1/rephrase-1-1": REWORDED[PIES],
        "train-2/rephrase-1-1": REWORDED[HENS],
        "train-3/rephrase-1-1": REWORDED[LEGS],
    }
    direct = [row for row in lines(first / "attempts.jsonl") if not row["hinted"]]
    originals = ["train-1", "train-2", "train-3"]
    assert sorted(row["id"] for row in direct[:3]) == originals
    assert [row["id"] for row in direct[3:]] == [one["id"] for one in questions]
    again = {one["id"] for one in lines(folder / "iterations/002/questions.jsonl")}
    new = {name for name in again if "fobar" not in name}
    assert len(new) == 5 and all(re.search(r"/(rephrase-2-1|sv-2-1-\d)\Z", name) for name in new)


def test_what_a_model_wrote_is_not_rationalized_and_what_a_rule_made_is(whole):
    rows = lines(whole[0] / "iterations/001/attempts.jsonl")
    wrong = {row["id"] for row in rows if not row["hinted"] and not row["correct"]}
    hinted = {row["id"] for row in rows if row["hinted"]}
    assert "train-1/rephrase-1-1" in wrong and "train-1" in hinted
    assert hinted == {id for id in wrong if "rephrase" not in id and "sv" not in id}
    assert any("fobar" in id for id in hinted)
    kept = {row["id"] for row in lines(whole[0] / "iterations/001/examples.jsonl")}
    assert kept == {row["id"] for row in rows if row["correct"]}


def test_dev_and_test_are_the_originals_alone(recipe, tmp_path):
    run(recipe(ALL, "evaluate.test=true"), tmp_path / "run")
    for number in ("000", "001", "002"):
        rows = lines(tmp_path / f"run/iterations/{number}/eval.jsonl")
        assert [row["id"] for row in rows] == ["train-4"]
    tested = list((tmp_path / "run").glob("iterations/*/test.jsonl"))
    assert tested and {row["id"] for file in tested for row in lines(file)} == {"test-1"}


def test_questions_for_x_have_worked_examples_of_their_own(recipe, tmp_path):
    seen = {}

    def reply(asked):
        if found := re.search(r"Q: (.*)\nA:\Z", asked.prompt, re.DOTALL):
            seen[found[1]] = asked.prefix + asked.prompt
        return student(asked)

    settings = ("augment.fobar=1", "star.iterations=1", "star.few_shot_train=true")
    run(recipe(*settings), tmp_path / "run", reply)
    for question, prompt in seen.items():
        assert ("unknown variable x?" in prompt.removesuffix(f"{question}\nA:")) == (
            "variable x?" in question
        )
    for row in lines(tmp_path / "run/iterations/001/examples.jsonl"):
        assert ("picks 18 apples" in row["prompt"]) == ("fobar" in row["id"])


@pytest.mark.parametrize(("share", "most"), [(0.34, 1), (0.67, 2), (5, 4), (0.2, 0)])
def test_a_share_is_the_most_questions_for_each_problem(recipe, tmp_path, share, most):
    run(recipe(f"augment.fobar={share}", "star.iterations=1"), tmp_path / "run")
    assert len(lines(tmp_path / "run/iterations/001/questions.jsonl")) == most
    [made] = lines(tmp_path / "run/metrics.jsonl")[1]["augmented"].values()
    assert made["asked"] == most and made["tried"] == 5 and made["not_asked"] == {"an ordinal": 1}


def test_no_more_questions_are_rewritten_than_asked_and_each_several_times_if_need_be(
    recipe, tmp_path
):
    half = recipe("augment.rephrase=0.67", "star.iterations=1")
    run(half, tmp_path / "half")
    assert len(lines(tmp_path / "half/iterations/001/rephrase-questions.jsonl")) == 2
    twice = recipe("augment.rephrase=2", "star.iterations=1", "generate.temperature=0.7")
    run(twice, tmp_path / "twice")
    made = lines(tmp_path / "twice/iterations/001/rephrase-questions.jsonl")
    assert Counter(row["id"] for row in made) == {"train-1": 2, "train-2": 2, "train-3": 2}
    line = lines(tmp_path / "twice/metrics.jsonl")[1]["augmented"]["rephrase"]
    assert line["tried"] == 6 and line["not_asked"] == {"duplicate": 3}


def test_a_question_that_a_dev_or_test_problem_asks_is_left_out(recipe, tmp_path):
    def reply(asked):
        if asked.prompt.endswith("Reworded question:"):
            return f" {FINGERS}" if LEGS in asked.prompt else student(asked)
        return student(asked)

    task, _ = opening.open_task(recipe(ALL))
    held_out = augmented_learner.held_out(recipe(ALL), task)
    assert held_out.overlap(FINGERS) and held_out.overlap(TEST)
    loose = augmented_learner.held_out(recipe(ALL, "augment.decontaminate=false"), task)
    assert loose.overlap(FINGERS) and not loose.overlap(TEST)
    assert augmented_learner.held_out(recipe(), task) == HeldOut()
    run(recipe("augment.rephrase=1", "star.iterations=1"), tmp_path / "run", reply)
    why = lines(tmp_path / "run/metrics.jsonl")[1]["augmented"]["rephrase"]["not_asked"]
    assert sum(why.values()) == 1  # 6 is no number of the question about legs
    ids = {row["id"] for row in lines(tmp_path / "run/iterations/001/questions.jsonl")}
    assert ids == {"train-1/rephrase-1-1", "train-2/rephrase-1-1"}


def test_without_augment_a_run_has_no_trace_of_it(recipe, tmp_path):
    run(recipe("star.iterations=1"), tmp_path / "run")
    names = {file.name for file in (tmp_path / "run/iterations/001").iterdir()}
    assert not {"questions.jsonl", "rephrase-questions.jsonl"} & names
    assert all("augmented" not in line for line in lines(tmp_path / "run/metrics.jsonl"))


# --------------------------------------------------------------------------- resuming


class Cut(Exception):
    pass


@pytest.mark.parametrize("calls", [*range(2, 12), 15, 18, 20])
def test_a_run_cut_off_anywhere_and_resumed_equals_one_that_was_not(recipe, whole, tmp_path, calls):
    """The engine dies in the n-th call, which rewrites, attempts, trains or measures."""

    class Mortal(ScriptedEngine):
        left = calls

        def generate(self, *args, **kw):
            self.count()
            return super().generate(*args, **kw)

        def train(self, *args, **kw):
            self.count()
            return super().train(*args, **kw)

        def count(self):
            self.left -= 1
            if self.left == 0:
                raise Cut

    with pytest.raises(Cut):
        run(recipe(ALL), tmp_path / "run", engine=Mortal(student))
    run(recipe(ALL), tmp_path / "run")
    ours, theirs = contents(tmp_path / "run"), contents(whole[0])
    assert ours == theirs
    cut, uncut = (lines(place / "metrics.jsonl") for place in (tmp_path / "run", whole[0]))
    assert timeless(cut) == timeless(uncut)


def test_other_test_problems_than_at_the_start_of_an_iteration_are_one_line(data, recipe, tmp_path):
    class Mortal(ScriptedEngine):
        left = 6

        def generate(self, *args, **kw):
            self.left -= 1
            if self.left == 0:
                raise Cut
            return super().generate(*args, **kw)

    settings = recipe("augment.fobar=5", "star.rationalize=false", "star.iterations=1")
    run(settings, tmp_path / "whole")
    with pytest.raises(Cut):
        run(settings, tmp_path / "run", engine=Mortal(student))
    test = data / "test.jsonl"
    before = test.read_text()
    try:
        test.write_text(json.dumps({"question": PIES, "answer": "#### 12"}) + "\n")
        with pytest.raises(RunError, match=r"was begun with other new questions .* put them back"):
            run(settings, tmp_path / "run")
    finally:
        test.write_text(before)
    run(settings, tmp_path / "run")
    assert contents(tmp_path / "run") == contents(tmp_path / "whole")


# --------------------------------------------------------------------------- who reads a run


def test_the_metrics_count_each_kind(whole):
    first, second = lines(whole[0] / "metrics.jsonl")[1:]
    assert first["problems"] == 11 and list(first["augmented"]) == ["rephrase", "sv", "fobar"]
    assert first["augmented"]["rephrase"] == {
        "tried": 3, "asked": 3, "solved": 2, "kept": 2, "not_asked": {}
    }  # fmt: skip
    assert second["augmented"]["rephrase"]["kept"] == 3  # trained models know PIES
    fobar = first["augmented"]["fobar"]
    assert fobar["kept"] == fobar["asked"] == 3 > fobar["solved"]  # the others by their hints
    assert next(iter(first["seconds"])) == "augment"


def test_the_ledger_the_check_and_a_data_set_have_the_new_questions(whole):
    found = ledger.read(whole[0])
    assert found.problems["train-1/rephrase-1-1"].fate == "never"
    assert found.iterations[0].attempted == 11
    checked = check.check(whole[0])
    assert checked.whole
    ids = {row["id"] for row in dataset.kept(whole[0])}
    assert "train-2/rephrase-1-1" in ids and "train-1/rephrase-2-1" in ids


def test_a_trace_shows_the_question_that_was_asked(whole):
    record = reading.read(whole[0])
    traced = tracing.trace(record, "train-1/rephrase-1-1")
    assert traced.question == REWORDED[PIES] and traced.gold == "12" and traced.shots > 0
    assert (
        traced.fate == "Not kept: wrong, and a question that the model wrote is not asked with hint"
    )
    backward = tracing.trace(record, "train-2/fobar-1", "1")
    assert backward.question.startswith("A hen lays x eggs") and backward.gold == "5"
    assert backward.shots != traced.shots  # it has worked examples of its own
    known = run_problems.of_run(record)
    assert known.kinds["train-2/fobar-1"] == "fobar" and "train-1/rephrase-2-1" in known.train


@pytest.mark.parametrize("format", export_data.FORMATS)
def test_the_training_set_is_exported_in_every_format(whole, tmp_path, format):
    export_data.export_run(whole[0], "1", tmp_path / "rows.jsonl", format=format)
    rows = {row["id"]: row for row in lines(tmp_path / "rows.jsonl")}
    assert len(rows) == len(lines(whole[0] / "iterations/001/examples.jsonl"))
    if format == "query-response":
        assert rows["train-2/rephrase-1-1"]["query"] == REWORDED[HENS]
    if format == "messages":
        assert rows["train-2/fobar-1"]["messages"][0]["content"].startswith("Q: A hen lays x eggs")


@pytest.mark.parametrize("few_shot_train", [False, True])
def test_attempts_of_a_run_give_the_training_set_again(recipe, tmp_path, few_shot_train):
    settings = recipe(ALL, "star.iterations=1", f"star.few_shot_train={few_shot_train}".lower())
    run(settings, tmp_path / "run")
    first = tmp_path / "run/iterations/001"
    out, events = tmp_path / "rows.jsonl", []
    export_data.export(settings, [first / "attempts.jsonl"], out, iteration=1, emit=events.append)
    assert out.read_bytes() == (first / "examples.jsonl").read_bytes() and not events
    elsewhere = tmp_path / "attempts.jsonl"
    elsewhere.write_bytes((first / "attempts.jsonl").read_bytes())
    with pytest.raises(TaskError, match="has no training problem 'train-"):
        export_data.export(settings, [elsewhere], tmp_path / "no.jsonl", iteration=1)


@pytest.mark.slow
def test_a_damaged_file_of_questions_or_rewritings_is_found_and_made_again(recipe, tmp_path):
    for name in ("questions.jsonl", "rephrase-questions.jsonl", "sv-statements.jsonl"):
        folder = tmp_path / name
        run(recipe(ALL, "star.iterations=1"), folder)
        file = folder / "iterations/001" / name
        whole = file.read_bytes()
        file.write_bytes(whole.replace(b"eggs", b"legs", 1))
        assert not check.check(folder).whole
        if name == "questions.jsonl":
            with pytest.raises(RunError, match="damaged: its checksum does not match"):
                run_problems.of_run(reading.read(folder))
        [finding, *_] = check.repair(folder)
        assert finding.again == "star-mlx loop --run makes it again"
        run(recipe(ALL, "star.iterations=1"), folder)
        assert check.check(folder).whole and file.read_bytes() == whole


def test_show_and_the_report_have_a_table_by_kind(whole):
    record = reading.read(whole[0])
    console = tui.plain_console(None)
    with console.capture() as printed:
        console.print(tui.summary(record.metrics, 100))
    assert "new questions, kept of asked" in printed.get()
    assert "2 of 3" in printed.get()
    [reported] = gather.runs([whole[0]])
    table = words.augmented(reported)
    assert table.rows[0] == ("1", "rephrase", "3", "3", "2", "2", "")
    assert table.rows[2][-1] == "an ordinal (1)"
    assert len(table.rows) == 6


def test_the_screen_has_a_stage_while_questions_are_written(whole):
    state, seen = RunState(), []
    for event in whole[1]:
        state.apply(event)
        if isinstance(event, PhaseStarted) and event.phase == "augment":
            seen.append([stage.name for stage in stages(state)][:2])
            assert stages(state)[0].when == "now"
        if isinstance(event, PhaseStarted) and event.phase == "generate":
            assert stages(state)[0].when == "over" and stages(state)[0].found
        if isinstance(event, Sampled):
            assert "Reworded" not in event.question and event.phase != "augment"
    assert seen == [["new questions", "generate"]] * 4
    assert sum(isinstance(event, IterationFinished) for event in whole[1]) == 3


# --------------------------------------------------------------------------- settings


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("augment.ansaug=1", "ansaug is more answers to the questions as they are: give generate."),
        ("augment.fobra=1", "did you mean"),
        ("augment.fobar=-1", "augment.fobar"),
        (
            "augment.rephrase=2",
            "=2: augment.rephrase=2 needs several rewritings of a question, which at temperature 0",
        ),
    ],
)
def test_a_setting_that_cannot_be_is_one_line(recipe, override, words):
    with pytest.raises(RecipeError, match=words) as raised:
        recipe(override)
    assert "\n" not in str(raised.value)


def test_a_baseline_of_a_recipe_leaves_the_new_questions_out(recipe):
    made = baselines.recipe(recipe(ALL), "rft", run=None, steps=None)
    assert not made.augment.shares and made.baseline == "rft"


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("rephrase", "the questions of the task arithmetic have no words"),
        ("fobar", "the task arithmetic reads no numbers as answers.* leave sv and fobar out of "),
    ],
)
def test_sums_are_refused_before_a_model_is_opened(tmp_path, kind, words):
    sums = load(
        None,
        task="arithmetic",
        overrides=["task.options.train=20", f"augment.{kind}=1", "prompts.k=0"],
    )
    with pytest.raises(RunError, match=words):
        loop.run(sums, tmp_path / "run", lambda event: None)
    assert not (tmp_path / "run").exists()


def test_a_rehearsal_is_of_the_problems_and_few_steps_are_counted_with_new_questions(recipe):
    assert not rehearsal.short(recipe(ALL)).augment.shares
    epochs = ("star.schedule={kind: epochs}", "train.batch_size=1")
    assert few_steps.at_start(recipe(*epochs), 3, [1])
    assert "from 11" in few_steps.at_start(recipe(*epochs, ALL), 3, [1])
