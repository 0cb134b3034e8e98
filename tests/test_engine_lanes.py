"""Lanes: what they report, how they stop, and that they compute what one thread computes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from star_mlx.engine import blas, open_engine
from tests import tiny_random
from tests.test_engine_train import LORA, examples, train

blas.load()  # before mlx is imported

Report = Callable[[Any], None]


@pytest.fixture
def lanes(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    import mlx.core as mx

    from star_mlx.engine.lanes import Lanes

    if mx.default_device().type != mx.DeviceType.cpu:
        pytest.skip("there are lanes on a CPU alone")
    before = blas.load().threads
    made = Lanes(192)
    made.width = 2
    use_threads = blas.use_threads
    use_threads(1)  # a lane's share of two processors
    monkeypatch.setattr(blas, "use_threads", lambda threads: blas.load())
    yield made
    use_threads(before)


def forever(report: Report) -> None:
    """Report until the work is given up; a test that fails to stop it ends all the same."""
    until = time.monotonic() + 20
    while time.monotonic() < until:
        report("still")
        time.sleep(1e-4)


def counting(name: str, n: int) -> Callable[[Report], None]:
    """A job that reports its name and 0 up to n."""

    def job(report: Report) -> None:
        for i in range(n):
            report((name, i))

    return job


def works(lanes: Any) -> bool:
    """Whether two jobs are done and heard, each in its order."""
    heard: list[tuple[str, int]] = []
    lanes.run([counting("a", 50), counting("b", 70)], heard.append)
    return all(
        [i for name, i in heard if name == which] == list(range(n))
        for which, n in (("a", 50), ("b", 70))
    )


def test_reports_of_a_lane_are_heard_here_in_order(lanes: Any) -> None:
    threads: set[threading.Thread] = set()
    lanes.run([counting("a", 5)] * 2, lambda _: threads.add(threading.current_thread()))
    assert threads == {threading.current_thread()}
    assert works(lanes)


def test_more_jobs_than_lanes_are_all_done(lanes: Any) -> None:
    heard: list[Any] = []
    lanes.run([counting(name, 3) for name in "abcde"], heard.append)
    assert sorted(heard) == [(name, i) for name in "abcde" for i in range(3)]


def test_every_lane_has_a_thread_and_a_stream_of_its_own_and_keeps_them(lanes: Any) -> None:
    import mlx.core as mx

    meet = threading.Barrier(2, timeout=20)

    def job(report: Report) -> None:
        meet.wait()
        report((threading.current_thread(), str(mx.default_stream(mx.default_device()))))

    seen: set[Any] = set()
    for _ in range(3):
        lanes.run([job, job], seen.add)
    assert len(seen) == len({t for t, _ in seen}) == len({s for _, s in seen}) == 2
    assert threading.current_thread() not in {t for t, _ in seen}
    assert str(mx.default_stream(mx.default_device())) not in {s for _, s in seen}


def test_one_job_runs_where_it_is_asked_for(lanes: Any) -> None:
    seen: list[Any] = []
    lanes.run([lambda report: report(threading.current_thread())], seen.append)
    assert seen == [threading.current_thread()]
    assert lanes._pool is None
    with pytest.raises(ValueError, match="mine"):
        lanes.run(
            [lambda report: (_ for _ in ()).throw(ValueError("mine")).__next__()], seen.append
        )


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("place", [0, 1])
def test_a_job_that_fails_stops_the_others_and_is_raised_here(
    lanes: Any, error: type[BaseException], place: int
) -> None:
    from star_mlx.engine.lanes import Stopped

    stopped = threading.Event()

    def fails(report: Report) -> None:
        report("begun")
        raise error("mine")

    def other(report: Report) -> None:
        try:
            forever(report)
        except Stopped:
            stopped.set()
            raise

    jobs = [other, other]
    jobs[place] = fails
    with pytest.raises(error, match="mine"):
        lanes.run(jobs, lambda _: None)
    assert stopped.is_set()
    assert works(lanes)


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_what_hearing_raises_stops_all_lanes(lanes: Any, error: type[BaseException]) -> None:
    ended: list[str] = []

    def job(report: Report) -> None:
        try:
            forever(report)
        finally:
            ended.append("ended")

    def hear(_: Any) -> None:
        raise error("heard")

    with pytest.raises(error, match="heard"):
        lanes.run([job, job], hear)
    assert ended == ["ended", "ended"]  # none is at work any more
    assert works(lanes)


def test_the_first_of_two_failures_is_raised_and_no_stop(lanes: Any) -> None:
    meet = threading.Barrier(2, timeout=20)

    def job(report: Report) -> None:
        meet.wait()
        raise ValueError("either")

    with pytest.raises(ValueError, match="either"):
        lanes.run([job, job], lambda _: None)
    assert works(lanes)


def test_threads_of_a_product_come_back_after_a_failure(
    lanes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(blas, "use_threads", asked.append)

    def fails(report: Report) -> None:
        raise ValueError

    with pytest.raises(ValueError):
        lanes.run([fails, fails], lambda _: None)
    assert asked == [1, 2]


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("base")
    return open_engine(str(tiny_random.write(folder, hidden_size=192, num_hidden_layers=2)))


@pytest.fixture
def spread(engine: Any, lanes: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    from star_mlx.engine import lora

    monkeypatch.setattr(engine, "_lanes", lanes)
    monkeypatch.setattr(lora, "SHARE", 16)  # tokens a lane is worth
    return engine


def adapter(engine: Any, out: Path, **changes: Any) -> bytes:
    train(engine, out, LORA.model_copy(update=dict(batch_size=12, **changes)), examples(engine, 12))
    return (out / "adapters.safetensors").read_bytes()


@pytest.mark.slow
def test_two_lanes_train_the_same_bytes_every_time(spread: Any, tmp_path: Path) -> None:
    assert len({adapter(spread, tmp_path / str(i)) for i in range(3)}) == 1


@pytest.mark.slow
def test_two_lanes_train_what_one_trains(spread: Any, tmp_path: Path) -> None:
    import mlx.core as mx

    for width in (1, 2):
        spread._lanes.width = width
        adapter(spread, tmp_path / str(width), learning_rate=1e-3)
    one, two = (mx.load(str(tmp_path / str(w) / "adapters.safetensors")) for w in (1, 2))
    assert one.keys() == two.keys()
    assert all(mx.allclose(one[k], two[k], atol=1e-4) for k in one)


@pytest.mark.slow
def test_dropout_of_two_lanes_repeats(spread: Any, tmp_path: Path) -> None:
    made = [adapter(spread, tmp_path / str(i), dropout=0.3) for i in range(2)]
    spread._lanes._pool = None  # new threads, as another process has
    made.append(adapter(spread, tmp_path / "new", dropout=0.3))
    assert made[0] == made[1] == made[2]


@pytest.mark.slow
def test_training_that_fails_in_a_lane_leaves_the_base_usable(
    spread: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlx.core as mx
    from mlx.utils import tree_flatten

    from star_mlx.engine import optimizer_step

    model = spread._base.model
    before = {k: mx.array(v) for k, v in tree_flatten(model.parameters())}
    expected = adapter(spread, tmp_path / "before")
    called = iter(range(100))
    kept = optimizer_step.padded

    def padded(part: Any) -> Any:
        if next(called) == 5:
            raise ValueError("mine")
        return kept(part)

    monkeypatch.setattr(optimizer_step, "padded", padded)
    with pytest.raises(ValueError, match="mine"):
        adapter(spread, tmp_path / "failed")
    monkeypatch.setattr(optimizer_step, "padded", kept)
    after = dict(tree_flatten(model.parameters()))
    assert before.keys() == after.keys()
    assert all(mx.array_equal(before[k], after[k]) for k in before)
    assert adapter(spread, tmp_path / "after") == expected
