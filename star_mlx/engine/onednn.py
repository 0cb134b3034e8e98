"""Products in bfloat16 by oneDNN, on processors that have instructions for them.

Only products with registered weights are computed so; see ``shim/products.c``. oneDNN is used if the
package ``onednn-cpu-iomp`` is installed (``pip install 'star-mlx[cpu-bfloat16]'``).

Nothing is loaded when this module is imported, and no mlx.
"""

from __future__ import annotations

import ctypes
import importlib.metadata
import platform
from collections.abc import Mapping
from pathlib import Path

# Any of these has libdnnl.so.3; the first is the one of the extra.
PACKAGES = ("onednn-cpu-iomp", "onednn-cpu-gomp")
OPENMP = {"onednn-cpu-iomp": "libiomp5.so", "onednn-cpu-gomp": "libgomp.so.1"}
FLAGS = ("avx512_bf16", "amx_bf16")  # of /proc/cpuinfo; either is enough
EXTRA = "pip install 'star-mlx[cpu-bfloat16]'"

_shim: ctypes.CDLL | None = None
_opened = False


def offer(shim: ctypes.CDLL) -> None:
    """Remember the loaded forwarding library, which contains the products."""
    global _shim
    _shim = shim


def problem() -> str:
    """Why products in bfloat16 cannot be had here, and what to do; empty if they can. Loads
    oneDNN."""
    global _opened
    if _opened:
        return ""
    if platform.machine() != "x86_64" or not _flags() & set(FLAGS):
        return "this processor has no instructions for bfloat16 (AVX-512 BF16 or AMX)"
    if _shim is None:
        return "mlx was not given OpenBLAS by star-mlx (see star-mlx doctor)"
    package = next((name for name in PACKAGES if version(name)), None)
    if package is None:
        return f"oneDNN is not installed: {EXTRA}"
    try:
        openmp = ctypes.CDLL(_library(package, OPENMP[package]))
        dnnl = ctypes.CDLL(_library(package, "libdnnl.so.3"))
    except OSError as error:
        return f"oneDNN cannot be loaded: {error}"
    _shim.star_products_open.restype = ctypes.c_char_p
    _shim.star_products_open.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
    if missing := _shim.star_products_open(dnnl._handle, openmp._handle):
        return f"oneDNN lacks {missing.decode()}: {EXTRA}"
    _opened = True
    return ""


def use_threads(threads: int) -> None:
    """Set the number of threads that one product uses."""
    if _shim is not None:
        _shim.star_products_threads(threads)


def version(package: str) -> str | None:
    """The version of an installed package, or None."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def counts() -> tuple[int, int]:
    """The products computed in bfloat16, and those with a registered weight that were not."""
    made = (ctypes.c_long * 2)()
    if _shim is not None:
        _shim.star_products_counts(made)
    return made[0], made[1]


class Registry:
    """The weights whose products are computed in bfloat16. Change it only while none is computed."""

    def __init__(self) -> None:
        self._held: dict[int, object] = {}  # address: what keeps the weight in memory

    def keep(self, wanted: Mapping[int, tuple[int, int, object]]) -> None:
        """Register these weights, and forget all others.

        Args:
            wanted: (rows, columns, owner) of float32 numbers in memory, by their address.
        """
        assert _shim is not None and _opened
        for address in self._held.keys() - wanted.keys():
            _shim.star_products_forget(ctypes.c_void_p(address))
            del self._held[address]
        for address, (rows, columns, owner) in wanted.items():
            if address not in self._held:
                if _shim.star_products_register(ctypes.c_void_p(address), rows, columns):
                    self._held[address] = owner


def _flags() -> set[str]:
    try:
        text = Path("/proc/cpuinfo").read_text("utf-8", "replace")
    except OSError:
        return set()
    line = next((line for line in text.splitlines() if line.startswith("flags")), "")
    return set(line.split())


def _library(package: str, name: str) -> str:
    """The path of a library that a package or one that it needs has installed; its name if none."""
    for one in (package, "intel-openmp"):
        try:
            files = importlib.metadata.files(one) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        for file in files:
            if file.name == name:
                return str(file.locate())
    return name
