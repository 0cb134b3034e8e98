"""Algorithm 1, line by line, and every option of it, on a scripted model."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from star_mlx.run.guard import plateaued, teacher
from star_mlx.settings import Schedule, Star
from star_mlx.star import amount, kept, star
from star_mlx.types import (
    Amount,
    Attempt,
    Done,
    Evaluation,
    Example,
    Problem,
    Question,
    Trained,
)

D = [Problem(str(i), Question(f"q{i}"), f"a{i}") for i in range(10)]


@dataclass
class Scripted:
    """Solves the problems whose number is below ``10 * iteration - 7``; with a hint, even ones."""

    calls: list[tuple] = field(default_factory=list)
    accuracies: list[float] = field(default_factory=list)
    cut: set[str] = field(default_factory=set)

    def attempt(self, problems, adapter, *, iteration, hinted, few_shot):
        self.calls.append(("hint" if hinted else "ask", iteration, adapter, few_shot))
        made = []
        for p in problems:
            right = int(p.id) % 2 == 0 if hinted else int(p.id) < 10 * iteration - 7
            text = f"{p.answer}{' hinted' if hinted else ''}" if right else "wrong"
            finish = "length" if p.id in self.cut else "stop"
            made.append(Attempt(p.id, hinted, text, text[:2], right, finish, tuple(text.encode())))
        return made

    def example(self, problem, attempt, *, iteration, show_hint):
        return Example(
            problem.id,
            problem.question.text + (" hint" if show_hint else ""),
            attempt.completion,
            "rationalized" if attempt.hinted else "direct",
            attempt.token_ids,
            iteration,
            show_hint,
        )

    def train(self, examples: Sequence[Example], amount: Amount, *, iteration: int) -> Trained:
        self.calls.append(("train", iteration, [e.id for e in examples], amount))
        return Trained(Path(f"M{iteration}"), amount.steps or 1, 1.0, 1, 1.0, 0.5, 0.1)

    def evaluate(self, adapter, *, iteration, few_shot):
        self.calls.append(("evaluate", iteration, adapter, few_shot))
        if not self.accuracies:
            return None
        return Evaluation("dev", 100, round(100 * self.accuracies[iteration - 1]), {})


def run(model=None, *, completed=(), seed=0, patience=None, policy="warn", **options):
    model = model or Scripted()
    options = Star(**{"iterations": 2, **options})
    made = star(
        model,
        lambda _: D,
        options,
        seed=seed,
        completed=completed,
        teacher=teacher(policy, patience),
    )
    return list(made), model


def calls(model, kind):
    return [c for c in model.calls if c[0] == kind]


def test_line_1_the_first_model_is_the_base_without_an_adapter():
    _, model = run()
    assert calls(model, "ask")[0][2] is None


def test_line_2_runs_iterations_1_to_n_in_order():
    iterations, _ = run(iterations=3)
    assert [i.number for i in iterations] == [1, 2, 3]


def test_line_3_every_problem_is_attempted_by_the_model_of_the_iteration_before():
    iterations, model = run(iterations=3)
    assert [c[2] for c in calls(model, "ask")] == [None, Path("M1"), Path("M2")]
    for iteration in iterations:
        assert sorted(a.id for a in iteration.direct) == sorted(p.id for p in D)


def test_problems_that_augment_adds_are_attempted_rationalized_and_trained_on():
    new = [Problem(name, Question(f"q{name}"), f"a{name}") for name in ("21", "22")]
    asked = []

    def augment(x, M_prev, n):
        asked.append(([p.id for p in x], M_prev.adapter, n))
        return [*x, *new]

    first, second = star(Scripted(), D, Star(iterations=2, problems=4), seed=0, augment=augment)
    assert [(len(ids), adapter, n) for ids, adapter, n in asked] == [
        (4, None, 1),
        (4, Path("M1"), 2),
    ]
    for iteration, (ids, _, _) in zip((first, second), asked, strict=True):
        assert [p.id for p in iteration.problems] == [*ids, "21", "22"]
        assert {"21", "22"} <= {a.id for a in iteration.hinted}
        assert "22" in {e.id for e in iteration.examples}


def test_line_4_only_failures_are_rationalized_by_the_same_model():
    iterations, model = run()
    assert {a.id for a in iterations[0].hinted} == set("3456789")
    assert iterations[1].hinted == ()
    assert [c[2] for c in calls(model, "hint")] == [None, Path("M1")]


def test_line_5_and_6_keep_what_ends_in_the_right_answer_and_nothing_else():
    first = run()[0][0]
    kept = {(e.id, e.source) for e in first.examples}
    assert kept == {(i, "direct") for i in "012"} | {(i, "rationalized") for i in "468"}


def test_an_attempt_cut_off_by_the_limit_is_not_kept():
    first = run(Scripted(cut={"0", "4"}))[0][0]
    assert {e.id for e in first.examples} == set("1268")


def test_rationalized_examples_do_not_show_the_hint():
    first = run()[0][0]
    assert {e.prompt for e in first.examples} == {f"q{i}" for i in "012468"}


def test_line_7_trains_on_the_union_for_the_scheduled_steps():
    _, model = run(iterations=3)
    trainings = calls(model, "train")
    assert sorted(trainings[0][2]) == list("012468")
    assert [t[3].steps for t in trainings] == [40, 48, 58]


def test_train_has_no_parameter_for_a_starting_adapter():
    import inspect

    from star_mlx import types

    for protocol in (types.Model, types.Engine):
        named = set(inspect.signature(protocol.train).parameters)
        assert not {n for n in named if "adapter" in n or "start" in n or "resume" in n}


def test_each_iteration_is_evaluated_with_its_own_model():
    _, model = run()
    assert [(c[1], c[2]) for c in calls(model, "evaluate")] == [(1, Path("M1")), (2, Path("M2"))]


@pytest.mark.parametrize(
    ("schedule", "amounts"),
    [
        (Schedule(kind="exponential"), [Amount(40), Amount(48), Amount(58)]),
        (Schedule(kind="linear"), [Amount(40), Amount(60), Amount(80)]),
        (Schedule(kind="epochs"), [Amount(epochs=1.0), Amount(epochs=1.2), Amount(epochs=1.4)]),
    ],
)
def test_schedules_have_the_reference_defaults(schedule, amounts):
    assert [amount(schedule, n) for n in (1, 2, 3)] == amounts


def test_an_epoch_has_every_batch_also_the_partial_one():
    assert Amount(epochs=1.0).steps_for(17, 8) == 3
    assert Amount(epochs=1.2).steps_for(40, 8) == 6
    assert Amount(epochs=1.1).steps_for(80, 8) == 11
    assert Amount(steps=5).steps_for(1, 8) == 5


def test_without_rationalization_no_hint_is_given():
    iterations, _ = run(rationalize=False)
    assert all(i.hinted == () for i in iterations)
    assert all(e.source == "direct" for i in iterations for e in i.examples)


def test_p_rationalization_is_the_share_of_failures_rationalized():
    big = [Problem(str(i), Question(f"q{i}"), f"a{i}") for i in range(1000)]
    options = Star(iterations=1, p_rationalization=0.3)
    [iteration] = star(Scripted(), lambda _: big, options, seed=0)
    assert 250 < len(iteration.hinted) < 350
    assert run(p_rationalization=0.0)[0][0].hinted == ()


def test_p_show_hint_save_is_the_share_of_rationalizations_saved_with_their_hint():
    shown = run(p_show_hint_save=1.0)[0][0]
    assert {e.id for e in shown.examples if e.hint_shown} == set("468")
    assert all(e.prompt.endswith("hint") == e.hint_shown for e in shown.examples)


def test_rationalizations_are_at_most_as_many_as_asked_for_beside_direct_ones():
    iteration = run(most_rationalized=0.4)[0][0]  # of 3, 5 and 7 kept with the hint 3
    sources = Counter(e.source for e in iteration.examples)
    assert sources == {"direct": 3, "rationalized": 1} and len(iteration.hinted) == 7
    assert run(most_rationalized=0.4)[0][0].examples == iteration.examples, "by the seed"
    drawn = {
        next(e.id for e in run(most_rationalized=0.4, seed=seed)[0][0].examples if e.id > "2")
        for seed in range(20)
    }
    assert drawn == set("468")
    assert run(most_rationalized=5.0)[0][0].examples == run()[0][0].examples
    assert {e.source for e in run(most_rationalized=0.0)[0][0].examples} == {"direct"}


def test_failures_are_rationalized_until_an_iteration():
    iterations, _ = run(iterations=3, rationalize_until=1)
    assert [len(i.hinted) for i in iterations] == [7, 0, 0]


def test_a_problem_has_at_most_so_many_different_rationales():
    made = [
        Attempt(id, False, text, "1", right, "stop", ())
        for id, texts in (("0", "abac"), ("1", "wa"))
        for text, right in ((text, text != "w") for text in texts)
    ]

    def texts(**options):
        found = kept(Scripted().example, D, made, Star(**options), 0, 1)
        return [(e.id, e.completion) for e in found]

    assert texts() == [("0", "a"), ("0", "b"), ("0", "c"), ("1", "a")]
    assert texts(most_per_problem=2) == [("0", "a"), ("0", "b"), ("1", "a")]
    assert texts(most_per_problem=1) == [("0", "a"), ("1", "a")]


def test_few_shot_prompt_is_dropped_from_the_given_iteration_on():
    _, model = run(iterations=3, drop_few_shot_from=2)
    assert [c[3] for c in calls(model, "ask")] == [True, False, False]


def test_carry_over_puts_the_examples_of_the_last_iterations_first_and_none_twice():
    iterations, _ = run(iterations=3, carry_over=1)
    second = [(e.id, e.iteration) for e in iterations[1].examples]
    assert len(second) == len(set(second)) and {i for _, i in second} == {1, 2}
    assert {e.iteration for e in iterations[2].examples} <= {2, 3}
    # Problems 0 to 2 had the same completion again: they stand once, as the newer.
    assert sorted(i for i, n in second if n == 1) == list("468")


def test_problems_are_sampled_without_replacement_and_differently_each_iteration():
    iterations, _ = run(problems=4)
    ids = [[p.id for p in i.problems] for i in iterations]
    assert [len(set(i)) for i in ids] == [4, 4] and ids[0] != ids[1]
    assert len(run(problems=99)[0][0].problems) == len(D)


def test_the_sample_of_an_iteration_depends_on_seed_and_number_alone():
    whole, _ = run(iterations=3, problems=4)
    done = [Done(1, Path("M1"))]
    resumed, model = run(iterations=3, problems=4, completed=done)
    assert resumed == whole[1:]
    assert calls(model, "ask")[0][2] == Path("M1")
    assert run(iterations=3, problems=4, seed=1)[0] != whole


def test_resuming_hands_over_examples_to_carry_and_accuracies():
    model = Scripted(accuracies=[0.5, 0.5, 0.5])
    whole, _ = run(model, iterations=3, carry_over=2)
    first = whole[0]
    done = [Done(1, Path("M1"), first.examples, first.evaluation)]
    assert (
        run(Scripted(accuracies=[0.5] * 3), iterations=3, carry_over=2, completed=done)[0]
        == (whole[1:])
    )


def test_resuming_after_several_iterations_goes_on_after_the_last_of_them():
    options = {"iterations": 5, "carry_over": 2, "problems": 6}
    whole, _ = run(Scripted(accuracies=[0.1, 0.2, 0.3, 0.4, 0.5]), **options)
    own = [tuple(e for e in i.examples if e.iteration == i.number) for i in whole]
    done = [
        Done(i.number, i.trained.adapter, examples, i.evaluation)
        for i, examples in zip(whole[:3], own[:3], strict=True)
    ]
    model = Scripted(accuracies=[0.1, 0.2, 0.3, 0.4, 0.5])
    assert run(model, completed=done, **options)[0] == whole[3:]
    assert [call[1:3] for call in calls(model, "ask")] == [(4, Path("M3")), (5, Path("M4"))]
    assert {e.iteration for e in whole[3].examples} == {2, 3, 4}


def test_start_iteration_starts_the_schedule_there():
    iterations, model = run(iterations=4, start_iteration=3)
    assert [i.number for i in iterations] == [3, 4]
    assert [t[3].steps for t in calls(model, "train")] == [58, 69]
    assert calls(model, "ask")[0][2] is None


def test_the_loop_stops_when_dev_accuracy_has_not_risen_for_patience_iterations():
    accuracies = [0.2, 0.4, 0.4, 0.3, 0.9]
    assert len(run(Scripted(accuracies=accuracies), iterations=5, patience=2)[0]) == 4
    assert len(run(Scripted(accuracies=accuracies), iterations=5, patience=3)[0]) == 5
    assert len(run(Scripted(accuracies=accuracies), iterations=5)[0]) == 5


def test_a_plateau_needs_more_evaluations_than_patience():
    def history(*evaluations):
        return [Done(n, Path("M"), (), e) for n, e in enumerate(evaluations)]

    flat = Evaluation("dev", 10, 5, {})
    assert not plateaued(history(flat, flat), 1) and plateaued(history(flat, flat, flat), 1)
    assert not plateaued(history(None, None, None, None), 1)


def test_the_problems_may_grow_with_the_evaluations():
    seen = []

    def grow(evaluations):
        seen.append(len(evaluations))
        return D[: 5 + len(evaluations)]

    iterations = list(star(Scripted(), grow, Star(iterations=3), seed=0))
    assert seen == [0, 1, 2] and [len(i.problems) for i in iterations] == [5, 6, 7]


def test_nothing_global_is_random():
    random.seed(0)
    a = run(problems=5)[0]
    random.seed(1)
    assert run(problems=5)[0] == a
