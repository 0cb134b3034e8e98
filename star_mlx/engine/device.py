"""The device that mlx computes on, and how much of its memory star-mlx may take."""

from __future__ import annotations

import ctypes
import functools
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import mlx.core as mx

from star_mlx.settings import MaxMemory

GIB = 1 << 30
SHARE = 0.7  # of the device's memory, unless the recipe says otherwise
CACHE = 2 << 30  # bytes mlx may keep for reuse; without a limit, batches of many shapes accumulate
CPU_CACHE = 128 << 20  # of a CPU: 2 GiB are no quicker (docs/performance.md), and fill up
THREADS = 384 << 20  # address space for stacks, arenas and buffers of threads that are to come
CGROUPS = ("memory.max", "memory/memory.limit_in_bytes")  # a container's limit, versions 2 and 1


def on_cpu() -> bool:
    """Whether mlx computes on the CPU."""
    return bool(mx.default_device().type == mx.DeviceType.cpu)


def compiles() -> bool:
    """Whether ``mx.compile`` is used: on a GPU, unless the environment turns it off. On a CPU that
    gains nothing, and needs a compiler."""
    return not on_cpu() and "MLX_DISABLE_COMPILE" not in os.environ


@dataclass(frozen=True, slots=True)
class Bound:
    """The memory that mlx may hold, in bytes, and in words that say where the number is from."""

    size: int
    words: str

    def __str__(self) -> str:
        return self.words


def bound(max_memory: MaxMemory) -> Bound | None:
    """The bound of a recipe's ``max_memory``: GiB, ``"none"``, or None for the device's default.

    A GPU that shares its memory with the rest of the machine (Metal) recommends a working set; of
    another GPU's memory, what is free now counts; of a CPU's, all that this process may use.
    """
    if max_memory == "none":
        return None
    if max_memory is not None:
        return Bound(int(max_memory * GIB), f"max_memory={max_memory:g} (GiB)")
    available, what = _available()
    size = max(1, int(SHARE * available))
    return Bound(size, f"{SHARE:g} of the {what} ({size / GIB:.3g} GiB)") if available else None


def _available() -> tuple[int, str]:
    if on_cpu():
        size, left = physical(), address_space()
        if left is not None and left < size:
            return left, "address space that `ulimit -v` leaves"
        return size, "machine's memory"
    info = mx.device_info()
    if working_set := int(info.get("max_recommended_working_set_size", 0)):
        return working_set, "GPU's recommended working set"
    if free := int(info.get("free_memory", 0)):  # less what this process holds
        return free + mx.get_active_memory() + mx.get_cache_memory(), "GPU's free memory"
    return int(info.get("total_memory", 0) or info.get("memory_size", 0)), "GPU's memory"


def physical(cgroup: Path = Path("/sys/fs/cgroup")) -> int:
    """Bytes of memory of this machine, or of the container; 0 if unknown."""
    try:
        size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 0
    for name in CGROUPS:
        try:
            limit = (cgroup / name).read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError):
            continue
        if limit.isdigit():  # "max": no limit
            size = min(size, int(limit))
    return size


def address_space(statm: Path = Path("/proc/self/statm")) -> int | None:
    """Bytes that this process may still map, less what its threads will need, at least 1; None if
    there is no limit, or it is unknown.

    Where a thread of mlx or of the BLAS gets no memory, the process ends without a word.
    """
    try:
        import resource
    except ImportError:  # Windows
        return None
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit == resource.RLIM_INFINITY:
        return None
    try:
        pages = int(statm.read_text(encoding="ascii").split()[0])
    except (OSError, ValueError):
        return max(1, limit - THREADS)
    return max(1, limit - pages * resource.getpagesize() - THREADS)


def restrict(bound: Bound | None) -> None:
    """Set mlx's own limits: of all memory, of what it keeps for reuse, and of what Metal wires.

    Wired memory is not paged out between two uses, which decoding would wait for at every token.
    """
    cache = CPU_CACHE if on_cpu() else CACHE
    mx.set_cache_limit(cache if bound is None else min(cache, bound.size // 4))
    own = _own_limit()
    mx.set_memory_limit(own if bound is None else bound.size)
    if mx.metal.is_available() and not on_cpu():
        working_set = int(mx.device_info()["max_recommended_working_set_size"])
        mx.set_wired_limit(working_set if bound is None else min(working_set, bound.size))


def give_back() -> None:
    """Give memory that is not in use back to the system: what mlx keeps, and the C library."""
    mx.clear_cache()
    if on_cpu() and (trim := _trim()) is not None:
        trim(0)


@functools.cache
def _trim() -> Callable[[int], object] | None:
    """``malloc_trim`` of glibc, which keeps gigabytes of what was freed after a training."""
    return getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None


@functools.cache
def _own_limit() -> int:
    """mlx's own limit of memory, as it was before star-mlx set one."""
    return int(mx.get_memory_limit())
