"""A connection between rank 0 and another rank, over which messages go whole and in order."""

from __future__ import annotations

import contextlib
import threading
import time
from multiprocessing.connection import Connection
from typing import Any

import msgspec

BEAT = 1.0  # seconds between two signs of life
SILENCE = 12.0  # seconds without one after which a rank is lost


class Gone(Exception):
    """The other end has closed the connection, or cannot be reached any more."""


class Wire:
    """One end of a connection. Any thread may send; one thread receives.

    Args:
        kind: the type, a union, of the messages that are received.
    """

    def __init__(self, connection: Connection, kind: Any) -> None:
        self._connection = connection
        self._decode = msgspec.msgpack.Decoder(kind).decode
        self._encode = msgspec.msgpack.Encoder().encode
        self._sending = threading.Lock()
        self._heard = time.monotonic()

    @property
    def silent(self) -> float:
        """Seconds since anything was received."""
        return time.monotonic() - self._heard

    def send(self, message: msgspec.Struct) -> None:
        """Send a message.

        Raises:
            Gone: it cannot be sent.
        """
        data = self._encode(message)
        with self._sending:
            self._write(data)

    def beat(self, message: msgspec.Struct) -> None:
        """Send a sign of life, unless something is being sent anyway.

        Raises:
            Gone: it cannot be sent.
        """
        if self._sending.acquire(blocking=False):
            try:
                self._write(self._encode(message))
            finally:
                self._sending.release()

    def receive(self) -> Any:
        """The next message.

        Raises:
            Gone: there will be none.
        """
        try:
            data = self._connection.recv_bytes()
        except (OSError, EOFError, ValueError, TypeError):  # the last two: closed here
            raise Gone("its connection has ended") from None
        self._heard = time.monotonic()
        try:
            return self._decode(data)
        except msgspec.MsgspecError as error:
            raise Gone(f"what came over it is no message: {error}") from None

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._connection.close()

    def _write(self, data: bytes) -> None:
        try:
            self._connection.send_bytes(data)
        except (OSError, ValueError, TypeError):
            raise Gone("its connection has ended") from None
