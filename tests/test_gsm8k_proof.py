"""The proof of a recipe: which commands it runs, what it compares, and going on where it was."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from pathlib import Path

import pytest

from star_mlx import engine as engines
from star_mlx.cli import cli
from star_mlx.engine.scripted import ScriptedEngine

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture
def proof():
    """The script, imported as a module."""
    sys.path.insert(0, str(BENCHMARKS))
    try:
        yield __import__("gsm8k_proof")
    finally:
        sys.path.remove(str(BENCHMARKS))
        sys.modules.pop("gsm8k_proof", None)


def reply(asked):
    """Right on every third number; trained, on every second; with a hint, on all."""
    n = int(asked.prompt.rpartition("What is ")[2].split()[0])
    right = n % 3 == 0 or (n % 2 == 0 and asked.trained_on) or "It is" in asked.prompt
    return f" To add {n} twice, {n} + {n} = {2 * n}.\n#### {2 * n}" if right else " I see.\n#### 1"


@pytest.fixture
def given(tmp_path, monkeypatch, proof):
    """The arguments of a small proof, whose commands run here on a script."""
    rows = [
        {"question": f"What is {n} + {n}?", "answer": f"{n}+{n}=<<{n}+{n}={2 * n}>>\n#### {2 * n}"}
        for n in range(40)
    ]
    for name in ("train", "test"):
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (tmp_path / f"{name}.jsonl").write_text(text, "utf-8")
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(
        "extends: gsm8k\ntask: {name: gsm8k, options: {dev: 6, prose: true}}\nprompts: {chat: true,"
        ' k: 0, ask: "{question}", hint: "{question} (It is {answer}.)"}\n'
    )
    monkeypatch.setattr(engines, "open_base", lambda recipe, **more: ScriptedEngine(reply))
    return Namespace(
        task="gsm8k", recipe=str(recipe), model=None, data=str(tmp_path), out=tmp_path / "out",
        iterations=1, problems=8, seeds=[0], dev=6, test=5, more=["train.rank=4"],
    )  # fmt: skip


def all_of(proof, given, monkeypatch, capsys):
    ran = []

    def called(words, *, capture=False):
        ran.append(words)
        capsys.readouterr()
        cli.main(list(words), standalone_mode=False)
        return capsys.readouterr().out.strip().splitlines()[-1] if capture else ""

    monkeypatch.setattr(proof, "called", called)
    for words in proof.loops(given):
        proof.called(words)
    proof.test(given)
    return ran


@pytest.mark.slow
def test_a_proof_measures_every_model_on_the_test_split(proof, given, monkeypatch, capsys):
    ran = all_of(proof, given, monkeypatch, capsys)
    assert all("--set" not in words or "train.rank=4" in words for words in ran)
    page = proof.write(given)
    rows = [line.split(" | ") for line in page.splitlines() if line.startswith("| ")]
    named = {row[0].strip("| *").partition(",")[0] for row in rows[1:10]}
    assert {"STaR", "few-shot", "zero-shot", "direct: answers alone", "base"} <= named
    winner = json.loads((given.out / "test/star-0.json").read_text())
    base = json.loads((given.out / "test/base.json").read_text())
    pair = winner["against"][1]
    assert pair["with"] == "few-shot" and winner["n"] == 5
    assert pair["better"] - pair["worse"] == winner["correct"] - base["correct"]
    assert len(winner["against"]) == 8, "all others"
    sheet = (given.out / "rationales.md").read_text()
    assert "STaR, seed 0: rationalized" in sheet and "To add" in sheet
    again = all_of(proof, given, monkeypatch, capsys)
    assert not [words for words in again if words[0] == "evaluate"], "the test split is read once"
