"""Several ranks on one run: the same bytes as one process, shared as they come free."""

from __future__ import annotations

import contextlib
import threading
import time
from pathlib import Path

import pytest

from star_mlx.engine.scripted import ScriptedEngine
from star_mlx.errors import RankError
from star_mlx.events import Notice, PhaseStarted, Progress, RankAt, RanksSeen
from star_mlx.progress import live_json
from star_mlx.progress.state import RunState
from star_mlx.recipe.loading import load
from star_mlx.run import evaluate, loop
from star_mlx.store.files import json_line
from star_mlx.tui.live_screen import draw
from star_mlx.tui.plain import rank_text
from tests import ranks, scripts
from tests.test_tui import rendered

SMALL = [
    "task.options.train=200",
    "task.options.held_out=4",
    "star.iterations=2",
    "star.problems=40",
    "generate.chunk=4",
    "generate.samples=2",
    "generate.temperature=0.7",
    "generate.max_tokens=1000",
    "train.max_length=1000",
    "evaluate.dev=20",
]


def recipe(*more: str):
    return load("arithmetic", overrides=[*SMALL, *more])


class Counted(ScriptedEngine):
    """Counts its prompts; it is as slow as it is told to be."""

    def __init__(self, wait: float = 0.0) -> None:
        super().__init__(scripts.learner)
        self.wait, self.asked, self.chunks = wait, 0, 0

    def generate(self, prompts, decoding, **more):
        self.asked += len(prompts)
        self.chunks += 1
        time.sleep(self.wait)
        return super().generate(prompts, decoding, **more)


def content(run: Path) -> dict[str, bytes]:
    """The files of a run that do not say how long it took."""
    timed = (".lock", "journal.jsonl", "metrics.jsonl", "live.json", "log.txt")
    files = (p for p in sorted(run.rglob("*")) if p.is_file() and p.name not in timed)
    return {path.relative_to(run).as_posix(): path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> dict[str, bytes]:
    run = tmp_path_factory.mktemp("alone") / "run"
    loop.run(recipe(), run, lambda event: None, engine=Counted())
    return content(run)


@pytest.mark.parametrize("number", [2, 4])
def test_a_run_on_several_ranks_is_byte_for_byte_that_of_one(alone, tmp_path, number):
    engines = [Counted(0.002) for _ in range(number)]
    events = []
    with ranks.led(*[lambda engine=engine: engine for engine in engines[1:]]):
        loop.run(recipe(), tmp_path / "run", events.append, engine=engines[0])
    assert content(tmp_path / "run") == alone
    assert all(engine.chunks for engine in engines)
    seen = [event for event in events if isinstance(event, RanksSeen)]
    assert seen and [one.rank for one in seen[-1].ranks] == [*range(number)]


@pytest.mark.slow
def test_a_slow_rank_does_not_hold_the_others_back(alone, tmp_path):
    slow, quick = Counted(0.2), Counted(0.001)
    with ranks.led(lambda: slow):
        loop.run(recipe(), tmp_path / "run", lambda event: None, engine=quick)
    assert content(tmp_path / "run") == alone
    assert quick.chunks > 3 * slow.chunks > 0


@pytest.mark.slow
def test_a_slow_rank_0_does_not_hold_the_others_back(alone, tmp_path):
    slow, quick = Counted(0.2), Counted(0.001)
    with ranks.led(lambda: quick):
        loop.run(recipe(), tmp_path / "run", lambda event: None, engine=slow)
    assert content(tmp_path / "run") == alone
    assert quick.chunks > 3 * slow.chunks > 0


class Dies(Counted):
    """Breaks in its third chunk."""

    def generate(self, prompts, decoding, **more):
        if self.chunks == 2:
            raise ValueError("a broken rank")
        return super().generate(prompts, decoding, **more)


def test_a_rank_that_fails_ends_the_run_with_its_name_and_one_process_resumes_it(alone, tmp_path):
    run = tmp_path / "run"
    with (
        ranks.led(lambda: Counted(0.01), Dies),
        pytest.raises(
            RankError, match=r"rank 2 \(machine2\) has failed: ValueError: a broken"
        ) as e,
    ):
        loop.run(recipe(), run, lambda event: None, engine=Counted(0.01))
    assert "finished work is kept" in str(e.value)
    loop.run(recipe(), run, lambda event: None, engine=Counted())
    assert content(run) == alone


def test_a_silent_rank_ends_the_run_with_its_name(tmp_path, monkeypatch):
    monkeypatch.setattr("star_mlx.distributed.crew.SILENCE", 0.3)
    monkeypatch.setattr("star_mlx.distributed.member.Member._beat", lambda self: None)
    hangs = threading.Event()

    class Hangs(Counted):
        def generate(self, *args, **more):
            hangs.wait(20)
            return super().generate(*args, **more)

    interrupted = threading.Event()
    with (
        ranks.led(lambda: Hangs(), interrupt=interrupted.set),
        pytest.raises(RankError, match=r"rank 1 \(machine1\) has been silent for 0 s"),
    ):
        loop.run(recipe(), tmp_path / "run", lambda event: None, engine=Counted())
    assert interrupted.is_set()
    hangs.set()


def test_another_base_is_refused_before_there_is_a_run(tmp_path):
    class Other(Counted):
        def describe(self):
            return {**super().describe(), "hash": "another"}

    with ranks.led(Other), pytest.raises(RankError, match=r"the base of rank 1 .* is not that of"):
        loop.run(recipe(), tmp_path / "run", lambda event: None, engine=Counted())
    assert not (tmp_path / "run").exists()


def test_another_device_is_a_warning(tmp_path):
    class Other(Counted):
        def describe(self):
            return {**super().describe(), "device": "gpu"}

    events = []
    with ranks.led(Other):
        loop.run(recipe("star.iterations=1"), tmp_path / "run", events.append, engine=Counted())
    [said] = [e.text for e in events if isinstance(e, Notice) and "computes on" in e.text]
    assert said.startswith("rank 1 (machine1) computes on a gpu, rank 0 on a none")


def test_a_rank_trains_along_and_keeps_its_adapter(tmp_path, monkeypatch):
    """Nothing but the rows goes to it."""
    monkeypatch.setattr(Counted, "trains_along", True, raising=False)
    sent = []
    monkeypatch.setattr("star_mlx.distributed.mate.pieces", lambda *of: sent.append(of) or ())
    engines = [Counted(0.002), Counted(0.001)]
    with ranks.led(lambda: engines[1]):
        loop.run(recipe(), tmp_path / "run", lambda event: None, engine=engines[0])
    assert not sent and engines[1].chunks


def test_a_rank_whose_adapter_differs_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(Counted, "trains_along", True, raising=False)

    class Strays(Counted):
        def train(self, examples, *args, **more):
            return super().train(examples[1:], *args, **more)

    with ranks.led(Strays), pytest.raises(RankError, match=r"rank 1 .* did not train as rank 0"):
        loop.run(recipe(), tmp_path / "run", lambda event: None, engine=Counted())


def test_the_screen_and_those_who_watch_see_each_rank(tmp_path):
    seen = RanksSeen((RankAt(0, 310.4, 5 << 20, 6 << 20, 0.0), RankAt(1, 0.0, 0, 0, 3.2)))
    state = RunState()
    for event in (PhaseStarted(1, "generate", 40), Progress(1, "generate", 4, 40, 90, 2.0), seen):
        state.apply(event)
    said = ["rank 0  310 tokens/s  memory 5 MB, peak 6 MB", "rank 1  0 tokens/s  seen 3 s ago"]
    assert [rank_text(rank) for rank in state.ranks] == said
    assert all(line in rendered(draw(state, 80, 24), 80) for line in said)
    (tmp_path / "live.json").write_bytes(
        json_line(live_json.snapshot(state, running=True, seconds=2.0))
    )
    watched = live_json.read(tmp_path / "live.json")
    assert watched is not None and watched.state.ranks == seen.ranks


def test_the_live_screen_has_no_more_lines_for_ranks_than_there_is_room():
    state = RunState()
    many = RanksSeen(tuple(RankAt(n, 1.0, 0, 0, 0.0) for n in range(40)))
    for event in (PhaseStarted(1, "generate", 40), many):
        state.apply(event)
    text = rendered(draw(state, 80, 24), 80)
    assert text.count("rank ") == 5 and "and 35 more ranks" in text


def test_ranks_share_a_measurement(tmp_path):
    made = recipe("star.iterations=1", "evaluate.dev=4")
    found = []
    for name, number in (("one", 0), ("two", 1)):
        run, engines = tmp_path / name, [Counted(0.002), Counted(0.002)]
        loop.run(made, run, lambda event: None, engine=Counted())
        with contextlib.ExitStack() as stack:
            if number:
                stack.enter_context(ranks.led(lambda engines=engines: engines[1]))
            evaluate.evaluate_run(run, "1", how=evaluate.How("test"), engine=engines[0])
        found.append((run / "iterations/001/test.jsonl").read_bytes())
        assert bool(engines[1].chunks) == bool(number)
    assert found[0] == found[1]


def test_servers_and_ranks_exclude_each_other(tmp_path):
    made = recipe("endpoints.urls=[http://127.0.0.1:1]")
    with ranks.led(Counted), pytest.raises(RankError, match="either servers generate or ranks"):
        loop.run(made, tmp_path / "run", lambda event: None, engine=Counted())
