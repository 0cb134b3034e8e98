"""A shared prefix kept once is exact: decoding against one row alone."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from star_mlx.engine import blas, open_engine
from star_mlx.types import Completion, Decoding
from tests import tiny_random
from tests.test_engine_generate import complete

pytestmark = pytest.mark.slow

blas.load()  # before mlx is imported

PREFIX = "Input: 1 2\nTarget: ab\n\n"
PROMPTS = [f"Input: {'7 ' * (5 * i % 11)}{i}\n" for i in range(17)]
GREEDY = Decoding(max_tokens=10, stop=(), batch_size=4)
ALL, NONE = 1, 1 << 40  # scores from which on numpy is worth it: always, never
FEW = settings(max_examples=8, deadline=None, derandomize=True, database=None)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("base")
    before = blas.load().threads
    made = open_engine(
        str(tiny_random.write(folder, bos=True, hidden_size=192, num_hidden_layers=2))
    )
    blas.use_threads(1)  # threads of so small products wait for each other on a busy machine
    yield made
    blas.use_threads(before)


@pytest.fixture
def two_lanes(engine: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    from star_mlx.engine.lanes import Lanes

    if engine.describe()["device"] != "cpu":
        pytest.skip("there are lanes on a CPU alone")
    monkeypatch.setattr(blas, "use_threads", lambda threads: blas.load())
    monkeypatch.setattr(engine, "_lanes", Lanes(192))
    engine._lanes.width = 2
    return engine


def logits_at(engine: Any, ids: Sequence[int]) -> Any:
    """Logits (1, V) after ids, by one pass without a cache."""
    import mlx.core as mx

    return engine._base.model(mx.array([list(ids)]))[:, -1]


@functools.cache
def alone(engine: Any, prompt: str, decoding: Decoding, seed: int) -> Completion:
    """One row by the plainest loop: the whole text read anew at every token."""
    import mlx.core as mx

    from star_mlx.engine.decode import _advance, _Pending
    from star_mlx.engine.sampling import Draws
    from star_mlx.engine.text import Stops

    text = engine._text
    draws = Draws(decoding, [seed]) if decoding.temperature else None
    stops, row = Stops(text, decoding.stop), _Pending(decoding.max_tokens)
    while row.completion is None:
        logits = logits_at(engine, text.prompt(prompt) + row.ids)
        token = draws.draw([0], draws.nucleus(logits)) if draws else mx.argmax(logits, axis=-1)
        row.completion = _advance(row, int(token.item()), text, stops)
    return row.completion


def assert_alone(
    engine: Any, prompt: str, found: Completion, decoding: Decoding, seed: int = 0
) -> None:
    """A completion is what the plainest loop gives."""
    expected = alone(engine, prompt, replace(decoding, batch_size=1), seed)
    assert_same(engine, prompt, found, expected, decoding, seed)


def assert_same(
    engine: Any, prompt: str, found: Completion, expected: Completion, decoding: Decoding, seed: int
) -> None:
    """Completions are equal, or part where logits that rounding alone changes choose otherwise."""
    if found.token_ids == expected.token_ids:
        assert found == expected
        return
    one, other = ([*c.token_ids, engine._text.end] for c in (found, expected))
    at = next(i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b)
    assert {one[at], other[at]} <= near(engine, prompt, one[:at], decoding, seed)


def near(engine: Any, prompt: str, ids: list[int], decoding: Decoding, seed: int) -> set[int]:
    """The tokens that follow ids where the logits are off by a little: by 3e-4 of some 20."""
    import mlx.core as mx

    from star_mlx.engine.sampling import Draws

    logits, draws = logits_at(engine, engine._text.prompt(prompt) + ids), Draws(decoding, [seed])
    if decoding.temperature:
        for _ in ids:
            draws.draw([0], logits)
    tokens = set()
    for i in range(100):
        noisy = logits + mx.random.normal(logits.shape, scale=3e-4, key=mx.random.key(i))
        if decoding.temperature:
            key = draws._keys[0]
            tokens.add(int(draws.draw([0], draws.nucleus(noisy)).item()))
            draws._keys[0] = key
        else:
            tokens.add(int(mx.argmax(noisy).item()))
    return tokens


texts = st.text("ab 1.\nxé", max_size=20)


@FEW
@given(
    common=texts,
    rests=st.lists(texts, min_size=1, max_size=7),
    cut=st.integers(0, 20),
    size=st.integers(1, 8),
    random=st.randoms(use_true_random=False),
)
def test_greedy_depends_on_neither_the_batch_nor_the_order_nor_the_prefix(
    engine: Any, common: str, rests: list[str], cut: int, size: int, random: Any
) -> None:
    random.shuffle(rests)
    decoding = replace(GREEDY, batch_size=size)
    given_apart, whole = common[:cut], [common + rest for rest in rests]
    for prefix, prompts in [(given_apart, [t[len(given_apart) :] for t in whole]), ("", whole)]:
        found = complete(engine, prompts, decoding, prefix=prefix)
        for text, one in zip(whole, found, strict=True):
            assert_alone(engine, text, one, GREEDY)


@FEW
@given(
    order=st.permutations(range(7)),
    size=st.integers(1, 8),
    cut=st.integers(0, len(PREFIX)),
    top_p=st.sampled_from([0.9, 1.0]),
)
def test_sampling_depends_on_neither_the_batch_nor_the_order_nor_the_prefix(
    engine: Any, order: list[int], size: int, cut: int, top_p: float
) -> None:
    warm = replace(GREEDY, temperature=0.9, top_p=top_p)
    found = complete(
        engine, [PREFIX[cut:] + PROMPTS[i] for i in order], replace(warm, batch_size=size),
        prefix=PREFIX[:cut], seeds=[100 + i for i in order],
    )  # fmt: skip
    for i, one in zip(order, found, strict=True):
        assert_alone(engine, PREFIX + PROMPTS[i], one, warm, 100 + i)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize(("prefix", "worth"), [("", NONE), (PREFIX, NONE), (PREFIX, ALL)])
def test_two_lanes_give_what_one_gives(
    two_lanes: Any, temperature: float, prefix: str, worth: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from star_mlx.engine import attention

    monkeypatch.setattr(attention, "WORTH_NUMPY", worth)
    decoding = replace(GREEDY, batch_size=16, temperature=temperature)
    assert two_lanes._lanes.count(16) == 2
    found = complete(two_lanes, PROMPTS, decoding, prefix=prefix)
    two_lanes._lanes.width = 1
    other = complete(two_lanes, PROMPTS, decoding, prefix=prefix)
    for i, prompt in enumerate(PROMPTS):
        assert_same(two_lanes, prefix + prompt, found[i], other[i], decoding, i)
    for i in (0, 16):
        assert_alone(two_lanes, prefix + PROMPTS[i], found[i], decoding, i)


@pytest.mark.parametrize("lanes", [1, 2])
def test_rows_that_end_at_any_time_are_replaced_and_their_columns_dropped(
    two_lanes: Any, lanes: int
) -> None:
    two_lanes._lanes.width = lanes
    decoding = Decoding(100, tuple("cde"), batch_size=16, temperature=1.0)
    prompts = [*PROMPTS, "y" * 90, "z"]
    found = complete(two_lanes, prompts, decoding, prefix=PREFIX)
    lengths = sorted(len(c.token_ids) for c in found)
    assert lengths[0] < 40
    assert lengths[-1] > 70  # wider than the buffers at first, so that they grew
    longest = max(range(19), key=lambda i: len(found[i].token_ids))
    for i in (longest, 17, 18):
        assert_alone(two_lanes, PREFIX + prompts[i], found[i], decoding, i)
    few = complete(two_lanes, prompts, replace(decoding, batch_size=3), prefix=PREFIX)
    for i, prompt in enumerate(prompts):
        assert_same(two_lanes, PREFIX + prompt, few[i], found[i], decoding, i)


def test_an_interrupted_batch_of_two_lanes_leaves_the_engine_usable(two_lanes: Any) -> None:
    decoding = replace(GREEDY, batch_size=16)

    def interrupt(done: int, tokens: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        complete(two_lanes, PROMPTS, decoding, prefix=PREFIX, progress=interrupt)
    found = complete(two_lanes, PROMPTS, decoding, prefix=PREFIX)
    assert_alone(two_lanes, PREFIX + PROMPTS[3], found[3], GREEDY)


@pytest.mark.parametrize("batch_size", [1, 2, 8])
@pytest.mark.parametrize("prefix", ["", PREFIX * 2])
def test_sliding_windows_decode_by_copies_as_one_by_one(
    sliding: Any, batch_size: int, prefix: str
) -> None:
    assert sliding._base.form.unshared == "its layers keep RotatingKVCache"
    for decoding in (GREEDY, replace(GREEDY, temperature=0.9, stop=("c", "d"))):
        sized = replace(decoding, batch_size=batch_size)
        found = complete(sliding, PROMPTS[:5], sized, prefix=prefix)
        for i, prompt in enumerate(PROMPTS[:5]):
            assert_alone(sliding, prefix + prompt, found[i], decoding, i)


def test_copied_rows_are_drawn_together(sliding: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from star_mlx.engine.sampling import Draws

    draw, drawn = Draws.draw, []

    def counted(self: Draws, rows: Sequence[int | None], logits: Any) -> Any:
        assert len(rows) == len(logits)
        drawn.append(tuple(rows))
        return draw(self, rows, logits)

    monkeypatch.setattr(Draws, "draw", counted)
    decoding = replace(GREEDY, temperature=0.9, batch_size=5)
    complete(sliding, PROMPTS[:5], decoding, prefix=PREFIX)
    assert max(map(len, drawn)) == 5 and {row for rows in drawn for row in rows} == set(range(5))


@pytest.fixture(scope="module")
def sliding(tmp_path_factory: pytest.TempPathFactory) -> Any:
    kinds = ["sliding_attention", "full_attention", "sliding_attention"]
    folder = tiny_random.write(
        tmp_path_factory.mktemp("sliding"), bos=True, layer_types=kinds, sliding_window=8
    )
    return open_engine(str(folder))
