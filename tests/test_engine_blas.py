"""The BLAS shim, how it is chosen, and what the doctor says."""

from __future__ import annotations

import ctypes
import os
import platform
import shutil
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest

from star_mlx.engine import blas
from star_mlx.engine.doctor import Check, examine

LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the shim is for Linux")
NAMES = {"cblas_sgemm", "cblas_dgemm", "cblas_cgemm"}


OF_LIBC = {
    "__tls_get_addr",
    "calloc",
    "dlsym",
    "free",
    "sched_yield",
    "abort",
    "madvise",
}  # in every Python


def symbols(path: Path) -> tuple[set[str], set[str], int]:
    """(defined, undefined) dynamic symbols and the machine number of a 64-bit ELF file."""
    data = path.read_bytes()
    machine = struct.unpack_from("<H", data, 18)[0]
    offset = struct.unpack_from("<Q", data, 40)[0]
    size, count = struct.unpack_from("<HH", data, 58)
    sections = [struct.unpack_from("<IIQQQQIIQQ", data, offset + i * size) for i in range(count)]
    table = next(s for s in sections if s[1] == 11)  # SHT_DYNSYM
    strings = sections[table[6]]
    defined: set[str] = set()
    undefined: set[str] = set()
    for at in range(table[4] + 24, table[4] + table[5], 24):
        name, _, _, section = struct.unpack_from("<IBBH", data, at)
        start = strings[4] + name
        text = data[start : data.index(b"\0", start)].decode()
        (defined if section else undefined).add(text)
    return defined, undefined, machine


@pytest.mark.parametrize(("name", "machine"), [("x86_64", 62), ("aarch64", 183)])
def test_the_shipped_shims_export_three_functions_and_need_no_library(
    name: str, machine: int
) -> None:
    path = blas.SHIMS / f"libcblas-{name}.so"
    defined, undefined, made_for = symbols(path)
    assert made_for == machine
    ours = {n for n in defined if n.startswith("star_")}
    assert defined - ours == NAMES and bool(ours) == (name == "x86_64")
    assert undefined - OF_LIBC == {f"scipy_{n}" for n in NAMES}
    assert b"libc.so" not in path.read_bytes()


@pytest.mark.slow
@LINUX
@pytest.mark.skipif(not shutil.which("cc"), reason="no C compiler")
def test_the_source_builds_the_same_shim(tmp_path: Path) -> None:
    machine = platform.machine()
    environment = {**os.environ, "CC": "cc", "CC_AARCH64": "cc"}
    script = blas.SHIMS / "build.sh"
    subprocess.run(["sh", str(script), machine, str(tmp_path)], check=True, env=environment)
    name = f"libcblas-{machine}.so"
    assert symbols(tmp_path / name) == symbols(blas.SHIMS / name)


def python(code: str, **environment: str) -> str:
    result = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True, text=True, check=True, env={**os.environ, **environment},
    )  # fmt: skip
    return result.stdout.strip()


SUM = """
import mlx.core as mx
a = mx.arange(6, dtype=mx.float32).reshape(2, 3)
with mx.stream(mx.cpu):
    print(found.kind, found.problem, (a @ a.T).tolist(), ((a + 0j) @ a.T).tolist()[1])
"""
RIGHT = "[[5.0, 14.0], [14.0, 50.0]] [(14+0j), (50+0j)]"


@LINUX
def test_products_through_the_shim_are_right() -> None:
    code = f"from star_mlx.engine import blas; found = blas.load(){SUM}"
    assert python(code) == f"shim  {RIGHT}"


@LINUX
def test_an_mlx_imported_before_is_reported_and_works() -> None:
    code = f"import mlx.core; from star_mlx.engine import blas; found = blas.load(){SUM}"
    printed = python(code)
    assert printed.startswith("bundled mlx was imported before star_mlx.engine")
    assert printed.endswith(RIGHT)


@LINUX
def test_without_any_openblas_the_bundled_one_is_named() -> None:
    hide = (
        "import importlib.util as u; find = u.find_spec\n"
        "u.find_spec = lambda n: None if n == 'scipy_openblas32' else find(n)\n"
        "from star_mlx.engine import blas; blas.SYSTEM_NAMES = ()\n"
        "blas.ctypes.util.find_library = lambda name: None\n"
        f"found = blas.load(){SUM}"
    )
    printed = python(hide)
    assert printed.startswith("bundled scipy-openblas32 is not installed; no system OpenBLAS")
    assert printed.endswith(RIGHT)


def test_threads_follow_the_machine_the_width_and_the_lanes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from star_mlx.engine.lanes import Lanes

    asked: list[int] = []
    monkeypatch.setattr(blas, "_loaded", blas.Blas("test", "", "shim", 4))
    monkeypatch.setattr(blas, "_set_threads", asked.append)
    monkeypatch.setattr(blas, "cpus", lambda: 4)
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    assert blas.processors() == 4
    narrow, wide = Lanes(191), Lanes(192)
    assert asked == [1, 4]  # one lane is at work
    assert [wide.count(rows) for rows in (1, 15, 16, 32, 1000)] == [1, 1, 2, 4, 4]
    heard: list[int] = []
    for lanes, threads in ((narrow, 1), (wide, 2)):
        asked.clear()
        lanes.run([lambda report: report(1), lambda report: report(2)], heard.append)
        assert asked == [threads, 1 if lanes is narrow else 4]
    assert sorted(heard) == [1, 1, 2, 2]
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "3")
    assert blas.processors() == 3


def test_nothing_heavy_is_imported_with_the_package() -> None:
    code = (
        "import sys, star_mlx.engine, star_mlx.engine.blas, star_mlx.engine.doctor\n"
        "print([m for m in ('mlx', 'mlx_lm', 'transformers', 'numpy') if m in sys.modules])"
    )
    assert python(code) == "[]"


@LINUX
def test_shim_is_loadable_by_itself_only_after_openblas() -> None:
    """The shim binds to scipy-openblas32 alone, so a lone load must fail, not crash later."""
    code = (
        "import ctypes, sys\n"
        f"path = {str(blas.SHIMS / f'libcblas-{platform.machine()}.so')!r}\n"
        "try:\n    ctypes.CDLL(path, mode=ctypes.RTLD_GLOBAL); print('loaded')\n"
        "except OSError as error:\n    print('scipy_cblas' in str(error))"
    )
    assert python(code) == "True"
    assert hasattr(ctypes, "RTLD_GLOBAL")


@pytest.mark.slow
def test_the_doctor_names_what_it_measured() -> None:
    checks = {check.name: check for check in examine()}
    assert list(checks) == [
        "python", "mlx", "mlx-lm", "huggingface-hub", "transformers",
        "blas", "bfloat16", "device", "memory", "tiny", "compile",
    ]  # fmt: skip
    assert "GFLOP/s" in checks["blas"].value
    assert all(check.advice for check in checks.values() if check.ok is False)


def test_the_doctor_waits_for_no_compiler_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    from star_mlx.engine import doctor

    hang = "import subprocess, time; subprocess.Popen(['sleep', '30']); time.sleep(30)"
    monkeypatch.setattr(doctor, "COMPILE", hang)
    monkeypatch.setattr(doctor, "COMPILE_SECONDS", 0.5)
    start = time.perf_counter()
    with doctor._compiling() as process:
        check = doctor._compile(process)
    assert time.perf_counter() - start < 10
    assert check.ok is None


def test_the_doctor_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    from star_mlx.engine import doctor

    monkeypatch.setattr(doctor, "PACKAGES", ("no-such-package",))
    monkeypatch.setattr(doctor.importlib.util, "find_spec", lambda name: None)
    assert examine()[1:] == [
        Check("no-such-package", False, "not installed", "pip install 'no-such-package'")
    ]
