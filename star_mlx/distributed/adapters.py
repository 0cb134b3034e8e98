"""Adapters that go from rank 0 to other ranks, which know them by a digest of their files."""

from __future__ import annotations

import hashlib
import shutil
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from star_mlx.distributed.messages import AdapterFile

KEPT = 4  # adapters at a rank, the last that were sent
PIECE = 1 << 20  # bytes of a message, so that signs of life are never long in coming


def digest(adapter: Path) -> str:
    """The SHA-256 of an adapter's files and their names."""
    whole = hashlib.sha256()
    for file in _files(adapter):
        whole.update(f"{file.name}\0".encode())
        with open(file, "rb") as data:
            while piece := data.read(PIECE):
                whole.update(piece)
    return whole.hexdigest()


def pieces(adapter: Path, digest: str) -> Iterator[AdapterFile]:
    """The files of an adapter as messages."""
    for file in _files(adapter):
        with open(file, "rb") as data:
            while piece := data.read(PIECE):
                yield AdapterFile(digest, file.name, piece)


class Received:
    """The adapters that a rank has, in a folder of its own: the last ``KEPT``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._there: deque[str] = deque()

    def add(self, piece: AdapterFile) -> None:
        """Append a piece to its file."""
        folder = self.path(piece.digest)
        if piece.digest not in self._there:
            folder.mkdir()
            self._enter(piece.digest)
        with open(folder / Path(piece.name).name, "ab") as file:
            file.write(piece.data)

    def take(self, made: Path) -> str:
        """Move an adapter that was made here to the others; returns its digest."""
        found = digest(made)
        if found not in self._there:
            shutil.move(made, self.path(found))
            self._enter(found)
        return found

    def _enter(self, digest: str) -> None:
        self._there.append(digest)
        if len(self._there) > KEPT:
            shutil.rmtree(self.path(self._there.popleft()))

    def path(self, digest: str) -> Path:
        """The folder of the adapter with this digest, a string of hexadecimal digits."""
        return self._folder / f"{int(digest, 16):064x}"


def _files(adapter: Path) -> list[Path]:
    return sorted(path for path in adapter.iterdir() if path.is_file())
