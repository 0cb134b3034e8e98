"""Grading completions that exist already."""

from __future__ import annotations

import io
import json

import pytest
from click.testing import CliRunner

from star_mlx.cli import cli
from star_mlx.errors import TaskError
from star_mlx.measure import grade
from star_mlx.measure.accuracy import wilson
from star_mlx.types import Problem, Question


class Capitals:
    """A task of one line: the completion is the answer, unless it is empty."""

    name = "capitals"

    def pose_row(self, row):
        if not isinstance(row.get("gold"), str):
            raise TaskError("it has no gold answer")
        return Problem("", Question(row.get("question", "")), row["gold"])

    def read(self, completion, question):
        assert isinstance(question, Question)
        return completion.strip() or None

    def equal(self, answer, gold):
        return answer.casefold() == gold.casefold()


ROWS = [
    {"completion": "Paris", "gold": "paris", "correct": True},
    {"completion": "Rome", "gold": "paris", "correct": True, "n": 7},
    {"completion": " ", "gold": "paris", "correct": False},
    {"completion": "", "gold": "paris", "correct": True},
    {"completion": "Paris", "gold": "paris"},
]


def lines(rows):
    return [json.dumps(row).encode() + b"\n" for row in rows]


def test_rows_are_counted_by_verdict_and_against_their_own_label():
    low, high = wilson(2, 5)
    assert grade.grade_lines(Capitals(), lines(ROWS), "f") == {
        "task": "capitals",
        "rows": 5,
        "correct": 2,
        "wrong": 1,
        "not_found": 2,
        "accuracy": 0.4,
        "ci95": [round(low, 4), round(high, 4)],
        "labelled": 4,
        "agree": 2,
        "disagree": 2,
        "agreement": 0.5,
    }


def test_without_labels_there_is_no_agreement():
    counts = grade.grade_lines(Capitals(), lines(ROWS[4:]), "f")
    assert "labelled" not in counts and "agreement" not in counts


def test_a_verdict_is_of_a_row():
    verdicts = [g.verdict for g in grade.graded(Capitals(), (("f", row) for row in ROWS))]
    assert verdicts == ["correct", "wrong", "not_found", "not_found", "correct"]


def test_disagreements_are_the_whole_rows(tmp_path):
    out = tmp_path / "out.jsonl"
    grade.grade_lines(Capitals(), lines(ROWS), "f", out)
    written = [json.loads(line) for line in out.read_text().splitlines()]
    assert written == [
        {**ROWS[1], "read": "Rome", "verdict": "wrong"},
        {**ROWS[3], "read": None, "verdict": "not_found"},
    ]
    grade.grade_lines(Capitals(), lines(ROWS[:1]), "f", out)
    assert out.read_bytes() == b""


BAD = [
    (b"{", "line 2 is not JSON"),
    (b"[1]", "line 2 is not a JSON object"),
    (b"\xff", "line 2 is not UTF-8"),
    (b"[" * 100_000, "line 2 is JSON that cannot be read"),
    (b'{"n": ' + b"1" * 5000 + b"}", "line 2 is JSON that cannot be read"),
    (b'{"gold": "x"}', "line 2: it has no completion"),
    (b'{"completion": 5, "gold": "x"}', "line 2: its completion is not text"),
    (b'{"completion": "x"}', "line 2: it has no gold"),
    (b'{"completion": "x", "gold": ""}', "line 2: it has no gold"),
    (b'{"completion": "x", "gold": "x", "correct": 1}', "line 2: its correct is 1"),
    (b'{"completion": "x", "gold": "x", "correct": null}', "line 2: its correct is null"),
]


@pytest.mark.parametrize(("bad", "said"), BAD)
def test_a_bad_row_is_named_and_nothing_is_written(tmp_path, bad, said):
    out = tmp_path / "out.jsonl"
    out.write_text("before")
    file = tmp_path / "in.jsonl"
    file.write_bytes(b"".join(lines(ROWS[1:2])) + bad + b"\n")
    with pytest.raises(TaskError) as caught:
        grade.grade_file(Capitals(), file, out)
    assert f"{file}, {said}" in str(caught.value) and "\n" not in str(caught.value)
    assert out.read_text() == "before"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.jsonl", "out.jsonl"]


@pytest.mark.parametrize("content", [b"", b"\n \n", b"\xef\xbb\xbf"])
def test_an_empty_file_is_an_error(content):
    with pytest.raises(TaskError, match="f holds no rows"):
        grade.grade_lines(Capitals(), io.BytesIO(content), "f")


def test_a_byte_order_mark_and_blank_lines_are_no_rows():
    content = b"\xef\xbb\xbf" + b"\r\n\n".join(lines(ROWS[:2])) + b"\n"
    assert grade.grade_lines(Capitals(), io.BytesIO(content), "f")["rows"] == 2


def test_files_that_cannot_be_read_or_written_are_named(tmp_path):
    missing, file = tmp_path / "missing.jsonl", tmp_path / "in.jsonl"
    file.write_bytes(b"".join(lines(ROWS)))
    with pytest.raises(TaskError, match="cannot be read"):
        grade.grade_file(Capitals(), missing)
    with pytest.raises(TaskError, match="cannot be written"):
        grade.grade_file(Capitals(), file, tmp_path / "no" / "out.jsonl")
    with pytest.raises(TaskError, match="is the graded file: give another"):
        grade.grade_file(Capitals(), file, file)
    assert file.read_bytes() == b"".join(lines(ROWS))


def test_a_bug_in_a_task_is_no_wrong_answer():
    class Broken(Capitals):
        def read(self, completion, question):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        grade.grade_lines(Broken(), lines(ROWS), "f")


# ------------------------------------------------------------------ the command, on real tasks


GSM8K = [
    {"completion": "9 * 2 = <<9*2=18>>18\n#### 18", "answer": "So 18\n#### 18", "correct": True},
    {"completion": "The answer is $1,200.", "gold": 1200, "correct": True},
    {"completion": "\\boxed{5}", "gold": "25", "question": "How many?", "correct": False},
    {"completion": "I do not know", "gold": "#### 3", "correct": False},
]


def test_the_command_grades_gsm8k_from_a_file_and_from_standard_input(tmp_path):
    file = tmp_path / "in.jsonl"
    file.write_bytes(b"".join(lines(GSM8K)))
    found = CliRunner().invoke(cli, ["grade", "--task", "gsm8k", str(file)], catch_exceptions=False)
    counts = json.loads(found.stdout)
    assert (counts["correct"], counts["wrong"], counts["not_found"]) == (2, 1, 1)
    assert (counts["labelled"], counts["agreement"]) == (4, 1.0)
    piped = CliRunner().invoke(cli, ["grade", "--task", "gsm8k", "-"], input=file.read_bytes())
    assert piped.stdout == found.stdout


def test_the_command_grades_commonsenseqa(tmp_path):
    choices = [
        {"label": k, "text": t} for k, t in zip("ABC", ["bank", "river", "moon"], strict=True)
    ]
    own = {"question": {"stem": "Where is water?", "choices": choices}, "answerKey": "B"}
    rows = [
        {"completion": " It flows. So the answer is (B).", **own},
        {"completion": " It flows. So the answer is river.", **own},
        {"completion": " So the answer is (C).", **own},
        {"completion": "Hm.", "gold": "B"},
    ]
    file = tmp_path / "in.jsonl"
    file.write_bytes(b"".join(lines(rows)))
    found = CliRunner().invoke(
        cli, ["grade", "--task", "commonsenseqa", str(file)], catch_exceptions=False
    )
    counts = json.loads(found.stdout)
    assert (counts["correct"], counts["wrong"], counts["not_found"]) == (2, 1, 1)


# ------------------------------------------------------------------ rows that are shown


def test_the_rows_that_say_most_are_shown_first():
    def shown(most):
        kept = grade.RowsToShow(most)
        grade.grade_lines(Capitals(), lines(ROWS), "f", shown=kept)
        return [(row.place, row.verdict, row.gold) for row in kept.rows]

    every = [
        ("f, line 3", "not_found", "paris"),
        ("f, line 4", "not_found", "paris"),
        ("f, line 2", "wrong", "paris"),
        ("f, line 1", "correct", "paris"),
        ("f, line 5", "correct", "paris"),
    ]
    assert shown(9) == every and shown(3) == every[:3] and shown(0) == []


def test_the_command_shows_rows_beside_the_counts_and_nothing_that_a_terminal_obeys(tmp_path):
    rows = [
        {
            "completion": "x\x1b[2J" + "y" * 3000 + "\nThe answer is 5.",
            "gold": "7",
            "correct": True,
        },
        {"completion": "I do not know", "gold": "7", "correct": False},
        {"completion": "#### 7", "gold": "7"},
    ]
    file = tmp_path / "in.jsonl"
    file.write_bytes(b"".join(lines(rows)))
    arguments = ["grade", "--task", "gsm8k", "--show", "2", str(file)]
    found = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert json.loads(found.stdout)["rows"] == 3
    unread, wrong = found.stderr.removesuffix("\n\n").split("\n\n")
    assert unread == (
        f"{file}, line 2: not found, labelled wrong\n  completion: I do not know\n"
        "  read:       nothing\n  right:      7"
    )
    assert wrong.startswith(f"{file}, line 1: wrong, labelled correct\n  completion: ... yyy")
    assert wrong.endswith("y\n    The answer is 5.\n  read:       5\n  right:      7")
    assert len(wrong) < 1500 and "\x1b" not in found.stderr
    assert CliRunner().invoke(cli, arguments[:3] + arguments[5:]).stderr == ""


# ------------------------------------------------------------------ undecided, and second opinions


MATH = [
    {"completion": r"So \boxed{\frac{\sqrt{8}}{2}}", "gold": r"\sqrt{2}", "correct": True},
    {"completion": r"So \boxed{1/2x}", "gold": r"\frac{x}{2}"},
    {"completion": r"So \boxed{1/2^{98}}", "gold": r"1/2^{99}"},
    {"completion": "Hm.\nI give up.", "gold": "5"},
    {"completion": r"So \boxed{0.25}", "gold": r"\frac14"},
]


@pytest.fixture
def graded_math(tmp_path):
    """Grade the rows of ``MATH`` with options of the command."""
    recipe, file = tmp_path / "recipe.yaml", tmp_path / "in.jsonl"
    options = "{path: mine.jsonl, fields: {question: q, answer: a}, read: {kind: math}}"
    recipe.write_text(f"task: {{name: jsonl, options: {options}}}\n")
    file.write_bytes(b"".join(lines(MATH)))
    (tmp_path / "mine.jsonl").write_text('{"q": "1+1?", "a": "2"}\n')

    def run(*options):
        command = ["grade", "--task", str(recipe), str(file), *options]
        return CliRunner().invoke(cli, command, catch_exceptions=False)

    return run


@pytest.mark.slow
def test_undecided_rows_are_counted_apart_and_listed_with_their_reason(graded_math):
    found = graded_math("--undecided")
    counts = json.loads(found.stdout)
    assert [counts[key] for key in ("correct", "wrong", "not_found", "undecided")] == [2, 1, 1, 1]
    assert counts["accuracy"] == 0.4
    assert "line 2: undecided" in found.stderr and "more than one reading" in found.stderr
    assert "line 3" not in found.stderr


@pytest.mark.slow
def test_a_second_opinion_lists_where_others_differ(graded_math):
    pytest.importorskip("math_verify")
    found = graded_math("--second-opinion")
    said = json.loads(found.stdout)["second_opinion"]
    assert said["metamath"]["agree"] + said["metamath"]["disagree"] == 4
    assert said["math-verify"]["disagree"] >= 1
    third = found.stderr.partition("line 3: wrong")[2].partition("in.jsonl")[0]
    assert "math-verify: right" in third and "metamath" not in third
    last = found.stderr.partition("line 5: correct")[2]
    assert "metamath:   wrong" in last


def test_a_second_opinion_is_for_mathematical_answers_only(tmp_path):
    file = tmp_path / "in.jsonl"
    file.write_bytes(b"".join(lines(GSM8K)))
    found = CliRunner().invoke(cli, ["grade", "--task", "gsm8k", str(file), "--second-opinion"])
    assert isinstance(found.exception, TaskError) and "mathematical" in str(found.exception)
    assert (
        "undecided" not in CliRunner().invoke(cli, ["grade", "--task", "gsm8k", str(file)]).stdout
    )
