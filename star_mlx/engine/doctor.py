"""Check whether this machine can run star-mlx, and say what to do if something is wrong."""

from __future__ import annotations

import importlib.util
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib import metadata

from star_mlx.engine import machine
from star_mlx.engine.machine import Check
from star_mlx.errors import StarError
from star_mlx.types import Decoding

PACKAGES = ("mlx", "mlx-lm", "huggingface-hub", "transformers")
SLOW = 20.0  # GFLOP/s below which a CPU product is the reference BLAS's
COMPILE_SECONDS = 5.0
COMPILE = """
import mlx.core as mx
f = mx.compile(lambda x: mx.exp(x) * x + 1)
x = mx.arange(8, dtype=mx.float32)
mx.eval(f(x))
"""


def examine() -> list[Check]:
    """Run every check, in the order of display; takes a few seconds and raises nothing."""
    checks = [Check("python", sys.version_info >= (3, 10), platform.python_version())]
    checks += [*_versions(), *machine.checks()]
    if importlib.util.find_spec("mlx") is None:
        return checks
    with _compiling() as compiler:
        checks += [
            *_guarded("blas", _blas),
            *_guarded("bfloat16", _bfloat16),
            *_guarded("device", _device),
            *_guarded("memory", _memory),
        ]
        checks += _guarded("tiny", _tiny)
        checks.append(_compile(compiler))
    return checks


def _guarded(name: str, check: Callable[[], Check]) -> list[Check]:
    try:
        return [check()]
    except (StarError, RuntimeError, OSError, ImportError) as error:
        return [Check(name, False, " ".join(str(error).split()), "reinstall star-mlx and mlx")]


def _versions() -> Iterator[Check]:
    for package in PACKAGES:
        try:
            yield Check(package, True, metadata.version(package))
        except metadata.PackageNotFoundError:
            extra = "[cpu]" if package == "mlx" and sys.platform.startswith("linux") else ""
            yield Check(package, False, "not installed", f"pip install '{package}{extra}'")


def _blas() -> Check:
    from star_mlx.engine import blas

    found = blas.load()  # before the first import of mlx
    blas.use_threads(blas.processors())
    speed = gflops()
    advice = ""
    if found.kind == "bundled":
        advice = f"{found.problem}; pip install scipy-openblas32 (products are 20 times faster)"
    ok = False if found.kind == "bundled" else True if speed >= SLOW else None
    if found.kind != "bundled" and speed < SLOW:
        advice = "slower than expected: is the machine busy, or OPENBLAS_NUM_THREADS set too high?"
    return Check("blas", ok, f"{found.name}, {speed:.0f} GFLOP/s float32 on the CPU", advice)


def _bfloat16() -> Check:
    from star_mlx.engine import onednn

    if why := onednn.problem():
        return Check("bfloat16", None, "model.products=bfloat16 cannot be had", why)
    return Check(
        "bfloat16", True, f"model.products=bfloat16 can be had (oneDNN {onednn.version()})"
    )


def gflops(size: int = 1024) -> float:
    """Measured speed of a ``size`` x ``size`` float32 product on the CPU, in 1e9 operations/s."""
    import mlx.core as mx

    with mx.stream(mx.cpu):
        a = mx.full((size, size), 0.5)
        mx.eval(a @ a)
        best, end = float("inf"), time.perf_counter() + 0.3
        while time.perf_counter() < end:
            start = time.perf_counter()
            mx.eval(a @ a)
            best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best / 1e9


def _device() -> Check:
    import mlx.core as mx

    from star_mlx.engine import blas

    kind = mx.default_device().type.name
    if kind == "cpu":
        advice = ""
        if sys.platform == "darwin" and platform.machine() == "arm64":
            advice = "the GPU is not used: is this a virtual machine? run outside it"
        return Check("device", not advice, f"CPU, {blas.cpus()} processors, float32", advice)
    return Check("device", True, f"GPU, {mx.device_info().get('device_name', kind)}")


def _memory() -> Check:
    import mlx.core as mx

    from star_mlx.engine import device

    total = int(mx.device_info().get("memory_size", 0)) or device.physical()
    advice = "" if total >= 4 << 30 else "choose a small base: 4 GiB is little for more than `tiny`"
    bound = device.bound(None)
    taken = f"; a run takes at most {bound}, unless max_memory says otherwise" if bound else ""
    return Check("memory", not advice, f"{total / (1 << 30):.1f} GiB{taken}", advice)


def _tiny() -> Check:
    from star_mlx.engine import open_engine

    start = time.perf_counter()
    engine = open_engine("tiny")
    loaded = time.perf_counter()
    tokens: list[int] = []
    engine.generate(
        ["1 + 1 ="] * 8,
        Decoding(max_tokens=32, stop=()),
        prefix="",
        adapter=None,
        seeds=[0] * 8,
        progress=lambda done, total: tokens.append(total),
    )
    spent = time.perf_counter() - loaded
    speed = tokens[-1] / spent if tokens else 0.0
    return Check("tiny", True, f"loads in {loaded - start:.1f} s, writes {speed:.0f} tokens/s")


class _compiling:
    """Runs ``mx.compile`` in another process during the other checks."""

    def __enter__(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", COMPILE]
        self._process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd="/"
        )
        return self._process

    def __exit__(self, *exception: object) -> None:
        self._process.kill()
        self._process.wait()
        if self._process.stderr:  # not read to its end: a compiler that it started may keep it open
            self._process.stderr.close()


def _compile(process: subprocess.Popen[bytes]) -> Check:
    from star_mlx.engine.device import on_cpu

    unused = on_cpu()
    note = " (not used on a CPU)" if unused else ""
    try:
        _, errors = process.communicate(timeout=COMPILE_SECONDS)
    except subprocess.TimeoutExpired:
        return Check("compile", None, f"mx.compile takes over {COMPILE_SECONDS:g} s{note}")
    if process.returncode == 0:
        return Check("compile", True, f"mx.compile works{note}")
    last = (errors.decode(errors="replace").strip().splitlines() or ["it crashed"])[-1]
    advice = "" if unused else "set MLX_DISABLE_COMPILE=1, or fix the compiler it names"
    return Check("compile", None if unused else False, f"mx.compile fails: {last}{note}", advice)
