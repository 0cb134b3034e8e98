r"""The task ``math``: rows to problems, its test split, prompts, answers in ``\boxed{}``."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from click.testing import CliRunner

from star_mlx import prompts, tasks
from star_mlx.cli import cli
from star_mlx.data import hub_files
from star_mlx.engine.scripted import ScriptedEngine
from star_mlx.errors import TaskError
from star_mlx.events import Notice
from star_mlx.export import facts
from star_mlx.init_task import init_task
from star_mlx.recipe.loading import load
from star_mlx.recipe.shipped import prompts_dir
from star_mlx.run import loop, passes
from star_mlx.store import metrics, names, rows
from star_mlx.tasks import make, math500, math_text
from star_mlx.tasks.math import HUB_FILES, REPOSITORY
from star_mlx.types import Attempt, Completion, Problem, Question
from tests.data_files import data_file

MATH = make("math", {})
# A row of MATH (Hendrycks et al. 2021, MIT).
PERCENT = {
    "problem": "What is the positive difference between $120\\%$ of 30 and $130\\%$ of 20?",
    "level": "Level 1",
    "type": "Algebra",
    "solution": "One hundred twenty percent of 30 is $120\\cdot30\\cdot\\frac{1}{100}=36$, and "
    "$130\\%$ of 20 is $ 130\\cdot 20\\cdot\\frac{1}{100}=26$.  The difference between 36 and 26 "
    "is $\\boxed{10}$.",
}


def row(n, answer=None, **more):
    answer = answer or f"\\frac{{{n}}}{{7}}"
    return {
        "problem": f"What is {n} divided by 7?",
        "level": f"Level {n % 5 + 1}",
        "type": "Algebra" if n % 2 else "Number Theory",
        "solution": f"It is $\\boxed{{{answer}}}$.",
        **more,
    }


def folder(path, train, test=()):
    path.mkdir(exist_ok=True)
    for name, written in (("train", train), ("test", test)):
        text = "".join(json.dumps(one) + "\n" for one in written)
        (path / f"{name}.jsonl").write_text(text, encoding="utf-8")
    return path


def opened(path, train, test=(), **options):
    return make("math", {"data": str(folder(path, train, test)), "dev": 2, **options})


# --------------------------------------------------------------------------- rows


def test_a_row_of_math():
    problem = MATH.pose_row(PERCENT)
    assert (problem.question.text, problem.answer) == (PERCENT["problem"], "10")
    assert problem.group == "1" and MATH.classes == "level"
    assert problem.rationale.endswith("between 36 and 26 is $10$.")
    worked = MATH.worked(problem.rationale, "10")
    assert worked == f" {problem.rationale}\nThe answer is $\\boxed{{10}}$."
    assert MATH.worked(None, "10") == " The answer is $\\boxed{10}$."
    assert MATH.read(worked, problem.question) == "10"
    by_subject = make("math", {"by": "subject"})
    assert by_subject.pose_row(PERCENT).group == by_subject.classes.replace("subject", "Algebra")


def test_a_row_of_math_500_and_one_that_is_only_graded():
    published = {
        "unique_id": "test/algebra/1.json",
        "subject": "Algebra",
        "level": 3,
        "problem": "x?",
        "answer": "\\text{east}",
        "solution": "It is \\boxed{no}.",
    }
    problem = MATH.pose_row(published)
    assert (problem.id, problem.group) == ("test/algebra/1.json", "3")
    assert problem.answer == "\\text{east}"
    assert make("math", {"by": "subject"}).pose_row(published).group == "Algebra"
    assert MATH.pose_row({"gold": "$\\frac12$"}).answer == "\\frac12"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (r"so $\boxed{\frac{\sqrt{3}}{2}}$.", r"\frac{\sqrt{3}}{2}"),
        (r"$\boxed{1}$ at first, but then $\boxed{\{1, 2\}}$", r"\{1, 2\}"),
        (r"\fbox {7} units", "7"), (r"\boxed{\boxed{5}}", "5"),
        ("The answer is $x^2+1$.", "x^2+1"), ("So the final answer is: **12**", "12"),
        (r"\boxed{3}" + "\n\nQuestion: What is 2+2?\nIt is $\\boxed{4}$.", "3"),
        ("Nothing is given that would tell us how long it is.", None),
        (r"It is $\boxed{\frac{1", None),
    ],
)  # fmt: skip
def test_the_answer_of_a_completion(text, found):
    assert MATH.read(text, Question("?")) == found


def test_a_text_without_its_boxes():
    assert math_text.unboxed(r"$a=\boxed{\frac{1}{2}}$ and \boxed{2}") == r"$a=\frac{1}{2}$ and 2"
    assert math_text.unboxed(r"\boxed{1 and \boxed{2}") == r"\boxed{1 and \boxed{2}"


def test_blank_lines_in_a_solution_do_not_end_a_completion():
    problem = MATH.pose_row({**PERCENT, "solution": "One.\n\n \nTwo is $\\boxed{2}$."})
    assert problem.rationale == "One.\nTwo is $2$."


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ({"problem": "x?", "solution": "It is 5."}, r"no answer in \\boxed{}"),
        ({"problem": "x?"}, "its solution is missing"),
        ({"problem": "x?", "solution": r"$\boxed{\frac{1}}$"}, "cannot be read as mathematics"),
        ({"problem": " ", "solution": r"$\boxed{1}$"}, "its problem is blank"),
        ({"problem": "x?", "answer": "1/2x"}, "more than one reading"),
    ],
)
def test_rows_that_cannot_be_used_are_named_by_file_and_line(tmp_path, bad, says):
    rows_ = [*(row(n) for n in range(1, 7)), bad]
    with pytest.raises(TaskError, match=rf"train\.jsonl, line 7: .*{says}.*; fix it"):
        opened(tmp_path / "d", rows_).problems("train")
    task = opened(tmp_path / "d", rows_, on_bad_row="skip")
    assert len(task.problems("train")) == 4 and "line 7" in task.skipped()[0]


# --------------------------------------------------------------------------- splits


def test_the_test_split_is_known_by_its_problems_and_never_trained_on(tmp_path, monkeypatch):
    assert len(math500.IDS) == 500
    test = [row(n) for n in (40, 41)]
    ids = {math500.identity(one["problem"]) for one in test}
    assert math500.identity(" What is 40\ndivided  by 7?") in ids
    monkeypatch.setattr(math500, "IDS", frozenset(ids))
    task = opened(tmp_path / "d", [*(row(n) for n in range(1, 9)), test[0]], test)
    there = {p.question.text for s in ("train", "dev") for p in task.problems(s)}
    assert len(there) == 8 and test[0]["problem"] not in there
    assert task.skipped() == ("1 training problems of the test split MATH-500",)
    assert [p.answer for p in task.problems("test")] == ["\\frac{40}{7}", "\\frac{41}{7}"]


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """Files of rows for those of the Hub: a function that takes them by their names."""

    def of(by_file):
        def fetch(repository, files, revision=None):
            assert repository == REPOSITORY
            paths = []
            for number, file in enumerate(files):
                paths.append(tmp_path / f"{file.replace('/', '-')}-{number}.jsonl")
                lines = [json.dumps(one) + "\n" for one in by_file.get(file, [row(10**6 + number)])]
                paths[-1].write_text("".join(lines))
            return paths

        monkeypatch.setattr(hub_files, "fetch", fetch)

    return of


def test_from_the_hub_the_other_test_problems_are_trained_on(hub, monkeypatch):
    train, test = HUB_FILES["train"], HUB_FILES["test"]
    assert len(train) == len(test) == 7 and train[0] == "algebra/train-00000-of-00001.parquet"
    held_out = [row(n) for n in (50, 51, 52)]
    monkeypatch.setattr(
        math500, "IDS", frozenset(math500.identity(one["problem"]) for one in held_out)
    )
    by_file = {name: [row(n)] for n, name in enumerate(train, 1)}
    by_file |= {name: [row(100 + n)] for n, name in enumerate(test)}
    by_file[test[0]] = [held_out[0], row(99), held_out[1]]
    by_file[test[6]] = [held_out[2]]
    hub(by_file)
    task = make("math", {"dev": 3})
    found = {p.question.text for s in ("train", "dev") for p in task.problems(s)}
    numbers = {*range(1, 8), 99, *range(101, 106)}
    assert found == {row(n)["problem"] for n in numbers} and task.skipped() == ()
    assert [p.question.text for p in task.problems("test")] == [x["problem"] for x in held_out]
    by_file[test[6]] = [row(60)]
    with pytest.raises(
        TaskError, match="has 2 of the 3 test problems, so it has changed: give --d"
    ):
        make("math", {"dev": 3}).problems("test")


def test_without_mpmath_it_says_so_before_a_run(tmp_path, monkeypatch):
    task = opened(tmp_path / "d", [row(n) for n in range(9)])
    monkeypatch.setattr("star_mlx.tasks.math.find_spec", lambda name: None)
    with pytest.raises(TaskError, match=r'needs mpmath: pip install "star-mlx\[math\]"'):
        task.problems("train")


def test_figures_are_left_in_and_counted(tmp_path):
    figure = "[asy]\ndraw((0,0)--(1,1));\n[/asy]"
    drawn = [row(n, problem=f"How long is {n}?\n{figure}") for n in (20, 21)]
    task = opened(tmp_path / "d", [*(row(n) for n in range(1, 9)), *drawn])
    [note] = tasks.notes(task)
    assert note.startswith("2 of 10 problems have a figure")
    asked = [p.question.text for s in ("train", "dev") for p in task.problems(s)]
    assert sum(figure in text for text in asked) == 2
    assert tasks.notes(opened(tmp_path / "e", [row(n) for n in range(9)])) == ()
    assert tasks.notes(make("gsm8k", {})) == ()


# --------------------------------------------------------------------------- prompts


def test_the_shipped_few_shot_prompt_and_its_hinted_twin():
    loaded = prompts.load(prompts_dir() / "math" / "few_shot.yaml", MATH)
    plain, hinted = loaded.few_shot(hinted=False), loaded.few_shot(hinted=True)
    assert len(loaded.examples) == plain.count("Q: ") == 4
    assert "Find $b$.\nA:" in plain and "Find $b$. ($13$)\nA:" in hinted
    assert hinted.count("\nThe answer is $\\boxed{") == 4
    for shot in loaded.examples:
        hinted = hinted.replace(f" (${shot.answer}$)\nA:", "\nA:")
        worked = MATH.worked(shot.rationale, shot.answer)
        assert not MATH.cites_hint(shot, worked) and prompts.BETWEEN not in worked
    assert hinted == plain


@pytest.mark.parametrize(
    ("text", "cites"),
    [
        (" $2+3=5$\nThe answer is $\\boxed{5}$.", False),
        (" First the sum in parentheses, $2+3=5$.\nThe answer is $\\boxed{5}$.", False),
        (" $2+3=5$, as the answer in parentheses says.\nThe answer is $\\boxed{5}$.", True),
        (" By the hint, $2+3=5$.\nThe answer is $\\boxed{5}$.", True),
        (" The answer is $\\boxed{5}$.", True), ("$\\boxed{5}$", True), (" So $x=5$.", False),
        (" Counting all of them gives five.\nThe answer is $\\boxed{5}$.", False),
    ],
)  # fmt: skip
def test_a_rationale_that_speaks_of_its_hint(text, cites):
    assert MATH.cites_hint(Problem("", Question("?"), "5"), text) is cites


def test_more_phrases_are_leaks_in_prose():
    told = " The correct answer is 5. Let's see: $2+3=5$.\nThe answer is $\\boxed{5}$."
    problem = Problem("", Question("?"), "5")
    assert make("math", {"prose": True}).cites_hint(problem, told)
    assert not MATH.cites_hint(problem, told)


# --------------------------------------------------------------------------- answers in a run


@pytest.mark.slow
def test_an_undecided_answer_is_not_right_and_not_trained_on(tmp_path, monkeypatch):
    """Every second problem is answered in a form that has two readings, also with the hint."""
    monkeypatch.chdir(tmp_path)
    figure = row(30, problem="What is 30 divided by 7? [asy]draw((0,0));[/asy]", answer="30x")
    train = [*(row(n, answer=f"{n}x") for n in range(1, 12)), figure]
    path = folder(tmp_path / "d", train)

    def reply(asked):
        n = int(asked.prompt.rpartition("What is ")[2].split()[0])
        return f" It is {n}.\nThe answer is $\\boxed{{{n}{'/1' * (n % 2)}x}}$."

    overrides = ["star.iterations=1", "star.problems=10", "star.schedule={kind: linear, start: 2}",
                 "task.options.dev=2", "generate.chunk=4"]  # fmt: skip
    recipe = load("math", data=str(path), overrides=overrides)
    events = []
    loop.run(recipe, tmp_path / "run", events.append, engine=ScriptedEngine(reply))
    [made] = rows.read(tmp_path / "run" / names.ITERATIONS / "001" / names.ATTEMPTS, Attempt)
    [kept] = rows.read(tmp_path / "run" / names.ITERATIONS / "001" / names.EXAMPLES, dict)
    undecided = {one.id for one in made if "more than one reading" in one.undecided}
    assert undecided and kept and not undecided & {one["id"] for one in kept}
    assert [e for e in events if isinstance(e, Notice) and "1 of 12 problems have a fig" in e.text]
    lines = (tmp_path / "run" / names.METRICS).read_text().splitlines()
    assert metrics.of(json.loads(lines[1])).dev.classes == "level"


@pytest.mark.slow
def test_a_dry_run_says_how_many_problems_have_a_figure(tmp_path):
    figure = row(30, problem="How long is it? [asy]draw((0,0));[/asy]")
    path = folder(tmp_path / "d", [*(row(n) for n in range(1, 9)), figure])
    given = ["loop", "--task", "math", "--data", str(path), "--set", "task.options.dev=2"]
    done = CliRunner().invoke(cli, [*given, "--dry-run"], catch_exceptions=False)
    assert "# data: 1 of 9 problems have a figure, which is in the question" in done.output


@pytest.mark.slow
def test_values_are_compared_and_not_texts():
    problem = MATH.pose_row(row(4))
    for text, verdict in (("\\dfrac{4}{7}", True), ("0.57", False), ("\\frac{8}{14}", True)):
        attempt = Completion(f"The answer is $\\boxed{{{text}}}$.", (1,), "stop")
        made = passes.judge(MATH, problem, attempt, hinted=False)
        assert (made.correct, made.undecided) == (verdict, "")


def test_its_data_set_is_named_in_cards_and_init_task_knows_its_rows(tmp_path):
    assert facts.DATASETS["math"] == REPOSITORY
    path = folder(tmp_path / "d", [row(n, answer=str(n)) for n in range(1, 30)])
    made = init_task(path / "train.jsonl", tmp_path / "task.yaml")
    assert any("--task math --data FOLDER" in note for note in made.notes)
    (path / "other.jsonl").write_text(
        "".join(
            json.dumps({"problem": f"{n}?", "solution": f"\\boxed{{{n}}}"}) + "\n"
            for n in range(30)
        )
    )
    assert not any(
        "--task math" in n for n in init_task(path / "other.jsonl", tmp_path / "o.yaml").notes
    )


@pytest.mark.slow
def test_the_files_of_math():
    path = data_file("math/train.jsonl").parent
    task = make("math", {"data": str(path)})
    sizes = [len(task.problems(split)) for split in ("train", "dev", "test")]
    assert sizes == [4300, 200, 500] and not task.skipped()
    assert tasks.notes(task)[0].startswith("377 of 4500 problems have a figure")
    with open(path / "test.jsonl", encoding="utf-8") as file:
        assert {math500.identity(json.loads(line)["problem"]) for line in file} == math500.IDS
    found = Counter(p.group for p in task.problems("test"))
    assert found == {"1": 43, "2": 90, "3": 105, "4": 128, "5": 134}
    for problem in (p for split in ("train", "dev", "test") for p in task.problems(split)):
        worked = task.worked(problem.rationale, problem.answer)
        read = task.read(worked, problem.question)
        assert read is not None and task.equal(read, problem.answer)
        assert not task.cites_hint(problem, worked)
