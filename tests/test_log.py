"""What libraries say during a run: in the log, not on the terminal, and all as it was after it."""

from __future__ import annotations

import logging
import sys
import warnings

import pytest

from star_mlx.progress.log import Log, captured

TIME = "2026-01-01T00:00:00+00:00"


@pytest.fixture
def library():
    """A logger as a library has it."""
    logger = logging.getLogger("some_library.models")
    yield logger
    logger.handlers.clear()
    logger.propagate = True


def said(path):
    """The lines of a log without their times."""
    return [line.split(" ", 1)[1] for line in path.read_text(encoding="utf-8").splitlines()]


def test_warnings_records_and_text_go_to_the_file_and_not_to_the_terminal(
    tmp_path, capsys, library
):
    path = tmp_path / "log.txt"
    with warnings.catch_warnings(), captured(path):
        warnings.simplefilter("always")
        warnings.warn("this is old", DeprecationWarning, stacklevel=1)
        library.warning("a weight is %s", "new")
        library.info("nothing")
        print("a word", file=sys.stderr)
    old, new, word = said(path)
    assert old.startswith("DeprecationWarning: this is old (") and "test_log.py:" in old
    assert (new, word) == ("WARNING some_library.models: a weight is new", "a word")
    assert path.read_text(encoding="utf-8").startswith("20") and capsys.readouterr().err == ""


def test_nothing_said_leaves_no_file_and_more_is_appended(tmp_path):
    path = tmp_path / "log.txt"
    with captured(path) as log:
        pass
    assert not path.exists() and log.lines == 0
    for word in ("one", "two"):
        with captured(path) as log:
            print(word, file=sys.stderr)
        assert log.lines == 1
    assert said(path) == ["one", "two"]


def test_a_librarys_own_handler_is_pointed_to_the_file_and_back(tmp_path, capsys, library):
    handler = logging.StreamHandler()
    library.addHandler(handler)
    library.propagate = False
    with captured(tmp_path / "log.txt"):
        library.warning("inside")
    library.warning("outside")
    assert said(tmp_path / "log.txt") == ["inside"]
    assert capsys.readouterr().err == "outside\n" and handler.stream is sys.stderr


def test_handlers_to_elsewhere_are_left_alone(tmp_path, library):
    library.addHandler(logging.FileHandler(tmp_path / "theirs.txt"))
    library.propagate = False
    with captured(tmp_path / "log.txt"):
        library.warning("inside")
    assert (tmp_path / "theirs.txt").read_text() == "inside\n"
    assert not (tmp_path / "log.txt").exists()


def test_a_record_stands_once_where_the_terminal_was_set_up_for_all_records(tmp_path, library):
    root, handler = logging.getLogger(), logging.StreamHandler()
    root.addHandler(handler)
    try:
        with captured(tmp_path / "log.txt"):
            library.warning("inside")
    finally:
        root.removeHandler(handler)
    assert said(tmp_path / "log.txt") == ["inside"]


def test_everything_is_as_it_was_after_an_error_too(tmp_path):
    before = sys.stderr, warnings.showwarning, list(logging.getLogger().handlers)
    with pytest.raises(ZeroDivisionError), captured(tmp_path / "log.txt"):
        1 / 0  # noqa: B018
    assert (sys.stderr, warnings.showwarning, logging.getLogger().handlers) == before
    assert not (tmp_path / "log.txt").exists()


def test_of_a_progress_bar_its_last_state_is_kept(tmp_path):
    from tqdm import tqdm

    with captured(tmp_path / "log.txt"):
        for _ in tqdm(range(50), desc="fetching", mininterval=0):
            pass
        print("after it", file=sys.stderr)
    bar, after = said(tmp_path / "log.txt")
    assert bar.startswith("fetching: 100%") and "50/50" in bar and after == "after it"


def test_a_line_that_was_written_over_in_pieces(tmp_path):
    log = Log(tmp_path / "log.txt", lambda: TIME)
    for piece in ("10%", "\r50%", "\r99%", "\r", "   ", "\r"):
        log.write(piece)
    log.write("done\n\nand a")
    log.write(" half")
    log.end()
    text = (tmp_path / "log.txt").read_text(encoding="utf-8")
    assert text == f"{TIME} done\n{TIME} and a half\n"


def test_what_would_steer_a_terminal_is_made_visible_in_the_log(tmp_path):
    log = Log(tmp_path / "log.txt", lambda: TIME)
    log.write("\x1b[2Jred \ud800\n")
    assert (tmp_path / "log.txt").read_text(encoding="utf-8") == f"{TIME} \u241b[2Jred \\ud800\n"


def test_a_log_that_cannot_be_written_is_given_up(tmp_path):
    with captured(tmp_path / "missing" / "log.txt") as log:
        print("a\nb", file=sys.stderr)
    assert log.fault == "No such file or directory" and log.lines == 1


def test_a_handler_made_meanwhile_speaks_on_the_terminal_afterwards(tmp_path, capsys, library):
    library.propagate = False
    with captured(tmp_path / "log.txt"):
        library.addHandler(logging.StreamHandler())
    library.warning("later")
    assert capsys.readouterr().err == "later\n" and not (tmp_path / "log.txt").exists()
