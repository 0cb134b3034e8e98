"""Prompt files, and the one function that builds a training prompt."""

from __future__ import annotations

import inspect
from dataclasses import replace
from hashlib import sha256

import pytest
import yaml

from star_mlx import prompts
from star_mlx.answers import joined
from star_mlx.errors import PromptError, RecipeError
from star_mlx.recipe import loading as recipes
from star_mlx.tasks.arithmetic import Arithmetic
from star_mlx.tasks.jsonl import Jsonl, JsonlOptions
from star_mlx.types import Problem, Question

TASK = Arithmetic()
GOOD = """
- question: 2 7 + 4 5
  rationale: |-
    <scratch>
    2 7 + 4 5 , C: 0
    2 + 4 , 2 C: 1
    , 7 2 C: 0
    0 7 2
    </scratch>
  answer: 7 2
"""


def load(tmp_path, text, **kw):
    path = tmp_path / "few_shot.yaml"
    path.write_text(text, encoding="utf-8")
    return prompts.load(path, TASK, **kw)


def test_the_few_shot_prompt_and_its_hinted_twin(tmp_path):
    loaded = load(tmp_path, GOOD)
    worked = loaded.examples[0].rationale + "\n7 2\n\n"
    assert loaded.few_shot(hinted=False) == "Input:\n2 7 + 4 5\nTarget:\n" + worked
    assert loaded.few_shot(hinted=True) == "Input:\n2 7 + 4 5\nTarget: 7 2\n" + worked


def test_direct_prompts_hold_answers_alone(tmp_path):
    loaded = load(tmp_path, GOOD, direct=True)
    assert loaded.few_shot(hinted=False) == "Input:\n2 7 + 4 5\nTarget:\n7 2\n\n"


def test_a_training_prompt_is_built_from_the_question_alone(tmp_path):
    loaded = load(tmp_path, GOOD)
    assert set(inspect.signature(loaded.training).parameters) == {"question", "few_shot"}
    problem = Problem("p", Question("1 3 + 1 4"), "2 7")
    bare = loaded.training(problem.question, few_shot=False)
    assert bare == "Input:\n1 3 + 1 4\nTarget:\n"
    with_few_shot = loaded.training(problem.question, few_shot=True)
    assert with_few_shot == loaded.few_shot(hinted=False) + bare
    hinted = loaded.generation(problem, hinted=True)
    assert hinted == "Input:\n1 3 + 1 4\nTarget: 2 7\n"


def test_the_shipped_prompts_load():
    from star_mlx.recipe.shipped import prompts_dir
    from star_mlx.tasks import TASKS, make

    for name in set(TASKS) - {"jsonl"}:  # which has a person's own
        loaded = prompts.load(prompts_dir() / name / "few_shot.yaml", make(name, {}))
        shown = loaded.few_shot(hinted=False) + "\0" + loaded.few_shot(hinted=True)
        assert loaded.examples and loaded.digest() == sha256(shown.encode()).hexdigest()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "empty"),
        ("\n# only a comment\n", "empty"),
        ("question: 1", "list"),
        ("- just text", "example 1"),
        (GOOD.replace("answer: 7 2", ""), "example 1 lacks its answer"),
        (GOOD.replace("question: 2 7 + 4 5", "question:"), "lacks its question"),
        ("- question: 1 + 1\n  answer: 2", "lacks its rationale"),
        (GOOD + "\n  hint: 7 2", "unknown part 'hint'"),
        (GOOD.replace("answer: 7 2", "answer: seven"), "reads as"),
        ("- [", "not YAML"),
    ],
)
def test_a_bad_file_is_refused_in_one_line(tmp_path, text, says):
    with pytest.raises(PromptError, match=says) as caught:
        load(tmp_path, text)
    assert "\n" not in str(caught.value) and "few_shot.yaml" in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(PromptError, match=r"nowhere\.yaml"):
        prompts.load(tmp_path / "nowhere.yaml", TASK)


def test_a_file_that_is_not_text(tmp_path):
    (tmp_path / "p.yaml").write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(PromptError, match="not YAML"):
        prompts.load(tmp_path / "p.yaml", TASK)


SHOTS = (
    Problem("1", Question("Which?", (("A", "a: net"), ("B", "null"))), "B", "g", "So\n\nit's B."),
    Problem("2", Question("'1' # + 1\u2028or\x85not"), "2", "", "\x85"),
    Problem("3", Question("null"), "yes"),
)


@pytest.mark.parametrize("answer", ["yes", "No", "true", "7:30", "42", "7.5"])
def test_an_answer_is_what_is_written(tmp_path, answer):
    path = tmp_path / "p.yaml"
    path.write_text(f"- question: What?\n  rationale: So.\n  answer: {answer}\n", encoding="utf-8")
    fields = {"question": "q", "answer": "a"}
    [shot] = prompts.load(path, Jsonl(JsonlOptions(path="d.jsonl", fields=fields))).examples
    assert shot.answer == answer


def test_examples_are_written_as_they_are_read():
    entries = yaml.safe_load(prompts.dump(SHOTS))
    assert [list(entry) for entry in entries] == [
        ["question", "choices", "rationale", "answer"],
        ["question", "rationale", "answer"],
        ["question", "answer"],
    ]
    for number, (shot, entry) in enumerate(zip(SHOTS, entries, strict=True), 1):
        again = prompts.example(number, entry)
        assert again == replace(shot, id=f"example-{number}", group="")


def test_blank_rationales_are_there_to_be_filled_in():
    text = prompts.dump(SHOTS[:1], blank=True)
    assert text == (
        "- question: Which?\n  choices:\n    A: 'a: net'\n    B: 'null'\n"
        "  rationale:\n  answer: B\n"
    )


def test_a_wording_of_ones_own_replaces_that_of_the_task():
    tricky, pair = Question("Is {answer} a net?"), (("A", "a net"), ("B", "{question}"))
    choice = Problem("p", Question("Which?", pair), "B")
    asked = prompts.Prompts(TASK, (), zero_shot=True, ask="{question}\n\nReason, {kindly}.")
    assert asked.generation(Problem("p", tricky, "7"), hinted=False) == (
        "Is {answer} a net?\n\nReason, {kindly}."
    )
    assert asked.training(choice.question, few_shot=False) == (
        "Which?\n(A) a net\n(B) {question}\n\nReason, {kindly}."
    )
    assert asked.generation(Problem("p", tricky, "7"), hinted=True) == (
        "Is {answer} a net? (7)\n\nReason, {kindly}."
    )
    told = replace(asked, hint="{question} (It is {answer}.)")
    assert told.generation(choice, hinted=True) == "Which?\n(A) a net\n(B) {question} (It is B.)"
    assert told.generation(choice, hinted=False) == asked.generation(choice, hinted=False)
    several = Problem("p", Question("Where?"), joined(["Paris", "Lutetia"]))
    assert told.generation(several, hinted=True) == "Where? (It is Paris.)"


def test_the_wording_is_part_of_the_digest_and_of_the_examples(tmp_path):
    loaded = load(tmp_path, GOOD)
    asked = replace(loaded, ask="Add: {question}\n")
    assert asked.few_shot(hinted=False).startswith("Add: 2 7 + 4 5\n<scratch>")
    assert replace(loaded, hint=None).digest() == loaded.digest()
    plain = prompts.Prompts(TASK, (), zero_shot=True)
    ways = [plain, replace(plain, ask="{question}"), replace(plain, hint="{question}{answer}")]
    assert len({way.digest() for way in ways}) == 3


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ('prompts.ask="Go on."', r"prompts.ask: it lacks \{question\}: give a text with"),
        ('prompts.hint="{question}"', r"prompts.hint: it lacks \{answer\}: give a text with"),
        ('prompts.ask="{question} {answer}"', r"prompts.ask: it has \{answer\}, but only"),
        ('prompts.ask="{question} {choices}"', r"\{question\} includes the choices"),
    ],
)
def test_a_wording_needs_its_places(given, says):
    with pytest.raises(RecipeError, match=says):
        recipes.load("gsm8k", overrides=[given])
