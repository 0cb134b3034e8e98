"""How ``star-mlx init-task`` guesses the reading of answers, and how it tries the reader."""

from __future__ import annotations

import json

import pytest
import yaml
from click.testing import CliRunner

from star_mlx.cli import cli
from star_mlx.errors import TaskError
from star_mlx.init_task import init_task
from star_mlx.init_task.guess import guess
from star_mlx.init_task.wordings import refuse_unread, unread, wordings
from star_mlx.tasks.jsonl import Jsonl, JsonlOptions
from star_mlx.types import Problem, Question

MARKER = {"kind": "marker", "marker": "The answer is"}


def rows(golds):
    return [{"question": f"What is thing {i}?", "answer": gold} for i, gold in enumerate(golds)]


@pytest.mark.parametrize(
    ("golds", "read"),
    [
        (["yes", "No.", "no"], {"kind": "yes-no"}),
        ([True, False], {"kind": "yes-no"}),
        (["Ja", "nein", "ja"], {"kind": "yes-no", "yes": ["ja"], "no": ["nein"]}),
        (["y", "n"], {"kind": "yes-no", "yes": ["y"], "no": ["n"]}),
        (["yes", "no", "perhaps"], MARKER),
        (["ja", "ja"], MARKER),
        (["2,5", "3,75", "12"], {"kind": "last-number", "decimal": ","}),
        (["1.234,50", "7", "12"], {"kind": "last-number", "decimal": ","}),
        (["3.14", "2.50"] * 20 + ["2,5"], {"kind": "last-number"}),
        (["1,234", "5.5"], {"kind": "last-number"}),
        (["1,234", "1.234"], {"kind": "last-number"}),
        (["1'234.50", "7"], {"kind": "last-number"}),
        (["1'234,50", "7"], {"kind": "last-number", "decimal": ",", "thousands": "'"}),
        (["1 234,5", "12 000"], {"kind": "last-number", "decimal": ",", "thousands": " "}),
        (["1 234", "12 000"], {"kind": "last-number", "thousands": " "}),
        (["6 m", "6 km"], {"kind": "number"}),
        (["$5", "6 km"], {"kind": "number"}),
        (["2,50 €", "3 km"], {"kind": "number", "decimal": ","}),
        (["$5", "$6"], {"kind": "last-number"}),
        (["so\n#### 6 m", "so\n#### 5 s"], {"kind": "number"}),
        (["6 apples", "5 pears"], {"kind": "last-number"}),
        (["2, 3", "4", "x=1, x=5"], {"kind": "set"}),
        (["2, 3", "4, 4"], {"kind": "list"}),
        ([[2, 3], [4]], {"kind": "set"}),
        ([[2, 2], [4]], {"kind": "list"}),
        ([[2], [4]], {"kind": "last-number"}),
        ([["Paris", "Lutetia"], ["Rome"]], MARKER),
        (["Paris|Lutetia", "Rome"], {**MARKER, "accept": "|"}),
        (["7|8", "9"], {"kind": "last-number", "accept": "|"}),
        (["|x|", "|y|"], MARKER),
        (["A because B", "A because C"], MARKER),
        (["x^2", "2x"], {"kind": "math"}),
        (["(1, 2)", "(4, 3)"], {"kind": "list"}),
        (["(-1,1)", "[0,5]"], {"kind": "list"}),
    ],
)
def test_guesses(golds, read):
    found = guess(rows(golds), answer="answer")
    assert dict(found.read) == read


@pytest.mark.parametrize(
    ("golds", "kind", "read"),
    [
        (["2,50", "3,75"], "marker", MARKER),
        (["2,50", "3,75"], "number", {"kind": "number", "decimal": ","}),
        (["ja", "nein"], "yes-no", {"kind": "yes-no", "yes": ["ja"], "no": ["nein"]}),
        (["red, blue", "red"], "set", {"kind": "set"}),
        (["word " * 40, "word " * 50], "exact", {"kind": "exact"}),
        (["a|b", "c"], "exact", {"kind": "exact", "accept": "|"}),
    ],
)
def test_a_kind_that_is_given_is_taken(golds, kind, read):
    found = guess(rows(golds), answer="answer", read=kind)
    assert dict(found.read) == read and kind in found.why["answer"]


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        ("regex", "--read regex needs a pattern"),
        ("numbr", "--read numbr: there are last-number, number, yes-no"),
        ("choice", "--read choice needs choices"),
    ],
)
def test_a_kind_that_cannot_be_taken(kind, wrong):
    with pytest.raises(TaskError, match=wrong):
        guess(rows(["x", "y"]), read=kind)


def test_choices_are_read_as_choices_unless_another_kind_is_given():
    given = [{**row, "choices": ["x", "y"]} for row in rows(["x", "y", "x"])]
    assert guess(given).read == {"kind": "choice"}
    assert guess(given, read="choice").read == {"kind": "choice"}
    assert guess(given, read="exact").read["kind"] == "exact"


# --------------------------------------------------------------------------- trying the reader


def task(**read):
    fields = {"question": "question", "answer": "answer"}
    return Jsonl(JsonlOptions(path="x.jsonl", fields=fields, read=read))


@pytest.mark.parametrize(
    ("read", "answer"),
    [
        ({"kind": "last-number"}, "18"), ({"kind": "number"}, "6 km"), ({"kind": "yes-no"}, "no"),
        ({"kind": "set"}, "2, 3"), ({"kind": "list"}, "red, blue"), ({}, "New York, NY"),
        ({"marker": "####"}, "x"), ({"kind": "exact"}, "x y"), ({"kind": "math"}, "\\frac{1}{2}"),
    ],
)  # fmt: skip
def test_every_kind_reads_its_usual_wordings(read, answer):
    assert unread(task(**read), answer, Question("?")) is None


def test_the_wordings_of_an_answer():
    texts = [*wordings(task(kind="last-number"), "18")]
    assert texts[0] == " The answer is 18." and {"18", "**18**", "The answer is: 18"} < {*texts}
    assert "18, because it follows." in texts and len(texts) == 8
    assert all("####" in text for text in wordings(task(marker="####"), "18"))
    assert [*wordings(task(kind="exact"), "18")] == [" 18", "18", "**18**"]


def test_a_reader_that_loses_answers_is_refused_with_an_example_and_what_to_give_instead():
    answers = ["yes or no"] * 3 + ["one\ntwo", "red\nblue"]
    problems = [Problem(f"{i}", Question("?"), answer) for i, answer in enumerate(answers)]
    with pytest.raises(TaskError) as error:
        refuse_unread(task(), problems)
    assert str(error.value) == (
        "answers are not read back by --read marker: of 3, 2 are lost, such as 'one\\ntwo', since "
        "'The answer is one\\ntwo.' is read as 'one': give another kind, such as --read exact"
    )
    odd = [Problem(f"{i}", Question("?"), f"word {i}") for i in range(39)]
    refuse_unread(task(), [*odd, problems[3]])
    with pytest.raises(TaskError, match="of 40, 3 are lost"):
        refuse_unread(
            task(), [*odd[:37], problems[3], problems[4], Problem("x", Question("?"), "a\nb")]
        )


def test_of_very_many_answers_some_are_tried(monkeypatch):
    monkeypatch.setattr("star_mlx.init_task.wordings._MOST_TRIED", 10)
    lost = [Problem(f"{i}", Question("?"), f"one {i}\ntwo") for i in range(95)]
    with pytest.raises(TaskError, match="of 10, 10 are lost, such as 'one 0"):
        refuse_unread(task(), lost)
    with pytest.raises(TaskError, match="of 9, 9 are lost"):
        refuse_unread(task(), lost[:9])


def test_the_command_refuses_and_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = [json.dumps(row) for row in rows(["**kwargs", "**args", "*"] * 4)]
    (tmp_path / "d.jsonl").write_text("\n".join(lines))
    with pytest.raises(TaskError, match="answers are not read back by --read marker"):
        init_task(tmp_path / "d.jsonl", tmp_path / "t.yaml")
    assert [path.name for path in tmp_path.iterdir()] == ["d.jsonl"]


def test_the_kind_is_written_into_the_recipe(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = [json.dumps(row) for row in rows(["2,50", "3", "4,5"] * 4)]
    (tmp_path / "d.jsonl").write_text("\n".join(lines))
    done = CliRunner().invoke(
        cli, ["init-task", "d.jsonl", "--read", "number"], catch_exceptions=False
    )
    assert done.exit_code == 0
    options = yaml.safe_load((tmp_path / "task.yaml").read_text())["task"]["options"]
    assert options["read"] == {"kind": "number", "decimal": ","}


def test_the_datas_words_for_yes_and_no_are_in_a_recipe_that_loads(tmp_path):
    lines = [json.dumps(row) for row in rows(["ja", "nein"] * 10)]
    (tmp_path / "d.jsonl").write_text("\n".join(lines))
    made = init_task(tmp_path / "d.jsonl", tmp_path / "task.yaml", model="tiny")
    options = yaml.safe_load(made.recipe.read_text(encoding="utf-8"))["task"]["options"]
    assert options["read"] == {"kind": "yes-no", "yes": ["ja"], "no": ["nein"]}
