"""What the doctor says about the machine around mlx, with stand-ins for macOS and its commands."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from star_mlx.engine import machine
from star_mlx.run.awake import awake

AC = "Now drawing from 'AC Power'\n -InternalBattery-0 (id=1)\t100%; charged; 0:00 remaining\n"
BATTERY = "Now drawing from 'Battery Power'\n -InternalBattery-0 (id=1)\t61%; discharging\n"
COOL = """Note: No thermal warning level has been recorded
Note: No performance warning level has been recorded
Note: No CPU power status has been recorded
"""
HOT = "2026-01-01 10:00:00 +0000 Thermal Warning Level = 2\n"
SLOWED = COOL + "CPU Power notify\n\tCPU_Scheduler_Limit \t= 100\n\tCPU_Speed_Limit \t= 55\n"


@pytest.fixture
def commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A PATH with nothing on it but the commands that a test writes."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))

    def write(name: str, script: str) -> None:
        (folder / name).write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        (folder / name).chmod(0o755)

    return write


@pytest.fixture
def mac(commands, monkeypatch: pytest.MonkeyPatch):
    """A Mac with Apple silicon that says what a test lets it say."""
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(machine.platform, "machine", lambda: "arm64")
    monkeypatch.setattr(machine.metadata, "distributions", lambda: ())
    monkeypatch.delenv(machine.RELAXED, raising=False)

    def says(batt: str = AC, therm: str = COOL, translated: str = "0") -> dict[str, machine.Check]:
        commands("pmset", f"case $2 in batt) printf '%s' '{_quoted(batt)}';; "
                          f"therm) printf '%s' '{_quoted(therm)}';; esac")  # fmt: skip
        commands("sysctl", f"echo {translated}")
        return {check.name: check for check in machine.checks()}

    return says


def _quoted(text: str) -> str:
    return text.replace("'", "'\\''")


def test_a_mac_on_mains_and_cool_is_well(mac, commands):
    commands("caffeinate", "")
    found = mac()
    assert list(found) == ["power", "heat", "display", "sleep"]
    assert {name: check.ok for name, check in found.items()} == {
        "power": True, "heat": True, "display": None, "sleep": True,
    }  # fmt: skip
    assert found["power"].value == "AC Power"
    assert "ImpactingInteractivity" in found["display"].value
    assert machine.RELAXED in found["display"].advice


@pytest.mark.parametrize(
    ("therm", "value"),
    [(HOT, "thermal warning level 2"), (SLOWED, "processor speed limited to 55%")],
)
def test_heat_and_battery_are_named(mac, therm, value):
    found = mac(batt=BATTERY, therm=therm)
    assert (found["heat"].ok, found["heat"].value) == (None, value)
    assert (found["power"].ok, found["power"].value) == (None, "Battery Power")
    assert found["power"].advice.startswith("plug it in") and "cool down" in found["heat"].advice


def test_what_a_mac_lacks_is_not_reported_but_caffeinate(mac, commands, tmp_path):
    mac()
    (tmp_path / "bin/pmset").unlink()
    found = {check.name: check for check in machine.checks()}
    assert list(found) == ["display", "sleep"]
    assert found["sleep"].ok is None and "caffeinate" in found["sleep"].value


def test_the_relaxed_watchdog_is_well(mac, monkeypatch):
    monkeypatch.setenv(machine.RELAXED, "1")
    assert mac()["display"].ok is True


@pytest.mark.parametrize(("translated", "said"), [("1", "Rosetta"), ("0", "an Intel Mac")])
def test_a_python_for_intel_fails(mac, monkeypatch, translated, said):
    monkeypatch.setattr(machine.platform, "machine", lambda: "x86_64")
    check = mac(translated=translated)["processor"]
    assert check.ok is False and said in check.value and check.advice


def test_elsewhere_nothing_is_said_about_macos(monkeypatch):
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(machine.metadata, "distributions", lambda: ())
    assert list(machine.checks()) == []


def test_two_packages_with_the_same_library_fail(monkeypatch):
    def one(name: str, *files: str) -> SimpleNamespace:
        return SimpleNamespace(metadata={"Name": name}, version="0.32.4", files=list(files))

    installed = [one("mlx", "mlx/core.so"), one("mlx-cpu", machine.LIBRARY), one("numpy", "n.py")]
    monkeypatch.setattr(machine.metadata, "distributions", lambda: installed)
    monkeypatch.setattr(sys, "platform", "linux")
    assert list(machine.checks()) == []
    installed.append(one("mlx-cuda-13", machine.LIBRARY))
    [check] = machine.checks()
    assert check.ok is False
    assert check.value.startswith("mlx-cpu 0.32.4, mlx-cuda-13 0.32.4 all install mlx/lib/libmlx")
    assert check.advice.startswith("pip uninstall mlx-cpu mlx-cuda-13, then install")


CAFFEINATE = 'echo "$$ $@" > {said}; exec /bin/sleep 60'


def _running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _said(path: Path) -> list[str]:
    for _ in range(500):
        if path.is_file() and (words := path.read_text().split()):
            return words
        time.sleep(0.01)
    raise AssertionError("it was never started")


def test_a_mac_is_kept_awake_until_the_run_ends(commands, tmp_path, monkeypatch):
    commands("caffeinate", CAFFEINATE.format(said=tmp_path / "said"))
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(KeyboardInterrupt), awake():
        pid, *arguments = _said(tmp_path / "said")
        assert arguments == ["-i", "-w", str(os.getpid())]
        assert _running(int(pid))
        began = time.monotonic()
        raise KeyboardInterrupt  # however it ends
    assert not _running(int(pid))
    assert time.monotonic() - began < 30, "it was ended, not waited for"


@pytest.mark.parametrize(("platform", "wanted"), [("darwin", False), ("linux", True)])
def test_nothing_is_started_where_it_is_not_wanted(
    commands, tmp_path, monkeypatch, platform, wanted
):
    commands("caffeinate", CAFFEINATE.format(said=tmp_path / "said"))
    monkeypatch.setattr(sys, "platform", platform)
    with awake(wanted):
        pass
    assert not (tmp_path / "said").exists()


def test_a_run_does_not_depend_on_caffeinate(commands, monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    with awake():
        pass


@pytest.mark.slow
@pytest.mark.parametrize(("options", "awakened"), [((), True), (("--allow-sleep",), False)])
def test_the_loop_keeps_a_mac_awake_unless_it_may_sleep(
    commands, tmp_path, monkeypatch, options, awakened
):
    from star_mlx import api
    from star_mlx.cli import main

    commands("caffeinate", CAFFEINATE.format(said=tmp_path / "said"))
    monkeypatch.setattr(sys, "platform", "darwin")
    during = []

    def train(*_, **__):
        during.append(_said(tmp_path / "said") if awakened else (tmp_path / "said").exists())

    monkeypatch.setattr(api, "train", train)
    run = str(tmp_path / "run")
    with pytest.raises(SystemExit) as ended:
        main(["loop", "--task", "arithmetic", "--run", run, "--plain", *options])
    assert ended.value.code == 0
    [said] = during
    assert not _running(int(said[0])) if awakened else said is False
