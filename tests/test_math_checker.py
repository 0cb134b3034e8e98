"""The process that compares answers: ended at its limit, replaced, and shared by threads."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from star_mlx.answers.math import checker, judge, unreadable
from star_mlx.answers.math.checker import Checker, CheckerError

pytestmark = pytest.mark.slow
PAIR = ("judge", r"\frac{\sqrt{8}}{2}", r"\sqrt{2}")


STUCK = """
import sys; sys.path[:] = sys.argv[1:]
from star_mlx.answers.math import worker
handlers = worker._handlers
worker._handlers = lambda: {**handlers(), "stuck": lambda: [1 for _ in iter(int, 1) if _]}
worker.serve()
"""


@pytest.fixture
def own(monkeypatch):
    """A checker that also knows a request without an end."""
    monkeypatch.setattr(checker, "_CODE", STUCK)
    made = Checker()
    yield made
    made.close()


def test_a_comparison_over_its_time_ends_the_process_and_the_next_has_another(own):
    assert own.ask(*PAIR)["decision"] == "right"
    first = own._process
    begin = time.monotonic()
    assert own.ask("stuck", seconds=0.5) is None
    assert time.monotonic() - begin < 5 and first.poll() is not None
    assert own.ask(*PAIR)["decision"] == "right" and own._process.pid != first.pid


def test_a_process_that_was_killed_is_replaced(own):
    own.ask(*PAIR)
    own._process.kill()
    own._process.wait()
    assert own.ask(*PAIR)["decision"] == "right"
    os.kill(own._process.pid, signal.SIGKILL)  # not yet noticed
    assert own.ask(*PAIR)["decision"] == "right"


def test_threads_take_turns(own):
    found = []
    work = [
        threading.Thread(
            target=lambda k=k: found.append(own.ask("judge", f"{k}+x", f"x+{k}")["decision"])
        )
        for k in range(8)
    ]
    for thread in work:
        thread.start()
    for thread in work:
        thread.join()
    assert found == ["right"] * 8


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_the_child_of_a_fork_starts_its_own(own, monkeypatch):
    monkeypatch.setattr(checker, "_CHECKER", own)
    own.ask(*PAIR)
    code = (
        "import os, sys\n"
        "from star_mlx.answers.math import checker, judge\n"
        "judge('x+1', '1+x')\n"
        "parent = checker._CHECKER._process.pid\n"
        "child = os.fork()\n"
        "found = judge('x+2', '2+x').decision, checker._CHECKER._process.pid\n"
        "assert found[0] == 'right'\n"
        "if child == 0: os._exit(3 if found[1] == parent else 0)\n"
        "assert os.waitpid(child, 0)[1] == 0 and found[1] == parent\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.fixture
def interruptible():
    """Ctrl-C raises KeyboardInterrupt, also if the tests were started with SIGINT ignored, as a
    shell starts what it runs in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_during_a_comparison_leaves_no_reply_behind(own):
    own.ask(*PAIR)
    main = threading.main_thread().ident  # else its reading would not be interrupted
    timer = threading.Timer(0.3, signal.pthread_kill, [main, signal.SIGINT])
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        own.ask("stuck", seconds=20.0)
    assert own.ask(*PAIR)["decision"] == "right"
    assert own.ask("judge", "x", "y")["decision"] == "wrong"


def test_it_ends_with_the_program_even_if_that_is_killed():
    code = (
        "import os, time\n"
        "from star_mlx.answers.math import checker, judge\n"
        "judge('x+1', '1+x')\n"
        "print(checker._CHECKER._process.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    program = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    worker = int(program.stdout.readline())
    program.kill()
    program.wait()
    program.stdout.close()
    for _ in range(100):
        try:
            os.kill(worker, 0)
        except ProcessLookupError:
            return
        with open(f"/proc/{worker}/stat") as stat:  # ended, and nobody waited for it
            if stat.read().rpartition(")")[2].split()[0] == "Z":
                return
        time.sleep(0.1)
    raise AssertionError("the process is still there")


def test_a_failure_in_it_is_an_error_here(own):
    with pytest.raises(CheckerError, match="KeyError"):
        own.ask("nothing")
    with pytest.raises(CheckerError, match="TypeError"):
        own.ask("judge", "one argument")
    assert own.ask(*PAIR)["decision"] == "right"


def test_one_that_cannot_start_says_why(own, monkeypatch):
    monkeypatch.setattr(checker, "_CODE", "import no_such_module")
    with pytest.raises(CheckerError, match="did not start: ModuleNotFoundError"):
        own.ask(*PAIR)


def test_a_timeout_is_undecided_with_its_reason(own, monkeypatch):
    monkeypatch.setattr(checker, "_CHECKER", own)
    monkeypatch.setattr(own, "ask", lambda *_, **__: None)
    assert judge("x^31", "x^32").reason == "comparing took more than 5 seconds"
    assert "more than 5 seconds" in unreadable("x^33")


def test_second_opinions_are_asked_in_it():
    pytest.importorskip("math_verify")
    assert checker.second_opinions("1/2^{98}", "1/2^{99}") == {
        "math-verify": True,  # as floats
        "metamath": False,
    }
