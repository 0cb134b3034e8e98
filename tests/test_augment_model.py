"""``star-mlx augment`` with a model: questions of every kind, their answers, and the rows."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import yaml

from star_mlx import engine as engines
from star_mlx import tasks
from star_mlx.augment import kinds, masking, rephrasing, rewriting, rows, statements
from star_mlx.augment.masking import Masked
from star_mlx.augment.rewriting import written_text
from star_mlx.augment.sieve import Sieve
from star_mlx.augment.yields import Yield, why_not
from star_mlx.engine.scripted import Asked, ScriptedEngine
from star_mlx.errors import ModelError, NothingKept, RunError
from star_mlx.events import Notice, PhaseStarted
from star_mlx.prompts import load
from star_mlx.recipe.backward import backward_prompts
from star_mlx.recipe.loading import load as load_recipe
from star_mlx.recipe.shipped import prompts_dir
from star_mlx.steps import augmented
from star_mlx.steps.augmented import Augmentation as Plan
from star_mlx.types import Attempt, Problem, Question
from tests.servers import Completions, status
from tests.test_augment import read, write_data

PIES = "A baker sells 3 pies at $4 each on the first day. How much does he earn?"
HENS = "A hen lays 5 eggs a week. How many eggs do 7 hens lay in a week?"
LEGS = "How many legs has a healthy dog?"  # without numbers
DEV = "How many fingers have 6 hands?"
TEST = "How many legs have 2 dogs?"
ANSWERS = {PIES: "12", HENS: "35", LEGS: "4", DEV: "30", TEST: "8"}

REWORDED = {
    PIES: "On the first day a baker sells three pies, and each costs $4. What does he earn?",
    HENS: "If a hen lays 5 eggs a week, how many eggs a week do 7 of them lay?",
    LEGS: "What is the number of legs of a healthy dog?",
}
STATED = {
    PIES: "A baker sells 3 pies at $4 each on the first day. He earns $12.",
    HENS: "A hen lays 5 eggs a week. In a week 7 hens lay 35 eggs.",
}
HIDDEN = {"sells x pies": 3, "$x each": 4, "lays x eggs": 5, "x hens": 7}


def problem(text, name="p"):
    return Problem(name, Question(text), ANSWERS[text])


def knowing(asked):
    """A model that does everything right, in words that depend on the seed."""
    prompt = asked.prompt
    if found := re.search(r"Question: (.*)\nReworded question:\Z", prompt):
        return f" {REWORDED[found[1]]}"
    if found := re.search(r"Question: (.*)\nAnswer: .*\nStatement:\Z", prompt):
        return f" {STATED[found[1]]}"
    question = re.search(r"Q: (.*)\nA:\Z", prompt, re.DOTALL)[1]
    known = {**ANSWERS, **{REWORDED[text]: ANSWERS[text] for text in REWORDED}}
    answer = known.get(question)
    if answer is None:
        [answer] = [value for words, value in HIDDEN.items() if words in question]
    return f" Way {asked.seed % 2}.\n#### {answer}"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """GSM8K's files, in small, and a recipe that saves after each problem."""
    texts = [PIES, HENS, LEGS, DEV]
    train = [{"question": text, "answer": f"#### {ANSWERS[text]}"} for text in texts]
    write_data(tmp_path, "gsm8k", train, [{"question": TEST, "answer": "#### 8"}])
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def recipe(folder):
    return settled()


def settled(*more):
    overrides = ["generate.chunk=1", "generate.samples=2", "generate.temperature=0.7", *more]
    return load_recipe("recipe.yaml", overrides=overrides)


TWO = Plan(samples=2)


def made(recipe, reply=knowing, plan=TWO, out="out.jsonl", **more):
    report = augmented.write(recipe, Path(out), plan, engine=ScriptedEngine(reply), **more)
    return read(Path(out)), report


def only(rows_, kind):
    return [row for row in rows_ if row["type"] == f"GSM_{kind}"]


# --------------------------------------------------------------------------- every kind


def test_each_kind_gives_rows_as_metamathqa_has_them(recipe):
    rows_, report = made(recipe)
    ids = [row["id"] for row in rows_]
    assert len(set(ids)) == len(ids) and ids == sorted(ids, key=lambda name: name.split("/")[0])
    [first] = [row for row in rows_ if row["id"] == "train-1/ansaug-1"]
    assert first["query"] == first["original_question"] == PIES
    assert re.fullmatch(r"Way [01]\.\n#### 12\nThe answer is: 12", first["response"])
    assert (first["answer"], first["generator"]) == ("12", "scripted")
    assert first["checked"] == {"right": 2, "of": 2}
    [reworded] = [row for row in rows_ if row["id"] == "train-1/rephrase-1"]
    assert (reworded["query"], reworded["original_question"]) == (REWORDED[PIES], PIES)
    stated = [row for row in only(rows_, "SV") if row["original_question"] == PIES]
    assert [(row["id"], row["answer"]) for row in stated] == [
        ("train-1/sv-1-1", "3"),
        ("train-1/sv-1-2", "4"),
    ]
    assert stated[0]["query"] == (
        "A baker sells x pies at $4 each on the first day. He earns $12. What is the value of "
        "unknown variable x?"
    )
    assert masking.restore(stated[0]["query"], Masked(**stated[0]["masked"])).startswith(
        STATED[PIES]
    )
    fobar = {row["id"]: row for row in only(rows_, "FOBAR")}
    assert fobar["train-2/fobar-2-1"]["query"].endswith(
        "do x hens lay in a week?\nIf we know the answer to the above question is 35, what is the "
        "value of unknown variable x?"
    )
    assert fobar["train-2/fobar-2-1"]["response"].endswith("#### 7\nThe answer is: 7")
    assert json.loads(Path("out.jsonl.report.json").read_text()) == report
    assert sorted(os.listdir()) == [
        "out.jsonl", "out.jsonl.report.json", "recipe.yaml", "test.jsonl", "train.jsonl"
    ]  # fmt: skip


def test_the_report_counts_everything_that_was_tried(recipe):
    rows_, report = made(recipe)
    for kind, counts in report["kinds"].items():
        of_kind = [row for row in rows_ if row["type"] == kinds.type_of("gsm8k", kind)]
        assert counts["rows"] == len(of_kind) > 0, kind
        assert counts["answers"] == counts["rows"] + sum(counts["not_kept"].values()), kind
        assert {row["id"] for row in counts["samples"]} <= {row["id"] for row in of_kind}
        assert counts["tokens"] > 0 and 1 <= len(counts["samples"]) <= 3
    assert report["rows"] == len(rows_)
    assert report["kinds"]["rephrase"]["tried"] == 6
    assert report["kinds"]["rephrase"]["questions"] == 3  # the second rewriting is the first again
    assert report["kinds"]["rephrase"]["not_asked"] == {"duplicate": 3}
    assert report["kinds"]["sv"]["not_asked"] == {
        "duplicate": 4,
        "the question has no number that can be masked": 1,
    }
    assert report["kinds"]["fobar"]["tried"] == 5


def test_distinct_right_rationales_are_kept_once(recipe):
    def reply(asked):
        return f"{knowing(asked)}" if "Way" not in asked.prompt else ""

    rows_, report = made(settled("generate.samples=8"), reply, Plan(kinds=("ansaug",)))
    for text in (PIES, HENS, LEGS):
        responses = [row["response"] for row in rows_ if row["query"] == text]
        assert len(set(responses)) == len(responses) <= 2
    assert report["kinds"]["ansaug"]["not_kept"] == {"the same as another": 24 - len(rows_)}


# --------------------------------------------------------------------------- what is not kept


def test_no_empty_cut_off_or_wrong_answer_becomes_a_row(recipe):
    def reply(asked):
        if PIES in asked.prompt:
            return ["", " \n ", " #### 13"][asked.seed % 3]
        return " Far." * 60 + " #### 35" if HENS in asked.prompt else " #### 4"

    recipe = settled("generate.max_tokens=200", "generate.samples=12")
    rows_, report = made(recipe, reply, Plan(kinds=("ansaug",)))
    assert [row["query"] for row in rows_] == [LEGS]
    why = report["kinds"]["ansaug"]["not_kept"]
    assert set(why) == {"cut off", "no answer found", "wrong answer", "the same as another"}
    assert (why["cut off"], why["the same as another"]) == (12, 11)


@pytest.mark.parametrize(
    ("reworded", "why"),
    [
        ("", "nothing was written"),
        (PIES.upper(), "is the same question"),
        ("A baker sells pies at $4 each on the first day. What does he earn?", "lacks a number"),
        ("A baker sells 3 of 9 pies at $4 on the first day. Earns?", "has another number"),
        ("A baker sells 3 pies at $4 each on the first day. Earnings:", "has no question mark"),
        ("Word " * 60, "cut off"),
    ],
)  # fmt: skip
def test_a_reworded_question_with_a_fault_is_not_asked(folder, reworded, why):
    def reply(asked):
        return reworded if asked.prompt.endswith("Reworded question:") else knowing(asked)

    plan = Plan(kinds=("ansaug", "rephrase"), max_problems=1)
    rows_, report = made(settled("generate.max_tokens=200"), reply, plan)
    assert report["kinds"]["rephrase"]["not_asked"] == {why: 2}
    assert report["kinds"]["rephrase"]["answers"] == 0 and not only(rows_, "Rephrased")


def test_a_reworded_question_is_kept_if_enough_answers_agree(recipe):
    asked_so_far = Counter()

    def reply(asked):
        text = knowing(asked)
        for question, right in ((REWORDED[PIES], 1), (REWORDED[HENS], 2)):
            if question in asked.prompt:
                asked_so_far[question] += 1
                if asked_so_far[question] > right:
                    return " #### 999"
        return text

    plan = Plan(kinds=("rephrase",), samples=4, agree=2)
    rows_, report = made(recipe, reply, plan)
    assert [(row["query"], row["checked"]) for row in rows_] == [
        (REWORDED[HENS], {"right": 2, "of": 4}),
        (REWORDED[LEGS], {"right": 4, "of": 4}),
    ]
    assert report["kinds"]["rephrase"]["not_kept"] == {
        "wrong answer": 5,
        "another answer to the question is kept": 4,
        "too few answers agree": 1,
    }


@pytest.mark.parametrize(
    ("stated", "why"),
    [
        (f"{STATED[PIES]} Does he?", "has a question mark"),
        ("A baker sells pies at $4 each. He earns $12.", "lacks a number"),
        ("A baker sells 3 pies at $4 each.", "lacks the answer"),
        ("A baker sells 3 pies at $4 each, and earns 3 times $4, or $12.", "has another number"),
        ("A baker sells 3 x pies at $4 each for X. He earns $12.", "has both variables, x and X"),
    ],
)  # fmt: skip
def test_a_statement_with_a_fault_is_not_asked(recipe, stated, why):
    def reply(asked):
        return stated if asked.prompt.endswith("Statement:") else knowing(asked)

    plan = Plan(kinds=("sv", "ansaug"), max_problems=1)
    rows_, report = made(recipe, reply, plan)
    assert report["kinds"]["sv"]["not_asked"] == {why: 2} and not only(rows_, "SV")


def test_a_backward_question_is_kept_only_if_x_comes_out(recipe):
    def reply(asked):
        return " #### 12" if "unknown variable" in asked.prompt else knowing(asked)

    rows_, report = made(recipe, reply)
    assert not only(rows_, "FOBAR") and not only(rows_, "SV") and only(rows_, "AnsAug")
    assert report["kinds"]["fobar"]["not_kept"] == {"wrong answer": 8}


def test_if_nothing_is_kept_the_reasons_are_in_the_error_and_the_work_is_kept(recipe):
    with pytest.raises(NothingKept) as caught:
        made(recipe, lambda asked: "", Plan(kinds=("ansaug",)))
    assert str(caught.value) == (
        "no row was kept (6 times: no answer found): try a larger --num-repeat or --max-tokens, or "
        "a stronger model"
    )
    assert Path("out.jsonl.unfinished").is_dir() and not Path("out.jsonl").exists()


def test_a_question_near_to_a_test_problem_is_left_out(folder):
    (folder / "test.jsonl").write_text(
        json.dumps({"question": f"Today {PIES}", "answer": "#### 12"})
        + "\n"
        + json.dumps({"question": REWORDED[HENS], "answer": "#### 35"})
    )
    rows_, report = made(settled(), removed=Path("removed.jsonl"))
    assert PIES not in {row["original_question"] for row in rows_}
    assert REWORDED[HENS] not in {row["query"] for row in rows_} and only(rows_, "Rephrased")
    left = read(Path("removed.jsonl"))
    assert [row["id"] for row in left if row["why"] == "13-gram"] == [
        "train-1", "train-1/fobar-1", "train-1/fobar-2",
    ]  # fmt: skip
    assert {"train-2/rephrase-1", "train-2/rephrase-2"} == {
        row["id"] for row in left if row["why"] == "exact"
    }
    assert (report["test_13_gram"], report["test_exact"]) == (3, 2)
    assert report["kinds"]["ansaug"]["not_asked"] == {"13-gram": 1}


# --------------------------------------------------------------------------- interrupted


class Dies(ScriptedEngine):
    """Answers so many prompts, then does something else."""

    def __init__(self, after, how):
        self.left, self.how = after, how
        super().__init__(self.answer)

    def answer(self, asked):
        if self.left == 0:
            self.how()
        self.left -= 1
        return knowing(asked)


def raises(error):
    def act():
        raise error

    return act


# How many prompts of a whole run come before each chunk, and how many there are.
CHUNKS, PROMPTS = [*range(0, 22, 2), 22, 23, 24, 25, *range(26, 34, 2)], 34


@pytest.mark.parametrize("error", [KeyboardInterrupt, ModelError("the server is gone")])
@pytest.mark.parametrize("after", [0, 7, 15, 24, 33])
def test_work_that_was_stopped_goes_on_where_it_was(recipe, after, error):
    _, report = made(recipe, out="whole.jsonl")
    with pytest.raises(error if isinstance(error, type) else type(error)):
        augmented.write(recipe, Path("out.jsonl"), TWO, engine=Dies(after, raises(error)))
    assert not Path("out.jsonl").exists() and not Path("out.jsonl.report.json").exists()
    counting = Dies(-1, None)
    again = augmented.write(recipe, Path("out.jsonl"), TWO, engine=counting)
    assert Path("out.jsonl").read_bytes() == Path("whole.jsonl").read_bytes()
    assert -1 - counting.left == PROMPTS - max(first for first in CHUNKS if first <= after)
    for kind in kinds.KINDS:
        ours, theirs = again["kinds"][kind], report["kinds"][kind]
        assert {**ours, "seconds": 0} == {**theirs, "seconds": 0}


KILLED = """
import os, signal
from pathlib import Path
from star_mlx.steps import augmented
from tests.test_augment_model import TWO, Dies, settled
kill = lambda: os.kill(os.getpid(), signal.SIGKILL)
augmented.write(settled(), Path("out.jsonl"), TWO, engine=Dies({}, kill))
"""


@pytest.mark.slow
@pytest.mark.parametrize("after", [5, 31])
def test_a_killed_process_loses_nothing_and_does_nothing_twice(recipe, after):
    made(recipe, out="whole.jsonl")
    done = subprocess.run([sys.executable, "-c", KILLED.format(after)])
    assert done.returncode == -signal.SIGKILL and not Path("out.jsonl").exists()
    made(recipe)
    assert Path("out.jsonl").read_bytes() == Path("whole.jsonl").read_bytes()


def test_another_call_does_not_go_on_with_work_that_was_left(recipe):
    with pytest.raises(KeyboardInterrupt):
        augmented.write(
            recipe, Path("out.jsonl"), Plan(), engine=Dies(5, raises(KeyboardInterrupt))
        )
    for other, plan, what in (
        (recipe, Plan(agree=3), "step.agree 2 -> 3"),
        (recipe, Plan(part=(1, 2)), "step.part"),
        (settled("generate.samples=3"), Plan(), "generate.samples 2 -> 3"),
        (settled("seed=5"), Plan(), "seed 0 -> 5"),
    ):
        with pytest.raises(RunError, match="unfinished was left by a step that differs") as e:
            made(other, plan=plan)
        assert what in str(e.value) and "\n" not in str(e.value)
    made(settled("seed=5"), force=True)


def test_other_questions_than_those_of_the_work_are_refused(folder):
    plan = Plan(kinds=("ansaug",))
    with pytest.raises(KeyboardInterrupt):
        augmented.write(
            settled(), Path("out.jsonl"), plan, engine=Dies(5, raises(KeyboardInterrupt))
        )
    (folder / "test.jsonl").write_text(json.dumps({"question": PIES, "answer": "#### 12"}))
    with pytest.raises(
        RunError, match="the test problems that they are compared with have changed"
    ):
        made(settled(), plan=plan)


def test_rows_depend_on_the_seed_and_not_on_chunks_or_batches(folder):
    def rows_of(*more):
        return made(settled(*more), out=f"{len(os.listdir())}.jsonl")[0]

    first = rows_of()
    assert rows_of("generate.chunk=50", "generate.batch_size=3") == first
    assert rows_of("seed=3") != first


def test_the_parts_together_are_the_whole(recipe):
    for i in (1, 2):
        made(recipe, plan=Plan(samples=2, part=(i, 2)), out=f"{i}.jsonl")
    made(recipe, out="whole.jsonl")
    both = Path("1.jsonl").read_bytes() + Path("2.jsonl").read_bytes()
    assert both == Path("whole.jsonl").read_bytes()


# --------------------------------------------------------------------------- other tasks, prompts


def test_questions_with_choices_are_not_asked_backwards():
    task = tasks.make("commonsenseqa", {})
    with pytest.raises(RunError, match="commonsenseqa reads no numbers as answers, so it has no"):
        backward_prompts(task, few_shot("commonsenseqa", task))
    asked = Problem("p", Question("Which is 3?", (("A", "three"), ("B", "four"))), "A")
    refused: list[str] = []
    assert list(kinds.masked(asked, False, refused.append)) == []
    assert refused == ["the question has choices"] == [kinds.can_be_stated(asked, False)]
    reworded = kinds.rephrased(asked, "2", "Which of them is 3?")
    assert reworded.problem.question.choices == asked.question.choices
    assert (reworded.problem.id, reworded.problem.answer) == ("p/rephrase-2", "A")


def few_shot(name, task):
    return load(prompts_dir() / name / "few_shot.yaml", task)


@pytest.mark.parametrize("name", ["gsm8k", "math"])
@pytest.mark.parametrize("kind", kinds.REWRITTEN)
def test_the_shipped_examples_of_rewriting_have_no_fault(name, kind):
    latex = name == "math"
    wording = rewriting.wording(prompts_dir(), kind, latex)
    for one in wording.examples:
        asked = Problem("p", Question(one["question"]), str(one.get("answer", "")))
        if kind == "sv":
            assert statements.fault(asked, one["rewritten"], latex) == ""
            assert list(statements.masked(asked, one["rewritten"], latex))
        else:
            assert rephrasing.fault(asked.question.text, one["rewritten"], latex) in (
                "", rephrasing.ASKS_NOTHING,
            )  # fmt: skip


@pytest.mark.parametrize("name", ["gsm8k", "math"])
def test_the_shipped_backward_examples_ask_for_x(name):
    pytest.importorskip("mpmath")
    task = tasks.make(name, {})
    prompts = backward_prompts(task, few_shot(name, task))
    assert len(prompts.examples) == 4
    latex = name == "math"
    for shot in prompts.examples:
        x = "X" if latex else "x"
        assert shot.question.text.endswith(f"hat is the value of unknown variable {x}?")
        assert masking.variable(shot.question.text, masking.names(latex), latex) != x


def test_competition_problems_are_asked_in_latex(tmp_path, monkeypatch):
    pytest.importorskip("mpmath")
    monkeypatch.chdir(tmp_path)
    texts = [f"Find $a$ if $a + 4 = 7$ in {place}." for place in ("Rome", "Oslo", "Bern")]
    train, dev, test = (
        {"problem": text, "solution": r"It is \boxed{3}.", "level": "1"} for text in texts
    )
    write_data(tmp_path, "math", [train, dev], [test])

    def reply(asked):
        if asked.prompt.endswith("Reworded problem:"):
            return " In Rome, determine $a$ from $a + 4 = 7$."
        if asked.prompt.endswith("Statement:"):
            return " In Rome, $a + 4 = 7$ holds for $a = 3$."
        answer = 4 if "+ X" in asked.prompt else 7 if "= X" in asked.prompt else 3
        return f" It is so.\nThe answer is $\\boxed{{{answer}}}$."

    rows_, _ = made(settled(), reply)
    assert [(row["type"], row["answer"]) for row in rows_] == [
        ("MATH_AnsAug", "3"), ("MATH_Rephrased", "3"), ("MATH_SV", "4"), ("MATH_SV", "7"),
        ("MATH_FOBAR", "4"), ("MATH_FOBAR", "7"),
    ]  # fmt: skip
    assert rows_[2]["query"].startswith("In Rome, $a + X = 7$ holds for $a = 3$. What is")
    assert rows_[0]["response"] == "It is so.\nThe answer is $\\boxed{3}$.\nThe answer is: 3"


def test_in_a_chat_the_examples_are_earlier_turns(folder):
    seen = []

    def reply(asked):
        seen.append(asked.prefix + asked.prompt)
        inner = re.sub(r".*<user>(.*?)</user><assistant>\Z", r"\1", seen[-1], flags=re.DOTALL)
        inner = inner.removesuffix(" Let's think step by step.")
        return knowing(type(asked)(inner, "", asked.seed, ()))

    rows_, _ = made(settled("prompts.chat=true"), reply)
    assert only(rows_, "Rephrased") and only(rows_, "SV") and only(rows_, "FOBAR")
    reworded = [
        prompt for prompt in seen if prompt.endswith("Reworded question:</user><assistant>")
    ]
    assert reworded and all(prompt.count("<user>") == 5 for prompt in reworded)
    without = made(settled("prompts.chat=true", "prompts.k=0"), reply, out="k.jsonl")
    assert only(without[0], "FOBAR")


@pytest.mark.parametrize(
    ("completion", "text"),
    [
        (" How many?\n\nI kept all.", "How many?"),
        ("Reworded question: How many?", "How many?"),
        ("Sure! Here is a reworded version of it:\n\n\u201cHow many?\u201d", "How many?"),
        ("**Statement:** She has 3.", "She has 3."),
        ('"How many" is asked?', '"How many" is asked?'),
        ("  \n ", ""),
    ],
)
def test_a_rewriting_is_read_without_what_a_model_adds(completion, text):
    assert written_text(completion) == text


@pytest.mark.parametrize(
    ("original", "rewritten", "fault"),
    [
        ("Has she 12 eggs?", "Is it a dozen eggs that she has?", ""),
        ("Has she 12 eggs?", "Is it twelve eggs that she has?", ""),
        ("Has she 2.5 kg?", "Is it two and a half kg that she has?", ""),
        ("Has she half of 50%?", "Is 1/2 of 50 percent hers?", ""),
        ("Has she 12 eggs?", "Is it two eggs that she has?", "it lacks the number 12"),
        ("Has she 3 and 3 eggs?", "Has she three eggs?", "it lacks the number 3"),
        ("Has she 3 eggs?", "Has she 3 eggs of 3?", "it has another number, 3"),
        ("Is it 10:30 now?", "Is the time now 11:30?", "it lacks the number 10:30"),
        ("Is it late now?", "Is it now 11:30?", "it has another number, 11:30"),
        ("Has she 3 eggs?", "She has 3.", "it has no question mark"),
        ("Find 3 eggs.", "Look for 3 eggs.", ""),
    ],
)
def test_a_reworded_question_has_the_same_numbers(original, rewritten, fault):
    assert rephrasing.fault(original, rewritten) == fault


# --------------------------------------------------------------------------- parts of a row


def attempt(text, *, correct=True, finish="stop", answer="3", **more):
    return Attempt("p", False, text, answer, correct, finish, (1,), **more)


@pytest.mark.parametrize(
    ("made_", "why"),
    [
        (attempt("3"), ""),
        (attempt("3", finish="length"), "cut off"),
        (attempt("", answer=None, correct=False), "no answer found"),
        (attempt("4", correct=False), "wrong answer"),
        (attempt("4", correct=False, undecided="too deep"), "undecided"),
        (attempt("3", rejected="wrong step"), "wrong step"),
    ],
)
def test_why_an_answer_is_not_kept(made_, why):
    assert why_not(made_) == why


def test_a_response_ends_in_the_answer_once_and_leaves_thinking_out():
    assert rows.response(attempt(" 1 + 2 = 3."), "3") == "1 + 2 = 3.\nThe answer is: 3"
    assert rows.response(attempt("So.\nThe answer is: 3"), "3") == "So.\nThe answer is: 3"
    thought = attempt("<think>Is it 4?</think>\n\nIt is 3.")
    assert rows.response(thought, "3") == "It is 3.\nThe answer is: 3"


def test_the_generator_of_a_folder_is_named_without_its_place(folder):
    class Named(ScriptedEngine):
        def describe(self):
            return {"name": self.name}

    engine = Named(knowing)
    (folder / "qwen").mkdir()
    for engine.name, shown in ((str(folder / "qwen"), "qwen"), ("Qwen/Qwen3", "Qwen/Qwen3")):
        assert augmented.generator_of(engine) == shown


def test_a_sieve_names_an_original_question_once():
    sieve = Sieve(augmented.held_out(None, False), [problem(PIES, "a"), problem(PIES, "b")])
    assert sieve.refuses("a", PIES, problem(PIES, "a")) == ""
    assert [sieve.refuses("b", PIES, problem(PIES, "b")) for _ in "12"] == ["duplicate"] * 2
    assert (sieve.duplicates, len(sieve.left_out)) == (1, 1)
    assert Yield().as_json()["rows"] == 0


# --------------------------------------------------------------------------- the command


@pytest.fixture
def scripted(monkeypatch):
    opened = []

    def open_base(recipe):
        opened.append(recipe)
        return ScriptedEngine(knowing)

    monkeypatch.setattr(engines, "open_base", open_base)
    return opened


def test_the_command_says_what_each_kind_yielded(folder, star, scripted):
    out = star("augment", "--task", "recipe.yaml", "--num-repeat", 2, "--samples", 2, "--generator",
               "other/model", "--out", "o.jsonl")  # fmt: skip
    lines = out.splitlines()
    assert lines[0].split() == ["questions", "answers", "right", "rows", "tokens", "time"]
    assert [line.split()[0] for line in lines[1:5]] == list(kinds.KINDS)
    assert lines[1].split()[1:4] == ["3", "6", "6"]
    assert "rephrase, no question:" in lines and "      3 duplicate" in lines
    assert lines[-2] == (
        "left out: 7 duplicates, 0 of a test problem, 0 that share 13 words in a row with one"
    )
    assert lines[-1].endswith("rows written to o.jsonl; the yields are in o.jsonl.report.json")
    assert (scripted[0].model.path, scripted[0].generate.temperature) == ("other/model", 0.7)
    done = json.loads(
        star("augment", "--task", "recipe.yaml", "--num-repeat", 2, "--temperature", 0.5,
             "--kinds", "fobar", "--json", "--out", "p.jsonl")
    )  # fmt: skip
    assert (done["temperature"], list(done["kinds"])) == (0.5, ["fobar"])


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--kinds", "fobr"], "--kinds fobr: there are ansaug, rephrase, sv, fobar"),
        (["--kinds", ","], "--kinds is empty: there are ansaug, rephrase, sv, fobar"),
        (["--agree", "5"], "--agree 5 of --samples 4 answers cannot be right"),
        (["--agree", "0"], "0 is not in the range x>=1"),
        (["--part", "0/2"], "'0/2' is no part: write i/n, such as 1/4"),
        (["--part", "half"], "'half' is no part: write i/n"),
        (["--generator", "a", "--model", "b"], "--generator and --model both name the model"),
        (["--temperature", "0"], "4 answers at temperature 0 are all the same: give --temperature"),
        (
            ["--num-repeat", "2", "--temperature", "0"],
            "2 samples at temperature 0 are all the same",
        ),
        (["--num-repeat", "0"], "samples should be at least 1"),
        (["--set", "star.direct=true"], "star.direct=true asks for answers alone"),
        (["--out", "o.txt"], "--out o.txt: give a name that ends in .jsonl"),
        (["--removed", "o.jsonl"], "--removed o.jsonl is also --out"),
    ],
)
def test_bad_arguments_are_one_line_and_nothing_is_written(folder, star, scripted, more, message):
    before = sorted(os.listdir())
    given = ["augment", "--task", "recipe.yaml", "--out", "o.jsonl", *more]
    err = star(*given, code=2)
    assert message in err and len(err.splitlines()) == 1
    assert sorted(os.listdir()) == before and not scripted


def test_a_kind_of_events_is_emitted_for_a_progress_bar(recipe):
    events = []
    made(recipe, emit=events.append)
    assert [e.note for e in events if isinstance(e, PhaseStarted)] == [
        "answers (ansaug)", "questions (rephrase)", "answers (rephrase)", "statements (sv)",
        "answers (sv)", "answers (fobar)",
    ]  # fmt: skip
    said = [e.text for e in events if isinstance(e, Notice)]
    assert len(said) == 4 and re.fullmatch(r"ansaug: 3 questions, 6 answers, \d kept", said[0])


def test_the_unfinished_work_is_a_run_folder_of_journalled_chunks(recipe):
    with pytest.raises(KeyboardInterrupt):
        augmented.write(recipe, Path("out.jsonl"), TWO, engine=Dies(9, raises(KeyboardInterrupt)))
    left = Path("out.jsonl.unfinished")
    chunks = [json.loads(line) for line in (left / "journal.jsonl").read_text().splitlines()]
    assert [(one["kind"], one["rows"]) for one in chunks if one["event"] == "chunk"] == [
        ("ansaug", 2), ("ansaug", 2), ("ansaug", 2), ("rephrase-questions", 2),
    ]  # fmt: skip
    step = yaml.safe_load((left / "recipe.yaml").read_text())["step"]
    assert step["command"] == "augment" and step["kinds"] == list(kinds.KINDS)


# --------------------------------------------------------------------------- by servers


class Knowing(Completions):
    """A server that answers as ``knowing`` does."""

    def __init__(self):
        super().__init__(lambda prompt, seed: knowing(Asked(prompt, "", seed[0], ())))

    def completion(self, body):
        return super().completion({**body, "prompt": body["prompt"].rpartition("\n\n")[2]})

    def _rows(self, body):
        return (body["seed"],)


def test_servers_give_the_rows_of_the_local_model(recipe):
    here, _ = made(recipe)
    with Knowing() as one, Knowing() as other:
        one.faults = [status(500), None, status(429)]
        urls = f"endpoints.urls=[{one.url}, {other.url}]"
        there, report = made(settled(urls), out="served.jsonl", reply=None)
        asked = len(one.bodies) + len(other.bodies)
    assert there == [{**row, "generator": "org/model"} for row in here]
    assert report["generator"] == "org/model"
    assert report["served"]["requests"] + report["served"]["again"] == asked
    assert report["served"]["again"] == 2 and report["served"]["prompt_tokens"] > 0
    assert json.loads(Path("served.jsonl.report.json").read_text())["served"] == report["served"]
