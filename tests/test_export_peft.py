"""Parity with PEFT and transformers on torch, which are large: pip install 'star-mlx[peft]'."""

from __future__ import annotations

import json
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from star_mlx.errors import ModelError
from star_mlx.export import export, peft_format, torch_model
from tests import tiny_random
from tests.downloads import smollm2, smollm2_gguf  # noqa: F401
from tests.export_runs import alter, scripted

pytestmark = [
    pytest.mark.download,
    # not importorskip: importing them takes seconds, also where none of these tests is run
    pytest.mark.skipif(
        find_spec("torch") is None or find_spec("peft") is None, reason="torch or peft is missing"
    ),
]


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def parity(run: Path, out: Path, form: Any = "peft") -> dict[str, Any]:
    done = export(run, "1", form, out, verify=True)
    found = dict(done.parity or {})
    assert found == json.loads((out / "parity.json").read_text())
    assert not [name for name in done.files if "partial" in name]
    return found


@pytest.mark.parametrize(
    "shape",
    [
        {},
        {"layers": 2},
        {"layers": 1, "keys": ("self_attn.q_proj", "mlp.down_proj")},
        {"dora": True},
        {"dora": True, "layers": 3, "keys": ("self_attn.v_proj",)},
        {"rank": 7, "scale": 20.0, "size": 0.01},
    ],
)
def test_peft_computes_what_mlx_does_on_tiny(shape: dict[str, Any], tmp_path: Path) -> None:
    run = scripted(tmp_path / "run", **{"size": 0.2, **shape})
    found = parity(run, tmp_path / "out")
    assert found["max_abs_logit_difference"] < 2e-4 and found["equal_argmax"] == 1.0  # of some 20
    assert found["prompts"] == 12 and found["positions"] > 800
    weights = (run / "iterations/001/adapter/adapters.safetensors").read_bytes()
    assert found["versions"]["peft"] and found["adapter_sha256"] == sha256(weights).hexdigest()
    assert "adapter_model.safetensors" in names(tmp_path / "out")


def test_modules_listed_one_by_one_are_those_adapted(tmp_path: Path) -> None:
    run = scripted(tmp_path / "run", size=0.2)
    keep = ("model.layers.0.self_attn.q_proj", "model.layers.3.mlp.up_proj")
    alter(
        run / "iterations/001/adapter",
        lambda arrays: {k: v for k, v in arrays.items() if k.startswith(keep)},
    )
    assert parity(run, tmp_path / "out")["max_abs_logit_difference"] < 1e-4


@pytest.mark.parametrize("tied", [True, False])
def test_other_llamas_too(tied: bool, tmp_path: Path) -> None:
    base = tiny_random.write(
        tmp_path / "base", bits=8, bos=True, tie_word_embeddings=tied, rope_theta=500.0,
        rope_scaling={"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
                      "high_freq_factor": 4.0, "original_max_position_embeddings": 64},
    )  # fmt: skip
    run = scripted(tmp_path / "run", str(base), size=0.2)
    assert parity(run, tmp_path / "out")["max_abs_logit_difference"] < 1e-4


@pytest.mark.parametrize("wrong", ["alpha", "layers"])
def test_what_peft_computes_otherwise_is_refused(
    wrong: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = scripted(tmp_path / "run", layers=2, size=0.2)
    good = peft_format.config

    def bad(*arguments: Any) -> dict[str, Any]:
        made = good(*arguments)
        if wrong == "alpha":
            return {**made, "lora_alpha": made["lora_alpha"] * 1.1}
        return {**made, "layers_to_transform": [1, 2]}

    monkeypatch.setattr(peft_format, "config", bad)
    says = {"alpha": "the adapter in PEFT differs", "layers": "PEFT reads the adapter"}
    with pytest.raises(ModelError, match=says[wrong]):
        export(run, "1", "peft", tmp_path / "out", verify=True)
    assert names(tmp_path) == ["run"]


def test_an_architecture_transformers_names_otherwise_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = scripted(tmp_path / "run")
    from star_mlx.export import dense

    plain = dense.plain_config
    monkeypatch.setattr(dense, "plain_config", lambda *a: {**plain(*a), "model_type": "gpt_neox"})
    with pytest.raises(ModelError, match="parity cannot be shown for"):
        export(run, "1", "peft", tmp_path / "out", verify=True)
    assert names(tmp_path) == ["run"]


@pytest.mark.parametrize("form", ["peft", "fused"])
def test_a_padding_token_outside_the_vocabulary_does_no_harm(form: str, tmp_path: Path) -> None:
    base = tiny_random.write(tmp_path / "base")
    config = json.loads((base / "config.json").read_text())
    config["pad_token_id"] = config["vocab_size"] + 7
    (base / "config.json").write_text(json.dumps(config))
    run = scripted(tmp_path / "run", str(base), size=0.2)
    assert parity(run, tmp_path / "out", form)["within_bound"]


def test_transformers_loads_the_fused_model(tmp_path: Path) -> None:
    run = scripted(tmp_path / "run", dora=True, size=0.2)
    found = parity(run, tmp_path / "out", "fused")
    assert found["max_abs_logit_difference"] <= 1e-4
    assert found["torch"]["max_abs_logit_difference"] < 1e-4
    from transformers import AutoTokenizer

    ids = AutoTokenizer.from_pretrained(str(tmp_path / "out"))("1 + 1")["input_ids"]
    logits = torch_model.logits(torch_model.base(tmp_path / "out"))(ids)
    assert logits.shape == (len(ids), 288) and np.isfinite(logits).all()


def test_peft_computes_what_mlx_does_on_smollm2(
    smollm2: Path,  # noqa: F811
    tmp_path: Path,
) -> None:
    few = "evaluate.dev=4"  # prompts, of some 100 tokens each
    run = scripted(tmp_path / "run", str(smollm2), few, layers=16, rank=8, scale=20.0, size=0.002)
    found = parity(run, tmp_path / "out")
    assert found["max_abs_logit_difference"] < 5e-3 and found["equal_argmax"] == 1.0
    assert found["positions"] > 400
