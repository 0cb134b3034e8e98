"""What mlx-lm's architectures allow, found on tiny random models of them, is what they compute."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from star_mlx.engine import blas
from tests import gpu_branch

pytestmark = pytest.mark.slow

blas.load()  # before mlx is imported

SETTINGS: dict[str, Any] = {  # every architecture takes those it knows
    "vocab_size": 96, "hidden_size": 64, "num_hidden_layers": 2, "intermediate_size": 64,
    "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "rms_norm_eps": 1e-5,
    "norm_eps": 1e-5, "layer_norm_eps": 1e-5, "layer_norm_epsilon": 1e-5, "layernorm_epsilon": 1e-5,
    "rope_theta": 1e4, "max_position_embeddings": 512, "tie_word_embeddings": False,
    "attention_bias": False, "mlp_bias": False, "use_bias": False, "use_qk_norm": True,
    "hidden_act": "silu", "sliding_window": 4, "sliding_window_pattern": 2, "rotary_pct": 0.5,
    "partial_rotary_factor": 0.5, "rotary_dim": 8, "query_pre_attn_scalar": 16,
    "n_embd": 64, "n_head": 4, "n_layer": 2, "n_inner": 64, "n_positions": 512, "n_ctx": 512,
    "embedding_multiplier": 2.0, "attention_multiplier": 0.25, "residual_multiplier": 0.5,
    "logits_scaling": 2.0, "logit_scale": 0.25, "dim_model_base": 32, "scale_depth": 1.4,
    "scale_emb": 2.0, "num_experts": 4, "num_local_experts": 4, "n_routed_experts": 4,
    "num_experts_per_tok": 2, "moe_intermediate_size": 32, "shared_expert_intermediate_size": 32,
    "n_shared_experts": 1, "num_shared_experts": 1, "n_group": 1, "topk_group": 1,
    "routed_scaling_factor": 1.0, "scoring_func": "sigmoid", "decoder_sparse_step": 1,
    "first_k_dense_replace": 1, "mlp_only_layers": [], "norm_topk_prob": True,
    "state_size": 8, "conv_kernel": 4, "expand": 2, "time_step_rank": 8, "use_conv_bias": True,
    "kv_lora_rank": 16, "q_lora_rank": 16, "qk_nope_head_dim": 8, "qk_rope_head_dim": 8,
    "v_head_dim": 16,
}  # fmt: skip
REQUIRED = ("sliding_window", "sliding_window_pattern")  # None says something of its own
SCALED = {"rope_theta": 1e4, "llama_4_scaling_beta": 0.1, "original_max_position_embeddings": 4}
FULL = {"layer_types": ["full_attention"] * 2}
DYNAMIC = {"rope_scaling": {"rope_type": "dynamic", "type": "dynamic", "factor": 2.0}}
LATENT = {"rope_scaling": {"short_factor": 1.0, "long_factor": 1.0}}
ONE_LINEAR = {"attention": {"no_op": True}, "ffn": {"ffn_mult": 1.0}}
ONE_WHOLE = {"attention": {"n_heads_in_group": 2}, "ffn": {"ffn_mult": 1.0}}
SHARES_KEYS = {
    "num_hidden_layers": 4, "num_kv_shared_layers": 2, "layer_types": ["full_attention"] * 4,
    "hidden_size_per_layer_input": 0, "vocab_size_per_layer_input": 96, "global_head_dim": 16,
    "num_global_key_value_heads": 2,
}  # fmt: skip
RECURRENT = {
    "conv1d_width": 4, "logits_soft_cap": 30.0, "attention_window_size": 4, "lru_width": 64,
    "block_types": ["recurrent", "attention"], "num_key_value_heads": 1,
}  # fmt: skip
CONVOLVES = {
    "conv_bias": False, "conv_L_cache": 3, "block_dim": 64, "block_multiple_of": 8,
    "block_ffn_dim_multiplier": 1.0, "block_auto_adjust_ff_dim": False, "full_attn_idxs": [1],
    "block_norm_eps": 1e-5, "block_ff_dim": 64,
}  # fmt: skip
MAMBA2 = {
    "num_heads": 4, "head_dim": 32, "n_groups": 1, "time_step_limit": [0.0, 100.0],
    "time_step_min": 0.001, "time_step_max": 0.1,
}  # fmt: skip
DBRX = {
    "d_model": 64, "n_layers": 2, "n_heads": 4,
    "ffn_config": {"ffn_hidden_size": 64, "moe_num_experts": 4, "moe_top_k": 2},
    "attn_config": {"kv_n_heads": 2, "clip_qkv": 8.0, "rope_theta": 1e4},
}  # fmt: skip
ERNIE = {
    "moe_num_experts": 4, "moe_k": 2, "moe_layer_start_index": 0, "moe_layer_end_index": 1,
    "moe_layer_interval": 1, "moe_num_shared_experts": 1,
}  # fmt: skip
PLAIN_TEXT = {k: v for k, v in SETTINGS.items() if k not in ("rope_theta", "hidden_act")}
GEMMA3 = {"text_config": {**PLAIN_TEXT, "model_type": "gemma3_text"}}
GEMMA4 = {
    "text_config": {
        **PLAIN_TEXT, "model_type": "gemma4_text", "num_kv_shared_layers": 0, "global_head_dim": 16,
        "hidden_size_per_layer_input": 0, "num_global_key_value_heads": 2,
        "final_logit_softcapping": 2.0, "sliding_window_pattern": 2,
    }
}  # fmt: skip
QWEN35 = {
    "text_config": {
        **PLAIN_TEXT, "model_type": "qwen3_5_text", "full_attention_interval": 2, "num_experts": 0,
        "linear_num_value_heads": 2, "linear_num_key_heads": 2, "linear_key_head_dim": 32,
        "linear_value_head_dim": 32, "linear_conv_kernel_dim": 4,
    }
}  # fmt: skip

SHARED: dict[str, dict[str, Any]] = {
    "llama": {},
    "llama tied": {"tie_word_embeddings": True},
    "llama of one key head": {"num_key_value_heads": 1},
    "llama without groups": {"num_key_value_heads": 4},
    "llama with llama3 rope": {
        "rope_scaling": {"rope_type": "llama3", "factor": 8, "original_max_position_embeddings": 8}
    },
    "qwen2": {}, "qwen3": {}, "phi3": {}, "olmo2": {}, "gemma": {}, "granite": {}, "cohere": {},
    "mixtral": {}, "qwen2_moe": {}, "qwen3_moe": {}, "starcoder2": {},
    "stablelm": {"use_qkv_bias": False},
    "ministral3": {"rope_parameters": SCALED}, "glm": {}, "glm4": {}, "gpt2": {}, "gptj": {},
    "gpt_neox": {"rotary_emb_base": 10000}, "smollm3": {}, "helium": {}, "mimo": {}, "phi": {},
    "nemotron": {}, "olmoe": {}, "internlm2": {}, "internlm3": {}, "ernie4_5": {}, "nanochat": {},
    "apertus": {"post_norm": True, "qk_norm": True}, "exaone": {"num_layers": 2}, "deepseek": {},
    "exaone4": {"rope_scaling": {"rope_type": "default"}, "sliding_window_pattern": None},
    "hunyuan_v1_dense": {}, "seed_oss": {"attention_out_bias": False}, "granitemoe": {},
    "minicpm": {}, "minicpm3": LATENT, "youtu_llm": {}, "telechat3": {}, "talkie": {},
    "llama4_text": {"intermediate_size_mlp": 64, "no_rope_layers": [1, 0]}, "Klear": {},
    "lille-130m": {"block_size": 512, "n_kv_heads": 2}, "dbrx": DBRX, "dots1": {},
    "ernie4_5_moe": ERNIE, "glm4_moe": {"rope_scaling": {"type": "default"}},
    "minimax": {"shared_intermediate_size": 32, "attn_type_list": [1, 1]}, "bailing_moe": {},
    "nanbeige": {}, "nanbeige read twice": {"num_loops": 2},
    "afmoe": {**FULL, "num_dense_layers": 1},
    "nemotron-nas without some attention": {"block_configs": [ONE_WHOLE, ONE_LINEAR]},
    "qwen": {"kv_channels": 16, "seq_length": 512},
    "phixtral": {"num_vocab": 96, "model_dim": 64, "num_heads": 4, "num_layers": 2},
}  # fmt: skip
ITS_OWN, CALLS = "it uses its caches in a way of its own", "its attention is not mlx-lm's"
COPIED: dict[str, tuple[str, dict[str, Any]]] = {
    "mamba": ("ArraysCache", {}),
    "mamba2": ("ArraysCache", MAMBA2),
    "lfm2": ("ArraysCache", CONVOLVES),
    "recurrent_gemma": ("ArraysCache, RotatingKVCache", RECURRENT),
    "gpt_oss": ("RotatingKVCache", {}),
    "gemma3_text": ("RotatingKVCache", {}),
    "cohere2": ("RotatingKVCache", {}),
    "llama sliding": ("RotatingKVCache", {"layer_types": ["sliding_attention", "full_attention"]}),
    "exaone4 sliding": (
        "RotatingKVCache",
        {"rope_scaling": {"rope_type": "default"}, "sliding_window_pattern": "LG"},
    ),
    "iquestloopcoder": ("RotatingKVCache", {}),
    "falcon_h1": ("CacheList", {}),
    "exaone_moe": ("a sliding window", {**FULL, "is_moe_layer": [False, True]}),
    "gemma2": (CALLS, {}),
    "deepseek_v3": ("it adds a mask to its scores", {"kv_lora_rank": 32}),
    "mistral4": (ITS_OWN, {"rope_parameters": {**SCALED, "rope_type": "default", "factor": 1.0}}),
    "gpt_bigcode": (ITS_OWN, {}),
    "llama with dynamic rope": (ITS_OWN, DYNAMIC),
    "internlm2 with dynamic rope": (ITS_OWN, DYNAMIC),
    "gemma3": ("RotatingKVCache", GEMMA3),
    "gemma4": ("RotatingKVCache", GEMMA4),
    "qwen3_5": ("ArraysCache", QWEN35),
    "gemma4_text that shares keys": ("gives other values", SHARES_KEYS),
}
# What mlx-lm's own batches of rows of several lengths compute wrongly, or raise at.
WRONG = ("mamba", "recurrent_gemma", "gemma2", "gpt_bigcode", "llama with dynamic rope",
         "internlm2 with dynamic rope")  # fmt: skip
HEADLESS = {"cohere", "granite", "granitemoe", "minicpm", "minicpm3", "gpt2", "gpt_neox", "mamba",
            "recurrent_gemma"}  # fmt: skip
HEADED = {
    "llama",
    "llama tied",
    "qwen2",
    "qwen3",
    "phi3",
    "olmo2",
    "gemma",
    "mixtral",
    "gemma2",
    "gemma3_text",
    "gemma3",  # the last three wrap the model that has the head
    "gemma4",
    "qwen3_5",
}

PREFIX = [3, 1, 4, 1, 5, 9, 2, 6, 5]
PROMPTS = [[7, 8, 9, 10, 11, 12], [20, 21, 22], [9, 8], [5]]
STEPS = 4


@pytest.fixture(autouse=True, scope="module")
def as_loaded() -> None:
    """As ``load`` does: no compiler."""
    import mlx.core as mx

    if mx.default_device().type == mx.DeviceType.cpu:
        mx.disable_compile()


def build(name: str, changes: dict[str, Any]) -> Any:
    """A tiny random model of an architecture, or skip what this mlx-lm cannot build."""
    import mlx.core as mx
    from mlx.utils import tree_map

    architecture = name.split()[0]
    settings = {**SETTINGS, "model_type": architecture, **changes}
    settings = {k: v for k, v in settings.items() if v is not None or k in REQUIRED}
    try:
        module = importlib.import_module(f"mlx_lm.models.{architecture}")
        model = module.Model(module.ModelArgs.from_dict(settings))
    except (ImportError, TypeError, KeyError, ValueError, AttributeError) as error:
        pytest.skip(f"this mlx-lm does not build {name} from these settings: {error}")
    keys = iter(mx.random.split(mx.random.key(1), 1000))

    def drawn(p: Any) -> Any:
        many = p.ndim > 1 and p.dtype == mx.float32
        return mx.random.normal(p.shape, scale=0.2, key=next(keys)) if many else p

    model.update(tree_map(drawn, model.parameters()))
    model.eval()
    mx.eval(model.parameters())
    unpatch(model)
    return model


def unpatch(model: Any) -> None:
    """Put mlx-lm's own functions back, should a model of this kind have been loaded before."""
    from star_mlx.engine import patch

    for module in {sys.modules[type(m).__module__] for m in model.modules()}:
        for name in (patch.ATTENTION, patch.SWIGLU):
            if getattr(getattr(module, name, None), "star_mlx", False):
                setattr(module, name, getattr(module, name).__wrapped__)


def found(model: Any) -> Any:
    """The form of a model with star-mlx's functions in it."""
    from star_mlx.engine import patch
    from star_mlx.engine.form import form

    patch.install(model)
    return form(model)


def last_logits(model: Any, ids: Sequence[int]) -> Any:
    """Logits (V,) after ids, by one pass without a cache."""
    import mlx.core as mx

    return np.array(model(mx.array([list(ids)]))[0, -1].astype(mx.float32))


def greedy(model: Any, prefix: list[int]) -> tuple[list[list[int]], Any]:
    """Tokens and their logits (STEPS, B, V) of each row alone, all of it read at every token."""
    rows = [[*prefix, *prompt] for prompt in PROMPTS]
    logits = [[] for _ in range(STEPS)]
    for row in rows:
        for step in logits:
            step.append(last_logits(model, row))
            row.append(int(step[-1].argmax()))
    return [row[-STEPS:] for row in rows], np.array(logits)


def decoded(batch: Any) -> list[list[int]]:
    """The first tokens of all rows of a batch."""
    tokens: dict[int, list[int]] = {i: [] for i in range(len(PROMPTS))}
    with batch:
        for step in batch.steps():
            for row, token in step:
                tokens[row].append(token)
            batch.remove([row for row, _ in step if len(tokens[row]) == STEPS])
    return [tokens[i] for i in range(len(PROMPTS))]


def assert_head(name: str, model: Any, form: Any) -> None:
    """Logits at places are those of the whole model there, by the head where there is one."""
    import mlx.core as mx

    tokens = mx.array([[*PREFIX[:6]], [*PROMPTS[0]]])
    every = np.array(model(tokens)).reshape(12, -1)
    where = [0, 3, 11, 5, 5]
    for one in (form, replace(form, head=False)):
        some = np.array(one.logits(model, tokens, mx.array(where)))
        np.testing.assert_allclose(some, every[where], rtol=0, atol=1e-4 * np.abs(every).max())
    assert form.head or name not in HEADED
    assert not form.head or name not in HEADLESS


@pytest.mark.parametrize("name", SHARED)
def test_an_architecture_that_keeps_its_prefix_once(name: str) -> None:
    import mlx.core as mx
    from mlx_lm.models.cache import make_prompt_cache

    from star_mlx.engine.batch import SharedBatch, prefill
    from star_mlx.engine.shared_cache import Columns, as_prefix, caches

    model = build(name, SHARED[name])
    follow, exact = greedy(model, PREFIX)
    bare, _ = greedy(model, [])
    rows = [prompt + tokens for prompt, tokens in zip(PROMPTS, follow, strict=True)]

    form = found(model)
    assert form.unshared == ""
    assert_head(name, model, form)

    longest = max(map(len, PROMPTS))
    columns = Columns([longest - len(p) for p in PROMPTS], len(PREFIX))
    read = prefill(model, PREFIX, 5)  # in two parts
    cache = caches(as_prefix(read), len(make_prompt_cache(model)), columns)
    ends = [len(p) for p in PROMPTS]
    tokens = mx.array([[0] * (longest - n) + row[:n] for n, row in zip(ends, rows, strict=True)])
    for i in range(STEPS):
        columns.advance(tokens.shape[1])
        where = mx.arange(1, len(rows) + 1) * tokens.shape[1] - 1
        logits = np.array(form.logits(model, tokens, where, cache).astype(mx.float32))
        np.testing.assert_allclose(
            logits, exact[i], rtol=0, atol=1e-3 * np.abs(exact[i]).max(), err_msg=f"step {i}"
        )
        tokens = mx.array([[row[n + i]] for n, row in zip(ends, rows, strict=True)])

    for prefix, expected in ((PREFIX, follow), ([], bare)):
        batch = SharedBatch(
            model, form, PROMPTS, prefix=read if prefix else None,
            prefix_length=len(prefix), draws=None, size=3,
        )  # fmt: skip
        assert decoded(batch) == expected


def test_float32_is_as_exact_as_tf32_on_a_gpu() -> None:
    """Its products may be rounded to 10 bits there, and to nothing on a CPU."""
    import mlx.core as mx

    from star_mlx.engine.form import _close, tolerance

    exact = mx.array([3.0, -1.0, 0.5])
    rounded = exact + 0.01
    assert not _close(rounded, exact, tolerance(mx.float32))
    assert _close(rounded, exact, tolerance(mx.bfloat16))
    with gpu_branch.taken():
        assert _close(rounded, exact, tolerance(mx.float32))
        assert not _close(-exact, exact, tolerance(mx.float32))


@pytest.mark.parametrize("name", ["llama", "qwen3", "ministral3"])  # the last makes NaN of pads
def test_an_architecture_keeps_its_prefix_once_on_a_gpu(name: str) -> None:
    with gpu_branch.taken():
        test_an_architecture_that_keeps_its_prefix_once(name)


@pytest.mark.parametrize("name", COPIED)
def test_an_architecture_that_cannot_says_why(name: str) -> None:
    reason, changes = COPIED[name]
    model = build(name, changes)
    expected = last_logits(model, PREFIX)
    form = found(model)
    assert reason in form.unshared
    assert_head(name, model, form)
    np.testing.assert_allclose(
        last_logits(model, PREFIX), expected, rtol=0, atol=1e-4 * np.abs(expected).max()
    )


@pytest.mark.parametrize("name", COPIED)
def test_copied_prefixes_decode_as_rows_alone(name: str) -> None:
    from star_mlx.engine import batch_copied
    from star_mlx.engine.batch import prefill

    model = build(name, COPIED[name][1])
    expected = {i: greedy(model, PREFIX[:i])[0] for i in (0, len(PREFIX))}
    assert found(model).copied is (name not in WRONG)  # mlx-lm's batches get those wrong
    for n, tokens in expected.items():
        prefix = prefill(model, PREFIX, 5) if n else None
        for size in (1,) if name in WRONG else (2, 8):
            batch = batch_copied.CopiedBatch(model, PROMPTS, prefix=prefix, draws=None, size=size)
            assert decoded(batch) == tokens


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_is_recognized_as_the_same_form(dtype: str) -> None:
    import mlx.core as mx

    for name in ("llama", "qwen3", "granite"):
        model = build(name, {})
        whole = found(model)
        model.set_dtype(getattr(mx, dtype))
        assert found(model) == whole
        assert whole.unshared == ""


def test_functions_are_replaced_once_and_keep_their_names() -> None:
    from mlx_lm.models import llama

    from star_mlx.engine import patch

    model = build("llama", {})
    plain = llama.scaled_dot_product_attention
    assert not getattr(plain, "star_mlx", False)
    patch.install(model)
    first = llama.scaled_dot_product_attention
    patch.install(model)
    assert llama.scaled_dot_product_attention is first
    assert first.__wrapped__ is plain
    assert first.__name__ == plain.__name__


@pytest.mark.parametrize("name", ["gemma3", "gemma4", "qwen3_5"])
def test_a_model_inside_another_takes_an_adapter(name: str) -> None:
    import mlx.core as mx
    import mlx.nn as nn
    from mlx.utils import tree_flatten

    from star_mlx.engine import adapter
    from star_mlx.engine.loss import loss_sum
    from star_mlx.settings import Train

    model = build(name, COPIED[name][1])
    form = found(model)
    arrays = mx.array([[*PREFIX[:6]]]), mx.array([3, 4]), mx.array([9, 2])
    with adapter.fresh(model, Train(layers=1, checkpoint=True), 0):
        names = [name for name, _ in adapter.layers(model)]
        assert names and all(n.startswith("language_model.model.layers.1.") for n in names)
        loss, gradient = nn.value_and_grad(model, loss_sum)(model, form, *arrays)
        slow = loss_sum(model, replace(form, head=False), *arrays)
        np.testing.assert_allclose(loss.item(), slow.item(), rtol=1e-5)
        moved = dict(tree_flatten(gradient))
        assert any(mx.abs(g).max().item() > 0 for g in moved.values())
    assert not adapter.layers(model)
