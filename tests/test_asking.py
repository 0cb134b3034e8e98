"""How a model is asked: the same by the loop, ``try``, ``evaluate``, the card and the exports."""

from __future__ import annotations

import dataclasses
import json

import pytest

from star_mlx import engine as engines
from star_mlx import tasks
from star_mlx.engine import resolve
from star_mlx.engine.scripted import ScriptedEngine
from star_mlx.errors import ModelError
from star_mlx.export import export, facts
from star_mlx.prompts import Prompts
from star_mlx.recipe import asking, opening
from star_mlx.recipe.loading import load
from star_mlx.run import evaluate, loop
from star_mlx.settings import Star
from star_mlx.share import asked
from star_mlx.star import in_front
from star_mlx.tasks.arithmetic import Arithmetic
from star_mlx.types import Decoding, Problem, Question
from tests.export_runs import write_adapter

DATA = [
    {"question": f"What is {i} + {i}?", "answer": f"It is {2 * i}.\n#### {2 * i}"}
    for i in range(30)
]
SMALL = ["task.options.dev=6", "star.iterations=1", "star.problems=4", "generate.samples=2",
         "train.max_length=5000"]  # fmt: skip
SUM = Problem("p", Question("3 + 4"), "7")


class Recording(ScriptedEngine):
    """Answers right under the name of the embedded base, and keeps how it was asked."""

    def __init__(self):
        super().__init__(self.answer)
        self.asked: list[tuple[str, Decoding]] = []

    @staticmethod
    def answer(question):
        number = int(question.prompt.rsplit("What is ", 1)[1].split()[0])
        return f" It is {2 * number}.\n#### {2 * number}"

    def describe(self):
        base = resolve.find("tiny")
        return {"name": "tiny", "hash": resolve.content_hash(base.folder), "revision": None}

    def generate(self, prompts, decoding, *, prefix, adapter, **more):
        self.asked += [(prefix + prompt, decoding) for prompt in prompts]
        return super().generate(prompts, decoding, prefix=prefix, adapter=None, **more)

    def train(self, *args, out, **more):
        """Leaves an adapter that fits the embedded base, so that it can be exported."""
        trained = super().train(*args, out=out, **more)
        write_adapter(out / "real", resolve.find("tiny").folder)
        for file in (out / "real").iterdir():
            file.rename(out / file.name)
        (out / "real").rmdir()
        return trained


@pytest.fixture
def sampled(tmp_path):
    """A run of the recipe that samples at 0.7 and measures greedily, and how it was asked."""
    for name in ("train.jsonl", "test.jsonl"):
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in DATA))
    recipe = load("gsm8k-rejection-sampling", data=str(tmp_path), model="tiny", overrides=SMALL)
    engine = Recording()
    loop.run(recipe, tmp_path / "run", lambda event: None, engine=engine)
    return tmp_path / "run", engine.asked


@pytest.mark.slow
def test_the_loop_samples_where_it_generates_and_measures_at_evaluate_temperature(sampled):
    _, made = sampled
    phases = [(decoding.temperature, decoding.top_p) for _, decoding in made]
    # dev with and without examples, two samples at each of four problems, dev again
    assert phases == [(0.0, 1.0)] * 12 + [(0.7, 1.0)] * 8 + [(0.0, 1.0)] * 6


@pytest.mark.slow
def test_try_evaluate_the_card_and_prompt_json_ask_as_the_run_measured(
    sampled, tmp_path, monkeypatch
):
    run, made = sampled
    measured, how = made[-1]
    question = measured.rsplit("Q: ", 1)[1].removesuffix("\nA:")
    engine = Recording()
    monkeypatch.setattr(engines, "open_base", lambda recipe: engine)
    loop.ask(run, question)
    assert engine.asked.pop() == (measured, how)
    evaluate.evaluate_run(run, "1", how=evaluate.How("test", limit=1), engine=engine)
    assert engine.asked.pop()[1] == how
    told = facts.gather(run, "1").asking
    assert (told.temperature, told.top_p) == (how.temperature, how.top_p) == (0.0, 1.0)
    assert (told.max_tokens, told.stop) == (how.max_tokens, how.stop)
    assert told.few_shot + told.asked.replace(told.posed.text, question) == measured
    export(run, "1", "mlx", tmp_path / "out")
    file = json.loads((tmp_path / "out/prompt.json").read_text(encoding="utf-8"))
    assert file["decoding"] == {
        "max_tokens": how.max_tokens, "temperature": 0.0, "top_p": 1.0,
    }  # fmt: skip
    assert file["stop"] == list(how.stop)
    assert file["few_shot"] + file["template"].replace("{question}", question) == measured
    asked.ask(tmp_path / "out", question)  # as a folder that was pulled
    assert engine.asked == [(measured, how)]


def test_attempts_with_a_hint_are_generated_as_the_loop_rationalizes(sampled):
    run, _ = sampled
    engine, problem = Recording(), Problem("p", Question("What is 3 + 3?"), "6")
    [made] = loop.attempt(run, [problem], hinted=True, engine=engine)
    [(prompt, decoding)] = engine.asked
    assert prompt.endswith("Q: What is 3 + 3? (6)\nA:") and decoding.temperature == 0.7
    assert made.hinted and made.correct


# --------------------------------------------------------------------------- the few-shot prompt


def test_the_few_shot_prompt_is_in_front_up_to_the_iteration_that_drops_it():
    recipe = load("arithmetic", overrides=["star.drop_few_shot_from=2"])
    _, prompts = opening.open_task(recipe)
    shown = prompts.few_shot(hinted=False)
    assert shown.count("Input:") == len(prompts.examples) > 0
    for number, few_shot in ((0, True), (1, True), (2, False), (3, False)):
        how = asking.measuring(recipe, prompts, number)
        assert how.few_shot == few_shot
        assert how.prompt(SUM) == shown * few_shot + "Input:\n3 + 4\nTarget:\n"
        assert how.batch([SUM]) == (shown * few_shot, ["Input:\n3 + 4\nTarget:\n"])


def test_without_examples_there_is_no_few_shot_prompt():
    recipe = load("arithmetic")
    task, prompts = opening.open_task(recipe)
    bare = asking.zero_shot(recipe, prompts)
    assert not bare.few_shot and bare.prompt(SUM) == task.zero_shot(SUM.question)
    none = load("arithmetic", overrides=["prompts.k=0"])
    _, prompts = opening.open_task(none)
    assert asking.measuring(none, prompts, 1) == asking.zero_shot(none, prompts)
    assert not asking.generating(none, prompts, few_shot=True).few_shot


@pytest.mark.parametrize("chat", [False, True])
def test_without_examples_generated_hinted_and_trained_prompts_have_the_same_words(chat):
    task = tasks.make("gsm8k", {})
    prompts = Prompts(task, (), zero_shot=True, chat=(lambda t, _: repr(t)) if chat else None)
    words = " Let's think step by step."
    plain = prompts.generation(SUM, hinted=False)
    assert plain.count(words) == 1
    assert prompts.training(SUM.question, few_shot=True) == plain
    assert prompts.generation(SUM, hinted=True) == plain.replace("3 + 4", "3 + 4 (7)")
    assert prompts.training_turns(SUM.question, few_shot=False) == [
        ("user", task.zero_shot(SUM.question))
    ]
    shown = dataclasses.replace(prompts, zero_shot=False)  # by example, there are no such words
    assert words not in shown.training(SUM.question, few_shot=False)
    assert words not in shown.generation(SUM, hinted=True)


def test_words_that_are_not_added_to_the_question_are_left_out_of_the_hinted_prompt():
    class Own(Arithmetic):
        def zero_shot(self, question):
            return f"What is {question.text}?"

    prompts = Prompts(Own(), (), zero_shot=True)
    assert prompts.training(SUM.question, few_shot=False) == "What is 3 + 4?"
    assert prompts.generation(SUM, hinted=True) == Own().ask_hinted(SUM.question, "7")


@pytest.mark.parametrize(
    ("n", "teacher", "few_shot"),
    [(1, 0, True), (2, 0, True), (5, 0, True), (2, 1, True), (3, 1, True), (3, 2, False),
     (4, 3, False), (4, 2, False)],
)  # fmt: skip
def test_a_model_generates_with_the_few_shot_prompt_of_the_iteration_after_its_own(
    n, teacher, few_shot
):
    assert in_front(Star(drop_few_shot_from=3), n, teacher) == few_shot


def test_another_temperature_changes_nothing_else():
    recipe = load(
        "arithmetic",
        overrides=["generate.max_tokens=9", "generate.stop_repeats=true", "generate.batch_size=32"],
    )
    _, prompts = opening.open_task(recipe)
    how = asking.measuring(recipe, prompts, 1)
    assert how.decoding == Decoding(9, prompts.stop, 0.0, 0.9, 32, True)
    assert how.at(0.3).decoding == Decoding(9, prompts.stop, 0.3, 0.9, 32, True)
    assert how.at(0.3).at(0.0) == how


# --------------------------------------------------------------------------- chats


TASK = Arithmetic()
SHOT = Problem("s", Question("1 + 2"), "3", rationale="<scratch>\n</scratch>")


def bracketed(turns, reply):
    return "".join(f"[{role}]{content}" for role, content in turns) + "[assistant]" * reply


def test_a_chats_turns_are_what_its_prompt_is_made_of():
    talk = Prompts(TASK, (SHOT,), chat=bracketed, system="Add.")
    before = [("user", "Input:\n1 + 2\nTarget:"), ("assistant", "<scratch>\n</scratch>\n3")]
    last = ("user", "Input:\n3 + 4\nTarget:")
    turns = talk.turns(SUM, hinted=False, few_shot=True)
    assert turns == [("system", "Add."), *before, last]
    assert talk.generation(SUM, hinted=False, few_shot=True) == bracketed(turns, True)
    assert talk.turns(SUM, hinted=False) == [("system", "Add."), last]
    hinted = ("user", "Input:\n3 + 4\nTarget: 7")
    assert talk.turns(SUM, hinted=True) == [("system", "Add."), hinted]
    assert talk.training_turns(SUM.question, few_shot=True) == turns
    assert talk.training(SUM.question, few_shot=False) == bracketed([turns[0], last], True)


def test_turns_need_no_template_but_text_does():
    recipe = load("arithmetic", overrides=["prompts.chat=true", "prompts.system=Add."])
    _, plain = opening.open_task(recipe)
    whole = opening.in_template(recipe, plain, ScriptedEngine(lambda asked: ""))
    bare = opening.in_turns(recipe, plain)
    how, full = (asking.measuring(recipe, prompts, 1) for prompts in (bare, whole))
    assert how.turns(SUM) == full.turns(SUM) and how.decoding == full.decoding
    assert len(how.turns(SUM)) == 2 + 2 * len(plain.examples)
    with pytest.raises(ModelError, match="needs the model's chat template"):
        how.prompt(SUM)
    assert opening.in_turns(load("arithmetic"), plain) is plain


@pytest.mark.parametrize("examples", [(), (SHOT,)])
def test_the_digest_of_prompts_covers_the_system_message(examples):
    digests = {
        Prompts(TASK, examples, chat=bracketed, system=system).digest()
        for system in (None, "Add.", "Add")
    }
    assert len(digests) == 3


def test_the_recorded_digest_is_of_both_few_shot_prompts_and_the_template_around_a_question():
    from hashlib import sha256

    talk = Prompts(TASK, (SHOT,), chat=bracketed, system="Add.")
    shown = "[assistant]<scratch>\n</scratch>\n3"
    text = (
        f"[system]Add.[user]Input:\n1 + 2\nTarget:{shown}\0"
        f"[system]Add.[user]Input:\n1 + 2\nTarget: 3{shown}\0[system]Add.[user][assistant]"
    )
    assert talk.digest() == sha256(text.encode()).hexdigest()
    plain = Prompts(TASK, (SHOT,))
    text = "Input:\n1 + 2\nTarget:\n{0}\n\n\0Input:\n1 + 2\nTarget: 3\n{0}\n\n"
    text = text.format("<scratch>\n</scratch>\n3")
    assert plain.digest() == sha256(text.encode()).hexdigest()
