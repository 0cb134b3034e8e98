"""The engine's branches for a GPU, taken on a CPU.

The results are those of the same operations on a GPU, but for the order of sums, so that a test of
them can run everywhere.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest


def taken() -> AbstractContextManager[None]:
    """Inside the block, every module of the engine is told that mlx computes on a GPU.

    Engines are opened inside it too, since the weights are widened for a CPU when they are read.
    What is compiled on a GPU is not compiled here, unless the block is in one of ``compiling``:
    every new kernel takes the compiler half a second.
    """
    return _told(False)


def left() -> AbstractContextManager[None]:
    """Inside the block, which is in one of ``taken``, it is a CPU again."""
    return _told(True)


@contextmanager
def compiling() -> Iterator[None]:
    """Inside the block, ``mx.compile`` compiles. It needs a C++ compiler, or does nothing."""
    import mlx.core as mx

    mx.enable_compile()
    try:
        yield
    finally:
        mx.disable_compile()


@contextmanager
def _told(cpu: bool) -> Iterator[None]:
    from star_mlx import engine
    from star_mlx.engine import blas

    blas.load()  # before mlx is imported
    import mlx.core as mx

    mx.disable_compile()
    modules = [
        importlib.import_module(f"{engine.__name__}.{found.name}")
        for found in pkgutil.iter_modules(engine.__path__)
    ]
    with pytest.MonkeyPatch.context() as patch:
        for module in modules:
            if hasattr(module, "on_cpu"):
                patch.setattr(module, "on_cpu", lambda: cpu)
        yield
