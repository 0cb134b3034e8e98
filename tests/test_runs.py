"""The list of runs: how far each is, how good, and what is said of a damaged one; a question to ask
a run's model."""

from __future__ import annotations

import json
import os
import shlex
import shutil
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from star_mlx.cli import main
from star_mlx.engine.scripted import ScriptedEngine
from star_mlx.errors import RunError
from star_mlx.measure import run_problems
from star_mlx.progress.runs import listed
from star_mlx.recipe.loading import load
from star_mlx.run import baseline, loop
from star_mlx.store import names, writing
from tests.scripts import learner
from tests.test_loop import recipe

STORED = Path(__file__).parent / "data/run-0.1"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with a finished run, a stopped one and a baseline, made in this order."""
    folder = tmp_path_factory.mktemp("made") / "runs"

    def stop_early(event):
        if getattr(event, "phase", "") == "train" and event.iteration == 2:
            raise KeyboardInterrupt

    loop.run(recipe(), folder / "z-done", lambda e: None, engine=ScriptedEngine(learner))
    with pytest.raises(KeyboardInterrupt):
        loop.run(recipe(), folder / "a-stopped", stop_early, engine=ScriptedEngine(learner))
    kind = baseline.recipe(recipe(), "few-shot", run=None, steps=None)
    loop.run(kind, folder / "base", lambda e: None, engine=ScriptedEngine(learner))
    (folder / "no run").mkdir()
    (folder / "notes.txt").write_text("mine")
    return folder


@pytest.fixture
def star(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")

    def run(*arguments):
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return ended.value.code, out, err

    return run


def test_a_list_has_every_run_the_latest_last(made):
    runs = listed(made)
    assert [run.path.name for run in runs] == ["z-done", "a-stopped", "base"]
    done, stopped, base = runs
    assert (done.state, done.done, done.planned, done.best) == ("finished", 3, 3, 1)
    assert (done.dev.n, done.dev.correct, done.task, done.model) == (20, 20, "arithmetic", "tiny")
    assert (stopped.state, stopped.done, stopped.planned) == ("stopped", 1, 3)
    assert (base.state, base.baseline, base.done, base.planned) == (
        "finished", "few-shot", None, None,
    )  # fmt: skip
    assert base.dev.n == 20 and base.best == 0
    assert all(datetime.now(timezone.utc) - run.when < timedelta(minutes=5) for run in runs)


def test_a_run_that_is_driven_is_running(tmp_path):
    seen = []

    def look(event):
        if getattr(event, "phase", "") == "train":
            [run] = listed(tmp_path)
            seen.append((run.state, run.done))

    loop.run(recipe(), tmp_path / "run", look, engine=ScriptedEngine(learner))
    assert ("running", 0) in seen and ("running", 2) in seen


def test_the_table_has_accuracy_with_n_and_its_interval(star, made):
    code, out, err = star("runs", made)
    assert (code, err) == (0, "") and "\x1b" not in out
    rows = [" ".join(line.split()) for line in out.splitlines()]
    assert [row.rpartition(" ")[0] for row in rows[-3:]] == [
        "z-done arithmetic tiny 3/3 finished 100.0 [84-100] 20",
        "a-stopped arithmetic tiny 1/3 stopped 100.0 [84-100] 20",
        "base arithmetic (few-shot) tiny finished 20.0 [8-42] 20",
    ]
    assert "no run" not in out and "notes" not in out


def test_a_narrow_table_leaves_the_model_out(star, made, monkeypatch):
    monkeypatch.setenv("COLUMNS", "76")
    _, out, _ = star("runs", made)
    assert "tiny" not in out and all(len(line) <= 76 for line in out.splitlines())
    assert "100.0 [84-100]" in out


def test_the_list_as_json(star, made):
    found = json.loads(star("runs", made, "--json")[1])
    assert [run["state"] for run in found] == ["finished", "stopped", "finished"]
    assert found[0]["run"] == str(made / "z-done") and found[0]["dev"]["n"] == 20
    assert found[1]["iterations"] == 1 and found[1]["planned"] == 3


def test_damage_is_one_cell_and_the_others_are_listed(star, made, tmp_path):
    runs = shutil.copytree(made, tmp_path / "runs")
    (runs / "z-done" / names.METRICS).write_bytes(b"{\n")
    (runs / "a-stopped" / names.RECIPE).unlink()
    (runs / "base\x1b[31m").mkdir()
    (runs / "base\x1b[31m" / names.RECIPE).write_text("[")
    code, out, err = star("runs", runs)
    assert (code, err) == (0, "") and "\x1b" not in out
    assert out.count("damaged") >= 3 and "few-shot" in out
    found = {run["run"]: run for run in json.loads(star("runs", runs, "--json")[1])}
    fault = found[str(runs / "z-done")]["fault"]
    assert "metrics.jsonl, line 1 is damaged" in fault and "\n" not in fault
    assert "it has no recipe.yaml" in found[str(runs / "a-stopped")]["fault"]


def test_runs_of_earlier_versions_are_listed():
    by_name = {run.path.name: run for run in listed(STORED)}
    assert {name: (run.state, run.done, run.planned) for name, run in by_name.items()} == {
        "scripted": ("stopped", 1, 3), "tiny": ("finished", 2, 2),
    }  # fmt: skip
    assert all(run.dev and run.task == "arithmetic" for run in by_name.values())


def test_no_runs_is_said_with_how_to_make_one(star, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert star("runs") == (
        0, "there are no runs in runs: star-mlx loop --task arithmetic makes one\n", "",
    )  # fmt: skip
    assert json.loads(star("runs", "--json")[1]) == []
    code, _, err = star("runs", "nowhere")
    assert code == 2 and "nowhere cannot be read: No such file or directory" in err
    with pytest.raises(RunError):
        listed(tmp_path / "none")


# --------------------------------------------------------------------------- a question to ask


def test_the_command_that_asks_a_run_can_be_pasted(star, made, tmp_path, monkeypatch):
    from star_mlx import engine as engines

    run = shutil.copytree(made / "z-done", tmp_path / "a run")
    command = run_problems.try_command(run)
    words = shlex.split(command)
    assert words[:3] == ["star-mlx", "try", str(run)] and len(words) == 4
    assert words[3].count("+") == 1
    monkeypatch.setattr(engines, "open_base", lambda recipe: ScriptedEngine(learner))
    code, out, _ = star(*words[1:])
    assert code == 0 and words[3] in out and out.endswith(", right\n")


CHOICES = [
    {
        "q": f"What is number {n}?\n" if n % 2 else f"What of {n}?",
        "a": "B",
        "c": {"label": ["A", "B"], "text": [f"a {n}", f"b's {n}"]},
    }
    for n in range(40)
]


def asked(tmp_path, rows, **options):
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    values = {"path": str(file), "dev": 10, **options}
    settings = {"task.options": values, "prompts.k": 0, "star.iterations": 1}
    values = {**load(None, task="jsonl", settings=settings).model_dump(mode="json")}
    with writing.opened(tmp_path / "run", values):
        pass
    return run_problems.dev_question(tmp_path / "run")


def test_a_question_with_choices_is_asked_with_them(tmp_path):
    fields = {"question": "q", "answer": "a", "choices": "c"}
    found = asked(tmp_path, CHOICES, fields=fields)
    number = found.split()[2].rstrip("?")
    assert found == f"What of {number}? (A) a {number} (B) b's {number}"


@pytest.mark.parametrize("text", ["{n}\nof two lines", "{n} \x1b[31m"])
def test_a_question_that_cannot_be_typed_is_not_proposed(tmp_path, text):
    rows = [{"q": text.replace("{n}", str(n)), "a": "1"} for n in range(30)]
    fields = {"question": "q", "answer": "a"}
    assert asked(tmp_path, rows, fields=fields) is None
    assert run_problems.try_command(tmp_path / "run").endswith(" QUESTION")


def test_without_the_data_there_is_no_question(tmp_path):
    rows = [{"q": f"{n}?", "a": "1"} for n in range(30)]
    assert asked(tmp_path, rows, fields={"question": "q", "answer": "a"})
    (tmp_path / "rows.jsonl").unlink()
    assert run_problems.dev_question(tmp_path / "run") is None
    assert os.listdir(tmp_path) == ["run"]
