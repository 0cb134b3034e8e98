"""Stop strings, also those merged into a longer token, and the tokens before them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from star_mlx.engine import open_engine
from star_mlx.engine.text import Stops, Text
from star_mlx.errors import ModelError
from tests import tiny_random


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Text:
    engine: Any = open_engine(str(tiny_random.write(tmp_path_factory.mktemp("base"), bos=True)))
    return engine._text  # type: ignore[no-any-return]


def run(text: Text, ids: list[int], *stops: str) -> tuple[str, list[int]] | None:
    """Feed tokens one at a time, as decoding does."""
    finder = Stops(text, stops)
    for n in range(1, len(ids) + 1):
        if (at := finder.find(ids[:n])) is not None:
            return text.decode(ids[:n])[:at], text.before(ids[:n], at)
    return None


def test_a_start_token_is_put_before_prompts_only(text: Text) -> None:
    assert text.prompt("q") == [1, *text.encode("q")]
    assert text.end == 0


def test_a_stop_of_whole_tokens(text: Text) -> None:
    ids = text.encode("one\ntwo\n\nthree")
    assert run(text, ids, "\n\n") == ("one\ntwo", text.encode("one\ntwo"))


def test_a_stop_that_begins_inside_a_token(text: Text) -> None:
    ids = text.encode("xab\nQ")
    assert len(ids) == 3  # x, "ab\n", Q
    assert run(text, ids, "\nQ") == ("xab", [*ids[:1], *text.encode("ab")])


def test_a_stop_in_the_middle_of_a_token(text: Text) -> None:
    ids = text.encode("z.\nxy")
    assert len(ids) == 3  # z, ".\nx", y
    assert run(text, ids, "\n") == ("z.", [*ids[:1], *text.encode(".")])


def test_a_stop_of_several_bytes_a_character(text: Text) -> None:
    ids = text.encode("a→b§c")
    assert run(text, ids, "§") == ("a→b", text.encode("a→b"))


def test_the_earliest_of_several_stops(text: Text) -> None:
    assert run(text, text.encode("uv.\nxw"), "x", "\nx", "q") == ("uv.", text.encode("uv."))


def test_no_stop(text: Text) -> None:
    assert run(text, text.encode("abc 1 1"), "\n\n") is None
    assert run(text, text.encode("abc"), "") is None


TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}"
    "{% if m.role == 'system' and not loop.first %}{{ raise_exception('system comes first') }}"
    "{% endif %}[{{ m.role }}]{{ m.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}[assistant]{% endif %}"
)


def test_a_chat_template_and_its_start_token_stands_once(tmp_path: Path) -> None:
    folder = tiny_random.write(tmp_path / "base", bos=True)
    file = folder / "tokenizer_config.json"
    config = json.loads(file.read_text())
    file.write_text(json.dumps({**config, "chat_template": TEMPLATE}))
    engine = open_engine(str(folder))
    prompt = engine.chat([("system", "s"), ("user", "q")], reply=True)
    assert prompt == "<bos>[system]s\n[user]q\n[assistant]"
    assert engine.chat([("user", "q")], reply=False) == "<bos>[user]q\n"
    chat: Any = engine._text
    assert chat.prompt(prompt) == [1, *chat.encode(prompt.removeprefix("<bos>"))]
    with pytest.raises(ModelError, match="refuses the prompt: system comes first"):
        engine.chat([("user", "q"), ("system", "s")], reply=True)


def test_a_model_without_a_chat_template_says_so(text: Text) -> None:
    with pytest.raises(ModelError, match=r"has no chat template: give prompts\.chat=false"):
        text.chat([("user", "q")], reply=True)


# Turns as the templates of these models write them, with the tokens that end a completion.
TURNS = {
    "gemma": ("<start_of_turn>{role}\n{content}<end_of_turn>\n", "<eos>", "<end_of_turn>"),
    "phi4-mini": ("<|{role}|>{content}<|end|>", "<|endoftext|>", "<|end|>"),
    "qwen": ("<|im_start|>{role}\n{content}<|im_end|>\n", "<|im_end|>", "<|endoftext|>"),
    "mistral": ("{role}: {content} </s>", "</s>", None),  # in a user's turn it would not be
}


def chatting(folder: Path, turn: str, eos: str, *others: str) -> Any:
    """The ``Text`` of a byte-level tokenizer with a chat template; ``others`` end texts too."""
    from mlx_lm.tokenizer_utils import load
    from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers

    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer = Tokenizer(models.BPE({c: i for i, c in enumerate(sorted(alphabet))}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.add_special_tokens([AddedToken(t, special=True) for t in (eos, *others, "<other>")])
    tokenizer.save(str(folder / "tokenizer.json"))
    role, content = "{{ m.role }}", "{{ m.content }}"
    each = turn.format(role=role, content=content).replace("\n", "\\n")
    each = "{{ '" + each.replace("{{ ", "' + ").replace(" }}", " + '") + "' }}"
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": eos,
        "chat_template": "{% for m in messages %}" + each + "{% endfor %}",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    ids = [tokenizer.token_to_id(t) for t in (eos, *others)]
    return Text(load(folder, eos_token_ids=ids))


@pytest.mark.parametrize("name", TURNS)
def test_the_end_trained_on_in_a_chat_is_the_end_of_a_turn(name: str, tmp_path: Path) -> None:
    turn, eos, other = TURNS[name]
    text = chatting(tmp_path, turn, eos, *([other] if other else []))
    ends = {eos: text.encode(eos)[0], **({other: text.encode(other)[0]} if other else {})}
    assert text.eos == set(ends.values())
    asked = text.prompt(text.chat([("user", "1 + 1?")], reply=True))
    [ended] = [t for t in ends if t in turn]
    assert text.end_after(asked) == ends[ended]
    assert text.end_after(text.prompt("Q: 1 + 1?\nA:")) == text.end == ends[eos]


def test_an_error_inside_a_template_is_one_line(tmp_path: Path) -> None:
    text = chatting(tmp_path, "{role}{content}<eos>", "<eos>", "<other2>")
    text._tokenizer.chat_template = "{{ 'a' + level + messages[0].absent }}"
    with pytest.raises(ModelError, match="chat template refuses the prompt: "):
        text.chat([("user", "q")], reply=True, template={"level": 1})
    assert text.end_after(text.prompt("Q: 1 + 1?\nA:")) == text.end


def test_a_turn_that_generation_does_not_end_at_is_not_its_end(tmp_path: Path) -> None:
    text = chatting(tmp_path, "{role}{content}<other>", "<eos>")
    assert text.end_after(text.prompt(text.chat([("user", "q")], reply=True))) == text.end


def test_a_template_that_refuses_a_reply_has_no_end_of_a_turn(tmp_path: Path) -> None:
    text = chatting(tmp_path, "{role}{content}<eos>", "<eos>", "<other2>")
    text._tokenizer.chat_template = "{{ raise_exception('no') }}"
    assert text.end_after([text.encode("<other2>")[0]]) == text.end


def test_tokens_drawn_elsewhere_end_where_generation_ends(text: Text) -> None:
    ids = text.encode("xab\nQ.\nxy")
    assert text.completed(ids, ()) == ("xab\nQ.\nxy", ids, False)
    assert text.completed([*ids, 0, 5, 0], ()) == ("xab\nQ.\nxy", ids, True)
    for stops in (("\nQ",), ("\nx", "\n"), (".\n", "\nQ")):
        made = run(text, ids, *stops)
        assert made is not None and text.completed(ids, stops) == (*made, True)
    assert text.completed([*ids[:2], 0, *ids[2:]], ("Q", "")) == ("xab\n", ids[:2], True)
    assert text.completed([], ("Q",)) == ("", [], False)


def test_the_text_of_the_start_tokens(text: Text) -> None:
    assert text.start == "<bos>"
