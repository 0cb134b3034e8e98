"""``star-mlx launch``: the machines, how ranks find each other, and how each of them ends."""

from __future__ import annotations

import io
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from star_mlx import cli
from star_mlx.distributed import environment, hosts, joining, keeper, launching
from star_mlx.distributed.hosts import Hosts
from star_mlx.distributed.launching import Launch
from star_mlx.distributed.messages import Ping
from star_mlx.errors import RankError
from tests.test_ranks import SMALL

# --------------------------------------------------------------------------- machines


def test_machines_are_named_once_for_each_of_their_ranks(monkeypatch):
    monkeypatch.setattr(hosts.socket, "gethostbyname", lambda name: f"10.9.9.{name[-1]}")
    found = hosts.named("mac-1, me@mac-2", 2)
    assert [e["ssh"] for e in found.entries] == ["mac-1", "mac-1", "me@mac-2", "me@mac-2"]
    assert found.head == "10.9.9.1" and not found.local
    assert hosts.named("localhost", 3).entries == [{"ssh": "127.0.0.1", "ips": ["127.0.0.1"]}] * 3


def test_a_hostfile_keeps_what_mlx_wants_of_it(tmp_path):
    file = tmp_path / "hosts.json"
    rows = [
        {"ssh": "a", "ips": ["10.9.9.1"], "rdma": [None, "rdma_en2"]},
        {"ssh": "b", "ips": ["10.9.9.2"], "rdma": ["rdma_en2", None]},
    ]
    file.write_text(json.dumps({"backend": "jaccl", "envs": ["A=1"], "hosts": rows}))
    found = hosts.of_file(file)
    assert json.loads(found.text()) == {"backend": "jaccl", "envs": ["A=1"], "hosts": rows}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "is no hostfile of mlx"),
        ('[{"ips": []}]', "is no hostfile of mlx"),
        ("[]", "names no host"),
        ('[{"ssh": "127.0.0.1"}, {"ssh": "a", "ips": ["10.9.9.1"]}]', "others cannot reach"),
    ],
)
def test_a_hostfile_that_cannot_be_used_is_one_line(tmp_path, text, said):
    (tmp_path / "hosts.json").write_text(text)
    with pytest.raises(RankError, match=said):
        hosts.of_file(tmp_path / "hosts.json")


def test_a_name_without_an_address_is_one_line():
    with pytest.raises(RankError, match=r"the host no-such-host\.invalid has no address"):
        hosts.named("no-such-host.invalid", 1)
    with pytest.raises(RankError, match="leave out the comma"):
        hosts.named("127.0.0.1,", 1)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--hosts", "a", "--hostfile", "b", "--", "loop"], "exclude each other"),
        (["--hostfile", "b", "-n", "2", "--", "loop"], "a hostfile names each rank"),
        (["-n", "2", "--", "push", "run"], "push cannot be shared among ranks"),
        (["-n", "2"], "Missing argument"),
        (["--hostfile", "no-such-file", "--", "loop"], "no-such-file cannot be read"),
    ],
)
def test_a_launch_that_cannot_be_is_one_line(capsys, words, said):
    with pytest.raises(SystemExit) as ended:
        cli.main(["launch", *words])
    assert ended.value.code == 2
    err = capsys.readouterr().err
    assert said in err and len(err.splitlines()) == 1


def test_one_process_is_no_launch(capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["launch", "--", "loop", "--task", "arithmetic", "--measure"])
    assert ended.value.code == 2
    assert "--measure needs --dry-run" in capsys.readouterr().err


# --------------------------------------------------------------------------- joining


def ranks(number: int, size: int, told: bytes = b"") -> Any:
    return SimpleNamespace(rank=number, size=size, told=lambda data: told)


def test_ranks_find_rank_0_where_it_tells_them():
    told, ready = [], threading.Event()

    def tell(data: bytes) -> bytes:
        told.append(data)
        ready.set()
        return data

    def other() -> None:
        ready.wait(5)
        wire = joining.joined(ranks(1, 2, told[0]))
        wire.send(joining.hello(1))
        assert isinstance(wire.receive(), Ping)
        wire.close()

    thread = threading.Thread(target=other)
    thread.start()
    first = SimpleNamespace(rank=0, size=2, told=tell)
    [(wire, hello)] = joining.gather(first, "127.0.0.1", patience=10)
    assert hello.rank == 1 and hello.source == joining.source()
    wire.send(Ping())
    thread.join(5)


def test_a_rank_that_does_not_come_is_named():
    with pytest.raises(RankError, match=r"rank 1, 2 did not connect to rank 0 in 0 s"):
        joining.gather(ranks(0, 3), "127.0.0.1", patience=0.05)


def test_an_address_that_is_not_this_machine_s_is_one_line():
    with pytest.raises(RankError, match=r"rank 0 cannot listen at 192\.0\.2\.1"):
        joining.gather(ranks(0, 2), "192.0.2.1")


def test_other_versions_are_refused_by_name():
    own, other = joining.hello(0), joining.hello(2)
    joining.refuse_other(own, other)
    other.versions = {**other.versions, "mlx": "0.1"}
    with pytest.raises(RankError, match=r"rank 2 \(.*\) has mlx 0\.1 instead of \d"):
        joining.refuse_other(own, other)
    other.versions, other.source = own.versions, "another"
    with pytest.raises(RankError, match="has other files of star-mlx"):
        joining.refuse_other(own, other)


# --------------------------------------------------------------------------- the end of ranks


def started_keeper(tmp_path: Path, code: str) -> subprocess.Popen[bytes]:
    """A keeper of rank 2, which runs this code."""
    package = tmp_path / "star_mlx"
    for part in ("cli", "distributed"):
        (package / part).mkdir(parents=True)
        (package / part / "__init__.py").write_text("")
    (package / "__init__.py").write_text("")
    (package / "cli" / "rank.py").write_text(code)
    shutil.copy(environment.__file__, package / "distributed")
    return subprocess.Popen(
        [sys.executable, keeper.__file__], stdin=subprocess.PIPE, stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(tmp_path), "MLX_RANK": "2"}, cwd=tmp_path,
    )  # fmt: skip


def end(process: subprocess.Popen[bytes]) -> tuple[int, dict[str, Any]]:
    """The exit code of a keeper, and the mark it made."""
    assert process.stderr is not None
    said = process.stderr.read()
    marks = [line for line in said.splitlines() if line.startswith(keeper.MARK)]
    begun, ended = (json.loads(mark.removeprefix(keeper.MARK)) for mark in marks)
    assert begun == {"rank": 2, "pid": process.pid}
    return process.wait(60), ended


def test_a_keeper_says_how_its_rank_ended_and_its_last_line(tmp_path):
    code = "import sys; print('one'); print('[ring] noise', file=sys.stderr); sys.exit(3)"
    ended = end(started_keeper(tmp_path, code))
    assert ended == (3, {"rank": 2, "code": 3, "last": "one"})


def test_a_keeper_ends_its_rank_by_force_if_it_must(tmp_path, monkeypatch):
    code = (
        "import signal, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "print('deaf', file=sys.stderr, flush=True); time.sleep(60)"
    )
    text = Path(keeper.__file__).read_text().replace("PATIENCE = 4.0", "PATIENCE = 0.3")
    monkeypatch.setattr(keeper, "__file__", str(tmp_path / "keeper.py"))
    (tmp_path / "keeper.py").write_text(text)
    process = started_keeper(tmp_path, code)
    time.sleep(1)  # until it is deaf
    process.terminate()
    assert end(process) == (128 + 9, {"rank": 2, "code": -9, "last": "deaf"})


def test_a_keeper_ends_when_the_launch_has_gone(tmp_path, monkeypatch):
    gone = subprocess.Popen([sys.executable, "-c", "pass"])
    gone.wait()
    monkeypatch.setenv("STAR_MLX_LAUNCHER", f"{platform.node()}:{gone.pid}")
    process = started_keeper(tmp_path, "import time; time.sleep(60)")
    assert end(process) == (128 + 15, {"rank": 2, "code": -15, "last": ""})


def launch(number: int = 3) -> Launch:
    return Launch(hosts.named("127.0.0.1", number), "ring", ["loop"], port=1)


def mark(rank: int, code: int, last: str = "") -> bytes:
    entry = json.dumps({"rank": rank, "code": code, "last": last}).encode()
    return keeper.MARK + entry + b"\r\n"


def test_marks_are_taken_out_of_the_output_wherever_it_is_cut(monkeypatch):
    ended = b"\x1b[33m[WARN] Node with rank 2 exited with code 137 \x1b[0m\n"  # mlx's launcher
    whole = b"one\n" + mark(1, 0) + b"two\x1e" + mark(2, -9, "gone") + ended + b"three"
    for cut in range(1, len(whole)):
        started, out = launch(), io.BytesIO()
        read, write = os.pipe()
        os.write(write, whole[:cut])
        thread = threading.Thread(
            target=started._pump, args=(os.fdopen(read, "rb"), SimpleNamespace(buffer=out))
        )
        thread.start()
        os.write(write, whole[cut:])
        os.close(write)
        thread.join(5)
        assert out.getvalue() == b"one\ntwo\x1ethree"
        assert started.marks == {1: {"code": 0, "last": ""}, 2: {"code": -9, "last": "gone"}}


def test_the_exit_code_is_0_only_if_all_ranks_ended_well():
    started = launch()
    assert started._code() == 2  # no rank has said a word
    for rank in range(3):
        started._enter(mark(rank, 0).removeprefix(keeper.MARK))
    assert started._code() == 0 and started.failed() == []
    started._enter(mark(2, -signal.SIGKILL, "working").removeprefix(keeper.MARK))
    assert started._code() == 2
    started._enter(mark(0, 130).removeprefix(keeper.MARK))
    del started.marks[1]
    assert started._code() == 130
    begun = json.dumps({"rank": 1, "pid": 1}).encode()
    started._enter(begun)
    started._asked = [signal.SIGTERM]
    del started.marks[0]
    assert started._code() == 143
    started._enter(mark(0, 130).removeprefix(keeper.MARK))
    assert started.last_lines() == [
        "rank 0 (127.0.0.1) ended with exit code 130",
        "rank 1 (127.0.0.1) was ended without a word, or cannot be reached any more",
        "rank 2 (127.0.0.1) was ended by SIGKILL: working",
    ]


def test_without_mlx_s_launcher_nothing_is_started(monkeypatch):
    monkeypatch.setattr(launching.sys, "executable", "/nowhere/python")
    monkeypatch.setattr(launching.shutil, "which", lambda name: None)
    with pytest.raises(RankError, match=r"there is no mlx\.launch beside /nowhere/python"):
        launch().run()


def test_the_command_of_each_rank():
    entries = [{"ssh": "a", "ips": ["10.9.9.1"]}, {"ssh": "b", "ips": ["10.9.9.2"]}]
    started = Launch(
        Hosts(entries), "jaccl-ring", ["loop", "--task", "x"], python="/p", folder="/d"
    )
    options = started._options(Path("h.json"))
    assert options[:8] == [
        "--hostfile", "h.json", "--starting-port", "32323", "--backend", "jaccl-ring", "--cwd", "/d"
    ]  # fmt: skip
    assert "STAR_MLX_HEAD=10.9.9.1" in options and "STAR_MLX_BACKEND=jaccl" in options
    assert started.last_lines()[1] == "rank 1 (b) did not start: does `ssh b /p -V` work?"
    assert started._command() == ["/p", "-m", "star_mlx.distributed.keeper", "loop", "--task", "x"]


# --------------------------------------------------------------------------- the whole


@pytest.mark.slow
def test_two_ranks_by_mlx_s_launcher_make_the_run_of_one(tmp_path):
    sets = [word for one in (*SMALL, "star.iterations=1", "star.problems=24", "evaluate.dev=8",
            "generate.max_tokens=40", "star.schedule.start=2", "train.max_length=2048")
            for word in ("--set", one)]  # fmt: skip
    loop = ["loop", "--task", "arithmetic", "--plain", *sets, "--run"]
    star = [sys.executable, "-m", "star_mlx"]
    done = subprocess.run(
        [*star, "launch", "-n", "2", "--", *loop, str(tmp_path / "two")],
        capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "finished in" in done.stdout and "\x1e" not in done.stdout + done.stderr
    subprocess.run([*star, *loop, str(tmp_path / "one")], check=True, capture_output=True)
    names = ("iterations/001/attempts.jsonl", "iterations/001/examples.jsonl")
    for name in names:
        assert (tmp_path / "two" / name).read_bytes() == (tmp_path / "one" / name).read_bytes()


@pytest.mark.slow
def test_a_command_that_fails_on_rank_0_fails_as_it_does_alone(tmp_path):
    words = ["launch", "-n", "2", "--", "loop", "--task", "no-such-task"]
    done = subprocess.run(
        [sys.executable, "-m", "star_mlx", *words], capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 2
    lines = done.stderr.splitlines()
    first, ends = lines[0], [line for line in lines if line.startswith("rank ")]
    assert first.startswith("star-mlx: error: unknown task 'no-such-task'")
    assert ends[0] == f"rank 0 (127.0.0.1) ended with exit code 2: {first}"
