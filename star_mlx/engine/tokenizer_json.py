"""Values of a ``tokenizer.json`` that the library tokenizers does not survive.

It is written in Rust. Most wrong values it refuses with an exception. A few make it panic, which
Python sees as a ``PanicException`` that is no ``Exception``, or end the process.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from star_mlx.errors import ModelError
from star_mlx.formatting import clipped

MOST_PADDING = 1 << 24  # tokens; a row of as many is allocated at once


def check(path: Path) -> None:
    """Refuse a tokenizer.json that is no JSON object, is nested too deeply, or has values that
    would end the process.

    Raises:
        ModelError: names the file and the value.
    """
    import msgspec

    if not path.is_file():
        return
    try:
        values = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError) as error:
        raise ModelError(f"{path} is damaged: {error}; get it again") from error
    if wrong := _prefix(values.get("model")) or _padding(values.get("padding")):
        raise ModelError(f"{path} is damaged: {wrong}; get it again")


def _prefix(model: Any) -> str | None:
    """A BPE merge drops the prefix from its second token without looking how long that is."""
    prefix = model.get("continuing_subword_prefix") if isinstance(model, dict) else None
    merges = model.get("merges") if isinstance(model, dict) else None
    if not isinstance(prefix, str) or not prefix or not isinstance(merges, list):
        return None
    size = len(prefix.encode("utf-8", "surrogatepass"))
    for number, merge in enumerate(merges, 1):
        second = merge.split(" ", 1)[-1] if isinstance(merge, str) else _last(merge)
        if second is not None and len(second.encode("utf-8", "surrogatepass")) < size:
            return (
                f"model.continuing_subword_prefix {clipped(prefix, 20)!r} is longer than the "
                f"second token of merge {number}"
            )
    return None


def _last(merge: Any) -> str | None:
    pair = isinstance(merge, list) and len(merge) == 2 and isinstance(merge[1], str)
    return merge[1] if pair else None


def _padding(padding: Any) -> str | None:
    if not isinstance(padding, dict):
        return None
    strategy = padding.get("strategy")
    fixed = strategy.get("Fixed") if isinstance(strategy, dict) else None
    multiple = padding.get("pad_to_multiple_of")
    for name, value in (("strategy", fixed), ("pad_to_multiple_of", multiple)):
        if isinstance(value, int) and value > MOST_PADDING:
            return f"padding.{name} of {value} tokens"
    return None


def raised(error: BaseException) -> bool:
    """Whether tokenizers itself raised it: a plain ``Exception``, or a panic."""
    return type(error) is Exception or type(error).__name__ == "PanicException"
