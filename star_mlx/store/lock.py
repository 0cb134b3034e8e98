"""The lock that keeps a second process from writing to a run."""

from __future__ import annotations

import errno
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from star_mlx.errors import RunError
from star_mlx.store import names


@contextmanager
def locked(run: Path) -> Iterator[None]:
    """Hold the lock of a run's folder inside the block.

    Where the file system has no locks (some network drives), the lock is a file that names the
    process, and that of a process which has died does not count. An empty file is left there if the
    run was made on another file system; it does not count either.

    Raises:
        RunError: another process holds it, or the folder cannot be written to.
    """
    file = run / names.LOCK
    try:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            lock = FileLock(file)
            try:
                lock.acquire(timeout=0)
            except Timeout:
                if not said or file.stat().st_size:
                    raise
                file.unlink()
                lock.acquire(timeout=0)
    except Timeout:
        raise RunError(f"{run} is in use: another loop is running on it") from None
    except OSError as error:
        mend = ": give a --run on a local disk" if error.errno == errno.ENOLCK else ""
        raise RunError(f"{run} cannot be written to: {error.strerror or error}{mend}") from None
    try:
        yield
    finally:
        lock.release()
