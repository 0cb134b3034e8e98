"""Pushing to a Hub on this machine and pulling back, by the real client, with real failures."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from star_mlx.errors import StarError
from star_mlx.store.reading import file_sha256
from tests import llama_cpp
from tests.hub import Hub, client_environment
from tests.hub_worker import Worker
from tests.small_run import SMALL
from tests.test_hub import closed

pytestmark = pytest.mark.slow

TOKEN = "hf_" + "SecretOfTheTest"
NAME = "user/sums"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("push")


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    with Hub() as hub:
        hub.token = TOKEN
        yield hub


@pytest.fixture(scope="module")
def worker(hub: Hub, place: Path) -> Iterator[Worker]:
    worker = Worker(client_environment(hub.url, place / "home", HF_TOKEN=TOKEN), place)
    yield worker
    worker.close()


@pytest.fixture
def star(worker: Worker, hub: Hub):
    """Runs a command on an empty Hub without faults."""
    hub.repos.clear()
    hub.blobs.clear()
    hub.requests.clear()
    hub.mend()
    yield worker.run
    hub.mend()


@pytest.fixture
def run(small_run: Path, tmp_path: Path) -> Path:
    return shutil.copytree(small_run, tmp_path / "sums")


def push(star, run, *more, **options):
    return star("push", run, NAME, "--iteration", "2", *more, **options)


def commits(hub: Hub, kind: str = "model", name: str = NAME) -> list[tuple[str, str]]:
    return hub.repos[kind, name].log


def tree(hub: Hub, kind: str = "model", name: str = NAME, revision: str = "main") -> dict:
    """The files of a branch."""
    repo = hub.repos[kind, name]
    folder = repo.commits[repo.branches[revision]]
    return {
        p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()
    }


# --------------------------------------------------------------------------- what is sent


def test_one_commit_holds_both_loaders_files_the_card_and_the_record(star, hub, run, worker):
    done = push(star, run)
    assert done.code == 0, done.err
    assert commits(hub) == [("main", "Iteration 2 of a STaR run (star-mlx)")]
    files = tree(hub)
    assert set(files) >= {
        "adapters.safetensors", "adapter_config.json", "peft/adapter_model.safetensors",
        "peft/adapter_config.json", "README.md", "run/recipe.yaml", "run/metrics.jsonl",
        "run/prompts.yaml", "run/manifest.json",
    }  # fmt: skip
    adapter = run / "iterations/002/adapter/adapters.safetensors"
    assert files["adapters.safetensors"] == adapter.read_bytes()
    assert b"license: apache-2.0" in files["README.md"]
    assert f"made the repository {NAME}" in done.out and f"{hub.url}/{NAME}" in done.out
    assert hub.repos["model", NAME].branches["main"] in done.out
    assert f"next: star-mlx pull {NAME}" in done.out
    everything = b"".join(files.values())
    assert str(run).encode() not in everything and str(Path.home()).encode() not in everything
    assert hub.repos["model", NAME].private is False


def test_the_same_thing_twice_makes_no_commit_and_sends_nothing(star, hub, run):
    push(star, run)
    before = len(hub.asked("PUT", ""))
    done = push(star, run)
    assert (done.code, len(commits(hub))) == (0, 1)
    assert "holds all of this already: no commit was made" in done.out
    assert len(hub.asked("PUT", "")) == before
    assert len(hub.asked("POST", "/commit/")) == 1


def test_a_later_push_sends_what_differs_and_deletes_only_its_own(star, hub, run):
    push(star, run)
    repo = hub.repos["model", NAME]
    folder = repo.commits[repo.branches["main"]]
    (folder / "notes.md").write_text("of a person")
    hub.requests.clear()
    done = push(star, run, "--format", "mlx")
    assert done.code == 0 and len(commits(hub)) == 2
    assert "deleted peft/adapter_config.json, peft/adapter_model.safetensors" in done.out
    files = tree(hub)
    assert "notes.md" in files and ".gitattributes" in files
    assert not any(name.startswith("peft/") for name in files)
    assert hub.asked("PUT", "") == [], "the weights were there"


def test_another_iteration_is_another_commit(star, hub, run):
    push(star, run)
    done = star("push", run, NAME, "--iteration", "1")
    assert done.code == 0 and len(commits(hub)) == 2
    assert "run/prompt.txt" in tree(hub), "iteration 1 is asked with the few-shot prompt"


def test_a_dry_run_lists_files_and_writes_nothing(star, hub, run):
    done = push(star, run, "--dry-run")
    assert done.code == 0 and "(the repository would be made)" in done.out
    assert re.search(r"\d [kM]?B  adapters\.safetensors\n", done.out)
    assert hub.repos == {} and not hub.asked("POST", "") and not hub.asked("PUT", "")
    push(star, run)
    before = len(hub.requests)
    done = push(star, run, "--dry-run", "--json")
    values = json.loads(done.out)
    assert values["exists"] is True and values["changed"] == [] and values["dry_run"] is True
    assert all(method in ("GET", "HEAD") for method, _ in hub.requests[before:])


def test_a_dry_run_can_keep_what_it_would_send(star, hub, run, tmp_path):
    out = tmp_path / "new/card"
    done = push(star, run, "--dry-run", "--out", str(out))
    assert done.code == 0 and f"written to {out}; nothing was sent" in done.out
    assert hub.repos == {} and not hub.asked("POST", "") and not hub.asked("PUT", "")
    kept = {p.relative_to(out).as_posix(): p.read_bytes() for p in out.rglob("*") if p.is_file()}
    push(star, run)
    assert kept.keys() == set(tree(hub)) - {".gitattributes"}
    assert b"Training " in kept["README.md"] and str(run).encode() not in kept["README.md"]
    refused = push(star, run, "--dry-run", "--out", str(out))
    assert refused.code == 2 and "is not empty: give --out a folder" in refused.line
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["card"], "nothing half-written"
    refused = push(star, run, "--out", str(tmp_path / "other"))
    assert refused.code == 2 and "give --dry-run too" in refused.line


def test_a_dry_run_keeps_a_data_set_in_a_folder_of_its_own(star, run, tmp_path):
    (tmp_path / "both").mkdir()
    push(star, run, "--dry-run", "--dataset", "--out", str(tmp_path / "both"))
    assert {p.name for p in (tmp_path / "both").iterdir()} == {"model", "dataset"}
    assert (tmp_path / "both/dataset/data/train.jsonl").is_file()
    assert (tmp_path / "both/model/README.md").is_file()


def test_a_new_repository_can_be_private_and_a_public_one_is_refused(star, hub, run):
    assert push(star, run, "--private").code == 0
    assert hub.repos["model", NAME].private is True
    assert push(star, run, "--private").code == 0
    hub.repos["model", NAME].private = False
    before = len(commits(hub))
    assert "exists on the Hub and is public" in push(star, run, "--private").line
    assert len(commits(hub)) == before


def test_a_branch_is_made_and_a_pull_request_opened_once(star, hub, run):
    assert push(star, run, "--revision", "v1").code == 0
    assert [branch for branch, _ in commits(hub)] == ["v1"]
    assert "adapters.safetensors" not in tree(hub) and "README.md" in tree(hub, revision="v1")
    done = push(star, run, "--pr")
    assert done.code == 0 and f"{hub.url}/{NAME}/discussions/1" in done.out
    assert "adapters.safetensors" not in tree(hub)
    again = push(star, run, "--pr")
    assert "is open with this already" in again.out and len(hub.repos["model", NAME].requests) == 1
    assert "leave --revision or --pr out" in push(star, run, "--pr", "--revision", "v1").line


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_the_kept_rationales_are_pushed_as_a_data_set(star, hub, run, form):
    if form == "parquet":
        pytest.importorskip("pyarrow")
    done = push(star, run, "--dataset", "--dataset-format", form)
    assert done.code == 0, done.err
    files = tree(hub, "dataset", f"{NAME}-rationales")
    assert {f"data/train.{form}", "README.md", "run/manifest.json"} <= set(files)
    assert f"{NAME}-rationales".encode() in tree(hub)["README.md"]
    assert "no commit was made" in push(star, run, "--dataset", "--dataset-format", form).out
    other = "parquet" if form == "jsonl" else "jsonl"
    if other == "jsonl":
        push(star, run, "--dataset")
        names = set(tree(hub, "dataset", f"{NAME}-rationales"))
        assert "data/train.jsonl" in names and "data/train.parquet" not in names


# --------------------------------------------------------------------------- refusals


def test_what_is_wrong_here_is_one_line_and_nothing_is_asked(star, hub, run):
    before = len(hub.requests)
    assert "write the repository as user/name" in star("push", run, "sums").line
    assert "is not a run folder" in star("push", run / "no", NAME).line
    assert "is the base" in star("push", run, NAME, "--iteration", "0").line
    assert "write it as the Hub does" in push(star, run, "--license", "My own").line
    assert len(hub.requests) == before


def test_a_license_that_the_hub_does_not_know_is_refused_before_anything_is_sent(star, hub, run):
    line = push(star, run, "--license", "nonesuch").line
    assert "Invalid metadata in README.md" in line and '"license" must be one of' in line
    assert line.endswith("the repository is unchanged")
    assert commits(hub) == []


@pytest.mark.parametrize(
    ("where", "method", "status", "says"),
    [
        ("/api/models/user/sums", "GET", 401, "refuses your login (401): log in again with"),
        ("/api/models/user/sums", "GET", 403, "does not let you write to user/sums (403)"),
        ("/api/models/user/sums", "GET", 500, "the Hub failed with error 500 over user/sums"),
        ("/repos/create", "POST", 403, "does not let you write to user/sums (403)"),
        ("/repos/create", "POST", 429, "the Hub had too many requests (429)"),
        ("/validate-yaml", "POST", 500, "the Hub failed with error 500"),
        ("/preupload/", "POST", 403, "does not let you write to user/sums (403)"),
        ("/preupload/", "POST", 413, "is too large for the Hub (413): push fewer formats"),
        ("/preupload/", "POST", 503, "the Hub failed with error 503"),
        ("/objects/batch", "POST", 429, "the Hub had too many requests (429)"),
        ("/lfs-store/", "PUT", 403, "(403)"),
        ("/lfs-store/", "PUT", 413, "too large for the Hub (413)"),
        ("/lfs-store/", "PUT", 500, "the Hub failed with error 500"),
        ("/lfs-verify/", "POST", 404, "(the Hub refuses user/sums ("),
        ("/commit/", "POST", 401, "refuses your login (401)"),
        ("/commit/", "POST", 403, "does not let you write to user/sums (403)"),
        ("/commit/", "POST", 404, "the Hub refuses user/sums ("),
        ("/commit/", "POST", 409, "another commit came to user/sums in between, twice (409)"),
        ("/commit/", "POST", 412, "another commit came to user/sums in between, twice (412)"),
        ("/commit/", "POST", 413, "too large for the Hub (413)"),
        ("/commit/", "POST", 429, "the Hub had too many requests (429)"),
        ("/commit/", "POST", 500, "the Hub failed with error 500 over user/sums"),
        ("/commit/", "POST", 504, "the Hub failed with error 504 over user/sums"),
    ],
)
def test_a_refusal_is_one_line_in_bounded_time_and_leaves_the_repository(
    star, hub, run, worker, where, method, status, says
):
    message = f"Bearer {TOKEN} \x1b[31m is what you sent"  # a server may say anything
    body = json.dumps({"error": message}).encode()
    if where == "/api/models/user/sums" or where == "/repos/create":
        before = None
    else:
        push(star, run, "--format", "mlx", "--no-samples")
        before = tree(hub)
        renewed(run)
    hub.fail(where, status, method=method, body=body)
    done = push(star, run)
    assert says in done.line, done.line
    assert sum(done.slept) < 60, done.slept
    shown = done.out + done.err + worker.said()
    assert TOKEN not in shown and "\x1b" not in shown
    assert (tree(hub) if before else hub.repos.get(("model", NAME))) == before
    hub.mend()
    again = push(star, run)
    assert again.code == 0 and "commit " in again.out, again.err
    assert_no_token_in(run)


def assert_no_token_in(folder: Path) -> None:
    for path in folder.rglob("*"):
        assert not path.is_file() or TOKEN.encode() not in path.read_bytes(), path


@pytest.mark.parametrize("where", ["/preupload/", "/repos/create", "/commit/", "/lfs-store/"])
def test_what_passes_is_tried_again(star, hub, run, where):
    hub.fail(where, 503, times=2)
    done = push(star, run)
    assert done.code == 0, done.err
    assert len(commits(hub)) == 1 and 0 < sum(done.slept) < 60


def test_a_wait_that_the_hub_asks_for_is_kept_if_short_and_refused_if_long(star, hub, run):
    for where in ("/preupload/", "/commit/"):
        hub.repos.clear()
        hub.fail(where, 429, times=1, Retry_After="7")
        done = push(star, run)
        assert done.code == 0 and any(7 <= seconds <= 8 for seconds in done.slept), done
        hub.repos.clear()
        hub.fail(where, 429, Retry_After="3600")
        done = push(star, run)
        assert "it asks to wait 3600 s: then try again" in done.line
        assert sum(done.slept) < 60
        hub.mend()


def test_another_commit_in_between_is_taken_into_account_and_kept(star, hub, run):
    push(star, run, "--format", "mlx")
    repo = hub.repos["model", NAME]
    hub.fail("/commit/", 412, times=1)
    folder = repo.commits[repo.branches["main"]]
    (folder / "other.md").write_text("of someone else")
    done = push(star, run)
    assert done.code == 0 and len(commits(hub)) == 2
    assert tree(hub)["other.md"] == b"of someone else"


def test_a_commit_whose_answer_is_lost_is_recognized_and_not_made_twice(star, hub, run):
    hub.lose("/commit/", times=1)
    done = push(star, run)
    assert done.code == 0, done.err
    assert len(commits(hub)) == 1
    assert hub.repos["model", NAME].branches["main"] in done.out


def test_a_lost_pull_request_is_not_opened_twice_and_found_again(star, hub, run):
    push(star, run, "--format", "mlx")
    hub.lose("/commit/", times=1)
    line = push(star, run, "--pr").line
    assert "it is not known whether the commit was made: push again" in line
    assert "is open with this already" in push(star, run, "--pr").out
    assert len(hub.repos["model", NAME].requests) == 1


def test_a_connection_cut_in_the_weights_is_gone_on_with(star, hub, run):
    weights = renewed(run)
    hub.cut("/lfs-store/", after=1000, times=2, method="PUT")
    done = push(star, run)
    assert done.code == 0 and done.slept, done.err
    assert hub.blobs[weights] == tree(hub)["adapters.safetensors"]
    hub.repos.clear()
    weights = renewed(run)
    before = set(hub.blobs)
    hub.cut(f"/lfs-store/{weights}", after=1000, method="PUT")
    done = push(star, run)
    assert "Error while uploading" in done.line and "push again to continue" in done.line
    assert commits(hub) == [] and weights not in hub.blobs
    assert set(hub.blobs) > before, "the other form is whole, and kept"
    hub.mend()
    hub.requests.clear()
    assert push(star, run).code == 0
    again = hub.asked("PUT", "/lfs-store/")
    assert again == [f"/lfs-store/{weights}"], "what was sent is not sent again"


def renewed(run: Path) -> str:
    """Give iteration 2 other weights; their SHA-256."""
    file = run / "iterations/002/adapter/adapters.safetensors"
    file.write_bytes(os.urandom(300_000))
    (run / "journal.jsonl").unlink(missing_ok=True)  # it has the checksum of those before
    return file_sha256(file)


def test_the_token_goes_to_the_hub_alone_and_the_large_files_store_gets_none(star, hub, run):
    hub.authorized.clear()
    hub.requests.clear()
    push(star, run)
    assert ("POST", f"/api/models/{NAME}/commit/main") in hub.authorized
    assert hub.asked("PUT", "") and not any(method == "PUT" for method, _ in hub.authorized)


# ------------------------------------------------------------------ other environments


def once(place, url, *arguments, **more):
    """A command in a process of its own."""
    environment = client_environment(url, place / "other-home", **more)
    code = (
        "import sys, time; time.sleep = lambda s: None\n"
        "from tests.hub_worker import copied\n"
        "from star_mlx import export; export.export = copied\n"
        "from star_mlx.cli import main; main(sys.argv[1:])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        env=environment, cwd=place, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert TOKEN not in done.stdout + done.stderr and "Traceback" not in done.stderr, done.stderr
    return done


def test_without_a_login_a_network_or_a_right_token(star, hub, run, place):
    def said(url, **more):
        done = once(place, url, "push", run, NAME, "--iteration", "2", **more)
        assert done.returncode == 2 and done.stderr.count("star-mlx: error:") == 1, done.stderr
        return done.stderr.splitlines()[-1]

    assert "you are not logged in to the Hub: `hf auth login`, or set HF_TOKEN" in said(hub.url)
    wrong = said(hub.url, HF_TOKEN="hf_other")
    assert "refuses your login (401)" in wrong and "hf_other" not in wrong
    assert "the connection to the Hub failed (" in said(closed(), HF_TOKEN=TOKEN)
    assert "HF_HUB_OFFLINE is set" in said(hub.url, HF_TOKEN=TOKEN, HF_HUB_OFFLINE="1")
    assert hub.repos == {}


def test_the_token_of_the_login_file_is_used(star, hub, run, place):
    home = place / "logged-in"
    home.mkdir(exist_ok=True)
    (home / "token").write_text(TOKEN)
    done = once(
        place, hub.url, "push", run, NAME, "--iteration", "2", HF_TOKEN_PATH=str(home / "token")
    )
    assert done.returncode == 0, done.stderr


def test_a_dry_run_needs_no_network(star, run, place):
    done = once(place, closed(), "push", run, NAME, "--iteration", "2", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "(the repository could not be looked up)" in done.stdout


def test_a_xet_store_that_cannot_be_reached_is_one_line(star, hub, run, place):
    pytest.importorskip("hf_xet")
    hub.xet = closed()
    try:
        done = once(
            place, hub.url, "push", run, NAME, "--iteration", "2",
            HF_TOKEN=TOKEN, HF_HUB_DISABLE_XET="0", HF_XET_CLIENT_RETRY_MAX_ATTEMPTS="1",
        )  # fmt: skip
    finally:
        hub.xet = ""
    assert done.returncode == 2
    line = done.stderr.splitlines()[-1]
    assert "the connection to the Hub failed (" in line
    assert "with HF_HUB_DISABLE_XET=1 if that does not help" in line
    assert commits(hub) == []


# --------------------------------------------------------------------------- pulling


def test_what_is_pulled_is_what_was_pushed_and_try_answers_the_same(star, hub, run, place):
    push(star, run)
    out = place / "back"
    shutil.rmtree(out, ignore_errors=True)
    done = star("pull", NAME, "--out", out)
    assert done.code == 0, done.err
    assert f"next: star-mlx try {out} QUESTION" in done.out
    sent = tree(hub)
    del sent[".gitattributes"]
    assert {p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file()} == set(sent)
    assert "is already in" in star("pull", NAME, "--out", out).out
    for iteration in ("2", "0"):
        asked = ["7 8 + 4 5", "--iteration", iteration, "--json"]
        own, pulled = star("try", run, *asked), star("try", out, *asked)
        assert pulled.code == 0, pulled.err
        assert json.loads(pulled.out) == json.loads(own.out)
    assert "(outside what it was trained on: " in star("try", out, "123456 + 1").out
    assert "has only iteration 2" in star("try", out, "1 + 1", "--iteration", "1").line
    assert "is not a sum" in star("try", out, "hello").line


def test_the_adapter_that_is_asked_is_the_pulled_one(star, hub, run, place):
    push(star, run)
    out = place / "damaged"
    shutil.rmtree(out, ignore_errors=True)
    star("pull", NAME, "--out", out)
    (out / "adapter_config.json").write_text("{}")
    assert "lacks lora_parameters" in star("try", out, "1 + 1").line


def test_pull_takes_a_revision_and_the_default_folder(star, hub, run, place):
    push(star, run, "--revision", "v1")
    shutil.rmtree(place / "pulled", ignore_errors=True)
    done = star("pull", f"{NAME}@v1")
    assert done.code == 0 and (place / "pulled/user--sums/adapters.safetensors").is_file()
    assert "has no revision 'v9'" in star("pull", f"{NAME}@v9").line
    assert "no repository user/none" in star("pull", "user/none").line
    (place / "pulled/user--sums/README.md").write_text("changed here")
    assert "holds something else: give another --out" in star("pull", f"{NAME}@v1").line


def test_no_code_and_no_pickle_is_fetched(star, hub, run, place):
    push(star, run)
    repo = hub.repos["model", NAME]
    folder = repo.commits[repo.branches["main"]]
    for name in ("modeling.py", "weights.bin", "model.pkl", "adapters.pt", "run/hook.sh"):
        (folder / name).write_text("raise SystemExit('run')")
    hub.requests.clear()
    out = place / "clean"
    shutil.rmtree(out, ignore_errors=True)
    assert star("pull", NAME, "--out", out).code == 0
    assert not hub.asked("GET", r"\.(py|bin|pkl|pt|sh)$")
    assert not [p for p in out.rglob("*") if p.suffix in (".py", ".bin", ".pkl", ".pt", ".sh")]


def recommitted(hub: Hub, **changes: bytes | None) -> None:
    """Move main to a commit with some files changed or removed, as another person would."""
    from tests import hub_writing

    repo = hub.repos["model", NAME]
    files = tree(hub)
    for name, data in changes.items():
        files.pop(name, None)
        if data is not None:
            files[name] = data
    hub_writing._add(hub, repo, "main", files, set())


def test_what_was_changed_after_the_push_is_refused(star, hub, run, place):
    out = place / "refused"
    push(star, run)
    config = tree(hub)["adapter_config.json"]
    recommitted(hub, **{"adapter_config.json": config + b" "})
    line = star("pull", NAME, "--out", out).line
    assert "adapter_config.json is not what its run/manifest.json says" in line
    recommitted(hub, **{"adapter_config.json": None})
    assert "lacks adapter_config.json" in star("pull", NAME, "--out", out).line
    recommitted(hub, **{"run/manifest.json": b"[]"})
    assert "manifest.json is damaged" in star("pull", NAME, "--out", out).line
    recommitted(hub, **{"run/manifest.json": None})
    assert "it is not from `star-mlx push`" in star("pull", NAME, "--out", out).line
    recommitted(hub, **{"run/manifest.json": b'{"files": {"../../x.json": "0"}}'})
    assert "lacks ../../x.json" in star("pull", NAME, "--out", out).line
    assert not out.exists() and not out.with_name("refused.partial").exists()


def test_a_link_out_of_the_repository_is_refused(tmp_path, monkeypatch):
    from star_mlx.share import pull

    secret = tmp_path / "secret.yaml"
    secret.write_text("of this machine")
    found = tmp_path / "cache/models--user--sums/snapshots/0000"
    (found / "run").mkdir(parents=True)
    (found / "run/manifest.json").write_text('{"files": {}}')
    blob = found.parents[1] / "blobs/1"
    blob.parent.mkdir()
    blob.write_text("{}")
    (found / "config.json").symlink_to("../../blobs/1")  # as the client leaves it
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *how, **more: str(found))
    assert pull.pull("user/sums", tmp_path / "fine").files == ("config.json", "run/manifest.json")
    (found / "run/prompts.yaml").symlink_to(secret)
    with pytest.raises(StarError, match=r"run/prompts\.yaml is a link to a place outside of it"):
        pull.pull("user/sums", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_connection_cut_while_pulling_is_one_line_and_the_next_try_goes_on(star, hub, run, place):
    renewed(run)  # or else the cache has it
    push(star, run)
    out = place / "cut"
    hub.cut("resolve/", after=100, method="GET")
    line = star("pull", NAME, "--out", out).line
    assert "could not be fetched from the Hub (" in line and not out.exists()
    hub.mend()
    assert star("pull", NAME, "--out", out).code == 0


# --------------------------------------------------------------------------- a foreign recipe


@pytest.fixture
def pulled(star, run, place):
    """A pulled folder whose recipe may be changed."""
    push(star, run)
    out = place / "foreign"
    shutil.rmtree(out, ignore_errors=True)
    star("pull", NAME, "--out", out)
    return out


def changed(folder: Path, change) -> None:
    file = folder / "run/recipe.yaml"
    values = yaml.safe_load(file.read_text())
    change(values)
    file.write_text(yaml.safe_dump(values))


def test_a_pulled_recipe_is_not_trusted(star, pulled, tmp_path):
    def says(change, *more):
        original = (pulled / "run/recipe.yaml").read_text()
        changed(pulled, change)
        line = star("try", pulled, "1 + 1", *more).line
        (pulled / "run/recipe.yaml").write_text(original)
        return line

    def code(values):
        values["model"]["trust_remote_code"] = True

    assert "asks to run code that comes with the base tiny: give --trust-remote-code" in says(code)
    assert "is a folder (/etc) that is not part of it: give its place with --model" in says(
        lambda values: values["model"].update(path="/etc")
    )
    assert "is not the one that this adapter was trained on" in says(
        lambda values: values["provenance"]["base"].update(hash="0" * 64)
    )
    assert "unknown key star.hook" in says(lambda values: values["star"].update(hook="x"))
    assert "unknown task" in says(lambda values: values["task"].update(name="os.system"))
    assert "does not make the prompt that the run recorded" in says(
        lambda values: values["provenance"].update(prompts_sha256="0")
    )
    assert "is not a run's recipe" in says(lambda values: values.clear())
    (pulled / "run/recipe.yaml").write_text("!!python/object/apply:os.system [exit]")
    assert "cannot be read" in star("try", pulled, "1 + 1").line


def test_few_shot_examples_come_from_the_folder_and_no_path_is_followed(star, pulled, tmp_path):
    secret = tmp_path / "secret.yaml"
    secret.write_text("- {question: 1 + 1, rationale: x, answer: 2}")
    changed(pulled, lambda values: values["prompts"].update(file=str(secret)))
    changed(pulled, lambda values: values["star"].update(drop_few_shot_from=None))
    done = star("try", pulled, "7 8 + 4 5", "--json")
    assert done.code == 0, done.err
    prompts = pulled / "run/prompts.yaml"
    prompts.write_text("- 3")
    assert "is not a list of few-shot examples" in star("try", pulled, "7 8 + 4 5").line


def test_a_base_in_a_folder_is_given_its_place(star, pulled):
    from star_mlx.engine.resolve import TINY

    changed(pulled, lambda values: values["model"].update(path="my-base"))
    assert "give its place with --model" in star("try", pulled, "7 8 + 4 5").line
    assert star("try", pulled, "7 8 + 4 5", "--model", TINY).code == 0


def test_what_was_pulled_can_be_exported_on(star, run, pulled, tmp_path):
    def export(what, form, out, *more):
        return star("export", what, "--format", form, "--out", tmp_path / out, *more, fast=False)

    for where, what in (("own", run), ("pulled", pulled)):
        for form in ("peft", "fused"):
            done = export(what, form, f"{where}-{form}", "--iteration", "2")
            assert done.code == 0, done.err
    for file in ("peft/adapter_model.safetensors", "fused/model.safetensors", "fused/prompt.json"):
        own, other = tmp_path / f"own-{file}", tmp_path / f"pulled-{file}"
        assert own.read_bytes() == other.read_bytes()
    assert "is in the format mlx already" in export(pulled, "mlx", "out").line
    assert "0 is the base" in export(pulled, "peft", "out", "--iteration", "0").line
    assert "are for pulled folders" in export(run, "peft", "out", "--model", "tiny").line
    (pulled / "run/prompts.yaml").write_text("[]")
    assert "does not make the prompt" in export(pulled, "peft", "out").line
    assert not (tmp_path / "out").exists()


# --------------------------------------------------------------------------- the card's snippets


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.S | re.M)


def snippet(text: str, word: str, language: str = "python") -> str:
    [found] = [b for b in blocks(text, language) if word in b and "llama-completion" not in b]
    return found


def execute(hub, place, cwd, kind, code):
    environment = client_environment(hub.url, place / "snippets")
    environment["PATH"] = f"{cwd}:{Path(sys.executable).parent}:{environment['PATH']}"
    if "peft" in code:
        environment["TESTS_WITHOUT"] = ""  # it needs torch
    command = [sys.executable, "-c", code] if kind == "python" else ["sh", "-ec", code]
    done = subprocess.run(
        command, env=environment, cwd=cwd, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_snippets_of_the_card_run_and_answer_as_try_does(star, hub, run, place, tmp_path):
    done = star("push", run, NAME, "--iteration", "1", fast=False)
    assert done.code == 0, done.err
    text = tree(hub)["README.md"].decode()
    question = snippet(text, "star-mlx try", "sh").split("'")[1]
    own = json.loads(star("try", run, question, "--iteration", "1", "--json").out)
    told = execute(hub, place, tmp_path, "python", snippet(text, "mlx_lm"))
    assert told.rstrip("\n").endswith(own["completion"]), told
    out = execute(hub, place, tmp_path, "sh", snippet(text, "star-mlx try", "sh"))
    assert own["completion"].rstrip() in out
    pytest.importorskip("peft")
    execute(hub, place, tmp_path, "sh", snippet(text, "mlx_lm.convert", "sh"))
    told = execute(hub, place, tmp_path, "python", snippet(text, "PeftModel"))
    assert own["completion"].strip() == told.strip()


@pytest.mark.download
@pytest.mark.parametrize("formats", [("mlx",), ("mlx", "gguf-lora"), ("gguf",)])
def test_the_commands_for_llama_cpp_answer_as_try_does(star, hub, run, place, tmp_path, formats):
    pytest.importorskip("gguf")
    llama_cpp.program(tmp_path)
    more = [option for format in formats for option in ("--format", format)]
    done = star("push", run, NAME, "--iteration", "1", *more, fast=False)
    assert done.code == 0, done.err
    text = tree(hub)["README.md"].decode()
    [commands] = [block for block in blocks(text, "sh") if "llama-completion" in block]
    [question] = re.findall(r"'{question}', '(.*)'\)", commands)
    own = json.loads(star("try", run, question, "--iteration", "1", "--json").out)
    told = execute(hub, place, tmp_path, "sh", commands)
    assert own["completion"].strip() in told, told


def test_what_is_really_exported_is_pushed_pulled_and_tells_nothing_of_the_machine(
    star, hub, run, place
):
    done = push(star, run, fast=False)
    assert done.code == 0, done.err
    files = tree(hub)
    assert {"adapters.safetensors", "peft/adapter_model.safetensors"} <= set(files)
    everything = b"".join(files.values())
    assert str(run).encode() not in everything and str(Path.home()).encode() not in everything
    assert "no commit was made" in push(star, run, fast=False).out
    assert set(json.loads(files["run/manifest.json"])["files"]) == set(files) - {
        "README.md", "run/manifest.json", ".gitattributes",
    }  # fmt: skip
    out = place / "whole"
    shutil.rmtree(out, ignore_errors=True)
    assert star("pull", NAME, "--out", out).code == 0
    assert star("try", out, "7 8 + 4 5").code == 0


def test_a_run_on_a_base_in_a_folder_is_shared_without_its_place(star, hub, place, tmp_path):
    from star_mlx.engine.resolve import TINY
    from star_mlx.recipe.loading import load
    from star_mlx.run import loop

    base = shutil.copytree(TINY, tmp_path / "somewhere/my-base")
    (base / "README.md").unlink()
    few = [*SMALL, "star.iterations=1", "star.problems=10", "evaluate.dev=4"]
    recipe = load(None, task="arithmetic", model=str(base), overrides=few)
    loop.run(recipe, tmp_path / "run", lambda event: None)
    share = ("push", tmp_path / "run", NAME, "--iteration", "1")
    assert "license of the base" in star(*share, fast=False).line
    done = star(*share, "--license", "mit", fast=False)
    assert done.code == 0, done.err
    files = tree(hub)
    assert b"somewhere" not in b"".join(files.values())
    assert b"base_model" not in files["README.md"] and b"`my-base`" in files["README.md"]
    out = place / "of-a-folder"
    shutil.rmtree(out, ignore_errors=True)
    assert star("pull", NAME, "--out", out).code == 0
    assert "give its place with --model" in star("try", out, "7 8 + 4 5").line
    assert star("try", out, "7 8 + 4 5", "--model", base).code == 0
