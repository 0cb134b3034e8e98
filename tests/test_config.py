"""The user's config file: what it sets, what goes before it, and what is said of a wrong one."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import yaml

from star_mlx import engine as engines
from star_mlx.cli import cli, config, main
from star_mlx.engine.scripted import ScriptedEngine
from star_mlx.recipe.loading import load, shipped
from tests.scripts import learner
from tests.test_loop import SMALL

SET = [part for value in SMALL for part in ("--set", value)]


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.delenv("STAR_MLX_CONFIG")
    monkeypatch.delenv("STAR_MLX_TRACK", raising=False)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "home"


@pytest.fixture
def write(home):
    def write(text, file=None):
        file = file or home / ".config/star-mlx/config.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    return write


@pytest.fixture
def model(star):
    """The base of a dry run."""

    def model(*arguments):
        few = ("--set", "task.options.train=400", "--set", "task.options.held_out=20")
        out = star("loop", *arguments, *few, "--dry-run", "--json")
        return json.loads(out)["recipe"]["model"]

    return model


# --------------------------------------------------------------------------- its place


def test_its_place(home, monkeypatch, tmp_path):
    assert config.place() == home / ".config/star-mlx/config.yaml"
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))
    assert config.place() == tmp_path / "xdg/star-mlx/config.yaml"
    monkeypatch.setenv("XDG_CONFIG_HOME", "not/absolute")
    assert config.place() == home / ".config/star-mlx/config.yaml"
    monkeypatch.setenv("STAR_MLX_CONFIG", "~/other.yaml")
    assert config.place() == home / "other.yaml"
    monkeypatch.setenv("STAR_MLX_CONFIG", "")
    assert config.place() is None and config.read().values == config.Config()


def test_without_a_file_nothing_is_set(home):
    found = config.read()
    assert (found.runs, found.model, found.track) == (Path("runs"), [], [])
    assert not home.exists()


def test_an_empty_file_sets_nothing(write):
    write("# nothing yet\n")
    assert config.read().values == config.Config()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("modle: x\n", "line 1: unknown key modle: did you mean model?"),
        ("runs: x\nmodel: 3\n", "line 2: model should be text, but is 3"),
        ("runs: ''\n", "line 1: runs should not be empty, but is ''"),
        ("track: 3\n", "line 1: track should be text or a list, such as [a, b], but is 3"),
        ("- model\n", "the config file is a mapping of keys to values, such as `model: tiny`"),
        ("model: [\n", "this is no valid YAML"),
        ("model: a\nmodel: b\n", "model is given twice"),
    ],
)
def test_a_wrong_file_is_one_line_that_names_it(star, write, text, message):
    file = write(text)
    for command in (["runs"], ["loop", "--task", "jsonl", "--dry-run"], ["settings"]):
        err = star(*command, code=2)
        assert err.startswith(f"star-mlx: error: {file}") and message in err
        assert err.count("\n") == 1


def test_a_file_that_is_named_must_exist(star, monkeypatch):
    monkeypatch.setenv("STAR_MLX_CONFIG", "none.yaml")
    assert "none.yaml cannot be read: No such file or directory" in star("runs", code=2)


# --------------------------------------------------------------------------- the base


def test_every_shipped_recipe_names_its_base():
    """So that no default of a user changes it."""
    for name in shipped():
        assert load(name, below=[config.layers.Layer("x", {"model": "other"})]) == load(name)


@pytest.mark.slow
def test_the_base_of_what_names_none_is_the_files(star, write, model, home):
    Path("mine.yaml").write_text("task: arithmetic\n")
    Path("named.yaml").write_text("task: arithmetic\nmodel: org/named\n")
    Path("extends.yaml").write_text("extends: named.yaml\nseed: 3\n")
    assert model("--recipe", "mine.yaml")["path"] == "tiny"
    write("model: owner/name@v1\n")
    mine = model("--recipe", "mine.yaml")
    assert (mine["path"], mine["revision"]) == ("owner/name", "v1")
    assert model("--recipe", "mine.yaml", "--model", "org/other") == {
        "path": "org/other", "revision": None, "trust_remote_code": False,
        "products": "float32",
    }  # fmt: skip
    by_set = model("--recipe", "mine.yaml", "--set", "model.path=org/other")
    assert by_set["path"] == "org/other"
    for recipe in ("named.yaml", "extends.yaml"):
        assert model("--recipe", recipe)["path"] == "org/named"
    assert model("--task", "arithmetic")["path"] == "tiny"
    write("model: ~/models/a\n")
    assert str(home / "models/a") in star("loop", "--recipe", "mine.yaml", "--dry-run", code=2)


def test_a_run_that_is_resumed_keeps_its_base(star, write, monkeypatch):
    monkeypatch.setattr(engines, "open_base", lambda recipe: ScriptedEngine(learner))
    Path("mine.yaml").write_text("task: arithmetic\n")
    mine = ["--recipe", "mine.yaml", *SET]

    def base(run):
        return yaml.safe_load(Path(run, "recipe.yaml").read_text())["model"]["path"]

    star("loop", *mine, "--run", "old", "--plain")
    write("model: org/other\n")
    for again in (mine, []):
        assert "resumed after iteration 3" in star("loop", *again, "--run", "old", "--plain")
    star("loop", *mine, "--run", "new", "--plain")
    assert (base("old"), base("new")) == ("tiny", "org/other")
    write("model: org/third\n")
    assert "resumed after iteration 3" in star("loop", *mine, "--run", "new", "--plain")
    assert base("new") == "org/other"


def test_python_does_not_read_the_file(write):
    write("model: other\nruns: elsewhere\n")
    from star_mlx import api

    assert load(None, task="jsonl").model.path == "tiny"
    assert api.new_folder(api.load_task("arithmetic")) == Path("runs/arithmetic-001")


# --------------------------------------------------------------------------- runs, trackers


def test_new_runs_are_made_in_its_folder(star, write, home, monkeypatch):
    monkeypatch.setattr(engines, "open_base", lambda recipe: ScriptedEngine(learner))
    write("runs: ~/my runs\n")
    out = star("loop", "--task", "arithmetic", *SET, "--plain")
    assert out.startswith(f"run {home}/my runs/arithmetic-001: ")
    star("baseline", "--task", "arithmetic", *SET, "--kind", "zero-shot", "--plain")
    assert sorted(os.listdir(home / "my runs")) == ["arithmetic-001", "arithmetic-zero-shot-001"]
    assert len(json.loads(star("runs", "--json"))) == 2 and os.listdir() == []


def trackers(*arguments):
    """The value of --track of a command line."""
    return cli.commands["loop"].make_context("loop", list(arguments)).params["track"]


def test_trackers_are_those_of_the_option_then_the_environment_then_the_file(write, monkeypatch):
    assert trackers() == ()
    write("track: [tensorboard, mlflow]\n")
    assert trackers() == ("tensorboard", "mlflow")
    monkeypatch.setenv("STAR_MLX_TRACK", "mlflow")
    assert trackers() == ("mlflow",)
    assert trackers("--track", "tensorboard") == ("tensorboard",)
    assert trackers("--track", "none") == ()
    write("track: none\n")
    monkeypatch.delenv("STAR_MLX_TRACK")
    assert trackers() == ()


def test_a_tracker_that_does_not_exist_is_laid_to_the_file(star, write):
    file = write("track: wandbb\n")
    err = star("loop", "--task", "arithmetic", "--dry-run", code=2)
    assert err.startswith(f"star-mlx: error: {file}: --track wandbb: there is no such tracker")


# --------------------------------------------------------------------------- where it is


def test_settings_and_doctor_say_where_it_is_and_what_it_sets(star, write, monkeypatch):
    from star_mlx.engine import doctor

    monkeypatch.setattr(doctor, "examine", list)
    assert "config.yaml: no such file" in star("settings")
    file = write("model: a/b\ntrack: [mlflow]\n")
    said = f"{file}: model: a/b, track: [mlflow]"
    assert star("settings").endswith(f"Config file: {said}\n")
    assert said in star("doctor")
    [check] = json.loads(star("doctor", "--json"))
    assert check == {"name": "config", "ok": None, "value": said, "advice": ""}
    write("model: 3\n")
    with pytest.raises(SystemExit) as ended:
        main(["doctor"])
    assert ended.value.code == 1


def test_the_page_shows_a_file_that_can_be_read(write):
    page = (Path(__file__).parent.parent / "docs/config.md").read_text(encoding="utf-8")
    text = page.split("```yaml\n")[1].split("```")[0]
    file = write(text)
    assert set(yaml.safe_load(text)) == set(config.Config.model_fields)
    assert config.read().place == file
