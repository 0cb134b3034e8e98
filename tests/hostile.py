"""A run whose questions, classes, ids and completions are out to harm who shows them."""

from __future__ import annotations

import json
import re
from pathlib import Path

from star_mlx.engine.scripted import Asked, ScriptedEngine
from star_mlx.recipe.loading import load
from star_mlx.run import loop

EVIL = (
    "<script>alert(1)</script>",
    "</style><b>bold",
    "</script><!-- <script>",
    "<img src=x onerror=alert(1)>",
    "\x1b[31mred\x1b[0m \x07",
    "\u202egnp.exe\u2069 \u200b",
    "]]>&amp;&lt; ' \" ` ${1}",
    "\u2028\u2029\x01\x85",
    "$x_1$ \\frac \uffff _hidden",
)


def evil(number: int) -> str:
    return EVIL[number % len(EVIL)]


def reply(asked: Asked) -> str:
    """Right, wrong, without an answer, and cut off in turn; with a hint right, and it says so."""
    number = int(re.findall(r"Q: (\d+) \+ 1", asked.prompt)[-1])
    if "hint" in asked.prompt.rsplit("Q: ", 1)[-1]:
        return f" {evil(number)} The hint says so. The answer is {number + 1}."
    kind = number % 4
    if kind == 3:
        return " " + "x" * 20_000 if number % 8 == 3 else evil(number) * 300
    answer = ("It has to be. The answer is {}.", "No. The answer is {}0.", "I cannot say.")[kind]
    return f" {evil(number)} {answer.format(number + 1)}"


def make(folder: Path, name: str = "run") -> Path:
    """Write the data and run the loop on it; the run folder."""
    rows = [
        {"q": f"{i} + 1? {evil(i)}", "a": str(i + 1), "c": evil(i % 3), "i": f"{i}{evil(i)}"}
        for i in range(48)
    ]
    data = folder / "data.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    settings = {
        "task.options.fields": "{question: q, answer: a, class: c, id: i}",
        "task.options.read": "{kind: last-number}",
        "task.options.dev": 12,
        "task.options.hint": '"{question} hint: {answer}"',
        "star.iterations": 2,
        "star.problems": 36,
        "star.schedule.start": 3,
        "prompts.k": 0,
        "generate.max_tokens": 10_000,
        "train.max_length": 20_000,
    }
    overrides = [f"{key}={value}" for key, value in settings.items()]
    recipe = load(None, task="jsonl", data=str(data), overrides=overrides)
    loop.run(recipe, folder / name, lambda event: None, engine=ScriptedEngine(reply))
    return folder / name
