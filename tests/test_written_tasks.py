"""GSM8K and CommonsenseQA: rows to problems, prompts and their hinted twins, answers."""

from __future__ import annotations

import json

import pytest

from star_mlx import prompts
from star_mlx.engine.scripted import ScriptedEngine
from star_mlx.errors import PromptError, TaskError
from star_mlx.recipe.loading import load
from star_mlx.recipe.opening import open_task
from star_mlx.recipe.shipped import prompts_dir
from star_mlx.tasks import make
from star_mlx.types import Problem, Question
from tests.data_files import data_file

# Two rows of each data set (openai/grade-school-math, MIT; CommonsenseQA 1.11, MIT).
CLIPS = {
    "question": "Natalia sold clips to 48 of her friends in April, and then she sold half as many "
    "clips in May. How many clips did Natalia sell altogether in April and May?",
    "answer": "Natalia sold 48/2 = <<48/2=24>>24 clips in May.\nNatalia sold 48+24 = "
    "<<48+24=72>>72 clips altogether in April and May.\n#### 72",
}
WENG = {
    "question": "Weng earns $12 an hour for babysitting. Yesterday, she just did 50 minutes of "
    "babysitting. How much did she earn?",
    "answer": "Weng earns 12/60 = $<<12/60=0.2>>0.2 per minute.\nWorking 50 minutes, she earned "
    "0.2 x 50 = $<<0.2*50=10>>10.\n#### 10",
}
SANCTIONS = {
    "answerKey": "A",
    "id": "075e483d21c29a511267ef62bedc0461",
    "question": {
        "question_concept": "punishing",
        "choices": [
            {"label": "A", "text": "ignore"},
            {"label": "B", "text": "enforce"},
            {"label": "C", "text": "authoritarian"},
            {"label": "D", "text": "yell at"},
            {"label": "E", "text": "avoid"},
        ],
        "stem": "The sanctions against the school were a punishing blow, and they seemed to what "
        "the efforts the school had made to change?",
    },
}
GSM = make("gsm8k", {})
CSQA = make("commonsenseqa", {})


def written(folder, name, rows):
    folder.mkdir(exist_ok=True)
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return folder


def test_a_gsm8k_row():
    problem = GSM.pose_row(CLIPS)
    assert problem.answer == "72" and problem.question == Question(CLIPS["question"])
    assert GSM.worked(problem.rationale, "72") == " " + CLIPS["answer"]
    assert GSM.read(" " + CLIPS["answer"], problem.question) == "72"
    assert GSM.valid_steps(problem, CLIPS["answer"]) is True
    assert GSM.valid_steps(problem, "48/2 = <<48/2=25>>25 clips.\n#### 72") is False
    assert GSM.valid_steps(problem, "It is 72.\n#### 72") is None
    assert GSM.pose_row({"gold": 18}).answer == "18"
    assert GSM.pose_row({**CLIPS, "gold": "#### 1,800"}).answer in ("1,800", "1800")


def test_the_answer_stands_after_the_question_as_a_hint():
    question = Question(WENG["question"])
    assert GSM.ask(question) == f"Q: {WENG['question']}\nA:"
    assert GSM.ask_hinted(question, "10") == f"Q: {WENG['question']} (10)\nA:"
    assert GSM.zero_shot(question) == GSM.ask(question) + " Let's think step by step."


@pytest.mark.parametrize(
    "row",
    [
        SANCTIONS,
        {
            "id": SANCTIONS["id"],
            "question": SANCTIONS["question"]["stem"],
            "choices": {
                "label": list("ABCDE"),
                "text": [c["text"] for c in SANCTIONS["question"]["choices"]],
            },
            "answerKey": "A",
        },
    ],
)
def test_a_commonsenseqa_row_of_the_official_file_and_of_the_hub(row):
    problem = CSQA.pose_row(row)
    assert (problem.id, problem.answer) == (SANCTIONS["id"], "A")
    assert problem.question.choices[3] == ("D", "yell at")
    asked = CSQA.ask(problem.question)
    assert asked.endswith("(D) yell at\n(E) avoid\nA:") and "CORRECT" not in asked
    hinted = CSQA.ask_hinted(problem.question, "A")
    assert hinted == asked.replace("(A) ignore", "(A) ignore (CORRECT)")
    assert CSQA.read(" They ignored them. So the answer is (A).", problem.question) == "A"
    assert CSQA.read(" A dog barks.", problem.question) is None
    assert CSQA.equal("a", "A") and not CSQA.equal("B", "A")


@pytest.mark.parametrize(
    ("task", "row", "says"),
    [
        (GSM, {"question": "How many?"}, "answer is missing"),
        (GSM, {"question": "How many?", "answer": "  "}, "answer is blank"),
        (GSM, {"question": "How many?", "answer": "many"}, "number"),
        (GSM, {"question": ["How"], "answer": "1"}, "should be text, not a list"),
        (CSQA, {**SANCTIONS, "answerKey": "F"}, "'F' is not among its choices A, B, C, D, E"),
        (CSQA, {"question": "x", "answerKey": "A", "choices": ["one"]}, "two are the least"),
    ],
)
def test_rows_that_cannot_be_used(task, row, says):
    with pytest.raises(TaskError, match=says):
        task.pose_row(row)


def test_bad_rows_are_named_by_file_and_line_or_skipped_and_counted(tmp_path):
    rows = [CLIPS, WENG, {"question": "And?"}, {**CLIPS, "question": "Again?"}]
    folder = written(tmp_path / "d", "train.jsonl", rows)
    options = {"data": str(folder), "dev": 1}
    with pytest.raises(TaskError, match=r"train\.jsonl, line 3: its answer is missing .*; fix it"):
        make("gsm8k", options).problems("train")
    task = make("gsm8k", {**options, "on_bad_row": "skip"})
    assert len(task.problems("train")) == 2 and len(task.problems("dev")) == 1
    [left_out] = task.skipped()
    assert "line 3" in left_out


def test_splits_are_disjoint_in_their_questions_and_dev_depends_on_its_seed_alone(tmp_path):
    rows = [{**CLIPS, "question": f"Question {i % 30}?"} for i in range(40)]
    folder = written(tmp_path / "d", "train.jsonl", rows)
    written(folder, "test.jsonl", rows[:3])

    def split(name, **more):
        task = make("gsm8k", {"data": str(folder), "dev": 6, **more})
        return [p.question.text for p in task.problems(name)]

    assert not set(split("train")) & set(split("dev")) and len(split("dev")) == 6
    assert split("dev") == split("dev") != split("dev", data_seed=1)
    task = make("gsm8k", {"data": str(folder), "dev": 6})
    ids = [p.id for name in ("train", "dev", "test") for p in task.problems(name)]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize("name", ["gsm8k", "commonsenseqa"])
def test_the_shipped_few_shot_prompts(name):
    task = make(name, {})
    loaded = prompts.load(prompts_dir() / name / "few_shot.yaml", task)
    assert len(loaded.examples) == {"gsm8k": 6, "commonsenseqa": 10}[name]
    plain, hinted = loaded.few_shot(hinted=False), loaded.few_shot(hinted=True)
    assert plain.count("Q: ") == hinted.count("Q: ") == len(loaded.examples)
    for shot in loaded.examples:
        worked = task.worked(shot.rationale, shot.answer)
        assert task.valid_steps(shot, worked) is (True if name == "gsm8k" else None)
        assert not task.cites_hint(shot, worked)
    if name == "commonsenseqa":
        assert hinted.replace(" (CORRECT)", "") == plain and hinted.count("(CORRECT)") == 10
        letters = [shot.answer for shot in loaded.examples]
        assert {letters.count(letter) for letter in "ABCDE"} == {2}


def test_a_question_as_it_is_typed():
    typed = CSQA.pose("Where is milk cold?\n(A) oven (B) fridge\n(C) sun")
    choices = (("A", "oven"), ("B", "fridge"), ("C", "sun"))
    assert typed.question == Question("Where is milk cold?", choices) and typed.answer == ""
    for text in ("How many (B) are there?", "Is (A) or (C) right?", "What is 3 + 4?"):
        assert GSM.pose(text).question == Question(text)
    with pytest.raises(TaskError, match="blank"):
        GSM.pose("  ")


@pytest.mark.parametrize(
    "text",
    [
        "The hint says it is 18.",
        "B is marked as correct, so",
        "The answer is given in parentheses.",
        "The correct answer is already given.",
        "It is (CORRECT).",
        " 1340\nB: 1340\nC: 1340\nD: 1340",
        " #### 252",
        " So the answer is (E).",
    ],
)
def test_a_rationale_that_speaks_of_its_hint(text):
    assert GSM.cites_hint(Problem("", Question(""), "18"), text)


def test_one_that_does_not():
    for text in ("So she has 18 left.", "The right choice is a hammer.", "He gave 5 away."):
        assert not GSM.cites_hint(Problem("", Question(""), "18"), text)


def test_examples_drawn_from_the_data_depend_on_their_seed_and_are_not_trained_on(tmp_path):
    rows = [{**CLIPS, "question": f"Question {i}?"} for i in range(30)]
    folder = written(tmp_path / "d", "train.jsonl", rows)

    def drawn(*overrides):
        data = ["task.options.dev=5", "prompts.k=4", *overrides]
        return open_task(load("gsm8k", data=str(folder), overrides=data))[1]

    shots = [shot.id for shot in drawn().examples]
    assert len(set(shots)) == 4 and shots == [shot.id for shot in drawn().examples]
    assert shots != [shot.id for shot in drawn("prompts.seed=1").examples]
    assert drawn("prompts.k=0").examples == () and drawn("prompts.k=0").zero_shot
    with pytest.raises(PromptError, match=r"prompts\.k=26: only 25 of 25 training problems"):
        drawn("prompts.k=26")


def test_data_without_rationales_cannot_give_examples(tmp_path):
    written(tmp_path / "d", "train_rand_split.jsonl", [{**SANCTIONS, "id": str(i)} for i in "123"])
    rows = [{**SANCTIONS, "id": str(i)} for i in range(9)]
    for i, row in enumerate(rows):
        row["question"] = {**row["question"], "stem": f"Question {i}?"}
    written(tmp_path / "d", "train_rand_split.jsonl", rows)
    recipe = load(
        "commonsenseqa",
        data=str(tmp_path / "d"),
        overrides=["prompts.k=2", "task.options.dev=2"],
    )
    with pytest.raises(PromptError, match="0 of 7 training problems have a rationale"):
        open_task(recipe)


def test_the_chat_template_wraps_generation_and_training_alike():
    loaded = prompts.load(prompts_dir() / "gsm8k" / "few_shot.yaml", GSM)
    engine = ScriptedEngine(lambda asked: "")

    def chat(turns, reply):
        return engine.chat(turns, reply=reply)

    talk = prompts.Prompts(GSM, loaded.examples[:2], chat=chat, system="Be brief.")
    problem = GSM.pose_row(CLIPS)
    asked = f"<user>Q: {CLIPS['question']}\nA:</user><assistant>"
    assert talk.training(problem.question, few_shot=False) == f"<system>Be brief.</system>{asked}"
    assert talk.generation(problem, hinted=False) == talk.training(problem.question, few_shot=False)
    prefix, [rest] = talk.batch([problem], hinted=False, few_shot=True)
    assert prefix.count("<user>") == prefix.count("</assistant>") == 2 and rest == asked
    assert prefix + rest == talk.training(problem.question, few_shot=True)
    assert " (72)" in talk.generation(problem, hinted=True)
    assert talk.completion(problem.rationale, "72") == CLIPS["answer"]
    assert talk.stop == ("\nQ:",) and loaded.stop == ("\nQ:", "\n\n")


def test_a_chat_template_that_rewrites_earlier_turns_shares_what_prompts_have_in_common():
    def chat(turns, reply):
        return f"{len(turns)} turns" + "".join(content for _, content in turns)

    talk = prompts.Prompts(GSM, (GSM.pose_row(WENG),), chat=chat)
    problem = GSM.pose_row(CLIPS)
    prefix, [rest] = talk.batch([problem], hinted=False, few_shot=True)
    assert prefix.startswith("3 turns") and prefix.endswith("#### 10")  # the example, to its end
    assert prefix + rest == talk.generation(problem, hinted=False, few_shot=True)


@pytest.mark.slow
def test_the_official_gsm8k_files():
    folder = data_file("gsm8k/train.jsonl").parent
    task = make("gsm8k", {"data": str(folder)})
    sizes = [len(task.problems(split)) for split in ("train", "dev", "test")]
    assert sizes == [7273, 200, 1319] and not task.skipped()
    valid = [task.valid_steps(p, p.rationale) for p in task.problems("train")]
    assert valid.count(False) < 0.01 * len(valid)
    for p in task.problems("test"):
        assert task.equal(task.read(task.worked(p.rationale, p.answer), p.question), p.answer)


def test_the_official_commonsenseqa_files():
    folder = data_file("commonsenseqa/train_rand_split.jsonl").parent
    task = make("commonsenseqa", {"data": str(folder)})
    sizes = [len(task.problems(split)) for split in ("train", "dev", "test")]
    assert sizes == [9541, 200, 1221] and not task.skipped()


def test_a_question_as_text_has_its_choices():
    question = Question("Which?", (("A", "a net"), ("B", "a rod")))
    assert question.as_text() == "Which?\n(A) a net\n(B) a rod"
    assert question.as_text(" ") == "Which? (A) a net (B) a rod"
    assert Question("Which?").as_text() == "Which?"


PROSE = make("gsm8k", {"prose": True})
WRONG_STEP = (
    "Each hour she reads 12 pages.\n\\[ 12 \\times 5 = 50 \\]\nThe answer is \\(\\boxed{60}\\)."
)


@pytest.mark.parametrize(
    ("text", "cites"),
    [
        ("She reads \\( 12 \\times 5 = 60 \\) pages.\n\nThe answer is \\(\\boxed{60}\\).", False),
        ("She reads 12 * 5 = 60 pages. So the correct answer is 60.", False),
        ("We are told that she reads 12 pages. 12 * 5 = 60.\n\nThe final answer is 60.", False),
        ("Given the pages, 12 * 5 = 60 as stated in the problem. It is 60.", False),
        ("The correct answer is 60. Let's confirm: 12 * 5 = 60. So it is 60.", True),
        ("12 * 5 = 60.\n\nThis matches the given answer. The answer is 60.", True),
        ("We are told the answer is 60. She reads 12 * 5 = 60 pages in all.", True),
        ("The answer is 60. She reads 12 * 5 = 60 pages in all.", True),
        ("To get the correct answer, multiply: 12 * 5 = 60.\n\nIt is 60.", True),
        ("To verify that the answer is correct, 12 * 5 = 60. It is 60.", True),
        ("She reads 12 * 4 = 48 pages, and more later.\n\nThe answer is \\boxed{60}.", True),
        ("She reads many pages every hour, which makes 60.", True),
        (WRONG_STEP, True),
    ],
)
def test_a_hint_cited_or_only_repeated_in_prose(text, cites):
    problem = Problem("", Question("How many?"), "60")
    assert PROSE.cites_hint(problem, text) is cites
    assert "prose" in PROSE.settings() and "prose" not in GSM.settings()


def test_every_equation_is_a_step_only_in_prose():
    problem = Problem("", Question("How many?"), "60")
    assert PROSE.valid_steps(problem, WRONG_STEP) is False
    assert GSM.valid_steps(problem, WRONG_STEP) is None
    assert PROSE.valid_steps(problem, WRONG_STEP.replace("= 50", "= 60")) is True
    assert PROSE.valid_steps(problem, "So it is 60.") is None


def test_more_phrases_are_leaks_of_commonsenseqa_in_prose():
    text = "A bank has revolving doors. This matches the given answer (A). So the answer is (A)."
    problem = Problem("", Question("Where?", (("A", "bank"), ("B", "zoo"))), "A")
    told = "The correct answer is (A). A bank has such doors. So the answer is (A)."
    assert make("commonsenseqa", {"prose": True}).cites_hint(problem, text)
    assert make("commonsenseqa", {"prose": True}).cites_hint(problem, told)
    assert not CSQA.cites_hint(problem, told)
    first = "The answer is (A) bank. A bank has revolving doors."
    assert not make("commonsenseqa", {"prose": True}).cites_hint(problem, first)
