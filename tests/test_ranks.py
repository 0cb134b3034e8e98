"""Several ranks on one run: the same bytes as one process, shared as they come free."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from star_mlx.engine.scripted import ScriptedEngine
from star_mlx.errors import RankError
from star_mlx.events import Notice, RanksSeen
from star_mlx.recipe.loading import load
from star_mlx.run import loop
from tests import ranks, scripts

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
    names = ("attempts.jsonl", "dev.jsonl", "zero-shot.jsonl", "examples.jsonl", "scripted.json")
    return {
        path.relative_to(run).as_posix(): path.read_bytes()
        for path in sorted(run.rglob("*"))
        if path.name in names
    }


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


def test_a_slow_rank_does_not_hold_the_others_back(alone, tmp_path):
    slow, quick = Counted(0.2), Counted(0.001)
    with ranks.led(lambda: slow):
        loop.run(recipe(), tmp_path / "run", lambda event: None, engine=quick)
    assert content(tmp_path / "run") == alone
    assert quick.chunks > 3 * slow.chunks > 0


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


def test_servers_and_ranks_exclude_each_other(tmp_path):
    made = recipe("endpoints.urls=[http://127.0.0.1:1]")
    with ranks.led(Counted), pytest.raises(RankError, match="either servers generate or ranks"):
        loop.run(made, tmp_path / "run", lambda event: None, engine=Counted())
