"""Slides of the projector view as SVGs, drawn from a run folder: the pictures in the documentation.

python scripts/slides.py runs/arithmetic-001 docs/screens

The guesses in them are made up; all other figures and texts are those of the run.
"""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import DEFAULT_TERMINAL_THEME, SVG_EXPORT_THEME

from star_mlx.slides.following import FollowedSlides
from star_mlx.tui import themed
from star_mlx.tui.present.presenter import Presenter

PICTURES = {  # name of the file: the title of the slide
    "slides-guess": "Iteration 1: your guess",
    "slides-result": "Iteration 1: the result",
    "slides-wrong-line": "One problem: its first answer",
}
GUESSES = {0: "60", 1: "70"}
THEMES = {"dark": SVG_EXPORT_THEME, "light": DEFAULT_TERMINAL_THEME}


def main() -> None:
    source, out = FollowedSlides(Path(sys.argv[1])), Path(sys.argv[2])
    presenter = Presenter(source)
    names = {title: name for name, title in PICTURES.items()}
    for slide in source.slides:
        if slide.asks is not None:
            for key in GUESSES.get(slide.asks, ""):
                presenter.press(key)
        if name := names.get(slide.title):
            for theme in THEMES:
                picture(presenter, out / f"{name}-{theme}.svg", theme)
        presenter.press("enter")


def picture(presenter: Presenter, out: Path, theme: str) -> None:
    """Draw the slide as a terminal of 80 by 24 and a background shows it."""
    os.environ["STAR_MLX_THEME"] = theme
    console = Console(
        record=True, width=80, height=24, file=io.StringIO(), force_terminal=True,
        color_system="256",
    )  # fmt: skip
    themed(console)
    for line in presenter.lines():
        console.print(line, no_wrap=True)
    console.save_svg(str(out), title="star-mlx present", theme=THEMES[theme])


if __name__ == "__main__":
    main()
