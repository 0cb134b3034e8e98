r"""How the comparison of mathematical answers does on the 5,000 answers of MATH.

    python benchmarks/math_answers.py FOLDER [--second-opinion OUT.jsonl] [--fuzz 100000] [--show N]

Each right answer is compared with itself, with itself rewritten by each rule of ``REWRITINGS`` that
changes it, and with a changed value by each of ``CHANGES``. Rewritten ones should be right, changed
ones should not. ``--fuzz`` compares so many broken LaTeX texts instead, to see that none fails or
hangs. docs/answers.md has the figures.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

from star_mlx.answers.math import judge, second_opinions, unreadable
from star_mlx.answers.math.decide import Judged, judged

UNSEEN = "\u200b"
_GROUPED = re.compile(r"[0-9]{1,3}(,[0-9]{3})+")
_TEXT = re.compile(r"(\\(?:text|mbox)\s*\{[^{}]*\})")


# --------------------------------------------------------------------------- the same value


def outside_text(change: Callable[[str], str], text: str) -> str:
    r"""A text changed, but not inside its ``\text{}``."""
    return "".join(p if _TEXT.fullmatch(p) else change(p) for p in _TEXT.split(text))


def other_fraction(text: str) -> str:
    """1. Another command for fractions."""
    if "\\dfrac" in text or "\\tfrac" in text or "\\cfrac" in text:
        return re.sub(r"\\[dtc]frac", r"\\frac", text)
    return text.replace("\\frac", "\\dfrac")


def sized_brackets(text: str) -> str:
    r"""2. ``\left(`` and ``\right)``, or neither."""
    if "\\left" in text:
        return re.sub(r"\\(?:left|right) ?", "", text)
    text = outside_text(lambda t: re.sub(r"(\\\{|(?<!\\)[(\[])", r"\\left\1", t), text)
    return outside_text(lambda t: re.sub(r"(\\\}|(?<!\\)[)\]])", r"\\right\1", t), text)


def spaced(text: str) -> str:
    """3. Spaces around signs and after commas."""
    sign = r" *([-+=]|(?<!\\)(?<!\{),(?! ?\\!|[0-9]{3})) *"
    return outside_text(lambda t: re.sub(sign, r" \1 ", t), text)


def tight(text: str) -> str:
    """4. No space that LaTeX does not need."""
    return outside_text(
        lambda t: (
            re.sub(r"(\\[A-Za-z]+) +(?=[A-Za-z])| +", lambda m: f"{m[1]} " if m[1] else "", t)
            if "\\ " not in t
            else t
        ),
        text,
    )


def other_text(text: str) -> str:
    r"""5. Another command for text, and thin spaces before it."""
    return re.sub(r"\s*\\(?:text|mbox)\s*\{", lambda _: "\\,\\mathrm{", text)


def zeros(text: str) -> str:
    """6. Zeros behind decimals and whole numbers."""
    if re.fullmatch(r"-?[0-9]+", text):
        return text + ".0"
    return re.sub(r"([0-9]*\.[0-9]+)(?![0-9_])", r"\g<1>0", text) if "_" not in text else text


def other_order(text: str) -> str:
    """7. The members of a list the other way round."""
    if re.search(r"[(\[_=]|\\text|\\!|\{,\}|\\\$", text) or re.fullmatch(
        r"[0-9]{1,3}(,[0-9]{3})+", text
    ):
        return text
    inner = re.fullmatch(r"\\\{(.*)\\\}", text)
    parts = (inner[1] if inner else text).split(",")
    turned = ",".join(part.strip() for part in reversed(parts))
    return f"\\{{{turned}\\}}" if inner else turned if len(parts) > 1 else text


def thousands(text: str) -> str:
    r"""8. ``1,\!000`` or 1000 or ``1{,}000``."""
    if ",\\!" in text or "{,}" in text:
        return re.sub(r", ?\\! ?|\{,\}", "", text)
    if "_" in text or "!" in text:
        return text
    return re.sub(
        r"(?<![0-9.^])([0-9]{1,3})((?:[0-9]{3})+)(?![0-9.])",
        lambda m: m[1] + re.sub(r"([0-9]{3})", r"{,}\1", m[2]),
        text,
    )


def delimited(text: str) -> str:
    r"""9. ``\boxed{}`` and dollars around it, and a full stop."""
    return f"$\\boxed{{{text}}}$."


def braces(text: str) -> str:
    """10. Braces around the arguments of commands, exponents and bases."""
    text = re.sub(r"\\([dt]?)frac ?([0-9])(?! ?[0-9]{2})", r"\\\1frac{\2}", text)
    text = re.sub(r"(\\[dt]?frac\{[^{}]*\}) ?([0-9])", r"\1{\2}", text)
    text = re.sub(r"\\sqrt ?([0-9])(?![0-9])", r"\\sqrt{\1}", text)
    return re.sub(r"([\^_]) ?([0-9A-Za-z]|\\circ)(?![0-9])", r"\1{\2}", text)


def quotient(text: str) -> str:
    """11. A fraction of integers multiplied by 2 above and below."""
    return re.sub(
        r"(?<![0-9])(?<![0-9] )\\([dt]?)frac\{([0-9]+)\}\{([0-9]+)\}",
        lambda m: f"\\{m[1]}frac{{{2 * int(m[2])}}}{{{2 * int(m[3])}}}",
        text,
    )


def unicode(text: str) -> str:
    """12. Signs of Unicode for commands, and the minus sign."""
    signs = {
        "\\pi": "π",
        "\\infty": "∞",
        "\\cup": "∪",
        "^\\circ": "°",
        "^{\\circ}": "°",
        "\\pm": "±",
    }
    for command, sign in signs.items():
        text = re.sub(re.escape(command) + r"(?![A-Za-z])", sign, text)
    return outside_text(lambda t: t.replace("-", "−"), text)


REWRITINGS = (other_fraction, sized_brackets, spaced, tight, other_text, zeros, other_order,
              thousands, delimited, braces, quotient, unicode)  # fmt: skip


# --------------------------------------------------------------------------- another value


def next_number(text: str) -> str:
    """A. The last number, one larger."""
    found = [*re.finditer(r"[0-9]+", text)]
    if not found:
        return text
    last = found[-1]
    return f"{text[: last.start()]}{int(last[0]) + 1}{text[last.end() :]}"


def first_number(text: str) -> str:
    """B. The first number, ten times as large and one more."""
    return re.sub(r"[0-9]+", lambda m: str(10 * int(m[0]) + 1), text, count=1)


def other_sign(text: str) -> str:
    """C. The other sign: - for + or the other way round, or a - in front."""
    match = re.search(r"(?<=[^,(\[{ ])\s*([-+])", text)
    if match:
        place = match.start(1)
        return text[:place] + {"-": "+", "+": "-"}[match[1]] + text[place + 1 :]
    if text.startswith("-"):
        return text[1:]
    simple = re.match(r"[0-9.]+(?!.*[,=:(\[])|\\[dt]?frac(?!.*[,=:(\[])|\\sqrt(?!.*[,=:(\[])", text)
    return "-" + text if simple and text.strip("0.") else text


def other_letter(text: str) -> str:
    """D. Another letter or word."""
    return outside_commands(lambda t: re.sub(r"(?<![A-Za-z])[a-z](?![A-Za-z])", "q", t), text)


def outside_commands(change: Callable[[str], str], text: str) -> str:
    """A text changed between its commands and texts."""
    parts = re.split(r"(\\(?:text|mbox|begin|end)\s*\{[^{}]*\}|\\[A-Za-z]+|\\.)", text)
    return "".join(p if k % 2 else change(p) for k, p in enumerate(parts))


def other_brackets(text: str) -> str:
    """E. An interval's ends open for closed; a point's brackets are left."""
    if re.search(r"\\infty|\\cup", text) or re.match(r"(\\left)?\[|\(.*\]", text):
        return re.sub(r"(?<!\\)\[|\(", lambda m: "[("[m[0] == "["], text, count=1)
    return text


def one_less(text: str) -> str:
    """F. A list without its last member."""
    if re.search(r"[(\[]|\\text|\\!|\{,\}", text) or re.fullmatch(r"[0-9]{1,3}(,[0-9]{3})+", text):
        return text
    return text.rpartition(",")[0] or text


CHANGES = (next_number, first_number, other_sign, other_letter, other_brackets, one_less)


# --------------------------------------------------------------------------- the tables


def right_answers(folder: Path) -> list[str]:
    """The right answers of the files of a folder, out of the boxes of their solutions."""
    found = []
    for name in ("train.jsonl", "test.jsonl"):
        for line in (folder / name).read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            found.append(row.get("answer") or boxed(row["solution"]))
    return found


def boxed(text: str) -> str:
    """What is in the last box of a text."""
    begin = re.compile(r"\\(?:boxed|fbox)\s*").match(text, text.rfind("\\boxed"))
    assert begin is not None, text
    if text[begin.end()] != "{":
        return text[begin.end() :].split("$")[0]
    depth = 0
    for place in range(begin.end(), len(text)):
        depth += {"{": 1, "}": -1}.get(text[place], 0)
        if depth == 0:
            return text[begin.end() + 1 : place]
    raise ValueError(text)


def pairs(golds: Iterable[str], rule: Callable[[str], str]) -> list[tuple[str, str]]:
    """(answer, right answer) for every right answer that a rule changes."""
    made = ((rule(gold), gold) for gold in golds)
    return [(answer, gold) for answer, gold in made if answer != gold]


def table(
    title: str,
    rules: Iterable[Callable[[str], str]],
    golds: list[str],
    meant: bool,
    args: argparse.Namespace,
) -> None:
    """A line for every rule: how many were right, wrong, undecided; and those not as meant."""
    print(f"{title:16} {'n':>6} {'right':>6} {'wrong':>6} {'undecided':>9}")
    total: Counter[str] = Counter()
    others: Counter[str] = Counter()
    for rule in rules:
        found: Counter[str] = Counter()
        shown = 0
        for answer, gold in pairs(golds, rule):
            decision = judge(answer, gold)
            found[decision.decision] += 1
            if (decision.decision == "right") != meant and shown < args.show:
                shown += 1
                print(f"    {answer!r} for {gold!r}: {decision.decision} {decision.reason}")
            if args.second_opinion:
                others += _second(rule.__name__, answer.removesuffix(UNSEEN), gold, decision, args)
        total += found
        _line(rule.__name__, found)
    _line("all", total)
    share = total["right"] / (sum(total.values()) or 1)
    print(f"right: {100 * share:.3f}%")
    for kind, count in sorted(others.items()):
        print(f"    {kind}: {count}")
    print()


def _second(
    rule: str, answer: str, gold: str, ours: Judged, args: argparse.Namespace
) -> Counter[str]:
    """Other checkers' verdicts on a pair, counted; those that differ are appended to a file."""
    found: Counter[str] = Counter()
    for name, said in second_opinions(answer, gold).items():
        right = ours.decision == "right"
        kind = "cannot read it" if said is None else "agrees" if said == right else "differs"
        found[f"{name} {kind}"] += 1
        if kind == "differs":
            row = [name, rule, answer, gold, ours.decision, "right" if said else "wrong"]
            with open(args.second_opinion, "a", encoding="utf-8") as file:
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
    return found


def _line(name: str, found: Counter[str]) -> None:
    counts = [found[key] for key in ("right", "wrong", "undecided")]
    print(f"{name:16} {sum(counts):6} {counts[0]:6} {counts[1]:6} {counts[2]:9}")


def as_written(text: str) -> str:
    """0. As it stands, with a sign that is not seen, so that it is read."""
    return text + UNSEEN


def fuzz(golds: list[str], count: int) -> None:
    """Compare texts made of pieces of right answers and of LaTeX, and of random signs."""
    drawn = random.Random(0)
    pieces = [
        piece
        for gold in sorted(set(golds))
        for piece in re.findall(r"\\[A-Za-z]+|\\.|\w+|\W", gold)
    ]
    pieces += [
        *"{}[]()^_&%$#~|\\/*-+=<>,.;:!?'\"`@ 0123456789",
        "\\frac", "\\sqrt", "^{", "_{", "\\left", "\\right", "\\begin{pmatrix}", "\\\\", "\\text{",
        "9^9^9^9", "!", "10^{1000}", "\\sqrt[", "\x00", "é", "\u202e", "0.\\overline{", "\\log_",
    ]  # fmt: skip
    found: Counter[str] = Counter()
    slowest, begin = (0.0, ""), time.perf_counter()
    for _ in range(count):
        text = "".join(drawn.choice(pieces) for _ in range(drawn.randrange(1, 25)))
        if drawn.random() < 0.3:  # a right answer with a piece in it
            base = drawn.choice(golds)
            place = drawn.randrange(len(base) + 1)
            text = base[:place] + text[:4] + base[place + drawn.randrange(3) :]
        start = time.perf_counter()
        gold = drawn.choice(golds)
        decision = judge(text, gold).decision
        found[decision] += 1
        if decision == "right":
            print(f"    right: {text!r} for {gold!r}")
        found["readable"] += not unreadable(text)
        slowest = max(slowest, (time.perf_counter() - start, text))
    seconds = time.perf_counter() - begin
    print(f"{count} texts in {seconds:.1f} s: {dict(found)}")
    print(f"slowest: {slowest[0]:.3f} s, {slowest[1]!r}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", type=Path, help="the folder with train.jsonl and test.jsonl")
    parser.add_argument(
        "--second-opinion", metavar="OUT", help="ask other checkers, and write where they differ"
    )
    parser.add_argument("--fuzz", type=int, default=0, metavar="N", help="compare N broken texts")
    parser.add_argument("--show", type=int, default=20, help="of each rule, cases not as meant")
    args = parser.parse_args()
    golds = right_answers(args.data)
    if args.fuzz:
        fuzz(golds, args.fuzz)
        return
    refused = {gold: why for gold in golds if (why := unreadable(gold))}
    print(f"{len(golds)} right answers, {len(refused)} cannot be read {refused or ''}")
    judge("x+1", "1+x")  # starts the process
    begin = time.perf_counter()
    for gold in golds:
        judged(braces(spaced(gold)), gold)
    print(f"5,000 pairs in this process: {time.perf_counter() - begin:.2f} s")
    begin = time.perf_counter()
    for gold in golds:
        judge(spaced(braces(gold)), gold)
    print(f"5,000 pairs in the other process: {time.perf_counter() - begin:.2f} s\n")
    table("as written", [as_written], golds, True, args)
    table("rewritten", REWRITINGS, golds, True, args)
    table("changed", CHANGES, golds, False, args)


if __name__ == "__main__":
    main()
