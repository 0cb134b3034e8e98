"""Reading the number that a completion ends in, rule by rule; whole outputs: gsm8k_outputs."""

from __future__ import annotations

import pytest

from star_mlx.answers import final_number
from star_mlx.answers.numerals import NUMBER_WORDS

HASHED = [
    ("#### 18 and 7", "18"),
    ("####18", "18"),
    ("##### 18 and 7", "18"),
    ("####\n####\n#### Step 1\n#### 18 and 7", "18"),
    ("#### no number here\n#### 18", "18"),
    ("#### unknown\n#### 18", None),
    ("#### he has 9 left\n#### 18", "18"),  # a line that begins with a number goes first
    ("#### he has 18 left\n#### and the rest", "18"),
    ("#### found in step 2: he has 18", "18"),
    ("#### Day 1\n7\n#### 18", "18"),
    ("#### Part 1\n7\n#### 18", "18"),
    ("#### 1. Count\n#### 18", "18"),
    ("#### **2)** Count\n#### 18", "18"),
    ("#### 1.5", "1.5"),
    ("#### 12 000", "12000"),
    ("#### - 18 and 7", "-18"),
    ("#### - 18 - 7", "-18"),
    ("#### $- 18", "18"),
    ("#### -$18", "-18"),
    ("#### -18", "-18"),
    ("#### approximately only 18 or 7", "18"),
    ("#### then a total of 18 for 7", "18"),
    ("#### usd 18 for 7", "18"),
    ("#### 5 * 3 = 15 = x", "15"),
    ("#### 5 apples * 3 = 15 apples", "15"),
    ("#### 3x + 2 = 18", "18"),
    ("#### 20 = A", "20"),
    ("#### 18 (x = 9)", "18"),
    ("#### Mr. Smith has 18. But 7", "18"),
    ("#### 18; 7", "18"),
    ("#### eighteen", "18"),
    ("#### Twenty five dollars", "25"),
    ("#### a hundred", "100"),
    ("#### five plus 13 = 18", "18"),
    ("#### fifty of 7", "7"),
    ("#### one by 7", "7"),
    ("#### \x00", None),
    ("#### 18" + "\n#### 7" * 100, "18"),
    ("####\n" * 64 + "#### 18\nBut 7", "7"),  # 64 of them are looked at
    ("####\n" * 63 + "#### 18\nBut 7", "18"),
]

BOXED = [
    ("\\boxed{18} and later 7", "18"),
    ("So $x = \\boxed{18}$ and later 7.", "18"),
    ("\\fbox{18} and later 7", "18"),
    ("\\boxed {18} and later 7", "18"),
    ("\\boxed{9} or \\boxed{18} and later 7", "18"),
    ("\\boxed{9} or \\boxed{18 dollars} and later 7", "18"),
    ("\\boxed{18} \\boxed{} \\boxed{y} and 7", "18"),
    ("\\boxed{18} \\boxed{} \\boxed{} \\boxed{y} and 7", "7"),  # three boxes are looked at
    ("\\boxed{no} 18 and 7", "7"),
    ("\\boxed{a{b}c} 18 and 7", "7"),
    ("\\boxed{a{b} = 18} and 7", "18"),
    ("\\boxed{{a} 18} and 7", "18"),
    ("\\boxed{x\n18 and 7", "7"),
    ("\\boxed{x = {18}} and 7", "18"),
    ("\\boxed{{{18}}} and 7", "18"),
    ("\\boxed{18 dollars and 7", "18"),
    ("\\boxed{x\n18} and 7", "18"),
    ("\\boxed{x\n18", "18"),
    ("\\boxed 18 and 7", "18"),
    ("\\boxed{the sum of 10 and 8, which is 18} and 7", "18"),
    ("\\boxed{10 000} and 7", "10000"),
    ("\\boxed{10 200} and 7", "10200"),
    ("\\boxed{eighteen} and 7", "18"),
    ("\\boxed{} he has 18", "18"),
    ("\\boxed{N/A} 7", None),
    ("\\boxed{18} and \\boxed{none}", None),
    ("\\boxed{" + "x" * 390 + "= 18} and 7", "18"),
    ("\\boxed{" + "x" * 400 + " 18} and 7", "7"),
    ("\\boxedx{18} 7", "7"),
]

STATED = [
    ("The answer is found in step 2: he has 18", "18"),
    ("The answer are 18 of 7", "18"),
    ("The answer comes to 18 of 7", "18"),
    ("The answer comes out to 18 of 7", "18"),
    ("The answer equals 18 of 7", "18"),
    ("The answer is, to be exact, 18 of 7", "18"),
    ("Ans: 18 of 7", "18"),
    ("Answer = 18 of 7", "18"),
    ("The answer (in dollars): 18 and 7", "18"),
    ("**Answer** (for 7 days): 18", "18"),
    ("The answer is:\n\n  *18* of 7", "18"),
    ("The answer is _18_ of 7", "18"),
    ("The answer is 18. The answer is plain. 7", "18"),
    ("The answer is 18. The answer, then. 7", "18"),
    ("The answer is Mr. Jones has 18 apples. He has 7", "18"),
    ("The answer is unknown. 7", None),
    ("The answer is 5. No, the answer is none of 7", None),
    ("answer: N/A. 7", None),
    ("answer choices: 18 or 7", "7"),
    ("The answer is his 9, which is $18 of 20", "18"),
    ("The answer is his 5 or 9 and 18, or ... so", "18"),
    ("The answer is the sum which makes 18 of 7", "18"),
    ("The answer is the sum of 5 and 4 rounded up to 18 for 7", "18"),
    ("The answer is what 5 of 7 equals", "5"),
    ("The answer is his 5 * 3 = 15 apples for 7", "15"),
    ("The answer is his 5 apples, with x = 3", "5"),
    ("The answer is x^2 = 18 of 7", "18"),
    ("The answer is " + "so " * 125 + "18 of 7", "18"),
    ("The answer is " + "so " * 135 + "18 of 7", "7"),
    ("Answer: he ate 7 of his. So 18", "18"),
    ("Answer: he ate 18. That is all", "18"),
    ("Answer:\nHe ate 18 of 20", "18"),
    ("**Answer:**\nHe ate 18 of 20", "18"),
    ("The answer is 18. Answer: he ate 7 of his. So 20 or 30", "18"),
    ("9: Answer: 18 of 20. That is 2 left", "18"),
    ("Answer: 18. That is what he ate in 7 days", "18"),
    ("Answer: 18. He ate it in 7 days", "18"),
    ("Answer: 9 and 9. So he ate 18", "18"),
    ("He ate 9 twice. Answer: 18 of 20. That is 2 left", "18"),
    ("He ate nothing. Answer: 9 of 20. So he ate 18", "18"),
    ("So 7." + " " * 400 + "Answer: 9 of 20. So he ate 18", "18"),
    ("So 7." + " " * 380 + "Answer: 18 of 20. So he ate 9", "18"),
    ("The answer is 18. " + "What answer? " * 63 + "7", "18"),
    ("The answer is 18. " + "What answer? " * 64 + "7", "7"),
]

BOLD = [
    ("He has **9** and **18** of 7", "18"),
    ("He has **18** and **9 to 10** of 7", "18"),
    ("He has **18** and **Step 2** of 7", "18"),
    ("He has **18 dollars** of 7", "18"),
    ("He has **all: 18** of 7", "18"),
    ("He loses **-5** of 7", "-5"),
    ("He loses **-$5** of 7", "-5"),
    ("So\n**9** of it.\nHe has 18", "18"),
    ("**9** of it.\nHe has 18", "18"),
    ("Good.\n**9** of it.\n**18** of 20\nA **last** line. Bye", "18"),
    ("He has 18 **Step 2**", "18"),
    ("He has **18", "18"),
    ("**1.** He has 9\n**2.** He has 18", "18"),
    ("**1)** He has **9**\n**2)** He has **18** of 7", "18"),
    ("**18** " + "so " * 120 + "7", "18"),
    ("**18** " + "so " * 140 + "7", "7"),
    ("He has 7 " + "so " * 120 + "**and more**", "7"),
]

LAST = [
    ("found in step 2: he has 18", "18"),
    ("As found in step 2, he has 18 of them", "18"),
    ("He has 18 apples after 7", "18"),
    ("He has 18 apples after the 7", "18"),
    ("He has 18 apples for all of the 7", "18"),
    ("He has 18 apples per $7", "18"),
    ("He has 18 apples to give 7", "18"),
    ("He has (18 apples) in 7", "18"),
    ("He has 5 + 13, 18 apples in 7 days", "18"),
    ("He ate them in 7", "7"),
    ("He had 9 + 9 = 20. He ate 18 of them", "18"),
    ("He has some because he ate 18 apples in 7 days", "18"),
    ("8 of them because 9 < 20", "8"),
    ("It was 9 = 3 * 3, which gives 20 = 18 of 5", "18"),
    ("He has 5, 9 and 18, or ... so", "18"),
    ("He has 18 = b = A", "18"),
    ("In 7 days", "7"),
    ("He has 18 at once, or 7", "7"),
    ("He has 7 + 11 = 18 apples in 5 days", "18"),
    ("He has 18 because 9 < 20", "18"),
    ("He has 18 since he had 20", "18"),
    ("Because 9 < 20 he has 18", "18"),
    ("He has some because 9 < 18", "18"),
    ("He has 9 since 9 + 9 = 18", "18"),
    ("He has 9; so 18", "18"),
    ("He has 9. So he has 18. Good", "18"),
    ("He has 18!\n\nSo. Good", "18"),
    ("It was 9, for a total of 18 in 5 days", "18"),
    ("It was 9, which is 18 now, with 5 to go", "18"),
    ("It was 9 = 3 * 3, which gives 18 for 5", "18"),
    ("It was 9, which makes $18 for 5", "18"),
    ("It was 9, which is 3 = 18", "18"),
    ("It was 9, which is 18 = 18", "18"),
    ("Step 1: 18", "18"),
    ("Step 2", "2"),
    ("5 apples = 5 * 2 = 18 dollars", "18"),
    ("2 + 2 = 4, 4 + 14 = 18 and 5", "18"),
    ("18 = 3 * 6", "18"),
    ("18 = 3 - 6 = -3 + 2", "18"),
    ("9 * 2 = 18 = y", "18"),
    ("9 * 2 = $18 = $x$", "18"),
    ("The x^2 is 18", "18"),
    ("The x^2 of it", "2"),
    ("He has 18 = all", "18"),
    ("1 = 1 = 1 = 1 = 1 = 18 = 2 * 3 = 2 * 3 = 6 * 1", "18"),
    ("18 = 2 * 3 = 2 * 3 = 2 * 3 = 2 * 3 = 2 * 3 = 2 * 3 = 2 * 3 = 6 * 1", "1"),
    ("He had 9 " + "so " * 120 + "= 18 of it in 7 days", "18"),
    ("He has 18 of it in " + "so " * 140 + "7", "7"),
]

WORKED = [
    ("<<9*2=18>>", "18"),
    ("He has <<9*2=18>> of it", "18"),
    ("He has <<9*2=18>>18", "18"),
    ("He has <<9*2=18>>$18", "18"),
    ("He has <<9*2=-18>>-18", "-18"),
    ("He has <<1/2=.5>>.5", "0.5"),
    ("He has <<9*2=18>>all of 7 = 18", "18"),
    ("She has <<9-2=7>>7 eggs and 11 geese, 18", "18"),
    ("So 9 + 9. Answer: <<18. Then 7", "18"),
    ("</think> The answer is 9. </think>It is 18", "18"),
    ("He has 9 <<he has 18", "18"),
    ("<think>It is 9.</think>It is 18", "18"),
    ("<think>It is 18.</think>", "18"),
    ("<think>It is 18.</think>I hope this helps", "18"),
    ("<think>The answer is 9.</think> So </think>it is 18", "18"),
    ("<think>The answer is 9.\nQ: so?</think>it is 18", "18"),
]


@pytest.mark.parametrize(("text", "right"), HASHED + BOXED + STATED + BOLD + LAST + WORKED)
def test_every_way_of_giving_the_answer(text, right):
    assert final_number(text) == right


@pytest.mark.parametrize(
    "filler",
    [
        "**", "_", "=", ":", "~", "≈", "$", "(", "{", "[", "`", '"', "'", "\\", "about", "around",
        "approximately", "only", "exactly", "therefore", "therefore,", "then", "thus", "thus,",
        "simply", "just", "equal to", "the answer is", "answer", "final", "a total of", "x =", "x=",
        "USD", "US$", "Rs", "rs.", "So\n#### **Final answer:** about",
    ],
)  # fmt: skip
def test_what_stands_before_an_answer_is_skipped(filler):
    """A line that begins with its number goes before one that does not."""
    assert final_number(f"#### he has 9\n#### {filler} 18 or 7") == "18"


@pytest.mark.parametrize(
    "unknown",
    [
        "n/a", "N/A", "None", "no answer", "no solution", "unknown", "undefined", "impossible",
        "cannot be told", "can't be told", "can not be told", "not enough", "not possible",
        "not known", "not given", "not sure", "not clear", "insufficient", "indeterminate",
        "**unknown**", "_unknown_",
    ],
)  # fmt: skip
@pytest.mark.parametrize("form", ["#### {} 7", "\\boxed{{{} 7}}", "The answer is {} from 7"])
def test_an_answer_that_is_said_to_be_unknown_is_none(form, unknown):
    assert final_number("So 18. " + form.format(unknown)) is None


@pytest.mark.parametrize("known", ["nonetheless", "not really", "no more than", "cannons:"])
def test_an_answer_that_only_begins_so_is_one(known):
    assert final_number(f"The answer is {known} 18") == "18"


@pytest.mark.parametrize("word", NUMBER_WORDS)
def test_numbers_in_words(word):
    assert final_number(f"Of 7, the answer is {word}.") == str(NUMBER_WORDS[word])
    assert final_number(f"Of 7, the answer is {word} of") == "7"


@pytest.mark.parametrize(
    "more",
    ["of", "more", "less", "half", "third", "quarter", "and", "hundred", "thousand", "million",
     "by", "is", "way"],
)  # fmt: skip
@pytest.mark.parametrize("form", ["#### one {} the 18", "#### one-{} the 18"])
def test_a_word_that_counts_something_else_is_no_answer(form, more):
    assert final_number(form.format(more)) == "18"


@pytest.mark.parametrize(
    "circumstance",
    [
        "in", "after", "within", "over", "for", "from", "per", "than", "to buy", "in the",
        "for those", "for these", "for each", "in all of the", "in a", "per $", "per €", "per £",
    ],
)  # fmt: skip
def test_the_number_of_a_circumstance_is_not_the_answer(circumstance):
    between = "" if circumstance[-1] in "$€£" else " "
    assert final_number(f"He has 18 apples {circumstance}{between}7") == "18"


@pytest.mark.parametrize(
    "result",
    [
        "which is", "which equals", "which gives", "which makes", "equals", "or", "for a total of",
        "rounds to", "rounded to", "rounding to", "round to", "rounded up to", "rounds down to",
        "which is €", "which is £", "which is $", "which is -", "or .",
    ],
)  # fmt: skip
def test_the_number_after_a_result_is_the_answer(result):
    between = "" if result[-1] in "$€£-." else " "
    read = {"-": "-18", ".": "0.18"}.get(result[-1], "18")
    assert final_number(f"He has 9 of 5, {result}{between}18 of 7 in 5 days") == read
    assert final_number(f"The answer is that of 5, {result}{between}18 of 7") == read


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("He has 9 + 9 = 18. He ate 7", "7"),
        ("He has 9 + 9 = 18! He ate 7", "7"),
        ("He has 9 + 9 = 18? He ate 7", "7"),
        ("He has 9 + 9 = 18.** He ate 7", "7"),
        ("He has $9 + 9 = 18.$ He ate 7", "7"),
        ('He has "9 + 9 = 18." He ate 7', "7"),
        ("He has '9 + 9 = 18.' He ate 7", "7"),
        ("He has (9 + 9 = 18.) He ate 7", "7"),
        ("He has 9 + 9 = 18.He ate 7", "7"),
        ("He has 9 + 9 = 18\nHe ate 7", "7"),
        ("He has 9 + 9 = 18; he ate 7", "7"),
        ("He has 9 + 9 = 18 e.g. he ate 7", "7"),
        ("He has 9 + 9 = 18 of Mr. T, Mrs. T, Ms. T and Dr. T of 7", "18"),
        ("He has 9 + 9 = 18, approx. 20", "18"),
    ],
)
def test_a_sentence_ends_where_it_does(text, right):
    assert final_number(text) == right


@pytest.mark.parametrize(
    ("statement", "right"),
    [
        ("9 * 2 = 18", "18"),
        ("9 / 2 = 18", "18"),
        ("9 + 2 = 18", "18"),
        ("9 - 2 = 18", "18"),
        ("9 x 2 = 18", "18"),
        ("9 = 18", "18"),
        ("9) * 2 = 18", "18"),
        ("9] * 2 = 18", "18"),
        ("9 % * 2 = 18", "18"),
        ("9 apples * 2 = 18", "18"),
        ("9 big apples * 2 = 18", "18"),
        ("9 km/h * 2 = 18", "18"),
        ("9 of the apples, 2 = 18", "9"),
        ("9 (2 = 18)", "9"),
        ("9 = 18 = X", "18"),
        ("9 = 18 = $x$", "18"),
        ("9 = 18 = \\x\\)", "18"),
        ("9 = 18 = 2 / 9", "2/9"),
        ("9 = 18 = 9 x 2", "18"),
        ("9 = 18 = 9 ^ 2", "18"),
        ("9 = 18 = 9 - 2", "18"),
        ("9 = 18 = 9 + 2", "18"),
        ("9 = 18 = 9 * $2", "18"),
        ("9 = 18 = 9*(2)", "18"),
        ("9 = 18 = (9) * 2", "18"),
        ("9 = 18 = [9] * 2", "18"),
        ("9 = 18 = 9% * 2", "18"),
        ("9 = 18 = 9 * a", "9"),
    ],
)
def test_a_calculation_comes_to_its_last_side_that_is_one_number(statement, right):
    assert final_number(f"The answer is {statement}.") == right


@pytest.mark.parametrize(
    "goes_on",
    [
        "<|im_end|>", "<|eot_id|>", "<|>", "</s>", "<eos>", "<end_of_turn>", "<start_of_turn>",
        "[INST]", "[/INST]", "\nQ:", "\n**Q**:", "\nQ 2:", "\n  Human:", "\nUser 12 :",
        "\n### Instruction\n", "\n## Inputs\n", "\n# Human", "\n### User\n",
    ],
)  # fmt: skip
def test_turns_and_tokens_end_the_answer_after_any_number(goes_on):
    goes_on = goes_on.replace("<|>", "<|end|>")
    assert final_number(f"18{goes_on} 7 is the answer. #### 7") == "18"
    assert final_number(f"So {goes_on} 18") == "18"  # before any number, they end nothing


@pytest.mark.parametrize(
    "heading",
    [
        "Question:", "question:", "Problem:", "Problem 2:", "Problem #2 :", "## Problem 2",
        "Input:", "Instruction:", "Instructions:", "> Example:", "**Exercise**", "**Input:",
        "  ## **Examples 12**",
    ],
)  # fmt: skip
@pytest.mark.parametrize(
    "answered",
    ["#### 18", "\\boxed{18}", "\\fbox{18}", "The answer is 18.", "Answer: 18", "**Answer** 18",
     "9 * 2 = 18", "9 * 2 = $18", "9 * 2 =18", "So **18** it is", "So **$18** it is"],
)  # fmt: skip
def test_another_problem_ends_the_answer_after_an_answer(heading, answered):
    assert final_number(f"{answered}\n{heading}\nTom has 7. The answer is 7.") == "18"


def test_a_problem_that_is_repeated_before_the_answer_ends_nothing():
    text = "Given: 16 eggs\nQuestion: How many dollars?\nSolution: she has 18"
    assert final_number(text) == "18"
