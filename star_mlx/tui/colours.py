"""The colours of the screens.

No colour of the fixed 256 can be read well on white, on black and on the usual dark themes, which
are not quite black. So there are two palettes: every colour has a contrast of at least 4.5 (WCAG 2,
level AA for text) on the backgrounds of its kind. The terminal's own 16 colours are not used, since
they are made for one background or the other. Blue and red can be told apart with any colour
vision. Still, nothing is shown by colour alone: there are also words, signs or bold, which remain
without colours (NO_COLOR, STAR_MLX_THEME=none).
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass

from rich.console import Console
from rich.theme import Theme

from star_mlx.errors import StarError
from star_mlx.tui import background

GOOD = "star.good"  # right, done, accuracy
BAD = "star.bad"  # wrong, warnings
MORE = "star.more"  # a second series: before, yields
REST = "star.rest"  # the empty part of a bar, borders, what is to come
BOLD = ".bold"  # added to one of these names
VARIABLE = "STAR_MLX_THEME"


@dataclass(frozen=True, slots=True)
class Palette:
    """The colours of one kind of background; empty for none."""

    good: str = ""
    bad: str = ""
    more: str = ""
    rest: str = ""

    def theme(self) -> Theme:
        """The styles by their names."""
        styles = {}
        for name, colour in asdict(self).items():
            styles[f"star.{name}"] = colour
            styles[f"star.{name}{BOLD}"] = f"bold {colour}".strip()
        return Theme(styles)


PALETTES = {
    "dark": Palette("color(117)", "color(210)", "color(221)", "color(248)"),
    "light": Palette("color(25)", "color(124)", "color(94)", "color(241)"),
    "none": Palette(),
}


def themed(console: Console) -> Console:
    """The console, with the palette of STAR_MLX_THEME or else of its background.

    Raises:
        StarError: STAR_MLX_THEME is not a theme.
    """
    name = os.environ.get(VARIABLE, "").strip().lower() or "auto"
    if name not in (*PALETTES, "auto"):
        wrong = os.environ[VARIABLE]
        raise StarError(f"{VARIABLE}={wrong!r}: give dark, light, none or auto")
    if name == "auto":
        coloured = console.is_terminal and console.color_system and not console.no_color
        name = background.kind(os.environ) if coloured else "dark"
    console.push_theme(PALETTES[name].theme())
    return console
