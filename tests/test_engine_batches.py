"""What is trained on: exactly completion + end token, every example once an epoch, none cut."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from star_mlx.engine.batches import epochs, micro, rows
from star_mlx.types import Example


class Bytes:
    """A stand-in for ``text.Text``: a token a byte after a start token, 0 ends."""

    def end_after(self, prompt: Sequence[int]) -> int:
        return 0

    def prompt(self, text: str) -> list[int]:
        return [1, *text.encode()]


def example(name: str, prompt: str, ids: tuple[int, ...]) -> Example:
    return Example(name, prompt, "", "direct", token_ids=ids, iteration=1)


def test_the_supervised_tokens_are_the_generated_ids_and_the_end_token() -> None:
    (row,), too_long = rows([example("a", "Q:", (7, 8, 9))], Bytes(), 100)
    assert tuple(row.tokens[row.start :]) == (7, 8, 9, 0)
    assert tuple(row.tokens[: row.start]) == (1, *b"Q:")
    assert too_long == ()


def test_rows_over_the_limit_are_refused_and_named_not_cut() -> None:
    exact, over = example("exact", "Q:", (7, 8)), example("over", "Q:", (7, 8, 9))
    kept, too_long = rows([exact, over], Bytes(), 6)
    assert [(row.id, len(row.tokens)) for row in kept] == [("exact", 6)]
    assert too_long == ("over",)


@given(n=st.integers(1, 50), size=st.integers(1, 20), seed=st.integers(0, 2**63))
def test_every_example_once_an_epoch_none_dropped(n: int, size: int, seed: int) -> None:
    per_epoch = -(-n // size)
    order = epochs(n, size, seed)
    for _ in range(2):
        batches = list(islice(order, per_epoch))
        assert sorted(i for batch in batches for i in batch) == list(range(n))
        assert all(len(batch) == size for batch in batches[:-1])


def test_epochs_differ_and_repeat_with_their_seed() -> None:
    first, again = (list(islice(epochs(40, 8, 3), 10)) for _ in range(2))
    assert first == again
    assert first[:5] != first[5:]
    assert first != list(islice(epochs(40, 8, 4), 10))


@given(st.lists(st.integers(1, 60), min_size=1, max_size=40), st.integers(1, 200))
def test_parts_hold_every_row_once_within_the_budget(lengths: list[int], budget: int) -> None:
    parts = micro(lengths, range(len(lengths)), budget)
    assert sorted(i for part in parts for i in part) == list(range(len(lengths)))
    for part in parts:
        assert len(part) == 1 or len(part) * max(lengths[i] for i in part) <= budget


@pytest.mark.parametrize("budget", [1, 10**9])
def test_extreme_budgets(budget: int) -> None:
    assert len(micro([5, 9, 2], [0, 1, 2], budget)) == (3 if budget == 1 else 1)
