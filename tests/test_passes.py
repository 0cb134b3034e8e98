"""Passes over problems: seeds, decoding, progress inside a chunk, seconds, and filtering."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from star_mlx.engine.scripted import ScriptedEngine
from star_mlx.errors import NothingKept
from star_mlx.events import PhaseStarted, Progress
from star_mlx.recipe import asking, opening
from star_mlx.recipe.loading import load
from star_mlx.run import evaluate, fit, learner, loop, passes
from star_mlx.run.completing import seed
from star_mlx.run.passes import At
from star_mlx.store import writing
from star_mlx.tasks.arithmetic import Arithmetic
from star_mlx.types import Attempt, Completion, Problem, Question
from tests import scripts
from tests.lines import json_lines
from tests.scripts import parts

SMALL = [
    "task.options.train=200",
    "task.options.held_out=4",
    "star.iterations=2",
    "star.problems=20",
    "star.schedule.kind=epochs",
    "generate.chunk=8",
    "generate.max_tokens=1000",
    "train.max_length=1000",
    "evaluate.dev=20",
]
SAMPLED = ["generate.samples=2", "generate.temperature=0.7"]


def recipe(*overrides):
    return load("arithmetic", overrides=[*SMALL, *overrides])


def lines(path):
    return list(json_lines(path))


# --------------------------------------------------------------------------- seeds


@pytest.mark.parametrize(
    ("purpose", "number"),
    [
        ((0, 1, "direct", "p1"), 1221471189),
        ((0, 1, "direct", "p1", 1), 2060556307),
        ((7, 2, "train"), 40046549),
    ],
)
def test_a_seed_follows_from_its_purpose_the_same_on_every_machine(purpose, number):
    assert seed(*purpose) == number


class Seeded(ScriptedEngine):
    """Keeps the seeds that it is given, each with the prompt, and those of the trainings."""

    def __init__(self):
        super().__init__(self.answer)
        self.seeds: list[tuple[int, str]] = []
        self.training: list[int] = []

    def answer(self, asked):
        self.seeds.append((asked.seed, asked.prompt))
        return scripts.learner(asked)

    def train(self, *args, seed, **more):
        self.training.append(seed)
        return super().train(*args, seed=seed, **more)


def expected(path, iteration, name, kind, samples):
    """The seeds of the attempts in a file of a run, in its order."""
    rows = [row for row in lines(path / f"iterations/{iteration:03d}/{name}.jsonl")
            if row["hinted"] == (kind == "hinted")]  # fmt: skip
    if samples == 1:
        return [seed(5, iteration, kind, row["id"]) for row in rows]
    return [seed(5, iteration, kind, row["id"], i % samples) for i, row in enumerate(rows)]


@pytest.mark.parametrize("samples", [1, 2])
def test_every_attempt_has_a_seed_of_its_own(tmp_path, samples):
    engine, run = Seeded(), tmp_path / "run"
    loop.run(recipe("seed=5", *SAMPLED[: 2 * (samples - 1)]), run, lambda e: None, engine=engine)
    wanted = []
    for n in (0, 1, 2):
        if n:
            wanted += expected(run, n, "attempts", "direct", samples)
            wanted += expected(run, n, "attempts", "hinted", 1)
        wanted += expected(run, n, "eval", "dev", 1)
        wanted += expected(run, n, "zero-shot", "zero-shot", 1) if n == 0 else []
    assert [number for number, _ in engine.seeds] == wanted
    assert len(wanted) == len(set(wanted)) > 100
    assert engine.training == [seed(5, 1, "train"), seed(5, 2, "train")]
    direct = [number for number, _ in engine.seeds[40 : 40 + 20 * samples]]
    prompts = [prompt for _, prompt in engine.seeds[40 : 40 + 20 * samples]]
    assert len(set(direct)) == 20 * samples and set(Counter(prompts).values()) == {samples}


def test_the_samples_of_a_measurement_differ_in_their_seeds(tmp_path):
    loop.run(recipe("seed=5"), tmp_path / "run", lambda e: None, engine=Seeded())
    engine = Seeded()
    how = evaluate.How("test", samples=3, temperature=0.7, limit=4)
    evaluate.evaluate_run(tmp_path / "run", "2", how=how, engine=engine)
    rows = lines(tmp_path / "run/iterations/002/test-n4-k3-t0.7.jsonl")
    kind = "test-n4-k3-t0.7"
    wanted = [seed(5, 2, kind, row["id"], i % 3) for i, row in enumerate(rows)]
    assert [number for number, _ in engine.seeds] == wanted and len(set(wanted)) == 12


# --------------------------------------------------------------------------- decoding


class Decoded(ScriptedEngine):
    """Keeps the temperature of every prompt."""

    def __init__(self):
        super().__init__(scripts.learner)
        self.temperatures: list[float] = []

    def generate(self, prompts, decoding, **more):
        self.temperatures += [decoding.temperature] * len(prompts)
        return super().generate(prompts, decoding, **more)


@pytest.mark.parametrize(
    ("overrides", "generating", "measured"),
    [
        (["generate.temperature=0.7"], 0.7, 0.7),
        (["generate.temperature=0.7", "evaluate.temperature=0"], 0.7, 0.0),
        (["evaluate.temperature=0.2"], 0.0, 0.2),
    ],
)
def test_evaluate_temperature_reaches_the_decoder(tmp_path, overrides, generating, measured):
    engine, run = Decoded(), tmp_path / "run"
    made = recipe("star.iterations=1", *overrides)
    loop.run(made, run, lambda e: None, engine=engine)
    made = len(lines(run / "iterations/001/attempts.jsonl"))
    assert engine.temperatures == [measured] * 40 + [generating] * made + [measured] * 20
    engine.temperatures.clear()
    how = evaluate.How("test", temperature=0.9, limit=3)
    evaluate.evaluate_run(run, "1", how=how, engine=engine)
    assert engine.temperatures == [0.9] * 3


# --------------------------------------------------------------------------- progress and seconds


class Clocked(ScriptedEngine):
    """Every call of generate takes 10 seconds, by the clock that ``watch`` sets."""

    def __init__(self, monkeypatch, reply=scripts.learner, calls=None):
        super().__init__(reply)
        self.now, self.calls = 0.0, calls
        clock = SimpleNamespace(perf_counter=lambda: self.now)
        monkeypatch.setattr(learner, "time", clock)
        monkeypatch.setattr(fit, "time", clock)
        monkeypatch.setattr(passes, "time", clock)

    def generate(self, *args, **more):
        if self.calls is not None:
            self.calls -= 1
            if self.calls < 0:
                raise KeyboardInterrupt
        self.now += 10
        return super().generate(*args, **more)

    def memory(self):
        return 3, 4

    def peak_memory(self):
        return 5


def test_progress_inside_a_chunk_goes_on_from_the_chunks_before(monkeypatch):
    events, now = [], [100.0]
    monkeypatch.setattr(passes, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    at = At(events.append, Progress(2, "generate", 8, 20, 50, 7.0), lambda: (3, 4))
    now[0] = 101.5
    at(1, 6)
    at(3, 20)
    assert events == [
        Progress(2, "generate", 9, 20, 56, 8.5, memory=(3, 4)),
        Progress(2, "generate", 11, 20, 70, 8.5, memory=(3, 4)),
    ]


def test_progress_of_a_training_is_its_steps_with_the_seconds_since_its_start(
    tmp_path, monkeypatch
):
    class Slow(Clocked):
        """Every optimizer step takes 2 seconds."""

        def train(self, *args, progress, **more):
            def later(step):
                self.now += 2
                progress(step)

            return super().train(*args, progress=later, **more)

    events, engine = [], Slow(monkeypatch)
    loop.run(recipe("train.batch_size=8"), tmp_path / "run", events.append, engine=engine)
    steps = lines(tmp_path / "run/iterations/001/train.jsonl")
    assert [step["step"] for step in steps] == list(range(1, len(steps) + 1)) and len(steps) > 2
    [begun] = [e for e in events if e == PhaseStarted(1, "train", len(steps))]
    told = [e for e in events[events.index(begun) :] if isinstance(e, Progress)][: len(steps)]
    assert told == [
        Progress(
            1, "train", s["step"], len(steps), s["tokens"], 2.0 * s["step"], s["loss"],
            s["gradient_norm"], (3, 4),
        )
        for s in steps
    ]  # fmt: skip


def test_progress_is_told_after_every_row_and_every_chunk(tmp_path, monkeypatch):
    events = []
    loop.run(recipe(), tmp_path / "run", events.append, engine=Clocked(monkeypatch))
    told = [
        e for e in events if isinstance(e, Progress) and (e.iteration, e.phase) == (1, "generate")
    ]
    rows = lines(tmp_path / "run/iterations/001/attempts.jsonl")[:20]
    tokens = [sum(len(r["token_ids"]) for r in rows[:n]) for n in range(21)]
    wanted = []
    for chunk, first in enumerate((0, 8, 16)):
        ends = range(first + 1, min(first + 8, 20) + 1)
        wanted += [(n, tokens[n], 10.0 * (chunk + 1)) for n in [*ends, ends[-1]]]
    assert [(e.done, e.tokens, e.seconds) for e in told] == wanted
    assert {(e.total, e.memory) for e in told} == {(20, (3, 4))}


def test_seconds_are_those_of_all_chunks_and_measurements_of_a_phase(tmp_path, monkeypatch):
    loop.run(recipe(), tmp_path / "run", lambda e: None, engine=Clocked(monkeypatch))
    metrics = lines(tmp_path / "run/metrics.jsonl")
    assert [line["peak_memory_bytes"] for line in metrics] == [5, 5, 5]
    assert metrics[0]["seconds"] == {"evaluate": 60.0}  # with and without examples, 3 chunks each
    first = metrics[1]
    assert first["seconds"] == {
        "generate": 30.0, "rationalize": 20.0, "train": 0.0, "evaluate": 30.0,
    }  # fmt: skip
    tokens = first["generate"]["tokens"]
    assert tokens == sum(r["tokens"] for r in lines(tmp_path / "run/iterations/001/attempts.jsonl"))
    assert first["generate"]["tokens_per_second"] == round(tokens / 50, 1)


@pytest.mark.parametrize("calls", [4, 8, 10, 12, 18])
def test_seconds_of_a_run_that_was_stopped_include_what_was_done_before(
    tmp_path, monkeypatch, calls
):
    run = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        loop.run(recipe(), run, lambda e: None, engine=Clocked(monkeypatch, calls=calls))
    loop.run(recipe(), run, lambda e: None, engine=Clocked(monkeypatch))
    loop.run(recipe(), tmp_path / "whole", lambda e: None, engine=Clocked(monkeypatch))
    again, whole = (lines(path / "metrics.jsonl") for path in (run, tmp_path / "whole"))
    assert [line["seconds"] for line in again] == [line["seconds"] for line in whole]
    assert again[1]["generate"] == whole[1]["generate"]


# --------------------------------------------------------------------------- asking and judging


def test_attempts_are_made_by_the_model_and_in_the_way_that_is_asked():
    made = recipe()
    task, prompts = opening.open_task(made)
    how = asking.generating(made, prompts, few_shot=True)
    problems = task.problems("train")[:2]
    seen = {}

    class Kept(ScriptedEngine):
        def generate(self, prompts, decoding, **more):
            seen.update(more, prompts=prompts, decoding=decoding)
            del more["adapter"]
            return super().generate(prompts, decoding, adapter=None, **more)

    told = []
    found = passes.attempts(
        Kept(scripts.hopeless), Path("m"), how, problems, seeds=[3, 4],
        progress=lambda done, tokens: told.append((done, tokens)),
    )  # fmt: skip
    assert [a.id for a in found] == [p.id for p in problems]
    prefix, asked = how.batch(problems)
    assert (seen["prefix"], seen["prompts"], seen["decoding"]) == (prefix, asked, how.decoding)
    assert (seen["adapter"], seen["seeds"]) == (Path("m"), [3, 4])
    assert told == [(1, len("I do not know")), (2, 2 * len("I do not know"))]
    passes.attempts(Kept(scripts.hopeless), None, how, problems, seeds=[3, 4])
    assert seen["adapter"] is None

    class Lazy(Kept):
        def generate(self, *args, **more):
            return super().generate(*args, **more)[:1]

    with pytest.raises(ValueError, match="shorter"):
        passes.attempts(Lazy(scripts.hopeless), None, how, problems, seeds=[3, 4])


def test_a_model_is_measured_with_or_without_the_few_shot_prompt_as_it_is_asked(tmp_path):
    made = recipe("star.drop_few_shot_from=2")
    task, prompts = opening.open_task(made)
    prefixes = []

    class Kept(ScriptedEngine):
        def generate(self, *args, prefix, **more):
            prefixes.append(prefix)
            return super().generate(*args, prefix=prefix, **more)

    with writing.opened(tmp_path / "run", {}) as folder:
        model = learner.Learner(
            made, task, prompts, Kept(scripts.learner), folder, lambda event: None
        )
        for iteration, few_shot in ((1, False), (2, True)):
            found = model.evaluate(None, iteration=iteration, few_shot=few_shot)
            assert (found.split, found.n, found.correct) == ("dev", 20, 4)
            assert len(found.verdicts) == 20 and found.by_class["1"] == (4, 4)
    assert prefixes == [""] * 3 + [prompts.few_shot(hinted=False)] * 3


@pytest.mark.parametrize("hinted", [False, True])
@pytest.mark.parametrize(
    ("text", "answer", "correct"),
    [
        ("<scratch>\n</scratch>\n1 2", "1 2", True),
        ("<scratch>\n</scratch>\n2 1", "2 1", False),
        ("none", None, False),
    ],
)
def test_a_completion_is_judged_by_the_answer_that_is_read_of_it(text, answer, correct, hinted):
    problem = Problem("p", Question("5 + 7"), "1 2")
    completion = Completion(text, (1, 2), "length")
    assert passes.judge(Arithmetic(), problem, completion, hinted=hinted) == Attempt(
        "p", hinted, text, answer, correct, "length", (1, 2)
    )


def test_an_answer_is_read_with_its_question_in_view():
    class Asked(Arithmetic):
        def read(self, completion, question):
            return f"{completion} to {question.text}"

    problem = Problem("p", Question("5 + 7"), "1 2")
    found = passes.judge(Asked(), problem, Completion("x", (1,), "stop"), hinted=False)
    assert found.answer == "x to 5 + 7"


def test_equal_token_ids_of_a_run_are_one_object(tmp_path):
    """There are as many numbers as there are different tokens, not as many as tokens."""

    class Large(ScriptedEngine):
        def generate(self, *args, **more):
            made = super().generate(*args, **more)
            return [replace(c, token_ids=tuple(int(f"{i + 9000}") for i in c.token_ids))
                    for c in made]  # fmt: skip

    made = recipe()
    task, prompts = opening.open_task(made)
    engine = Large(scripts.learner)
    with writing.opened(tmp_path / "run", {}) as folder:
        model = learner.Learner(made, task, prompts, engine, folder, lambda event: None)
        problems = task.problems("train")[:20]
        found = model.attempt(problems, None, iteration=1, hinted=False, few_shot=True)
    ids = [number for attempt in found for number in attempt.token_ids]
    assert len({id(number) for number in ids}) == len(set(ids)) < len(ids)
    rows = lines(tmp_path / "run/iterations/001/attempts.jsonl")
    assert [list(attempt.token_ids) for attempt in found] == [row["token_ids"] for row in rows]


# --------------------------------------------------------------------------- filtering


def test_only_right_attempts_of_the_loop_are_rejected(tmp_path):
    """Every rationale has a wrong step and speaks of its hint; those on odd sums end wrong."""

    def reply(asked):
        a, b, _ = parts(asked.prompt)
        answer = " ".join(str(a + b if a % 2 == 0 else a + b + 1))
        return f"Target says\n<scratch>\n1 + 1 , 3 C: 0\n</scratch>\n{answer}\n\n"

    strict = ["star.require_valid_steps=true", "star.reject_hint_leaks=true"]
    with pytest.raises(NothingKept):
        loop.run(recipe(*strict), tmp_path / "run", lambda e: None, engine=ScriptedEngine(reply))
    rows = lines(tmp_path / "run/iterations/001/attempts.jsonl")
    assert {row["rejected"] for row in rows if not row["correct"]} == {""}
    assert {row["rejected"] for row in rows if row["correct"]} == {"wrong step"}
    leaks = ["star.reject_hint_leaks=true"]
    with_leaks = tmp_path / "leaks"
    loop.run(recipe(*leaks), with_leaks, lambda e: None, engine=ScriptedEngine(reply))
    rows = lines(with_leaks / "iterations/001/attempts.jsonl")
    found = {(row["hinted"], row["correct"], row["rejected"]) for row in rows}
    assert found == {(False, True, ""), (False, False, ""), (True, False, "")}
    for kind in ("000/eval", "000/zero-shot"):
        rows = lines(with_leaks / f"iterations/{kind}.jsonl")
        assert {row["rejected"] for row in rows} == {""} and any(row["correct"] for row in rows)
