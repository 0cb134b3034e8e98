"""Write the adapter in mlx-lm's own format, with the tokenizer."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from star_mlx.engine.adapter_file import CONFIG, WEIGHTS
from star_mlx.export.source import ExportSource, WrittenFormat

TOKENIZER = (
    "tokenizer.json", "tokenizer.model", "tokenizer_config.json", "special_tokens_map.json",
    "added_tokens.json", "vocab.json", "vocab.txt", "merges.txt", "*.tiktoken",
    "chat_template.jinja", "chat_template.json",
)  # fmt: skip


def write(source: ExportSource, folder: Path) -> WrittenFormat:
    """Copy the adapter's two files and the tokenizer's."""
    for name in (WEIGHTS, CONFIG):
        shutil.copyfile(source.adapter / name, folder / name)
    copy_tokenizer(source, folder)
    return WrittenFormat(
        (f"it fits only the base {source.base.name}; prompt.json says how to ask it",)
    )


def copy_tokenizer(source: ExportSource, folder: Path, *more: str) -> None:
    """Copy the tokenizer's files of the base as they are, and ``more`` by name."""
    for pattern in (*TOKENIZER, *more):
        for path in source.base.folder.glob(pattern):
            shutil.copyfile(path, folder / path.name)


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Write a JSON file that is readable by people."""
    text = json.dumps(values, indent=2, ensure_ascii=False) + "\n"
    path.write_bytes(text.encode("utf-8", "backslashreplace"))
