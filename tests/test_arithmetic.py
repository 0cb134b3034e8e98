"""The arithmetic task: its text, its splits, how an answer is read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from star_mlx.errors import TaskError
from star_mlx.tasks import make, names
from star_mlx.tasks.arithmetic import Arithmetic, ArithmeticOptions
from star_mlx.tasks.arithmetic_text import held_out, scratchpad
from star_mlx.types import Evaluation, Question

TASK = Arithmetic(ArithmeticOptions(train=2000))


def test_the_scratchpad_is_the_papers():
    assert scratchpad(624, 259) == (
        "<scratch>\n"
        "6 2 4 + 2 5 9 , C: 0\n"
        "2 + 5 , 3 C: 1\n"
        "6 + 2 , 8 3 C: 0\n"
        ", 8 8 3 C: 0\n"
        "0 8 8 3\n"
        "</scratch>"
    )


@given(
    st.tuples(*[st.integers(1, 12).flatmap(lambda n: st.integers(10 ** (n - 1), 10**n - 1))] * 2)
)
def test_every_scratchpad_ends_in_the_sum(pair):
    a, b = pair
    lines = scratchpad(a, b).split("\n")
    assert len(lines) == len(str(max(a, b))) + 4
    assert int(lines[-2].replace(" ", "")) == a + b
    total = f"{a + b:0{len(str(max(a, b)))}}"
    for i, line in enumerate(lines[2:-2], 1):
        assert line.split(", ")[1].split(" C:")[0].replace(" ", "") == total[-i:]


def test_the_shorter_number_is_padded_where_the_sum_is_written_first():
    assert scratchpad(98, 7) == (
        "<scratch>\n9 8 + 0 7 , C: 0\n9 + 0 , 5 C: 1\n, 0 5 C: 1\n1 0 5\n</scratch>"
    )
    assert scratchpad(7, 98).split("\n")[1] == "0 7 + 9 8 , C: 0"


def test_prompts_carry_the_question_and_the_hint_only_where_it_is_asked_for():
    question = Question("6 2 4 + 2 5 9")
    assert TASK.ask(question) == "Input:\n6 2 4 + 2 5 9\nTarget:\n"
    assert TASK.ask_hinted(question, "8 8 3") == "Input:\n6 2 4 + 2 5 9\nTarget: 8 8 3\n"


def test_splits_share_no_sum_from_two_digits_up_and_none_is_trained_on():
    sums = {
        split: {p.id.split("/")[0] for p in TASK.problems(split) if int(p.group) > 1}
        for split in ("train", "dev", "test")
    }
    assert not sums["train"] & sums["dev"]
    assert not sums["train"] & sums["test"]
    assert not sums["dev"] & sums["test"]
    assert all(held_out(*map(int, s.split("+"))) for s in sums["dev"] | sums["test"])
    assert not any(held_out(*map(int, s.split("+"))) for s in sums["train"])


def test_each_length_has_as_many_problems():
    def groups(split):
        found = [p.group for p in TASK.problems(split)]
        return {g: found.count(g) for g in found}

    assert groups("train") == dict.fromkeys("12345", 400)
    assert groups("dev") == groups("test") == dict.fromkeys("12345", 100)


def test_ids_are_unique_and_the_problems_depend_on_the_data_seed_alone():
    for split in ("train", "dev", "test"):
        ids = [p.id for p in TASK.problems(split)]
        assert len(ids) == len(set(ids))
    again = Arithmetic(ArithmeticOptions(train=2000))
    assert again.problems("train") == TASK.problems("train")
    other = Arithmetic(ArithmeticOptions(train=2000, data_seed=1))
    assert other.problems("train") != TASK.problems("train")


def test_two_digits_alone_leave_enough_sums_for_both_held_out_splits():
    few = Arithmetic(ArithmeticOptions(digits=(2, 2), train=10, held_out=1000))
    dev, test = few.problems("dev"), few.problems("test")
    assert 200 < len(dev) == len(test) and not {p.id for p in dev} & {p.id for p in test}


def test_the_reference_rationale_is_right_and_reads_as_the_answer():
    for problem in TASK.problems("dev"):
        text = TASK.worked(problem.rationale, problem.answer)
        assert TASK.equal(TASK.read(text), problem.answer)
        assert TASK.valid_steps(problem, text) is True


@pytest.mark.parametrize(
    ("completion", "answer"),
    [
        ("8 8 3", "8 8 3"),
        ("<scratch>\n6 2 4\n</scratch>\n8 8 3", "8 8 3"),
        ("<scratch>\n6 2 4\n</scratch>\n883\n", "883"),
        ("<scratch>\n6 2 4\n8 8 3", None),
        ("<scratch>\n</scratch>\n", None),
        ("<scratch>\n</scratch>\n8 8 3 C: 0", None),
        ("<scratch>\n</scratch>\n8 + 3", None),
        ("", None),
        ("٣", None),
    ],
)
def test_reading_an_answer(completion, answer):
    assert TASK.read(completion) == answer


def test_25_is_not_5():
    assert TASK.equal("2 5", "25") and not TASK.equal("2 5", "5") and not TASK.equal("5", "2 5")
    assert not TASK.equal("0 5", "5")


@given(st.text())
def test_reading_never_raises(text):
    TASK.read(text)
    TASK.valid_steps(TASK.problems("dev")[0], text)


def test_a_wrong_step_with_the_right_answer_is_not_valid():
    problem = next(p for p in TASK.problems("dev") if p.group == "3")
    text = TASK.worked(problem.rationale.replace("C: 0", "C: 1", 1), problem.answer)
    assert TASK.equal(TASK.read(text), problem.answer)
    assert TASK.valid_steps(problem, text) is False
    assert TASK.valid_steps(problem, problem.answer) is None


def test_a_person_may_type_a_sum_either_way():
    for text in ("78+45", "7 8 + 4 5", " 7 8 + 4 5 = "):
        posed = TASK.pose(text)
        assert (posed.question.text, posed.answer) == ("7 8 + 4 5", "1 2 3")


@pytest.mark.parametrize("text", ["", "7", "7 - 4", "seven + four", "1 + 2 + 3", "+"])
def test_what_is_no_sum_is_refused(text):
    with pytest.raises(TaskError):
        TASK.pose(text)


def test_lengths_of_any_kind():
    task = Arithmetic(ArithmeticOptions(digits=(1, 4), train=2000, lengths="any"))
    for split in ("train", "dev", "test"):
        problems = task.problems(split)
        lengths = [[len(n) for n in p.id.split("/")[0].split("+")] for p in problems]
        assert all(p.group == str(max(pair)) for p, pair in zip(problems, lengths, strict=True))
        assert {tuple(pair) for pair in lengths} == {
            (a, b) for a in range(1, 5) for b in range(1, 5)
        }
        for problem in problems:
            assert task.valid_steps(problem, task.worked(problem.rationale, problem.answer))
    assert all(held_out(*map(int, p.id.split("+"))) for p in task.problems("dev") if p.group != "1")
    assert not any(
        held_out(*map(int, p.id.split("/")[0].split("+"))) for p in task.problems("train")
    )
    assert task.pose("12 + 345").group == "3"


def test_a_sum_of_unequal_numbers_is_posed_as_a_class_of_its_own_where_they_are_equal():
    posed = TASK.pose("345 + 12")
    assert (posed.question.text, posed.answer) == ("3 4 5 + 1 2", "3 5 7")
    assert posed.group == "2 and 3"
    assert TASK.valid_steps(posed, TASK.worked(posed.rationale, posed.answer)) is True
    assert TASK.valid_steps(posed, TASK.worked(scratchpad(345, 13), posed.answer)) is False


def test_lengths_are_added_as_they_are_mastered():
    task = Arithmetic(ArithmeticOptions(digits=(1, 2), grow_to=4, train=400, mastered=0.9))

    def longest(*classes):
        evaluations = [Evaluation("dev", 1, 1, by_class) for by_class in classes]
        return max(int(p.group) for p in task.training(evaluations))

    assert longest() == 2
    assert longest({"2": (10, 8)}) == 2
    assert longest({"2": (10, 9)}) == 3
    assert longest({"2": (10, 9), "3": (10, 10)}) == 3
    assert longest({"2": (10, 9)}, {"3": (10, 10)}) == 4
    assert longest({"2": (10, 9)}, {"3": (10, 10)}, {"4": (10, 10)}) == 4
    assert {p.group for p in task.problems("dev")} == set("1234")


@pytest.mark.parametrize(
    "options",
    [
        {"digit": [1, 2]},
        {"digits": [3, 2]},
        {"digits": "many"},
        {"train": 0},
        {"digits": [1, 5], "grow_to": 4},
        {"mastered": 2},
        {"lengths": "unequal"},
    ],
)
def test_bad_options_are_named(options):
    with pytest.raises(TaskError) as caught:
        make("arithmetic", options)
    assert "\n" not in str(caught.value) and "task.options" in str(caught.value)


def test_an_unknown_task_names_the_nearest():
    assert "arithmetic" in names()
    with pytest.raises(TaskError, match="did you mean arithmetic"):
        make("arithmatic", {})
