"""Reading the choice that a completion ends in."""

from __future__ import annotations

import pytest

from star_mlx.answers import choice

LABELS = "ABCDE"
TEXTS = ["dog", "river", "bank", "river bank", "cat food"]
TWICE = ["dog", "river", "river", "dog", "cat food"]  # texts that alone name no choice
ROMAN = ["i", "ii", "iii"]

STATED = [
    ("So the answer is (B).", "B"),
    (" It must hold water. So the answer is (b).", "B"),
    ("answer: b", "B"),
    ("Answer: B", "B"),
    ("**Answer:** D) river bank", "D"),
    ("The answer is B) river", "B"),
    ("The answer is B, not C", "B"),
    ("The answer is B, a river.", "B"),
    ("The answer is B, e.g. the Nile", "B"),
    ("Answer: D) ore", "D"),
    ("The answer is choice B", "B"),
    ("The answer is option B.", "B"),
    ("The answer is letter b", "B"),
    ("The correct option is B", "B"),
    ("The correct choice is B", "B"),
    ("The best option was B", "B"),
    ("Answer is: B", "B"),
    ("The answer is option *B*", "B"),
    ("The answer is option: B", "B"),
    ("The answer is option (B)", "B"),
    ("The best choice is (B).", "B"),
    ("The answers were: B", "B"),
    ("The answer would be B", "B"),
    ("The correct answer is **C. bank**", "C"),
    ("The answer is A", "A"),
    ("The answer is a.", "A"),
    ("The answer is A because dogs bark.", "A"),
    ("The answer is A since dogs bark", "A"),
    ("The answer is A as dogs bark", "A"),
    ("The answer is A for dogs bark", "A"),
    ("The answer is A due to barking", "A"),
    ("The answer is A which barks", "A"),
    ("The answer is A given its bark", "A"),
    ("The answer is A, and dogs bark", "A"),
    ("The answer is A - it barks", "A"),
    ("The answer is A – it barks", "A"),
    ("The answer is A (it barks)", "A"),
    ("The answer is A dog", "A"),
    ("The answer is A dog. It barks", "A"),
    ("The answer is a dog", "A"),
    ("The answer is (A dog)", "A"),
    ("The answer is *A*.", "A"),
    ("The answer is `A`", "A"),
    ("The answer is [B, it flows]", "B"),
    ("The answer is (B: it flows)", "B"),
    ("The answer is {B: it flows}", "B"),
    ("The answer is B probably", "B"),
    ("The answer is B of course", "B"),
    ("The answer is surely (b)", "B"),
    ("The answer is surely [b].", "B"),
    ("The answer is surely {b}. Really", "B"),
    ("The answer is surely not given here. But it is (B)", "B"),
    ("the answer is river", "B"),
    ("The answer is the big river", "B"),
    ("The answer is the river. A bank is wrong", "B"),
    ("The answer is the river! A bank is wrong", "B"),
    ("The answer is the river? A bank is wrong", "B"),
    ("The answer is the river.", "B"),
    ("The answer is the St.Croix river", "B"),
    ("The answer is river, so (D).", "D"),
    ("The answer is river bank.", "D"),
    ("The answer is river-bank.", "D"),
    ("The answer is the long river bank of it", "D"),
    ("The answer must be water. Therefore, the answer is river (b).", "B"),
    ("The answer is:\n\nB\nIt flows.", "B"),
    ("The answer is:**\nB, as it flows\nIt does.", "B"),
    ("The answer is (A). Wait. The answer is (C).", "C"),
    ("The answer is (C). The answer is a thing.", "C"),
    ("A. dog\nB. river\nThe answer is E", "E"),
    ("Answer: \\boxed{\\text{C}}", "C"),
    ("\\boxed{C}", "C"),
    ("\\boxed{a}", "A"),
    ("\\fbox{C}", "C"),
    ("\\boxed {C}", "C"),
    ("\\boxed{\\mathrm{C}}", "C"),
    ("\\boxed{\\text {C}}", "C"),
    ("$\\boxed{\\textbf{(C)}}$", "C"),
    ("\\boxed{\\mathbf{C}}, and later (B)", "C"),
    ("\\boxed{C} and later (B)", "C"),
    ("\\boxed{river}", "B"),
    ("So \\boxed{C. bank} it is", "C"),
    ("\\boxed{42}, so the best option is B", "B"),
    ("The answer is \\boxed{C} or \\boxed{C}", "C"),
]


@pytest.mark.parametrize(("text", "label"), STATED)
@pytest.mark.parametrize(
    "after", ["", "\nNot (D), and not (E).", "\n\nQ: And?\nThe answer is (D)."]
)
def test_a_stated_choice_is_read_whatever_follows(text, after, label):
    assert choice(text + after, LABELS, TEXTS) == label


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("(B)", "B"),
        ("B", "B"),
        ("b", "B"),
        ("B.", "B"),
        ("**B**", "B"),
        ("### B", "B"),
        ("B\n```", "B"),
        ("B\n###", "B"),
        ("**B) river**", "B"),
        ("**B) lake**", "B"),
        ("[B: a lake", "B"),
        ("{B] a lake", "B"),
        ("B river", "B"),
        ("(B river)", "B"),
        ("B dog", "B"),
        ("Some thought.\nB", "B"),
        ("Some thought.\n\n(B) river", "B"),
        ("\\text{B. river}", "B"),
        ("\\textbf{B. river}", "B"),
        ("river", "B"),
        ("The river.", "B"),
        ("B) lake (B)", "B"),
        ("The answer is surely not given.\n(A) or (C)?\n(B)", "B"),
        ("B) lake, or so (C) said", "C"),
        ("A) dog is wrong, so it is (B)", "B"),
        ("A: (B)", "B"),
        ("A) plan b) was taken", "A"),
        ("I think it is option (C)", "C"),
        ("I think it is (c)", "C"),
        ("I think it is ( C )", "C"),
        ("I think it is [C]", "C"),
        ("I would say **B** here", "B"),
        ("I would say **b** here", "B"),
        ("I would say **B) lake** here", "B"),
        ("I would say **(B)** here", "B"),
        ("It is (C).\nThat is all.", "C"),
        ("It is (B).\nNo, (C).\nThat is all.", "C"),
        ("The answer choices: (A) is wrong.\nIt is (C)", "C"),
        ("The answer is hard. So: (C)", "C"),
        ("The answer, then. This is (A).\nNo, (C)", "C"),
        ("The answer\nThis is (A).\nNo, (C)", "C"),
        ("The answer is\nhard: (C)", "C"),
        ("Question: Which one? (B)", "B"),
        ("（Ｂ）", "B"),
    ],
)
def test_a_choice_that_is_not_stated_is_read_from_the_last_line(text, label):
    assert choice(text, LABELS, TEXTS) == label


@pytest.mark.parametrize(
    "goes_on",
    [
        "<|im_end|>", "<|EOT_ID|>", "<|end>", "</s>", "[INST]", "[/INST]", "\nQ:", "\n\tQ:",
        "\n  ### **Q** :", "\n#Q2:", "\nQuestion 12:", "\nProblem 1234:", "\nInput:",
        "\nInstruction:", "\nHuman:", "\n**User:",
    ],
)  # fmt: skip
def test_another_question_is_not_read(goes_on):
    assert choice(f"(B) is it. {goes_on} Which? (C)", LABELS) == "B"
    assert choice(f"{goes_on.lstrip()} Which? (C)", LABELS) == "C"  # nothing before it was said


@pytest.mark.parametrize(
    "text",
    [
        "The answer is (A) or (B)",
        "The answer is A or B.",
        "The answer is A OR b",
        "The answer is B OR c",
        "The answer is B and C",
        "The answer is B/C",
        "The answer is B & C.",
        "The answer is B, C",
        "The answer is **B** or **C**",
        "The answer is A) (B)",
        "The answer is A (B).",
        "The answer is \\boxed{C} or \\boxed{B}",
        "The answer is $\\boxed{C}$ and $\\boxed{B}$",
        "The answer is \\fbox{C} or \\fbox{B}",
        "The answer is surely (A) or (B)",
        "The answer is a river or a dog",
        "The answer is a river or a dog\nso (A)",
        "(A) and (B) both fit",
        "A) (B)",
        "A)(B)",
        "(A)(B)",
        "[A] [B]",
        "A] (B)",
        "A] dog [B]",
        "A) B)",
        "a) b)",
        "A) dog (B)",
        "A) dog (B) river",
        "A) dog B) river C) bank",
        "A) dog B) river C) bank (D)",
        "**A** or **B** here",
        "A dog is nice",
        "A dog is nice, as a pet",
        "The answer is a hedgehog",
        "The answer is A hedgehog",
        "The answer is A Xylophone",
        "The answer is A and more",
        "The answer is cat",
        "The answer is",
        "The answer is.",
        "I do not know",
        "F",
        "(F)",
        "Bank robbers",
        "AB",
        "",
        "\n",
        "###",
    ],
)
def test_no_choice_or_more_than_one_is_none(text):
    assert choice(text, LABELS, TEXTS) is None


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("The answer is A dog", "A"),
        ("The answer is A dog. A river is wrong.", "A"),
        ("the answer is b river", "B"),
        ("The answer is A river", None),
        ("the answer is dog", None),
        ("the answer is the old dog", None),
        ("dog", None),
        ("cat food", "E"),
    ],
)
def test_a_text_that_two_choices_share_names_neither(text, label):
    assert choice(text, LABELS, TWICE) == label


@pytest.mark.parametrize(
    ("text", "labels", "label"),
    [
        ("the answer is (B)", "abc", "b"),
        ("the answer is b", "abc", "b"),
        ("the answer is a hedgehog", "abc", None),
        ("The answer is (3).", ["1", "2", "3"], "3"),
        ("The answer is 10", [str(n) for n in range(1, 11)], "10"),
        ("The answer is Yes but not now", ["Yes", "Yes but"], "Yes but"),
        ("The answer is 1.5", ["1.5", "115"], "1.5"),
        ("115", ["1.5", "115"], "115"),
        ("X", "XYZ", "X"),
        ("X)", "XYZ", "X"),
        ("The answer is X", "XYZ", "X"),
        ("The answer is i think ii", ROMAN, None),
        ("The answer is I think II", [r.upper() for r in ROMAN], None),
        ("The answer is II think I", [r.upper() for r in ROMAN], "II"),
        ("the answer is (B)", [], None),
        ("the answer is (?!)", [], None),
        ("The answer is A dog", LABELS, None),
    ],
)
def test_labels_are_given_back_as_the_question_has_them(text, labels, label):
    assert choice(text, labels) == label


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("The answer is dog", "A"),
        ("The answer is a dog", "A"),
        ("The answer is some river", "B"),
        ("The answer is owl", "C"),
        ("An owl", "C"),
        ("The answer is the", "D"),
        ("The answer is this: + or -", None),
        ("The answer is:", None),
    ],
)
def test_articles_and_marks_of_a_choices_text_do_not_matter(text, label):
    assert choice(text, "ABCDE", ["a dog", "the river", "an owl!", "The", "+"]) == label


def test_a_text_that_begins_with_option_is_a_text():
    assert choice("The answer is option pricing", "AB", ["option pricing", "pricing"]) == "A"


def test_fewer_texts_than_labels():
    assert choice("the answer is river", LABELS, TEXTS[:2]) == "B"
    assert choice("the answer is (E)", LABELS, TEXTS[:2]) == "E"


@pytest.mark.parametrize("text", ["The answer is (B).", "(B)", "river"])
def test_only_the_two_ends_of_a_long_text_are_read(text):
    """The middle is left out, however long it is, and whatever it says."""
    filler = "Rivers flow, and so on.\n" * 5000
    assert choice(filler + text, LABELS, TEXTS) == "B"
    assert choice(filler + "The answer is (C).\n" + filler + text, LABELS, TEXTS) == "B"


def test_of_many_statements_and_lines_the_last_64_are_looked_at():
    assert choice("The answer is (B). " + "What answer? " * 63, LABELS) == "B"
    assert choice("The answer is b: so. " + "What answer? " * 64, LABELS) is None
    assert choice("It is (B).\n" + "So it goes.\n" * 63, LABELS) == "B"
    assert choice("It is (B).\n" + "So it goes.\n" * 64, LABELS) is None


def test_a_statement_and_a_line_are_looked_at_for_400_characters():
    assert choice("The answer is " + "so " * 130 + "(B).", LABELS) == "B"
    assert choice("The answer is " + "so " * 140 + "(B) or so it is\nBye.", LABELS) == "B"
    assert choice("So (C) " + "so " * 140 + "(B) or so", LABELS) == "B"
    assert choice("So (B) " + "so " * 140, LABELS) is None
