"""A training of too few steps is said: before the run, and when the rows are known."""

from __future__ import annotations

import pytest

from star_mlx import tasks
from star_mlx.engine import rate
from star_mlx.engine.scripted import ScriptedEngine
from star_mlx.events import IterationFinished, Notice
from star_mlx.init_task.amounts import amounts, parameters
from star_mlx.recipe.loading import load
from star_mlx.run import few_steps, loop
from star_mlx.settings import Train
from star_mlx.star import amount
from star_mlx.types import Amount

TRAIN = Train(warmup=10, batch_size=8, learning_rate=1e-3)


def warned(long, rows, train=TRAIN):
    return few_steps.warning(train, long, rows, which="it takes")


def test_a_training_within_its_warm_up_is_said_with_the_rate_that_it_reaches():
    text = warned(Amount(epochs=1), 800, Train(batch_size=80, warmup=100))
    assert text == (
        "it takes 10 steps of 80 examples, from 800, within the warm-up (train.warmup=100): the "
        "learning rate only reaches 1e-05 of 0.0001, and little is learned. Give a smaller "
        "train.batch_size or more epochs (star.schedule.base), and train.warmup=1"
    )
    assert "Give train.warmup=1, or more steps (star.schedule)" in warned(Amount(10), 5)
    assert "reaches 0.001 in the last one only" in warned(Amount(10), 5)
    assert "it takes 1 step, within" in warned(Amount(1), 5)


@pytest.mark.parametrize(
    ("long", "rows", "said"),
    [
        (Amount(11), 8, False),  # given steps are only compared with the warm-up
        (Amount(10), 8, True),
        (Amount(epochs=1), 152, True),  # 19 steps
        (Amount(epochs=1), 153, False),
    ],
)
def test_where_the_bounds_are(long, rows, said):
    assert (warned(long, rows) is not None) is said


def test_no_warm_up_is_none():
    none = TRAIN.model_copy(update={"warmup": 0})
    assert warned(Amount(1), 8, none) is None and warned(Amount(epochs=1), 8, none) is not None


@pytest.mark.parametrize("decay", ["none", "linear", "cosine"])
@pytest.mark.parametrize("steps", [1, 9, 10, 11, 40])
def test_the_peak_is_the_highest_rate_of_all_steps(steps, decay):
    train = TRAIN.model_copy(update={"decay": decay})
    rates = [rate.learning_rate(train, step, steps) for step in range(steps)]
    assert rate.peak(train, steps) == max(rates)


def started(*overrides, problems=1000):
    recipe = load(task="arithmetic", overrides=overrides)
    return few_steps.at_start(recipe, problems, range(1, recipe.star.iterations + 1))


def test_before_a_run_only_what_is_certain_is_said():
    assert started() is None  # the demo: 10 steps, and a warm-up of 5
    assert started("train.warmup=14").startswith("iteration 1 takes 10 steps, within the warm-up")
    assert started("train.warmup=15").endswith(". The same goes for 1 later iteration")
    epochs = ("star.schedule.kind=epochs", "train.batch_size=100")
    assert started(*epochs).startswith("even if every problem is kept, iteration 1 takes 10 steps")
    assert started(*epochs, "star.carry_over=1").count("same goes") == 0
    assert started(*epochs, "train.batch_size=20") is None


def test_a_run_warns_at_its_start_and_in_the_iteration(tmp_path):
    overrides = (
        "task.options.digits=[1,2]", "task.options.train=40", "task.options.held_out=5",
        "star.iterations=1", "star.problems=24", "star.schedule.kind=epochs",
        "train.batch_size=1", "generate.temperature=0", "generate.max_tokens=100",
    )  # fmt: skip
    recipe = load(task="arithmetic", overrides=overrides)
    task = tasks.make("arithmetic", recipe.task.options)
    gold = {task.ask(p.question): p.answer for p in task.problems("train")}
    right = iter(range(10_000))

    def reply(asked):
        found = gold.get(asked.prompt)
        return found if found and next(right) < 12 else "no"

    engine = ScriptedEngine(reply)
    events = []
    loop.run(recipe, tmp_path / "run", events.append, engine=engine)
    [notice] = [e.text for e in events if isinstance(e, Notice) and "steps" in e.text]
    kept = next(e.metrics.examples for e in events if isinstance(e, IterationFinished)
                and e.metrics.iteration == 1)  # fmt: skip
    assert 5 < kept < 20
    assert notice.startswith(f"iteration 1 takes {kept} steps of 1 examples, from {kept}: little")


def test_a_number_of_steps_that_was_given_is_warned_of_once(tmp_path):
    overrides = (
        "task.options.digits=[1,2]", "task.options.train=40", "task.options.held_out=5",
        "star.iterations=2", "star.problems=5", "star.schedule.start=4", "star.evaluate=false",
    )  # fmt: skip
    recipe = load(task="arithmetic", overrides=overrides)
    task = tasks.make("arithmetic", recipe.task.options)
    gold = {task.ask(p.question): p.answer for p in task.problems("train")}
    engine = ScriptedEngine(lambda asked: gold.get(asked.prompt, "no"))
    events = []
    loop.run(recipe, tmp_path / "run", events.append, engine=engine)
    said = [e.text for e in events if isinstance(e, Notice) and "warm-up" in e.text]
    assert len(said) == 1 and said[0].startswith("iteration 1 takes 4 steps")


# --------------------------------------------------------------------------- a new recipe's values


@pytest.mark.parametrize("size", [None, 840_000, 500_000_000, 8_000_000_000])
@pytest.mark.parametrize("problems", [24, 40, 80, 200, 800, 1000, 10_000])
def test_new_values_never_end_in_a_warning_if_half_of_the_problems_are_kept(problems, size):
    made = amounts(problems, size)
    train = Train(batch_size=made.batch_size, warmup=made.warmup, learning_rate=made.learning_rate)
    long = amount(
        load(task="gsm8k", overrides=[f"star.schedule.base={made.epochs:g}"]).star.schedule, 1
    )
    assert long.steps_for(problems // 2, made.batch_size) == made.steps >= few_steps.FEW_STEPS
    assert few_steps.warning(train, long, problems // 2, which="it") is None
    assert made.warmup <= made.steps / 10 and made.epochs <= 10


def test_small_models_learn_faster():
    rates = [amounts(800, size).learning_rate for size in (840_000, 500_000_000, 7_000_000_000)]
    assert rates == [5e-4, 2e-4, 1e-4] and amounts(800, None).learning_rate == 2e-4


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("tiny", 839_680),
        ("mlx-community/Qwen2.5-0.5B-4bit", 500_000_000),
        ("HuggingFaceTB/SmolLM2-135M-Instruct", 135_000_000),
        ("mlx-community/Mixtral-8x7B-4bit", 56_000_000_000),
        ("org/Model-4bit", None),
        ("not/a-folder/nor-3b", 3_000_000_000),
    ],
)
def test_the_size_of_a_model_from_its_files_or_its_name(name, size):
    assert parameters(name) == size
