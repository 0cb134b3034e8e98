"""``loop --smoke``: every path is taken, what stands in the way is said, and nothing is kept."""

from __future__ import annotations

import json
import os
import runpy
import tempfile
from pathlib import Path

import pytest

from star_mlx.cli import main
from star_mlx.engine.scripted import ScriptedEngine
from star_mlx.errors import ModelError, TaskError
from star_mlx.init_task import init_task
from star_mlx.recipe import loading
from star_mlx.run import at_hand, rehearsal
from star_mlx.run.checks import checks
from star_mlx.run.plan import plan
from star_mlx.run.tryout import tryout

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
SUMS = ("task.options.train=60", "task.options.held_out=10", "star.iterations=3")


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def left():
    """What a rehearsal has left; other programs may put something into the folder too."""
    return [name for name in os.listdir("tmp") if "star-mlx" in name]


def word_problems(elsewhere, n=40, question="Ann has {} apples. How many has she?", **changes):
    rows = [
        {
            "question": question.format(i),
            "answer": 2 * i + 3,
            "rationale": f"She has {i} and {i + 3} more, and that makes {2 * i + 3}.",
            **changes,
        }
        for i in range(n)
    ]
    (elsewhere / "d.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    init_task(elsewhere / "d.jsonl", elsewhere / "task.yaml", model="org/name", force=True)


def opened(*overrides, **more):
    """The written recipe, with splits of known sizes."""
    splits = ("task.options.test=null", "task.options.dev=8")
    return at_hand.gather(loading.load("task.yaml", overrides=(*splits, *overrides), **more))


def sums(*overrides, model="org/name"):
    recipe = loading.load(task="arithmetic", overrides=[*SUMS, *overrides], model=model)
    return at_hand.gather(recipe)


def found(at, what):
    return [one for one in checks(at, plan(at), Path("runs")) if one.what == what]


def wrong(at):
    return [one.what for one in checks(at, plan(at), Path("runs")) if not one.ok]


# --------------------------------------------------------------------------- the scripted run


def test_every_path_is_taken_and_nothing_is_kept(elsewhere):
    word_problems(elsewhere, 100)
    before = sorted(os.listdir())
    metrics, kept = rehearsal.scripted(opened())
    first, last = metrics[1:]
    assert (first.problems, first.solved, first.rationalized, first.examples) == (15, 6, 3, 6)
    assert first.truncated == 3 and first.parse_failures == 6  # directly and with hint
    assert first.dev.n == last.dev.n == 5 and metrics[0].zero_shot.n == 5
    assert kept.ok and kept.text == "all 6 right completions of the script were kept"
    assert sorted(os.listdir()) == before and left() == []


@pytest.mark.parametrize(
    "overrides",
    [
        ("star.direct=true",),
        ("star.rationalize=false", "star.drop_few_shot_from=2"),
        ("prompts.k=0",),
        ("prompts.chat=true", "prompts.system=Be short."),
        ("generate.samples=2", "generate.temperature=0.7", "star.carry_over=1"),
        ("star.reject_hint_leaks=true", "star.require_valid_steps=true"),
        ("train.max_length=20", "generate.max_tokens=4"),  # of the model's tokens, not of bytes
        ("star.start_iteration=2", "star.start_from=nowhere", "evaluate.test=true"),
    ],
)
def test_recipes_of_all_kinds_are_rehearsed(elsewhere, overrides):
    word_problems(elsewhere)
    metrics, kept = rehearsal.scripted(opened(*overrides))
    assert kept.ok and metrics[-1].iteration == 2 and metrics[-1].examples > 0
    assert left() == []


def test_the_demos_own_task_is_rehearsed():
    metrics, kept = rehearsal.scripted(sums())
    assert kept.ok and metrics[1].valid_steps["direct"].valid == 3


def test_choices_are_rehearsed(elsewhere):
    rows = [
        {"question": f"Which is {i}?", "options": [f"x{i}", f"{i}", f"y{i}"], "label": "B",
         "rationale": f"Only the second one says {i}."}
        for i in range(30)
    ]  # fmt: skip
    (elsewhere / "d.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    init_task(elsewhere / "d.jsonl", elsewhere / "task.yaml", model="org/name")
    metrics, kept = rehearsal.scripted(opened())
    assert kept.ok and metrics[1].solved >= 3
    assert "few-shot" in wrong(opened())  # all three examples have the answer B


def test_a_form_that_is_not_read_back_cannot_run(elsewhere, monkeypatch):
    word_problems(elsewhere)
    at = opened()
    monkeypatch.setattr(type(at.task), "equal", lambda self, read, gold: False)
    monkeypatch.setattr(type(at.task), "_check_worked", lambda self: None)
    monkeypatch.setattr("star_mlx.prompts._misread", lambda task, shot: None)
    with pytest.raises(TaskError, match="a right completion as the examples show it is not kept"):
        rehearsal.scripted(at)
    assert left() == []


def test_right_completions_that_a_filter_refuses_are_found(elsewhere):
    word_problems(elsewhere, rationale="As in parentheses, so.")
    _, kept = rehearsal.scripted(opened("star.reject_hint_leaks=true", "prompts.k=0"))
    assert not kept.ok and "3 of 6 right completions" in kept.text
    assert "the first hint leak" in kept.text


def test_the_benchmark_with_a_file_of_sums_is_rehearsed(elsewhere):
    bench = runpy.run_path(str(BENCHMARKS / "own_sums.py"))
    bench["write"](elsewhere / "sums.csv", 60)
    init_task(elsewhere / "sums.csv", elsewhere / "task.yaml", model="tiny")
    at = opened(*bench["FORM"])
    asked = [at.task.ask(problem.question) for problem in (*at.problems, *at.dev)]
    assert len({*asked}) == len(asked) == 59  # one is the example
    assert all(text.startswith("Input:\n") and text.endswith("\nTarget:\n") for text in asked)
    metrics, kept = rehearsal.scripted(at)
    assert kept.ok and metrics[2].examples > 0 and wrong(at) == []


# --------------------------------------------------------------------------- the checks


def test_a_good_recipe_has_nothing_to_look_at(elsewhere):
    word_problems(elsewhere, 200)
    assert wrong(opened()) == []
    assert wrong(sums(model="tiny")) == []


def test_rows_and_prompts_that_are_too_long_are_counted(elsewhere):
    at = sums("train.max_length=80", model="tiny")
    lengths = [len(at.prompts.task.ask(p.question)) for p in at.problems]
    [context, rows] = found(at, "too long")
    counted = at.count([at.task.ask(p.question) for p in at.problems])
    mean = plan(at).lengths.completion
    long = sum(n + mean + 1 > 80 for n in counted)
    assert 0 <= long < len(lengths) and context.ok
    assert rows.text.startswith(f"{long or 'none'} of 60 training rows exceed train.max_length=80")
    [_, rows] = found(sums("train.max_length=30", model="tiny"), "too long")
    assert not rows.ok and rows.text.startswith("60 of 60 training rows")


def test_prompts_that_fill_the_context_are_found(elsewhere):
    word_problems(elsewhere, question="long " * 3000 + "{}")
    at = opened("prompts.k=0", "task.options.dev=1", model="tiny")
    [context, _] = found(at, "too long")
    assert not context.ok
    assert context.text.startswith(
        "40 of 40 prompts reach the model's context of 2048: a run stops"
    )


def test_completions_that_would_be_cut_off_are_counted(elsewhere):
    word_problems(elsewhere)
    [cut] = found(opened("generate.max_tokens=5"), "cut off")
    assert not cut.ok and "37 of 37 rationales of the data are longer than" in cut.text
    assert "(estimated from characters: the model is not on this machine)" in cut.text
    word_problems(
        elsewhere, rationale="First there is one thing.\n\nThen there is another, as said."
    )
    [cut] = found(
        opened("prompts.file=null", "prompts.k=0", r'task.options.stop=["\n\n"]'), "cut off"
    )
    assert cut.text.startswith("40 of 40 rationales of the data contain '\\n\\n', which ends a")


def test_answers_that_can_never_be_right_and_hints_that_are_none(elsewhere, monkeypatch):
    word_problems(elsewhere)
    at = opened()
    monkeypatch.setattr(type(at.task), "equal", lambda self, a, b: a == b != "13")
    monkeypatch.setattr(type(at.task), "ask_hinted", lambda self, q, a: self.ask(q))
    [unreadable], [hint] = found(at, "unreadable"), found(at, "hint")
    assert unreadable.text.startswith("1 of 37 right answers cannot be read back, the first: '13'")
    assert not hint.ok and "29 of 29 prompts with hint do not show it" in hint.text


def test_examples_of_the_dev_problems_are_found(elsewhere):
    word_problems(elsewhere)
    dev = opened().dev[0]
    (elsewhere / "p.yaml").write_text(
        f"- {{question: '{dev.question.text}', rationale: So., answer: '{dev.answer}'}}\n"
    )
    [leak] = found(opened("prompts.k=null", "prompts.file=p.yaml"), "few-shot")
    assert leak.text == "1 of 1 examples are dev problems: put others there"


def test_too_few_steps_and_too_small_a_disk_are_found(elsewhere, monkeypatch):
    word_problems(elsewhere)
    assert wrong(opened("train.batch_size=80")) == ["steps"]
    monkeypatch.setattr("shutil.disk_usage", lambda place: type("Usage", (), {"free": 1000})())
    assert wrong(opened()) == ["disk"]


def test_data_that_is_not_here_is_an_error():
    with pytest.raises(TaskError, match="gsm8k is not on this machine: give --data"):
        rehearsal.rehearse(loading.load(task="gsm8k", model="org/name"), Path("runs"))
    with pytest.raises(ModelError):
        rehearsal.rehearse(
            loading.load(task="arithmetic", overrides=SUMS, model="./no"), Path("runs")
        )


# --------------------------------------------------------------------------- the model


def test_a_model_that_is_right_is_trained_on_its_own_completions():
    at = sums()
    gold = {at.task.ask(p.question): p for p in at.problems}

    def reply(asked):
        problem = gold[asked.prompt]
        return f"{problem.rationale}\n{problem.answer}"

    done = tryout(at, ScriptedEngine(reply))
    assert [one.correct for one in done.tried] == [True] * 3 and len(done.losses) == 2
    assert done.trained_on == "the right completions"
    assert all(one.ok for one in done.findings) and left() == []


def test_a_model_that_never_ends_is_found():
    done = tryout(sums("generate.max_tokens=30"), ScriptedEngine(lambda asked: "x" * 100))
    assert [one.hinted for one in done.tried] == [False] * 3 + [True] * 3
    assert {(one.finish, one.answer) for one in done.tried} == {("length", None)}
    assert [one.what for one in done.findings if not one.ok] == [
        "cut off", "unreadable", "never right",
    ]  # fmt: skip
    assert "6 of 6 completions of the model reached max_tokens=30" in done.findings[0].text
    assert done.trained_on == "the examples, as no completion was kept"


def test_rows_that_are_all_too_long_are_no_error(elsewhere):
    done = tryout(sums("train.max_length=9"), ScriptedEngine(lambda asked: "7"))
    assert done.losses == () and left() == []
    assert done.findings[-1].text == "no row fits into train.max_length=9"
    assert not done.findings[-1].ok


# --------------------------------------------------------------------------- the command


def called(capsys, *arguments):
    with pytest.raises(SystemExit) as ended:
        main([*map(str, arguments)])
    said = capsys.readouterr()
    return ended.value.code or 0, said.out, said.err


def test_the_command_says_what_it_found_and_keeps_nothing(capsys, elsewhere):
    word_problems(elsewhere, question="\x1b[2J {}?")
    before = sorted(os.listdir())
    given = ["loop", "--recipe", "task.yaml", "--smoke", "--set", "train.batch_size=80"]
    code, out, err = called(capsys, *given)
    assert (code, err) == (0, "") and "\x1b" not in out
    assert "model org/name: not on this machine, so it was not tried" in out
    assert "  look  steps: even if every problem is kept" in out and "1 of 8 to look at" in out
    code, out, _ = called(capsys, *given, "--json")
    values = json.loads(out)
    assert (code, values["ok"], values["model"]) == (0, False, None)
    assert [f["what"] for f in values["findings"] if not f["ok"]] == ["steps"]
    assert sorted(os.listdir()) == before and left() == []


def test_a_recipe_that_cannot_run_is_refused(capsys, elsewhere):
    word_problems(elsewhere)
    (elsewhere / "d.jsonl").unlink()
    code, out, err = called(capsys, "loop", "--recipe", "task.yaml", "--smoke")
    assert (code, out) == (2, "") and err.startswith("star-mlx: error: ") and "d.jsonl" in err
    assert called(capsys, "loop", "--task", "arithmetic", "--smoke", "--dry-run")[0] == 2


@pytest.mark.slow
def test_the_embedded_base_is_tried(capsys):
    overrides = [part for text in SUMS for part in ("--set", text)]
    code, out, _ = called(capsys, "loop", "--task", "arithmetic", *overrides, "--smoke", "--json")
    values = json.loads(out)
    assert code == 0 and values["ok"] is True and len(values["model"]["losses"]) == 2
    assert values["model"]["trained_on"] == "the right completions"
    assert left() == []
