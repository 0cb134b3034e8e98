"""Mathematical answers: right, wrong or undecided. docs/answers.md has the rules in words."""

from __future__ import annotations

import builtins
import random
from fractions import Fraction

import pytest

from star_mlx.answers.math import evaluate, metamath
from star_mlx.answers.math.decide import at_once, judged, unreadable
from star_mlx.answers.math.limits import LONGEST
from star_mlx.errors import TaskError

RIGHT = [
    # numbers: integer, decimal, fraction, mixed, repeating, grouped, in words
    ("6.0", "6"), ("1/2", "0.5"), (r"-\frac{3}{4}", r"\frac{-3}{4}"), (r"\frac12", r"\frac{1}{2}"),
    (r"\frac 59", r"\frac{5}{9}"), (r"\frac{360}7", r"\frac{360}{7}"), ("1 4/5", r"1\frac{4}{5}"),
    ("1.8", r"1\frac45"), (r"0.\overline{3}", r"\frac13"), (r"0.1\overline{6}", "1/6"),
    ("15600", "15,600"), (r"5,\!040", "5040"), ("8{,}880", "8880"), ("10 000", "10000"),
    (r"111, \! 111, \! 111", "111111111"), ("five", "5"), (r"\text{13}", "13"), ("5+3=8", "8"),
    ("$7$.", "7"), (r"\boxed{7}", "7"), ("= 7", "7"), ("110, 70", "70,110"), (r"\(7\)", "7"),
    # expressions, complex numbers, notation
    (r"4\sqrt(2)", r"4\sqrt2"), ("2*sqrt(3)", r"2\sqrt{3}"), (r"\sqrt{12}", r"2\sqrt3"),
    (r"\frac{1}{\sqrt3}", r"\frac{\sqrt{3}}{3}"), (r"\sqrt{3+2\sqrt2}", r"1+\sqrt 2"),
    ("3i - 2", "-2+3i"), (r"\sqrt{-4}", "2i"), (r"\sqrt[3]{-8}", "-2"), ("x^{10}", "x^10"),
    ("(x-2)(x-3)", "x^2-5x+6"), (r"\cos 58^\circ", r"\sin 32^\circ"), (r"\sin^2 x", "1-\\cos^2 x"),
    (r"2 \tan x", r"\frac{2\sin x}{\cos x}"), (r"\log_2 8", "3"), (r"\ln e^2", "2"),
    (r"3 - 2f(x)", r"-f(x)-f(x)+3"), (r"36x\sqrt{35x}", r"36\sqrt{35}x^{3/2}"), ("|3-4i|", "5"),
    (r"\frac{1}{2004!}", r"\frac{2005}{2005!}"), ("3^{2007}", r"3\cdot 3^{2006}"),
    (r"\binom{5}{2}", "10"), (r"\lfloor 2.5 \rfloor", "2"), (r"\sin^{-1} 1", r"\pi/2"),
    (r"\overline{DC}", r"\overline{CD}"), ("ba", "ab"), ("x_{1}+1", "1+x_1"), ("√2", r"\sqrt2"),
    # percent, money, degrees, units
    (r"50\%", "0.5"), (r"20\%", "20"), ("75", r"75\%"), ("0.75", r"75\%"), (r"\$4.00", "4"),
    ("4", r"\$4"), ("50 cents", r"\$0.50"), ("90", r"90^\circ"), (r"\frac{\pi}{2}", r"90^\circ"),
    (r"90^{\circ}", "90"), ("30 degrees", r"30^\circ"), ("15", r"15\mbox{ cm}^2"),
    (r"8\sqrt3\text{ in}^2", r"8\sqrt{3}\text { square inches}"), ("150 mm", r"15\text{ cm}"),
    ("18", r"18\text{ integers}"), (r"18\text{ ways.}", "18"), ("4 million", "4000000"),
    (r"45 \text{ units}^2", r"45\text{ square units}"),
    # names, equations, inequalities
    ("x = 3", "3"), ("3", "x=3"), ("y=2x+3", "2x-y+3=0"), ("2x+3", "y = 2x + 3"),
    ("8x-10y=-100", "4x-5y=-50"), ("P = (1,2)", "(1,2)"), ("(x,y)=(1,2)", "(1,2)"),
    ("f(x) = x+1", "x+1"), ("f(4) > f(1) > f(2)", "f(2) < f(1) < f(4)"),
    # intervals
    ("x>3", r"(3,\infty)"), (r"-2\le x\le 7", r"x \in [-2,7]"), ("[-2,7]", r"x \in [-2,7]"),
    (r"x<2 \text{ or } x>3", r"(-\infty,2)\cup(3,\infty)"), ("(2, 12)", "(2,12)"),
    (r"(3,\infty)\cup(-\infty,2)", r"(-\infty,2)\cup(3,\infty)"), ("[0,1] \\cup (1,2]", "[0,2]"),
    (r"x \ne 3", r"(-\infty,3)\cup(3,\infty)"), (r"\mathbb{R}", r"(-\infty,\infty)"),
    ("all real numbers", r"(-\infty,\infty)"), ("no solution", r"\emptyset"),
    (r"\{x \mid x > 3\}", r"(3,\infty)"), (r"\mathbb{R} \setminus \{3\}", r"x \ne 3"),
    # sets, lists, points, matrices, ratios
    (r"\{1,2\}", "2, 1"), ("2 and 1", "1, 2"), (r"x=-2 \text{ or } x=2", r"x=\pm 2"),
    (r"1\pm\sqrt{19}", r"1+\sqrt{19},1-\sqrt{19}"), (r"\{5\}", "5"), ("(0.5, 2)", r"(\frac12,2)"),
    ("(1,7)", r"\begin{pmatrix} 1 \\ 7 \end{pmatrix}"),
    (r"\langle 1,2 \rangle", r"\langle 1,\frac42\rangle"),
    (r"\begin{bmatrix}1\\7\end{bmatrix}", r"\begin{pmatrix} 1 \\ 7 \end{pmatrix}"),
    (r"\frac12\begin{pmatrix}2\\4\end{pmatrix}", r"\begin{pmatrix}1\\2\end{pmatrix}"),
    ("6:4", "3:2"), ("3/2", "3:2"),
    # bases, choices, words, rounded
    ("052_8", "52_8"), (r"2a_{16}", "2A_{16}"), (r"52_{\text{eight}}", "52_8"), ("52_{10}", "52"),
    ("B", r"\text{(B)}"), ("(B)", r"\text{B}"), (r"\text{C, A, F}", r"\text{A,C,F}"),
    ("East.", r"\text{east}"), ("the circle", r"\text{circle}"), ("9 am", r"9\text{ a.m.}"),
    ("1:03 p.m.", r"\text{1:03 PM}"), ("ACF", r"\text{ACF}"), (r"\frac13", r"\approx 0.33"),
    # what is no mixed number, no function and no product
    (r"x^2\frac{1}{3}", r"\frac{x^2}{3}"), (r"2^3\frac{1}{2}", "4"), (r"\log_2 \frac{1}{8}", "-3"),
    ("10 min", r"10\text{ minutes}"), ("120 minutes", "2 hours"), ("3 sec", "3"), ("4!=24", "24"),
    (r"\sin x/\cos x", r"\tan x"), (r"\sin 2(x+1)", r"\sin(2x+2)"), ("U", "U + 0"),
    (r"\angle ABC", r"\angle{ABC}"), (r"x<\infty", r"\mathbb{R}"), ("f(2)=3", "3"),
    (r"\text{No}", r"\text{NO}"), ("1,2,1", "1,1,2"), ("5, 6", "a=5, b=6"), ("x=2+3=5", "5"),
    (r"A = \pi r^2 = 9\pi", r"9\pi"), (r"\{x \in \mathbb{R} \mid x > 3\}", r"(3,\infty)"),
    (r"\frac{10}{3} \approx 3.33", "3.33"), ("red and blue", "blue, red"),
    ("the circle", "Circle."),
    ("no solution", "empty set"), ("18 men", "18"), ("18 ways", "18"), ("bca", "abc+0"),
    (r"\sin{x}\cos{y}", r"\cos y \sin x"),
]  # fmt: skip
WRONG = [
    ("25", "5"), ("1/2^{98}", "1/2^{99}"), ("1+1/e", "1-1/e"), (r"4\sqrt(2)", "4"), ("52", "52_8"),
    (r"\sqrt{2}+10^{-60}", r"\sqrt2"), (r"\sqrt{2}+10^{-300}", r"\sqrt2"), ("5x", "5"), ("5m", "5"),
    (r"e^{\pi\sqrt{163}}", "262537412640768744"), ("5²", "52"), ("A", "a"), ("3.14", r"\pi"),
    ("0.333", r"\frac13"), (r"0.5\%", "0.5"), ("50", r"\$0.50"), ("15 cm", r"15\mbox{ cm}^2"),
    ("4 million", "4"), ("y=3", "x=3"), ("8x-10y=-101", "4x-5y=-50"), ("x^3+3x=0", "x^3+3x"),
    (r"[3,\infty)", r"(3,\infty)"), ("y > 3", "x > 3"), ("(2,1)", "(1,2)"), ("1", "1,2"),
    ("1,2,3", "1,2"), ("(1,2)", "[1,2]"), ("C", r"\text{(B)}"), ("west", r"\text{east}"),
    ("3:2", "2:3"), (r"\begin{pmatrix}1&2\end{pmatrix}", r"\begin{pmatrix}1&3\end{pmatrix}"),
    ("(2,000)", "2000"), ("x^2+C", "x^2"), ("__import__('os').system('x')", "1"), ("60_8", "52_8"),
    ("€4", "\\$4"), (r"\approx 0.34", r"\approx 0.33"), ("0.34", r"\approx 0.33"),
    ("y=y", "x^2+y^2=13"), ("x+1=x+1", "y=3x"), (r"y \approx 0.33", r"x \approx 0.33"),
    ("(0,0)", "[0,0)"), ("[0,0)", "(0,0)"), ("(5,-3)", "[2,5)"),
    ("2", "2abcd"), ("24 abc", "24"), ("5", "5 abcd"),
    ("0:5:3", "0:7:2"), ("[1,2,4]", "(1,2,3)"), ("3:5", "3:05"), ("10-5 cats", "105 cats"),
    ("10 5 cats", "105 cats"),
    (r"\text{-5 below}", r"\text{5 below}"), ("0,123", "123"), (r"\infty", r"-\infty"),
    (r"\infty", "1"), (r"f(\sqrt2+10^{-30})", r"f(\sqrt2)"), (r"x^2\frac{1}{3}", "x^{7/3}"),
]  # fmt: skip
UNDECIDED = [
    ("42", "52_8", "another base"), ("9^{9^{9^9}}", "9^{9^{9^8}}", "too large"),
    ("9^9^9^9", "5", "too large"), ("1/2x", r"\frac{x}{2}", "more than one reading"),
    (r"2\frac{5}{3}", "11/3", "more than one reading"), (r"\frac121", r"\frac{1}{21}", "more than"),
    (r"\sqrt{x^2}", "x", "positive values only"), (r"\log x", r"\ln x", "natural logarithm"),
    ("(1,2)", "1,2", "brackets"), (r"\{1,2,2\}", "1,2", "more than once"), ("((((", "1", "ends"),
    (r"18\text{ ways}", r"18\text{ integers}", "words"), (r"\approx 3.14", r"\pi", "rounded"),
    (r"\begin{pmatrix}1&7\end{pmatrix}", r"\begin{pmatrix}1\\7\end{pmatrix}", "a row"),
    (r"\frac{}{2}", "1", "no reading"), ("x" * (LONGEST + 1), "1", "characters"),
    ("[" * 50 + "1", "1", "deep"), ("7" * 700, "1", "digits"), (r"\input{a}", "1", "input"),
    ("5+3=9", "9", "does not hold"), (r"\tan 90^\circ", "1", "cannot be computed"),
    (r"\frac{1}{0}", "1", "no value"), (r"\sum_{k=1}^2 k", "3", "sum"),
    ("x^2=0", "x=0", "multiples"),
    (r"x > 1 \text{ and } x < 3", "(1,3)", "several conditions"), ("5001!", "1", "factorial"),
    ("52_4", "22", "digit 5"), ("-" * 300 + "(" * 9, "1", "ends"),
    ("|x|=3", "x=3", "positive"), (r"y-\sqrt{x^2}=0", "y=x", "positive"), ("2x>6", "x>3", "solved"),
    (r"\sin \pi/6", "0", "argument"), (r"\cos x (1+\sin x)", r"\cos(x(1+\sin x))", "argument"),
    (r"\log10(100)", "3", "argument"), (r"\pm 1 \pm \sqrt2", r"1+\sqrt2,-1-\sqrt2", "same sign"),
    ("x=2+3=6", "6", "does not hold"), (r"2 \approx 3", "3", "does not hold"),
    (r"\{2x : x>3\}", r"(3,\infty)", "condition"), ("1,1,2", "1,2,2", "more than once"),
    (r"\{x \in \mathbb{Z} : x>3\}", r"(3,\infty)", "condition"), ("0:0", "1:2", "zeros"),
    (r"1,2,\frac21", "1,2", "more than once"), ("1:5", "6:30", "time"), ("0.2", "6:30", "time"),
    ("AB", "ab", "capitals"), ("1e-3", "e-3.0", "power of ten"), ("2,1", "x=1,y=2", "names"),
    (r"p \lor q", "p, q", "logic"), (r"f \circ g", "gf", "circ"), ("2^3!", "64", "!"),
    (r"\mathbf{a}\times\mathbf{b}", r"\mathbf{b}\mathbf{a}", "cross"),
    ("2^{3}^{2}", "64", "behind"), ("f^{-1}(2)", "2f^{-1}", "inverse"),
    (r"\text{}5", r"\$5", "no reading"), ("[1,2,3]", "(1,2,3)", "brackets"),
    ("$5%", "5", "two units"), ("seat", "east", "other words"),
    ("der dog", "red dog", "other words"),
    (r"\sin{x}^2", r"\sin^2 x", "argument"), (r"\cos{x}(x+1)", "1", "argument"),
    ("0.333...", "0.333", "go on"), ("868.8!", "1", "too large"),
    (r"x^2<1 \text{ or } x>3", "x>3", "several conditions"),
    (r"\sqrt" * 300 + "2", "2", "inside"), ("(" * 35 + "1" + ")" * 35, "2", "inside"),
]  # fmt: skip


@pytest.mark.parametrize(("answer", "gold"), RIGHT)
def test_right(answer, gold):
    assert judged(answer, gold).decision == "right"


@pytest.mark.parametrize(("answer", "gold"), WRONG)
def test_wrong(answer, gold):
    assert judged(answer, gold).decision == "wrong"


@pytest.mark.parametrize(("answer", "gold", "why"), UNDECIDED)
def test_undecided_with_a_reason(answer, gold, why):
    found = judged(answer, gold)
    assert found.decision == "undecided" and why in found.reason


def test_every_right_answer_of_the_tables_is_right_for_itself():
    for _, gold in RIGHT:
        assert not unreadable(gold)
        assert judged(f"{{{gold}}}", gold).decision == "right", gold


def test_two_plain_numbers_and_the_same_text_are_decided_at_once():
    assert at_once("0.50", r"\frac{1}{2}").decision == "right"
    assert at_once("-3", "3").decision == "wrong"
    assert at_once("9^9^9^9", "9^9^9^9").decision == "right"
    assert at_once("x", "y") is None and at_once(r"\frac{1}{0}", "1") is None


@pytest.mark.parametrize("gold", ["", " . ", r"\frac{1}{", "x + + )", "1/2x", r"\int_0^1 x"])
def test_a_right_answer_without_a_reading_says_why(gold):
    assert unreadable(gold)


def test_a_name_of_a_function_is_no_product_and_a_word_is_no_function():
    assert judged(r"\sin x \cos y", r"\cos y \sin x").decision == "right"
    assert judged("s i n x", r"\sin x").decision == "wrong"


def test_equal_floats_are_not_equal_numbers():
    """Differences far below a float's, in every form that mixes exact and irrational parts."""
    for digits in (20, 60, 150, 400):
        small = f"10^{{-{digits}}}"
        for form in (r"\pi", r"\sqrt{2}", r"\sin 1", r"e^{2}", r"\ln 3", r"\sqrt{2}i"):
            assert judged(f"{form}+{small}", form).decision == "wrong"
            assert judged(f"({form}+{small})-{small}", form).decision == "right"


def test_random_polynomials_are_what_fractions_say():
    drawn = random.Random(3)
    for _ in range(60):
        a, b, c = (drawn.randrange(-9, 10) for _ in range(3))
        expanded = f"x^2 + {-(a + b)}x + {a * b} + {c}".replace("+ -", "- ")
        factored = f"(x - {a})(x - {b}) + {c}".replace("- -", "+ ")
        assert judged(factored, expanded).decision == "right"
        assert judged(factored + "+1", expanded).decision == "wrong"


def test_the_value_of_a_number_is_exact():
    from star_mlx.answers.math.formula import formula
    from star_mlx.answers.math.tokens import clean, tokens

    node = formula(tokens(clean(r"1\frac{2}{3} + 0.1\overline{6} - 2^{-3}")))
    assert evaluate.Point({}, 170).value(node).re == Fraction(41, 24)


def test_without_mpmath_only_irrational_numbers_are_refused(monkeypatch):
    imported = builtins.__import__

    def without(name, *args, **kwargs):
        if name.startswith("mpmath"):
            raise ImportError(name)
        return imported(name, *args, **kwargs)

    evaluate.mpmath.cache_clear()
    monkeypatch.setattr(builtins, "__import__", without)
    assert judged("x + 1", "1 + x").decision == "right"
    with pytest.raises(TaskError, match=r'pip install "star-mlx\[math\]"'):
        judged(r"\sqrt{8}", r"2\sqrt{2}")
    monkeypatch.undo()
    evaluate.mpmath.cache_clear()


def test_broken_texts_neither_fail_nor_hang():
    """A short form of ``benchmarks/math_answers.py --fuzz 100000``."""
    drawn = random.Random(1)
    pieces = ["\\frac", "\\sqrt", "{", "}", "(", ")", "[", "]", "^", "_", "1", "2.5", "x", "\\pi",
              "+", "-", "/", "!", "|", ",", "\\cup", "\\infty", "=", "<", "\\text{", " ", "%", "$",
              "\\\\", "&", "\\begin{pmatrix}", "\\end{pmatrix}", "9^9^9^9", "i", "\\sin", "\\pm",
              "\x00", "\u202e", "é", "\\circ", ":", "\\{", "\\}", "\\left",
              "0.\\overline{"]  # fmt: skip
    for _ in range(3000):
        text = "".join(drawn.choice(pieces) for _ in range(drawn.randrange(1, 14)))
        found = judged(text, drawn.choice(RIGHT)[1])
        assert found.decision in ("right", "wrong", "undecided")
        assert bool(found.reason) == (found.decision == "undecided")


@pytest.mark.parametrize(
    ("answer", "gold", "equal"),
    [
        (r"\dfrac12", r"\frac{1}{2}", True), ("1/2", r"\frac{1}{2}", True), ("x=5", "5", True),
        ("0.5", r"\frac{1}{2}", True), ("0.25", r"\frac{1}{4}", False), (".5", "0.5", True),
        (r"5\text{ cm}", "5", True), (r"\sqrt3", r"\sqrt{3}", True), ("10,000", "10000", False),
        (r"90^\circ", "90", True), (r"\left(1, 2\right)", "(1,2)", True), ("2", "3", False),
    ],
)  # fmt: skip
def test_metamaths_rules_compare_texts(answer, gold, equal):
    assert metamath.equal(answer, gold) is equal
