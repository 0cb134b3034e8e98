"""The projector view: a run as slides, what a key does, and a terminal that is left as it was."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import sys
import termios
import threading
import time
from itertools import pairwise

import pytest
from rich.cells import cell_len
from rich.console import Console

from star_mlx import tasks
from star_mlx.engine.scripted import ScriptedEngine
from star_mlx.errors import RunError
from star_mlx.events import IterationFinished, Notice, PhaseStarted, RunFinished, RunStarted
from star_mlx.progress.state import RunState
from star_mlx.run import loop
from star_mlx.slides.deck import deck, now, waiting
from star_mlx.slides.following import FollowedSlides
from star_mlx.slides.slide import Meter, PhasePlayed, Quoted, Said, Score, Scores, Slide
from star_mlx.slides.way import hint_line
from star_mlx.store.metrics import Measured
from star_mlx.tui.present import terminal as terminals
from star_mlx.tui.present.beside import PresentedScreen
from star_mlx.tui.present.drawing import drawn
from star_mlx.tui.present.presenter import Presenter, speed_of
from tests.scripts import learner
from tests.test_loop import recipe
from tests.test_old_runs import STORED

ALL = ("task.options.train=24", "star.problems=null", "star.iterations=2")
DEV = Measured("dev", 200, 159, 0.795, (0.73, 0.84))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A finished run, and its slides at each of its phases: by its events, and by its files."""
    run, state, seen, read = tmp_path_factory.mktemp("present") / "run", RunState(), [], []
    followed = []

    def emit(event):
        state.apply(event)
        if isinstance(event, PhaseStarted | IterationFinished | RunFinished):
            seen.append(deck(state))
            followed.extend([] if followed else [FollowedSlides(run)])
            followed[0].read()
            read.append(followed[0].slides)

    loop.run(recipe(*ALL), run, emit, engine=ScriptedEngine(learner))
    return run, seen, read


@pytest.fixture(scope="module")
def slides(made):
    return FollowedSlides(made[0]).slides


class Source:
    """Slides that a test gives."""

    def __init__(self, slides, finished=True):
        self.slides, self.reads = slides, 0
        self.state = RunState(finished=RunFinished("run", "done", 1.0) if finished else None)

    def read(self):
        self.reads += 1


def text(slide, **more):
    return "\n".join(line.plain.rstrip() for line in drawn(slide, **more))


def shown(presenter):
    return "\n".join(line.plain for line in presenter.lines())


# --------------------------------------------------------------------------- slides


def test_a_lesson_goes_phase_by_phase_and_asks_before_each_result(slides):
    assert [slide.title for slide in slides] == [
        "STaR: a model learns from its own right answers",
        "One iteration",
        "The base: your guess",
        "The base: the result",
        "Iteration 1: it tries without help",
        "Iteration 1: the failures again, with a hint",
        "Iteration 1: training",
        "Iteration 1: your guess",
        "Iteration 1: the result",
        "One problem: the question",
        "One problem: its first answer",
        "One problem: asked again, with the hint",
        "One problem: its answer with the hint",
        "One problem: what is trained on",
        "Iteration 2: it tries without help",
        "Iteration 2: the failures again, with a hint",
        "Iteration 2: training",
        "Iteration 2: your guess",
        "Iteration 2: the result",
        "Iteration 2: the same problem, without a hint",
        "The whole run",
        "Did it help?",
    ]
    results = [slide.title for slide in slides if isinstance(slide.parts[0], Score)]
    assert [slides[n + 1].title for n, s in enumerate(slides) if s.asks is not None] == results


def test_while_a_run_goes_on_its_slides_only_grow(made):
    _, seen, read = made
    for decks in (seen, read):
        plain = [[(slide.title, slide.parts, slide.asks) for slide in one] for one in decks]
        for old, new in pairwise(plain):
            assert new[: len(old)] == old
    plain = [[slide.title for slide in one] for one in seen]
    titles = [one[-1] for one in plain]
    assert any(slide.title.startswith("One problem") for slide in read[-2])
    assert "Iteration 1: it tries without help" in titles, "known before the iteration is finished"


def test_one_problem_with_its_wrong_line_its_hint_and_the_row_without_it(slides):
    by_title = {slide.title.removeprefix("One problem: "): slide for slide in slides}
    [wrong] = [p for p in by_title["its first answer"].parts if isinstance(p, Quoted)]
    assert (wrong.tone, wrong.remark) == ("bad", "the first wrong step")
    [hint] = [p for p in by_title["asked again, with the hint"].parts if isinstance(p, Quoted)]
    line = hint.text.split("\n")[hint.marked]
    assert re.fullmatch("Target: [0-9 ]+", line) and hint.remark == "the hint"
    [row] = [p for p in by_title["what is trained on"].parts if isinstance(p, Quoted)]
    assert line not in row.text and "Target:\n<scratch>" in row.text
    assert "✗ " in text(by_title["its first answer"])


def test_the_first_wrong_line():
    sums = tasks.make("arithmetic", {})
    problem = sums.pose("3186+2817")
    right = sums.worked(problem.rationale, problem.answer)
    assert tasks.wrong_line(sums, problem, f"{right}\n") is None
    assert tasks.wrong_line(sums, problem, right.replace("1 + 8 , 0 3", "1 + 8 , 9 3")) == 3
    assert tasks.wrong_line(sums, problem, f"{right[:-1]}4") == len(right.split("\n")) - 1
    assert tasks.wrong_line(sums, problem, "6 0 0 4") is None, "nothing but an answer"


def test_a_task_that_compares_wholes_marks_no_line():
    class Wholes:
        def valid_steps(self, problem, completion):
            return completion == "all of it"

    assert tasks.wrong_line(Wholes(), None, "all\nof") is None


def test_a_task_that_checks_steps_marks_the_line_of_the_first_wrong_one():
    class Steps:
        def valid_steps(self, problem, completion):
            return "2 + 2 = 5" not in completion if "=" in completion else None

    assert tasks.wrong_line(Steps(), None, "so\n1 + 1 = 2\n2 + 2 = 5\n1 + 1 = 2") == 2


def test_the_line_with_the_hint():
    chat = "system\nHalf of 6?\n"
    assert hint_line(chat, f"{chat}\n(Think.)\n(The answer is 3.)\n", "3") == 4
    assert hint_line("A? (3)", "A? (3 CORRECT)", "b") == 0 and hint_line("A?", "A?", "b") is None


def test_what_the_model_does_now_is_said_while_the_view_is_ahead():
    state = RunState()
    assert waiting(state).title == "The model gets ready" and now(state) == ""
    state.apply(PhaseStarted(2, "train", 40))
    assert waiting(state).title == "Iteration 2: training"
    assert Meter(0, 40) in waiting(state).parts and now(state) == "now: iteration 2, training 0%"
    state.idle = "no process is driving this run"
    assert "no process" in text(waiting(state)) and now(state) == ""


def test_a_run_that_kept_nothing_or_was_not_measured_has_the_slides_it_can_have(tmp_path):
    loop.run(
        recipe("star.iterations=1", "star.evaluate=false"), tmp_path / "run", lambda event: None,
        engine=ScriptedEngine(learner),
    )  # fmt: skip
    found = FollowedSlides(tmp_path / "run")
    assert all(slide.asks is None for slide in found.slides)
    assert found.slides[-1].title == "Did it help?"


def test_a_run_of_an_old_version_has_slides():
    found = FollowedSlides(STORED / "tiny")
    assert found.slides[-1].title == "Did it help?" and found.state.finished


def test_what_has_no_slides_is_refused(made, tmp_path):
    with pytest.raises(RunError, match="no such folder"):
        FollowedSlides(tmp_path / "nowhere")
    with pytest.raises(RunError, match="attempted a problem 'x1'"):
        FollowedSlides(made[0], "x1")


# --------------------------------------------------------------------------- drawing


def test_every_slide_has_24_lines_of_80_columns(slides):
    hostile = "\x1b[2J\x07 [bold]tag[/bold] " + "很长的字" * 60
    long = "\n".join(f"line {n}" for n in range(90))
    others = [
        Slide("t" * 200, (Said("w " * 900),), asks=1),
        Slide(hostile, (Quoted(hostile, 0, "bad", hostile), Said(hostile, "bad"))),
        Slide("long", (Said("before"), Quoted(long, 70, "bad", "here"), Said("after"))),
        Slide("many", (Scores(tuple(Score(n, DEV) for n in range(40)), average=True),)),
    ]
    for slide in (*slides, *others):
        for ascii_only in (False, True):
            lines = drawn(
                slide, guesses={0: 12.5, 1: 100}, typed="79.5", keys="space: next", now="now: x",
                ascii_only=ascii_only,
            )  # fmt: skip
            assert len(lines) == 24 and all(cell_len(line.plain) <= 80 for line in lines)
            assert not any("\x1b" in line.plain or "\n" in line.plain for line in lines)
            if ascii_only and slide not in others:
                assert "".join(line.plain for line in lines).isascii()
    seen = text(others[2])
    assert "✗ line 70   <- here" in seen and "before" in seen and "after" in seen
    assert re.search(r"\.\.\. \d+ lines above", seen) and re.search(r"\.\.\. \d+ more", seen)
    assert "[bold]tag[/bold]" in text(others[1])


def test_a_result_is_beside_the_guess():
    slide = Slide("result", (Score(1, DEV), Scores((Score(0, DEV), Score(1, DEV)), average=True)))
    assert "your guess" not in text(slide)
    seen = text(slide, guesses={1: 60.0})
    assert "your guess: 19.5 points too low" in seen and "79.5%  ┃ guess 60%" in seen
    assert "The class's guesses were 19.5 points off on average." in seen
    assert "your guess: exactly right" in text(slide, guesses={1: 79.5})


# --------------------------------------------------------------------------- keys


def test_the_keys_of_a_terminal():
    found = terminals.keys(b" \x1b[C\x1b[6~\x1b[D\x1b[1;5D7,5\x7f\r\x1bq\xc3\xa4\x00")
    assert found == [" ", "next", "next", "back", "7", ",", "5", "erase", "enter", "q"]


def test_a_guess_is_typed_corrected_and_kept_and_an_empty_one_skips(slides):
    presenter = Presenter(Source(slides))
    for key in ("next", " "):
        presenter.press(key)
    for key in "x1234 %":
        presenter.press(key)
    assert "The class guesses: 12▁ %" in shown(presenter), "neither letters nor more than 100"
    for key in ("erase", ".", "5", "5", "enter"):
        presenter.press(key)
    assert presenter.guesses == {0: 1.5} and "your guess: " in shown(presenter)
    presenter.press("back")
    assert "The class guesses: 1.5▁ %" in shown(presenter)
    for key in ("erase", "erase", "erase", "enter"):
        presenter.press(key)
    assert presenter.guesses == {} and "The base: the result" in shown(presenter)


def test_the_view_waits_for_the_run_and_the_end_is_the_end(slides):
    source = Source(slides[:3], finished=False)
    presenter = Presenter(source)
    for key in ("back", " ", " ", "enter", " ", "next"):
        presenter.press(key)
    assert "The model gets ready" in shown(presenter)
    source.slides = slides[:5]
    assert "The base: the result" in shown(presenter), "it comes by itself"
    source = Source(slides)
    presenter = Presenter(source)
    for _ in range(40):
        presenter.press("enter")
    assert "Did it help?" in shown(presenter) and "the end" in shown(presenter)
    presenter.press("q")
    assert presenter.left


def test_a_replay_plays_each_phase_once_in_seconds():
    played = Slide("result", (Said("there"),), phase=PhasePlayed(1, "train", 40, 60.0))
    source, at = Source([Slide("first", ()), played]), [5.0]
    presenter = Presenter(source, speed_of(source.slides), clock=lambda: at[0])
    presenter.press("next")
    at[0] += 1.5
    assert "Iteration 1: training" in shown(presenter) and "20 of 40" in shown(presenter)
    at[0] += 1.6
    assert "there" in shown(presenter)
    presenter.press("back")
    presenter.press("next")
    assert "there" in shown(presenter), "it is not played again"
    skipping = Presenter(source, 0.001, clock=lambda: at[0])
    for _ in range(2):
        skipping.press("next")
    assert "there" in shown(skipping), "the space bar skips it"


# --------------------------------------------------------------------------- the terminal


@pytest.fixture
def terminal(monkeypatch):
    """Makes a terminal of 80 by 24 standard input and output. It is called in the test, because
    pytest sets both anew after the fixtures."""
    opened = []

    def make():
        ours, theirs = pty.openpty()
        monkeypatch.setattr("sys.stdin", os.fdopen(os.dup(theirs), "r"))
        monkeypatch.setattr("sys.stdout", os.fdopen(os.dup(theirs), "w"))
        opened.extend((ours, theirs))
        return Terminal(ours, theirs)

    for name, value in {"TERM": "xterm-256color", "COLUMNS": "80", "LINES": "24"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("NO_COLOR", "1")
    yield make
    for file in opened:
        os.close(file)


class Terminal:
    def __init__(self, ours, theirs):
        self.ours, self.theirs, self.seen = ours, theirs, b""
        self.before = termios.tcgetattr(theirs)

    def until(self, words):
        end = time.monotonic() + 30
        while words not in self.seen:
            assert time.monotonic() < end, self.seen[-2000:]
            if select.select([self.ours], [], [], 0.2)[0]:
                self.seen += os.read(self.ours, 1 << 16)
        self.seen = self.seen.partition(words)[2]

    def type(self, text):
        os.write(self.ours, text)

    @property
    def restored(self):
        return termios.tcgetattr(self.theirs) == self.before


class Ends:
    """A source that ends the view as an exception does; nothing is pressed."""

    def __init__(self, error):
        self.error, self.state, self.slides = error, RunState(), [Slide("first", ())]

    def read(self):
        raise self.error


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(143), ValueError("a bug")])
def test_the_terminal_is_restored_after_whatever_ends_the_view(terminal, monkeypatch, error):
    screen = terminal()
    monkeypatch.setattr(terminals, "READ", 0.0)
    source = Ends(error)
    with pytest.raises(type(error)):
        terminals.show(source, Console(), Presenter(source))
    assert screen.restored
    sys.stdout.flush()
    screen.until(b"\x1b[?1049h")
    screen.until(b"\x1b[?1049l")


def test_keys_are_taken_one_by_one_and_a_small_terminal_says_what_it_needs(terminal, monkeypatch):
    screen = terminal()
    source = Source([Slide("first", ()), Slide("second", ())])
    monkeypatch.setenv("COLUMNS", "60")
    threading.Timer(0.1, screen.type, (b" q",)).start()
    presenter = Presenter(source)
    terminals.show(source, Console(), presenter)
    assert presenter.left and screen.restored and "second" in shown(presenter)
    sys.stdout.flush()
    screen.until(b"60 columns and 24 lines")


@pytest.mark.slow
def test_a_run_goes_on_beside_its_view_and_plain_lines_follow_it(terminal, made):
    screen = terminal()
    started = RunStarted(str(made[0]), {"task": {"name": "arithmetic"}}, {})
    with PresentedScreen(Console()) as view:
        for event in (started, Notice("info", "n")):
            view(event)
        screen.until(b"STaR: a model learns")
        screen.type(b" ")
        screen.until(b"One iteration")
        screen.type(b"q")
        view._view.wait(20)
        view(PhaseStarted(1, "generate", 24))
        screen.until(b"iteration 1: generating, 24 problems")
    assert screen.restored


@pytest.mark.slow
def test_a_run_that_fails_ends_its_view_which_restores_the_terminal(terminal, made):
    screen = terminal()
    with pytest.raises(ValueError, match="fails"), PresentedScreen(Console()) as view:
        for event in (RunStarted(str(made[0]), {}, {}), Notice("info", "n")):
            view(event)
        screen.until(b"STaR: a model learns")
        raise ValueError("it fails")
    assert screen.restored and view._view.returncode == 128 + signal.SIGTERM
    sys.stdout.flush()
    screen.until(b"\x1b[?1049l")


@pytest.mark.parametrize(
    "arguments", [("present", "{run}"), ("loop", "--present", "--task", "arithmetic", "--run", "x")]
)
def test_a_pipe_is_told_of_show(star, made, tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    err = star(*(one.format(run=made[0]) for one in arguments), code=2)
    assert "slides need a terminal" in err and "star-mlx show RUN" in err
    assert not list(tmp_path.iterdir())


def test_options_that_exclude_each_other_are_refused(star, made):
    for other in ("--plain", "--json", "--smoke", "--dry-run"):
        err = star("loop", "--present", other, "--task", "arithmetic", code=2)
        assert f"--present and {other} exclude each other: give one" in err
    assert "--speed needs --replay" in star("present", made[0], "--speed", "3", code=2)
