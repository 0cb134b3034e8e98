"""The architectures that are read and written as GGUF: their tensors' names and their rows' order.

Sources: llama.cpp's ``gguf-py/gguf/constants.py`` (names), ``conversion/*.py`` (what its converter
does to the values) and ``src/models/*.cpp`` (what it computes), and mlx-lm's ``models/*.py``.
Imports no mlx.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

_SEPARATE = {
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
_FUSED = {
    "attn_qkv": "self_attn.qkv_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_up": "mlp.gate_up_proj",  # of the gate first, in both
    "ffn_down": "mlp.down_proj",
}
_NORMS = {"attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm"}
_HEAD_NORMS = {"attn_q_norm": "self_attn.q_norm", "attn_k_norm": "self_attn.k_norm"}
_GEMMA_NORMS = {
    "attn_norm": "input_layernorm",
    "post_attention_norm": "post_attention_layernorm",
    "ffn_norm": "pre_feedforward_layernorm",
    "post_ffw_norm": "post_feedforward_layernorm",
}


@dataclass(frozen=True, slots=True)
class Architecture:
    """An architecture of llama.cpp, and the one of mlx-lm that computes the same.

    ``linear`` and ``norms`` name mlx-lm's module for each of a layer's tensors. ``permuted``: rows
    of q and k are in the order of pairs that are rotated, not of halves. ``biases``: linear modules
    that always have one; None if a file may have them on all, or not. ``norm_offset`` is added to
    the weights of norms in GGUF. ``head_norms`` are the norms of single heads. ``head_is_share``:
    mlx-lm computes the size of a head from the hidden size and the number of heads.
    """

    name: str
    model_type: str
    class_name: str
    linear: Mapping[str, str]
    norms: Mapping[str, str]
    permuted: bool = False
    biases: tuple[str, ...] | None = ()
    norm_offset: float = 0.0
    head_norms: tuple[str, ...] = ()
    head_is_share: bool = False


ARCHITECTURES = {
    one.name: one
    for one in (
        Architecture(
            "llama", "llama", "LlamaForCausalLM", _SEPARATE, _NORMS, permuted=True, biases=None
        ),
        Architecture(
            "qwen2", "qwen2", "Qwen2ForCausalLM", _SEPARATE, _NORMS,
            biases=("attn_q", "attn_k", "attn_v"), head_is_share=True,
        ),
        Architecture(
            "qwen3", "qwen3", "Qwen3ForCausalLM", _SEPARATE, {**_NORMS, **_HEAD_NORMS},
            head_norms=tuple(_HEAD_NORMS),
        ),
        Architecture(
            "gemma3", "gemma3_text", "Gemma3ForCausalLM", _SEPARATE,
            {**_GEMMA_NORMS, **_HEAD_NORMS}, norm_offset=1.0, head_norms=tuple(_HEAD_NORMS),
        ),
        Architecture("phi3", "phi3", "Phi3ForCausalLM", _FUSED, _NORMS, head_is_share=True),
        Architecture(
            "smollm3", "smollm3", "SmolLM3ForCausalLM", _SEPARATE, _NORMS, permuted=True
        ),
    )
}  # fmt: skip
