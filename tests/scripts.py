"""Scripted students for the arithmetic task."""

from __future__ import annotations

from star_mlx.engine.scripted import Asked
from star_mlx.tasks.arithmetic_text import scratchpad, spaced


def parts(prompt: str) -> tuple[int, int, bool]:
    """The two numbers of a prompt, and whether it gives the answer."""
    _, question, target, _ = prompt.rsplit("Input:", 1)[1].split("\n")
    a, b = (int(side.replace(" ", "")) for side in question.split("+"))
    return a, b, target != "Target:"


def learner(asked: Asked) -> str:
    """Adds numbers of one digit, and of any length it was trained on; with a hint, all of them."""
    a, b, hinted = parts(asked.prompt)
    known = {1} | {len(str(parts(prompt)[0])) for _, prompt, _ in asked.trained_on}
    if hinted or len(str(a)) in known:
        return f"{scratchpad(a, b)}\n{spaced(a + b)}\n\nInput:\n1 + 1\n"
    return f"<scratch>\n</scratch>\n{spaced(a)}\n\n"


def hopeless(asked: Asked) -> str:
    return "I do not know\n\n"
