"""Twelve files as people have them, each from ``init-task`` to a recipe that can be run.

The recipe of each file is made once, in a folder of its own; to try something else on all of them,
write a test that takes ``made``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from star_mlx.answers.accepted import accepted
from star_mlx.cli import cli
from star_mlx.errors import TaskError
from star_mlx.prompts import drawn
from star_mlx.recipe import loading
from star_mlx.tasks.jsonl import Jsonl, JsonlOptions
from tests.own_files import OWN_FILES, OwnFile


@dataclass
class Made:
    """A file with the recipe that init-task wrote for it, and what it printed."""

    own: OwnFile
    recipe: Path
    said: str
    task: Jsonl


@pytest.fixture(scope="module", params=OWN_FILES, ids=lambda own: own.name)
def made(request, tmp_path_factory) -> Iterator[Made]:
    own, recipe = request.param, tmp_path_factory.mktemp("own") / "task.yaml"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(recipe.parent)
        patch.setenv("HF_HUB_OFFLINE", "1")
        own.write(Path())
        given = ["init-task", own.name, "--out", recipe.name, "--model", "tiny", *own.options]
        done = CliRunner().invoke(cli, given, catch_exceptions=False)
        assert done.exit_code == 0, done.output
        prompts = Path("task-prompts.yaml")
        assert prompts.exists() is not own.rationales
        if not own.rationales:  # as a person would
            text = prompts.read_text(encoding="utf-8").replace("rationale:\n", "rationale: Yes.\n")
            prompts.write_text(text, encoding="utf-8")
        task = Jsonl(JsonlOptions(**loading.load(recipe.name).task.options))
        yield Made(own, recipe, done.output, task)


def test_nothing_of_a_question_is_lost(made):
    own, task = made.own, made.task
    options = yaml.safe_load(made.recipe.read_text(encoding="utf-8"))["task"]["options"]
    assert options["fields"] == own.fields
    assert {key: options[key] for key in ("delimiter", "encoding") if key in options} == own.more
    first = task.all_problems()[0]
    assert task.ask(first.question) == own.prompt
    assert accepted(first.answer) == own.answer
    unused = f"fields that are not used: {', '.join(own.unused)}\n"
    assert unused in made.said if own.unused else "fields that are not used" not in made.said


def test_a_test_split_is_held_out_from_the_start(made):
    splits = [made.task.problems(split) for split in ("train", "dev", "test")]
    assert tuple(map(len, splits)) == made.own.splits
    train, dev, test = made.own.splits
    assert f"(all questions are distinct): {train} train, {dev} dev, {test} test\n" in made.said
    questions = {p.question for problems in splits for p in problems}
    assert len(questions) == train + dev + test
    assert made.task.skipped() == ()


def test_three_problems_are_shown_as_the_model_sees_them(made):
    task = made.task
    prompts = sorted((task.ask(p.question) for p in task.problems("train")), key=len)
    middle = prompts[len(prompts) // 2]
    shown = {"shortest": prompts[0], "median": middle, "longest": prompts[-1]}
    for which, prompt in shown.items():
        assert f"the {which} problem as a model sees it ({len(prompt)} characters, " in made.said
        assert f" tokens):\n\n{prompt}\n\nits answer: " in made.said


def test_the_dry_run_of_the_recipe_works(made):
    done = CliRunner().invoke(cli, ["loop", "--recipe", str(made.recipe), "--dry-run", "--json"])
    assert done.exit_code == 0, done.output
    shown = json.loads(done.output.splitlines()[-1])["recipe"]["task"]["options"]
    assert shown["fields"]["answer"] == made.own.fields["answer"]
    if made.own.rationales:
        assert len(drawn(made.task, 3, 0).examples) == 3


def test_its_rehearsal_is_finished(made, monkeypatch, tmp_path):
    """With a model that is not on this machine, so by script: every phase, and all problems."""
    monkeypatch.chdir(tmp_path)
    given = ["loop", "--recipe", str(made.recipe), "--model", "org/none", "--smoke", "--json"]
    done = CliRunner().invoke(cli, given, catch_exceptions=False)
    found = json.loads(done.output.splitlines()[-1])
    assert [line["iteration"] for line in found["iterations"]] == [0, 1, 2]
    assert all(line["examples"] for line in found["iterations"][1:])
    wrong = [one for one in found["findings"] if not one["ok"]]
    assert wrong == [], wrong
    assert list(tmp_path.iterdir()) == []


def test_gold_answers_are_read_back(made):
    task = made.task
    for problem in task.problems("train"):
        read = task.read(task.worked("It is so.", problem.answer), problem.question)
        for answer in (read, *accepted(problem.answer)):
            assert answer is not None and task.equal(answer, problem.answer)


def test_excels_encoding_is_named_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    own = next(own for own in OWN_FILES if own.name == "excel.csv")
    own.write(tmp_path)
    with pytest.raises(TaskError, match=r"seems to be cp1252: .* --encoding cp1252"):
        CliRunner().invoke(cli, ["init-task", own.name], catch_exceptions=False)
    assert [path.name for path in tmp_path.iterdir()] == [own.name]
