"""Other people's training rows: their formats, their prompts, and what is wrong with them."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from star_mlx.engine.scripted import ScriptedEngine
from star_mlx.errors import ModelError, TaskError
from star_mlx.steps import foreign_rows
from star_mlx.steps.foreign_rows import alpaca, examples, read, user_turn
from star_mlx.store.files import json_line

ENGINE = ScriptedEngine(lambda asked: "")


def chat(turns, reply):
    return ENGINE.chat(turns, reply=reply)


USER, ANSWER = {"role": "user", "content": "2+2?"}, {"role": "assistant", "content": "4"}
PROMPT = {"prompt": "2+2=", "completion": " 4"}
OWN = {**PROMPT, "id": "p", "token_ids": [32, 52], "source": "direct", "iteration": 3}


def written(path, *lines):
    data = b"".join(line if isinstance(line, bytes) else json_line(line) for line in lines)
    path.write_bytes(data)
    return path


@pytest.fixture
def made(tmp_path):
    """The examples of rows, as they are trained on."""

    def make(*rows, **how):
        return examples(read(written(tmp_path / "r.jsonl", *rows), **how), ENGINE, 1, chat)

    return make


# --------------------------------------------------------------------------- formats


def test_query_and_response_stand_in_the_alpaca_prompt(made):
    [example] = made({"query": "2+2?", "response": "4", "type": "GSM_Rephrased"})
    assert example.prompt == (
        "Below is an instruction that describes a task. Write a response that appropriately "
        "completes the request.\n\n### Instruction:\n2+2?\n\n### Response:"
    )
    assert (example.completion, example.token_ids) == ("4", (52,))
    assert (example.source, example.iteration) == ("given", 1)


@pytest.mark.parametrize("blank", [{}, {"input": ""}, {"input": None}])
def test_an_instruction_without_input(made, blank):
    [example] = made({"instruction": "Add.", "output": "4", **blank})
    assert example.prompt == alpaca("Add.", "") and "Input" not in example.prompt


def test_an_instruction_with_input(made):
    [example] = made({"instruction": "Add.", "input": "2 2", "output": "4"})
    assert example.prompt == (
        "Below is an instruction that describes a task, paired with an input that provides further "
        "context. Write a response that appropriately completes the request.\n\n"
        "### Instruction:\nAdd.\n\n### Input:\n2 2\n\n### Response:"
    )


def test_prompt_and_completion_are_as_they_stand(made):
    [example] = made({"prompt": " 2+2=\n", "completion": " 4 \n"})
    assert (example.prompt, example.completion) == (" 2+2=\n", " 4 \n")


def test_messages_go_through_the_chat_template_and_the_last_turn_is_learned(made):
    system, more = {"role": "system", "content": "Be brief."}, {"role": "user", "content": "sure?"}
    yes = {"role": "assistant", "content": "Yes."}
    [example] = made({"messages": [system, USER, ANSWER, more, yes]})
    assert example.prompt == (
        "<system>Be brief.</system><user>2+2?</user><assistant>4</assistant><user>sure?</user>"
        "<assistant>"
    )
    assert example.completion == "Yes."


def test_instructions_are_turns_where_the_recipe_asks_for_the_chat_template(made):
    ask = user_turn("Be brief.")
    first, second = made(
        {"query": "2+2?", "response": "4"},
        {"instruction": "Add.", "input": "2 2", "output": "4"},
        ask=ask,
    )
    assert first.prompt == "<system>Be brief.</system><user>2+2?</user><assistant>"
    assert second.prompt == "<system>Be brief.</system><user>Add.\n\n2 2</user><assistant>"
    assert user_turn(None)("a", "") == (("user", "a"),)


def test_own_rows_keep_their_tokens_also_where_the_text_has_others(made):
    [example] = made({**OWN, "token_ids": [1, 2, 3]})
    assert (example.token_ids, example.source, example.iteration) == ((1, 2, 3), "direct", 3)


def test_a_file_may_mix_formats_and_they_are_counted(tmp_path):
    rows = [OWN, PROMPT, {"query": "a", "response": "b"}, {"messages": [USER, ANSWER]}, PROMPT]
    found = read(written(tmp_path / "r.jsonl", *rows))
    assert found.formats == {
        "examples": 1, "prompt/completion": 2, "query/response": 1, "messages": 1,
    }  # fmt: skip
    assert found.iteration == 3


def test_csv_and_json_and_columns_that_are_empty(tmp_path):
    csv = tmp_path / "r.csv"
    csv.write_text("instruction,input,output\nAdd 2 and 2.,,4\n")
    [example] = examples(read(csv), ENGINE, 1, chat)
    assert example.prompt == alpaca("Add 2 and 2.", "")
    both = tmp_path / "r.json"
    both.write_text(json.dumps([{**PROMPT, "query": None, "messages": None, "token_ids": None}]))
    assert read(both).formats == {"prompt/completion": 1}


@settings(deadline=None)
@given(st.text(min_size=1).filter(lambda t: t.strip() and "\0" not in t))
def test_any_text_comes_through_unchanged(tmp_path_factory, text):
    path = tmp_path_factory.getbasetemp() / "any.jsonl"
    try:
        text.encode()
    except UnicodeEncodeError:
        return
    [example] = examples(read(written(path, {"prompt": text, "completion": text})), ENGINE, 1, chat)
    assert (example.prompt, example.completion) == (text, text)
    assert bytes(example.token_ids).decode() == text


# --------------------------------------------------------------------------- bad rows

BAD = [
    (b"{\n", "the row is not JSON"),
    (b"[1]\n", "the row is not an object with fields but list"),
    ({}, "it has nothing, but not the fields of messages"),
    ({"text": "a"}, "it has text, but not the fields of messages, query/response"),
    ({"query": "a"}, "its response is missing"),
    ({"output": "a", "input": "b"}, "its instruction is missing"),
    ({"query": "a", "response": None}, "its response is missing"),
    ({"query": "a", "response": " \n"}, "its response is blank"),
    ({"query": " ", "response": "a"}, "its query is blank"),
    ({"prompt": 4, "completion": "a"}, "its prompt should be text, not int"),
    ({"prompt": "a", "completion": "\0"}, "its completion has an invalid character"),
    (b'{"prompt": "a", "completion": "\\ud800"}\n', "its completion has an invalid character"),
    ({"instruction": "a", "input": ["b"], "output": "c"}, "its input should be text, not list"),
    ({**PROMPT, "query": "a", "response": "b"}, "as query/response and as prompt/completion"),
    ({"messages": "hello"}, "its messages should be a list of objects"),
    ({"messages": []}, "its messages have no assistant turn"),
    ({"messages": [USER]}, "its messages have no assistant turn"),
    ({"messages": [USER, ANSWER, USER]}, "its messages end in a turn of 'user'"),
    ({"messages": [ANSWER]}, "its messages have nothing before the assistant's turn"),
    ({"messages": [USER, {"role": "assistant"}]}, "its content is missing"),
    ({"messages": [{"content": "a"}, ANSWER]}, "its role is missing"),
    ({"messages": [USER, {"role": "assistant", "content": [1]}]}, "its content should be text"),
    ({**OWN, "token_ids": []}, "its token_ids should be a list of token numbers"),
    ({**OWN, "token_ids": [1, True]}, "its token_ids should be a list of token numbers"),
    ({**OWN, "source": "me"}, "its source should be one of direct, rationalized, given"),
    ({**OWN, "iteration": 0}, "its iteration should be a number from 1 on"),
    ({**OWN, "prompt": 1}, "its prompt and its completion should be text"),
]


@pytest.mark.parametrize(("row", "message"), BAD)
def test_a_bad_row_is_named_by_file_and_line_or_left_out(tmp_path, row, message):
    path = written(tmp_path / "r.jsonl", PROMPT, row, PROMPT)
    with pytest.raises(TaskError) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}, line 2: ") and message in str(caught.value)
    assert str(caught.value).endswith("leave such rows out with --on-bad-row skip")
    found = read(path, on_bad_row="skip")
    assert len(found) == 2
    [skipped] = found.chosen.skipped
    assert skipped.startswith(f"{path}, line 2: ") and message in skipped


def test_a_file_of_bad_rows_alone_is_an_error_all_the_same(tmp_path):
    path = written(tmp_path / "r.jsonl", {"query": "a"}, {})
    with pytest.raises(TaskError, match=r"none of the 2 rows can be used; the first: .*line 1"):
        read(path, on_bad_row="skip")


def test_a_model_without_a_chat_template_is_named_with_the_row(tmp_path):
    def refuse(turns, reply):
        raise ModelError("the model has no chat template")

    found = read(written(tmp_path / "r.jsonl", PROMPT, {"messages": [USER, ANSWER]}))
    with pytest.raises(ModelError, match=r"r\.jsonl, line 2: the model has no chat template"):
        tuple(examples(found, ENGINE, 1, refuse))


def test_tokens_of_another_model_are_refused(tmp_path):
    rows = [{**OWN, "token_ids": [7, i]} for i in range(8)]
    found = read(written(tmp_path / "r.jsonl", *rows))
    with pytest.raises(ModelError, match="token_ids are not those of this base's tokenizer"):
        examples(found, ENGINE, 1, chat)
    found = read(written(tmp_path / "r.jsonl", *rows, OWN))
    assert len(examples(found, ENGINE, 1, chat)) == 9


def test_the_formats_are_those_that_the_page_names():
    from pathlib import Path

    page = (Path(__file__).parent.parent / "docs/by-hand.md").read_text(encoding="utf-8")
    for fields in foreign_rows._PARSERS:
        assert all(f"`{field}`" in page for field in fields.split("/"))


# --------------------------------------------------------------------------- trained on


@pytest.fixture
def train(tmp_path, monkeypatch, capsys):
    """Runs ``star-mlx train`` on rows with the embedded model."""
    from star_mlx.cli import main

    monkeypatch.chdir(tmp_path)

    def run(rows, *arguments, code=0):
        written(tmp_path / "rows.jsonl", *rows)
        with pytest.raises(SystemExit) as ended:
            main(["train", "rows.jsonl", *map(str, arguments)])
        out, err = capsys.readouterr()
        assert ended.value.code == code, err
        return out, " ".join(err.split())

    return run


@pytest.mark.slow
def test_rows_of_every_format_train_the_embedded_model(train, tmp_path):
    rows = [
        {"prompt": "2 + 2 = ", "completion": "4"},
        {"query": "2+2?", "response": "4"},
        {"instruction": "Add.", "input": "2 2", "output": "4"},
        {"prompt": "long " * 400, "completion": "4"},
        {"query": "?"},
    ]
    args = ["--out", "adapter", "--steps", 3, "--lr", "1e-3", "--batch-size", 2]
    out, err = train(rows, *args, "--on-bad-row", "skip", "--json")
    done = json.loads(out)
    assert (done["examples"], done["used"], done["steps"]) == (4, 3, 3)
    assert done["formats"] == {"prompt/completion": 2, "query/response": 1, "instruction/output": 1}
    assert done["too_long"] == ["rows.jsonl, line 4"] and len(done["skipped"]) == 1
    assert "1 of 4 examples were left out" in err and "1 rows left out; first: rows.jsonl, l" in err
    assert (tmp_path / "adapter/adapters.safetensors").is_file()
    assert not (tmp_path / "adapter.partial").exists()
    out, _ = train(rows[:3], "--out", "again", "--epochs", 2, "--batch-size", 2)
    assert out.startswith("iteration 1: 3 examples, 4 steps, 2.00 epochs, loss ")
    assert "next: star-mlx evaluate --adapter again --set train.batch_size=2 --task TASK" in out


def test_messages_need_a_chat_template_which_the_embedded_model_has_not(train, tmp_path):
    _, err = train([{"messages": [USER, ANSWER]}], "--out", "adapter", code=2)
    assert "rows.jsonl, line 1: the model has no chat template" in err
    assert [p.name for p in tmp_path.iterdir()] == ["rows.jsonl"]


def test_only_too_long_rows_leave_no_adapter(train, tmp_path):
    _, err = train([{"prompt": "long " * 400, "completion": "4"}], "--out", "adapter", code=2)
    assert "there is no example to train on: all 1 are longer than train.max_length" in err
    assert [p.name for p in tmp_path.iterdir()] == ["rows.jsonl"]
