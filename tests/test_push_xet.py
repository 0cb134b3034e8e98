"""Pushing through a Xet store and pulling back, by the real client with the real ``hf_xet``."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
from array import array
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import hub_xet
from tests.hub import Hub, client_environment
from tests.hub_worker import Worker
from tests.hub_writing import LARGE
from tests.test_hub import closed
from tests.test_push import NAME, TOKEN, commits, once, push, tree

pytestmark = pytest.mark.slow

pytest.importorskip("hf_xet")
XET = {
    "HF_HUB_DISABLE_XET": "0",
    "HF_XET_CLIENT_RETRY_MAX_ATTEMPTS": "1",  # six by default, which take a minute
    "HF_XET_CLIENT_RETRY_BASE_DELAY": "10ms",
}
WEIGHTS = ("adapters.safetensors", "peft/adapter_model.safetensors")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("xet")


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    with Hub() as hub:
        hub.token = TOKEN
        hub.keep_in_xet()  # one for all tests: what is in it, the client remembers
        yield hub


@pytest.fixture(scope="module")
def store(hub: Hub) -> hub_xet.XetStore:
    return hub.xet_store


@pytest.fixture(scope="module")
def worker(hub: Hub, place: Path) -> Iterator[Worker]:
    worker = Worker(client_environment(hub.url, place / "home", HF_TOKEN=TOKEN, **XET), place)
    yield worker
    worker.close()


@pytest.fixture
def star(worker: Worker, hub: Hub, place: Path):
    """Runs a command on an empty Hub without faults; no secret may be anywhere afterwards."""
    hub.repos.clear()
    hub.requests.clear()
    hub.authorized.clear()
    hub.mend()
    said = []

    def run(*arguments, **options):
        done = worker.run(*arguments, **options)
        said.append(done.out + done.err)
        return done

    yield run
    hub.mend()
    files = [path.read_bytes() for path in place.rglob("*") if path.is_file()]
    for text in [*files, *map(str.encode, said)]:
        assert TOKEN.encode() not in text and hub_xet.SECRET.encode() not in text


@pytest.fixture
def run(small_run: Path, tmp_path: Path) -> Path:
    """A run whose weights are in no store yet."""
    run = shutil.copytree(small_run, tmp_path / "sums")
    renewed(run)
    return run


def renewed(run: Path) -> None:
    """Give iteration 2 other weights, of which a part can be compressed."""
    seed = os.urandom(8)
    noise = random.Random(seed)
    numbers = array("f", (noise.gauss(0, 0.02) for _ in range(40_000)))
    text = "".join(f"{line} {seed.hex()}\n" for line in range(4000))
    data = os.urandom(100_000) + numbers.tobytes() + text.encode()
    (run / "iterations/002/adapter/adapters.safetensors").write_bytes(data)
    (run / "journal.jsonl").unlink(missing_ok=True)  # it has the checksum of those before


def weights(run: Path) -> dict[str, bytes]:
    """What a push is to send of iteration 2 as large files, beside its picture."""
    data = (run / "iterations/002/adapter/adapters.safetensors").read_bytes()
    return dict(zip(WEIGHTS, (data, data[::-1]), strict=True))


def by_store(hub: Hub) -> list[str]:
    """What was asked of the store."""
    return [path for _, path in hub.requests if path.startswith(hub_xet.ROOT)]


def sent(hub: Hub) -> list[str]:
    """The xorbs that were uploaded, by a grant or directly."""
    return hub.asked("PUT", "/xet/granted/") + hub.asked("POST", "/xet/v1/xorbs/")


def schemes(store: hub_xet.XetStore, data: bytes) -> set[int]:
    """How the chunks of a file are compressed in the store."""
    terms = store.files[store.hashes[hashlib.sha256(data).hexdigest()]]
    used = [(store.xorbs[t.xorb], number) for t in terms for number in range(t.start, t.end)]
    return {xorb.data[xorb.offsets[number] + 4] for xorb, number in used}


# --------------------------------------------------------------------------- push


def test_large_files_go_to_the_store_and_one_commit_holds_them(star, hub, store, run):
    done = push(star, run)
    assert done.code == 0, done.err
    assert commits(hub) == [("main", "Iteration 2 of a STaR run (star-mlx)")]
    files = tree(hub)
    assert {name: files[name] for name in WEIGHTS} == weights(run)
    assert sent(hub) and len(hub.asked("POST", "/xet/v2/shards")) == 1
    assert hub.blobs == {} and not hub.asked("POST", "lfs") and not hub.asked("PUT", "lfs")
    large = [data for name, data in files.items() if name.endswith(LARGE)]
    assert len(large) == 3, "the weights and a picture"
    assert {hashlib.sha256(data).hexdigest() for data in large} <= set(store.hashes)
    assert ("POST", f"/api/models/{NAME}/commit/main") in hub.authorized


@pytest.mark.parametrize("policy", ["lz4", "bg4-lz4"])
def test_a_store_without_grants_gets_whatever_the_client_compresses(hub, store, run, place, policy):
    hub.repos.clear()
    hub.fail("/xet/v1/xorb-grants/", 404)
    done = once(
        place, hub.url, "push", run, NAME, "--iteration", "2",
        HF_TOKEN=TOKEN, HF_XET_DATA_XORB_COMPRESSION_POLICY=policy, **XET,
    )  # fmt: skip
    hub.mend()
    assert done.returncode == 0, done.stderr
    files = tree(hub)
    for name, data in weights(run).items():
        assert files[name] == data
        assert {"lz4": 1, "bg4-lz4": 2}[policy] in schemes(store, data)


def test_the_same_thing_twice_makes_no_commit_and_asks_nothing_of_the_store(star, hub, run):
    push(star, run)
    hub.requests.clear()
    done = push(star, run)
    assert (done.code, len(commits(hub))) == (0, 1)
    assert "holds all of this already: no commit was made" in done.out
    assert by_store(hub) == []


def test_what_is_in_the_store_is_not_sent_again_for_another_repository(star, hub, run):
    push(star, run)
    hub.requests.clear()
    done = star("push", run, "user/other", "--iteration", "2")
    assert done.code == 0, done.err
    assert by_store(hub) == ["/xet/v2/shards"]
    files = tree(hub, name="user/other")
    assert {name: files[name] for name in WEIGHTS} == weights(run)


@pytest.mark.parametrize(
    ("where", "status", "says"),
    [
        ("/xet-write-token/", 500, "(500 Internal Server Error)"),
        ("/xet-write-token/", 403, "(403 Forbidden)"),
        ("/xet/v1/xorb-grants/", 500, "(500 Internal Server Error)"),
        ("/xet/v1/xorb-grants/", 401, "(401 Unauthorized)"),
        ("/xet/v1/xorb-grants/", 403, "(403 Forbidden)"),
        ("/xet/v1/xorb-commits/", 500, "(500 Internal Server Error)"),
        ("/xet/v2/shards", 500, "(500 Internal Server Error)"),
        ("/xet/v2/shards", 403, "(403 Forbidden)"),
    ],
)
def test_a_store_that_fails_or_refuses_is_one_line_and_leaves_the_repository(
    star, hub, run, where, status, says
):
    push(star, run, "--format", "mlx")
    before = tree(hub)
    renewed(run)
    body = f"Bearer {TOKEN} {hub_xet.SECRET} \x1b[31m is what you sent"
    hub.fail(where, status, body=body.encode())
    line = push(star, run).line
    assert "the Hub's Xet store refused or failed (" in line and says in line
    assert "with HF_HUB_DISABLE_XET=1 if that does not help; the repository is unchanged" in line
    assert tree(hub) == before and len(commits(hub)) == 1
    assert_the_next_push_succeeds(star, hub, run)


def assert_the_next_push_succeeds(star, hub, run) -> None:
    hub.mend()
    before = len(commits(hub))
    done = push(star, run)
    assert done.code == 0 and len(commits(hub)) == before + 1, done.err
    files = tree(hub)
    assert {name: files[name] for name in WEIGHTS} == weights(run)


def test_a_connection_cut_in_a_xorb_is_one_line_and_the_next_push_succeeds(star, hub, store, run):
    before = set(store.xorbs)
    for where in ("/xet/granted/", "/xet/v1/xorbs/"):  # it tries the one, then the other
        hub.cut(where, after=1000)
    line = push(star, run).line
    assert "the connection to the Hub failed (Network error: " in line
    assert len(sent(hub)) > 1 and set(store.xorbs) == before
    assert commits(hub) == [] and set(tree(hub)) == {".gitattributes"}
    assert_the_next_push_succeeds(star, hub, run)


@pytest.mark.parametrize("fault", ["cut", 403, 500])
def test_where_a_grant_fails_the_xorb_is_sent_directly(star, hub, run, fault):
    if fault == "cut":
        hub.cut("/xet/granted/", after=1000)
    else:
        hub.fail("/xet/granted/", fault)
    done = push(star, run)
    assert done.code == 0 and hub.asked("POST", "/xet/v1/xorbs/"), done.err
    assert {name: tree(hub)[name] for name in WEIGHTS} == weights(run)


def test_a_file_that_is_not_what_its_shard_says_is_refused(star, hub, store, run, monkeypatch):
    before, known, real = dict(store.xorbs), dict(store.hashes), hub_xet.xorb

    def damaged(data: bytes) -> hub_xet.Xorb:
        xorb = real(data)
        return hub_xet.Xorb(xorb.data, xorb.offsets, [chunk[::-1] for chunk in xorb.chunks])

    monkeypatch.setattr(hub_xet, "xorb", damaged)
    assert "(400 Bad Request)" in push(star, run).line
    assert store.hashes == known and commits(hub) == []
    monkeypatch.undo()
    store.xorbs.clear()
    store.xorbs.update(before)
    assert_the_next_push_succeeds(star, hub, run)


# --------------------------------------------------------------------------- pull


def test_a_pull_without_a_login_or_a_cache_goes_through_the_store(star, hub, run, tmp_path):
    push(star, run)
    files = tree(hub)
    hub.requests.clear()
    done = once(tmp_path, hub.url, "pull", NAME, "--out", tmp_path / "out", **XET)
    assert done.returncode == 0, done.stderr
    fetched = {name: (tmp_path / "out" / name).read_bytes() for name in files if name[0] != "."}
    assert fetched == {name: data for name, data in files.items() if name[0] != "."}
    assert len(set(hub.asked("GET", "/xet/v2/reconstructions/"))) == 3
    assert hub.asked("GET", "/xet/xorb/")
    assert not hub.asked("GET", r"/resolve/.*\.(safetensors|png)")


@pytest.mark.parametrize(
    ("where", "status", "says"),
    [
        ("/xet/v2/reconstructions/", 500, "(500 Internal Server Error)"),
        ("/reconstructions/", 404, "(404 Not Found)"),
        ("/xet/xorb/", 500, "(500 Internal Server Error)"),
        ("/xet/xorb/", 403, "(403 Forbidden)"),
        ("/xet/xorb/", "cut", "error decoding response body"),
        ("/xet/xorb/", "gone", "error sending request"),
    ],
)
def test_a_store_that_fails_while_pulling_is_one_line_and_the_next_try_succeeds(
    star, hub, store, run, place, monkeypatch, where, status, says
):
    push(star, run)
    out = place / "pulled"
    shutil.rmtree(out, ignore_errors=True)
    if status == "cut":
        hub.cut(where, after=1000, method="GET")
    elif status == "gone":
        url = f"{closed()}/xorb?signature={hub_xet.SECRET}"
        monkeypatch.setattr(store, "_signed", lambda path: url)
    else:
        hub.fail(where, status, body=f"{hub_xet.SECRET} \x1b[31m".encode())
    line = star("pull", NAME, "--out", out).line
    assert line.startswith(f"{NAME} could not be fetched from the Hub (Task error: ")
    assert says in line and "with HF_HUB_DISABLE_XET=1 if that does not help" in line
    assert not out.exists()
    hub.mend()
    monkeypatch.undo()
    assert star("pull", NAME, "--out", out).code == 0
    assert {name: (out / name).read_bytes() for name in WEIGHTS} == weights(run)


def test_what_comes_damaged_out_of_the_store_is_not_taken(
    star, hub, store, run, place, monkeypatch
):
    push(star, run)
    damaged = {}
    for name, xorb in store.xorbs.items():
        sizes = [len(chunk).to_bytes(3, "little") for chunk in xorb.chunks]
        packed = [
            b"\0" + size + b"\0" + size + chunk[:-1] + bytes([chunk[-1] ^ 1])
            for size, chunk in zip(sizes, xorb.chunks, strict=True)
        ]
        damaged[name] = hub_xet.xorb(b"".join(packed))
    monkeypatch.setattr(store, "xorbs", damaged)
    line = star("pull", NAME, "--out", place / "damaged").line
    assert "is not what its run/manifest.json says" in line
    assert not (place / "damaged").exists()
    monkeypatch.undo()  # what came is in the client's cache
    assert star("pull", NAME, "--out", place / "damaged").code == 0
    assert {name: (place / "damaged" / name).read_bytes() for name in WEIGHTS} == weights(run)
