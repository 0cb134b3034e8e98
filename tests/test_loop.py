"""The whole loop on a scripted learner: the run folder, resuming, refusing."""

from __future__ import annotations

import json
from dataclasses import replace
from hashlib import sha256
from importlib.metadata import version

import pytest
import yaml

from star_mlx import engine as engines
from star_mlx.engine.scripted import ScriptedEngine
from star_mlx.errors import NothingKept, PromptError, RunError, TaskError, TrainingDiverged
from star_mlx.events import (
    IterationFinished,
    Notice,
    PhaseStarted,
    Progress,
    RunFinished,
    RunStarted,
    Sampled,
)
from star_mlx.recipe import opening, provenance
from star_mlx.recipe.loading import load
from star_mlx.run import loop, reopen
from star_mlx.store import reading
from star_mlx.store.metrics import as_json
from star_mlx.types import Step
from tests.lines import json_lines
from tests.scripts import hopeless, learner, parts

SMALL = [
    "task.options.train=200",
    "task.options.held_out=4",
    "star.iterations=3",
    "star.problems=20",
    "star.schedule.kind=epochs",
    "star.schedule.base=1",
    "generate.chunk=8",
    "generate.max_tokens=1000",
    "train.max_length=1000",
    "evaluate.dev=20",
]


def recipe(*overrides: str):
    return load(None, task="arithmetic", overrides=[*SMALL, *overrides])


def run(path, *overrides, reply=learner, engine=None):
    events = []
    engine = engine or ScriptedEngine(reply)
    loop.run(recipe(*overrides), path, events.append, engine=engine)
    return events


def lines(path):
    return list(json_lines(path))


def contents(path):
    """All files of a run whose content does not depend on the clock."""
    kept = {}
    clocked = (".lock", "journal.jsonl", "metrics.jsonl", "live.json", "log.txt")
    for file in sorted(path.rglob("*")):
        if file.is_file() and file.name not in clocked:
            kept[str(file.relative_to(path))] = file.read_bytes()
    return kept


def timeless(metrics):
    dropped = ("seconds", "peak_memory_bytes", "generate")
    lines = [{k: v for k, v in line.items() if k not in dropped} for line in metrics]
    for line in lines:
        line.get("train", {}).pop("tokens_per_second", None)
    return lines


def test_a_run_leaves_the_public_format(tmp_path):
    run(tmp_path / "run")
    metrics = lines(tmp_path / "run/metrics.jsonl")
    assert [line["iteration"] for line in metrics] == [0, 1, 2, 3]
    first = metrics[1]
    assert first["problems"] == 20
    assert first["solved"] == 4 and first["rationalized"] == 16 and first["examples"] == 20
    assert first["parse_failures"] == first["hint_leaks"] == first["truncated"] == 0
    assert first["valid_steps"]["rationalized"] == {"n": 16, "valid": 16}
    assert first["eval"]["split"] == "dev" and first["eval"]["n"] == 20
    assert first["eval"]["correct"] == 20 and len(first["eval"]["ci95"]) == 2
    assert list(first["seconds"]) == ["generate", "rationalize", "train", "evaluate"]
    assert metrics[0]["eval"]["by_class"]["1"] == {"n": 4, "correct": 4}
    assert metrics[0]["eval"]["by_class"]["5"] == {"n": 4, "correct": 0}
    folder = tmp_path / "run/iterations/001"
    attempts = lines(folder / "attempts.jsonl")
    assert [a["hinted"] for a in attempts] == [False] * 20 + [True] * 16
    assert all(a["tokens"] == len(a["token_ids"]) for a in attempts)
    assert len(lines(folder / "examples.jsonl")) == 20
    assert len(lines(folder / "eval.jsonl")) == 20
    [step] = lines(folder / "train.jsonl")
    assert step["step"] == step["steps"] == first["train"]["steps"] == 1
    assert step["loss"] == first["train"]["last_loss"] and step["tokens"] > 0
    assert {"gradient_norm", "learning_rate"} < step.keys()
    assert (folder / "adapter").is_dir()
    zero = {p.name for p in (tmp_path / "run/iterations/000").iterdir()}
    assert zero == {"eval.jsonl", "zero-shot.jsonl"}
    assert metrics[0]["zero_shot"]["n"] == 20
    assert first["teacher"] == 0 and first["best"] == 1
    assert first["compared"]["base"]["better"] == 16 and first["compared"]["base"]["worse"] == 0


def test_no_hint_and_no_few_shot_text_in_a_training_prompt(tmp_path):
    run(tmp_path / "run")
    for example in lines(tmp_path / "run/iterations/001/examples.jsonl"):
        assert example["prompt"].endswith("\nTarget:\n") and example["prompt"].count("Input:") == 1


def test_few_shot_train_keeps_the_few_shot_prompt_in_training(tmp_path):
    run(tmp_path / "run", "star.few_shot_train=true", "star.iterations=1")
    [first, *_] = lines(tmp_path / "run/iterations/001/examples.jsonl")
    assert first["prompt"].count("Input:") > 1 and first["prompt"].endswith("\nTarget:\n")


def test_shown_hints_are_marked(tmp_path):
    run(tmp_path / "run", "star.p_show_hint_save=1", "star.iterations=1")
    for example in lines(tmp_path / "run/iterations/001/examples.jsonl"):
        assert example["hint_shown"] == (example["source"] == "rationalized")
        assert example["prompt"].endswith("Target:\n") != example["hint_shown"]


def test_a_shown_hint_stands_in_the_few_shot_prompt_of_hinted_attempts(tmp_path):
    more = ["star.p_show_hint_save=1", "star.few_shot_train=true", "star.iterations=1"]
    run(tmp_path / "run", *more)
    task, prompts = opening.open_task(recipe(*more))
    problems = {p.id: p for p in task.problems("train")}
    examples = lines(tmp_path / "run/iterations/001/examples.jsonl")
    attempts = lines(tmp_path / "run/iterations/001/attempts.jsonl")
    kept = {(a["id"], a["hinted"]): a for a in attempts if a["correct"]}
    for example in examples:
        hinted = example["source"] == "rationalized"
        problem, made = problems[example["id"]], kept[example["id"], hinted]
        prompt = prompts.generation(problem, hinted=True, few_shot=True)
        assert example == {
            "id": problem.id,
            "prompt": prompt if hinted else prompts.training(problem.question, few_shot=True),
            "completion": made["completion"],
            "source": "rationalized" if hinted else "direct",
            "token_ids": made["token_ids"],
            "iteration": 1,
            "hint_shown": hinted,
        }
    assert {example["source"] for example in examples} == {"direct", "rationalized"}


def test_direct_trains_on_every_problem_with_its_answer_alone(tmp_path):
    engine = ScriptedEngine(hopeless)
    run(tmp_path / "run", "star.direct=true", "star.iterations=1", engine=engine)
    examples = lines(tmp_path / "run/iterations/001/examples.jsonl")
    problems = {p.id: p for p in opening.open_task(recipe())[0].problems("train")}
    assert len(examples) == 20
    assert all(e["completion"] == problems[e["id"]].answer for e in examples)
    for row in lines(tmp_path / "run/iterations/001/attempts.jsonl"):
        assert row["hinted"] is False  # what is told is in no file of attempts
    for example in examples:
        text = problems[example["id"]].answer
        assert example["token_ids"] == ScriptedEngine(hopeless).encode(text)
        assert (example["source"], example["iteration"]) == ("rationalized", 1)
        assert example["hint_shown"] is False


def test_events_tell_the_story_in_order(tmp_path):
    events = run(tmp_path / "run")
    assert isinstance(events[0], RunStarted) and isinstance(events[-1], RunFinished)
    finished = [e.metrics for e in events if isinstance(e, IterationFinished)]
    assert timeless(map(as_json, finished)) == timeless(lines(tmp_path / "run/metrics.jsonl"))
    phases = [event for event in events if isinstance(event, PhaseStarted)]
    assert phases[:6] == [
        PhaseStarted(0, "evaluate", 20),
        PhaseStarted(0, "evaluate", 20, "without examples"),
        PhaseStarted(1, "generate", 20),
        PhaseStarted(1, "rationalize", 16),
        PhaseStarted(1, "train", 1),
        PhaseStarted(1, "evaluate", 20),
    ]
    last = {(e.iteration, e.phase): e for e in events if isinstance(e, Progress)}
    assert all(e.done == e.total for e in last.values())
    for event in events:
        json.dumps(event.to_json())


def test_the_first_attempt_of_every_chunk_is_shown_and_the_second_at_its_problem(tmp_path):
    events = run(tmp_path / "run", "star.iterations=1")
    shown = [event for event in events if isinstance(event, Sampled)]
    problems = {p.id: p for p in opening.open_task(recipe())[0].problems("train")}
    problems |= {p.id: p for p in opening.open_task(recipe())[0].problems("dev")}
    wanted, before = [], {}
    for name, phase, iteration in (
        ("000/eval", "evaluate", 0), ("000/zero-shot", "evaluate", 0),
        ("001/attempts", "generate", 1), ("001/attempts", "rationalize", 1),
        ("001/eval", "evaluate", 1),
    ):  # fmt: skip
        hinted = phase == "rationalize"
        rows = lines(tmp_path / f"run/iterations/{name}.jsonl")
        rows = [row for row in rows if row["hinted"] is hinted]
        rows = [{k: v for k, v in row.items() if k != "token_ids"} for row in rows]
        rows = [{**row, "rejected": row.get("rejected", "")} for row in rows]
        for index, row in enumerate(rows):
            problem = problems[row["id"]]
            if index % 8 == 0 or (hinted and row["id"] in before and before[row["id"]][1]):
                first = before[row["id"]][0] if hinted else None
                text = problem.question.as_text(" ")
                wanted.append(Sampled(iteration, text, problem.answer, row, phase, first))
            if phase == "generate":
                before[row["id"]] = row, index % 8 == 0
    assert shown == wanted and len(wanted) >= 3 + 3 + 3 + 2 + 3
    followed = [event for event in shown if event.first]
    assert followed and all(not event.first["correct"] for event in followed)


def test_progress_says_what_was_right_and_what_is_kept(tmp_path):
    events = run(tmp_path / "run", "star.iterations=1")
    [line] = [e.metrics for e in events if isinstance(e, IterationFinished)][1:]
    ends = {e.phase: e for e in events if isinstance(e, Progress) and e.iteration == 1}
    generated, again = ends["generate"], ends["rationalize"]
    assert (generated.judged, generated.right) == (20, line.solved)
    assert generated.kept + again.kept == line.examples and again.kept == line.rationalized
    measured = ends["evaluate"]
    assert (measured.judged, measured.right, measured.kept) == (20, line.dev.correct, None)
    for event in events:  # of chunks that are finished, never of one in progress
        if isinstance(event, Progress) and event.phase != "train":
            assert event.judged % 8 in (0, event.total % 8) and event.judged <= event.done


class Cut(Exception):
    pass


@pytest.fixture(scope="module")
def carried(tmp_path_factory):
    """The folder of a run that nothing cut off, with rows carried over."""
    folder = tmp_path_factory.mktemp("carried") / "whole"
    run(folder, "star.carry_over=1")
    return folder


@pytest.mark.parametrize("calls", range(1, 24))
def test_a_run_cut_off_anywhere_and_resumed_equals_one_that_was_not(tmp_path, carried, calls):
    """The engine dies in the n-th call, generation or training; the second try goes on."""

    class Mortal(ScriptedEngine):
        left = calls

        def generate(self, *args, **kw):
            self.count()
            return super().generate(*args, **kw)

        def train(self, *args, out, **kw):
            (out / "half").write_text("half an adapter")
            self.count()
            (out / "half").unlink()
            return super().train(*args, out=out, **kw)

        def count(self):
            self.left -= 1
            if self.left == 0:
                raise Cut

    with pytest.raises(Cut):
        run(tmp_path / "cut", "star.carry_over=1", engine=Mortal(learner))
    run(tmp_path / "cut", "star.carry_over=1")
    assert contents(tmp_path / "cut") == contents(carried)
    cut, whole = (lines(place / "metrics.jsonl") for place in (tmp_path / "cut", carried))
    assert timeless(cut) == timeless(whole)


@pytest.mark.parametrize("calls", [0, 3, 5, 6])
def test_a_run_with_several_iterations_behind_it_goes_on_as_if_it_had_not_stopped(tmp_path, calls):
    """It dies so many generations after its third training, or in its fourth."""

    def seeded(asked):
        return learner(asked) if parts(asked.prompt)[2] or asked.seed % 3 else hopeless(asked)

    class Mortal(ScriptedEngine):
        trained, left = 0, calls

        def generate(self, *args, **kw):
            if self.trained == 3:
                self.left -= 1
                if self.left < 0:
                    raise Cut
            return super().generate(*args, **kw)

        def train(self, *args, **kw):
            self.trained += 1
            if self.trained == 4:
                raise Cut
            return super().train(*args, **kw)

    more = ["star.carry_over=2", "star.iterations=5", "star.on_regression=rollback"]
    with pytest.raises(Cut):
        run(tmp_path / "cut", *more, engine=Mortal(seeded))
    begun = run(tmp_path / "cut", *more, reply=seeded)[0].completed
    assert [line.iteration for line in begun] == [0, 1, 2, 3][: 3 if calls < 3 else 4]
    run(tmp_path / "whole", *more, reply=seeded)
    assert contents(tmp_path / "cut") == contents(tmp_path / "whole")
    cut, whole = (lines(tmp_path / name / "metrics.jsonl") for name in ("cut", "whole"))
    assert timeless(cut) == timeless(whole)
    examples = lines(tmp_path / "whole/iterations/005/examples.jsonl")
    assert {e["iteration"] for e in examples} == {3, 4, 5}


def test_a_finished_run_is_left_as_it_is(tmp_path):
    run(tmp_path / "run")
    before = everything(tmp_path / "run")
    events = run(tmp_path / "run", reply=hopeless)
    assert everything(tmp_path / "run") == before, "not even its journal gets a line"
    assert not [e for e in events if isinstance(e, PhaseStarted)]
    assert len(events[0].completed) == 4 and events[-1].reason == "done"


def test_a_run_that_a_regression_ended_is_left_as_it_is(tmp_path):
    falling(tmp_path / "run", "stop")
    before = everything(tmp_path / "run")
    events = run(tmp_path / "run", "star.on_regression=stop", "star.iterations=4")
    assert everything(tmp_path / "run") == before
    assert events[-1].reason == "dev accuracy fell"


def test_more_work_in_a_finished_run_is_journalled_as_resumed(tmp_path):
    def journalled():
        return [line["event"] for line in lines(tmp_path / "run/journal.jsonl")]

    run(tmp_path / "run", "star.iterations=1")
    ended = journalled()
    assert ended[-1] == "finished" and "resumed" not in ended
    with reopen.opened(tmp_path / "run", lambda event: None, ScriptedEngine(learner)) as opened:
        assert journalled() == ended, "a measurement that is all on the disk adds nothing"
        opened[2].save_chunk(1, "test", 0, (), 1.0)
    assert journalled() == [*ended, "resumed", "chunk"]
    run(tmp_path / "run", "star.iterations=1")
    assert journalled() == [*ended, "resumed", "chunk"], "no iteration was made since the end"
    path = tmp_path / "run/journal.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole[: whole.rindex(b'{"event":"finished"')])  # killed just before its end
    run(tmp_path / "run", "star.iterations=1")
    assert journalled() == [*ended[:-1], "resumed", "finished"]


def everything(path):
    """Every file of a folder, and when it was written."""
    files = [file for file in path.rglob("*") if file.is_file() and file.name != ".lock"]
    return {file: (file.read_bytes(), file.stat().st_mtime_ns) for file in files}


def test_another_recipe_is_refused_naming_the_keys_that_differ(tmp_path):
    run(tmp_path / "run")
    with pytest.raises(RunError, match=r"star\.problems.*20.*30") as caught:
        run(tmp_path / "run", "star.problems=30", "train.rank=3")
    assert "train.rank" in str(caught.value) and "star.iterations" not in str(caught.value)


def test_another_base_is_refused(tmp_path):
    class Other(ScriptedEngine):
        def describe(self):
            return {**super().describe(), "hash": "other"}

    run(tmp_path / "run")
    with pytest.raises(RunError, match="base model"):
        run(tmp_path / "run", engine=Other(learner))


def test_other_versions_are_only_remarked_on(tmp_path, monkeypatch):
    run(tmp_path / "run")
    monkeypatch.setattr(provenance, "_version", lambda package: "99")
    events = run(tmp_path / "run")
    assert [e for e in events if isinstance(e, Notice) and "99" in e.text]


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["prompts.k=0"], "trained on the words that ask for reasoning"),
        (["prompts.chat=true"], "the thinking of a model is no longer read"),
        ([], None),
    ],
)
def test_an_unfinished_run_of_an_earlier_version_says_what_has_changed(tmp_path, overrides, said):
    """Such a run recorded no ``prompts.template``."""

    class Stopping(ScriptedEngine):
        def train(self, *args, **kw):
            raise KeyboardInterrupt

    def reply(asked):
        prompt = asked.prompt.replace("</user><assistant>", "\n")
        return learner(replace(asked, prompt=prompt, trained_on=()))

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "r", *overrides, engine=Stopping(reply))
    record = yaml.safe_load((tmp_path / "r/recipe.yaml").read_text())
    del record["prompts"]["template"], record["prompts"]["date"]
    (tmp_path / "r/recipe.yaml").write_text(yaml.safe_dump(record))
    events = run(tmp_path / "r", *overrides, reply=reply)
    told = [e.text for e in events if isinstance(e, Notice) and "an earlier version" in e.text]
    assert len(told) == (said is not None) and (said is None or said in told[0])
    again = run(tmp_path / "r", *overrides, reply=reply)
    assert not [e for e in again if isinstance(e, Notice) and "an earlier version" in e.text]


def test_the_recipe_can_be_had_back_from_the_run(tmp_path):
    run(tmp_path / "run")
    again = opening.resume_recipe(tmp_path / "run")
    task, _ = opening.open_task(recipe())
    assert opening.settled(again, task) == opening.settled(recipe(), task)
    assert again.task.options["mastered"] == 0.9, "the task's defaults are written out"
    provenance = reading.read(tmp_path / "run").provenance
    _, prompts = opening.open_task(recipe())
    known = "".join(
        f"{split}\0{problem.id}\0{problem.question}\0{problem.answer}\n"
        for split in ("train", "dev")
        for problem in task.problems(split)
    )
    assert provenance["data_sha256"] == sha256(known.encode()).hexdigest()
    assert provenance["prompts_sha256"] == prompts.digest()
    assert provenance["base"] == ScriptedEngine(learner).describe()
    assert provenance["versions"]["numpy"] == version("numpy")


def test_nothing_kept_says_so_and_what_to_try(tmp_path):
    with pytest.raises(NothingKept) as caught:
        run(tmp_path / "run", reply=hopeless)
    assert str(caught.value) == (
        "iteration 1 kept no example: no answer was right, with or without a hint. Try easier "
        "problems, better few-shot examples (prompts.file), a larger generate.max_tokens, "
        "or a stronger model"
    )
    with pytest.raises(NothingKept, match=r"was right\. Try .* star.rationalize=true, or a"):
        run(tmp_path / "plain", "star.rationalize=false", reply=hopeless)


def test_nothing_kept_after_a_training_says_that_it_did_harm(tmp_path):
    def spoilt(asked):
        return hopeless(asked) if asked.trained_on else learner(asked)

    with pytest.raises(NothingKept, match=r"iteration 2 kept no example.* a lower train.learning_"):
        run(tmp_path / "run", reply=spoilt)


class Losses(ScriptedEngine):
    """Trains with these losses at each step; at one that is no number, as the engine does."""

    def __init__(self, *losses, iteration=1):
        super().__init__(learner)
        self._losses, self._from = losses, iteration

    def train(self, examples, settings, amount, *, progress, **options):
        made = super().train(examples, settings, amount, progress=lambda step: None, **options)
        if examples[0].iteration < self._from:
            return made
        for step, loss in enumerate(self._losses, 1):
            if loss != loss:
                raise TrainingDiverged("the loss is nan. Give a lower train.learning_rate")
            progress(Step(step, len(self._losses), loss, 1.0, 1e-4, step))
        return made


def test_a_training_that_diverges_ends_the_run_and_keeps_what_was_good(tmp_path):
    at = tmp_path / "run"
    with pytest.raises(TrainingDiverged) as caught:
        run(at, engine=Losses(2.0, float("nan"), iteration=2))
    assert str(caught.value) == (
        "iteration 2: the loss is nan. Give a lower train.learning_rate. "
        f"{at} keeps iteration 1: a new run goes on from there with star.start_from={at} and "
        "star.start_iteration=2"
    )
    assert reading.read(at).last == 1
    assert not (at / "iterations/002/adapter").exists()
    new = (f"star.start_from={at}", "star.start_iteration=2")
    run(tmp_path / "new", *new)
    assert reading.read(tmp_path / "new").last == 3
    with pytest.raises(
        TrainingDiverged, match=r"^iteration 1: .* train.learning_rate, in a new ru"
    ):
        run(tmp_path / "first", engine=Losses(float("nan")))


def test_a_loss_that_explodes_is_said_at_once(tmp_path):
    events = run(tmp_path / "run", "star.iterations=1", engine=Losses(2.0, 6.9, 7.1, 8.0, 1.0))
    places = [
        n for n, e in enumerate(events) if isinstance(e, Notice) and "the loss rose" in e.text
    ]
    assert len(places) == 1
    assert events[places[0]].text == (
        "iteration 1: the loss rose from 2.00 to 7.10 nats a token in step 3 of 5: what is learned "
        "so does harm. Give a lower train.learning_rate, or a longer train.warmup"
    )
    after = next(e for e in events[places[0] :] if isinstance(e, Progress))
    assert after.done == 3


def test_examples_longer_than_the_limit_are_refused_counted_and_shown(tmp_path):
    long_enough = "train.batch_size=1"  # else the run also warns of too few steps
    events = run(tmp_path / "run", "train.max_length=150", "star.iterations=1", long_enough)
    line = lines(tmp_path / "run/metrics.jsonl")[1]
    examples = lines(tmp_path / "run/iterations/001/examples.jsonl")
    long = sum(len(e["prompt"]) + len(e["token_ids"]) + 1 > 150 for e in examples)
    assert 0 < long < 20 and (line["too_long"], line["examples"]) == (long, 20)
    assert [e for e in events if isinstance(e, Notice) and e.level == "warning"] == [
        Notice(
            "warning",
            f"iteration 1: {long} of 20 examples were left out: they are longer than "
            "train.max_length=150 tokens",
        )
    ]


def test_skipping_evaluation(tmp_path):
    run(tmp_path / "run", "star.evaluate=false")
    assert all("eval" not in line for line in lines(tmp_path / "run/metrics.jsonl"))
    assert not list((tmp_path / "run").rglob("eval.jsonl"))


def test_starting_from_another_runs_iterations(tmp_path):
    run(tmp_path / "first")
    overrides = ["star.start_iteration=3", f"star.start_from={tmp_path / 'first'}"]
    run(tmp_path / "second", *overrides)
    assert contents(tmp_path / "second") != contents(tmp_path / "first")
    for n in ("001", "002", "003"):
        first, second = (
            {k: v for k, v in contents(tmp_path / name).items() if f"iterations/{n}/" in k}
            for name in ("first", "second")
        )
        assert first == second
    (tmp_path / "first").rename(tmp_path / "moved")
    run(tmp_path / "second", *overrides)  # what was taken over is its own now
    (tmp_path / "moved").rename(tmp_path / "first")
    with pytest.raises(RunError, match="no iteration 8"):
        run(tmp_path / "third", "star.start_iteration=9", overrides[1], "star.iterations=9")
    assert not (tmp_path / "third").exists()


@pytest.mark.parametrize(
    ("override", "error"),
    [
        ("task.name=arithmatic", TaskError),
        ("task.options.digits=[5,1]", TaskError),
        ("prompts.file=nowhere.yaml", PromptError),
    ],
)
def test_bad_input_writes_nothing(tmp_path, override, error):
    with pytest.raises(error):
        run(tmp_path / "run", override)
    assert not (tmp_path / "run").exists()


def test_the_next_free_run_name(tmp_path):
    assert loop.choose_run(tmp_path / "runs", "a") == tmp_path / "runs/a-001"
    (tmp_path / "runs/a-001").mkdir(parents=True)
    assert loop.choose_run(tmp_path / "runs", "a") == tmp_path / "runs/a-002"


def test_asking_an_iterations_model(tmp_path, monkeypatch):
    run(tmp_path / "run")
    monkeypatch.setattr(engines, "open_base", lambda recipe: ScriptedEngine(learner))
    asked = loop.ask(tmp_path / "run", "78+45")
    assert (asked["answer"], asked["gold"], asked["iteration"]) == ("1 2 3", "1 2 3", 3)
    assert loop.ask(tmp_path / "run", "78+45", iteration=0)["answer"] == "7 8"
    with pytest.raises(RunError, match="no iteration 9"):
        loop.ask(tmp_path / "run", "78+45", iteration=9)


def falling(path, policy, after=4):
    """A run whose second training set, of 8 examples, makes the model useless."""
    events = []
    sizes = iter([20, 8, 20, 20])

    def reply(asked):
        spoiled = len(asked.trained_on) == 8 and not parts(asked.prompt)[2]
        return "0" if spoiled else learner(asked)

    class Shrinking(ScriptedEngine):
        def train(self, examples, *args, **more):
            return super().train(examples[: next(sizes)], *args, **more)

    settings = recipe(f"star.on_regression={policy}", f"star.iterations={after}")
    loop.run(settings, path, events.append, engine=Shrinking(reply))
    return events, lines(path / "metrics.jsonl")


def test_a_regression_is_said_and_by_default_the_loop_goes_on(tmp_path):
    events, metrics = falling(tmp_path / "run", "warn", 3)
    assert [line["teacher"] for line in metrics[1:]] == [0, 1, 2]
    assert metrics[2]["best"] == 1 and metrics[2]["compared"]["best"]["verdict"] == "worse"
    [said] = [e.text for e in events if isinstance(e, Notice) and "worse" in e.text]
    assert said.startswith("iteration 2 is worse than iteration 1: 0 more right, 20 fewer")


def test_a_regression_may_end_the_loop(tmp_path):
    events, metrics = falling(tmp_path / "run", "stop")
    assert [line["iteration"] for line in metrics] == [0, 1, 2]
    assert events[-1].reason == "dev accuracy fell"


def test_a_regression_may_send_the_loop_back_to_the_best_adapter_also_when_resumed(tmp_path):
    _, metrics = falling(tmp_path / "run", "rollback", 3)
    assert [line["teacher"] for line in metrics[1:]] == [0, 1, 1]
    assert metrics[3]["solved"] == 20
    run(tmp_path / "run", "star.on_regression=rollback", "star.iterations=3")  # nothing is left
    assert timeless(lines(tmp_path / "run/metrics.jsonl")) == timeless(metrics)


def test_what_is_right_for_wrong_reasons_may_be_left_out(tmp_path):
    def reply(asked):
        text = learner(asked)
        return text.replace("C: 0", "C: 1", 1) if "<scratch>" in text else text

    with pytest.raises(NothingKept):
        run(tmp_path / "strict", "star.require_valid_steps=true", reply=reply)
    attempts = lines(tmp_path / "strict/iterations/001/attempts.jsonl")
    assert {a["rejected"] for a in attempts if a["correct"]} == {"wrong step"}
    run(tmp_path / "lax", reply=reply)
    first = lines(tmp_path / "lax/metrics.jsonl")[1]
    assert first["valid_steps"]["rationalized"]["valid"] == 0 and first["rejected"] == {}


def test_a_rationalization_that_cites_its_hint_may_be_left_out(tmp_path):
    def reply(asked):
        text = learner(asked)
        return text if asked.prompt.endswith("\nTarget:\n") else f"Target says so\n{text}"

    run(tmp_path / "run", "star.reject_hint_leaks=true", "star.iterations=1", reply=reply)
    first = lines(tmp_path / "run/metrics.jsonl")[1]
    assert first["rejected"] == {"hint leak": 16} and first["rationalized"] == 0
    assert first["hint_leaks"] == 0 and first["examples"] == 4


def test_several_samples_keep_every_different_right_rationale(tmp_path):
    count = {}

    def reply(asked):
        count[asked.prompt] = count.get(asked.prompt, -1) + 1
        right = learner(asked)
        return right + " " * (count[asked.prompt] % 2) if count[asked.prompt] < 3 else "0 1"

    run(
        tmp_path / "run",
        "generate.samples=4",
        "generate.temperature=0.7",
        "evaluate.temperature=0",
        "star.iterations=1",
        "star.rationalize=false",
        "star.evaluate=false",
        reply=reply,
    )
    attempts = lines(tmp_path / "run/iterations/001/attempts.jsonl")
    assert len(attempts) == 80
    assert [a["id"] for a in attempts[:4]] == [attempts[0]["id"]] * 4
    line = lines(tmp_path / "run/metrics.jsonl")[1]
    assert line["problems"] == 20 and line["solved"] == 4
    examples = lines(tmp_path / "run/iterations/001/examples.jsonl")
    assert len(examples) == len({(e["id"], e["completion"].strip()) for e in examples}) == 4
