"""What a long run and a large iteration cost, and the benchmarks that measure it."""

from __future__ import annotations

import gc
import importlib
import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from star_mlx.data import stored
from star_mlx.engine.scripted import ScriptedEngine
from star_mlx.recipe import opening
from star_mlx.run import loop, reopen
from star_mlx.run.evaluate import How, Of, attempts
from star_mlx.store import ledger, reading, writing
from star_mlx.types import Attempt, Example
from tests.scripts import learner
from tests.test_loop import recipe

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture
def benchmark(monkeypatch):
    """A module of benchmarks/, which import each other as scripts do."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    before = set(sys.modules)
    yield importlib.import_module
    for name in set(sys.modules) - before:
        if (BENCHMARKS / f"{name}.py").exists():
            del sys.modules[name]


class FarIds(ScriptedEngine):
    """Its token ids are beyond those that Python keeps one object of."""

    def generate(self, *arguments, **more):
        made = super().generate(*arguments, **more)
        return [replace(c, token_ids=tuple(i + 1000 for i in c.token_ids)) for c in made]


# --------------------------------------------------------------------------- memory


def test_attempts_and_examples_do_not_outlive_their_iteration(tmp_path):
    alive = []

    class Counting(ScriptedEngine):
        def generate(self, *arguments, **more):
            alive.append(sum(isinstance(o, Attempt | Example) for o in gc.get_objects()))
            return super().generate(*arguments, **more)

    gc.collect()
    before = sum(isinstance(o, Attempt | Example) for o in gc.get_objects())
    settings = ["star.iterations=3", "star.evaluate=false", "generate.chunk=100"]
    loop.run(recipe(*settings), tmp_path / "run", lambda event: None, engine=Counting(learner))
    asked = [count - before for count in alive]
    # iteration 1 asks directly with nothing behind it, then with hints beside its 20 attempts
    assert asked[0] == 0 and asked[1] == 20
    assert asked[2] == 0, "of iteration 1 nothing is left when iteration 2 begins"


@pytest.mark.parametrize("again", [False, True])
def test_equal_token_ids_are_one_object(tmp_path, again):
    run, engine = tmp_path / "run", FarIds(learner)
    loop.run(recipe("star.iterations=1"), run, lambda event: None, engine=engine)
    with reopen.opened(run, lambda event: None, engine) as (task, taught, folder):
        problems = task.problems("dev")[:8]
        how = (taught, folder, problems, Of("iteration 1", 1), How("dev", limit=8))
        made = attempts(*how)
        if again:  # read from the run
            made = attempts(*how)
    ids = [i for attempt in made for i in attempt.token_ids]
    assert made[0].token_ids == tuple(1000 + b for b in made[0].completion.encode())
    assert len(ids) > 100 and len({id(i) for i in ids}) == len(set(ids))


# --------------------------------------------------------------------------- the synthetic run


@pytest.fixture
def long_run(benchmark, tmp_path):
    module = benchmark("synthetic_run")
    engine = ScriptedEngine(learner)
    module.write(tmp_path / "run", module.Shape(3, 100, train=300, dev=12), engine)
    return module, tmp_path / "run", engine


def test_the_synthetic_run_is_a_run(long_run):
    _, path, _ = long_run
    record = reading.read(path)
    assert record.last == 3
    tallies = ledger.read(path).iterations
    for tally, line in zip(tallies, record.metrics[1:], strict=True):
        names = ("attempted", "direct", "hinted", "newly_solved", "forgotten")
        keys = ("problems", "solved", "rationalized", "newly_solved", "forgotten")
        assert [getattr(tally, n) for n in names] == [getattr(line, k) for k in keys]
    assert tallies[-1].newly_solved and tallies[-1].forgotten and tallies[-1].hinted
    with writing.opened(path, {}) as folder:
        kept = [a for kind in ("direct", "hinted") for a in folder.chunk(3, kind, 0)[0] if a.kept]
        assert [e.id for e in folder.examples(3)] == [a.id for a in kept]
        assert len(folder.verdicts(3, "dev")) == 12


def test_the_synthetic_run_is_gone_on_with(long_run):
    module, path, engine = long_run
    module.resume(path, engine)  # finished: nothing is asked
    module.interrupt(path)
    with pytest.raises(module.Asked):
        module.resume(path, ScriptedEngine(learner))
    made = opening.resume_recipe(path)
    (path / "iterations/002/adapter/scripted.json").write_text("[]")
    loop.run(made, path, lambda event: None, engine=ScriptedEngine(learner))
    assert reading.read(path).last == 3


# --------------------------------------------------------------------------- the benchmarks


def figures():
    cost = {"seconds": 1.5, "cpu": 1.4, "peak": 100_000_000}
    phases = {"generate": 0.01, "rationalize and keep": 0.02, "train and finish": 0.001}
    return {
        "machine": "2 cores",
        "limits": {"store_seconds": 5.0, "store_bytes": 500e6, "memory_growth": 1.1},
        "store": {
            "iterations": 100,
            "attempts": 10_000,
            "bytes": 600_000_000,
            "rows": [{"name": "show RUN", **cost}, {"name": "slow", **cost, "seconds": 6.0}],
        },
        "loops": [
            {
                "problems": n,
                "attempts": 2 * n,
                **cost,
                "cpu": n / 10_000,
                "peak": 10**8 + 100 * n,
                "generating": n / 100,
            }
            for n in (100, 1000, 10_000)
        ],
        "around": [{"problems": n, "cpu_seconds": phases, "peak": 10**8} for n in (100, 1000)],
    }


def test_growth_names_what_is_over_its_limit(benchmark):
    text = benchmark("growth").page(figures())
    assert "| show RUN | 1.50 | 100 | yes |" in text
    assert "| slow | 6.00 | 100 | no |" in text
    assert "| 10,000 | 20,000 | 101 | +0.9% | 10.0 | 0.1 |" in text
    assert "| 1,000 | 10 | 20 | 1 | 31 | 100 |" in text


def test_growth_measures_a_process_and_stops_at_its_failure(benchmark):
    growth = benchmark("growth")
    cost, text = growth.process(["-c", "print('x' * 3)"])
    assert text == "xxx\n" and cost.peak > 1_000_000 and cost.seconds >= 0
    with pytest.raises(growth.Failed, match="ended with 3"):
        growth.process(["-c", "raise SystemExit(3)"])


@pytest.mark.slow
def test_growth_draws_its_figures(benchmark, tmp_path):
    pytest.importorskip("matplotlib")
    files = benchmark("growth_pictures").draw(figures(), tmp_path)
    assert len(files) == 6 and all(file.stat().st_size > 1000 for file in files)


@pytest.mark.slow
def test_a_scripted_iteration_has_its_phases(benchmark, tmp_path):
    found = benchmark("scripted_loop").phases(30, tmp_path / "run")
    assert list(found) == ["generate", "rationalize and keep", "train and finish"]


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    def spend(self, seconds):
        self.now += seconds


def test_a_span_counts_once_for_the_innermost(benchmark):
    clock = Clock()
    spans = benchmark("spans").Spans(clock)
    inner = spans.timed("evaluation", clock.spend)

    def outer():
        clock.spend(1)
        inner(2)
        clock.spend(4)

    built = spans.timed("building", outer)
    built()  # nobody watches
    with spans.watch():
        spans.enter("generate")
        clock.spend(8)
        built()
        spans.enter("train")
        inner(16)
    found = {phase: dict(kinds) for phase, kinds in spans.seconds.items() if phase}
    assert found["generate"] == {"python: other": 8, "building": 5, "evaluation": 2}
    assert {k: v for k, v in found["train"].items() if v} == {"evaluation": 16}


def test_lanes_share_the_time_they_take(benchmark):
    clock = Clock()
    spans = benchmark("spans").Spans(clock)
    model = spans.timed("evaluation", clock.spend)

    def run(lanes, jobs, hear):  # one after the other: twice the time of each
        for job in jobs:
            job(hear)

    def job(report):
        model(3)
        clock.spend(1)

    with spans.watch():
        spans.enter("generate")
        spans.side_by_side(run)(None, [job, job], None)
    assert dict(spans.seconds["generate"]) == {"python: other": 2, "evaluation": 6}


def test_the_profile_sums_up_what_is_outside_the_model(benchmark):
    profile = benchmark("profile_iteration")
    seconds = {
        "generate": {"evaluation": 80.0, "building": 10.0, "python: stops": 6.0, "disk": 4.0},
        "train": {"evaluation": 100.0},
    }
    found = profile.summary(seconds)
    assert found["phases"]["generate"]["outside_model"] == 0.1
    assert found["phases"]["generate"]["python_by"] == {"stops": 6.0}
    assert found["whole"]["outside_model"] == 0.05 and found["whole"]["python"] == 6.0
    assert json.loads(json.dumps(found)) == found


@pytest.mark.slow
def test_the_profile_times_a_real_iteration(benchmark, tmp_path):
    from star_mlx import engine

    profile = benchmark("profile_iteration")
    settings = ["star.iterations=1", "star.problems=8", "evaluate.dev=4", "task.options.train=200"]
    settings += ["evaluate.zero_shot=false", "star.schedule.start=1", "star.schedule.kind=linear"]
    made = recipe(*settings, "generate.max_tokens=60", "train.max_length=256")
    found = profile.profile(made, engine.open_engine("tiny"), tmp_path / "run")
    assert set(found["phases"]) == {"generate", "rationalize", "train", "evaluate"}
    for row in found["phases"].values():
        assert row["evaluation"] > 0 and row["building"] > 0
    assert found["whole"]["disk"] > 0


def test_a_file_of_many_rows_is_run_and_resumed(benchmark, tmp_path, monkeypatch):
    monkeypatch.setattr(stored, "IN_MEMORY", 100)
    rows = benchmark("many_rows")
    rows.write(tmp_path / "rows.jsonl", 400)
    seconds = rows.run(tmp_path / "rows.jsonl", tmp_path / "run", 20)
    assert 0 < seconds["first"] <= seconds["end"]
    [line] = [line for line in reading.read(tmp_path / "run").metrics if line.iteration]
    assert (line.problems, line.examples) == (20, 20) and 0 < line.solved < 20
    assert rows.run(tmp_path / "rows.jsonl", tmp_path / "run", 20)["end"] > 0
