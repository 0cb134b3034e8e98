"""Training on MetaMathQA: which rows, in which prompt, at which rate; and measuring in its form."""

from __future__ import annotations

import json
import shlex
import tracemalloc
from collections import Counter
from itertools import islice
from pathlib import Path

import pytest

from star_mlx import engine as engines
from star_mlx.engine import batches, rate
from star_mlx.engine.scripted import ScriptedEngine
from star_mlx.errors import TaskError
from star_mlx.recipe.loading import load
from star_mlx.settings import RowsSpec, Train
from star_mlx.steps import foreign_rows
from star_mlx.steps.foreign_rows import alpaca
from star_mlx.types import Amount
from tests.test_engine_batches import Bytes

BACKWARD = "Ann has x pens and buys 3.\nIf we know the answer is 5,\nwhat is x?"
TYPES = ("GSM_AnsAug", "GSM_FOBAR", "MATH_SV")
ENGINE = ScriptedEngine(lambda asked: "")


def row(n, **more):
    query = f"What is {n} plus 1?"
    response = f"{n}+1 = {n + 1}.\n#### {n + 1}\nThe answer is: {n + 1}"
    given = {"type": TYPES[n % 3], "query": query, "original_question": query, "response": response}
    return {**given, **more}


def written(path, rows):
    path.write_text(json.dumps(rows), encoding="utf-8")
    return path


@pytest.fixture
def data(tmp_path):
    """The file of 90 rows, 30 of each type."""
    return written(tmp_path / "q.json", [row(n) for n in range(90)])


def made(path, seed=0, **choice):
    """The examples of the chosen rows, as they are trained on."""
    read = foreign_rows.read(path, choice=RowsSpec(**choice), seed=seed)
    return tuple(foreign_rows.examples(read, ENGINE, 1, lambda turns, reply: ""))


# --------------------------------------------------------------------------- recipes


def test_the_recipe_asks_in_the_prompt_that_is_trained_on_and_one_sentence_more():
    prompts = load("metamath-sft").prompts
    assert prompts.ask == alpaca("{question}", "") + " Let's think step by step."
    assert prompts.k == 0 and not prompts.chat


def test_the_papers_settings():
    recipe = load("paper-metamath")
    train, schedule = recipe.train, recipe.star.schedule
    assert (train.batch_size, train.learning_rate, train.max_length) == (128, 2e-5, 512)
    assert (train.decay, train.warmup, train.weight_decay, train.grad_clip) == (
        "cosine",
        0.03,
        0,
        1,
    )
    assert (schedule.kind, schedule.base, schedule.add_epochs) == ("epochs", 3, 0)
    assert recipe.rows == RowsSpec(split_query=True)
    assert recipe.prompts == load("metamath-sft").prompts


# --------------------------------------------------------------------------- prompts and masks


@pytest.mark.parametrize(
    ("query", "instruction", "given"),
    [
        ("What is 1 plus 1?", "What is 1 plus 1?", ""),
        (BACKWARD, "Ann has x pens and buys 3.", BACKWARD.partition("\n")[2]),
        ("What?\n", "What?", ""),
        ("\nWhat?", "", "What?"),
    ],
)
def test_a_query_is_split_at_its_first_newline(tmp_path, query, instruction, given):
    path = written(tmp_path / "q.json", [row(1, query=query)])
    [example] = made(path, split_query=True)
    assert example.prompt == alpaca(instruction, given)
    [example] = made(path)
    assert example.prompt == alpaca(query, ""), "as before, if it is not asked for"


def test_what_counts_in_the_loss_begins_after_the_prompt(tmp_path):
    rows = [row(1), row(2, query=BACKWARD)]
    examples = made(written(tmp_path / "q.json", rows), split_query=True)
    trained, _ = batches.rows(examples, Bytes(), 9999)
    for one, seen in zip(rows, trained, strict=True):
        tokens = list(seen.tokens)
        prompt = bytes(tokens[1 : seen.start]).decode()
        learned = bytes(tokens[seen.start :]).decode()
        assert prompt.endswith("\n\n### Response:") and learned == one["response"] + "\0"
        assert ("### Input:" in prompt) == ("\n" in one["query"])


# --------------------------------------------------------------------------- which rows


def test_rows_of_some_types(data):
    read = foreign_rows.read(data, choice=RowsSpec(types=("GSM_FOBAR", "MATH_SV")))
    assert read.types == {"GSM_FOBAR": 30, "MATH_SV": 30} and len(read) == 60
    assert (read.chosen.usable, read.chosen.total) == (60, 90)
    assert [e.id for e in made(data, types=["MATH_SV"])][:2] == [
        f"{data}, item 3", f"{data}, item 6",
    ]  # fmt: skip


def test_a_type_that_no_row_has_is_refused_with_those_that_there_are(data, tmp_path):
    with pytest.raises(TaskError) as caught:
        made(data, types=["GSM_AnsAug", "GSM_FOBR"])
    assert str(caught.value) == (
        f"rows.types: no row of {data} has the type 'GSM_FOBR': did you mean GSM_FOBAR? there are "
        "GSM_AnsAug (30), GSM_FOBAR (30), MATH_SV (30)"
    )
    bare = written(tmp_path / "bare.json", [row(1, type=7), row(2, type=None)])
    with pytest.raises(TaskError, match="'A': no row has a field `type` with a text"):
        made(bare, types=["A"])
    assert len(made(bare)) == 2


def test_only_rows_of_the_types_must_be_usable(tmp_path):
    path = written(tmp_path / "q.json", [row(0), row(1, response=""), {"type": "other"}, 5])
    with pytest.raises(TaskError, match="item 4: the row is not an object"):
        made(path, types=["GSM_AnsAug"])
    written(path, [row(0), row(1, response=""), {"type": "other"}])
    assert len(made(path, types=["GSM_AnsAug"])) == 1


def test_a_sample_is_drawn_by_the_seed_alone(data):
    drawn = [e.id for e in made(data, sample=20)]
    assert drawn == [e.id for e in made(data, sample=20)] and len(set(drawn)) == 20
    assert drawn != [e.id for e in made(data, sample=20, seed=1)]
    every = [e.id for e in made(data)]
    assert drawn == [name for name in every if name in drawn], "in the order of the file"
    assert made(data, sample=90) == made(data, sample=1000) == made(data)
    both = foreign_rows.read(data, choice=RowsSpec(types=("MATH_SV",), sample=7))
    assert both.types == {"MATH_SV": 7} and both.chosen.usable == 30


def test_every_row_is_drawn_as_often_as_another(data):
    counts = Counter(e.id for seed in range(60) for e in made(data, seed=seed, sample=30))
    assert len(counts) == 90 and min(counts.values()) >= 8 and max(counts.values()) <= 34


def test_a_file_that_lost_rows_since_it_was_checked_is_refused(data):
    read = foreign_rows.read(data)
    written(data, [row(n) for n in range(50)])
    with pytest.raises(TaskError, match="has fewer rows than when it was checked"):
        list(read)
    written(data, [row(n, response="") for n in range(90)])
    with pytest.raises(TaskError, match="item 1: its response is blank"):
        list(read)


@pytest.mark.slow
def test_twenty_thousand_rows_are_never_in_memory_at_once(tmp_path):
    """Neither as they are chosen, nor as they are turned into examples."""
    path = tmp_path / "q.json"
    texts = [json.dumps(row(n, query="word " * 90, response="step\n" * 150)) for n in range(3)]
    path.write_text("[" + ",".join(texts[n % 3] for n in range(20_000)) + "]")
    tracemalloc.start()
    read = foreign_rows.read(path, choice=RowsSpec(types=TYPES[:2], sample=4_000))
    examples = foreign_rows.examples(read, ENGINE, 1, lambda turns, reply: "")
    assert sum(example.completion == "step\n" * 150 for example in islice(examples, 800)) == 800
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(examples) == 4_000 and path.stat().st_size > 22e6
    assert most < 12e6


# --------------------------------------------------------------------------- the rate


def test_a_warm_up_that_is_a_share_of_the_steps_and_the_cosine_after_it():
    train = Train(learning_rate=2e-5, warmup=0.03, decay="cosine", batch_size=128)
    steps = Amount(epochs=3).steps_for(395_000, 128)
    assert steps == 9258 and rate.warmup_steps(train, steps) == 278
    at = {step: rate.learning_rate(train, step, steps) / 2e-5 for step in range(steps)}
    assert at[0] == pytest.approx(1 / 278) and at[138] == pytest.approx(0.5)
    assert at[277] == at[278] == 1 == rate.peak(train, steps) / 2e-5
    assert at[278 + 8980 // 4] == pytest.approx(0.853553, abs=1e-6)
    assert at[278 + 8980 // 2] == pytest.approx(0.5)
    assert 0 < at[9257] < 1e-7


@pytest.mark.parametrize(
    ("warmup", "steps", "expected"),
    [
        (0.03, 1, 1),
        (0.03, 100, 3),
        (0.03, 101, 4),
        (0.1, 30, 3),
        (0.0, 50, 0),
        (0, 50, 0),
        (7, 5, 7),
    ],
)
def test_a_share_is_rounded_up_to_steps(warmup, steps, expected):
    assert rate.warmup_steps(Train(warmup=warmup), steps) == expected


@pytest.mark.parametrize("warmup", ["1.0", "2.5", "-1", "-0.1", "true", "x"])
def test_a_warm_up_that_is_neither_is_refused(star, warmup):
    err = star("loop", "--task", "arithmetic", "--set", f"train.warmup={warmup}", code=2)
    assert "train.warmup should be " in err


# --------------------------------------------------------------------------- the commands


@pytest.fixture
def train(star, tmp_path, monkeypatch):
    """Runs ``star-mlx train`` on a file of rows, with a scripted model."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(engines, "open_base", lambda recipe: ScriptedEngine(lambda asked: "?"))

    def run(*arguments, code=0):
        command = ["train", "--recipe", "metamath-sft", "--data", "q.json", "--out", "adapter"]
        return star(*command, *arguments, code=code)

    return run


def test_rows_are_chosen_by_options_and_the_record_says_which(train, data, tmp_path):
    done = json.loads(train("--types", "GSM_FOBAR,MATH_SV", "--sample", 40, "--seed", 3, "--json"))
    assert (done["examples"], done["rows"], sum(done["types"].values())) == (40, 90, 40)
    record = json.loads((tmp_path / "adapter/trained-on.json").read_text())
    del done["out"]
    assert record.items() >= done.items() and record["file"] == "q.json"
    assert record["recipe"]["rows"] == {
        "types": ["GSM_FOBAR", "MATH_SV"], "sample": 40, "split_query": True,
    }  # fmt: skip
    assert record["recipe"]["seed"] == 3
    trained = json.loads((tmp_path / "adapter/scripted.json").read_text())
    expected = made(data, types=["GSM_FOBAR", "MATH_SV"], sample=40, seed=3, split_query=True)
    assert [id.split()[-1] for id, *_ in trained] == [e.id.split()[-1] for e in expected]


def test_the_rows_are_not_the_data_of_the_command_that_measures(train, data):
    out = train("--sample", 1000, "--model", "tiny")
    assert "next: star-mlx evaluate --adapter adapter --recipe metamath-sft --model tiny" in out
    assert "q.json" not in out


def test_rows_too_long_are_counted_and_named(train, tmp_path):
    rows = [row(n) for n in range(9)] + [row(9, response="long " * 200_000)]
    written(tmp_path / "q.json", rows)
    out = train()
    assert out.startswith("iteration 1: 9 examples (1 too long), 1 steps, 1.00 epochs")
    record = json.loads((tmp_path / "adapter/trained-on.json").read_text())
    assert (record["examples"], record["used"]) == (10, 9)
    assert record["too_long"] == ["q.json, item 10"]


GOOD = json.dumps([row(1), row(2)])
BAD = [
    ("hello", (), "q.json should hold a list of objects"),
    ("", (), "q.json holds no rows"),
    ("[]", (), "q.json holds no rows"),
    (GOOD[:-20], (), "q.json, item 2 is cut off: the file ends inside it"),
    (GOOD[:-1], (), "q.json is cut off: it ends after item 2, without a ]"),
    (json.dumps([row(1), {"query": "a"}]), (), "q.json, item 2: its response is missing"),
    (json.dumps([row(1), {"response": "a"}]), (), "q.json, item 2: its query is missing"),
    (json.dumps([row(1, query=5)]), (), "q.json, item 1: its query should be text, not int"),
    (json.dumps([row(1, response=["a"])]), (), "item 1: its response should be text, not list"),
    (json.dumps([row(1, query="a\0b")]), (), "item 1: its query has an invalid character (NUL"),
    (json.dumps([row(1), "text"]), (), "item 2: the row is not an object with fields but str"),
    (GOOD, ("--types", "GSM_SV"), "there are GSM_FOBAR (1), MATH_SV (1)"),
    (GOOD, ("--types", ""), "rows.types: [] selects no row"),
    (GOOD, ("--sample", 0), "rows.sample should be at least 1, but is 0"),
]


@pytest.mark.parametrize(("content", "options", "wrong"), BAD)
def test_what_cannot_be_trained_on_is_said_before_a_model_is_loaded(
    train, tmp_path, monkeypatch, content, options, wrong
):
    monkeypatch.setattr(engines, "open_base", lambda recipe: pytest.fail("a model was loaded"))
    (tmp_path / "q.json").write_text(content, encoding="utf-8")
    err = train(*options, code=2)
    assert wrong in err and err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["q.json"]


def test_the_data_of_a_task_is_not_the_rows_if_both_are_given(star, train, data, tmp_path):
    err = star("train", "--recipe", "metamath-sft", "--out", "a", code=2)
    assert "give a file of EXAMPLES, or --data FILE" in err
    star("train", "q.json", "--task", "gsm8k", "--data", "elsewhere", "--out", "b")
    assert (tmp_path / "b/scripted.json").is_file()


@pytest.mark.parametrize(
    ("task", "question", "said", "right"),
    [
        ("gsm8k", {"question": "2+3?", "answer": "#### 5"}, "\n\n#### 5\nThe answer is: 5", 1),
        ("gsm8k", {"question": "2+3?", "answer": "#### 5"}, " It is 5.\nThe answer is: 6", 0),
        ("math", {"problem": "2/4?", "solution": "$\\boxed{\\frac12}$"}, "\nThe answer is: 1/2", 1),
    ],
)
def test_problems_are_asked_as_metamath_asks_them(
    star, tmp_path, monkeypatch, task, question, said, right
):
    asked = []

    def reply(one):
        asked.append(one.prefix + one.prompt)
        return f" We add.{said}"

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(engines, "open_base", lambda recipe: ScriptedEngine(reply))
    for name, count in (("train", 3), ("test", 1)):
        rows = [{**question, "level": "Level 1", "id": f"{name}{n}"} for n in range(count)]
        for n, one in enumerate(rows[1:]):
            one[next(iter(question))] += f" Again{n}?"
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rows))
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter/scripted.json").write_text("[]")
    command = ["evaluate", "--adapter", "adapter", "--recipe", "metamath-sft", "--task", task]
    options = ["--data", ".", "--set", "task.options.dev=1", "--split", "test", "--json"]
    done = json.loads(star(*command, *options))
    assert (done["n"], done["correct"]) == (1, right)
    [prompt] = asked
    text = question.get("question") or question["problem"]
    assert prompt == alpaca(text, "") + " Let's think step by step."


def test_the_commands_of_the_page_work_in_its_order(star, tmp_path, monkeypatch):
    page = (Path(__file__).parent.parent / "docs/metamath.md").read_text(encoding="utf-8")
    commands = [shlex.split(line)[1:] for line in page.splitlines() if line.startswith("star-mlx ")]
    assert [command[0] for command in commands] == ["train", "evaluate", "evaluate", "train"]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(engines, "open_base", lambda recipe: ScriptedEngine(lambda asked: "?"))
    written(tmp_path / "MetaMathQA.json", [row(n) for n in range(9)])
    problems = [{"question": f"{n}+1?", "answer": f"#### {n}"} for n in range(3)]
    same = [
        {"problem": f"{n}?", "solution": f"$\\boxed{{{n}}}$", "level": "Level 1"} for n in range(3)
    ]
    for command in commands:
        if command[0] == "evaluate":
            for name in ("train", "test"):
                rows = same if "math" in command else problems
                (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
            command += ["--data", ".", "--set", "task.options.dev=1"]
        elif (tmp_path / "adapter").exists():
            command[command.index("adapter")] = "another"
        star(*command)


@pytest.mark.slow
def test_a_training_on_the_embedded_base_and_its_measurement(star, data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = ["--recipe", "metamath-sft", "--model", "tiny"]
    small = ["--sample", 12, "--batch-size", 4, "--data", "q.json", "--out", "a", "--json"]
    done = json.loads(star("train", *options, *small))
    assert (done["examples"], done["used"], done["steps"], done["epochs"]) == (12, 12, 3, 1.0)
    assert done["last_loss"] < done["first_loss"]
    assert (tmp_path / "a/adapters.safetensors").is_file()
    for name, count in (("train", 3), ("test", 2)):
        lines = [{"question": f"{n}+{count}?", "answer": f"#### {n + count}"} for n in range(count)]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines))
    more = ["--data", ".", "--set", "task.options.dev=1", "--set", "generate.max_tokens=8"]
    found = json.loads(
        star("evaluate", "--adapter", "a", *options, *more, "--split", "test", "--json")
    )
    assert found["n"] == 2
