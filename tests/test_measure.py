"""Measuring a run, several samples, comparisons, baselines: on a scripted model."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace

import pytest

from star_mlx import settings
from star_mlx.engine.scripted import ScriptedEngine
from star_mlx.errors import RunError, TaskError
from star_mlx.events import PhaseStarted
from star_mlx.measure import findings
from star_mlx.recipe import asking, opening
from star_mlx.recipe.loading import load, resolved
from star_mlx.run import baseline, evaluate, loop, reopen
from star_mlx.store import ledger, reading, results
from star_mlx.store.results import Result, Share
from tests.lines import json_lines

DATA = [
    {
        "question": f"What is {i} + {i}?",
        "answer": f"It is <<{i}+{i}={2 * i}>>{2 * i}.\n#### {2 * i}",
    }
    for i in range(60)
]


def evaluated(*arguments, **more):
    """What a measurement's file has, with that file."""
    result, file = evaluate.evaluate_run(*arguments, **more)
    assert results.decoded(file.read_bytes()) == result
    return {**results.as_json(result), "file": str(file)}


def lines_of(found):
    """What is said of a measurement."""
    return findings.report(results.decoded(Path(found["file"]).read_bytes()))


def test_a_share_of_a_class_has_its_interval_and_n():
    shares = {"2": Share(10, 5), "3": Share(10, accuracy=0.5)}
    result = Result("dev", 20, 0.5, (0.3, 0.7), shares, 0, 0, 9, of="iteration 1", classes="digits")
    said = findings.report(result)
    assert "  digits 2: 50.0% [23.7-76.3] of n = 10" in said
    assert "  digits 3: 50.0% of n = 10" in said, "the mean of several samples"


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    for name, rows in (("train.jsonl", DATA[:40]), ("test.jsonl", DATA[40:])):
        (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def recipe(data, *overrides):
    small = ["task.options.dev=10", "star.iterations=2", "star.problems=12", "generate.chunk=4"]
    small += ["generate.max_tokens=1000", "train.max_length=5000"]
    return load("gsm8k", data=str(data), model="tiny", overrides=[*small, *overrides])


def pupil(asked):
    """Right on even numbers, wrong on odd ones; with a hint or once trained, right on all."""
    question = asked.prompt.rsplit("Q: ", 1)[-1]
    number = int(question.split()[2])
    if number % 2 == 0 or asked.trained_on or f"({2 * number})" in question:
        return f" It is <<{number}+{number}={2 * number}>>{2 * number}.\n#### {2 * number}"
    return " I think\n#### 1"


@pytest.fixture
def run(tmp_path, data):
    loop.run(recipe(data), tmp_path / "run", lambda e: None, engine=ScriptedEngine(pupil))
    return tmp_path / "run"


@pytest.fixture
def engine():
    return ScriptedEngine(pupil)


def test_a_measurement_is_kept_in_the_run_and_not_made_again(run, engine):
    first = evaluated(run, "2", how=evaluate.How("test"), engine=engine)
    assert (first["n"], first["correct"], first["test_reads"]) == (20, 20, 1)
    [saved] = (run / "results").iterdir()
    assert json.loads(saved.read_text()) == {k: v for k, v in first.items() if k != "file"}
    assert len(list(json_lines(run / "iterations/002/test.jsonl"))) == 20

    def silent(asked):
        raise AssertionError("asked again")

    again = evaluated(run, "2", how=evaluate.How("test"), engine=ScriptedEngine(silent))
    assert (again["correct"], again["test_reads"]) == (20, 2)
    assert "read 2 times" in "\n".join(lines_of(again))


def test_dev_is_what_the_loop_measured_already(run):
    def silent(asked):
        raise AssertionError("asked again")

    found = evaluated(run, "1", how=evaluate.How("dev"), engine=ScriptedEngine(silent))
    line = list(json_lines(run / "metrics.jsonl"))[1]
    assert found["correct"] == line["eval"]["correct"] and found["ci95"] == line["eval"]["ci95"]


def test_comparison_with_the_base_counts_the_pairs(run, engine):
    how = evaluate.How("test")
    found = evaluated(run, "best", how=how, against=["0", "zero-shot", "1"], engine=engine)
    base = found["against"][0]
    assert (base["n"], base["better"], base["worse"]) == (20, 10, 0)
    assert base["p"] == pytest.approx(2 / 2**10) and base["verdict"] == "better"
    assert base["words"].startswith("iteration 1 is better than iteration 0 (the base): 10 more")
    assert [pair["with"] for pair in found["against"][1:]] == ["zero-shot", "iteration 1"]


@pytest.mark.parametrize(
    ("how", "zero_shot", "kind"),
    [
        (evaluate.How(), False, "dev"),
        (evaluate.How("test"), True, "zero-shot-test"),
        (evaluate.How("test", 4, 0.7, 50), False, "test-n50-k4-t0.7"),
        (evaluate.How("dev", temperature=0.0, limit=0), True, "zero-shot-dev-n0-t0"),
        (evaluate.How("dev", 2), False, "dev-k2"),
    ],
)
def test_a_measurement_is_kept_under_the_name_of_how_it_was_made(how, zero_shot, kind):
    assert how.kind(zero_shot) == kind


@pytest.mark.parametrize(
    ("name", "how", "file"),
    [
        ("2", evaluate.How("test", limit=3), "002/test-n3"),
        ("0", evaluate.How("test", limit=3), "000/test-n3"),
        ("zero-shot", evaluate.How("test", limit=3), "000/zero-shot-test-n3"),
        ("2", evaluate.How("dev", limit=3), "002/dev-n3"),
        ("zero-shot", evaluate.How("dev", samples=2, temperature=0.7), "000/zero-shot-dev-k2-t0.7"),
    ],
)
def test_a_model_is_asked_as_it_is_named(run, name, how, file):
    """With its adapter, in its words, and as often and as randomly as is wanted."""
    asked = []

    class Kept(ScriptedEngine):
        def generate(self, prompts, decoding, **more):
            asked.append((prompts, decoding, more["prefix"], more["adapter"]))
            return super().generate(prompts, decoding, **more)

    found = evaluated(run, name, how=how, engine=Kept(pupil))
    made = opening.resume_recipe(run)
    task, prompts = opening.open_task(made)
    number = int(name) if name.isdecimal() else 0
    if name == "zero-shot":
        wanted = asking.zero_shot(made, prompts)
    else:
        wanted = asking.measuring(made, prompts, number)
    if how.temperature is not None:
        wanted = wanted.at(how.temperature)
    problems = task.problems(how.split)[: how.limit or 10]
    prefix, texts = wanted.batch([p for p in problems for _ in range(how.samples)])
    assert [text for texts, *_ in asked for text in texts] == texts
    adapter = run / f"iterations/{number:03d}/adapter" if number else None
    assert {(d, p, a) for _, d, p, a in asked} == {(wanted.decoding, prefix, adapter)}
    assert len(list(json_lines(run / f"iterations/{file}.jsonl"))) == len(texts)
    assert found["n"] == len(problems)


def test_dev_as_the_loop_measures_it_is_the_loops_whatever_it_is_called(run):
    def silent(asked):
        raise AssertionError("asked again")

    for name in ("0", "zero-shot", "2"):
        limit = opening.resume_recipe(run).evaluate.dev
        for how in (evaluate.How("dev"), evaluate.How("dev", limit=limit)):
            found = evaluated(run, name, how=how, engine=ScriptedEngine(silent))
            assert found["n"] == 10


def test_a_result_says_what_was_measured_and_when(run, engine, monkeypatch):
    clock = SimpleNamespace(now=lambda zone: datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=zone))
    monkeypatch.setattr(evaluate, "datetime", clock)
    how = evaluate.How("test", samples=2, temperature=0.7, limit=6)
    found = evaluated(run, "few-shot", how=how, engine=engine)
    assert found["time"] == "2026-01-02T03:04:05+00:00" and found["run"] == str(run)
    assert (found["of"], found["iteration"], found["temperature"]) == ("few-shot", 0, 0.7)
    assert (found["split"], found["n"], found["samples"]) == ("test", 6, 2)
    assert (found["rows_left_out"], found["against"], found["test_reads"]) == (0, [], 1)
    found = evaluated(run, how=evaluate.How("dev"), against=["zero-shot"], engine=engine)
    assert (found["of"], found["iteration"], found["split"]) == ("iteration 1", 1, "dev")
    assert "test_reads" not in found and found["temperature"] is None
    assert found["against"][0]["with"] == "zero-shot"


def test_another_runs_best_is_compared_with_on_the_same_problems(run, engine, data, tmp_path):
    other = tmp_path / "other"
    loop.run(recipe(data, "star.iterations=1"), other, lambda e: None, engine=engine)
    before = sorted(p.name for p in (other / "iterations/001").iterdir())
    events = []
    how = evaluate.How("test", samples=2, temperature=0.7, limit=8)
    found = evaluated(
        run, "0", how=how, against=["last", str(other)], emit=events.append, engine=engine
    )
    first, second = found["against"]
    assert (first["with"], second["with"]) == ("iteration 2", f"{other}, iteration 1")
    assert first["n"] == second["n"] == 8
    assert (second["both"], second["better"], second["worse"], second["neither"]) == (4, 0, 4, 0)
    after = sorted(p.name for p in (other / "iterations/001").iterdir())
    assert after == sorted([*before, "test-n8-k2-t0.7.jsonl"])
    begun = [e for e in events if isinstance(e, PhaseStarted)]
    assert begun == [PhaseStarted(number, "evaluate", 16, "on test") for number in (0, 2, 1)]
    assert not (other / "results").exists(), "the result is that of the first run"


def test_iterations_are_measured_together_the_first_against_the_others(run, engine):
    with reopen.opened(run, lambda event: None, engine) as (task, learner, folder):
        how = evaluate.How("test", samples=2, temperature=0.7, limit=6)
        one, two, base = evaluate.on(task, learner, folder, how, [1, 2, 1, 0])
    assert [found.of for found in (one, two, base)] == [
        "iteration 1", "iteration 2", "iteration 0 (the base)",
    ]  # fmt: skip
    assert [pair.other for pair in one.against] == ["iteration 2", "iteration 0 (the base)"]
    assert (one.against[1].better, one.against[1].worse) == (3, 0) == (3, one.against[0].better)
    assert two.against == base.against == []
    assert (one.accuracy, base.accuracy, one.n, one.samples) == (1.0, 0.5, 6, 2)
    assert {found.test_reads for found in (one, two, base)} == {1}


def test_as_many_problems_are_measured_as_are_asked_for(run):
    made = opening.resume_recipe(run).model_copy(update={"evaluate": settings.Evaluate(dev=4)})
    task, _ = opening.open_task(made)
    for how, n in (
        (evaluate.How(), 4),
        (evaluate.How(limit=7), 7),
        (evaluate.How("test"), 20),
        (evaluate.How("test", limit=7), 7),
    ):
        assert evaluate.chosen(task, made, how) == task.problems(how.split)[:n]


def test_an_interrupted_measurement_goes_on(run):
    asked = []

    def tired(question):
        if len(asked) == 10:
            raise KeyboardInterrupt
        asked.append(question)
        return pupil(question)

    with pytest.raises(KeyboardInterrupt):
        evaluate.evaluate_run(run, "1", how=evaluate.How("test"), engine=ScriptedEngine(tired))
    events = []
    more = []

    def rested(question):
        more.append(question)
        return pupil(question)

    found = evaluated(
        run, "1", how=evaluate.How("test"), emit=events.append, engine=ScriptedEngine(rested)
    )
    assert found["n"] == 20 and len(more) == 12  # two whole chunks of four were kept
    assert [e.total for e in events if isinstance(e, PhaseStarted)] == [20]


def test_samples_give_pass_at_k_and_a_vote(run):
    def moody(asked):
        """Right in three of four samples on even numbers, in one of four on odd ones."""
        number = int(asked.prompt.rsplit("Q: ", 1)[-1].split()[2])
        turns[number] = turns.get(number, -1) + 1
        right = turns[number] != 0 if number % 2 == 0 else turns[number] == 3
        return f"\n#### {2 * number if right else 1000 + turns[number] % 2 * (number % 2)}"

    turns: dict[int, int] = {}
    how = evaluate.How("test", samples=4, temperature=0.7)
    found = evaluated(run, "0", how=how, engine=ScriptedEngine(moody))
    assert found["accuracy"] == pytest.approx((10 * 0.75 + 10 * 0.25) / 20)
    assert found["pass_at_k"]["4"] == 1 and found["pass_at_k"]["1"] == pytest.approx(0.5)
    # 1 - C(1,2)/C(4,2) = 1 and 1 - C(3,2)/C(4,2) = 0.5
    assert found["pass_at_k"]["2"] == pytest.approx(0.75)
    assert found["maj_at_k"]["4"]["correct"] == 10
    assert found["n"] == 20 and found["samples"] == 4
    assert "pass@4 100.0%, maj@4 50.0%" in "\n".join(lines_of(found))
    rows = list(json_lines(run / "iterations/000/test-k4-t0.7.jsonl"))
    assert len(rows) == 80


@pytest.mark.parametrize(
    ("name", "says"),
    [("7", "no iteration 7"), ("better", "give a number, best, last"), ("-1", "give a number")],
)
def test_a_name_that_is_no_iteration(run, name, says):
    with pytest.raises(RunError, match=says):
        evaluate.which(reading.read(run), name)


def test_what_there_is_to_compare_with_is_said(run, engine):
    how = evaluate.How("dev")
    with pytest.raises(RunError) as caught:
        evaluate.evaluate_run(run, "1", how=how, against=["sfft"], engine=engine)
    assert str(caught.value) == (
        "nothing is called 'sfft': give --against a number, best, last, few-shot, zero-shot, one "
        "of the run's baselines direct, sft, rft, or another run's folder"
    )
    with pytest.raises(RunError, match="has no iteration 9: its last is 2"):
        evaluate.evaluate_run(run, "1", how=how, against=["9"], engine=engine)


def test_a_missing_baseline_says_how_to_make_it(run, engine):
    how = evaluate.How("dev")
    for kind in ("sft", "direct"):
        with pytest.raises(RunError) as caught:
            evaluate.evaluate_run(run, "1", how=how, against=[kind], engine=engine)
        assert str(caught.value) == (
            f"{run} has no baseline {kind}: star-mlx baseline {run} --kind {kind} makes it"
        )


def made(run, kind, engine, steps=None, settings=None):
    values = resolved(opening.resume_recipe(run))
    base = load(base=values, settings=settings)
    settings = baseline.recipe(base, kind, run=run, steps=steps)
    folder = run / "baselines" / kind
    loop.run(settings, folder, lambda e: None, engine=engine)
    return folder, list(json_lines(folder / "metrics.jsonl"))


def test_zero_shot_asks_in_words_and_few_shot_by_example(run):
    prompts = []

    def reply(asked):
        prompts.append((asked.prefix, asked.prompt))
        return pupil(asked)

    _, [line] = made(run, "zero-shot", ScriptedEngine(reply))
    assert line["eval"]["n"] == 10 and "zero_shot" not in line
    assert all(not p and q.endswith("A: Let's think step by step.") for p, q in prompts)
    prompts.clear()
    _, [line] = made(run, "few-shot", ScriptedEngine(reply))
    assert all(p.count("Q: ") == 6 and q.endswith("\nA:") for p, q in prompts)
    first = next(json_lines(run / "metrics.jsonl"))
    assert line["eval"] == first["eval"]


def test_sft_trains_on_the_datas_rationales_with_the_steps_of_the_run(run, engine):
    folder, lines = made(run, "sft", engine)
    steps = list(json_lines(run / "metrics.jsonl"))[-1]["train"]["steps"]
    assert lines[1]["train"]["steps"] == steps and lines[1]["eval"]["correct"] == 10
    rows = list(json_lines(folder / "iterations/001/examples.jsonl"))
    assert len(rows) == 12 and {row["source"] for row in rows} == {"given"}
    gold = {row["question"]: row["answer"] for row in DATA}
    for row in rows:
        question = row["prompt"].removeprefix("Q: ").removesuffix("\nA:")
        assert row["completion"] == " " + gold[question]
        assert bytes(row["token_ids"]).decode() == row["completion"]


def test_direct_trains_on_answers_alone_and_as_long_as_asked(run, engine):
    folder, lines = made(run, "direct", engine, steps=7, settings={"star.problems": 5})
    assert lines[1]["train"]["steps"] == 7
    rows = list(json_lines(folder / "iterations/001/examples.jsonl"))
    assert len(rows) == 5 and all(row["completion"].startswith(" #### ") for row in rows)


def test_rft_trains_on_the_bases_own_right_rationales_each_different_one_once(run):
    settings = {"generate.samples": 4, "generate.temperature": 0.5, "star.problems": 5}
    seen = []

    def reply(asked):
        seen.append(asked.prefix)
        right = pupil(replace(asked, trained_on=((),)))  # as if it were trained
        return right if asked.seed % 2 else " So. " + right.strip()

    folder, lines = made(run, "rft", ScriptedEngine(reply), steps=3, settings=settings)
    assert [line["iteration"] for line in lines] == [0, 1]
    assert lines[1]["train"]["steps"] == 3 and "eval" in lines[1] and "eval" not in lines[0]
    rows = list(json_lines(folder / "iterations/001/examples.jsonl"))
    assert {row["source"] for row in rows} == {"direct"} and 5 < len(rows) <= 10
    assert len({(row["id"], row["completion"]) for row in rows}) == len(rows)
    assert [prefix.count("Q: ") for prefix in seen] == [6] * 20 + [0] * 10
    assert len(ledger.read(folder).problems) == 5


def test_rft_samples_even_if_the_run_is_greedy(run):
    made_of = opening.resume_recipe(run)
    assert made_of.generate.samples == 1 and made_of.generate.temperature == 0
    found = baseline.recipe(made_of, "rft", run=None, steps=3)
    assert (found.generate.samples, found.generate.temperature) == (8, 0.7)
    assert found.evaluate.temperature == 0 and not found.star.rationalize
    assert baseline.recipe(made_of, "rft", run=None, steps=3, samples=4).generate.samples == 4


def test_a_baseline_is_compared_with_like_an_iteration(run, engine):
    made(run, "sft", engine)
    found = evaluated(run, "0", how=evaluate.How("dev"), against=["sft"], engine=engine)
    [pair], base = found["against"], next(json_lines(run / "metrics.jsonl"))["eval"]["correct"]
    assert (pair["with"], pair["both"], pair["better"], pair["worse"]) == (
        "sft", base, 0, 10 - base,
    )  # fmt: skip


def test_no_rationales_no_sft(tmp_path, data):
    for name in ("train.jsonl", "test.jsonl"):
        rows = [json.loads(line) for line in (data / name).read_text().splitlines()]
        for row in rows:
            row["answer"] = row["answer"].split("#### ")[1]
        (data / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = baseline.recipe(recipe(data), "sft", run=None, steps=3)
    with pytest.raises(TaskError, match="has no rationales"):
        loop.run(settings, tmp_path / "b", lambda e: None, engine=ScriptedEngine(pupil))


def test_the_test_split_is_read_once_at_the_end_where_the_recipe_says_so(tmp_path, data):
    def go():
        loop.run(
            recipe(data, "evaluate.test=true"),
            tmp_path / "t",
            lambda e: None,
            engine=ScriptedEngine(pupil),
        )
        return sorted((tmp_path / "t/results").iterdir())

    files = go()
    results = [json.loads(file.read_text()) for file in files]
    results.sort(key=lambda r: r["iteration"])  # files are named by the second
    assert [r["iteration"] for r in results] == [0, 1] and all(r["n"] == 20 for r in results)
    assert results[1]["against"][0]["better"] == 10
    assert go() == files


def test_a_run_without_it_never_opens_the_test_file(tmp_path, data):
    (data / "test.jsonl").unlink()
    loop.run(recipe(data), tmp_path / "t", lambda e: None, engine=ScriptedEngine(pupil))
    with pytest.raises(TaskError, match=r"holds no test\.jsonl"):
        evaluate.evaluate_run(
            tmp_path / "t", "1", how=evaluate.How("test"), engine=ScriptedEngine(pupil)
        )


def test_the_interval_of_several_samples_goes_by_the_problems_not_the_samples():
    from star_mlx.measure.accuracy import wilson

    def interval(*shares):
        return findings._spread(shares)

    def by(correct, n):
        return tuple(round(x, 4) for x in wilson(correct, n))

    assert interval(*[0.0] * 20) == by(0, 20) and interval(*[1.0] * 20) == by(20, 20)
    assert interval(0.5) == by(0.5, 1)
    # samples all alike in a problem: no more than one answer each
    assert interval(*[1.0, 0.0] * 10) == by(10, 20)
    # samples that differ within problems are worth more, so the interval is narrower
    low, high = interval(*[0.25, 0.75] * 10)
    assert by(10, 20)[0] < low < 0.5 < high < by(10, 20)[1]
