"""Chat templates: their arguments, the day they show, the prefix they share, and thinking."""

from __future__ import annotations

import dataclasses
import datetime
import json
import re
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from star_mlx import tasks
from star_mlx.answers.thinking import said, thinks
from star_mlx.cli import main
from star_mlx.engine.scripted import ScriptedEngine
from star_mlx.engine.text import Text
from star_mlx.errors import NothingKept, RecipeError, RunError
from star_mlx.events import Notice
from star_mlx.export import facts
from star_mlx.measure import grade
from star_mlx.recipe import asking, opening
from star_mlx.recipe.loading import load
from star_mlx.run import loop, passes, reopen
from star_mlx.share import card, snippets
from star_mlx.share.metadata import License
from star_mlx.store import reading
from star_mlx.tasks.arithmetic_text import scratchpad, spaced
from star_mlx.types import Problem, Question

SMALL = (
    *("task.options.digits=[1,1]", "task.options.train=30", "task.options.held_out=5"),
    *("star.iterations=1", "star.problems=8", "star.schedule.start=2", "evaluate.dev=5"),
    *("prompts.chat=true", "evaluate.zero_shot=false"),
)
DAY = datetime.date(2026, 1, 31)


class Dated(ScriptedEngine):
    """Has a template that shows the day."""

    def chat(self, turns: Any, *, reply: bool, date: str | None = None, **more: Any) -> str:
        shown = date or str(datetime.date.today())
        return f"<today is {shown}>" + super().chat(turns, reply=reply, **more)


def recipe(*overrides: str) -> Any:
    return load("arithmetic", overrides=(*SMALL, *overrides))


def reply(asked: Any) -> str:
    """Adds right."""
    [*_, (a, b)] = re.findall(r"Input:\n([\d ]+) \+ ([\d ]+)\nTarget:", asked.prompt)
    one, other = int(a.replace(" ", "")), int(b.replace(" ", ""))
    return f"{scratchpad(one, other)}\n{spaced(one + other)}"


def run(folder: Path, *overrides: str, engine: Any = None, today: datetime.date = DAY) -> list[Any]:
    events: list[Any] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "date", SimpleNamespace(today=lambda: today))
        loop.run(recipe(*overrides), folder, events.append, engine=engine or ScriptedEngine(reply))
    return events


def made(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((folder / "recipe.yaml").read_text())
    return found


# --------------------------------------------------------------------------- arguments


def test_arguments_of_the_template_are_part_of_every_prompt_and_of_the_hash(tmp_path: Path) -> None:
    run(tmp_path / "plain")
    run(tmp_path / "without", "prompts.template={enable_thinking: false}")
    plain, without = made(tmp_path / "plain"), made(tmp_path / "without")
    assert without["prompts"]["template"] == {"enable_thinking": False}
    assert plain["provenance"]["prompts_sha256"] != without["provenance"]["prompts_sha256"]
    [row, *_] = reading.read(tmp_path / "without").examples(1)
    assert row.prompt.startswith("<enable_thinking=False><user>")
    with pytest.raises(RunError, match=r"prompts\.template"):
        run(tmp_path / "plain", "prompts.template={enable_thinking: false}")


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("{enable_thinking: [false]}", "enable_thinking should be true, false, a number"),
        ("{enable-thinking: false}", "'enable-thinking' cannot be an argument"),
        ("{tokenize: true}", "'tokenize' cannot be an argument"),
        ("false", "should be a group of keys"),
    ],
)
def test_an_argument_that_cannot_be_is_refused_in_one_line(value: str, says: str) -> None:
    with pytest.raises(RecipeError, match=r"prompts\.template") as caught:
        recipe(f"prompts.template={value}")
    assert says in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("given", ["prompts.template={a: 1}", "prompts.date=2026-01-31"])
def test_without_a_chat_there_is_nothing_for_them_to_be_in(given: str) -> None:
    given = given.replace("date=2026-01-31", "date='2026-01-31'")
    with pytest.raises(RecipeError, match=r"needs prompts\.chat=true"):
        load("arithmetic", overrides=[given])


def test_a_text_and_nothing_are_arguments_too() -> None:
    given = recipe("prompts.template={level: 2, name: x, none: null}")
    _, plain = opening.open_task(given)
    shown = opening.in_template(given, plain, ScriptedEngine(reply)).few_shot(hinted=False)
    assert shown.startswith("<level=2><name=x><none=None><user>")


# --------------------------------------------------------------------------- the day


def test_a_run_resumed_on_another_day_has_the_prompts_of_its_first(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    run(folder, engine=Dated(reply))
    first = made(folder)
    assert first["prompts"]["date"] == "2026-01-31"
    run(folder, engine=Dated(reply), today=DAY + datetime.timedelta(400))
    loop.run(opening.resume_recipe(folder), folder, lambda event: None, engine=Dated(reply))
    assert made(folder) == first
    with reopen.opened(folder, lambda event: None, Dated(reply)):
        pass  # its prompts are those it was made with
    [row, *_] = reading.read(folder).examples(1)
    assert row.prompt.startswith("<today is 2026-01-31>")


def test_the_day_is_recorded_only_where_a_prompt_shows_it(tmp_path: Path) -> None:
    run(tmp_path / "run")
    assert made(tmp_path / "run")["prompts"]["date"] is None


def test_a_day_of_the_recipe_counts_and_another_is_another_recipe(tmp_path: Path) -> None:
    run(tmp_path / "run", "prompts.date=2024-07-26", engine=Dated(reply))
    assert made(tmp_path / "run")["prompts"]["date"] == "2024-07-26"
    with pytest.raises(RunError, match=r"prompts\.date '?2024-07-26'? -> '?2024-07-27"):
        run(tmp_path / "run", "prompts.date='2024-07-27'", engine=Dated(reply))
    for day in ("31 Jan", "2026-1-31", "'20260131'"):
        with pytest.raises(RecipeError, match="is no date: write year-month-day"):
            recipe(f"prompts.date={day}")
    with pytest.raises(RecipeError, match=r"prompts\.date should be text, but is 2026"):
        recipe("prompts.date=2026")


def made_before(folder: Path) -> None:
    """Make a run one of an earlier version, which recorded nothing about the day."""
    values = made(folder)
    for name in ("template", "date"):
        del values["prompts"][name]
    (folder / "recipe.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    journal = folder / "journal.jsonl"
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    for line in lines:
        line.pop("recipe_sha256", None)
        line.pop("sum", None)
    noon = datetime.datetime.combine(DAY, datetime.time(12)).astimezone()
    lines[0]["time"] = noon.astimezone(datetime.timezone.utc).isoformat(timespec="seconds")
    journal.write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_a_run_of_before_that_recorded_no_day_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    run(folder)
    made_before(folder)
    run(folder)
    assert "date" not in made(folder)["prompts"]
    assert opening.as_dated(recipe(), made(folder)).prompts.date is None


def test_a_run_of_before_whose_prompts_show_the_day_goes_on_with_its_first(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    run(folder, engine=Dated(reply))
    made_before(folder)
    later = DAY + datetime.timedelta(400)
    run(folder, engine=Dated(reply), today=later)
    assert opening.resume_recipe(folder).prompts.date == DAY.isoformat()
    with reopen.opened(folder, lambda event: None, Dated(reply)):
        pass
    with pytest.raises(RunError, match="prompts_sha256"):
        run(folder, f"prompts.date='{later}'", engine=Dated(reply))


# --------------------------------------------------------------------------- the common prefix


def closing(turns: Any, reply: bool) -> str:
    """As Qwen3's template: the last turn of an assistant gets an empty block of thinking."""
    text = ""
    for number, (role, content) in enumerate(turns, 1):
        last = role == "assistant" and number == len(turns)
        text += f"<{role}>\n{'<think></think>' * last}{content}<end>\n"
    return text + "<assistant>\n" * reply


def test_the_examples_are_shared_though_the_last_is_written_differently() -> None:
    _, plain = opening.open_task(recipe())
    prompts = dataclasses.replace(plain, chat=closing)
    problems = [Problem(str(i), Question(f"{i} + {i}"), str(2 * i)) for i in (1, 2)]
    assert "<think>" in prompts.few_shot(hinted=False)
    for hinted in (False, True):
        prefix, rest = prompts.batch(problems, hinted=hinted, few_shot=True)
        whole = [prompts.generation(p, hinted=hinted, few_shot=True) for p in problems]
        assert [prefix + text for text in rest] == whole
        assert prefix.endswith("<end>\n<user>\n") and prefix.count("<assistant>") == len(
            prompts.examples
        )
        assert prompts.batch(problems[:1], hinted=hinted, few_shot=True)[0] == prefix
    bare, rest = prompts.batch(problems, hinted=False, few_shot=False)
    assert bare == "" and len(rest) == 2


# --------------------------------------------------------------------------- thinking

THOUGHTS = [
    ("<think>Is it 9? No.</think>The answer is 18.", "", "The answer is 18."),
    ("Is it 9? No.</think>The answer is 18.", "<user>x</user><think>\n", "The answer is 18."),
    ("Is it 9? No.</think>The answer is 18.", "", "The answer is 18."),
    ("<think>a</think>b<think>c</think>d", "", "d"),
    ("<|channel>thought\nIs it 9?<channel|>18", "", "18"),
    ("[THINK]Is it 9?[/THINK]18", "", "18"),
    ("The answer is 18.", "", "The answer is 18."),
    ("The answer is 18.", "<think>\n\n</think>\n\n", "The answer is 18."),
    ("", "", ""),
    ("<think>The answer is 9.", "", None),
    ("The answer is 9.", "<|im_start|>assistant\n<think>\n", None),
    ("<think>a</think>b<think>The answer is 9", "", None),
    ("<think>The answer is 9.</think>\n\n", "", None),
]


@pytest.mark.parametrize(("completion", "prompt", "says"), THOUGHTS)
def test_what_is_said_after_thinking(completion: str, prompt: str, says: str | None) -> None:
    assert said(completion, prompt) == says
    assert thinks(completion, prompt) == (says is None and "</think>\n" not in completion)


READERS = {
    "last-number": ("#### 18", "18", "#### 9"),
    "number": ("It is 18 m.", "18 m", "It is 9 m."),
    "choice": ("So the answer is (B).", "B", "So the answer is (A)."),
    "yes-no": ("The answer is yes.", "yes", "The answer is no."),
    "set": ("The answer is: a, b", "b, a", "The answer is: c, d"),
    "list": ("The answer is: a, b", "a, b", "The answer is: b, a"),
    "marker": ("The answer is Rome.", "Rome", "The answer is Paris."),
    "exact": ("Rome", "Rome", "Paris"),
    "regex": ("So 18", "18", "So 9"),
    "math": (r"\boxed{18}", "18", r"\boxed{9}"),
}


FIELDS = (
    {"question": "question", "answer": "answer"},
    {"question": "question", "answer": "answer", "choices": "choices"},
)


@pytest.mark.parametrize("kind", READERS)
def test_no_reader_reads_what_is_thought(kind: str, tmp_path: Path) -> None:
    right, gold, wrong = READERS[kind]
    (tmp_path / "d.jsonl").write_text(json.dumps({"question": "q", "answer": gold}) + "\n")
    read: dict[str, Any] = {"kind": kind}
    if kind == "regex":
        read["pattern"] = r"(\d+)\.?$"
    options = {"path": str(tmp_path / "d.jsonl"), "read": read, "fields": FIELDS[kind == "choice"]}
    row: dict[str, Any] = {"question": "q", "gold": gold}
    task = tasks.make("jsonl", options)
    if kind == "choice":
        row["choices"] = {"A": "a", "B": "b"}
        (tmp_path / "d.jsonl").write_text(json.dumps({**row, "answer": "B"}) + "\n")
        task = tasks.make("jsonl", options)

    def verdict(completion: str) -> str:
        [graded] = grade.graded(task, [("line 1", {**row, "completion": completion})])
        return graded.verdict

    assert verdict(f"<think>\n{wrong}\n</think>\n\n{right}") == "correct"
    assert verdict(f"{wrong}\n</think>\n\n{right}") == "correct"
    assert verdict(f"<think>\n{right}\n</think>\n\n{wrong}") == "wrong"
    assert verdict(f"<think>\n{right}") == "not_found"


class Opens(ScriptedEngine):
    """Has a template that begins the thinking."""

    def chat(self, turns: Any, *, reply: bool, **more: Any) -> str:
        return super().chat(turns, reply=reply) + "<think>\n" * reply


def think(text: str) -> Any:
    def answer(asked: Any) -> str:
        prompt = asked.prompt.removesuffix("<think>\n")
        return text + reply(dataclasses.replace(asked, prompt=prompt))

    return answer


def test_thinking_that_the_prompt_begins_is_not_read(tmp_path: Path) -> None:
    run(tmp_path / "run", engine=Opens(think("Is it 9 9?\n</think>\n")))
    [first, *_] = reading.read(tmp_path / "run").examples(1)
    assert first.completion.startswith("Is it 9 9?\n</think>")
    with pytest.raises(NothingKept):  # without an end of the thinking, there is no answer
        run(tmp_path / "unclosed", engine=Opens(think("")))


@pytest.mark.parametrize(("length", "warned"), [(400, True), (40, False)])
def test_a_first_chunk_cut_off_in_thinking_is_warned_of_once(
    tmp_path: Path, length: int, warned: bool
) -> None:
    events: list[Any] = []
    engine = ScriptedEngine(think("<think>" + "hm " * length + "</think>"))
    with suppress(NothingKept):
        given = recipe("generate.max_tokens=400", "train.max_length=9000")
        loop.run(given, tmp_path / "run", events.append, engine=engine)
    texts = [e.text for e in events if isinstance(e, Notice) and e.level == "warning"]
    found = [text for text in texts if "cut off inside their thinking" in text]
    assert len(found) == warned
    if warned:
        assert "5 of the first 5 completions" in found[0]
        assert "--set prompts.template='{enable_thinking: false}'" in found[0]
        assert "generate.max_tokens=400" in found[0]


def test_thinking_is_ended_after_as_many_tokens_as_it_may_take(tmp_path: Path) -> None:
    def answer(asked: Any) -> str:
        thought = asked.prompt.rpartition("<assistant>")[2]
        asked = dataclasses.replace(asked, prompt=asked.prompt.removesuffix(thought))
        if not thought:
            return "<think>" + "hm " * 100
        assert thought == "<think>" + "hm " * 10 + "h" + "\n</think>\n\n"
        return reply(asked)

    folder = tmp_path / "run"
    more = ("generate.thinking_tokens=38", "generate.max_tokens=400", "train.max_length=9000")
    run(folder, *more, engine=ScriptedEngine(answer))
    line = reading.read(folder).metrics[0]
    assert line.dev is not None and line.dev.correct == line.dev.n == 5
    for row in reading.read(folder).examples(1):
        assert row.completion.startswith("<think>hm ") and "\n</think>\n\n" in row.completion
        assert row.token_ids == tuple(row.completion.encode())


def test_a_completion_that_does_not_think_goes_on_where_it_was(tmp_path: Path) -> None:
    def answer(asked: Any) -> str:
        begun = asked.prompt.rpartition("<assistant>")[2]
        whole = reply(dataclasses.replace(asked, prompt=asked.prompt.removesuffix(begun)))
        assert whole.startswith(begun)
        return whole.removeprefix(begun)

    rows = []
    for name, more in (("plain", ()), ("bounded", ("generate.thinking_tokens=20",))):
        run(tmp_path / name, *more, engine=ScriptedEngine(answer))
        rows.append([*reading.read(tmp_path / name).examples(1)])
    assert rows[0] == rows[1]


@pytest.mark.parametrize(("room", "finish"), [(38, "length"), (50, "length"), (51, "stop")])
def test_thinking_that_fills_the_context_is_cut_off(room: int, finish: str) -> None:
    """The second part would have no room: the model would refuse its prompts, and end the run."""
    lengths: list[int] = []

    class Short(ScriptedEngine):
        def describe(self) -> Any:
            return {**super().describe(), "context": max(lengths) + room}

        def generate(self, prompts: Any, decoding: Any, *, prefix: str, **more: Any) -> Any:
            if lengths:
                assert all(len(prefix + p) + 1 < max(lengths) + room for p in prompts)
            lengths.extend(len(prefix + p) for p in prompts)
            return super().generate(prompts, decoding, prefix=prefix, **more)

    def answer(asked: Any) -> str:
        begun = asked.prompt.rpartition("<assistant>")[2]
        return "The answer is 5." if begun else "<think>" + "hm " * 100

    engine, made = Short(answer), recipe("generate.thinking_tokens=38")
    task, plain = opening.open_task(made)
    prompts = opening.in_template(made, plain, engine)
    how = asking.generating(made, prompts, few_shot=True)
    found = passes.attempts(
        engine, None, how, task.problems("dev")[:1], seeds=[0], progress=lambda *_: None
    )
    assert [one.finish for one in found] == [finish]
    assert found[0].token_ids == tuple(found[0].completion.encode())


def test_a_short_trial_is_not_bounded_twice() -> None:
    """``--dry-run --measure`` generates a single token of a completion."""
    made = recipe("generate.thinking_tokens=38")
    engine = ScriptedEngine(lambda asked: "<think>" + "hm " * 100)
    task, plain = opening.open_task(made)
    how = asking.generating(made, opening.in_template(made, plain, engine), few_shot=True)
    one = dataclasses.replace(how, decoding=dataclasses.replace(how.decoding, max_tokens=1))
    problems = task.problems("dev")[:1]
    [found] = passes.attempts(engine, None, one, problems, seeds=[0], progress=lambda *_: None)
    assert found.completion == "<" and found.finish == "length"


def test_a_bound_leaves_room_for_an_answer() -> None:
    with pytest.raises(RecipeError, match="leaves no room for an answer in max_tokens=100"):
        recipe("generate.thinking_tokens=100", "generate.max_tokens=100")


# --------------------------------------------------------------------------- real templates


class Renderer:
    """What ``Text`` needs of a tokenizer, with transformers' own rendering of a template."""

    eos_token_ids = (0,)
    eos_token_id = 0

    def __init__(self, template: str) -> None:
        self.chat_template = template

    def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
        return list(text.encode())

    def apply_chat_template(self, messages: Any, **given: Any) -> str:
        from transformers.utils.chat_template_utils import render_jinja_template

        given.pop("tokenize")
        given = {"chat_template": self.chat_template, **given}
        shown = render_jinja_template([messages], **given)
        shown = shown[0] if isinstance(shown, tuple) else shown
        return str(shown[0])


@pytest.mark.slow
def test_a_template_that_asks_for_the_date_gets_the_given_one() -> None:
    own = (
        "{% macro day() %}{{ strftime_now('%d %b %Y') }}{% endmacro %}"
        "{{ day() }}, {{ strftime_now('%A %-d %B') if strftime_now is defined }} "
        "{{ enable_thinking is defined }}"
    )
    text = Text(Renderer(own))
    shown = "31 Jan 2026, Saturday 31 January "
    assert text.chat([("user", "q")], reply=True, date="2026-01-31") == shown + "False"
    today = datetime.datetime.now().strftime("%d %b %Y, %A %-d %B ")
    assert text.chat([("user", "q")], reply=True) == today + "False"
    given = {"enable_thinking": False}
    assert text.chat([("user", "q")], reply=True, template=given, date="2026-01-31") == (
        shown + "True"
    )


@pytest.mark.slow
def test_a_day_adds_nothing_to_a_template_that_begins_with_a_line_break() -> None:
    text = Text(Renderer("\n{{ strftime_now('%Y') }}"))
    assert text.chat([("user", "q")], reply=True, date="2026-01-31") == "\n2026"


def test_a_dry_run_of_a_run_takes_the_day_from_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ("model.path=nobody/absent", "model.revision=none")
    run(tmp_path / "run", *given, engine=Dated(reply))
    options = [word for one in (*SMALL, *given) for word in ("--set", one)]
    where = ["--recipe", "arithmetic", "--run", str(tmp_path / "run")]
    with pytest.raises(SystemExit) as ended:
        main(["loop", *where, "--dry-run", *options])
    out, err = capsys.readouterr()
    assert ended.value.code == 0, err
    assert "date: '2026-01-31'" in out


@pytest.mark.slow
def test_the_card_and_its_code_ask_with_the_arguments_on_the_day(small_run: Path) -> None:
    known = facts.gather(small_run, "2")
    turns = (("system", "Add."),)
    how = dataclasses.replace(
        known.asking, turns=turns, template={"enable_thinking": False}, date="2026-01-31"
    )
    chat = dataclasses.replace(known, asking=how)
    code = snippets.mlx(chat, "someone/sums")
    compile(code, "snippet", "exec")
    assert "**{'enable_thinking': False}, chat_template=template)" in code
    assert "{% macro strftime_now(form) %}" in code
    words = card.card(chat, "someone/sums", License("mit"), formats=("mlx",))
    assert 'with the arguments `{"enable_thinking": false}`' in words
    assert "which takes 2026-01-31 for today" in words
    plain = snippets.mlx(dataclasses.replace(known, asking=dataclasses.replace(
        how, template={}, date=None)), "someone/sums")  # fmt: skip
    assert "add_generation_prompt=True)" in plain and "macro" not in plain
