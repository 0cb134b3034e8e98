"""The key for servers: read from the environment, sent to them, and never shown or written."""

from __future__ import annotations

import os
import re

from star_mlx.errors import EndpointError
from star_mlx.formatting import clipped, harmless, without_password

KEY = "STAR_MLX_ENDPOINT_KEY"
HIDDEN = "***"


class Secret:
    """The key, or none. It is in no representation of this object."""

    def __init__(self, value: str) -> None:
        self._value = value

    @classmethod
    def of_environment(cls) -> Secret:
        """The key of the environment variable, or none if that is not set or empty.

        Raises:
            EndpointError: it cannot be sent in a header.
        """
        value = os.environ.get(KEY, "").strip()
        if not re.fullmatch(r"[\x21-\x7e]*", value):
            raise EndpointError(
                f"{KEY} has spaces or characters that are not ASCII, which no key has: set it again"
            )
        return cls(value)

    def __bool__(self) -> bool:
        return bool(self._value)

    def headers(self) -> dict[str, str]:
        """The headers that give the key to a server."""
        return {"Authorization": f"Bearer {self._value}"} if self._value else {}

    def in_(self, text: str) -> bool:
        """Whether a text of a server holds the key."""
        return bool(self._value) and self._value in text

    def out_of(self, text: str) -> str:
        """A text of a server without the key."""
        return text.replace(self._value, HIDDEN) if self._value else text

    def shown(self, text: str, most: int = 200) -> str:
        """A text of a server for a message: one short line, without the key or a password."""
        plain = without_password(self.out_of(text))
        return clipped(harmless(" ".join(plain.split())), most)
