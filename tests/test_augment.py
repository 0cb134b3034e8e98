"""Backward questions, statements, texts that ask the same, and ``star-mlx augment``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from star_mlx import tasks
from star_mlx.answers.accepted import joined
from star_mlx.augment import masking, overlap, statements
from star_mlx.augment import written_number as why
from star_mlx.augment.backward import CHOICES, backward
from star_mlx.augment.masking import Masked
from star_mlx.cli import cli
from star_mlx.errors import NothingKept, StarError
from star_mlx.steps import masked_questions
from star_mlx.types import Problem, Question
from tests.data_files import data_file

# GSM8K's first training problem (openai/grade-school-math, MIT).
NATALIA = (
    "Natalia sold clips to 48 of her friends in April, and then she sold half as many clips in "
    "May. How many clips did Natalia sell altogether in April and May?"
)
PIES = "A baker sells 3 pies at $4 each on the first day. How much does he earn?"


def problem(text, answer="12", name="p"):
    return Problem(name, Question(text), answer)


# --------------------------------------------------------------------------- backward questions


def test_a_backward_question_is_worded_as_fobar_words_it():
    first, second = backward(problem(NATALIA, "72"))
    assert first.query == (
        "Natalia sold clips to x of her friends in April, and then she sold half as many clips in "
        "May. How many clips did Natalia sell altogether in April and May?\nIf we know the answer "
        "to the above question is 72, what is the value of unknown variable x?"
    )
    assert (first.answer, first.place, second.answer, second.place) == ("48", 1, "0.5", 2)
    assert "then she sold x times as many clips" in second.query


def test_the_variable_is_another_if_the_question_has_x():
    (one,) = backward(problem("Solve x = 3.", "3"))
    assert one.query.startswith("Solve x = X.\n") and one.query.endswith("unknown variable X?")
    (none,) = backward(problem("Solve x = 3X.", "3"))
    assert (none.query, none.reason) == ("", "part of a name or code")
    (none,) = backward(problem("Solve x = X + 3.", "3"))
    assert (none.query, none.reason) == ("", "the question has both variables, x and X")


def test_in_latex_the_variable_is_X_and_a_formula_stays_one():
    (one,) = backward(problem("Find $y$ if $y^{2}=a$.", r"\sqrt{a}"), latex=True)
    assert one.query.startswith("Find $y$ if $y^{X}=a$.\n")
    assert (
        r"the above question is $\sqrt{a}$, what is the value of unknown variable X?" in one.query
    )
    (one,) = backward(problem("Find $y = 3$.", "3"), latex=True)
    assert "the above question is 3, what" in one.query


def test_of_several_right_answers_the_first_is_given():
    (one,) = backward(problem("Who has 3 pies?", joined(["Ann", "Bo"])))
    assert "the above question is Ann, what" in one.query


def test_a_question_with_choices_is_not_asked_backwards():
    asked = Problem("p", Question("Which is 3?", (("A", "three"), ("B", "four"))), "A")
    assert [one.reason for one in backward(asked)] == [CHOICES]


# --------------------------------------------------------------------------- statements

SAID = "A baker sells 3 pies at $4 each on the first day. He earns $12."


@pytest.mark.parametrize(
    ("statement", "fault"),
    [
        (SAID, ""),
        (SAID.replace("3", "three"), ""),
        (" ", "it is empty"),
        (SAID + " Does he?", "it has a question mark"),
        ("A baker sells pies at $4 each. He earns $12.", "it lacks the number 3"),
        ("A baker sells 3 pies at $4 each.", "it lacks the answer 12"),
    ],
)
def test_a_statement_says_what_the_question_and_the_answer_say(statement, fault):
    assert statements.fault(problem(PIES), statement) == fault
    assert bool(list(statements.masked(problem(PIES), statement))) == (not fault)


def test_a_number_that_the_answer_equals_has_to_be_there_twice():
    same = problem("Ann had 12 nuts and 0 were lost. How many are left?")
    assert statements.fault(same, "Ann had 12 nuts and 0 were lost.") == "it lacks the answer 12"
    made = list(statements.masked(same, "Ann had 12 nuts and 0 were lost. 12 are left."))
    assert [query for query, _, _ in made] == [
        "Ann had x nuts and 0 were lost. 12 are left. What is the value of unknown variable x?",
        "Ann had 12 nuts and x were lost. 12 are left. What is the value of unknown variable x?",
    ]


def test_an_answer_in_words_has_to_be_in_the_statement():
    asked = problem("Who has 3 pies?", "Ann")
    assert statements.fault(asked, "Bo has 3 pies.") == "it lacks the answer Ann"
    assert statements.fault(asked, "ann has 3 pies.") == ""


def test_each_number_of_the_question_is_masked_in_a_statement_but_not_the_answer():
    made = list(statements.masked(problem(PIES), SAID))
    assert [(answer, record.text) for _, answer, record in made] == [("3", "3"), ("4", "4")]
    for query, _, record in made:
        assert query.endswith(" He earns $12. What is the value of unknown variable x?")
        assert masking.restore(query, record).startswith(SAID)


def test_a_statement_with_both_variables_is_not_masked():
    assert list(statements.masked(problem(PIES), SAID + " x X")) == []


# --------------------------------------------------------------------------- overlap


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Tom's shirt costs $1,250!", "tom’s  shirt\ncosts $1250", True),
        ("It costs $3.50.", "It costs $350.", False),
        ("$-3$", "$3$", False),
        ("(1, 2)", "(12)", False),
    ],
)
def test_texts_are_the_same_but_for_case_spaces_and_punctuation(one, other, same):
    assert (overlap.words(one) == overlap.words(other)) == same


LONG = "one two three four five six seven eight nine ten eleven twelve thirteen"


def test_a_text_may_be_a_test_problem_or_share_13_words_with_one():
    tests = overlap.HeldOut.of([problem(NATALIA, name="t1"), problem(LONG, name="t2")])
    found = tests.overlap(NATALIA.upper())
    assert found is not None and (found.problem, found.kind) == ("t1", "exact")
    found = tests.overlap(f"Read: {LONG.replace(' ', ', ')} and more")
    assert found == overlap.Overlap("t2", "13-gram", LONG)
    assert tests.overlap(LONG.replace("seven", "7")) is None
    assert tests.overlap(LONG.removesuffix(" thirteen")) is None


# --------------------------------------------------------------------------- the command

TEST = [NATALIA.replace("Natalia", "Mia"), "How many legs have 2 dogs?"]
TRAIN = [
    NATALIA,  # shares 13 words with a test problem
    "How many legs have 2 dogs ?",  # is one
    "A hen lays 3 eggs. How many eggs do 4 hens lay?",
    "A hen lays 5 eggs. How many eggs do 4 hens lay?",
    PIES,
    "How many were there at 10:30?",
]
ANSWERS = [72, 8, 12, 12, 12, 1, 30]


DEV = "How many fingers have 6 hands?"


def write_data(folder, task, train, test):
    """A folder with the files of a task, and a recipe that makes the last training row its dev
    split."""
    for name, rows in (("train", train), ("test", test)):
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"{name}.jsonl").write_text(text)
    for seed in range(100):
        options = {"data": str(folder), "dev": 1, "data_seed": seed}
        if [p.id for p in tasks.make(task, options).problems("dev")] == [f"train-{len(train)}"]:
            break
    (folder / "recipe.yaml").write_text(json.dumps({"task": {"name": task, "options": options}}))
    return folder


@pytest.fixture
def folder(tmp_path):
    """GSM8K's files, in small."""

    def rows(texts):
        answers = zip(texts, ANSWERS, strict=False)
        return [{"question": text, "answer": f"#### {answer}"} for text, answer in answers]

    return write_data(tmp_path, "gsm8k", rows([*TRAIN, DEV]), rows(TEST))


def run(folder, *more):
    """Run the command on the folder's recipe."""
    given = ["augment", "--task", str(folder / "recipe.yaml"), "--questions-only", *more]
    return CliRunner().invoke(cli, given)


def read(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_the_command_writes_questions_and_says_what_became_of_each_number(folder):
    out, removed = folder / "out.jsonl", folder / "removed.jsonl"
    done = run(folder, "--out", str(out), "--removed", str(removed))
    assert done.exit_code == 0, done.output
    assert done.output.splitlines() == [
        "6 problems, 11 numbers: 9 masked, 2 not",
        "      1 an ordinal",
        "      1 a time of day",
        "left out: 1 duplicate, 1 of a test problem, 2 that share 13 words in a row with one",
        f"5 questions written to {out}",
    ]
    rows = read(out)
    assert [(row["id"], row["type"], row["answer"]) for row in rows] == [
        ("train-3/fobar-1", "GSM_FOBAR", "3"),
        ("train-3/fobar-2", "GSM_FOBAR", "4"),
        ("train-4/fobar-2", "GSM_FOBAR", "4"),
        ("train-5/fobar-1", "GSM_FOBAR", "3"),
        ("train-5/fobar-2", "GSM_FOBAR", "4"),
    ]
    assert rows[0]["original_question"] == TRAIN[2]
    assert rows[0]["masked"] == {"start": 11, "end": 12, "text": "3", "by": "x", "kind": "integer"}
    for row in rows:
        whole = masking.restore(row["query"], Masked(**row["masked"]))
        assert whole.startswith(row["original_question"] + "\nIf we know the answer")
    assert [(row["id"], row["why"], row["of"]) for row in read(removed)] == [
        ("train-1/fobar-1", "13-gram", "test-1"),
        ("train-1/fobar-2", "13-gram", "test-1"),
        ("train-2/fobar-1", "exact", "test-2"),
        ("train-4/fobar-1", "duplicate", "train-3/fobar-1"),
    ]


def test_the_test_split_is_not_read_if_it_is_not_compared_with(folder):
    (folder / "test.jsonl").unlink()
    out = folder / "out.jsonl"
    done = run(folder, "--out", str(out))
    assert done.exit_code and "--no-decontaminate leaves the test split unread" in str(
        done.exception
    )
    assert not out.exists()
    done = run(folder, "--out", str(out), "--no-decontaminate")
    assert "left out: 1 duplicate; not compared with the test problems" in done.output
    assert len(read(out)) == 8


def test_counts_as_json_of_the_first_problems(folder):
    done = run(folder, "--out", str(folder / "o.jsonl"), "--max-problems", "3", "--json")
    assert json.loads(done.output) == {
        "command": "augment", "task": "gsm8k", "problems": 3, "numbers": 5, "masked": 5,
        "not_masked": {}, "duplicates": 0, "test_exact": 1, "test_13_gram": 2, "rows": 2,
        "out": str(folder / "o.jsonl"),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--kinds", "sv"], "--kinds sv needs a model, and --questions-only uses none: give"),
        (["--kinds", "fobar,ansaug"], "--kinds ansaug needs a model"),
        (["--kinds", "fobr"], "--kinds fobr: there is only fobar"),
        (["--removed", "out.jsonl"], "--removed out.jsonl is also --out: give another file"),
        (["--removed", "r.txt"], "--removed r.txt: give a name that ends in .jsonl"),
        (["--removed", "test.jsonl"], "test.jsonl exists: give another --removed, or --force"),
        (["--task", "arithmetik"], "unknown task 'arithmetik': did you mean arithmetic?"),
        (["--agree", "2"], "--agree needs a model, and --questions-only uses none"),
        (["--part", "3/2"], "'3/2' is no part: write i/n, such as 1/4"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_writes_nothing(folder, monkeypatch, more, message):
    monkeypatch.chdir(folder)
    done = run(folder, "--out", "out.jsonl", *more)
    refused = isinstance(done.exception, StarError)
    assert message in (str(done.exception) if refused else done.output) and done.exit_code
    assert not (folder / "out.jsonl").exists() and not (folder / "r.txt").exists()


def test_the_parts_together_are_the_whole(folder):
    for i in (1, 2, 3):
        run(folder, "--out", str(folder / f"{i}.jsonl"), "--part", f"{i}/3", "--no-decontaminate")
    run(folder, "--out", str(folder / "whole.jsonl"), "--no-decontaminate")
    parts = [(folder / f"{i}.jsonl").read_text() for i in (1, 2, 3)]
    whole = (folder / "whole.jsonl").read_text()
    assert "".join(parts).replace(
        duplicate := parts[1].splitlines()[0] + "\n", ""
    ) == whole.replace(duplicate, "")


def test_a_file_is_overwritten_only_if_that_is_wanted(folder):
    out = folder / "out.jsonl"
    out.write_text("mine")
    assert "exists: give another --out" in str(run(folder, "--out", str(out)).exception)
    assert out.read_text() == "mine"
    assert run(folder, "--out", str(out), "--force").exit_code == 0
    assert len(read(out)) == 5


class Few:
    """A task of the problems that it is given."""

    name = "my-task"

    def __init__(self, *texts):
        self.texts = texts

    def problems(self, split):
        return [problem(text, name=f"{split}-{i}") for i, text in enumerate(self.texts)]


def test_no_question_at_all_is_an_error(tmp_path):
    out = tmp_path / "out.jsonl"
    with pytest.raises(NothingKept, match="2 problems have 2 numbers, none of which can be masked"):
        masked_questions.write(Few("the first", "the second box"), out)
    with pytest.raises(NothingKept, match="1 problems have 0 numbers, none of which can be masked"):
        masked_questions.write(Few("Why?"), out)
    with pytest.raises(NothingKept, match="all 1 masked questions are duplicates or too near"):
        masked_questions.write(Few("Are 3 many?"), out)
    assert not out.exists()


def test_rows_of_another_task_are_named_by_it(tmp_path):
    out = tmp_path / "out.jsonl"
    masked_questions.write(Few("Are 3 many?"), out, decontaminate=False)
    assert read(out)[0]["type"] == "MY_TASK_FOBAR"


def test_the_rows_of_competition_mathematics_are_named_as_in_metamathqa(tmp_path):
    pytest.importorskip("mpmath")
    train, dev, test = (
        {"problem": f"Find $a$ if $a = 7$ ({name}).", "solution": r"\boxed{7}", "level": "1"}
        for name in ("train", "dev", "test")
    )
    write_data(tmp_path, "math", [train, dev], [test])
    run(tmp_path, "--out", str(tmp_path / "out.jsonl"))
    (row,) = read(tmp_path / "out.jsonl")
    assert (row["type"], row["answer"]) == ("MATH_FOBAR", "7")
    assert row["query"].startswith("Find $a$ if $a = X$ (train).\n")


@pytest.mark.slow
def test_the_questions_of_500_problems_of_gsm8k_are_as_the_page_says(tmp_path):
    source = data_file("gsm8k/train.jsonl").parent
    task = tasks.make("gsm8k", {"data": str(source), "dev": 200})
    done = masked_questions.write(task, tmp_path / "out.jsonl", max_problems=500)
    page = (Path(__file__).parent.parent / "docs/augment.md").read_text(encoding="utf-8")
    column = [line.split("|")[2].strip() for line in page.splitlines() if line.startswith("| ")]
    for count in (done["numbers"], done["masked"], done["rows"], done["not_masked"][why.ORDINAL]):
        assert f"{count:,}" in column
    assert done["numbers"] == done["masked"] + sum(done["not_masked"].values())
    for row in read(tmp_path / "out.jsonl"):
        whole = masking.restore(row["query"], Masked(**row["masked"]))
        assert whole.startswith(row["original_question"] + "\n")
