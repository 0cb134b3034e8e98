"""The palettes: every colour can be read on every usual background, and which one is chosen."""

from __future__ import annotations

import io
import os
import pty
import select
import subprocess
import sys
import threading

import pytest
from rich.console import Console
from rich.style import Style

from star_mlx.errors import StarError
from star_mlx.tui import background, themed
from star_mlx.tui.background import luminance
from star_mlx.tui.colours import BAD, BOLD, GOOD, MORE, PALETTES, REST

NAMES = (GOOD, BAD, MORE, REST)
BACKGROUNDS = {
    "dark": {
        "black": "#000000", "Solarized dark": "#002b36", "Dracula": "#282a36",
        "One Dark": "#282c34", "Gruvbox dark": "#282828", "Nord": "#2e3440",
        "VS Code dark": "#1e1e1e", "Ubuntu": "#300a24", "Tokyo Night": "#1a1b26",
    },
    "light": {
        "white": "#ffffff", "Solarized light": "#fdf6e3", "Gruvbox light": "#fbf1c7",
        "One Light": "#fafafa", "Catppuccin Latte": "#eff1f5",
    },
}  # fmt: skip
CASES = [
    (theme, name, on)
    for theme, backgrounds in BACKGROUNDS.items()
    for on in backgrounds.values()
    for name in NAMES
]


def contrast(one, other):
    """The contrast of two colours (WCAG 2), from 1 to 21."""
    colours = (Style.parse(colour).color.get_truecolor() for colour in (one, other))
    dark, light = sorted(luminance([part / 255 for part in colour]) for colour in colours)
    return (light + 0.05) / (dark + 0.05)


def test_contrast_is_that_of_the_standard():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#767676", "#ffffff") == pytest.approx(4.54, abs=0.01)


@pytest.mark.parametrize(("theme", "name", "on"), CASES)
def test_every_colour_can_be_read_on_every_background_of_its_kind(theme, name, on):
    styles = PALETTES[theme].theme().styles
    assert styles[name].color.name.startswith("color(")  # one of the fixed 256
    assert int(styles[name].color.number) >= 16
    assert contrast(styles[name].color.name, on) >= 4.5
    assert styles[name + BOLD].bold and styles[name + BOLD].color == styles[name].color


def test_no_one_colour_could_be_read_on_all():
    most = 0.0
    for number in range(16, 256):
        colour = f"color({number})"
        most = max(most, min(contrast(colour, on) for on in ("#ffffff", "#282c34")))
    assert most < 4.5


@pytest.mark.parametrize(
    ("theme", "style"),
    [("dark", "color(117)"), ("light", "color(25)"), ("none", ""), (" Light ", "color(25)")],
)
def test_a_theme_can_be_chosen(monkeypatch, theme, style):
    monkeypatch.setenv("STAR_MLX_THEME", theme)
    console = themed(Console(file=io.StringIO(), force_terminal=True))
    assert console.get_style(GOOD) == Style.parse(style)
    assert console.get_style(GOOD + BOLD).bold


def test_a_theme_that_does_not_exist_is_an_error(monkeypatch):
    monkeypatch.setenv("STAR_MLX_THEME", "drak")
    with pytest.raises(StarError, match="STAR_MLX_THEME='drak': give dark, light, none or auto"):
        themed(Console(file=io.StringIO()))


def test_a_pipe_is_not_asked(monkeypatch):
    monkeypatch.delenv("STAR_MLX_THEME", raising=False)
    monkeypatch.setattr(background, "kind", lambda environment: 1 / 0)
    themed(Console(file=io.StringIO()))
    themed(Console(file=io.StringIO(), force_terminal=True, no_color=True))


@pytest.mark.parametrize(
    ("value", "kind"),
    [("15;0", "dark"), ("0;15", "light"), ("0;default;7", "light"), ("12;8", "dark")],
)
def test_some_terminals_say_it_in_the_environment(monkeypatch, value, kind):
    monkeypatch.setattr(background, "_asked", lambda: b"not asked")
    assert background.kind({"COLORFGBG": value, "TERM": "xterm"}) == kind


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (b"\x1b]11;rgb:ffff/ffff/ffff\x1b\\\x1b[?62;c", "light"),
        (b"\x1b]11;rgb:0000/2b2b/3636\x07\x1b[?1;2c", "dark"),
        (b"\x1b]11;rgb:fd/f6/e3\x07", "light"),
        (b"\x1b]11;rgba:1e/1e/2e/ff\x07", "dark"),
        (b"\x1b[?62;c", "dark"),
        (b"", "dark"),
    ],
)
def test_the_reply_of_a_terminal(reply, kind):
    assert background.read(reply) == kind


def test_terminals_that_would_not_answer_are_not_asked(monkeypatch):
    monkeypatch.setattr(background, "_asked", lambda: 1 / 0)
    for environment in (
        {"TERM": "linux"},
        {"TERM": "dumb"},
        {},
        {"COLORFGBG": "?", "TERM": "dumb"},
    ):
        assert background.kind(environment) == "dark"


def test_reading_ends_with_the_reply_or_with_the_time(monkeypatch):
    ours, terminals = pty.openpty()
    try:
        answer = b"\x1b]11;rgb:ffff/ffff/ffff\x1b\\\x1b[?62;22c"
        os.write(ours, b"")
        threading.Timer(0.05, lambda: os.write(ours, answer + b"\n")).start()
        assert background.read(background._received(terminals)) == "light"
        monkeypatch.setattr(background, "WAIT", 0.02)
        assert background.REPLY.search(background._received(terminals)) is None
    finally:
        os.close(ours)
        os.close(terminals)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("answer", "kind"),
    [(b"\x1b]11;rgb:fdfd/f6f6/e3e3\x1b\\\x1b[?62;22c", "light"), (b"\x1b[?6c", "dark")],
)
def test_a_terminal_is_asked_once_and_left_as_it_was(answer, kind):
    code = (
        "import fcntl, termios; from star_mlx.tui import background\n"
        "fcntl.ioctl(0, termios.TIOCSCTTY, 0); before = termios.tcgetattr(0)\n"
        "kind = background.kind({'TERM': 'xterm'})\n"
        "print('found', kind, termios.tcgetattr(0) == before, flush=True); input()"
    )
    terminal, inside = pty.openpty()
    command = [sys.executable, "-c", code]
    child = subprocess.Popen(
        command, stdin=inside, stdout=inside, stderr=inside, start_new_session=True
    )
    seen = b""
    while b"found" not in seen or b"\n" not in seen.partition(b"found")[2]:
        assert select.select([terminal], [], [], 20)[0], seen
        seen += os.read(terminal, 1024)
        if seen.endswith(background.ASK):
            os.write(terminal, answer)
    os.write(terminal, b"\n")
    child.wait(10)
    os.close(terminal)
    os.close(inside)
    assert seen.count(background.ASK) == 1 and f"found {kind} True".encode() in seen
