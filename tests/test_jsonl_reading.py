"""How the task on a person's own data reads and compares answers, by the options ``read``."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from pydantic import ValidationError

from star_mlx import prompts
from star_mlx.errors import TaskError
from star_mlx.tasks import make
from star_mlx.tasks.jsonl import Jsonl, JsonlOptions
from star_mlx.types import Question

FIELDS = {"question": "q", "answer": "a"}
ASKED = Question("?")


def task(**options):
    return Jsonl(JsonlOptions(**{"path": "mine.jsonl", "fields": FIELDS, **options}))


def right(completion, answer, **read):
    """Whether a completion is right, for a row with this answer."""
    mine = task(read=read)
    problem = mine.whole_row({"q": "?", "a": answer})
    found = mine.read(completion, problem.question)
    return found is not None and mine.equal(found, problem.answer)


@pytest.mark.parametrize(
    ("completion", "answer", "read", "is_right"),
    [
        ("The answer is: yes", "yes", {"kind": "yes-no"}, True),
        ("**yes**", "yes", {"kind": "yes-no"}, True),
        ("yes, because it flies", "Yes", {"kind": "yes-no"}, True),
        ("The answer is not yes.", "yes", {"kind": "yes-no"}, False),
        ("Yes.", True, {"kind": "yes-no"}, True),
        ("Nein.", "nein", {"kind": "yes-no", "yes": ["ja"], "no": ["nein"]}, True),
        ("The answer is: yes", "yes", {}, True),
        ("**yes**", "yes", {}, True),
        ("yes, because it flies", "yes", {}, True),
        ("The answer is: **Paris**.", "Paris", {}, True),
        ("The answer is Paris. It is in France.", "Paris", {}, True),
        ("The answer is not Paris.", "Paris", {}, False),
        ("so\n**Paris**", "Paris", {"kind": "exact"}, True),
        ("The answer is **7**, because 3 + 4.", "7", {"compare": "number"}, True),
        ("The answer is $x^2$, because it is.", "x^2", {"kind": "math"}, True),
        ("The answer is: **$x^2$**", "$x^2$", {"kind": "math"}, True),
        ("2 and 3", "2, 3", {"kind": "set"}, True),
        ("The answer is {3; 2}.", "2, 3", {"kind": "set"}, True),
        ("The answer is 3, 2.", "2, 3", {"kind": "list"}, False),
        ("2 and 3", [2, 3], {"kind": "list"}, True),
        ("none", [], {"kind": "set"}, True),
        ("The answer is 3 and 4.", [[1, 2], [3, 4]], {"kind": "list"}, True),
        ("6 km", "6 m", {"kind": "number"}, False),
        ("6 meters", "6 m", {"kind": "number"}, True),
        ("6 m", "6", {"kind": "number"}, True),
        ("6", "6 m", {"kind": "number"}, False),
        ("so 6\n#### 6 m", "it is\n#### 6 m", {"kind": "number"}, True),
        ("6000 m", "6 km", {"kind": "number", "convert_units": True}, True),
        ("6000 m", "6 km", {"kind": "number"}, False),
        ("6000 m, 7", "6 km, 7", {"kind": "set", "convert_units": True}, True),
        ("Das macht 2,50 Euro.", "2,5", {"kind": "last-number", "decimal": ","}, True),
        ("Das macht 1.234,50.", "1234,5", {"kind": "last-number", "decimal": ","}, True),
        ("1.234", "1234", {"kind": "last-number", "decimal": ","}, True),
        ("1.234", "1,234", {"kind": "last-number", "decimal": ","}, False),
        ("1,234", "1,234", {"kind": "last-number", "decimal": ","}, True),
        ("2,50 €", "2,5 Euro", {"kind": "number", "decimal": ","}, True),
        ("Es sind 1 234.", "1234", {"kind": "last-number", "thousands": " "}, True),
        ("2,5 und 3", "3; 2,50", {"kind": "set", "decimal": ","}, True),
        ("The answer is 2,50", "2,5", {"compare": "number", "decimal": ","}, True),
        ("The answer is Lutetia.", "Paris|Lutetia", {"accept": "|"}, True),
        ("The answer is Paris|Lutetia.", "Paris|Lutetia", {"accept": "|"}, False),
        ("The answer is Rome.", ["Paris", "Lutetia"], {}, False),
        ("The answer is Lutetia.", ["Paris", "Lutetia"], {}, True),
        ("It is 8.", "7|8", {"kind": "last-number", "accept": "|"}, True),
    ],
)
def test_answers_are_read_as_people_write_them(completion, answer, read, is_right):
    assert right(completion, answer, **read) is is_right


def test_of_several_right_answers_hint_and_example_show_the_first():
    mine = task(read={"accept": "|"})
    problem = mine.whole_row({"q": "?", "a": " Paris | Lutetia |"})
    assert problem.answer.replace("\u200a", " ") == "Paris ¦ Lutetia"
    assert mine.ask_hinted(problem.question, problem.answer) == "Q: ? (Paris)\nA:"
    assert mine.worked("So.", problem.answer) == " So. The answer is Paris."
    assert mine.pose_row({"gold": ["x", "y"]}).answer.replace("\u200a", " ") == "x ¦ y"


def test_several_right_answers_are_the_same_again_in_a_file_of_examples(tmp_path):
    mine = task(read={"kind": "last-number", "accept": "|"})
    problem = mine.whole_row({"q": "How many?", "a": "7|8"})
    file = tmp_path / "prompts.yaml"
    file.write_text(prompts.dump([replace(problem, rationale="It follows.")]))
    assert prompts.load(file, mine).examples[0].answer == problem.answer


def test_right_answers_keep_the_marks_and_units_of_the_data():
    german = task(read={"kind": "last-number", "decimal": ","})
    assert german.whole_row({"q": "?", "a": "1.234,50"}).answer == "1234,5"
    assert german.read("The answer is 0,25.", ASKED) == "0,25"
    measured = task(read={"kind": "number"})
    assert measured.whole_row({"q": "?", "a": "$1,200"}).answer == "$1,200"
    assert measured.read("The answer is 6 kilometers, I think", ASKED) == "6 kilometers"
    assert task(read={"kind": "list"}).whole_row({"q": "?", "a": [2, "x"]}).answer == "2, x"


@pytest.mark.parametrize(
    ("answer", "read", "wrong"),
    [
        ("perhaps", {"kind": "yes-no"}, "'perhaps' is neither yes nor no: give task.options.read"),
        ("many", {"kind": "number"}, "the answer 'many' is no number"),
        ("2,50", {"kind": "number"}, "the answer '2,50' is no number"),
        ([], {}, "its a is an empty list"),
        ("|", {"accept": "|"}, "its a is blank"),
        (["x", "one\ntwo"], {}, "is read back as 'one'"),
        ([[1], ["x", {}]], {"kind": "set"}, "its a should be text, not an object"),
    ],
)
def test_right_answers_that_cannot_be_used(answer, read, wrong):
    with pytest.raises(TaskError, match=wrong):
        task(read=read).whole_row({"q": "?", "a": answer})


@pytest.mark.parametrize(
    ("read", "wrong"),
    [
        ({"yes": ["ja"], "no": ["nein"]}, "read.yes and no are for kind yes-no, not marker"),
        ({"kind": "yes-no", "yes": ["ja"]}, "read.yes needs task.options.read.no as well"),
        ({"kind": "yes-no", "no": ["nein"]}, "read.no needs task.options.read.yes as well"),
        ({"kind": "yes-no", "yes": ["Ja"], "no": ["ja"]}, "'ja' is in both yes and no"),
        ({"convert_units": True}, "convert_units is for kind number, set or list, not marker"),
        ({"decimal": ",", "thousands": ","}, "thousands is ',', and so is decimal"),
        ({"accept": " "}, "accept is blank"),
        ({"kind": "number", "compare": "text"}, "compare is for kind marker, exact or regex"),
        ({"kind": "yes-no", "compare": "text"}, "compare is for kind marker, exact or regex"),
        ({"kind": "set", "pattern": "(x)"}, "pattern is for kind regex, not set"),
    ],
)
def test_options_of_reading_that_do_not_fit_together(read, wrong):
    with pytest.raises(TaskError) as error:
        task(read=read)
    assert str(error.value).startswith("task.options.read") and wrong in str(error.value)


@pytest.mark.parametrize("read", [{"decimal": ";"}, {"thousands": "x"}, {"accept": ""}])
def test_marks_that_are_none(read):
    with pytest.raises(ValidationError):
        task(read=read)


def test_the_settings_of_older_recipes_are_the_same_as_ever():
    assert task(read={"kind": "last-number"}).settings()["read"] == {
        "kind": "last-number", "marker": "The answer is", "pattern": None, "compare": None,
        "count_from": None,
    }  # fmt: skip
    read = {"kind": "number", "decimal": ",", "convert_units": True, "accept": "|"}
    mine = task(read=read)
    recorded = json.loads(json.dumps(mine.settings()))
    assert recorded["read"].items() >= read.items() and "yes" not in recorded["read"]
    assert make("jsonl", recorded).options == mine.options


def test_every_kind_reads_its_own_examples_back():
    kinds = {"number": "6 km", "yes-no": "no", "set": "2, 3", "list": "red, blue"}
    for kind, answer in kinds.items():
        for marker in ("The answer is", "Answer ="):
            mine = task(read={"kind": kind, "marker": marker})
            for rationale in ("Since 3 + 4.", None):
                read = mine.read(mine.worked(rationale, answer), ASKED)
                assert read is not None and mine.equal(read, answer)
