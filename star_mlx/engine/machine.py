"""The machine around mlx, as far as it can stop or slow a run: for ``doctor``. Imports no mlx."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata

LIBRARY = "mlx/lib/libmlx.so"  # of mlx-cpu, mlx-cuda-12 and mlx-cuda-13 alike
RELAXED = "AGX_RELAX_CDM_CTXSTORE_TIMEOUT"


@dataclass(frozen=True, slots=True)
class Check:
    """One finding. ``ok`` None: neither good nor bad. ``advice`` is empty if none is needed."""

    name: str
    ok: bool | None
    value: str
    advice: str = ""


def checks() -> Iterator[Check]:
    """The checks that concern this machine; those of macOS only there."""
    yield from _copies()
    if sys.platform == "darwin":
        yield from _processor()
        yield from _power()
        yield from _heat()
        yield _display()
        yield _sleep()


def _copies() -> Iterator[Check]:
    """Packages that install the same library of mlx over each other."""
    found = {}
    for one in metadata.distributions():
        name = str(one.metadata["Name"] or "")
        if name.startswith("mlx") and any(str(file) == LIBRARY for file in one.files or ()):
            found[name] = one.version
    if len(found) > 1:
        yield Check(
            "mlx copies",
            False,
            f"{', '.join(f'{n} {v}' for n, v in sorted(found.items()))} all install {LIBRARY}, and "
            "the last one installed is used",
            f"pip uninstall {' '.join(sorted(found))}, then install the wanted one again, such as "
            "pip install 'mlx[cpu]' or 'mlx[cuda13]'",
        )


def _processor() -> Iterator[Check]:
    if platform.machine() != "x86_64":
        return
    if _said("sysctl", "-n", "sysctl.proc_translated").strip() == "1":
        value = "this Python is made for Intel and runs under Rosetta, where mlx has no GPU"
        advice = "install a Python for arm64 (Apple silicon) and make the environment again with it"
    else:
        value = "an Intel Mac, which mlx does not support"
        advice = "use a Mac with Apple silicon, or Linux"
    yield Check("processor", False, value, advice)


def _power() -> Iterator[Check]:
    source = re.search(r"drawing from '([^']*)'", _said("pmset", "-g", "batt"))
    if source is None:
        return
    mains = source[1] != "Battery Power"
    advice = "" if mains else "plug it in: a run takes hours, and macOS is slower on a battery"
    yield Check("power", True if mains else None, source[1], advice)


def _heat() -> Iterator[Check]:
    said = _said("pmset", "-g", "therm")
    if not said:
        return
    levels = re.findall(r"(?i)\b(thermal|performance) warning level[ \t]*[=:]?[ \t]*(\d+)", said)
    raised = [f"{kind.lower()} warning level {level}" for kind, level in levels if int(level)]
    speed = re.search(r"CPU_Speed_Limit\s*=\s*(\d+)", said)
    if speed and int(speed[1]) < 100:
        raised.append(f"processor speed limited to {speed[1]}%")
    if raised:
        advice = "let it cool down and keep it ventilated: it computes more slowly"
        yield Check("heat", None, ", ".join(raised), advice)
    else:
        yield Check("heat", True, "no warning")


def _display() -> Check:
    """macOS ends GPU work that keeps its display waiting, and with it the process (mlx#3267)."""
    if os.environ.get(RELAXED) == "1":
        return Check("display", True, f"{RELAXED}=1 is set")
    return Check(
        "display",
        None,
        "macOS may end GPU work that delays the display (ImpactingInteractivity)",
        "if a run is aborted: resume it with the display asleep (pmset displaysleepnow), a smaller "
        f"max_memory, or {RELAXED}=1 in the environment",
    )


def _sleep() -> Check:
    if shutil.which("caffeinate"):
        return Check("sleep", True, "loop keeps the machine awake (caffeinate)")
    return Check(
        "sleep", None, "caffeinate is not on the PATH", "add /usr/bin to it, or turn sleep off"
    )


def _said(*command: str) -> str:
    """The output of a command; empty if it is not there or fails."""
    try:
        done = subprocess.run(command, capture_output=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.decode(errors="replace")
