"""Make the embedded base `tiny`: corpus, pretraining in MLX, 4-bit quantization, model folder.

Run from the repository root::

    python scripts/tiny/pretrain.py --out star_mlx/models/tiny

Two phases. First short sums with Adam: adding two digits is the slowest thing to learn, and
alone it is learned soonest. Then the whole mixture, at a rate that does not wipe it out again. A
phase may train the hidden matrices with Muon (Jordan et al. 2024): quicker, and less sure. The
loss is taken on the worked part of every sum. ``docs/tiny-base.md`` has what was tried.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

# ruff: noqa: E402  (the fast BLAS must be loaded before mlx is imported)
sys.path[:0] = [str(Path(__file__).resolve().parents[2]), str(Path(__file__).resolve().parent)]
from star_mlx.engine import blas

blas.load()

import mlx.core as mx
import mlx.nn as nn
import mlx.optimizers as optim
import numpy as np
from corpus import SHORT, Mixture, rows
from mlx.utils import tree_flatten
from mlx_lm.models.llama import Model, ModelArgs
from mlx_lm.utils import quantize_model, save_config, save_model
from tokenizer import EOS, VOCABULARY, save

ARCHITECTURE = {
    "model_type": "llama",
    "hidden_size": 128,
    "num_hidden_layers": 4,
    "intermediate_size": 352,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "rms_norm_eps": 1e-5,
    "vocab_size": VOCABULARY,
    "max_position_embeddings": 2048,
    "rope_theta": 10000.0,
    "tie_word_embeddings": True,
}


@dataclass(frozen=True)
class Phase:
    """The settings of one phase of pretraining."""

    mixture: Mixture
    tokens: int
    length: int
    """Tokens a document."""
    batch: int
    """Documents a step."""
    adam: float
    """Adam's learning rate, at its highest."""
    muon: float = 0.0
    """Muon's learning rate for the hidden matrices; 0: they are left to Adam."""
    floor: float = 0.0
    """What the cosine schedule ends on, as a share of the highest rate."""
    warm_up: int = 50
    clip: float = 1.0


PHASES = (
    Phase(SHORT, tokens=900_000, length=64, batch=8, adam=1e-3, floor=1.0),
    Phase(Mixture(), tokens=2_400_000, length=192, batch=4, adam=1e-3),
)


def initialised(seed: int) -> Model:
    """The untrained model: embedding normal, matrices uniform, both by width."""
    mx.random.seed(seed)
    model = Model(ModelArgs.from_dict(ARCHITECTURE))
    width = ARCHITECTURE["hidden_size"] ** -0.5
    model.model.embed_tokens.weight = mx.random.normal((VOCABULARY, 128)) * width
    for layer in model.layers:
        for linear in (*layer.self_attn.children().values(), *layer.mlp.children().values()):
            if isinstance(linear, nn.Linear):
                bound = linear.weight.shape[1] ** -0.5
                linear.weight = mx.random.uniform(-bound, bound, linear.weight.shape)
    return model


def loss_of(model: Model, ids: mx.array, where: mx.array) -> mx.array:
    """Mean cross-entropy of the completion tokens; ``ids`` (B, T), ``where`` flat indices."""
    hidden = model.model(ids[:, :-1])
    hidden = hidden.reshape(-1, hidden.shape[-1])[where]
    logits = model.model.embed_tokens.as_linear(hidden)
    return nn.losses.cross_entropy(logits, ids[:, 1:].reshape(-1)[where], reduction="mean")


def batches(
    settings: Phase, stream: Iterator[tuple[list[int], list[bool]]]
) -> Iterator[tuple[mx.array, mx.array]]:
    """Token ids (B, T + 1) and the flat indices of the completion tokens among the targets."""
    while True:
        chosen = list(islice(stream, settings.batch))
        learn = np.array([row[1] for row in chosen])[:, 1:]
        yield mx.array([row[0] for row in chosen]), mx.array(np.flatnonzero(learn))


def train(
    model: Model,
    settings: Phase,
    stream: Iterator[tuple[list[int], list[bool]]],
    report: Callable[[str], None] = print,
) -> list[float]:
    """Train ``model`` in place; the loss of every step."""
    steps = settings.tokens // (settings.batch * settings.length)
    adam = optim.Adam(learning_rate=settings.adam, betas=[0.9, 0.95], bias_correction=True)
    muon = optim.Muon(learning_rate=settings.muon, momentum=0.95, weight_decay=0.0)
    both = optim.MultiOptimizer(
        [muon, adam],
        [lambda path, w: settings.muon > 0 and w.ndim == 2 and "embed" not in path],
    )
    both.init(model.trainable_parameters())
    step_of = nn.value_and_grad(model, loss_of)
    losses: list[float] = []
    start = time.perf_counter()
    for step, (ids, where) in zip(range(steps), batches(settings, stream), strict=False):
        cosine = (1 + math.cos(math.pi * step / steps)) / 2
        share = min(1.0, (step + 1) / settings.warm_up)
        share *= settings.floor + (1 - settings.floor) * cosine
        muon.learning_rate, adam.learning_rate = settings.muon * share, settings.adam * share
        loss, gradients = step_of(model, ids, where)
        gradients, _ = optim.clip_grad_norm(gradients, settings.clip)
        both.update(model, gradients)
        mx.eval(model.parameters(), both.state, loss)
        losses.append(loss.item())
        if (step + 1) % 100 == 0 or step + 1 == steps:
            seen = (step + 1) * settings.batch * settings.length
            rate = seen / (time.perf_counter() - start)
            mean = sum(losses[-100:]) / len(losses[-100:])
            report(f"step {step + 1}/{steps} tokens {seen} loss {mean:.4f} {rate:.0f} tokens/s")
    return losses


def write(model: Model, folder: Path) -> None:
    """Quantize to 4 bits, groups of 32, by mlx-lm's own way; write an mlx-lm model folder."""
    tokenizer = save(folder)
    config = {
        **ARCHITECTURE,
        "architectures": ["LlamaForCausalLM"],
        "eos_token_id": tokenizer.token_to_id(EOS),
        "bos_token_id": None,
        "torch_dtype": "float32",
    }
    model, config = quantize_model(model, config, group_size=32, bits=4)
    save_model(folder, model, donate_model=False)
    (folder / "model.safetensors.index.json").unlink(missing_ok=True)
    save_config(config, config_path=folder / "config.json")


def make(
    phases: Sequence[Phase], seed: int, folder: Path, report: Callable[[str], None] = print
) -> None:
    """Pretrain a base from nothing, phase after phase, and write its model folder."""
    tokenizer = save(folder)
    model = initialised(seed)
    count = sum(w.size for _, w in tree_flatten(model.parameters()))
    report(f"{count} parameters, seed {seed}")
    for number, phase in enumerate(phases):
        report(str(phase))
        stream = rows(
            seed * len(phases) + number,
            phase.mixture,
            phase.length + 1,
            lambda text: tokenizer.encode(text).ids,
            tokenizer.token_to_id(EOS),
        )
        train(model, phase, stream, report)
    write(model, folder)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tokens", type=int, help="tokens of the last phase")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    *first, last = PHASES
    if options.tokens:
        last = replace(last, tokens=options.tokens)
    make([*first, last], options.seed, options.out, lambda line: print(line, flush=True))


if __name__ == "__main__":
    main()
