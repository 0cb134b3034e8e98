"""The loopback Hub's writing side: repositories, LFS files, commits, branches, pull requests."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from tests.hub import Handler, Hub, Kind, Repo

LARGE = (".safetensors", ".gguf", ".parquet", ".png", ".bin")  # what .gitattributes sends to LFS
LICENSES = {"apache-2.0", "mit", "other", "unknown", "llama3.2", "cc-by-4.0"}
FRONT = re.compile(r"^(\s*---(?:\r\n|\r|\n))([\S\s]*?)((?:\r\n|\r|\n)---[ \t]*(\r\n|\n|$))")
Answer = tuple[int, dict[str, Any], dict[str, str]]


def post(handler: Handler, path: str, query: Mapping[str, str], body: bytes) -> Answer:
    """What the Hub answers to a POST: status, JSON, headers."""
    hub, parts = handler.hub, path.split("/")[1:]
    if (refused := _login(handler, path)) is not None:
        return refused
    if path == "/api/validate-yaml":
        return validate_yaml(json.loads(body)["content"])
    if path == "/api/repos/create":
        return _create(hub, json.loads(body))
    if path.endswith(".git/info/lfs/objects/batch"):
        return _batch(hub, path, json.loads(body))
    if path.startswith("/lfs-verify/"):
        there = json.loads(body)["oid"] in hub.blobs
        return (200, {}, {}) if there else (404, {"error": "no such object"}, {})
    if parts[0] == "api" and len(parts) >= 6:
        kind: Kind = "dataset" if parts[1] == "datasets" else "model"
        name, verb, revision = "/".join(parts[2:4]), parts[4], "/".join(parts[5:])
        repo = hub.repos.get((kind, name))
        if repo is None:
            return _error(404, "RepoNotFound", "Repository not found")
        if verb == "branch":
            return _branch(repo, revision, json.loads(body or b"{}"))
        if repo.commit(revision) is None:
            return _error(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        if verb == "preupload":
            return 200, {"files": _modes(repo, revision, json.loads(body)["files"])}, {}
        if verb == "commit":
            return _commit(hub, kind, name, revision, query, body)
    return _error(404, "", "no such route")


def put(hub: Hub, path: str, body: bytes) -> int:
    """Store a large file under its SHA-256; the status."""
    oid = path.rsplit("/", 1)[-1]
    if hashlib.sha256(body).hexdigest() != oid:
        return 422
    hub.blobs[oid] = body
    return 200


def _error(status: int, code: str, message: str) -> Answer:
    named = {"X-Error-Code": code, "X-Error-Message": message}
    return status, {"error": message}, {name: value for name, value in named.items() if value}


def _login(handler: Handler, path: str) -> Answer | None:
    """What is answered to whoever may not write."""
    if path == "/api/validate-yaml" or handler.hub.token is None:
        return None
    said = handler.headers.get("Authorization")
    if said == f"Bearer {handler.hub.token}":
        return None
    if said is None:
        return _error(401, "", "Invalid username or password.")
    return _error(401, "", "Invalid credentials in Authorization header")


def validate_yaml(content: str) -> Answer:
    """The metadata of a card as the Hub checks it: its YAML, its license, its model-index."""
    found = FRONT.match(content)
    try:
        data = yaml.safe_load(found[2]) if found else None
    except yaml.YAMLError as error:
        return 400, {"errors": [{"message": f"bad YAML: {error}"}], "warnings": []}, {}
    if not isinstance(data, dict):
        return 400, {"errors": [{"message": "metadata should be an object"}], "warnings": []}, {}
    wrong = []
    if data.get("license") not in LICENSES:
        wrong.append('"license" must be one of the known licenses')
    if "base_model" in data and not re.fullmatch(r"[\w.-]+/[\w.-]+", str(data["base_model"])):
        wrong.append('"base_model" is not a model id')
    for entry in data.get("model-index", []):
        for result in entry["results"]:
            if not {"type"} <= set(result["task"]) or not {"type", "name"} <= set(
                result["dataset"]
            ):
                wrong.append('"model-index" lacks a type or name')
            if not all({"type", "value"} <= set(metric) for metric in result["metrics"]):
                wrong.append('"model-index" has a metric without type or value')
    errors = [{"message": text} for text in wrong]
    return 400 if wrong else 200, {"errors": errors, "warnings": []}, {}


def _create(hub: Hub, asked: Mapping[str, Any]) -> Answer:
    from tests.hub import Repo

    kind: Kind = asked.get("type") or "model"
    name = f"{asked['organization']}/{asked['name']}"
    url = f"{hub.url}/{'datasets/' if kind == 'dataset' else ''}{name}"
    if (kind, name) in hub.repos:
        return 409, {"error": "You already created this repo", "url": url}, {}
    repo = hub.repos[kind, name] = Repo(private=asked.get("visibility") == "private")
    _add(hub, repo, "main", {".gitattributes": b"*.safetensors filter=lfs\n"}, set())
    return 200, {"url": url, "name": name}, {}


def _batch(hub: Hub, path: str, asked: Mapping[str, Any]) -> Answer:
    """LFS's instructions: nothing to do for what is there, and where to send the rest."""
    objects = []
    for wanted in asked["objects"]:
        entry = {"oid": wanted["oid"], "size": wanted["size"]}
        if wanted["oid"] not in hub.blobs:
            entry["actions"] = {
                "upload": {"href": f"{hub.url}/lfs-store/{wanted['oid']}"},
                "verify": {"href": f"{hub.url}/lfs-verify/{wanted['oid']}"},
            }
        objects.append(entry)
    return 200, {"transfer": "basic", "objects": objects}, {}


def _modes(repo: Repo, revision: str, asked: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """How each file is to be sent, and what is there under its name."""
    commit = repo.commit(revision) or ""
    folder, large = repo.commits[commit], repo.large.get(commit, set())
    modes = []
    for file in asked:
        lfs = file["path"].endswith(LARGE) or file["size"] > 10_000_000
        oid = None
        if (folder / file["path"]).is_file():
            data = (folder / file["path"]).read_bytes()
            oid = hashlib.sha256(data).hexdigest() if file["path"] in large else blob_id(data)
        mode = "lfs" if lfs else "regular"
        entry = {"path": file["path"], "uploadMode": mode, "shouldIgnore": False, "oid": oid}
        modes.append(entry)
    return modes


def _branch(repo: Repo, name: str, asked: Mapping[str, Any]) -> Answer:
    if name in repo.branches:
        return _error(409, "", "Reference already exists")
    start = repo.commit(asked.get("startingPoint") or "main")
    if start is None:
        return _error(404, "RevisionNotFound", "no such starting point")
    repo.branches[name] = start
    return 200, {}, {}


def _commit(
    hub: Hub, kind: Kind, name: str, revision: str, query: Mapping[str, str], body: bytes
) -> Answer:
    """Apply the operations of an NDJSON body to a branch, or to a new pull request's."""
    repo = hub.repos[kind, name]
    lines = [json.loads(line) for line in body.splitlines()]
    header = next(line["value"] for line in lines if line["key"] == "header")
    parent = repo.commit(revision) or ""
    if header.get("parentCommit", parent) != parent:
        return _error(412, "", "A commit has happened since. Please refresh and try again.")
    old = repo.commits[parent]
    files = {p.relative_to(old).as_posix(): p.read_bytes() for p in old.rglob("*") if p.is_file()}
    large = set(repo.large.get(parent, set()))
    for line in lines:
        value = line["value"]
        if line["key"] == "file":
            files[value["path"]] = base64.b64decode(value["content"])
            large.discard(value["path"])
        elif line["key"] == "lfsFile":
            if (content := hub.large(value["oid"])) is None:
                return _error(400, "", f"LFS pointer to a missing object: {value['path']}")
            files[value["path"]] = content
            large.add(value["path"])
        elif line["key"] == "deletedFile":
            if value["path"] not in files:
                return _error(404, "EntryNotFound", "A file with this name doesn't exist")
            del files[value["path"]]
            large.discard(value["path"])
    url = f"{hub.url}/{'datasets/' if kind == 'dataset' else ''}{name}"
    answer = {"success": True, "commitUrl": f"{url}/commit/x", "hookOutput": ""}
    branch = revision
    if query.get("create_pr"):
        number = len(repo.requests) + 1
        branch = f"refs/pr/{number}"
        repo.requests[number] = header["summary"]
        answer["pullRequestUrl"] = f"{url}/discussions/{number}"
    commit = _add(hub, repo, branch, files, large)
    repo.log.append((branch, header["summary"]))
    return 200, {**answer, "commitOid": commit}, {}


def _add(hub: Hub, repo: Repo, branch: str, files: Mapping[str, bytes], large: set[str]) -> str:
    """Make a commit that holds these files and move a branch to it."""
    folder = Path(tempfile.mkdtemp(dir=hub.store))
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    hub.made += 1
    commit = hashlib.sha1(b"commit %d" % hub.made).hexdigest()
    repo.commits[commit] = folder
    repo.large[commit] = large
    repo.branches[branch] = commit
    return commit


def discussions(repo: Repo, kind: str, name: str) -> dict[str, Any]:
    """The list of open pull requests."""
    listed = [
        {
            "title": title,
            "num": number,
            "author": {"name": "user"},
            "createdAt": "2024-01-01T00:00:00.000Z",
            "status": "open",
            "repo": {"name": name, "type": kind},
            "isPullRequest": True,
        }
        for number, title in repo.requests.items()
    ]
    return {"count": len(listed), "start": 0, "discussions": listed}


def blob_id(data: bytes) -> str:
    """As git names a file's content."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
