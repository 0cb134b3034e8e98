"""Models and data sets from a Hub on this machine, by the real client in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from star_mlx.engine import resolve
from tests import tiny_random
from tests.hub import COMMIT, Hub, client_environment

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
CALL = """
import json, sys, time
time.sleep = lambda seconds: None  # the client waits between tries
from star_mlx.data import hub_files
from star_mlx.engine import resolve
from star_mlx.errors import StarError

def model(path, **options):
    found = resolve.find(path, **options)
    return {"name": found.name, "revision": found.revision, "folder": str(found.folder)}

def data(repo, files, **options):
    return [str(path) for path in hub_files.fetch(repo, files, **options)]

def base(path):
    from star_mlx.engine import open_engine
    return dict(open_engine(path).describe())

for name, arguments, options in json.loads(sys.argv[1]):
    try:
        print(json.dumps(globals()[name](*arguments, **options)))
    except StarError as error:
        print(json.dumps({"error": type(error).__name__ + ": " + str(error)}))
"""
OTHER = "b" * 40


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a repository has, wanted or not; nothing of it is loaded here."""
    folder = tmp_path_factory.mktemp("model")
    (folder / "config.json").write_text('{"model_type": "llama"}')
    (folder / "tokenizer.json").write_text("{}")
    (folder / "model-00001-of-00002.safetensors").write_bytes(b"first" * 10_000)
    (folder / "model-00002-of-00002.safetensors").write_bytes(b"second" * 10_000)
    (folder / "modeling.py").write_text("raise SystemExit('run')")
    for name in ("pytorch_model.bin", "README.md", ".gitattributes", "adapters.safetensors"):
        (folder / name).write_text(name)
    (folder / "onnx").mkdir()
    (folder / "onnx/config.json").write_text("{}")
    return folder


@pytest.fixture
def hub(folder: Path) -> Iterator[Hub]:
    with Hub() as hub:
        hub.add("org/name", folder, branches=("main", "v1", "refs/pr/1"))
        yield hub


@pytest.fixture
def ask(hub: Hub, tmp_path: Path):
    """Calls in a fresh process: a list of (function, arguments, options) -> what each gave."""

    def ask(*calls: tuple[str, list[Any], dict[str, Any]], url: str | None = None, **more: str):
        environment = client_environment(url or hub.url, tmp_path / "home", **more)
        done = subprocess.run(
            [sys.executable, "-c", CALL, json.dumps(calls)],
            env=environment, cwd=ROOT, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    return ask


def model(path: str, **options: Any) -> tuple[str, list[Any], dict[str, Any]]:
    return "model", [path], options


def data(repo: str, files: list[str], **options: Any) -> tuple[str, list[Any], dict[str, Any]]:
    return "data", [repo, files], options


def error(answer: dict[str, Any], kind: str = "ModelError") -> str:
    """The text of an error, which is one line."""
    name, _, text = answer["error"].partition(": ")
    assert name == kind and "\n" not in text
    return text


def names(folder: str) -> set[str]:
    return {p.relative_to(folder).as_posix() for p in Path(folder).rglob("*") if p.is_file()}


NEEDED = {
    "config.json",
    "tokenizer.json",
    "model-00001-of-00002.safetensors",
    "model-00002-of-00002.safetensors",
}


# --------------------------------------------------------------------------- models


def test_only_what_is_wanted_is_fetched_and_works_offline_afterwards(hub, ask, folder):
    [found] = ask(model("org/name@v1"))
    assert (found["name"], found["revision"]) == ("org/name", COMMIT)
    assert names(found["folder"]) == NEEDED
    for name in NEEDED:
        assert (Path(found["folder"]) / name).read_bytes() == (folder / name).read_bytes()
        assert len(hub.asked("GET", f"/{name}$")) == 1
    assert not hub.asked("GET", r"\.py$|\.bin$|\.md$|/onnx/")
    before = len(hub.requests)
    assert ask(model("org/name@v1"), HF_HUB_OFFLINE="1") == [found]
    assert len(hub.requests) == before
    assert ask(model("org/name@v1"), model(f"org/name@{COMMIT}"), url=closed()) == [found, found]


def test_code_is_fetched_only_where_it_is_trusted(ask):
    [plain, trusted] = ask(model("org/name"), model("org/name", trust_remote_code=True))
    assert names(trusted["folder"]) == NEEDED | {"modeling.py"}
    assert plain == trusted


def test_branches_tags_commits_and_pull_requests(hub, ask, folder, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    for name in NEEDED:
        (other / name).write_bytes((folder / name).read_bytes())
    hub.add("org/name", other, commit=OTHER, branches=("main",))
    found = ask(
        model("org/name"),
        model("org/name", revision="v1"),
        model("org/name@v1", revision="main"),
        model("org/name@refs/pr/1"),
        model(f"org/name@{OTHER}"),
    )
    assert [f["revision"] for f in found] == [OTHER, COMMIT, COMMIT, COMMIT, OTHER]
    assert {f["name"] for f in found} == {"org/name"}


def test_a_base_of_the_hub_is_known_by_its_name_commit_and_content(hub, ask, tmp_path):
    written = tiny_random.write(tmp_path / "base", bits=4)
    hub.add("org/base", written, commit=OTHER, branches=("main", "v2"))
    [base] = ask(("base", ["org/base@v2"], {}))
    assert (base["name"], base["revision"], base["bits"]) == ("org/base", OTHER, 4)
    assert base["hash"] == resolve.content_hash(written)


def test_what_the_hub_refuses_is_one_line_that_says_what_to_do(hub, ask, folder):
    hub.add("org/gated", folder, gated=True)
    for name, status in {"login": 401, "rights": 403, "many": 429, "down": 500}.items():
        hub.add(f"org/{name}", folder)
        hub.fail(
            f"org/{name}", status, X_Error_Message="Invalid credentials in Authorization header"
        )
    answers = ask(
        model("org/nonesuch"),
        model("org/name@v9"),
        model(f"org/name@{'f' * 40}"),
        model("org/gated"),
        model("org/login"),
        model("org/rights"),
        model("org/many"),
        model("org/down"),
        model("org/na--me"),
    )
    unknown, revision, commit, gated, login, rights, many, down, odd = map(error, answers)
    assert unknown == (
        "no folder org/nonesuch, and no repository org/nonesuch on the Hub (if it is private, log "
        "in with `hf auth login`)"
    )
    assert revision == "org/name on the Hub has no revision 'v9'"
    assert commit == f"org/name on the Hub has no revision '{'f' * 40}'"
    assert gated.startswith("org/gated is gated: accept its terms")
    assert "refuses your login (401): log in again with `hf auth login`" in login
    assert "refuses access to org/rights (403)" in rights
    assert "too many requests (429): wait" in many
    assert down.startswith("the Hub failed with error 500 over org/down: try again later, or")
    assert "org/na--me cannot be on the Hub" in odd


def test_without_a_network(ask):
    [answer] = ask(model("org/name"), url=closed())
    text = error(answer)
    assert text.startswith("org/name is not in the cache and the Hub cannot be reached (")
    assert "refused" in text
    assert text.endswith(
        "): download it where there is a network and pass its folder "
        "(`--model tiny` needs no download)"
    )
    [answer] = ask(model("org/name@v1"), HF_HUB_OFFLINE="1")
    assert error(answer).startswith(
        "org/name@v1 is not in the cache and HF_HUB_OFFLINE is set: unset it, or download it"
    )


def test_a_connection_cut_in_the_weights_is_mended_by_the_client_or_the_next_try(hub, ask):
    weights = "model-00002-of-00002.safetensors"
    hub.cut(weights, after=1000)
    [answer] = ask(model("org/name"))
    text = error(answer)
    assert text.startswith("org/name could not be fetched from the Hub (")
    assert "try again (what is complete is kept), or download it" in text
    hub.mend()
    [offline] = ask(model("org/name"), HF_HUB_OFFLINE="1")
    assert "is only partly in the cache and HF_HUB_OFFLINE is set" in error(offline)
    hub.cut(weights, after=1000, times=2)
    before = len(hub.asked("GET", "model-00001"))
    [found] = ask(model("org/name"))
    assert names(found["folder"]) == NEEDED
    assert len(hub.asked("GET", "model-00001")) == before, "what was complete is not fetched again"


def test_a_server_that_fails_in_the_middle(hub, ask):
    hub.fail("model-00001", 500)
    [answer] = ask(model("org/name"))
    assert "the Hub failed with error 500 over org/name: try again later" in error(answer)


def test_a_xet_store_that_cannot_be_reached(hub, ask):
    hub.xet = closed()
    [answer] = ask(model("org/name"), HF_HUB_DISABLE_XET="0", HF_XET_CLIENT_RETRY_MAX_ATTEMPTS="1")
    text = error(answer)
    assert text.startswith("org/name could not be fetched from the Hub (Task error: ")
    assert "with HF_HUB_DISABLE_XET=1 if that does not help, or download it" in text


def test_a_cache_that_cannot_be_written_to(ask, tmp_path):
    (tmp_path / "file").write_text("in the way")
    [answer] = ask(model("org/name"), HF_HOME=str(tmp_path / "file"))
    text = error(answer)
    assert text.startswith(f"org/name cannot be stored in the cache ({tmp_path / 'file'}")
    assert text.endswith("fix that folder, or set HF_HOME to another")


def test_a_login_page_in_place_of_the_hub(hub, ask):
    hub.fail("org/name", 200, body=b"<html>log in</html>")
    [answer] = ask(model("org/name"))
    assert "answer is not from the Hub (a login page or proxy in between?)" in error(answer)


# --------------------------------------------------------------------------- data sets


@pytest.fixture
def rows(hub: Hub, tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    (folder / "main").mkdir(parents=True)
    (folder / "main/train.jsonl").write_text('{"question": "1 + 1"}\n')
    (folder / "main/test.jsonl").write_text('{"question": "2 + 2"}\n')
    (folder / "README.md").write_text("unwanted")
    hub.add("org/sums", folder, "dataset")
    return folder


def test_data_set_files_come_once_and_from_one_commit(hub, ask, rows):
    files = ["main/train.jsonl", "main/test.jsonl"]
    [paths] = ask(data("org/sums", files))
    assert [Path(p).read_text() for p in paths] == [(rows / f).read_text() for f in files]
    assert all(p.endswith(f"snapshots/{COMMIT}/{f}") for p, f in zip(paths, files, strict=True))
    assert len(hub.asked("GET", "/datasets/org/sums/resolve/")) == 2
    assert hub.asked("HEAD", "test.jsonl") == [
        f"/datasets/org/sums/resolve/{COMMIT}/main/test.jsonl"
    ]
    assert ask(data("org/sums", files), url=closed()) == [paths]


def test_what_can_go_wrong_with_a_data_set(hub, ask, rows):
    file = ["main/train.jsonl"]
    hub.add("org/gated", rows, "dataset", gated=True)
    hub.add("org/down", rows, "dataset")
    hub.fail("org/down", 500)
    answers = ask(
        data("org/nonesuch", file),
        data("org/sums", file, revision="v9"),
        data("org/sums", ["main/dev.jsonl"]),
        data("org/gated", file),
        data("org/down", file),
    )
    for answer, text in zip(
        answers,
        (
            "no repository org/nonesuch on the Hub",
            "org/sums on the Hub has no revision 'v9'",
            "org/sums on the Hub has no dev.jsonl",
            "org/gated is gated",
            "the Hub failed with error 500 over org/down: try again later, or pass --data PATH",
        ),
        strict=True,
    ):
        assert error(answer, "TaskError").startswith(text)
    [answer] = ask(data("org/sums", file), url=closed())
    assert error(answer, "TaskError").endswith("pass --data PATH with the official files")


def closed() -> str:
    """The address of a server that is no more."""
    hub = Hub()
    hub._server.server_close()
    return hub.url
