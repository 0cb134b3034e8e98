"""``loop --dry-run``: what a run will do, told before it begins, and nothing written."""

from __future__ import annotations

import json
import os
import shutil

import pytest
import yaml

from star_mlx.cli import main
from star_mlx.errors import ModelError, RunError
from star_mlx.recipe import loading
from star_mlx.run import at_hand
from star_mlx.run.plan import plan
from star_mlx.run.shown import prompts
from tests.small_run import SMALL

TINY = ("task.options.train=400", "task.options.held_out=10", "evaluate.dev=30")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def opened(*overrides, task="arithmetic", **more):
    return at_hand.gather(loading.load(task=task, overrides=[*TINY, *overrides], **more))


def called(capsys, *arguments):
    with pytest.raises(SystemExit) as ended:
        main([*map(str, arguments)])
    said = capsys.readouterr()
    return ended.value.code or 0, said.out, said.err


# --------------------------------------------------------------------------- the plan


def test_rows_steps_and_rates_by_epochs():
    at = opened(
        "star.problems=100", "star.iterations=2", "star.schedule={kind: epochs, base: 2}",
        "train.batch_size=10", "train.warmup=10", "train.learning_rate=0.001",
    )  # fmt: skip
    first, second = plan(at).iterations
    assert (first.problems, first.rows, first.steps_taken) == (100, (25, 100), (6, 20))
    assert first.peak_rate == pytest.approx((6e-4, 1e-3))
    assert (second.epochs, second.steps_taken) == (2.2, (7, 22))
    assert (first.steps, second.steps) == (None, None)


def test_given_steps_do_not_depend_on_the_rows_and_samples_and_carried_rows_count():
    at = opened("star.problems=100", "generate.samples=3", "generate.temperature=0.7",
                "star.carry_over=1", "star.iterations=3")  # fmt: skip
    found = plan(at).iterations
    assert [one.steps_taken for one in found] == [(10, 10), (15, 15), (22, 22)]
    assert [one.rows for one in found] == [(25, 300), (50, 600), (50, 600)]
    length = plan(at).lengths.completion
    assert found[0].generated_tokens == (300 * length, 400 * length)


@pytest.mark.slow
def test_tokens_are_those_of_the_models_tokenizer():
    from star_mlx import engine as engines
    from star_mlx.engine import resolve

    at = opened()
    text = engines.open_tokenizer(resolve.find("tiny"))
    asked = [at.task.ask(problem.question) for problem in at.problems[:20]]
    assert at.counted and at.count(asked) == [len(text.encode(one)) for one in asked]
    assert plan(at).lengths.few_shot == len(text.encode(at.prompts.few_shot(hinted=False)))


def test_without_the_model_tokens_are_estimated_and_nothing_is_fetched(monkeypatch):
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("the network is used"))
    at = opened(model="org/name")
    found = plan(at)
    assert (at.model, found.counted, found.sizes, found.timing) == (None, False, None, None)
    assert at_hand.by_characters(["x" * 35, "x" * 36]) == [10, 11] and found.lengths.prompt == 9
    assert found.iterations[0].rows and found.iterations[0].disk_bytes


def test_without_the_data_only_what_is_certain_is_told():
    found = plan(at_hand.gather(loading.load(task="gsm8k", model="org/name")))
    first = found.iterations[0]
    assert found.train_problems is None and (first.problems, first.rows) == (1000, None)
    assert first.epochs == 2 and first.steps_taken is None


def test_a_model_that_cannot_be_is_an_error():
    with pytest.raises(ModelError, match=r"no folder \./nowhere"):
        opened(model="./nowhere")


@pytest.mark.slow
def test_memory_is_within_the_bound_and_the_cut_is_said(capsys):
    free = plan(opened()).sizes
    bound = free.memory * 0.8 / 2**30
    cut = plan(opened(f"max_memory={bound}")).sizes
    assert cut.memory == int(bound * 2**30) < free.memory and free.cut == ""
    code, out, _ = called(
        capsys, "loop", "--task", "arithmetic", "--dry-run", "--set", f"max_memory={bound}"
    )
    assert code == 0 and f"# {cut.cut}\n" in out
    assert "rows are decoded at once" in cut.cut or "tokens are trained on" in cut.cut


@pytest.mark.slow
def test_the_sizes_on_disk_are_those_that_are_written(small_run):
    at = at_hand.gather(loading.load(task="arithmetic", overrides=SMALL))
    found = plan(at)
    weights = small_run / "iterations/001/adapter/adapters.safetensors"
    assert found.sizes.adapter == pytest.approx(weights.stat().st_size, rel=0.02)
    assert found.sizes.parameters == pytest.approx(840_832, rel=0.01)
    written = sum(
        (small_run / "iterations/001" / name).stat().st_size
        for name in ("attempts.jsonl", "examples.jsonl", "eval.jsonl")
    )
    low, high = found.iterations[0].disk_bytes
    assert low / 2 < written + weights.stat().st_size < 2 * high


def test_warnings_of_too_few_steps_are_told():
    assert plan(opened()).warnings == ()
    [text] = plan(opened("train.warmup=30")).warnings
    assert text.startswith("iteration 1 takes 10 steps, within the warm-up (train.warmup=30)")


# --------------------------------------------------------------------------- the prompts


@pytest.mark.slow
def test_the_prompts_are_those_of_the_run(small_run):
    """As kept in a run of the same recipe: the first problem of iteration 1, and its row."""
    at = at_hand.gather(loading.load(task="arithmetic", overrides=SMALL))
    shown = prompts(at)
    first = json.loads((small_run / "iterations/001/attempts.jsonl").read_text().split("\n")[0])
    problem = next(p for p in at.problems if p.id == first["id"])
    ask, gold = f"Input:\n{problem.question.text}\nTarget:", problem.answer
    assert shown.direct.endswith(f"\n\n{ask}\n") and shown.hinted.endswith(f"\n\n{ask} {gold}\n")
    assert shown.zero_shot == shown.training_prompt == f"{ask}\n"
    assert shown.supervised == f"{problem.rationale}\n{gold}"
    assert "Target: 7 2\n" in shown.hinted and "Target: 7 2\n" not in shown.direct


def test_prompts_that_a_recipe_does_not_have_are_left_out():
    shown = prompts(opened("star.rationalize=false", "evaluate.zero_shot=false"))
    assert (shown.hinted, shown.zero_shot) == (None, None)
    assert [title.split(":")[0] for title, _ in shown.texts()] == ["direct", "a training row"]


def test_a_chat_without_its_template_is_shown_in_turns(tmp_path):
    at = opened("prompts.chat=true", "prompts.system=Be short.", model="org/name")
    assert at.templated is False
    shown = prompts(at)
    assert shown.direct.startswith("[system] Be short.\n[user] Input:\n2 7 + 4 5\nTarget:\n[assis")
    assert shown.direct.endswith("[assistant]") and plan(at).lengths.few_shot > 10


# --------------------------------------------------------------------------- the command


def test_what_is_printed_is_a_recipe_with_the_plan_as_comments(capsys, elsewhere):
    overrides = [part for text in TINY for part in ("--set", text)]
    code, out, err = called(capsys, "loop", "--task", "arithmetic", *overrides, "--dry-run")
    assert (code, err) == (0, "") and os.listdir() == []
    assert yaml.safe_load(out)["star"]["iterations"] == 5
    comments = [line for line in out.splitlines() if line.startswith("#")]
    assert "# | Input:" in comments and any("«<scratch>" in line for line in comments)
    assert any(line.startswith("# model: tiny, 840k parameters: up to about ") for line in comments)
    assert comments[-1].startswith("# iteration 5: 51 steps; peak rate 0.0005; 100 to 400 rows")
    (elsewhere / "again.yaml").write_text(out)
    assert loading.load("again.yaml") == loading.load(base=yaml.safe_load(out))


def test_hostile_questions_stay_comments(capsys, elsewhere):
    rows = [{"q": f"x{i}\nseed: 9\r\u2028seed: 8 \x1b[2J", "a": i} for i in range(12)]
    (elsewhere / "d.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (elsewhere / "r.yaml").write_text(
        "task: {name: jsonl, options: {path: d.jsonl, dev: 2, fields: {question: q, answer: a}, "
        "read: {kind: last-number}}}\nprompts: {k: 0}\n"
    )
    code, out, _ = called(capsys, "loop", "--recipe", "r.yaml", "--dry-run")
    assert code == 0 and yaml.safe_load(out)["seed"] == 0
    assert "\x1b" not in out and "# | seed: 9" in out


def test_as_json(capsys):
    arguments = ["--set", "star.iterations=2", "--set", TINY[0], "--dry-run", "--json"]
    code, out, _ = called(capsys, "loop", "--task", "arithmetic", *arguments)
    found = json.loads(out)
    assert code == 0 and found["recipe"]["task"]["name"] == "arithmetic"
    assert [one["steps"] for one in found["schedule"]] == [10, 15]
    assert found["schedule"][0]["rows"] == [100, 400] and found["warnings"] == []
    assert found["plan"]["train_problems"] == 400 and found["plan"]["seconds"] is None
    assert found["plan"]["disk_bytes"][0] > 2 * found["plan"]["sizes"]["adapter"]
    assert found["prompts"]["supervised"].startswith("<scratch>")


@pytest.mark.slow
def test_another_recipe_than_the_folders_is_refused_as_by_the_run(capsys, small_run, tmp_path):
    shutil.copytree(small_run, "mine")
    said = []
    for extra in ([], ["--dry-run"]):
        code, out, err = called(capsys, "loop", "--run", "mine", "--seed", "7", *extra)
        assert (code, out) == (2, "")
        said.append(err)
    assert said[0] == said[1] and "what differs: seed 0 -> 7. Give another --run" in said[0]
    code, out, err = called(capsys, "loop", "--run", "mine", "--dry-run")
    assert code == 0 and "# finished: iteration 1 to 2" in out and "# iteration 1:" not in out


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full/thesis").touch()
    with pytest.raises(RunError, match="is not a run folder"):
        at_hand.resumed(opened(), tmp_path / "full", lambda event: None)
    assert at_hand.resumed(opened(), tmp_path / "new", lambda event: None) is None


@pytest.mark.slow
def test_the_time_is_measured_on_request(capsys, monkeypatch):
    monkeypatch.setattr("star_mlx.run.timing.SECONDS", 3)
    overrides = [part for text in TINY for part in ("--set", text)]
    arguments = ["--task", "arithmetic", *overrides, "--dry-run", "--measure", "--json"]
    code, out, _ = called(capsys, "loop", *arguments)
    found = json.loads(out)
    assert code == 0
    timing, (low, high) = found["plan"]["timing"], found["plan"]["seconds"]
    assert timing["attempts"] > 3 and timing["attempt_seconds"] > 0 < timing["step_seconds"]
    assert 0.1 < timing["right"] < 0.9 and 20 < timing["completion_tokens"] < 80
    each = [one["seconds"] for one in found["schedule"]]
    before = timing["load_seconds"] + found["plan"]["base_seconds"]
    assert low == pytest.approx(before + sum(a for a, _ in each))
    assert high == pytest.approx(before + sum(b for _, b in each)) and low < high


def test_what_is_not_here_cannot_be_measured(capsys):
    given = ["loop", "--task", "arithmetic", "--model", "org/name"]
    code, _, err = called(capsys, *given, "--dry-run", "--measure")
    assert code == 2 and "org/name is not on this machine, so it cannot be measured" in err
    code, _, err = called(capsys, *given, "--measure")
    assert code == 2 and "--measure needs --dry-run" in err


@pytest.mark.parametrize(("test", "said"), [(None, True), (5, False)])
def test_it_tells_what_dev_can_show_and_that_nothing_is_held_out(capsys, elsewhere, test, said):
    rows = [{"q": f"{n} and {n}?", "a": f"{2 * n}"} for n in range(40)]
    (elsewhere / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    options = {"path": "rows.jsonl", "dev": 10, "test": test, "fields": {"question": "q"}}
    options["fields"]["answer"] = "a"
    recipe = {"task": {"name": "jsonl", "options": options}, "model": "tiny", "prompts": {"k": 0}}
    (elsewhere / "own.yaml").write_text(yaml.safe_dump(recipe))
    code, out, _ = called(capsys, "loop", "--recipe", "own.yaml", "--dry-run")
    assert code == 0 and "\n# dev: With 10 dev problems " in out
    assert ("\n# test: none is held out" in out) is said
