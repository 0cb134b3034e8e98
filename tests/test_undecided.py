"""An answer that is neither right nor wrong, from the data to the report."""

from __future__ import annotations

import json

import msgspec
import pytest

from star_mlx.engine.scripted import ScriptedEngine
from star_mlx.errors import TaskError
from star_mlx.measure import findings, trace
from star_mlx.recipe.loading import load
from star_mlx.report import samples
from star_mlx.run import loop, passes
from star_mlx.store import metrics, names, rows
from star_mlx.tasks import make
from star_mlx.types import Attempt, Completion

OPTIONS = {"fields": {"question": "q", "answer": "a"}, "read": {"kind": "math"}, "dev": 2}
ROWS = [{"q": f"Half of {2 * n}x?", "a": f"{n}x"} for n in range(1, 9)]


@pytest.fixture
def data(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def write(more=()):
        text = "".join(json.dumps(row) + "\n" for row in [*ROWS, *more])
        (tmp_path / "mine.jsonl").write_text(text)
        return make("jsonl", {"path": "mine.jsonl", **OPTIONS})

    return write


@pytest.mark.slow
def test_a_right_answer_that_cannot_be_read_is_named_by_file_and_line(data):
    task = data([{"q": "?", "a": "\\frac{1}{"}])
    with pytest.raises(TaskError, match=r"mine.jsonl, line 9: .* cannot be read"):
        task.problems("train")
    skipping = make("jsonl", {"path": "mine.jsonl", **OPTIONS, "on_bad_row": "skip"})
    assert len(skipping.problems("train")) == 6 and "line 9" in skipping.skipped()[0]


@pytest.mark.slow
def test_an_undecided_attempt_is_not_kept(data):
    task = data()
    problem = task.problems("train")[0]
    made = passes.judge(task, problem, Completion("\\boxed{1/2x}", (1,), "stop"), hinted=False)
    assert made.answer == "1/2x" and not made.correct and not made.kept
    assert "more than one reading" in made.undecided
    right = passes.judge(
        task, problem, Completion(f"\\boxed{{{problem.answer}}}", (1,), "stop"), hinted=False
    )
    assert right.kept and not right.undecided


@pytest.mark.slow
def test_a_run_counts_them_and_never_trains_on_them(data, tmp_path):
    """Every second problem is answered in a form that has two readings, also with the hint."""
    data()

    def reply(asked):
        question = asked.prompt.rpartition("Q: ")[2]
        n = int(question.split("of ")[1].split("x")[0]) // 2
        return f" Half of it. The answer is ${n}/1x$." if n % 2 else f" The answer is ${n}x$."

    examples = [{"question": "Half of 40x?", "answer": "20x", "rationale": "40 / 2 = 20."}]
    (tmp_path / "few.yaml").write_text(json.dumps(examples))
    overrides = [
        "task.options.path=mine.jsonl", 'task.options.fields={question: q, answer: a}',
        "task.options.read={kind: math}", "task.options.dev=2", "prompts.file=few.yaml",
        "star.iterations=1", "star.schedule.start=2", "star.problems=6",
    ]  # fmt: skip
    run = tmp_path / "run"
    recipe = load(None, task="jsonl", overrides=overrides)
    loop.run(recipe, run, lambda event: None, engine=ScriptedEngine(reply))
    [made] = rows.read(run / names.ITERATIONS / "001" / names.ATTEMPTS, Attempt)
    undecided = [row for row in made if row.undecided]
    [kept] = rows.read(run / names.ITERATIONS / "001" / names.EXAMPLES, dict)
    assert undecided and kept and not {row.id for row in undecided} & {row["id"] for row in kept}
    lines = (run / names.METRICS).read_text().splitlines()
    assert json.loads(lines[1])["undecided"] == len(undecided)
    assert metrics.of(json.loads(lines[1])).undecided == len(undecided)


def test_older_files_have_no_such_key():
    row = {"id": "p", "hinted": False, "completion": "", "answer": "1", "correct": False,
           "finish": "stop", "token_ids": [1], "rejected": ""}  # fmt: skip
    assert rows.attempt(row).undecided == ""
    assert metrics.of({"iteration": 0}).undecided is None
    assert b"undecided" not in rows.attempts([rows.attempt(row)])


def test_it_is_shown_as_undecided():
    row = rows.AttemptText("p", False, "1/2x", "1/2x", False, "stop", undecided="two readings")
    assert samples._kind(row) == "undecided"
    assert "undecided; right is x; two readings" in trace._verdict(row, "x")
    assert samples._kind(msgspec.structs.replace(row, finish="length")) == "cut off"


def test_results_count_them(data):
    task = make("arithmetic", {})
    problem = task.problems("dev")[0]
    made = [Attempt(problem.id, False, "", "1", False, "stop", (1,), undecided="why")]
    found = findings.summary(task, [problem], made, "dev", 1)
    assert found.undecided == 1
    assert "  1 undecided, which count as not right" in findings.report(found)
