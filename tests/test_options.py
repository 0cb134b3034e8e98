"""Options that are short for a setting, the search for settings, and completion in a shell."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys

import click
import pytest
from click.shell_completion import ShellComplete

from star_mlx.cli import cli, setting_options
from star_mlx.cli.setting_text import settings
from star_mlx.formatting import program
from star_mlx.recipe.loading import load, shipped
from star_mlx.store import names


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    return tmp_path


@pytest.fixture
def recipe(star):
    """The recipe of a dry run of the loop."""

    def recipe(*arguments):
        few = ("--set", "task.options.train=400", "--set", "task.options.held_out=20")
        words = ["--task", "arithmetic", *few, *arguments, "--dry-run", "--json"]
        return json.loads(star("loop", *words))["recipe"]

    return recipe


# --------------------------------------------------------------------------- options


@pytest.mark.parametrize(
    ("words", "override"),
    [
        (["--iterations", "3"], "star.iterations=3"),
        (["--problems", "30"], "star.problems=30"),
        (["--problems", "null"], "star.problems=null"),
        (["--no-rationalize"], "star.rationalize=false"),
        (["--rationalize"], "star.rationalize=true"),
        (["--epochs", "2"], "star.schedule={kind: epochs, base: 2, add_epochs: 0}"),
        (["--lr", "1e-3"], "train.learning_rate=1e-3"),
        (["--learning-rate=0.002"], "train.learning_rate=0.002"),
        (["--batch-size", "5"], "train.batch_size=5"),
        (["--rank", "7"], "train.rank=7"),
        (["--max-tokens", "77"], "generate.max_tokens=77"),
        (["--temperature", "0.5"], "generate.temperature=0.5"),
        (["--dev", "50"], "evaluate.dev=50"),
        (["--seed", "5"], "seed=5"),
    ],
)
def test_an_option_is_a_setting(recipe, words, override):
    assert recipe(*words) == recipe("--set", override)
    assert recipe(*words) != recipe() or words == ["--rationalize"]


def test_no_option_leaves_the_recipe_as_it_is(recipe):
    assert recipe()["star"] == load("arithmetic").model_dump(mode="json")["star"]


def test_every_option_is_of_a_setting_and_has_its_words(star):
    meanings = {one.key: one.meaning for one in settings()}
    for short in setting_options.LOOP:
        assert short is setting_options.EPOCHS or short.key in meanings
    out = " ".join(star("train", "--help").split())
    assert "--lr, --learning-rate N Peak learning rate of Adam [train.learning_rate]." in out
    out = " ".join(star("loop", "--help-all").split())
    meant = "Passes over the examples in each iteration [star.schedule={kind: epochs, base: N,"
    assert meant in out


def test_options_of_other_commands_are_settings_too(star):
    context = cli.commands["generate"].make_context(
        "generate", ["--max-samples", "3", "--batch-size", "4", "--k", "2", "--out", "x"]
    )
    found = setting_options.taken(cli.commands["generate"], dict(context.params))
    assert found == {
        "--problems 3": "star.problems=3",
        "--k 2": "generate.samples=2",
        "--batch-size 4": "generate.batch_size=4",
    }
    err = star("baseline", "--task", "arithmetic", "--kind", "sft", "--rank", "0", code=2)
    assert "--rank 0: train.rank should be at least 1, but is 0" in err


# --------------------------------------------------------------------------- settings


def test_all_settings_are_listed_by_their_group(star):
    out = star("settings")
    for one in settings():
        assert f"\n  {one.key} " in out
    assert out.startswith("task:\n  task.name ") and "\n\nstar.schedule:\n" in out
    assert all(len(line) <= 80 for line in out.splitlines())


@pytest.mark.parametrize(
    ("word", "keys"),
    [
        ("lr", ["train.learning_rate"]),
        ("--lr", ["train.learning_rate"]),
        ("learning-rate", ["train.learning_rate"]),
        ("rank", ["train.rank", "train.scale"]),
        ("train.rank", ["train.rank"]),
        ("warm-up", ["train.warmup", "train.decay"]),
        ("temperature", ["generate.temperature", "evaluate.temperature"]),
        ("mastered", ["task.options.grow_to", "task.options.mastered"]),
        ("DoRA", None),
    ],
)
def test_a_word_is_searched_in_names_options_and_meanings(star, word, keys):
    if keys is None:
        assert f"no setting has '{word}'" in star("settings", word, code=2)
        return
    found = json.loads(star("settings", word, "--json"))
    assert [one["key"] for one in found] == keys
    assert all(one.keys() == {"key", "type", "default", "meaning", "option"} for one in found)


def test_a_group_is_its_settings_alone(star):
    found = [one["key"] for one in json.loads(star("settings", "star.schedule", "--json"))]
    assert found and all(key.startswith("star.schedule.") for key in found)
    rows = {one["key"]: one for one in json.loads(star("settings", "train", "--json"))}
    assert all(key.startswith("train.") for key in rows) and len(rows) == 14
    assert rows["train.learning_rate"]["option"] == "--lr, --learning-rate"
    assert rows["train.rank"]["type"] == "int >= 1"


# --------------------------------------------------------------------------- completion


def completed(*words):
    """What a shell offers for the last of some words."""
    *before, last = words
    found = ShellComplete(cli, {}, "star-mlx", "_STAR_MLX_COMPLETE").get_completions(before, last)
    return [item.value for item in found]


def test_completion_of_runs_tasks_recipes_and_settings(elsewhere):
    for run in ("runs/arithmetic-001", "runs/gsm8k-001", "other"):
        (elsewhere / run).mkdir(parents=True)
        (elsewhere / run / names.RECIPE).touch()
    (elsewhere / "runs/none").mkdir()
    assert completed("show", "") == ["other", "runs/arithmetic-001", "runs/gsm8k-001"]
    assert completed("show", "runs/g") == ["runs/gsm8k-001"]
    assert completed("loop", "--run", "runs/a") == ["runs/arithmetic-001"]
    assert completed("export", "o") == ["other"]
    assert completed("loop", "--task", "a") == ["arithmetic"]
    assert completed("loop", "--recipe", "paper-") == [n for n in shipped() if n[:6] == "paper-"]
    assert completed("loop", "--set", "train.w") == ["train.warmup=", "train.weight_decay="]
    assert completed("settings", "star.s") == [
        "star.schedule", "star.schedule.add", "star.schedule.add_epochs", "star.schedule.base",
        "star.schedule.factor", "star.schedule.kind", "star.schedule.start", "star.start_from",
        "star.start_iteration",
    ]  # fmt: skip
    assert completed("loop", "--iter") == ["--iterations"]
    assert completed("ev") == ["evaluate"]


def test_every_command_that_takes_a_run_completes_it():
    for command in cli.commands.values():
        for param in command.params:
            if param.name in ("run", "runs") and isinstance(param, click.Argument):
                assert param._custom_shell_complete or command.name == "push", command.name


@pytest.mark.slow
@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_of_a_shell_is_printed(shell):
    code = "import sys; from star_mlx.cli import main; main([])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True, text=True, check=False,
        env={"_STAR_MLX_COMPLETE": f"{shell}_source", "PATH": "/usr/bin:/bin",
             "PYTHONPATH": ":".join(sys.path)},
    )  # fmt: skip
    assert done.returncode == 0 or "bash" in done.stderr, done.stderr
    assert "_STAR_MLX_COMPLETE" in done.stdout


# --------------------------------------------------------------------------- the program's name


def test_commands_to_run_begin_as_the_user_ran_this_one(elsewhere, monkeypatch):
    """So that they work also if star-mlx is not on the PATH, as after make demo."""
    script = elsewhere / ".venv/bin/star-mlx"
    script.parent.mkdir(parents=True)
    script.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(elsewhere / "empty"))
    for given in (".venv/bin/star-mlx", str(script)):
        monkeypatch.setattr(sys, "argv", [given, "loop"])
        assert program() == ".venv/bin/star-mlx"
    monkeypatch.setenv("PATH", str(script.parent))
    assert program() == "star-mlx"
    monkeypatch.setenv("PATH", "elsewhere")
    monkeypatch.chdir(script.parent)
    assert program() == "./star-mlx"
    (elsewhere / "a folder").mkdir()
    monkeypatch.chdir(elsewhere / "a folder")
    monkeypatch.setattr(sys, "argv", [str(script)])
    assert program() == shlex.quote(str(script))


def test_a_module_is_run_as_one(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/x/star_mlx/__main__.py", "loop"])
    monkeypatch.setattr(sys, "executable", "/x/bin/python3")
    assert program() == "/x/bin/python3 -m star_mlx"


@pytest.mark.parametrize("argv", [[], [""], ["-c"], ["/usr/bin/pytest"]])
def test_in_other_programs_it_has_its_name(monkeypatch, argv):
    monkeypatch.setattr(sys, "argv", argv)
    assert program() == "star-mlx"
