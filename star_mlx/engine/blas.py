"""A fast BLAS for mlx on a Linux CPU, loaded before mlx is.

The ``mlx-cpu`` wheel carries the reference BLAS (a 1024 x 1024 float32 product at 6 GFLOP/s where
OpenBLAS reaches over 200). ``libmlx.so`` takes ``cblas_sgemm``, ``cblas_dgemm`` and ``cblas_cgemm``
from the global symbol scope, so whatever exports them there first is used. In order of choice:

1. ``shim``: the library of scipy-openblas32 (a dependency; self-contained) and a shipped shared
   object of three forwarding functions, since that library prefixes its names;
2. ``system``: an installed OpenBLAS that exports the plain names;
3. ``bundled``: mlx's own, slow.

Nothing is loaded when this module is imported; no compiler is needed.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import importlib.util
import os
import platform
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from star_mlx.engine import onednn

SHIMS = Path(__file__).parent / "shim"
SYSTEM_NAMES = ("libopenblas.so.0", "libopenblas.so", "libopenblasp.so.0", "libblis.so.4")

BlasKind = Literal["shim", "system", "bundled", "accelerate"]


@dataclass(frozen=True, slots=True)
class Blas:
    """The BLAS that mlx uses on the CPU. ``threads`` is 0 if the number cannot be set.

    ``problem`` is why a better one was not used, or empty.
    """

    name: str
    path: str
    kind: BlasKind
    threads: int
    problem: str = ""


_loaded: Blas | None = None
_set_threads: Callable[[int], object] | None = None


def load() -> Blas:
    """Load the best available BLAS, once per process; call it before mlx is imported."""
    global _loaded
    if _loaded is None:
        _loaded = _load()
    return _loaded


def processors() -> int:
    """The threads a product may use: ``OPENBLAS_NUM_THREADS`` or all; 1 if it cannot be set.

    The number depends only on the machine, so that runs are repeatable.
    """
    load()
    if _set_threads is None:
        return 1
    asked = os.environ.get("OPENBLAS_NUM_THREADS", "")
    return int(asked) if asked.isdigit() and int(asked) else cpus()


def use_threads(threads: int) -> Blas:
    """Set the number of threads that one product uses, if it can be set."""
    global _loaded
    blas = load()
    if _set_threads is None:
        return blas
    _set_threads(threads)
    _loaded = replace(blas, threads=threads)
    return _loaded


def cpus() -> int:
    """The number of processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _load() -> Blas:
    if sys.platform == "darwin":
        return Blas("Accelerate", "", "accelerate", 0)
    if not sys.platform.startswith("linux"):
        return Blas("mlx's own BLAS", "", "bundled", 0, f"no OpenBLAS is known on {sys.platform}")
    if "mlx.core" in sys.modules:
        why = "mlx was imported before star_mlx.engine, so OpenBLAS came too late"
        return Blas("mlx's own BLAS", "", "bundled", 0, why)
    problems = []
    for attempt in (_shim, _system):
        try:
            return attempt()
        except OSError as error:
            problems.append(str(error))
    return Blas("mlx's own BLAS", "", "bundled", 0, "; ".join(problems))


def _shim() -> Blas:
    spec = importlib.util.find_spec("scipy_openblas32")
    if spec is None or spec.origin is None:
        raise OSError("scipy-openblas32 is not installed")
    path = Path(spec.origin).parent / "lib" / "libscipy_openblas.so"
    shim = SHIMS / f"libcblas-{platform.machine()}.so"
    if not shim.is_file():
        raise OSError(f"no shim for {platform.machine()}")
    library = ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)
    forwarding = ctypes.CDLL(str(shim), mode=ctypes.RTLD_GLOBAL)
    onednn.offer(forwarding)

    def set_threads(threads: int) -> None:
        library.scipy_openblas_set_num_threads(threads)
        onednn.use_threads(threads)

    _remember(set_threads)
    return Blas("OpenBLAS (scipy-openblas32)", str(path), "shim", cpus())


def _system() -> Blas:
    found = ctypes.util.find_library("openblas")
    for name in ([found] if found else []) + list(SYSTEM_NAMES):
        try:
            library = ctypes.CDLL(name, mode=ctypes.RTLD_GLOBAL)
        except OSError:
            continue
        if hasattr(library, "cblas_sgemm"):
            setter = getattr(library, "openblas_set_num_threads", None)
            if setter is not None:
                _remember(setter)
            return Blas("OpenBLAS (system)", name, "system", cpus() if setter else 0)
    raise OSError("no system OpenBLAS that exports cblas_sgemm")


def _remember(setter: Callable[[int], object]) -> None:
    global _set_threads
    _set_threads = setter
