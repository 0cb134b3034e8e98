"""A loopback Hub: local folders, served to the real huggingface_hub client, which may write to it.

    with Hub() as hub:
        hub.add("org/name", folder, commit="c" * 40, branches=("main", "v1"))
        ...  # a client with HF_ENDPOINT=hub.url

``client_environment`` is what a client's process needs to speak to it and to nothing else.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import socket
import tempfile
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qsl, unquote, urlsplit

from tests import hub_writing, hub_xet
from tests.hub_writing import blob_id

Kind = Literal["model", "dataset"]
COMMIT = "a" * 40


@dataclass
class Repo:
    """A repository: the folder of each commit, and the commit of each branch and tag.

    ``large`` has the LFS files of each commit, ``requests`` the titles of its pull requests,
    ``log`` the (branch, title) of what was committed over the network.
    """

    commits: dict[str, Path] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    gated: bool = False
    private: bool = False
    large: dict[str, set[str]] = field(default_factory=dict)
    requests: dict[int, str] = field(default_factory=dict)
    log: list[tuple[str, str]] = field(default_factory=list)

    def commit(self, revision: str) -> str | None:
        return revision if revision in self.commits else self.branches.get(revision)


@dataclass
class Fault:
    """What goes wrong with the requests whose path contains ``where``, ``times`` times.

    ``status`` is answered, with ``headers`` and ``body``; or the connection is cut after ``cut``
    bytes of the file (of what is sent, at a PUT or POST). ``lost`` does what is asked and then cuts
    the connection without an answer. ``times`` None is for ever; ``method`` is whose requests.
    """

    where: str
    status: int = 0
    method: str = ""
    lost: bool = False
    cut: int | None = None
    times: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b"{}"


class Hub:
    """The server; a context manager. ``requests`` has (method, path) of all that was asked."""

    def __init__(self) -> None:
        self.repos: dict[tuple[Kind, str], Repo] = {}
        self.faults: list[Fault] = []
        self.requests: list[tuple[str, str]] = []
        # the address of a Xet store that the weights are said to be in; no such store
        self.xet = ""
        self.xet_store: hub_xet.XetStore | None = None  # one that there is
        self.token: str | None = None  # what one must have to write; None: nothing
        self.blobs: dict[str, bytes] = {}  # large files by their SHA-256
        self.store = ""  # the folder of what is committed over the network, while it serves
        self.made = 0  # commits
        self.authorized: list[tuple[str, str]] = []  # as ``requests``, those with a token
        self.lock = threading.Lock()
        self.writing = threading.Lock()
        hub = self

        class Bound(Handler):
            pass

        Bound.hub = hub
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Bound)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Hub:
        self.store = tempfile.mkdtemp(prefix="hub-")
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        shutil.rmtree(self.store, ignore_errors=True)

    def add(
        self,
        repo_id: str,
        folder: Path,
        kind: Kind = "model",
        *,
        commit: str = COMMIT,
        branches: tuple[str, ...] = ("main",),
        gated: bool = False,
    ) -> None:
        """Serve a folder as a commit of a repository; the branches or tags are moved to it."""
        repo = self.repos.setdefault((kind, repo_id), Repo())
        repo.commits[commit] = folder
        repo.branches.update(dict.fromkeys(branches, commit))
        repo.gated = gated

    def fail(
        self,
        where: str,
        status: int,
        *,
        times: int | None = None,
        body: bytes = b"{}",
        method: str = "",
        **headers: str,
    ) -> None:
        """Answer with this status instead; header names are given with ``_`` for ``-``."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.faults.append(Fault(where, status, method, False, None, times, named, body))

    def cut(self, where: str, after: int, *, times: int | None = None, method: str = "") -> None:
        """Cut the connection after so many bytes of a file."""
        self.faults.append(Fault(where, cut=after, times=times, method=method))

    def lose(self, where: str, *, times: int | None = None) -> None:
        """Do what a POST asks for, and cut the connection instead of answering."""
        self.faults.append(Fault(where, lost=True, times=times, method="POST"))

    def mend(self) -> None:
        """Forget all faults."""
        self.faults.clear()

    def keep_in_xet(self) -> hub_xet.XetStore:
        """From now on large files are in a new Xet store, whose address is told."""
        self.xet_store = hub_xet.XetStore(self.url)
        return self.xet_store

    def large(self, sha256: str) -> bytes | None:
        """A large file that was sent, by whichever way."""
        stored = self.xet_store and self.xet_store.content(sha256)
        return self.blobs.get(sha256) if stored is None else stored

    def xet_hash(self, name: str, data: bytes) -> str | None:
        """What a file is called in the Xet store; None where it is not in it."""
        if self.xet_store:
            return self.xet_store.hashes.get(hashlib.sha256(data).hexdigest())
        return "e" * 64 if self.xet and name.endswith(".safetensors") else None

    def asked(self, method: str, pattern: str) -> list[str]:
        """The paths asked for with a method that match a pattern."""
        with self.lock:
            return [path for m, path in self.requests if m == method and re.search(pattern, path)]

    def fault(self, path: str, method: str = "GET") -> Fault | None:
        """The fault that the next answer to a path has, used up by one."""
        with self.lock:
            for fault in self.faults:
                if fault.where in path and fault.method in ("", method) and fault.times != 0:
                    if fault.times is not None:
                        fault.times -= 1
                    return fault
        return None


class Handler(BaseHTTPRequestHandler):
    """Reading: the API's info and tree, and files by ``resolve``. Writing is in ``hub_writing``."""

    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, format: str, *arguments: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self._read()

    def do_GET(self) -> None:
        self._read()

    def do_POST(self) -> None:
        self._write()

    def do_PUT(self) -> None:
        self._write()

    def _write(self) -> None:
        address = urlsplit(self.path)
        path = unquote(address.path)
        self._note(path)
        fault = self.hub.fault(path, self.command)
        if fault and fault.cut is not None:
            self.rfile.read1(fault.cut)
            self._hang_up()
            return
        body = self._body()
        if fault and fault.status:
            self._answer(fault.status, fault.body, fault.headers)
            return
        if (store := self.hub.xet_store) and path.startswith(hub_xet.ROOT):
            with self.hub.writing:
                status, data, headers = store.answer(self.command, self.path, self.headers, body)
            self._answer(status, data, headers)
            return
        with self.hub.writing:
            if self.command == "PUT":
                status, values, headers = hub_writing.put(self.hub, path, body), {}, {}
            else:
                query = dict(parse_qsl(address.query))
                status, values, headers = hub_writing.post(self, path, query, body)
        if fault and fault.lost:
            self._hang_up()
            return
        self._answer(status, json.dumps(values).encode(), headers)

    def _body(self) -> bytes:
        """What is sent, whole or in chunks."""
        if "chunked" not in (self.headers.get("Transfer-Encoding") or ""):
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _note(self, path: str) -> None:
        with self.hub.lock:
            self.hub.requests.append((self.command, path))
            if self.headers.get("Authorization"):
                self.hub.authorized.append((self.command, path))

    def _hang_up(self) -> None:
        self.connection.shutdown(socket.SHUT_RDWR)
        self.close_connection = True

    def _read(self) -> None:
        path = urlsplit(self.path).path
        self._note(unquote(path))
        fault = self.hub.fault(unquote(path), self.command)
        if fault and fault.status:
            self._answer(fault.status, fault.body, fault.headers)
            return
        if (store := self.hub.xet_store) and path.startswith(hub_xet.ROOT):
            status, data, headers = store.answer(self.command, self.path, self.headers, b"")
            self._answer(status, data, headers, cut=fault.cut if fault else None)
            return
        parts = [unquote(part) for part in path.split("/")[1:]]
        if parts[0] == "api":
            self._api(parts[1], "/".join(parts[2:4]), parts[4:])
            return
        kind: Kind = "dataset" if parts[0] == "datasets" else "model"
        parts = parts[1:] if kind == "dataset" else parts
        if len(parts) < 5 or parts[2] != "resolve":
            self._error(404, "", "no such route")
            return
        self._file(kind, "/".join(parts[:2]), parts[3], "/".join(parts[4:]), fault)

    def _find(self, kind: Kind, repo_id: str, revision: str) -> tuple[str, Path] | None:
        """The commit and its folder; where there is none, the answer has been given."""
        repo = self.hub.repos.get((kind, repo_id))
        said = self.headers.get("Authorization")
        known = said is not None and said == f"Bearer {self.hub.token}"
        if said and self.hub.token and not known:
            self._error(401, "", "Invalid credentials in Authorization header")
        elif repo is None or (repo.private and not known):
            status = 404 if said else 401
            self._error(status, "RepoNotFound", "Invalid username or password.")
        elif (commit := repo.commit(revision)) is None:
            self._error(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        else:
            return commit, repo.commits[commit]
        return None

    def _api(self, plural: str, repo_id: str, rest: list[str]) -> None:
        """/api/models/ID[/revision/REV], .../tree/REV, .../discussions; the same for datasets."""
        kind: Kind = "dataset" if plural == "datasets" else "model"
        if rest == ["discussions"] and (repo := self.hub.repos.get((kind, repo_id))):
            self._json(hub_writing.discussions(repo, kind, repo_id))
            return
        verb, revision = (rest[0], rest[1]) if len(rest) > 1 else ("revision", "main")
        found = self._find(kind, repo_id, revision)
        if found is None:
            return
        commit, folder = found
        if verb in ("xet-read-token", "xet-write-token"):
            anonymous = self.hub.token and not self.headers.get("Authorization")
            if verb == "xet-write-token" and anonymous:
                self._error(401, "", "Invalid username or password.")
                return
            store = self.hub.xet_store or hub_xet.XetStore(self.hub.xet)
            values, headers = store.access(verb.split("-")[1])
            self._answer(200, json.dumps(values).encode(), headers)
            return
        names = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
        if verb == "tree":
            large = self.hub.repos[kind, repo_id].large.get(commit, set())
            self._json([_entry(self.hub, folder, name, name in large) for name in names])
        else:
            siblings = [{"rfilename": name} for name in names]
            private = self.hub.repos[kind, repo_id].private
            about = {"id": repo_id, "sha": commit, "private": private, "tags": []}
            self._json({**about, "siblings": siblings})

    def _file(
        self, kind: Kind, repo_id: str, revision: str, name: str, fault: Fault | None
    ) -> None:
        found = self._find(kind, repo_id, revision)
        if found is None:
            return
        commit, folder = found
        if self.hub.repos[kind, repo_id].gated:
            self._error(403, "GatedRepo", f"Access to model {repo_id} is restricted")
            return
        if not (folder / name).is_file():
            self._error(404, "EntryNotFound", "Entry not found", {"X-Repo-Commit": commit})
            return
        data = (folder / name).read_bytes()
        large = name in self.hub.repos[kind, repo_id].large.get(commit, set())
        tag = hashlib.sha256(data).hexdigest() if large else blob_id(data)
        headers = {"X-Repo-Commit": commit, "ETag": f'"{tag}"', "Accept-Ranges": "bytes"}
        if xet := self.hub.xet_hash(name, data):
            route = f"{self.hub.url}/api/{kind}s/{repo_id}/xet-read-token/{commit}"
            headers |= {"X-Xet-Hash": xet, "X-Xet-Refresh-Route": route}
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
        status = 200
        if wanted:
            status, begin = 206, int(wanted[1])
            headers["Content-Range"] = f"bytes {begin}-{len(data) - 1}/{len(data)}"
            data = data[begin:]
        self._answer(status, data, headers, cut=fault.cut if fault else None)

    def _json(self, value: Any) -> None:
        self._answer(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _error(
        self, status: int, code: str, message: str, headers: dict[str, str] | None = None
    ) -> None:
        named = {"X-Error-Code": code, "X-Error-Message": message, **(headers or {})}
        named = {name: value for name, value in named.items() if value}
        self._answer(status, json.dumps({"error": message}).encode(), named)

    def _answer(
        self, status: int, data: bytes, headers: dict[str, str], cut: int | None = None
    ) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        self.wfile.write(data if cut is None else data[:cut])
        if cut is not None:
            self.wfile.flush()
            self._hang_up()


def client_environment(url: str, home: Path, **more: str) -> dict[str, str]:
    """The variables of a process whose Hub is at ``url`` and whose cache is in ``home``."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("HF_", "HUGGING")) and not name.lower().endswith("_proxy")
    }
    return {
        **kept,
        "HF_ENDPOINT": url,
        "HF_HOME": str(home),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        **more,
    }


def _entry(hub: Hub, folder: Path, name: str, large: bool) -> dict[str, Any]:
    data = (folder / name).read_bytes()
    entry: dict[str, Any] = {"type": "file", "path": name, "size": len(data)}
    if not large:
        return {**entry, "oid": blob_id(data)}
    digest = hashlib.sha256(data).hexdigest()
    lfs = {"oid": digest, "size": len(data), "pointerSize": 134}
    entry |= {"oid": blob_id(digest.encode()), "lfs": lfs}
    xet = hub.xet_hash(name, data)
    return {**entry, "xetHash": xet} if xet else entry
