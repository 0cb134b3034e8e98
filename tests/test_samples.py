"""The finished runs that come with the package."""

from __future__ import annotations

import re
import runpy
import shutil
import tarfile
from pathlib import Path

import pytest

from star_mlx import samples
from star_mlx.measure.compare import dev_verdicts
from star_mlx.measure.paired import paired
from star_mlx.store import reading

ROOT = Path(__file__).parent.parent
ARCHIVE = ROOT / "star_mlx/samples/arithmetic.tar.xz"


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    """The folder with both runs; whoever writes to it copies it first."""
    folder = tmp_path_factory.mktemp("sample") / "sums"
    samples.unpack("arithmetic", folder)
    return folder


def contents(archive):
    with tarfile.open(archive) as opened:
        return {one.name: (one.type, opened.extractfile(one).read()) for one in opened}


def test_the_archive_is_small_and_holds_files_of_two_runs_and_no_place_on_a_machine():
    assert ARCHIVE.stat().st_size < 900_000
    for name, (kind, data) in contents(ARCHIVE).items():
        assert kind == tarfile.REGTYPE and re.fullmatch(r"(with|without)/[\w./-]+", name)
        assert ".." not in name and not re.search(rb"/(home|root|work|tmp|Users)/", data), name
        assert Path(name).name not in ("live.json", ".lock", "log.txt")


def test_packing_the_runs_again_gives_the_same_files_in_the_same_order(sample, tmp_path):
    pack = runpy.run_path(str(ROOT / "scripts/sample_run.py"))["pack"]
    pack([sample / "with", sample / "without"], tmp_path / "again.tar.xz", preset=0)
    assert list(contents(tmp_path / "again.tar.xz").items()) == list(contents(ARCHIVE).items())


def test_the_runs_are_whole_and_have_every_adapter(sample, star):
    assert sorted(path.name for path in sample.iterdir()) == ["with", "without"]
    for kind in ("with", "without"):
        assert star("check", sample / kind).endswith(": nothing is damaged\n")
        record = reading.read(sample / kind)
        assert all(record.adapter(number) for number in range(1, record.last + 1))
        assert record.recipe["star"]["rationalize"] is (kind == "with")


def test_rationalization_helps_in_them(sample):
    runs = [reading.read(sample / kind) for kind in ("without", "with")]
    assert paired(*(dev_verdicts(run, 4) for run in runs)).verdict == "better"


def test_the_command_writes_beside_the_other_runs_and_says_what_to_do(star, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = star("sample-run", "arithmetic")
    assert "wrote runs/sample-arithmetic/with: " in said
    for command in ("show", "trace", "compare", "report", "try"):
        assert re.search(rf"\n  \S*star-mlx {command} (--\w+ )?runs/sample-arithmetic/with", said)
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["sample-arithmetic"]
    [block] = re.findall(r"```python\n(.*?)```", (ROOT / "docs/teaching.md").read_text(), re.S)
    names: dict = {}
    exec(block, names)
    assert names["run"].last == 4 and not names["wrong"].correct
    mine = tmp_path / "runs/sample-arithmetic/with/notes.txt"
    mine.write_text("mine")
    err = star("sample-run", "arithmetic", code=2)
    assert "runs/sample-arithmetic exists already" in err and "--out" in err
    assert mine.read_text() == "mine" and err.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "hint"), [("aritmetic", "did you mean arithmetic?"), ("../x", "there are: arithmetic")]
)
def test_a_sample_that_there_is_not(star, tmp_path, name, hint):
    err = star("sample-run", name, "--out", tmp_path / "out", code=2)
    assert hint in err and not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_written_keeps_nothing_half(star, tmp_path):
    (tmp_path / "file").write_text("")
    assert "cannot be written" in star(
        "sample-run", "arithmetic", "--out", tmp_path / "file/x", code=2
    )
    assert "exists already" in star("sample-run", "arithmetic", "--out", tmp_path / "file", code=2)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.slow
def test_its_model_can_be_asked(sample, tmp_path, star):
    shutil.copytree(sample / "with", tmp_path / "with")
    said = star("try", tmp_path / "with", "2 8 3 + 4 9 4")
    assert "7 7 7" in said
