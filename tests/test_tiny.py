"""The embedded base: an ordinary model folder, and a fair stand-in for a pretrained model."""

from __future__ import annotations

import json
import runpy
import sys
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from star_mlx import engine as engines
from star_mlx.recipe import asking, opening
from star_mlx.recipe.loading import load
from star_mlx.run import passes

ROOT = Path(__file__).parent.parent
TINY = ROOT / "star_mlx" / "models" / "tiny"


@pytest.fixture(scope="module")
def tokenizer():
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(str(TINY))


def test_it_is_small_and_4_bit():
    assert sum(p.stat().st_size for p in TINY.iterdir()) < 2_000_000
    config = json.loads((TINY / "config.json").read_text(encoding="utf-8"))
    assert config["quantization"]["bits"] == 4 and config["rope_theta"]
    assert (TINY / "README.md").read_text(encoding="utf-8").startswith("---\n")


@pytest.mark.slow
@settings(deadline=None)
@given(text=st.text())
def test_the_tokenizer_encodes_any_text(tokenizer, text):
    ids = tokenizer.encode(text, add_special_tokens=False)
    assert tokenizer.decode(ids, clean_up_tokenization_spaces=False) == text


@pytest.mark.slow
def test_a_digit_is_a_token(tokenizer):
    assert len(tokenizer.encode("6 2 4 + 2 5 9", add_special_tokens=False)) == 7


@pytest.mark.slow
def test_prompt_and_problem_are_no_longer_than_what_it_was_trained_on(tokenizer):
    task, prompts = opening.open_task(load(task="arithmetic"))
    longest = max(
        len(tokenizer.encode(prompts.few_shot(hinted=True) + prompts.generation(p, hinted=True)))
        + len(tokenizer.encode(task.worked(p.rationale, p.answer)))
        for p in task.problems("dev")
    )
    sys.path.insert(0, str(ROOT / "scripts/tiny"))
    try:
        mixture_phase = runpy.run_path(str(ROOT / "scripts/tiny/pretrain.py"))["PHASES"][-1]
    finally:
        sys.path.pop(0)
    assert longest <= mixture_phase.length


@pytest.mark.slow
def test_it_is_right_on_short_sums_less_so_on_longer_ones_and_with_the_hint_on_all():
    recipe = load(task="arithmetic")
    task, prompts = opening.open_task(recipe)
    engine = engines.open_base(recipe)
    problems = task.problems("dev")[:150]  # 30 of each length
    right = {}
    for hinted in (False, True):
        how = asking.generating(recipe, prompts, few_shot=True, hinted=hinted)
        made = passes.attempts(engine, None, how, problems, seeds=[0] * len(problems))
        pairs = zip(problems, made, strict=True)
        right[hinted] = Counter(problem.group for problem, a in pairs if a.correct)
    assert 0.10 <= sum(right[False].values()) / 150 <= 0.50
    assert right[False]["1"] >= 27 > right[False]["3"] > right[False]["5"]
    assert all(right[True][str(n)] >= 24 for n in range(1, 6))
