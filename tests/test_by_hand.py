"""An iteration done by hand is the loop's, byte for byte."""

from __future__ import annotations

import json
import os
import shlex
from functools import partial
from hashlib import sha256
from pathlib import Path

import pytest
import yaml

from star_mlx import engine as engines
from star_mlx import steps
from star_mlx.cli import main
from star_mlx.engine.scripted import ScriptedEngine
from star_mlx.errors import RecipeError, RunError, StarError, TaskError
from star_mlx.events import Notice, PhaseStarted
from star_mlx.recipe import opening, provenance
from star_mlx.recipe.loading import load
from star_mlx.run import evaluate, loop
from star_mlx.steps import step_files
from star_mlx.store.files import json_line
from star_mlx.tasks.arithmetic_text import scratchpad, spaced
from star_mlx.types import Amount, Attempt
from tests.lines import json_lines
from tests.scripts import hopeless, learner, parts
from tests.test_loop import SMALL

ROOT = Path(__file__).parent.parent
TINY = [
    "task.options.digits=[1,2]",
    "task.options.train=200",
    "star.problems=12",
    "star.iterations=2",
    "star.schedule.start=2",
    "star.schedule.factor=1",
    "star.evaluate=false",
    "train.batch_size=4",
    "generate.chunk=8",
    "generate.batch_size=12",
]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def scripted(monkeypatch):
    engine = ScriptedEngine(learner)
    monkeypatch.setattr(engines, "open_base", lambda recipe: engine)
    return engine


def options(overrides):
    return ["--task", "arithmetic", *(part for value in overrides for part in ("--set", value))]


def iteration(star, n, overrides, adapter=(), carry=()):
    """The steps of iteration n, in files that end in its number."""
    made = options(overrides)
    at = ["--iteration", n]
    star("generate", *made, *at, *adapter, "--out", f"attempts-{n}.jsonl")
    star("rationalize", f"attempts-{n}.jsonl", *made, *at, *adapter, "--out", f"hinted-{n}.jsonl")
    files = [f"attempts-{n}.jsonl", f"hinted-{n}.jsonl"]
    star("export-data", *files, *made, *at, *carry, "--out", f"examples-{n}.jsonl")
    star("train", f"examples-{n}.jsonl", *made, *at, "--out", f"adapter-{n}")


def same(elsewhere, n, weights):
    """Whether what was done by hand is what the run in ``run`` has."""
    theirs = elsewhere / f"run/iterations/{n:03d}"
    attempts = [(elsewhere / f"{name}-{n}.jsonl").read_bytes() for name in ("attempts", "hinted")]
    assert b"".join(attempts) == (theirs / "attempts.jsonl").read_bytes()
    ours = (elsewhere / f"examples-{n}.jsonl").read_bytes()
    assert ours == (theirs / "examples.jsonl").read_bytes() and ours
    adapter = elsewhere / f"adapter-{n}"
    assert {p.name for p in adapter.iterdir()} == {p.name for p in (theirs / "adapter").iterdir()}
    assert (adapter / weights).read_bytes() == (theirs / "adapter" / weights).read_bytes()


# --------------------------------------------------------------------------- equal to the loop


@pytest.mark.slow
def test_two_iterations_by_hand_equal_the_loops(star, elsewhere):
    """On the embedded model, with its few-shot prompt dropped in between."""
    recipe = load(None, task="arithmetic", overrides=TINY)
    loop.run(recipe, elsewhere / "run", lambda event: None)
    iteration(star, 1, TINY)
    same(elsewhere, 1, "adapters.safetensors")
    iteration(star, 2, TINY, ["--adapter", "adapter-1"])
    same(elsewhere, 2, "adapters.safetensors")
    assert not list(elsewhere.glob("*.unfinished")) + list(elsewhere.glob("*.partial"))


@pytest.mark.parametrize(
    "more",
    [
        [],
        ["star.drop_few_shot_from=2", "seed=7"],
        ["star.p_rationalization=0.5", "star.p_show_hint_save=0.5"],
        ["generate.samples=3", "generate.temperature=0.7", "star.few_shot_train=true"],
        ["prompts.chat=true", "prompts.system=Add.", "train.max_length=2000"],
    ],
)
def test_the_options_of_the_algorithm_are_the_loops(star, elsewhere, monkeypatch, more):
    def seeded(asked):
        """Knows where the answer is given; else by the lot of its seed."""
        return learner(asked) if parts(asked.prompt)[2] or asked.seed % 3 else hopeless(asked)

    def chatty(asked):
        prompt = asked.prompt.rsplit("</user>", 1)[0]
        return learner(type(asked)(prompt + "\n", asked.prefix, asked.seed, ()))

    reply = chatty if "prompts.chat=true" in more else seeded
    engine = ScriptedEngine(reply)
    monkeypatch.setattr(engines, "open_base", lambda recipe: engine)
    overrides = [*SMALL, "star.evaluate=false", *more]
    recipe = load(None, task="arithmetic", overrides=overrides)
    loop.run(recipe, elsewhere / "run", lambda event: None, engine=engine)
    iteration(star, 1, overrides)
    iteration(star, 2, overrides, ["--adapter", "adapter-1"])
    for n in (1, 2):
        same(elsewhere, n, "scripted.json")


def test_examples_are_carried_over_as_in_the_loop(star, elsewhere, scripted):
    overrides = [*SMALL, "star.carry_over=1"]
    loop.run(load(None, task="arithmetic", overrides=overrides), elsewhere / "run", print)
    iteration(star, 1, overrides)
    for n in (2, 3):
        carry = ["--carry", f"examples-{n - 1}.jsonl"]
        iteration(star, n, overrides, ["--adapter", f"adapter-{n - 1}"], carry)
        same(elsewhere, n, "scripted.json")
    files = ["attempts-2.jsonl", "hinted-2.jsonl"]
    at = ["--iteration", 2, "--out", "no.jsonl"]
    err = star("export-data", *files, *options(overrides), *at, code=2)
    assert "give --carry FILE for each, not 0" in err and not os.path.exists("no.jsonl")


def test_short_options_are_settings(star, elsewhere, scripted):
    small = [text for text in SMALL if not text.startswith("star.problems=")]
    args = ["--max-samples", 5, "--k", 2, "--temperature", 0.7, "--batch-size", 3]
    done = json.loads(star("generate", *options(small), *args, "--out", "a.jsonl", "--json"))
    assert (done["problems"], done["attempts"], done["iteration"]) == (5, 10, 1)
    sets = ["star.problems=5", "generate.samples=2", "generate.temperature=0.7"]
    star("generate", *options([*SMALL, *sets]), "--out", "b.jsonl")
    assert (elsewhere / "a.jsonl").read_bytes() == (elsewhere / "b.jsonl").read_bytes()
    err = star("generate", *options(SMALL), "--k", 2, "--out", "c.jsonl", code=2)
    assert "2 samples at temperature 0 are all the same" in err


def test_every_step_says_the_command_that_comes_next(star, elsewhere, scripted):
    """So that following what is printed does the iteration."""
    small = [text for text in SMALL if not text.startswith("star.problems=")]
    out = star("generate", *options(small), "--problems", 8, "--out", "first attempts.jsonl")
    for command in ("rationalize", "export-data", "train", "evaluate"):
        line, following = out.splitlines()
        assert line.startswith("iteration 1: ") and following.startswith(
            f"next: star-mlx {command}"
        )
        out = star(*shlex.split(following.removeprefix("next: star-mlx ")))
    assert out.startswith("adapter-1, dev: ")


def test_the_commands_of_the_page_work_in_its_order(star, elsewhere, scripted):
    page = (ROOT / "docs/by-hand.md").read_text(encoding="utf-8")
    commands = [shlex.split(line)[1:] for line in page.splitlines() if line.startswith("star-mlx ")]
    assert len(commands) == 9
    star("loop", *options(SMALL), "--json")
    for command in commands:
        star(*command, *([] if "--run" in command else options(SMALL)[2:]))
    ours, theirs = elsewhere / "examples.jsonl", elsewhere / "runs/arithmetic-001/iterations/001"
    assert ours.read_bytes() == (theirs / "examples.jsonl").read_bytes()


# --------------------------------------------------------------------------- interrupted, refused


def test_an_interrupted_step_goes_on_where_it_was(star, elsewhere, monkeypatch):
    asked = []

    def mortal(question):
        if len(asked) == 13:
            asked.append(None)
            raise KeyboardInterrupt
        asked.append(question)
        return learner(question)

    monkeypatch.setattr(engines, "open_base", lambda recipe: ScriptedEngine(mortal))
    command = ["generate", *options(SMALL), "--out", "a.jsonl"]
    assert star(*command, code=130).endswith("stopped\n")
    assert sorted(os.listdir()) == ["a.jsonl.unfinished"]
    err = star(*command, "--iteration", 2, code=2)
    assert "a.jsonl.unfinished was left by a step that differs" in err and "1 -> 2" in err
    star(*command)
    assert len(asked) == 14 + 12, "the first chunk of 8 is not made again"
    star("generate", *options(SMALL), "--out", "b.jsonl")
    assert (elsewhere / "a.jsonl").read_bytes() == (elsewhere / "b.jsonl").read_bytes()
    assert sorted(os.listdir()) == ["a.jsonl", "b.jsonl"]


def test_force_writes_over_what_is_there(star, elsewhere, scripted):
    star("generate", *options(SMALL), "--out", "a.jsonl")
    before = (elsewhere / "a.jsonl").read_bytes()
    again = ["generate", *options(SMALL), "--seed", 5, "--out", "a.jsonl"]
    assert "a.jsonl exists: give another --out, or --force" in star(*again, code=2)
    assert (elsewhere / "a.jsonl").read_bytes() == before
    star(*again, "--force")
    assert (elsewhere / "a.jsonl").read_bytes() != before


def test_a_model_that_keeps_nothing_has_no_training_set(star, monkeypatch):
    monkeypatch.setattr(engines, "open_base", lambda recipe: ScriptedEngine(hopeless))
    star("generate", *options(SMALL), "--out", "a.jsonl")
    err = star("export-data", "a.jsonl", *options(SMALL), "--out", "e.jsonl", code=2)
    assert "none of the 20 attempts may be trained on" in err and os.listdir() == ["a.jsonl"]


def test_no_failure_leaves_an_empty_file_that_can_be_gone_on_with(star, elsewhere, scripted):
    easy = [*SMALL, "task.options.digits=[1,1]"]
    iteration(star, 1, easy)
    assert (elsewhere / "hinted-1.jsonl").read_bytes() == b""
    assert len(list(json_lines(elsewhere / "examples-1.jsonl"))) == 20


def test_what_cannot_be_as_in_the_loop_is_remarked_on(star, elsewhere, scripted, capsys):
    def told(*arguments):
        with pytest.raises(SystemExit):
            main([*arguments, *options(SMALL)])
        return " ".join(capsys.readouterr().err.split())

    err = told("generate", "--iteration", "2", "--out", "a.jsonl")
    assert "warning: iteration 2 without --adapter: the base generates" in err
    err = told("rationalize", "a.jsonl", "--out", "h.jsonl")
    assert "are not among those that iteration 1 draws" in err


GOOD = {
    "id": "x", "hinted": False, "completion": "1", "answer": "1", "correct": True,
    "finish": "stop", "token_ids": [1],
}  # fmt: skip


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"{", "a.jsonl, line 2: the row is not JSON"),
        (
            json_line({**GOOD, "correct": 1}),
            "a.jsonl, line 2 is not an attempt of star-mlx generate: E",
        ),
        (json_line({**GOOD, "correct": 1}), "Expected `bool`, got `int` - at `$.correct`"),
        (json_line({"id": "x"}), "Object missing required field `hinted`"),
        (json_line({**GOOD, "finish": "?"}), "Invalid enum value '?' - at `$.finish`"),
        (json_line({**GOOD, "token_ids": ["1"]}), "Expected `int`, got `str` - at `$.token_ids[0]"),
        (json_line({**GOOD, "token_ids": [-1]}), "its token_ids should be token numbers"),
        (json_line({**GOOD, "id": "y"}), "has no training problem 'x' (2 of 2 are unknown)"),
    ],
)
def test_a_bad_row_of_attempts_is_named(star, elsewhere, scripted, line, message):
    (elsewhere / "a.jsonl").write_bytes(json_line(GOOD) + line)
    for command in ("rationalize", "export-data"):
        err = star(command, "a.jsonl", *options(SMALL), "--out", "o.jsonl", code=2)
        assert message in err and err.count("\n") == 1
    assert os.listdir() == ["a.jsonl"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["generate", "--task", "arithmetic", "--out", "a.txt"], "give a name that ends in .jsonl"),
        (["generate", "--task", "arithmetic", "--out", "no/a.jsonl"], "no is not a folder that"),
        (["generate", "--task", "arithmetic"], "Missing option '--out'"),
        (["generate", "--out", "a.jsonl"], "no task: give --task NAME or --recipe FILE"),
        (
            ["generate", "--task", "arithmetic", "--adapter", "no", "--out", "a.jsonl"],
            "no is not a folder with an adapter",
        ),
        (["rationalize", "no.jsonl", "--task", "arithmetic", "--out", "a.jsonl"], "does not exist"),
        (
            ["rationalize", "x", "--task", "arithmetic", "--set", "star.rationalize=false",
             "--out", "a.jsonl"],
            "the recipe has star.rationalize=false",
        ),
        (["export-data", "--out", "a.jsonl"], "give either a RUN or files of ATTEMPTS"),
        (["export-data", "--run", "no", "--out", "a.jsonl"], "no is not a run folder"),
        (["export-data", "--run", "x", "--task", "y", "--out", "a.jsonl"], "has its own recipe"),
        (["export-data", "x", "--iteration", "best", "--out", "a.jsonl"], "a number from 1 on"),
        (["train", "no.jsonl", "--out", "a"], "data file no.jsonl does not exist"),
        (["train", "x", "--steps", "1", "--epochs", "1", "--out", "a"], "exclude each other"),
        (["train", "x", "--lr", "0", "--out", "a"], "train.learning_rate"),
        (["evaluate"], "give either a RUN or --adapter"),
        (["evaluate", "--run", "x", "--adapter", "y"], "give either a RUN or --adapter"),
        (["evaluate", "--run", "x", "--task", "y"], "a run has its own recipe"),
        (["evaluate", "--adapter", "no", "--task", "arithmetic"], "no is not a folder with an ad"),
        (["evaluate", "--adapter", "no", "--iteration", "best"], "give a number from 1 on"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_and_writes_nothing(star, scripted, arguments, message):
    err = star(*arguments, code=2)
    assert err.startswith("star-mlx: error: ") and message in err and err.count("\n") == 1
    assert os.listdir() == []


def test_a_folder_with_something_in_it_is_no_place_for_an_adapter(star, elsewhere, scripted):
    (elsewhere / "rows.jsonl").write_bytes(json_line({"prompt": "a", "completion": "b"}))
    (elsewhere / "mine").mkdir()
    star("train", "rows.jsonl", "--out", "mine")
    err = star("train", "rows.jsonl", "--out", "mine", code=2)
    assert "mine exists and is not empty" in err


def test_a_training_that_is_stopped_leaves_no_adapter(star, elsewhere, scripted, monkeypatch):
    (elsewhere / "rows.jsonl").write_bytes(json_line({"prompt": "a", "completion": "b"}))

    def cut(examples, lora, amount, *, seed, out, progress):
        (out / "half").write_text("half")
        raise KeyboardInterrupt

    monkeypatch.setattr(scripted, "train", cut)
    star("train", "rows.jsonl", "--out", "adapter", code=130)
    assert os.listdir() == ["rows.jsonl"]


# --------------------------------------------------------------------------- export, evaluate


@pytest.fixture
def finished(star, scripted):
    star("loop", *options(SMALL), "--run", "run", "--json")
    return "run"


def rows(path):
    return list(json_lines(path))


def test_a_runs_training_set_is_exported(star, elsewhere, finished):
    out = star("export-data", finished, "--iteration", 2, "--out", "e.jsonl")
    assert "next: star-mlx train e.jsonl --model tiny --iteration 2 --out adapter-2\n" in out
    theirs = elsewhere / "run/iterations/002/examples.jsonl"
    assert (elsewhere / "e.jsonl").read_bytes() == theirs.read_bytes()
    star("export-data", "--run", finished, "--out", "best.jsonl")  # as in earlier versions
    theirs = elsewhere / "run/iterations/001/examples.jsonl"
    assert (elsewhere / "best.jsonl").read_bytes() == theirs.read_bytes()
    err = star("export-data", "--run", finished, "--iteration", 0, "--out", "z.jsonl", code=2)
    assert "is the base: it was trained on nothing" in err


def test_the_formats_of_other_people(star, elsewhere, finished):
    examples = rows(elsewhere / "run/iterations/001/examples.jsonl")
    for name in ("prompt-completion", "query-response", "messages"):
        for source in (["--run", finished, "--iteration", 1],
                       ["run/iterations/001/attempts.jsonl", *options(SMALL)]):  # fmt: skip
            star("export-data", *source, "--format", name, "--out", f"{name}.jsonl", "--force")
            made = rows(elsewhere / f"{name}.jsonl")
            assert [row["id"] for row in made] == [e["id"] for e in examples]
            if name == "prompt-completion":
                assert all(r["prompt"] == e["prompt"] for r, e in zip(made, examples, strict=True))
    task, _ = opening.open_task(load(task="arithmetic", overrides=SMALL))
    words = {p.id: p.question.text for p in task.problems("train")}
    [query, *_], [chat, *_] = (
        rows(elsewhere / f"{name}.jsonl") for name in ("query-response", "messages")
    )
    first = examples[0]
    assert (query["query"], query["response"]) == (words[first["id"]], first["completion"])
    assert chat["messages"] == [
        {"role": "user", "content": first["prompt"].strip()},
        {"role": "assistant", "content": first["completion"]},
    ]


def test_an_adapter_by_hand_is_measured_as_the_runs_own(star, elsewhere, finished):
    iteration(star, 1, SMALL)
    args = ["--adapter", "adapter-1", *options(SMALL), "--against", "few-shot", "--json"]
    ours = json.loads(star("evaluate", *args))
    theirs = rows(elsewhere / "run/metrics.jsonl")[1]["eval"]
    assert {key: ours[key] for key in theirs} == theirs
    [pair] = ours["against"]
    assert (pair["with"], pair["better"], pair["worse"]) == ("few-shot", 16, 0)
    out = star("evaluate", *args[:-1], "--max-samples", 10)
    assert out.startswith("adapter-1, dev: 100.0% [72.2-100.0] of n = 10\n")


# --------------------------------------------------------------------------- as functions


def settled(*more):
    return load(None, task="arithmetic", overrides=[*SMALL, *more])


def counts(path):
    """What a step says of the attempts in a file of its."""
    made = rows(path)
    return {
        "attempts": len(made),
        "correct": sum(row["correct"] for row in made),
        "kept": sum(row["correct"] and not row["rejected"] for row in made),
        "parse_failures": sum(row["answer"] is None for row in made),
        "truncated": sum(row["finish"] == "length" for row in made),
        "tokens": sum(row["tokens"] for row in made),
        "out": str(path),
    }


def strict(asked):
    """Some answers are wrong, none, cut off, or right for wrong reasons."""
    a, b, hinted = parts(asked.prompt)
    right = f"{scratchpad(a, b)}\n{spaced(a + b)}"
    wrong = right.replace("C: 0", "C: 1", 1)
    return [right, right if hinted else "nothing", "1" * 2000, wrong][a % 4]


def test_a_step_says_what_it_did(elsewhere):
    engine, recipe = ScriptedEngine(strict), settled("star.require_valid_steps=true")
    a, h, e, out = (Path(name) for name in ("a.jsonl", "h.jsonl", "e.jsonl", "adapter"))
    events = []
    assert steps.generate(recipe, a, iteration=1, engine=engine, emit=events.append) == {
        "command": "generate", "iteration": 1, "problems": 20, **counts(a),
    }  # fmt: skip
    assert {e.phase for e in events if isinstance(e, PhaseStarted)} == {"generate"}
    done = counts(a)
    assert 0 < done["kept"] < done["correct"] and done["truncated"] and done["parse_failures"]
    failed = 20 - done["correct"]  # right for wrong reasons is no failure
    events.clear()
    assert steps.rationalize(recipe, a, h, iteration=1, engine=engine, emit=events.append) == {
        "command": "rationalize", "iteration": 1, "problems": 20, "failed": failed, **counts(h),
    }  # fmt: skip
    assert {e.phase for e in events if isinstance(e, PhaseStarted)} == {"rationalize"}
    kept = {"prompt": "p", "completion": "c"}
    e.write_bytes(json_line(kept) + json_line({**kept, "completion": "c" * 2000}))
    events.clear()
    assert steps.train(recipe, e, out, engine=engine, emit=events.append) == {
        "command": "train", "iteration": 1, "examples": 2, "used": 1,
        "formats": {"prompt/completion": 2}, "types": {}, "rows": 2, "steps": 1, "epochs": 1.0,
        "tokens": 3, "first_loss": 1.0, "last_loss": 1.0, "seconds": 0.0,
        "too_long": ("e.jsonl, line 2",), "padding": 0.0, "skipped": [], "out": "adapter",
    }  # fmt: skip


def told(events):
    return [event for event in events if isinstance(event, Notice)]


def test_rows_that_are_left_out_of_a_training_are_said(elsewhere):
    good = json_line({"prompt": "p", "completion": "c"})
    Path("e.jsonl").write_bytes(good + b"[]\n" + good + b"{\n" + good)
    engine, events = ScriptedEngine(learner), []
    found = steps.train(
        settled(), Path("e.jsonl"), Path("out"), iteration=3, amount=Amount(6),
        on_bad_row="skip", engine=engine, emit=events.append,
    )  # fmt: skip
    assert (found["iteration"], found["steps"], found["examples"], found["used"]) == (3, 6, 3, 3)
    assert len(found["skipped"]) == 2 and found["skipped"][0].startswith("e.jsonl, line 2")
    assert told(events) == [Notice("warning", f"2 rows left out; first: {found['skipped'][0]}")]
    assert sorted(os.listdir()) == ["e.jsonl", "out"]
    with pytest.raises(StarError, match=r"e\.jsonl, line 2"):
        steps.train(settled(), Path("e.jsonl"), Path("no"), engine=engine)


def test_an_adapters_place_is_free(elsewhere):
    engine, rows = ScriptedEngine(learner), Path("e.jsonl")
    rows.write_bytes(json_line({"prompt": "p", "completion": "c"}))
    Path("mine").mkdir()
    (Path("mine") / "thesis").touch()
    Path("empty").mkdir()
    Path("empty.partial").mkdir()
    (Path("empty.partial") / "half").touch()
    for out in (rows, Path("mine")):
        with pytest.raises(RunError) as caught:
            steps.train(settled(), rows, out, engine=engine)
        assert str(caught.value) == (
            f"{out} exists and is not empty: give another --out, or remove it"
        )
    steps.train(settled(), rows, Path("empty"), engine=engine)
    assert sorted(os.listdir("empty")) == ["scripted.json", "trained-on.json"]
    assert not Path("empty.partial").exists()


@pytest.mark.parametrize("saved", [True, False])
def test_the_state_of_a_training_that_was_stopped_is_kept(elsewhere, saved):
    rows = Path("e.jsonl")
    rows.write_bytes(json_line({"prompt": "p", "completion": "c"}))

    class Stopped(ScriptedEngine):
        def train(self, *arguments, out, **options):
            assert os.listdir(out) == []
            (out / ("training.json" if saved else "adapters.safetensors")).touch()
            raise KeyboardInterrupt

    class GoesOn(ScriptedEngine):
        def train(self, *arguments, out, **options):
            assert os.listdir(out) == (["training.json"] if saved else [])
            (out / "training.json").unlink(missing_ok=True)
            return super().train(*arguments, out=out, **options)

    with pytest.raises(KeyboardInterrupt):
        steps.train(settled(), rows, Path("out"), engine=Stopped(learner))
    assert sorted(os.listdir()) == ["e.jsonl", *["out.partial"] * saved]
    steps.train(settled(), rows, Path("out"), engine=GoesOn(learner))
    assert sorted(os.listdir()) == ["e.jsonl", "out"]


def test_a_step_of_a_recipe_without_rationalization_is_refused(elsewhere):
    with pytest.raises(RecipeError) as caught:
        steps.rationalize(
            settled("star.rationalize=false"), Path("a.jsonl"), Path("h.jsonl"), iteration=1
        )
    assert str(caught.value) == (
        "the recipe has star.rationalize=false: --set star.rationalize=true"
    )


def test_what_differs_from_the_loop_is_said_word_for_word(elsewhere):
    engine, events = ScriptedEngine(learner), []
    steps.generate(settled(), Path("a.jsonl"), iteration=2, engine=engine, emit=events.append)
    assert told(events) == [Notice("warning", "iteration 2 without --adapter: the base generates")]
    events.clear()
    steps.rationalize(
        settled(), Path("a.jsonl"), Path("h.jsonl"), iteration=1, engine=engine, emit=events.append
    )
    task, prompts = opening.open_task(settled())
    ours = [[p.id for p in steps.drawn(task, prompts, settled(), n)] for n in (1, 2)]
    others = len(set(ours[1]) - set(ours[0]))
    assert [row["id"] for row in rows(Path("a.jsonl"))] == ours[1] and 0 < others < 20
    assert told(events) == [
        Notice(
            "warning",
            f"{others} of 20 problems are not among those that iteration 1 draws: the result is "
            "not that of the loop unless --iteration, --seed and star.problems are those of the "
            "attempts",
        )
    ]
    events.clear()
    steps.rationalize(
        settled(), Path("a.jsonl"), Path("i.jsonl"), iteration=2, engine=engine, emit=events.append
    )
    assert told(events) == [Notice("warning", "iteration 2 without --adapter: the base generates")]


@pytest.mark.parametrize(
    ("iteration", "adapter", "few_shot"),
    [(1, None, True), (2, None, True), (2, "m", False), (1, "m", True)],
)
def test_the_few_shot_prompt_is_in_front_as_in_the_iteration_after_the_models(
    elsewhere, iteration, adapter, few_shot
):
    prefixes, adapters = [], []

    class Kept(ScriptedEngine):
        def generate(self, *args, prefix, adapter, **more):
            prefixes.append(prefix)
            adapters.append(adapter)
            return super().generate(*args, prefix=prefix, adapter=adapter, **more)

    place = adapter and Path(adapter)
    if place:
        place.mkdir()
        (place / "scripted.json").write_text("[]")
    recipe, engine = settled("star.drop_few_shot_from=2"), Kept(learner)
    _, prompts = opening.open_task(recipe)
    more = {"iteration": iteration, "adapter": place, "engine": engine}
    steps.generate(recipe, Path("a.jsonl"), **more)
    assert set(prefixes) == {prompts.few_shot(hinted=False) if few_shot else ""}
    prefixes.clear()
    steps.rationalize(recipe, Path("a.jsonl"), Path("h.jsonl"), **more)
    assert set(prefixes) == {prompts.few_shot(hinted=True) if few_shot else ""}
    assert set(adapters) == {place}


def test_rows_of_the_data_that_are_left_out_are_said(elsewhere):
    good = [{"question": f"What is {n} + 1?", "answer": f"#### {n + 1}"} for n in range(9)]
    bad = [{"question": f"And {n}?"} for n in range(4)]
    for name in ("train.jsonl", "test.jsonl"):
        Path(name).write_bytes(b"".join(map(json_line, [*good, *bad])))
    settings = [*SMALL[2:], "task.options.dev=2", "task.options.on_bad_row=skip"]
    recipe = load("gsm8k", data=".", model="tiny", overrides=[*settings, "train.max_length=9000"])
    events = []
    engine = ScriptedEngine(lambda asked: "#### 1")
    steps.generate(recipe, Path("a.jsonl"), iteration=1, engine=engine, emit=events.append)
    task, _ = opening.open_task(recipe)
    task.problems("train")
    assert len(task.skipped()) == 4
    [said] = told(events)
    assert said == Notice("warning", f"4 rows left out: {'; '.join(task.skipped()[:3])}")
    assert all(f"train.jsonl, line {n}" in said.text for n in (10, 11, 12))


def test_a_step_writes_over_nothing_unless_it_is_told_to(elsewhere):
    engine = ScriptedEngine(learner)
    a, h = Path("a.jsonl"), Path("h.jsonl")
    for out, act in ((a, partial(steps.generate, settled(), a)),
                     (h, partial(steps.rationalize, settled(), a, h))):  # fmt: skip
        step = partial(act, iteration=1, engine=engine)
        step()
        made = out.read_bytes()
        out.write_bytes(b"mine")
        with pytest.raises(RunError) as caught:
            step()
        assert str(caught.value) == (
            f"{out} exists: give another --out, or --force to overwrite it"
        )
        assert out.read_bytes() == b"mine"
        step(force=True)
        assert out.read_bytes() == made


def test_a_step_that_was_stopped_says_what_its_result_depends_on(elsewhere):
    class Dies(ScriptedEngine):
        def generate(self, *args, **more):
            raise KeyboardInterrupt

    recipe = settled()
    steps.generate(recipe, Path("a.jsonl"), iteration=1, engine=ScriptedEngine(learner))
    Path("m").mkdir()
    Path("m/scripted.json").write_text("[]")
    engine = Dies(learner)
    for act, step in (
        (lambda out, **more: steps.generate(recipe, out, **more), {"command": "generate"}),
        (
            lambda out, **more: steps.rationalize(recipe, Path("a.jsonl"), out, **more),
            {
                "command": "rationalize",
                "attempts": sha256(Path("a.jsonl").read_bytes()).hexdigest(),
            },
        ),
    ):
        for adapter, number in ((None, 1), (Path("m"), 2)):
            out = Path(f"{step['command']}-{number}.jsonl")
            with pytest.raises(KeyboardInterrupt):
                act(out, iteration=number, adapter=adapter, engine=engine)
            [left] = Path().glob(f"{out}.*")
            assert left.name == f"{out}.unfinished" and not out.exists()
            values = yaml.safe_load((left / "recipe.yaml").read_text(encoding="utf-8"))
            task, prompts = opening.open_task(recipe)
            assert values.pop("step") == {
                **step,
                "iteration": number,
                "adapter": adapter and step_files.content(adapter),
            }
            made_from = provenance.provenance(task, prompts, engine)
            assert values == {**opening.settled(recipe, task), "provenance": made_from}


def test_problems_are_named_once_in_the_order_they_were_attempted(elsewhere):
    task, _ = opening.open_task(settled())
    problems = task.problems("train")
    made = [
        Attempt(p.id, False, "", None, False, "stop", ())
        for p in (problems[5], problems[2], problems[5])
    ]
    assert steps.named(task, made, Path("x")) == [problems[5], problems[2]]
    unknown = [Attempt(name, False, "", None, False, "stop", ()) for name in ("no", "none")]
    with pytest.raises(TaskError) as caught:
        steps.named(task, [*made, *unknown], Path("x.jsonl"))
    assert str(caught.value) == (
        "x.jsonl: the task arithmetic has no training problem 'no' (2 of 4 are unknown): give the "
        "task options and the data that the attempts were made with"
    )


def test_an_adapter_in_no_run_is_measured_against_bases_and_others(elsewhere):
    def trained(name, count):
        Path(name).mkdir()
        task, prompts = opening.open_task(settled())
        long = sorted(task.problems("train"), key=lambda p: len(p.question.as_text(" ")))[-count:]
        examples = [[p.id, prompts.training(p.question, few_shot=False), ""] for p in long]
        (Path(name) / "scripted.json").write_text(json.dumps(examples))
        return Path(name)

    asked = []

    class Kept(ScriptedEngine):
        def generate(self, prompts, decoding, **more):
            asked.append((more["prefix"], prompts[0], decoding.temperature, more["adapter"]))
            return super().generate(prompts, decoding, **more)

    engine, one, all_ = Kept(learner), trained("one", 1), trained("all", 200)
    recipe, events = settled("star.drop_few_shot_from=3"), []
    how = evaluate.How("dev", samples=2, temperature=0.7)
    found = steps.evaluate(
        recipe, all_, iteration=3, how=how, against=["few-shot", "zero-shot", "one"],
        engine=engine, emit=events.append,
    )  # fmt: skip
    assert (found.of, found.iteration, found.split, found.n) == ("all", 3, "dev", 20)
    assert (found.samples, found.accuracy, found.run, found.time) == (2, 1.0, "", "")
    assert [pair.other for pair in found.against] == ["few-shot", "zero-shot", "one"]
    assert [(pair.n, pair.better, pair.worse) for pair in found.against] == [
        (20, 16, 0), (20, 16, 0), (20, 12, 0),
    ]  # fmt: skip
    assert found.against[0].words.startswith("all is better than few-shot: 16 more")
    shown = opening.open_task(recipe)[1].few_shot(hinted=False)
    models = [(prefix, adapter) for prefix, _, _, adapter in asked[::3]]
    assert models == [("", all_), (shown, None), ("", None), ("", one)]
    assert {temperature for _, _, temperature, _ in asked[:12]} == {0.7}
    begun = [(e.iteration, e.total) for e in events if isinstance(e, PhaseStarted)]
    assert begun == [(3, 40), (0, 40), (0, 40), (3, 40)]
    single = steps.evaluate(recipe, all_, how=evaluate.How("dev", limit=3), engine=engine)
    assert (single.n, single.correct, single.iteration, single.against) == (3, 3, 1, [])
    assert asked[-1][0] == shown, "iteration 1 has the few-shot prompt in front"
