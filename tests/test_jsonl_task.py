"""The task on a person's own data: its options, its rows, how answers are read and hinted."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from star_mlx import prompts
from star_mlx.errors import TaskError
from star_mlx.recipe import loading
from star_mlx.tasks import make
from star_mlx.tasks.jsonl import Jsonl, JsonlOptions
from star_mlx.types import Question
from tests.data_files import data_file

FIELDS = {"question": "q", "answer": "a"}
CHOICES = {**FIELDS, "choices": "c"}
COLUMNS = {**FIELDS, "choices": ["A", "B", "C"]}


def task(**options):
    return Jsonl(JsonlOptions(**{"path": "mine.jsonl", "fields": FIELDS, **options}))


@pytest.fixture
def write(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def write(rows, name="mine.jsonl"):
        text = rows if isinstance(rows, str) else "".join(json.dumps(row) + "\n" for row in rows)
        (tmp_path / name).write_text(text, encoding="utf-8")
        return name

    return write


def sums(first, last):
    return [{"q": f"{i} + 1?", "a": i + 1} for i in range(first, last)]


# --------------------------------------------------------------------------- options


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        ({"read": {"kind": "choice"}}, "read.kind choice needs task.options.fields.choices"),
        ({"read": {"kind": "regex"}}, "read.kind regex needs task.options.read.pattern"),
        ({"read": {"kind": "regex", "pattern": "(x"}}, "is not a valid pattern"),
        ({"read": {"kind": "regex", "pattern": "x"}}, "has 0 groups"),
        ({"read": {"kind": "regex", "pattern": "(x)(y)"}}, "has 2 groups"),
        ({"read": {"pattern": "(x)"}}, "pattern is for kind regex, not marker"),
        ({"read": {"kind": "last-number", "compare": "text"}}, "compare is for kind marker"),
        ({"read": {"kind": "exact", "count_from": 0}}, "count_from is for kind choice"),
        ({"read": {"marker": " "}}, "marker is blank"),
        ({"hint": "mark-choice"}, "mark-choice needs task.options.fields.choices"),
        ({"hint": "the answer is {answer}"}, "hint lacks {question}"),
        ({"hint": "mark"}, "answer-after-question or mark-choice"),
        ({"hint": "{question} {answer} {rationale}"}, "hint cannot hold {rationale}"),
        ({"ask": "Answer!"}, "ask lacks {question}"),
        ({"ask": "{question} {answer}"}, "ask cannot hold {answer}"),
        ({"ask": "{question}", "fields": CHOICES}, "ask lacks {choices}"),
        ({"worked": "{rationale}"}, "worked lacks {answer}"),
        ({"worked": "The answer is {answer}"}, "worked lacks {rationale}"),
        ({"worked": "{rationale} {answer} {question}"}, "worked cannot hold {question}"),
        ({"worked": "{rationale} So: {answer}"}, "is read as None, not as its answer"),
        ({"read": {"kind": "regex", "pattern": "=> (.+)"}}, "give task.options.worked a text"),
        ({"stop": ["\nQ:", "."]}, "'.' is part of"),
        ({"test": "mine.jsonl"}, "are the same file"),
    ],
)
def test_options_that_do_not_fit_together_are_one_line_that_names_them(options, wrong):
    with pytest.raises(TaskError) as error:
        task(**options)
    assert str(error.value).startswith("task.options.") and "\n" not in str(error.value)
    assert wrong in str(error.value)


@pytest.mark.parametrize(
    "options",
    [
        {"feilds": {}},
        {"fields": {**FIELDS, "anser": "x"}},
        {"fields": {"question": "q"}},
        {"fields": {**FIELDS, "choices": ["A"]}},
        {"read": {"kind": "last_number"}},
        {"read": {"cases": True}},
        {"test": 0},
        {"test": True},
        {"stop": [""]},
        {"dev": 0},
    ],
)
def test_unknown_keys_and_ill_typed_values_are_refused(options):
    with pytest.raises(ValidationError):
        task(**options)
    with pytest.raises(TaskError, match=r"^task\.options\."):
        make("jsonl", {"path": "x.csv", "fields": FIELDS, **options})


def test_settings_make_the_same_task_again():
    mine = task(fields={**COLUMNS, "class": "k"}, test=5, stop=["\n\n"])
    assert mine.settings()["fields"]["class"] == mine.classes == "k"
    assert make("jsonl", json.loads(json.dumps(mine.settings()))).options == mine.options


# --------------------------------------------------------------------------- splits


def test_splits_from_one_file(write):
    write(sums(0, 40))
    mine = task(dev=10, test=5)
    splits = [mine.problems(split) for split in ("train", "dev", "test")]
    assert [len(s) for s in splits] == [25, 10, 5]
    assert len({p.id for s in splits for p in s}) == 40
    assert mine.skipped() == ()


def test_what_a_test_file_asks_is_not_trained_on_and_that_is_said(write):
    write(sums(0, 40))
    mine = task(dev=10, test=write(sums(35, 50), "test.jsonl"), read={"kind": "last-number"})
    asked = {p.question for p in mine.problems("test")}
    assert len(asked) == 15 and len(mine.problems("train")) == 25
    assert not asked & {p.question for s in ("train", "dev") for p in mine.problems(s)}
    assert mine.skipped() == ("5 problems of mine.jsonl that ask the same as a test problem",)
    with pytest.raises(TaskError, match=r"task\.options\.test: all\.jsonl asks all"):
        task(dev=1, test=write(sums(0, 40), "all.jsonl")).problems("train")


def test_without_a_test_split_it_says_how_to_give_one(write):
    write(sums(0, 3))
    mine = task(dev=1)
    assert len(mine.problems("train")) == 2
    with pytest.raises(TaskError, match=r"give task\.options\.test"):
        mine.problems("test")


def test_an_id_may_not_stand_in_both_files(write):
    write([{"q": "x", "a": 1, "i": "one"}, {"q": "y", "a": 1, "i": "two"}])
    other = write([{"q": "z", "a": 1, "i": "two"}], "test.jsonl")
    with pytest.raises(
        TaskError, match=r"test\.jsonl, line 1: its id 'two' is already used in mine"
    ):
        task(dev=1, test=other, fields={**FIELDS, "id": "i"}).problems("train")


def test_files_that_are_not_there_are_named():
    with pytest.raises(TaskError, match=r"data file mine\.jsonl does not exist"):
        task().problems("train")


# --------------------------------------------------------------------------- rows


def problem(row, **options):
    return task(**options).whole_row(row)


@pytest.mark.parametrize(
    ("answer", "options", "gold"),
    [
        ("$1,200", {"read": {"kind": "last-number"}}, "1200"),
        ("so\n#### 72", {"read": {"kind": "last-number"}}, "72"),
        (7.0, {"read": {"compare": "number"}}, "7"),
        (" Paris ", {}, "Paris"),
        (True, {"read": {"kind": "exact"}}, "true"),
        ("thus \\boxed{\\frac{1}{2}}.", {"read": {"kind": "math"}}, "\\frac{1}{2}"),
        ("$x^2$", {"read": {"kind": "math"}}, "x^2"),
    ],
)
def test_gold_answers(answer, options, gold):
    assert problem({"q": "?", "a": answer}, **options).answer == gold


@pytest.mark.parametrize(
    ("row", "options", "wrong"),
    [
        ({"a": "x"}, {}, "its q is missing"),
        ({"q": " ", "a": "x"}, {}, "its q is blank"),
        ({"q": "?"}, {}, "its a is missing"),
        ({"q": "?", "a": " "}, {}, "its a is blank"),
        ({"q": "?", "a": "many"}, {"read": {"kind": "last-number"}}, "'many' is no number"),
        ({"q": "?", "a": "one\ntwo"}, {}, "is read back as 'one'; an answer of several lines"),
        ({"q": "?", "a": "A"}, {"fields": CHOICES}, "choices are missing"),
        (
            {"q": "?", "a": "D", "c": ["x", "y"]},
            {"fields": CHOICES},
            "'D' is not among its choices",
        ),
        ({"q": "?", "a": "x", "c": ["x", "x"]}, {"fields": CHOICES}, "text of two of its choices"),
        (
            {"q": "?", "a": 2, "c": ["x", "y"]},
            {"fields": CHOICES, "read": {"count_from": 0}},
            "not a whole number from 0 to 1",
        ),
    ],
)
def test_rows_that_cannot_be_used(row, options, wrong):
    with pytest.raises(TaskError, match=wrong):
        problem(row, **options)


@pytest.mark.parametrize(
    ("answer", "first", "label"),
    [("b", None, "B"), ("(C)", None, "C"), ("Green", None, "B"), (0, 0, "A"), (3, 1, "C")],
)
def test_the_right_choice_by_label_text_or_position(answer, first, label):
    row = {"q": "?", "a": answer, "c": ["red", "green", "blue"]}
    assert problem(row, fields=CHOICES, read={"count_from": first}).answer == label


def test_a_position_without_its_choices_is_refused_and_not_graded_as_wrong():
    task = Jsonl(JsonlOptions(path="x.jsonl", fields=CHOICES, read={"count_from": 0}))
    assert task.pose_row({"gold": "B"}).answer == "B"
    with pytest.raises(TaskError, match="its answer '1' is a position, but its choices are missi"):
        task.pose_row({"gold": 1})


def test_choices_from_columns_a_blank_one_left_out():
    row = {"q": "?", "a": "C", "A": "red", "B": "", "C": "blue"}
    assert problem(row, fields=COLUMNS).question.choices == (("A", "red"), ("C", "blue"))
    named = {"q": "?", "a": "op2", "op1": "red", "op2": "blue"}
    found = problem(named, fields={**FIELDS, "choices": ["op1", "op2"]})
    assert found.question.choices == (("A", "red"), ("B", "blue")) and found.answer == "B"


def test_rationale_class_and_id():
    fields = {**FIELDS, "rationale": "r", "class": "k", "id": "i"}
    row = {"q": "?", "a": 2, "r": ["One.", "Two."], "k": 3, "i": 9}
    found = problem(row, fields=fields)
    assert (found.id, found.group, found.rationale) == ("9", "3", "One.\nTwo.")
    bare = problem({"q": "?", "a": 2, "r": " "}, fields=fields)
    assert (bare.id, bare.group, bare.rationale) == ("", "", None)


def test_a_solution_is_both_rationale_and_answer():
    fields = {**FIELDS, "rationale": "a"}
    found = problem({"q": "?", "a": "1+1=2\n#### 2"}, fields=fields, read={"kind": "last-number"})
    assert (found.rationale, found.answer) == ("1+1=2", "2")


def test_a_graded_row_takes_its_gold_and_a_training_row_its_own_field():
    assert task().pose_row({"gold": "x"}).answer == "x"
    assert problem({"q": "?", "a": "y", "gold": "x"}).answer == "y"


# --------------------------------------------------------------------------- several fields

TWO = {"question": "{Body} {Question}", "answer": "a"}
SUM = {"Body": "Tom has 3.", "Question": "How many?", "a": 3}


@pytest.mark.parametrize(
    ("question", "text"),
    [
        ("{Body} {Question}", "Tom has 3. How many?"),
        (["Body", "Question"], "Tom has 3.\nHow many?"),
        (["Question"], "How many?"),
        ("{Body} {more?}", "Tom has 3."),
    ],
)
def test_a_question_is_made_of_several_fields(question, text):
    mine = task(fields={"question": question, "answer": "a"})
    assert mine.whole_row(SUM).question.text == text
    again = make("jsonl", json.loads(json.dumps(mine.settings())))
    assert again.whole_row(SUM).question.text == text


def test_a_field_named_like_a_template_is_that_field():
    row = {"{Body} {Question}": "6 * 7?", "a": 42}
    assert problem(row, fields=TWO).question.text == "6 * 7?"


@pytest.mark.parametrize("lacks", ["Body", "Question"])
def test_a_row_that_lacks_a_part_of_its_question_is_a_bad_row(lacks):
    for value in (None, " "):
        with pytest.raises(TaskError, match=f"its {lacks} is (missing|blank)"):
            problem({**SUM, lacks: value}, fields=TWO)


def test_a_graded_row_needs_no_question():
    assert task(fields=TWO).pose_row({"gold": "x"}).question.text == ""


@pytest.mark.parametrize(
    ("question", "wrong"),
    [
        ("{Body", "task.options.fields.question '{Body' has a '{' without its partner"),
        ("{Body} {}", "has '{}' without the name of a field in it"),
        ("{{Body}}", "names no field: give a field, or a text with {FIELD}"),
    ],
)
def test_a_template_of_fields_that_cannot_be_filled_is_refused(question, wrong):
    with pytest.raises(TaskError) as error:
        task(fields={"question": question, "answer": "a"})
    assert wrong in str(error.value)


ROWS = [
    {"Body": f"Tom has {i}.", "Question": "How many?", "a": i, "two words": 1} for i in range(9)
]


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"question": "{Boddy} {Question}"}, "question: no row of mine.jsonl has a field 'Boddy': "
         "did you mean 'Body'? The fields are 'Body', 'Question', 'a', 'two words'"),
        ({"question": ["Body", "question"]}, "question: no row of mine.jsonl has a field "
         "'question': did you mean 'Question'?"),
        ({"question": "{Body} {hint?}"}, "question: no row of mine.jsonl has a field 'hint'"),
        ({"answer": "b"}, "answer: no row of mine.jsonl has a field 'b'"),
        ({"choices": "zzz"}, "choices: no row of mine.jsonl has a field 'zzz'"),
        ({"id": "zzz"}, "id: no row of mine.jsonl has a field 'zzz': the fields are 'Body'"),
        ({"class": "zzz"}, "class: no row"),
        ({"rationale": "Body.x"}, "rationale: no row"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("on_bad_row", ["fail", "skip"])
def test_a_field_that_no_row_has_is_a_wrong_name_and_no_bad_row(write, fields, wrong, on_bad_row):
    write(ROWS)
    mine = task(fields={**TWO, **fields}, dev=1, on_bad_row=on_bad_row)
    with pytest.raises(TaskError) as error:
        mine.problems("train")
    assert str(error.value).startswith(f"task.options.fields.{wrong}")


def test_a_field_that_some_rows_have_makes_bad_rows(write):
    write([{"Body": "x", "a": 1}, *ROWS])
    with pytest.raises(TaskError, match=r"mine\.jsonl, line 1: its Question is missing"):
        task(fields=TWO, dev=1).problems("train")
    mine = task(fields=TWO, dev=1, on_bad_row="skip", read={"kind": "last-number"})
    assert len(mine.problems("train")) == 8 and len(mine.skipped()) == 1
    nulls = [{**row, "kind": None} for row in ROWS]
    write(nulls)
    assert len(task(fields={**TWO, "class": "kind"}, dev=1).problems("train")) == 8


def test_a_test_file_needs_no_rationales_or_classes(write):
    write([{**row, "k": "x"} for row in ROWS])
    other = write([{"Body": "Ann has 1.", "Question": "How many?", "a": 1}], "test.jsonl")
    mine = task(fields={**TWO, "class": "k"}, dev=1, test=other)
    assert len(mine.problems("test")) == 1
    lacks = write([{"Body": "Ann has 1.", "a": 1}], "lacks.jsonl")
    with pytest.raises(TaskError, match=r"no row of lacks\.jsonl has a field 'Question'"):
        task(fields=TWO, dev=1, test=lacks).problems("test")


def test_an_unreadable_file_is_that_and_no_wrong_name(write):
    write("nonsense\n")
    with pytest.raises(TaskError, match="line 1: the row is not JSON"):
        task(fields=TWO).problems("train")


@pytest.mark.parametrize("option", ["ask", "hint", "worked"])
def test_placeholders_that_are_not_filled_are_refused_with_how_to_write_braces(option):
    good = {
        "ask": "{question}",
        "hint": "{question} {answer}",
        "worked": "{rationale} The answer is {answer}.",
    }
    with pytest.raises(TaskError) as error:
        task(**{option: "{Body} " + good[option]})
    assert f"task.options.{option} has {{Body}}, but only " in str(error.value)
    assert "that are part of the text write {{Body}}" in str(error.value)
    text = task(**{option: "{{Body}} " + good[option]})
    shown = {
        "ask": text.ask(Question("6?")), "hint": text.ask_hinted(Question("6?"), "6"),
        "worked": text.worked("So.", "6"),
    }  # fmt: skip
    assert "{Body} " in shown[option] and "{{Body}}" not in shown[option]


@pytest.mark.parametrize(
    "literal",
    ["\\boxed{}", "{x}", "x^{ab}", "\\text{cm}", "\\frac{ab}{cd}", "\\sqrt[3]{abc}", "{1, 2}",
     '{"answer": 1}', "{0.__class__}", "{ }", "\\text{{cm}}"],
)  # fmt: skip
def test_mathematics_and_json_in_a_prompt_are_left_as_they_are(literal):
    assert task(ask=literal + " {question}").ask(Question("6?")) == literal + " 6?"


def test_an_answer_in_doubled_braces_is_filled_as_ever():
    mine = task(read={"kind": "math"}, worked="{rationale} \\boxed{{answer}}")
    assert mine.worked("So.", "7") == "So. \\boxed{7}"


def test_a_field_of_the_data_in_a_prompt_is_refused_whatever_its_name(write):
    write(ROWS)
    with pytest.raises(TaskError, match=r"task\.options\.ask has \{two words\}, but only"):
        task(fields=TWO, dev=1, ask="{two words} {question}").problems("train")
    mine = task(fields=TWO, dev=1, ask="{{two words}} {question}")
    assert mine.ask(mine.problems("train")[0].question).startswith("{two words} Tom has")


# --------------------------------------------------------------------------- solutions as answers


@pytest.mark.parametrize(
    ("solution", "read", "rationale", "gold"),
    [
        ("3 and 4 make 7. The answer is 7.", {"kind": "last-number"}, "3 and 4 make 7.", "7"),
        ("They mix to green. So the answer is Green.", {}, "They mix to green.", "Green"),
        ("Blau und gelb. Die Antwort ist Grün.", {"marker": "Die Antwort ist"}, "Blau und gelb.",
         "Grün"),
        ("green", {}, None, "green"),
    ],
)  # fmt: skip
def test_a_solution_that_ends_in_its_answer_is_rationale_and_answer(
    solution, read, rationale, gold
):
    found = problem({"q": "?", "a": solution}, fields={**FIELDS, "rationale": "a"}, read=read)
    assert (found.rationale, found.answer) == (rationale, gold)


def test_options_that_came_later_are_recorded_only_if_they_are_given(write):
    assert not {"delimiter", "encoding"} & set(task().settings())
    assert task(delimiter=";", encoding="cp1252").settings()["delimiter"] == ";"
    with pytest.raises(TaskError, match=r"task\.options\.encoding 'nope' is no encoding of text"):
        task(encoding="nope")


def test_a_folder_can_have_files_of_both_splits(write, tmp_path):
    (tmp_path / "d").mkdir()
    write(sums(0, 9), "d/train.jsonl")
    write(sums(9, 12), "d/test.jsonl")
    mine = task(path="d", test="d", dev=2)
    assert [len(mine.problems(split)) for split in ("train", "dev", "test")] == [7, 2, 3]


# --------------------------------------------------------------------------- text


def test_the_default_texts():
    plain, many = task(), task(fields=CHOICES)
    asked = Question("Which?", (("A", "red"), ("B", "blue")))
    assert plain.ask(Question("6 * 7?")) == "Q: 6 * 7?\nA:"
    assert plain.ask_hinted(Question("6 * 7?"), "42") == "Q: 6 * 7? (42)\nA:"
    assert many.ask(asked) == "Q: Which?\nAnswer choices:\n(A) red\n(B) blue\nA:"
    assert many.ask_hinted(asked, "B") == (
        "Q: Which?\nAnswer choices:\n(A) red\n(B) blue (CORRECT)\nA:"
    )
    assert plain.worked("So.", "42") == " So. The answer is 42."
    assert plain.worked(None, "42") == " The answer is 42."
    assert many.worked("So.", "B") == " So. So the answer is (B)."


def test_templates_are_filled_once_and_never_evaluated():
    mine = task(
        ask="Problem: {question} {0.__class__}\nSolution:",
        hint="{question} [{answer}]",
        worked="{rationale}\n#### {answer}",
        read={"marker": "####"},
    )
    tricky = Question("a {answer} and {question}")
    assert mine.ask(tricky) == "Problem: a {answer} and {question} {0.__class__}\nSolution:"
    assert mine.ask_hinted(tricky, "7") == (
        "Problem: a {answer} and {question} [7] {0.__class__}\nSolution:"
    )
    assert mine.worked("see {answer}", "7") == "see {answer}\n#### 7"
    assert mine.worked(None, "7") == "#### 7"


def test_choices_in_a_template():
    mine = task(ask="{question}\n{choices}\nSolution:", fields=CHOICES)
    asked = Question("Which?", (("A", "red"), ("B", "blue")))
    assert mine.ask(asked) == "Which?\n(A) red\n(B) blue\nSolution:"
    assert "(B) blue (CORRECT)" in mine.ask_hinted(asked, "B")


# --------------------------------------------------------------------------- answers


@pytest.mark.parametrize(
    ("options", "completion", "answer"),
    [
        ({"read": {"kind": "last-number"}}, " 6*7 is 42, so 42 dollars.", "42"),
        ({"read": {"kind": "last-number"}}, " nothing", None),
        ({}, " The answer is red. The answer is Dark Blue.\nQ", "Dark Blue"),
        ({}, " It is blue.", None),
        ({"read": {"kind": "exact"}}, "so\n Blue. \n\n", "Blue."),
        ({"read": {"kind": "exact"}}, " \n", None),
        ({"read": {"kind": "math"}}, "x. The answer is $\\frac{1}{2}$.", "\\frac{1}{2}"),
        ({"read": {"kind": "math"}}, "\\boxed{1} \\boxed{\\frac{1}{2}}", "\\frac{1}{2}"),
        ({"read": {"kind": "math"}}, "\\boxed{1", None),
        ({"fields": CHOICES}, " Blue. So the answer is (B).", "B"),
    ],
)
def test_reading(options, completion, answer):
    question = Question("?", (("A", "red"), ("B", "blue")) if "fields" in options else ())
    assert task(**options).read(completion, question) == answer


def test_a_pattern_reads_its_last_match():
    mine = task(
        read={"kind": "regex", "pattern": r"=> (\d+)?", "compare": "number"},
        worked=" {rationale} => {answer}",
    )
    assert mine.read("=> 1 then => 2.0 then => x", Question("?")) == "2"
    assert mine.read("x" * 50_000 + "=> 7", Question("?")) == "7"
    assert mine.read("none", Question("?")) is None
    assert mine.equal("2.0", "2") and not mine.equal("25", "5")


def test_a_pattern_that_takes_for_ever_is_given_up(monkeypatch, tmp_path):
    monkeypatch.setattr("star_mlx.tasks.jsonl_reading.SECONDS", 0.1)
    long = "a" * 2_000 + "! "
    exploding = {
        "read": {"kind": "regex", "pattern": r"=> ((?:\w|\w\w)+)\."},
        "worked": " {rationale} => {answer}.",
    }
    mine = task(**exploding)
    assert mine.read("=> aab.", Question("?")) == "aab"
    assert mine.read(f"=> aab. => {long}.", Question("?")) is None
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps({"q": "?", "a": long + "b"}) + "\n")
    slow = make(
        "jsonl", {"path": str(file), "fields": {"question": "q", "answer": "a"}, **exploding}
    )
    with pytest.raises(
        TaskError, match=r"rows.jsonl, line 1: .*read.pattern takes more than 2 s on its answer"
    ):
        slow.problems("train")


def test_comparing_follows_the_kind():
    assert task().equal("the Moon.", "The moon") and not task().equal("2.0", "2")
    assert task(read={"compare": "number"}).equal("2.0", "2")
    assert task(fields=CHOICES).equal("b", "B")
    pytest.importorskip("math_verify")
    assert task(read={"kind": "math"}).equal("\\frac{2}{4}", "1/2")


def test_every_kind_reads_its_own_examples_back():
    kinds = {"last-number": "7", "marker": "blue", "exact": "blue sky", "math": "\\frac{1}{2}"}
    for kind, answer in kinds.items():
        mine = task(read={"kind": kind})
        for rationale in ("Since 3 + 4.", None):
            assert mine.equal(mine.read(mine.worked(rationale, answer), Question("?")), answer)


# --------------------------------------------------------------------------- whole data sets


@pytest.mark.slow
def test_all_of_commonsenseqa():
    mine = task(
        path=str(data_file("commonsenseqa/train_rand_split.jsonl")),
        test=str(data_file("commonsenseqa/dev_rand_split.jsonl")),
        fields={
            "question": "question.stem",
            "choices": "question.choices",
            "answer": "answerKey",
            "id": "id",
        },
    )
    assert [len(mine.problems(s)) for s in ("train", "dev", "test")] == [9541, 200, 1221]
    assert not mine.skipped()


@pytest.mark.slow
def test_all_of_gsm8k():
    mine = task(
        path=str(data_file("gsm8k/train.jsonl")),
        fields={"question": "question", "answer": "answer", "rationale": "answer"},
        read={"kind": "last-number"},
    )
    train = mine.problems("train")
    assert len(train) == 7273 and all(p.rationale and "####" not in p.rationale for p in train)


# --------------------------------------------------------------------------- documentation


def test_the_recipes_of_the_documentation_are_valid():
    text = (Path(__file__).parent.parent / "docs" / "your-data.md").read_text(encoding="utf-8")
    blocks = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", text, re.S)]
    recipes = [block for block in blocks if isinstance(block, dict)]
    for block in recipes:
        assert make("jsonl", loading.load(base=block).task.options).name == "jsonl"
    assert len(recipes) == 2
    assert all(f"`{name}`" in text for name in JsonlOptions.model_fields if name != "fields")


def test_the_file_of_examples_in_the_documentation_loads(write):
    text = (Path(__file__).parent.parent / "docs" / "your-data.md").read_text(encoding="utf-8")
    block = next(b for b in re.findall(r"```yaml\n(.*?)```", text, re.S) if b.startswith("- "))
    first, second = block.split("- question: Which")
    numbers = prompts.load(Path(write(first, "a.yaml")), task(read={"kind": "last-number"}))
    assert numbers.examples[0].answer == "42"
    choices = prompts.load(
        Path(write("- question: Which" + second, "b.yaml")), task(fields=CHOICES)
    )
    assert choices.examples[0].answer == "B"
