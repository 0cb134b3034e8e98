"""Decoding on a tiny random model: batched, with a shared prefix, is what one row alone gives."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from star_mlx.engine import open_engine, resolve
from star_mlx.errors import ModelError
from star_mlx.types import Completion, Decoding
from tests import tiny_random

pytestmark = pytest.mark.slow

PREFIX = "Input: 1 2\nTarget: ab\n\n"
PROMPTS = ["Input: 3\n", "Input: 14 + 15 and more\n", "x", "Input: 9 9 9 9\nTarget:", "é1 1"]
GREEDY = Decoding(max_tokens=24, stop=(), batch_size=2)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return open_engine(str(tiny_random.write(tmp_path_factory.mktemp("base"), bos=True)))


def complete(
    engine: Any, prompts: list[str], decoding: Decoding, **changes: Any
) -> list[Completion]:
    options: dict[str, Any] = {
        "prefix": "", "adapter": None, "seeds": list(range(len(prompts))),
        "progress": lambda done, tokens: None,
    }  # fmt: skip
    return engine.generate(prompts, decoding, **{**options, **changes})  # type: ignore[no-any-return]


def alone(engine: Any, prompt: str, n: int) -> list[int]:
    """Greedy decoding of one row by the plainest loop: the whole text read anew at every token."""
    import mlx.core as mx

    base, text = engine._base, engine._text
    ids: list[int] = []
    while len(ids) < n:
        logits = base.model(mx.array([text.prompt(prompt) + ids]))[0, -1]
        token = int(mx.argmax(logits).item())
        if token in text.eos:
            break
        ids.append(token)
    return ids


@pytest.mark.parametrize("batch_size", [1, 2, 8])
@pytest.mark.parametrize("prefix", ["", PREFIX])
def test_batched_is_one_by_one_token_for_token(engine: Any, batch_size: int, prefix: str) -> None:
    decoding = replace(GREEDY, batch_size=batch_size)
    for prompt, found in zip(
        PROMPTS, complete(engine, PROMPTS, decoding, prefix=prefix), strict=True
    ):
        assert list(found.token_ids) == alone(engine, prefix + prompt, 24)
        assert found.text == engine._text.decode(found.token_ids)


def test_as_mlx_lm_generates(engine: Any) -> None:
    from mlx_lm import generate

    base, text = engine._base, engine._text
    for prompt, found in zip(PROMPTS, complete(engine, PROMPTS, GREEDY), strict=True):
        theirs = generate(base.model, base.tokenizer, text.prompt(prompt), max_tokens=24)
        assert found.text.rstrip("\ufffd") == theirs.rstrip("\ufffd")


def test_a_shared_prefix_is_the_full_prompt_and_is_read_once(engine: Any) -> None:
    engine._prefixes._known.clear()
    joined = complete(engine, [PREFIX + p for p in PROMPTS], GREEDY)
    assert not engine._prefixes._known
    for _ in range(2):
        assert complete(engine, PROMPTS, GREEDY, prefix=PREFIX) == joined
    assert len(engine._prefixes._known) == 1


def test_the_prefix_gives_way_where_tokens_merge_across_its_end(engine: Any) -> None:
    # "\n" + "\n" is one token, so the prefix's last token is not shared
    prefix, prompts = "Input: ab\n", ["\n1", "\n 1 1"]
    found = complete(engine, prompts, GREEDY, prefix=prefix)
    assert found == complete(engine, [prefix + p for p in prompts], GREEDY)


def test_length_and_end(engine: Any) -> None:
    short = complete(engine, PROMPTS, replace(GREEDY, max_tokens=3))
    assert {len(c.token_ids) for c in short} <= {0, 1, 2, 3}
    assert all(len(c.token_ids) == 3 for c in short if c.finish == "length")


def test_an_end_token_stops_and_is_not_part_of_the_completion(engine: Any) -> None:
    full = complete(engine, ["x"], GREEDY)[0]
    kept, engine._text.eos = engine._text.eos, frozenset({full.token_ids[5]})
    try:
        first = full.token_ids.index(full.token_ids[5])
        found = complete(engine, ["x"], GREEDY)[0]
    finally:
        engine._text.eos = kept
    assert found.token_ids == full.token_ids[:first]
    assert found.finish == "stop"


def test_stop_strings_end_the_text_before_them(engine: Any) -> None:
    full = complete(engine, PROMPTS, GREEDY)
    for prompt, whole in zip(PROMPTS, full, strict=True):
        clean = whole.text.split("\ufffd")[0]
        for width in (1, 2):
            stop = clean[2 : 2 + width]
            if len(stop) < width:
                continue
            found = complete(engine, [prompt], replace(GREEDY, stop=(stop,)))[0]
            assert found.text == whole.text[: whole.text.index(stop)]
            assert found.finish == "stop"
            assert engine._text.decode(found.token_ids) == found.text


def test_progress_counts_every_row_once(engine: Any) -> None:
    seen: list[tuple[int, int]] = []
    found = complete(engine, PROMPTS, GREEDY, progress=lambda done, n: seen.append((done, n)))
    assert seen == sorted(seen)
    assert seen[-1][0] == len(PROMPTS)
    assert seen[-1][1] >= sum(len(c.token_ids) for c in found)


def test_sampling_depends_on_the_seed_and_not_on_the_batch(engine: Any) -> None:
    warm = replace(GREEDY, temperature=0.9, top_p=0.95)
    together = complete(engine, PROMPTS, warm, seeds=[11, 12, 13, 14, 15])
    backwards = complete(
        engine, PROMPTS[::-1], replace(warm, batch_size=5), seeds=range(15, 10, -1)
    )
    assert backwards[::-1] == together
    for i, prompt in enumerate(PROMPTS):
        assert complete(engine, [prompt], warm, seeds=[11 + i]) == [together[i]]
    assert complete(engine, PROMPTS, warm, seeds=[21, 22, 23, 24, 25]) != together
    same = complete(engine, ["x"] * 4, warm, seeds=[1, 2, 3, 4])
    assert len({c.token_ids for c in same}) > 1


def test_the_nucleus_keeps_what_holds_top_p_and_no_more() -> None:
    import mlx.core as mx

    from star_mlx.engine.sampling import Draws

    logits = mx.log(mx.array([[0.1, 0.5, 0.15, 0.25]]))
    drawn: dict[float, set[int]] = {}
    for top_p in (0.4, 0.7, 1.0):
        draws = Draws(Decoding(1, (), temperature=1.0, top_p=top_p), range(80))
        inside = mx.repeat(draws.nucleus(logits), 80, axis=0)
        drawn[top_p] = set(draws.draw(range(80), inside).tolist())
    assert drawn == {0.4: {1}, 0.7: {1, 3}, 1.0: {0, 1, 2, 3}}


def test_tokens_are_drawn_as_often_as_they_are_probable() -> None:
    import mlx.core as mx

    from star_mlx.engine.sampling import Draws

    wanted, n = [0.5, 0.0, 0.2, 0.3, 0.0], 4000
    draws = Draws(Decoding(1, (), temperature=1.0, top_p=1.0), range(n))
    logits = mx.repeat(mx.log(mx.array([wanted])), n, axis=0)
    for _ in range(2):  # the keys of a second token too
        drawn = draws.draw(range(n), logits).tolist()
        for token, p in enumerate(wanted):
            spread = (p * (1 - p) / n) ** 0.5
            assert abs(drawn.count(token) / n - p) <= 5 * spread


def test_a_rows_draws_are_its_own() -> None:
    import mlx.core as mx

    from star_mlx.engine.sampling import Draws

    decoding = Decoding(1, (), temperature=1.0, top_p=1.0)
    logits = mx.random.normal((3, 50), key=mx.random.key(0))
    one, other = Draws(decoding, [7, 8, 9]), Draws(decoding, [7, 8, 9])
    first = one.draw([0, 1, 2], logits).tolist()
    assert other.draw([2, None, 0], logits[mx.array([2, 1, 0])]).tolist()[::2] == first[::-2]
    assert other.draw([1], logits[1:2]).tolist() == [first[1]]
    second = one.draw([0, 1, 2], logits).tolist()
    assert other.draw([0, 1, 2], logits).tolist() == second != first


def test_prompts_that_cannot_be_completed_are_refused(engine: Any) -> None:
    with pytest.raises(ModelError, match="leaves no room in the model's context of 512"):
        complete(engine, ["y" * 600], GREEDY)
    assert complete(engine, [], GREEDY) == []


def test_a_row_is_cut_at_the_context(engine: Any) -> None:
    room = 512 - len(engine._text.prompt("y" * 505))
    found = complete(engine, ["y" * 505, "y"], replace(GREEDY, max_tokens=30))[0]
    assert len(found.token_ids) == room or found.finish == "stop"


def test_a_quantized_base_computes_what_its_stored_values_say(tmp_path: Path) -> None:
    import mlx.core as mx

    folder = tiny_random.write(tmp_path / "q", bits=4)
    engine = open_engine(str(folder))
    stored = mx.load(str(folder / "model.safetensors"))
    name = "model.layers.0.self_attn.q_proj"
    scales, biases = (stored[f"{name}.{k}"].astype(mx.float32) for k in ("scales", "biases"))
    weight = mx.dequantize(stored[f"{name}.weight"], scales, biases, group_size=32, bits=4)
    if engine.describe()["device"] == "cpu":
        assert mx.array_equal(engine._base.model.layers[0].self_attn.q_proj.weight, weight)
    assert engine.describe()["bits"] == 4


@pytest.mark.skipif(not resolve.TINY.is_dir(), reason="the embedded base is not built yet")
def test_tiny_batched_is_one_by_one() -> None:
    engine = open_engine("tiny")
    prefix = "Input:\n4 + 7\nTarget:\n<scratch>\n4 + 7 , C: 0\n, 1 C: 1\n1 1\n</scratch>\n1 1\n\n"
    prompts = [f"Input:\n{sum}\nTarget:\n" for sum in ("3 + 5", "2 4 + 5 1", "6 0 8 + 3 9 9")]
    decoding = Decoding(40, ("\n\n",), batch_size=2)
    for prompt, found in zip(
        prompts, complete(engine, prompts, decoding, prefix=prefix), strict=True
    ):
        own = engine._text.decode(alone(engine, prefix + prompt, 40))
        assert found.text == own.split("\n\n")[0]


def test_going_round_in_a_circle_is_seen_and_nothing_else() -> None:
    from star_mlx.engine.decode import circling

    phrase = list(range(100, 116))
    assert circling([1, 2, 3] * 3 + [7] * 71)  # 80 tokens, the last 64 of them one
    assert circling(list(range(16)) + phrase * 4)
    assert not circling(list(range(16)) + phrase * 3 + list(range(16)))
    assert not circling(phrase * 4 + [1] + phrase[1:] + [9])
    assert not circling([7] * 63)  # too few
    assert not circling([7] * 65)  # looked for once in 16 tokens
    assert not circling(list(range(96)))


def test_a_row_in_a_circle_ends_there_if_asked(
    engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from star_mlx.engine import decode

    monkeypatch.setattr(decode, "circling", lambda ids: len(ids) == 5)
    asked = replace(GREEDY, stop_repeats=True)
    plain, ended = (complete(engine, PROMPTS, d) for d in (GREEDY, asked))
    for whole, part in zip(plain, ended, strict=True):
        assert part.token_ids == whole.token_ids[:5]
        assert part.finish == ("length" if len(whole.token_ids) >= 5 else whole.finish)
    warm = replace(asked, temperature=1.0)
    assert any(len(c.token_ids) > 5 for c in complete(engine, PROMPTS, warm))
