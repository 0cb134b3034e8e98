"""The GGUF format: a header of metadata and tensor descriptions, then the tensors' bytes.

Sources: ggml's ``docs/gguf.md`` (layout, value types) and ``ggml.h`` (tensor types). Every count
and offset is checked against the file's size before it is used. Imports no mlx.
"""

from __future__ import annotations

import math
import mmap
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from star_mlx.errors import ModelError

Bytes = np.ndarray[Any, np.dtype[np.uint8]]

# id -> name, weights per block, bytes per block
PLAIN_IDS = {0: ("F32", 1, 4), 1: ("F16", 1, 2), 30: ("BF16", 1, 2)}
KNOWN = {
    **PLAIN_IDS,
    2: ("Q4_0", 32, 18),
    3: ("Q4_1", 32, 20),
    6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24),
    8: ("Q8_0", 32, 34),
    10: ("Q2_K", 256, 84),
    11: ("Q3_K", 256, 110),
    12: ("Q4_K", 256, 144),
    13: ("Q5_K", 256, 176),
    14: ("Q6_K", 256, 210),
    20: ("IQ4_NL", 32, 18),
    23: ("IQ4_XS", 256, 136),
}
PLAIN = tuple(name for name, _, _ in PLAIN_IDS.values())
UNKNOWN = {
    9: "Q8_1", 15: "Q8_K", 16: "IQ2_XXS", 17: "IQ2_XS", 18: "IQ3_XXS", 19: "IQ1_S",
    21: "IQ3_S", 22: "IQ2_S", 24: "I8", 25: "I16", 26: "I32", 27: "I64", 28: "F64",
    29: "IQ1_M", 34: "TQ1_0", 35: "TQ2_0", 39: "MXFP4", 40: "NVFP4", 41: "Q1_0",
}  # fmt: skip
SCALARS = {
    0: "B",
    1: "b",
    2: "H",
    3: "h",
    4: "I",
    5: "i",
    6: "f",
    7: "?",
    10: "Q",
    11: "q",
    12: "d",
}
STRING, ARRAY = 8, 9
AGAIN = "download it again"


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor's description. ``shape`` is (rows, columns), as in numpy; the offset is in bytes."""

    name: str
    shape: tuple[int, ...]
    kind: str
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class Gguf:
    """A GGUF file: its metadata, and its tensors, which are read on demand."""

    path: Path
    metadata: Mapping[str, Any]
    tensors: Mapping[str, Tensor]

    def need(self, key: str) -> Any:
        """A required metadata value."""
        if key not in self.metadata:
            raise ModelError(f"{self.path} lacks the metadata {key}: it is not a whole model file")
        return self.metadata[key]

    def count(self, key: str, default: int | None = None) -> int:
        """A metadata value that is a count of one or more."""
        value = self.metadata.get(key, default) if default is not None else self.need(key)
        if isinstance(value, list) and value and len(set(value)) == 1:
            value = value[0]  # one number per layer, all the same
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            shown = str(value) if len(str(value)) < 60 else f"{str(value)[:60]}..."
            raise ModelError(f"{self.path}: {key} is {shown}, not one positive whole number")
        return value

    def number(self, key: str, default: float | None = None) -> float:
        """A positive metadata value, the shortest decimal of its float32: 1e-05, not 9.9999997e-06.

        ``default`` is used if the key is missing.
        """
        value = self.metadata.get(key, default) if default is not None else self.need(key)
        if not isinstance(value, int | float) or not 0 < value < 1e30:
            raise ModelError(f"{self.path}: {key} is {str(value)[:60]}, not a positive number")
        return float(str(np.float32(value)))

    def bytes_of(self, tensor: Tensor) -> Bytes:
        """The bytes of a tensor, uint8 of shape (size,), mapped from the file."""
        return np.memmap(self.path, np.uint8, "r", offset=tensor.offset, shape=(tensor.size,))


def read(path: Path) -> Gguf:
    """Read a file's header.

    Raises:
        ModelError: it is not a GGUF file, is damaged or truncated, or has a tensor of a type that
            cannot be imported.
    """
    try:
        with open(path, "rb") as file:
            magic = file.read(8)
            if magic[:4] != b"GGUF":
                raise ModelError(f"{path} is not a GGUF file (it does not begin with GGUF)")
            if len(magic) < 8:
                raise _damaged(path, "it is cut off")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return _Header(path, data).read()
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror or error}") from error
    except struct.error:
        raise _damaged(path, "its header is cut off") from None


def _damaged(path: Path, what: str) -> ModelError:
    return ModelError(f"{path} is damaged: {what}; {AGAIN}")


class _Header:
    def __init__(self, path: Path, data: mmap.mmap) -> None:
        self.path, self.data, self.at = path, data, 4

    def read(self) -> Gguf:
        version = self.scalar("I")
        if version & 0xFFFF == 0:
            raise ModelError(f"{self.path} is big-endian: ask for a little-endian GGUF file")
        if version not in (2, 3):
            raise ModelError(f"{self.path} is GGUF version {version}; versions 2 and 3 are known")
        n_tensors, n_metadata = self.scalar("Q"), self.scalar("Q")
        metadata: dict[str, Any] = {}
        for _ in range(n_metadata):
            key = self.string()
            metadata[key] = self.value(self.scalar("I"))
        described = [self.describe() for _ in range(n_tensors)]
        alignment = metadata.get("general.alignment", 32)
        if not isinstance(alignment, int) or alignment < 8 or alignment & (alignment - 1):
            raise _damaged(self.path, f"its alignment is {alignment}")
        start = -(-self.at // alignment) * alignment
        tensors: dict[str, Tensor] = {}
        for name, shape, kind, offset in described:
            if name in tensors:
                raise _damaged(self.path, f"it has two tensors {name!r}")
            tensors[name] = self.place(name, shape, kind, start + offset)
        return Gguf(self.path, metadata, tensors)

    def scalar(self, code: str) -> Any:
        layout = struct.Struct("<" + code)
        (value,) = layout.unpack_from(self.data, self.at)
        self.at += layout.size
        return value

    def string(self) -> str:
        size = self.scalar("Q")
        if size > len(self.data) - self.at:
            raise _damaged(self.path, "its header is cut off")
        self.at += size
        try:
            return self.data[self.at - size : self.at].decode()
        except UnicodeDecodeError:
            raise _damaged(self.path, f"text at byte {self.at - size} is not UTF-8") from None

    def value(self, kind: int) -> Any:
        if kind == STRING:
            return self.string()
        if kind in SCALARS:
            return self.scalar(SCALARS[kind])
        if kind != ARRAY:
            raise _damaged(self.path, f"metadata of the unknown type {kind}")
        item, n = self.scalar("I"), self.scalar("Q")
        if n > len(self.data) - self.at:  # an item takes at least one byte
            raise _damaged(self.path, "its header is cut off")
        if item == STRING:
            return [self.string() for _ in range(n)]
        if item not in SCALARS:
            raise _damaged(self.path, f"an array of the unknown type {item}")
        layout = struct.Struct(f"<{n}{SCALARS[item]}")
        values = list(layout.unpack_from(self.data, self.at))
        self.at += layout.size
        return values

    def describe(self) -> tuple[str, tuple[int, ...], int, int]:
        name = self.string()
        n = self.scalar("I")
        if not 1 <= n <= 4:
            raise _damaged(self.path, f"tensor {name!r} has {n} dimensions")
        sizes = [self.scalar("Q") for _ in range(n)]
        return name, tuple(reversed(sizes)), self.scalar("I"), self.scalar("Q")

    def place(self, name: str, shape: tuple[int, ...], kind: int, offset: int) -> Tensor:
        if kind not in KNOWN:
            called = UNKNOWN.get(kind, f"the unknown type {kind}")
            raise ModelError(
                f"{self.path}: tensor {name} is {called}, which cannot be imported; "
                "ask for a Q4_K_M, Q8_0, BF16 or F16 file of this model"
            )
        called, block, size = KNOWN[kind]
        if 0 in shape or shape[-1] % block:
            raise _damaged(self.path, f"tensor {name} of {called} has the shape {list(shape)}")
        total = math.prod(shape) // block * size
        if offset + total > len(self.data):
            raise _damaged(self.path, f"it ends before tensor {name} does")
        return Tensor(name, shape, called, offset, total)


def package() -> Any:
    """The ``gguf`` package, which decodes blocks and writes files; it is loaded when it is needed.

    Raises:
        ModelError: it is not installed.
    """
    try:
        import gguf
    except ImportError:
        raise ModelError(
            "quantized weights of GGUF and writing such files need the gguf package: pip install "
            "'star-mlx[gguf]'"
        ) from None
    return gguf
