"""Figures of devices: from their makers, from others' measurements, or assumed."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from star_mlx.errors import ModelError

HardwareKind = Literal["metal", "cuda", "cpu"]
HERE = "here"
GIB = 1 << 30
MOST = 4096  # machines


class Shares(NamedTuple):
    """The shares of a device's peaks that are reached, and the seconds that are spent besides.

    ``reading`` (of prompts), ``decoding`` and ``training`` are shares of the FLOP/s, ``bandwidth``
    of the memory's bytes per second. ``step`` is the time of a pass or step, however small it is,
    and ``layer`` that of each of its layers (Python, starting kernels); ``token`` is that of a
    generated token outside the model, and ``back`` the number of such passes that one of training,
    forwards and backwards, is like.
    """

    reading: float
    decoding: float
    training: float
    bandwidth: float
    step: float
    layer: float
    token: float
    back: float


# Those of a CPU were fitted to measurements of star-mlx (docs/scaling.md). Those of GPUs are
# assumed: star-mlx has not been measured on one. On Metal, products of 4,096 x 4,096 float32
# matrices reach 0.72 of the peak (M4 Max: github.com/chsasank/device-benchmarks/pull/13), and the
# work of a model less. Trainings on NVIDIA's GPUs report 0.3 to 0.5 of the peak (Chowdhery et al.
# 2022, arXiv 2204.02311, table 3); mlx's backend for them is young.
SHARES: dict[HardwareKind, Shares] = {
    "metal": Shares(0.5, 0.3, 0.35, 0.7, 0.5e-3, 60e-6, 20e-6, 3),
    "cuda": Shares(0.35, 0.2, 0.3, 0.6, 0.5e-3, 60e-6, 20e-6, 3),
    "cpu": Shares(0.5, 0.35, 0.33, 0.7, 3e-3, 250e-6, 60e-6, 8),
}
CORE_FLOPS, CORE_BANDWIDTH = 100e9, 10e9  # of a processor with AVX-512: 105 GFLOP/s were measured


@dataclass(frozen=True, slots=True)
class Hardware:
    """A device: FLOP/s in the type that the model is computed in, bytes per second of its memory,
    bytes of memory, bytes per second of its link to the next one, where that is from, and of a CPU
    the processors that are used."""

    name: str
    words: str
    kind: HardwareKind
    flops: float
    bandwidth: float
    memory: int
    link: float
    source: str
    processors: int = 1

    @property
    def shares(self) -> Shares:
        """What of the peaks is reached."""
        return SHARES[self.kind]

    @property
    def bound(self) -> tuple[int, str] | None:
        """The bytes that star-mlx takes at most without ``max_memory``, and their reason; None for
        this machine, which is asked."""
        if self.name == HERE:
            return None
        if self.kind == "metal":
            return int(0.7 * WORKING * self.memory), (
                f"0.7 of the working set that Metal recommends, assumed to be {WORKING:g} of "
                f"{self.memory / GIB:.3g} GiB"
            )
        return int(0.7 * self.memory), f"0.7 of {self.memory / GIB:.3g} GiB"


WORKING = 0.75  # of a Mac's memory: llama.cpp prints 0.67 up to 32 GB, and 0.75 above
APPLE = "bandwidth: Apple; FLOP/s: huggingface.js, hardware.ts and its pull request 1044"
NVIDIA = "NVIDIA's data sheet, dense bfloat16"
THUNDERBOLT_4, THUNDERBOLT_5 = 3e9, 6e9  # assumed: three quarters of 32 and of 64 Gbit/s
PCIE_4 = 20e9  # assumed


def _mac(name: str, cores: int, flops: float, bandwidth: float, memory: int) -> Hardware:
    words = f"Apple {name.replace('-', ' ').title()}, {cores} GPU cores"
    link = THUNDERBOLT_5 if name in ("m4-pro", "m4-max", "m3-ultra") else THUNDERBOLT_4
    rate = flops * 1e12, bandwidth * 1e9
    return Hardware(name, words, "metal", *rate, memory * GIB, link, APPLE)


def _nvidia(name: str, flops: float, bandwidth: float, memory: int, link: float) -> Hardware:
    rate = flops * 1e12, bandwidth * 1e9
    return Hardware(name, f"NVIDIA {name.upper()}", "cuda", *rate, memory * GIB, link, NVIDIA)


TABLE = {
    one.name: one
    for one in (
        _mac("m1", 8, 2.6, 68, 16),
        _mac("m1-pro", 16, 5.2, 200, 32),
        _mac("m1-max", 32, 10.4, 400, 64),
        _mac("m2", 10, 3.6, 100, 24),
        _mac("m2-pro", 19, 6.8, 200, 32),
        _mac("m2-max", 38, 13.5, 400, 96),
        _mac("m2-ultra", 76, 27.2, 800, 192),
        _mac("m3", 10, 4.1, 100, 24),
        _mac("m3-pro", 18, 7.4, 150, 36),
        _mac("m3-max", 40, 14.2, 400, 128),
        _mac("m3-ultra", 80, 28.4, 819, 512),
        _mac("m4", 10, 4.6, 120, 32),
        _mac("m4-pro", 20, 9.2, 273, 64),
        _mac("m4-max", 40, 18.4, 546, 128),
        _nvidia("a100", 312, 2039, 80, 300e9),
        _nvidia("h100", 989, 3350, 80, 450e9),
        _nvidia("h200", 989, 4800, 140, 450e9),
        _nvidia("l4", 121, 300, 22, PCIE_4),
        _nvidia("rtx-3090", 71, 936, 24, PCIE_4),
        _nvidia("rtx-4090", 165, 1008, 24, PCIE_4),
    )
}
GIVEN = re.compile(r"(?:(\d+)\s*[x*]\s*)?([a-z][\w-]*)(?::(\d+(?:\.\d+)?))?", re.IGNORECASE)


class Machines(NamedTuple):
    """Some equal machines."""

    number: int
    each: Hardware

    def __str__(self) -> str:
        return self.each.name if self.number == 1 else f"{self.number} x {self.each.name}"


def machines(text: str, link: float | None = None) -> Machines:
    """The machines in ``[N x]NAME[:GiB]``: ``here``, ``m4-max``, ``4xm4-max:64``, ``8xh100``.

    Args:
        link: bytes per second between two of them; None for the figure of the table.

    Raises:
        ModelError: there is no such device in the table, or a number makes no sense.
    """
    found = GIVEN.fullmatch(text.strip())
    if found is None:
        raise ModelError(
            f"{text!r} names no machines: write them as m4-max, 4xm4-max:64 (four with 64 GiB "
            "each), 8xh100, or here"
        )
    number, name = int(found[1] or 1), found[2].lower()
    if not 1 <= number <= MOST:
        raise ModelError(f"{text}: give a number of machines from 1 to {MOST:,}")
    device = here() if name == HERE else TABLE.get(name)
    if device is None:
        near = difflib.get_close_matches(name, TABLE, n=1)
        guess = f"did you mean {near[0]}? " if near else ""
        raise ModelError(
            f"no figures of a device {name}: {guess}known are {', '.join((HERE, *TABLE))}"
        )
    if found[3]:
        size = float(found[3])
        if not 0 < size <= 1 << 20:
            raise ModelError(f"{text}: give a memory above 0 GiB")
        name = device.name if name != HERE else f"{HERE}:{found[3]}"  # no longer this machine
        device = replace(device, name=name, memory=int(size * GIB))
    return Machines(number, device if link is None else replace(device, link=link))


def here() -> Hardware:
    """The device that star-mlx computes on here. A GPU is looked up by its name; of a CPU only the
    number of processors is known, and the rest is assumed.

    Raises:
        ModelError: it is a GPU of which there are no figures.
    """
    from star_mlx.engine import estimate

    cpu, name, memory, cores = estimate.device()
    link = 0.1e9  # assumed: Ethernet with 1 Gbit/s
    if cpu:
        return Hardware(
            HERE, f"this machine's CPU, {cores} processor{'s' * (cores > 1)}", "cpu",
            cores * CORE_FLOPS, cores * CORE_BANDWIDTH, memory, link,
            "assumed: 100 GFLOP/s in float32 and 10 GB/s a processor", processors=cores,
        )  # fmt: skip
    wanted = re.sub(r"\W+", "-", name.lower())
    near = [one for one in TABLE if re.search(rf"(^|-){one}($|-)", wanted)]
    if not near:
        raise ModelError(
            f"there are no figures of this machine's {name}: name a device that is like it, such "
            "as --machines m4-max"
        )
    known = TABLE[max(near, key=len)]
    return replace(known, name=HERE, words=f"this machine, {known.words}", memory=memory)
