"""The command line: one clear line and exit code 2 for what the user can mend, and no more."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import click
import pytest
import yaml

from star_mlx import engine as engines
from star_mlx.cli import cli, main
from star_mlx.cli.setting_text import settings
from star_mlx.engine.scripted import ScriptedEngine
from star_mlx.recipe import layers, loading
from tests.scripts import hopeless, learner
from tests.test_loop import SMALL

LONG = "a" * 300  # no file system has such names
SET = [part for value in SMALL for part in ("--set", value)]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def star(capsys):
    """Runs the command line: exit code, standard output, standard error."""

    def run(*arguments):
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return ended.value.code, out, err

    return run


@pytest.fixture
def scripted(monkeypatch):
    monkeypatch.setattr(engines, "open_base", lambda recipe: ScriptedEngine(learner))


@pytest.fixture
def finished(star, scripted):
    code, _, err = star("loop", "--task", "arithmetic", *SET, "--run", "here", "--json")
    assert (code, err) == (0, "")
    return "here"


# --------------------------------------------------------------------------- help


def test_importing_the_command_line_imports_nothing_heavy():
    code = "import sys, star_mlx.cli; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"rich", "pydantic", "yaml", "mlx", "mlx.core", "mlx_lm", "numpy", "transformers"}
    assert not heavy & set(done.stdout.split())


def test_help_names_every_command_and_help_of_a_command_every_option(star):
    for arguments in (["--help"], []):
        code, out, _ = star(*arguments)
        assert code == 0 and all(f"  {name} " in out for name in cli.commands)
    for name, command in cli.commands.items():
        code, out, _ = star(name, "--help-all" if name == "loop" else "--help")
        out = out.replace("[no-]", "")
        shown = [p for p in command.params if isinstance(p, click.Option) and not p.hidden]
        assert code == 0 and all(p.opts[0] in out for p in shown)


def test_help_has_every_command_in_a_group_and_each_on_one_line(star, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    _, out, _ = star("--help")
    assert "..." not in out.partition("Start:")[2] and all(len(s) <= 80 for s in out.splitlines())
    for name, command in cli.commands.items():
        summary = command.get_short_help_str(limit=200)
        assert f"  {name} " in out and f" {summary}\n" in out
    titles = [line for line in out.splitlines() if line and line[0] != " "]
    assert titles == [
        "Usage: star-mlx [OPTIONS] [COMMAND] [ARGS]...", "Options:", "Start:", "Look:", "Compare:",
        "Share:", "One step at a time:",
    ]  # fmt: skip


def test_help_of_loop_fits_on_a_screen(star, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    _, out, _ = star("loop", "--help")
    assert len(out.splitlines()) <= 30 and all(len(line) <= 80 for line in out.splitlines())
    assert "  --lr, --learning-rate N  Peak learning rate of Adam.\n" in out


def test_all_help_of_loop_lists_every_setting_with_type_default_and_meaning(star):
    _, out, _ = star("loop", "--help-all")
    told = {one.key: one.words() for one in settings()}
    for path in layers.leaves(loading.resolved(loading.load(task="mine"))):
        assert f"  {path} " in out and path in told
    probability = "number >= 0, <= 1. probability that a failure is rationalized"
    assert told["star.p_rationalization"].startswith(probability)
    assert told["star.problems"].startswith("int or null >= 1. problems sampled in each iteration")
    assert told["star.schedule.kind"].endswith("passes [default: exponential]")
    assert told["train.keys"].startswith("list of text or null. ")
    assert "Shipped recipes: arithmetic" in out


@pytest.mark.parametrize("option", ["--version", "-V"])
def test_version(star, option):
    code, out, _ = star(option)
    assert code == 0 and out.startswith("star-mlx ")


@pytest.mark.parametrize("arguments", [["-v", "show", "nope"], ["show", "nope", "--verbose"]])
def test_verbose_shows_where_an_error_arose(star, arguments):
    code, _, err = star(*arguments)
    assert code == 2 and err.startswith("Traceback") and "reading.py" in err
    assert err.endswith("star-mlx: error: nope is not a run folder: there is no such folder\n")


def test_tasks(star):
    code, out, _ = star("tasks")
    assert code == 0 and out.startswith("arithmetic") and "sums of two numbers" in out


# --------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["loop"], "no task: give --task NAME or --recipe FILE"),
        (["loop", "--task", "arithmatic"], "unknown task 'arithmatic': did you mean arithmetic?"),
        (["loop", "--recipe", "nope"], "no recipe 'nope'"),
        (["loop", "--recipe", "bad.yaml"], "bad.yaml, line 2: this is no valid YAML"),
        (["loop", "--run", "nope"], "there is no run to resume in nope"),
        (["loop", "--task", "arithmetic", "--set", "seed=x"], "seed should be a whole number"),
        (["loop", "--task", "arithmetic", "--seed", "-1"], "--seed -1: seed should be at least 0"),
        (
            ["loop", "--task", "arithmetic", "--seed", "x"],
            "--seed x: seed should be a whole number, but is x",
        ),
        (["loop", "--task", "arithmetic", "--set", "task.options.digit=3"], "task.options.digit"),
        (["loop", "--task", "arithmetic", "--set", "task.options.digits=[5,1]"], "digits 5 to 1"),
        (["loop", "--task", "arithmetic", "--set", "prompts.file=no.yaml"], "no.yaml"),
        (["loop", "--weight-decay", "0.1"], "is a setting: give --set train.weight_decay=0.1 (see"),
        (["loop", "--top_p=0.5"], "--top_p is a setting: give --set generate.top_p=0.5"),
        (["loop", "--layers"], "--layers is a setting: give --set train.layers=VALUE"),
        (["loop", "--digits", "[1, 3]"], "give --set task.options.digits='[1, 3]'"),
        (["loop", "--weight-decy", "1"], "did you mean --set train.weight_decay=1?"),
        (["loop", "--iters", "3"], "there is no option --iters: did you mean --iterations?"),
        (["loop", "--iter", "3"], "there is no option --iter: did you mean --iterations?"),
        (["loop", "--num-train-epochs", "3"], "did you mean --epochs?"),
        (["loop", "--batch_size", "3"], "did you mean --batch-size?"),
        (["loop", "--xyzzy", "3"], "no option --xyzzy; star-mlx settings lists all settings"),
        (["show", "--jsn", "nope"], "there is no option --jsn: did you mean --json?"),
        (["show", "--rank", "nope"], "there is no option --rank (see star-mlx show --help)"),
        (["loop", "--set", "seed", "3"], "--set seed 3: write --set seed=3"),
        (["train", "x", "--set", "a", "--out", "y"], "--set a: write KEY=VALUE as one word"),
        (["watch", "x", "--interval", "soon"], "'--interval': 'soon' is not a number. (see"),
        (
            ["loop", "arithmetic"],
            "loop does not take the argument arithmetic: did you mean --task",
        ),
        (["loop", "gsm8k.yaml"], "did you mean --recipe gsm8k.yaml? (see"),
        (["loop", "paper-gsm8k"], "did you mean --recipe paper-gsm8k?"),
        (["doctor", "arithmetic"], "doctor does not take the argument arithmetic (see star-mlx"),
        (["evaluate", "x", "--run", "x"], "give either a RUN or --adapter"),
        (["evaluate", "x", "--seed", "3"], "a run has its own recipe"),
        (["evaluate", "nope"], "nope is not a run folder"),
        (["evaluate", "--run", "nope"], "nope is not a run folder"),
        (["compare"], "Missing argument 'RUN[:ITERATION]'"),
        (["xyzzy"], "there is no command xyzzy (see star-mlx --help)"),
        (["loop", "--task", "arithmetic", "--set", "star.digits=5"], "mean task.options.digits?"),
        (
            ["loop", "--task", "arithmetic", "--set", "task.options.digits=5"],
            "task.options.digits should be a list, such as [1, 5], but is 5",
        ),
        (
            ["loop", "--task", "arithmetic", "--iterations", "3", "--set", "star.iterations=4"],
            "--iterations 3 and --set star.iterations=4 both give star.iterations: leave one of",
        ),
        (
            ["loop", "--task", "arithmetic", "--epochs", "3", "--set", "star.schedule={base: 1}"],
            "--epochs 3 and --set star.schedule={base: 1} both give star.schedule.base",
        ),
        (
            ["loop", "--task", "arithmetic", "--epochs", "0"],
            "--epochs 0: star.schedule.base",
        ),
        (["loop", "--task", "arithmetic", "--lr", "fast"], "--lr fast: train.learning_rate should"),
        (["settings", "tarin"], "no setting has 'tarin' in its name or description: did you mean "),
        (["loop", "--tusk", "arithmetic"], "there is no option --tusk: did you mean --task?"),
        (["lop"], "there is no command lop: did you mean loop?"),
        (["show", "nope"], "nope is not a run folder"),
        (["show"], "Missing argument 'RUN'"),
        (["try", "nope", "1 + 1"], "nope is not a run folder"),
        (["try", "nope", "1 + 1", "--iteration", "-1"], "there is no such folder"),
        (["loop", "--task", "arithmetic", "--run", LONG], "is too long for a file: give a shorter"),
        (["loop", "--task", "arithmetic", "--model", LONG], "the name aaaaa"),
        (["loop", "--recipe", LONG], "aaaa is too long for a file"),
        (["show", LONG], "[... 220 characters ...]"),
        (["report", LONG], "is too long for a file"),
        (["generate", "--task", "arithmetic", "--out", f"{LONG}.jsonl"], "is too long for a file"),
        (["show", "caf\udce9"], "the argument caf\\udce9 is not UTF-8: give that file or folder"),
        (["loop", "--task", "arithmetic", "--run", "\udce9"], "\\udce9 is not UTF-8"),
    ],
)
@pytest.mark.parametrize("dry", [False, True])
def test_bad_input_is_one_line_and_writes_nothing(star, elsewhere, arguments, message, dry):
    (elsewhere / "bad.yaml").write_text("task: a\nseed: ]\n")
    if dry and arguments[0] == "loop":
        arguments = [*arguments, "--dry-run"]
    code, out, err = star(*arguments)
    assert code == 2 and out == ""
    assert err.startswith("star-mlx: error: ") and message in err and err.count("\n") == 1
    assert os.listdir() == ["bad.yaml"]


def test_nothing_kept_is_one_line_too(star, monkeypatch):
    monkeypatch.setattr(engines, "open_base", lambda recipe: ScriptedEngine(hopeless))
    code, out, err = star("loop", "--task", "arithmetic", *SET, "--run", "here")
    assert code == 2 and err.startswith("star-mlx: error: iteration 1 kept no example")
    assert "iteration 0 done" in out


def test_no_more_memory_is_one_line(star, monkeypatch):
    def full(recipe):
        raise MemoryError

    monkeypatch.setattr(engines, "open_base", full)
    code, _, err = star("loop", "--task", "arithmetic", *SET, "--run", "here")
    assert code == 2 and err.startswith("star-mlx: error: this process got no more memory: ")
    assert err.count("\n") == 1


def test_a_bug_stays_a_traceback(monkeypatch):
    def broken(recipe):
        raise ZeroDivisionError

    monkeypatch.setattr(engines, "open_base", broken)
    with pytest.raises(ZeroDivisionError):
        main(["loop", "--task", "arithmetic"])


# --------------------------------------------------------------------------- loop


@pytest.mark.slow
def test_a_dry_run_prints_a_recipe_and_its_schedule_and_writes_nothing(star, elsewhere):
    arguments = [
        "loop",
        "--task",
        "arithmetic",
        "--set",
        "star.iterations=3",
        "--seed",
        "4",
        "--no-rationalize",
        "--model",
        "org/name@v1",
        "--dry-run",
        "--set",
        "star.schedule.start=40",
        "--set",
        "star.schedule.factor=1.2",
    ]
    code, out, err = star(*arguments)
    assert (code, err) == (0, "") and os.listdir() == []
    rows = "250 to 1000 rows of 1000 problems"
    assert [line.split(";")[:3] for line in out.splitlines()[-3:]] == [
        [f"# iteration {n}: {steps} steps", " peak rate 0.0005", f" {rows}"]
        for n, steps in ((1, 40), (2, 48), (3, 58))
    ]
    assert "# model: org/name, not on this machine: memory" in out
    (elsewhere / "again.yaml").write_text(out)
    again = loading.load("again.yaml")
    assert (again.seed, again.star.rationalize, again.model.revision) == (4, False, "v1")
    _, out, _ = star(*arguments, "--json", "--set", "star.schedule.kind=epochs")
    values = json.loads(out)
    assert values["recipe"]["seed"] == 4
    assert [s["epochs"] for s in values["schedule"]] == pytest.approx([1.0, 1.2, 1.4])


def test_loop_runs_and_a_second_time_says_so(star, scripted):
    code, out, err = star("loop", "--task", "arithmetic", *SET)
    assert (code, err) == (0, "") and "\x1b" not in out
    assert out.startswith("run runs/arithmetic-001: arithmetic; scripted, none; seed 0\n")
    assert "finished in" in out and "star-mlx try runs/arithmetic-001 '7 5 2 + 2 1 4';" in out
    _, out, _ = star("loop", "--task", "arithmetic", *SET)
    assert out.startswith("run runs/arithmetic-002: ")
    code, out, _ = star("loop", "--run", "runs/arithmetic-001")
    assert code == 0 and "resumed after iteration 3" in out and "generating" not in out


def test_loop_json(star, scripted):
    _, out, _ = star("loop", "--task", "arithmetic", *SET, "--json", "--plain")
    events = [json.loads(line) for line in out.splitlines()]
    assert events[0]["event"] == "run_started" and events[-1]["event"] == "run_finished"
    finished = [e["metrics"]["iteration"] for e in events if e["event"] == "iteration_finished"]
    assert finished == [0, 1, 2, 3]


def test_another_recipe_for_a_run_is_refused_with_what_differs(star, finished):
    code, _, err = star("loop", "--run", finished, "--set", "train.rank=3", "--seed", "9")
    assert code == 2 and err.count("\n") == 1
    assert re.search(r"train\.rank \d+ -> 3", err) and "seed 0 -> 9" in err


def test_an_interruption_says_how_to_go_on(star, monkeypatch):
    def interrupted(asked):
        raise KeyboardInterrupt

    monkeypatch.setattr(engines, "open_base", lambda recipe: ScriptedEngine(interrupted))
    code, _, err = star("loop", "--task", "arithmetic", *SET, "--run", "here")
    assert (code, err) == (130, "stopped; resume with: star-mlx loop --run here\n")


def test_an_interruption_before_there_is_a_run_says_only_that(star, monkeypatch):
    def interrupted(recipe):
        raise KeyboardInterrupt

    monkeypatch.setattr(engines, "open_base", interrupted)
    code, _, err = star("loop", "--task", "arithmetic")
    assert (code, err) == (130, "stopped\n") and os.listdir() == []


@pytest.mark.slow
def test_a_closed_pipe_is_no_traceback(finished):
    code = "import sys; from star_mlx.cli import main; main(sys.argv[1:])"
    child = subprocess.Popen(
        [sys.executable, "-c", code, "loop", "--help"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    child.stdout.close()
    assert child.stderr.read() == ""
    child.wait()


# --------------------------------------------------------------------------- show, try, doctor


def test_show(star, finished):
    code, out, err = star("show", finished)
    assert (code, err) == (0, "") and out.startswith("here: arithmetic, tiny, seed 0\n")
    assert "solved" in out and "[" in out
    _, out, _ = star("show", finished, "--json")
    values = json.loads(out)
    assert [m["iteration"] for m in values["metrics"]] == [0, 1, 2, 3]
    assert values["recipe"]["task"]["name"] == "arithmetic"
    assert values["recipe"] == yaml.safe_load(Path("here/recipe.yaml").read_text())


def test_try_asks_an_iteration_or_the_base(star, finished):
    code, out, _ = star("try", finished, "78+45")
    assert code == 0 and "7 8 + 4 5" in out
    assert out.endswith("iteration 3 answers 1 2 3, right\n")
    _, out, _ = star("try", finished, "78+45", "--iteration", 0)
    assert out.endswith("the base answers 7 8, wrong: it is 1 2 3\n")
    _, out, _ = star("try", finished, "78+45", "--json")
    assert json.loads(out)["answer"] == "1 2 3"


def test_try_refuses_what_cannot_be_asked(star, finished):
    assert star("try", finished, "hello")[0] == 2
    code, _, err = star("try", finished, "1+1", "--iteration", 9)
    assert code == 2 and "has no iteration 9: its last is 3" in err


@dataclass
class Check:
    name: str
    ok: bool | None
    value: str
    advice: str


@pytest.mark.parametrize(("ok", "code"), [(True, 0), (None, 0), (False, 1)])
def test_doctor(star, monkeypatch, ok, code):
    import types

    module = types.ModuleType("star_mlx.engine.doctor")
    module.examine = lambda: [Check("device", True, "cpu", ""), Check("memory", ok, "2", "buy")]
    monkeypatch.setitem(sys.modules, "star_mlx.engine.doctor", module)
    got, out, _ = star("doctor")
    assert got == code and "ok    device  cpu\n" in out and ("buy" in out) == (ok is not True)
    got, out, _ = star("doctor", "--json")
    assert got == code and json.loads(out)[1]["value"] == "2"
