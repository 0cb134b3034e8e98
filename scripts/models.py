"""Write the tables of docs/models.md from runs of tiny random models, one of each family.

python scripts/models.py

The runs are those of tests/test_models.py, which compares their rows with the page. The memory is
estimated from the sizes that the named checkpoint publishes.
"""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests import families  # noqa: E402
from tests.families import Found  # noqa: E402

PAGE = ROOT / "docs/models.md"
BEGIN, END = "<!-- made by scripts/models.py -->\n", "<!-- end -->\n"
HEADS = (
    ("family", "few-shot prompt", "system message", "template writes", "thinking", "end of a turn"),
    (
        "family",
        "LoRA is put on",
        "PEFT",
        "checkpoint",
        "memory, estimated: one row",
        "checkpointed",
        "8,192 tokens",
    ),
)
STORED = 4.5 / 8  # bytes of a weight at 4 bits, with a scale and a bias for 64 of them
LENGTH, PASS = 512, 8192  # tokens of the longest row (train.max_length), and of a whole pass

# The parameters of the text model that the checkpoint's card gives, in billions, and the sizes in
# its config.json: layers, width, inner width, heads, key heads, width of a head, vocabulary.
CHECKPOINTS: dict[str, tuple[str, float, tuple[int, ...]]] = {
    "Qwen2.5": ("Qwen/Qwen2.5-0.5B-Instruct", 0.49, (24, 896, 4864, 14, 2, 64, 151936)),
    "Qwen3": ("Qwen/Qwen3-0.6B", 0.6, (28, 1024, 3072, 16, 8, 128, 151936)),
    "Qwen3.5": ("Qwen/Qwen3.5-4B", 4.2, (32, 2560, 9216, 16, 4, 256, 248320)),
    "Llama 3.2": ("meta-llama/Llama-3.2-1B-Instruct", 1.23, (16, 2048, 8192, 32, 8, 64, 128256)),
    "SmolLM2": ("HuggingFaceTB/SmolLM2-135M-Instruct", 0.135, (30, 576, 1536, 9, 3, 64, 49152)),
    "SmolLM3": ("HuggingFaceTB/SmolLM3-3B", 3.08, (36, 2048, 11008, 16, 4, 128, 128256)),
    "gemma 3 1B": ("google/gemma-3-1b-it", 1.0, (26, 1152, 6912, 4, 1, 256, 262144)),
    "gemma 3 4B": ("google/gemma-3-4b-it", 3.9, (34, 2560, 10240, 8, 4, 256, 262208)),
    "gemma 4": ("google/gemma-4-E2B-it", 5.1, (35, 1536, 6144, 8, 1, 256, 262144)),
    "Phi-4-mini": ("microsoft/Phi-4-mini-instruct", 3.84, (32, 3072, 8192, 24, 8, 128, 200064)),
    "LFM2": ("LiquidAI/LFM2-1.2B", 1.17, (16, 2048, 8192, 32, 8, 64, 65536)),
}

KEYS = ("num_hidden_layers", "hidden_size", "intermediate_size", "num_attention_heads",
        "num_key_value_heads", "head_dim", "vocab_size")  # fmt: skip
LINEAR = {  # three of four layers have linear attention
    "Qwen3.5": {"linear_num_value_heads": 32, "linear_key_head_dim": 128,
                "linear_value_head_dim": 128, "full_attention_interval": 4},
}  # fmt: skip


def rows(name: str, found: Found) -> tuple[str, str]:
    """The rows of a family in the two tables."""
    checkpoint = CHECKPOINTS[name][0]
    kept, _, why = found.prefix.partition(": its layers keep ")
    shared = f"copied ({why})" if kept == "copied" else kept
    writes = [*(["start token"] if found.start else []), *(["date"] if found.date else [])]
    works = ((LENGTH, False), (LENGTH, True), (PASS, False))
    sizes = [f"{memory(name, *work) / 1e9:,.1f} GB" for work in works]
    return (
        _line([name, shared, found.system, ", ".join(writes) or "nothing more",
               found.thinking, f"`{found.end}`"]),
        _line([name, _modules(found.targets), found.peft, checkpoint, *sizes]),
    )  # fmt: skip


def _modules(targets: Sequence[str]) -> str:
    names = {target.rpartition(".")[2] for target in targets}
    usual = {f"{name}_proj" for name in ("q", "k", "v", "o", "gate", "up", "down")}
    others = [f"`{name}`" for name in sorted(names - usual)]
    return ", ".join((["the usual"] if usual <= names else
                      [f"`{name}`" for name in sorted(names & usual)]) + others)  # fmt: skip


def memory(name: str, tokens: int, checkpoint: bool = False) -> int:
    """Bytes for training a checkpoint at 4 bits on a GPU, with ``tokens`` in a pass; with
    ``checkpoint`` its layers keep only their inputs."""
    from star_mlx.engine.shape import Shape
    from star_mlx.settings import Train

    _, billions, sizes = CHECKPOINTS[name]
    config = dict(zip(KEYS, sizes, strict=True)) | {"model_type": families.FAMILIES[name].kind}
    shape = Shape.of(config | LINEAR.get(name, {}), itemsize=2, compiled=True)
    train = Train(checkpoint=checkpoint)
    weights = int(STORED * billions * 1e9)
    return weights + shape.adapter_bytes(train) + tokens * shape.training_bytes(LENGTH, train)


def tables(found: dict[str, Found]) -> str:
    """Both tables."""
    made = zip(*(rows(name, one) for name, one in found.items()), strict=True)
    parts = [
        "\n".join([_line(heads), _line(["---"] * len(heads)), *lines])
        for heads, lines in zip(HEADS, made, strict=True)
    ]
    return "\n\n".join(parts) + "\n"


def _line(cells: Sequence[Any]) -> str:
    return "| " + " | ".join(str(cell).replace("|", r"\|") for cell in cells) + " |"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        found = {name: families.tried(name, Path(folder) / name) for name in families.FAMILIES}
    text = PAGE.read_text(encoding="utf-8")
    between = re.compile(f"(?<={re.escape(BEGIN)}).*(?={re.escape(END)})", re.DOTALL)
    PAGE.write_text(between.sub(lambda _: tables(found), text), encoding="utf-8")


if __name__ == "__main__":
    main()
