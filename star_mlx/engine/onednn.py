"""Products in bfloat16 by oneDNN, on processors that have instructions for them.

Only products with registered weights are computed so; see ``shim/products.c``. oneDNN comes with
the package ``onednn-cpu-gomp`` (``pip install 'star-mlx[cpu-bfloat16]'``).

Nothing is loaded when this module is imported, and no mlx.
"""

from __future__ import annotations

import ctypes
import importlib.metadata
import os
import platform
import weakref
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

PACKAGE = "onednn-cpu-gomp"  # the later package, onednn, needs 300 MB of libraries for Intel's GPUs
FLAGS = ("avx512_bf16", "amx_bf16")  # of /proc/cpuinfo; either is enough
WAITING = "OMP_WAIT_POLICY"
EXTRA = "pip install 'star-mlx[cpu-bfloat16]'"

_shim: ctypes.CDLL | None = None
_opened = False


def offer(shim: ctypes.CDLL) -> None:
    """Remember the loaded forwarding library, if it contains the products: that for x86-64 does."""
    global _shim
    _shim = shim if hasattr(shim, "star_products_open") else None


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
    if (path := _library()) is None:
        return f"oneDNN is not installed: {EXTRA}"
    try:
        openmp = _openmp()
    except OSError:
        return "libgomp.so.1, which oneDNN needs, is not installed: apt install libgomp1"
    try:
        dnnl = ctypes.CDLL(path)
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


def version() -> str:
    """The version of the package of oneDNN; empty if it is not installed."""
    try:
        return importlib.metadata.version(PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        return ""


def counts() -> tuple[int, int]:
    """The products computed in bfloat16, and those with a registered weight that were not."""
    made = (ctypes.c_long * 2)()
    if _shim is not None:
        _shim.star_products_counts(made)
    return made[0], made[1]


def call(name: str, *arguments: Any) -> None:
    """Call a function of the forwarding library with arrays of numpy (None for NULL), in order,
    and integers."""
    assert _shim is not None
    _shim[name](
        *(
            ctypes.c_long(a)
            if isinstance(a, int)
            else ctypes.c_void_p(None if a is None else a.ctypes.data)
            for a in arguments
        )
    )


def trained() -> None:
    """Free the packed weights that training alone needs; they are packed again when needed."""
    if _shim is not None:
        _shim.star_products_trained()


class Registry:
    """The weights whose products are computed in bfloat16; changed only while none is computed."""

    def __init__(self) -> None:
        self._held: dict[int, object] = {}  # address: what keeps the weight in memory
        self._vacated: set[int] = set()
        weakref.finalize(self, _forget, self._held, self._held)

    def keep(self, wanted: Mapping[int, tuple[int, int, object]]) -> None:
        """Register these weights, and forget all others.

        Args:
            wanted: (rows, columns, owner) of float32 numbers in memory, by their address.
        """
        assert _shim is not None and _opened
        _forget(self._held, self._held.keys() - wanted.keys())
        for address, (rows, columns, owner) in wanted.items():
            new = address not in self._held
            if new and _shim.star_products_register(ctypes.c_void_p(address), rows, columns):
                self._held[address] = owner
        self._vacated &= self._held.keys()

    def vacate(self, address: int) -> None:
        """Pack a registered weight, and give its float32 numbers back to the system. Its products
        stay what they were; all else that reads it would find zeros."""
        assert _shim is not None
        if address in self._held and address not in self._vacated:
            _shim.star_products_vacate.restype = ctypes.c_long
            if _shim.star_products_vacate(ctypes.c_void_p(address)):
                self._vacated.add(address)

    def vacated(self, address: int) -> bool:
        """Whether a weight's numbers were given back."""
        return address in self._vacated


def _forget(held: dict[int, object], addresses: Iterable[int]) -> None:
    """Forget weights, and only then let go of their memory, which may get other numbers."""
    assert _shim is not None
    for address in list(addresses):
        _shim.star_products_forget(ctypes.c_void_p(address))
        del held[address]


def _flags() -> set[str]:
    try:
        text = Path("/proc/cpuinfo").read_text("utf-8", "replace")
    except OSError:
        return set()
    line = next((line for line in text.splitlines() if line.startswith("flags")), "")
    return set(line.split())


def _library() -> str | None:
    """The path of oneDNN, if its package is installed."""
    try:
        files = importlib.metadata.files(PACKAGE) or []
    except importlib.metadata.PackageNotFoundError:
        return None
    return next((str(file.locate()) for file in files if file.name == "libdnnl.so.3"), None)


def _openmp() -> ctypes.CDLL:
    """GNU's OpenMP; its threads sleep when there is nothing to do, as others may work then."""
    given = os.environ.get(WAITING)
    os.environ[WAITING] = given or "passive"
    try:
        return ctypes.CDLL("libgomp.so.1")
    finally:
        if given is None:
            del os.environ[WAITING]
