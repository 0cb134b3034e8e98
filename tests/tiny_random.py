"""A tiny random llama in a folder, with a byte-level tokenizer: the real path, no download."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

CONFIG: dict[str, Any] = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "intermediate_size": 64,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "max_position_embeddings": 512,
    "tie_word_embeddings": True,
}
MERGES = [("Ġ", "1"), ("Ċ", "Ċ"), ("a", "b"), ("ab", "Ċ"), (".", "Ċ"), (".Ċ", "x")]


def write(folder: Path, *, bits: int | None = None, bos: bool = False, **changes: Any) -> Path:
    """Write a random model; quantized to ``bits`` where given, with a BOS token where asked."""
    from star_mlx.engine import blas

    blas.load()
    from mlx_lm.models.llama import Model, ModelArgs

    folder.mkdir(parents=True, exist_ok=True)
    vocab = _tokenizer(folder, bos)
    config = {**CONFIG, "vocab_size": vocab, "eos_token_id": 0, **changes}
    return save(folder, Model(ModelArgs.from_dict(config)), config, bits=bits)


def save(
    folder: Path, model: Any, config: dict[str, Any], *, bits: int | None = None, scale: float = 0.3
) -> Path:
    """Draw a model's weights and write them, with its config; mlx is imported by then."""
    import mlx.core as mx
    from mlx import nn
    from mlx.utils import tree_flatten, tree_map

    keys = mx.random.split(mx.random.key(1), 1000)
    count = iter(range(1000))
    model.update(
        tree_map(
            lambda p: (
                mx.random.normal(p.shape, scale=scale, key=keys[next(count)]) if p.ndim > 1 else p
            ),
            model.parameters(),
        )
    )
    if bits:
        nn.quantize(model, group_size=32, bits=bits)
        config["quantization"] = {"group_size": 32, "bits": bits}
    weights = dict(tree_flatten(model.parameters()))
    if bits:  # as stored by mlx-lm: half-precision scales
        weights = {
            k: v.astype(mx.float16) if v.dtype == mx.float32 else v for k, v in weights.items()
        }
    mx.save_safetensors(str(folder / "model.safetensors"), weights, {"format": "mlx"})
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


def tokenizer(
    folder: Path, specials: Sequence[str], *, eos: str, bos: str | None, more: dict[str, Any]
) -> int:
    """Write a byte-level tokenizer whose last tokens are the special ones, and return its size.

    ``bos`` is put before texts, unless they are a chat; ``more`` goes into its config.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors

    pieces = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = Tokenizer(models.BPE(vocab={p: i for i, p in enumerate(pieces)}, merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in specials])
    if bos:
        own = [(bos, made.token_to_id(bos))]
        made.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A", pair=f"{bos} $A $B", special_tokens=own
        )
    made.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast", "eos_token": eos, "bos_token": bos, **more,
    }  # fmt: skip
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    return int(made.get_vocab_size())


def _tokenizer(folder: Path, bos: bool) -> int:
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    pieces = ["<eos>", "<bos>", *alphabet, *("".join(m) for m in MERGES)]
    vocab = {piece: i for i, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=MERGES))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(t, special=True) for t in ("<eos>", "<bos>")])
    if bos:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<bos> $A", pair="<bos> $A $B", special_tokens=[("<bos>", 1)]
        )
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": "<eos>",
        "bos_token": "<bos>" if bos else None,
        "model_max_length": 512,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    return len(pieces)
