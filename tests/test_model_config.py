"""Wrong values in a model's files are one line, and not the end of the process."""

from __future__ import annotations

import json
import shutil

import pytest

from star_mlx.engine import model_config, open_engine
from star_mlx.errors import ModelError
from tests import tiny_random

GOOD = {
    "model_type": "llama",
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "intermediate_size": [64, 96],
    "num_attention_heads": 4,
    "num_key_value_heads": [0, 2],
    "head_dim": None,
    "vocab_size": 264,
    "max_position_embeddings": 512,
    "rms_norm_eps": 1e-6,
    "rope_theta": 10000,
    "quantization": {
        "group_size": 64,
        "bits": 4,
        "mode": "affine",
        "model.embed_tokens": {"group_size": 32, "bits": 8},
        "lm_head": False,
    },
}


def test_configs_of_all_kinds_are_accepted():
    assert model_config.problem(GOOD) == ""
    assert model_config.problem({"model_type": "x", "text_config": GOOD}) == ""
    assert model_config.problem({"model_type": "x"}) == ""


@pytest.mark.parametrize("wrong", [0, -1, 1.5, True, "x", [], [32, "x"], [-1], {}, 10**30])
@pytest.mark.parametrize("key", model_config.SIZES)
def test_sizes_are_whole_numbers(key, wrong):
    found = model_config.problem({**GOOD, key: wrong})
    assert found == f"{key} is {wrong!r:.40}, not a whole number above 0"
    assert model_config.problem({"text_config": {**GOOD, key: wrong}}) == f"text_config.{found}"


@pytest.mark.parametrize("wrong", [0, -1.0, "x", True, [1.0], float("nan"), float("inf")])
@pytest.mark.parametrize("key", model_config.REALS)
def test_real_values_are_above_0(key, wrong):
    assert model_config.problem({**GOOD, key: wrong}) == f"{key} is {wrong!r}, not a number above 0"


@pytest.mark.parametrize(
    ("quantization", "said"),
    [
        ([4], "quantization is [4], not an object"),
        ({"group_size": 0, "bits": 4}, "quantization has group_size 0, not one of 16, 32, 64, 128"),
        ({"group_size": 64, "bits": 7}, "quantization has bits 7, not one of 2, 3, 4, 5, 6, 8"),
        ({"group_size": 64, "bits": True}, "quantization has bits True, not one of 2, 3"),
        ({**GOOD["quantization"], "x": {"bits": "4"}}, "quantization has bits '4', not one of 2"),
    ],
)
def test_quantization_is_one_that_mlx_has(quantization, said):
    assert model_config.problem({**GOOD, "quantization": quantization}).startswith(said)


def test_a_wrapped_config_is_an_object():
    assert model_config.problem({"text_config": "x"}) == "text_config is 'x', not an object"


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return tiny_random.write(tmp_path_factory.mktemp("base"), bits=4)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "changed", "said"),
    [
        ("config.json", {"num_attention_heads": 0}, "num_attention_heads is 0, not a whole number"),
        ("config.json", {"quantization": {"group_size": 0, "bits": 4}}, "has group_size 0, not"),
        ("config.json", {"model_type": ["llama"]}, "names no model_type"),
        ("config.json", {"hidden_size": 64}, "cannot be loaded: "),
        ("config.json", {"num_key_value_heads": 3}, "cannot be loaded: "),
        ("config.json", '{"a":' * 5_000 + "1" + "}" * 5_000, "config.json is not JSON: "),
        ("tokenizer.json", '{"a":' * 5_000 + "1" + "}" * 5_000, "tokenizer.json is damaged: "),
        ("tokenizer.json", '{"version": "1.0"', "tokenizer.json is damaged: "),
        ("tokenizer.json", "[]", "tokenizer.json is damaged: "),
        ("tokenizer.json", {"model": {"type": "BPE", "vocab": 1}}, "cannot be loaded: "),
        ("tokenizer_config.json", {"model_max_length": "long"}, "model_max_length is 'long', not"),
    ],
)
def test_files_that_cannot_be_used_are_refused_in_one_line(base, tmp_path, name, changed, said):
    folder = tmp_path / "model"
    shutil.copytree(base, folder)
    text = changed
    if isinstance(changed, dict):
        text = json.dumps({**json.loads((folder / name).read_text()), **changed})
    (folder / name).write_text(text)
    with pytest.raises(ModelError) as caught:
        open_engine(str(folder))
    assert said in str(caught.value)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)
