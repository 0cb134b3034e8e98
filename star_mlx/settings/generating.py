"""How completions are generated, here or by servers."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from star_mlx.settings.group import SettingsGroup

Size = Annotated[int, Field(ge=1)] | Literal["auto"]  # a number, or the device's own


class Generate(SettingsGroup):
    """How rationales are generated."""

    max_tokens: int = Field(256, ge=1, description="maximum length of a completion, in tokens")
    thinking_tokens: int | None = Field(
        None,
        ge=1,
        description="end the thinking of a completion after this many of its tokens; null: never",
    )
    temperature: float = Field(
        0.0,
        ge=0,
        description="sampling temperature; 0 is greedy (reference: 0.01, nearly greedy; high "
        "values do harm)",
    )
    top_p: float = Field(0.9, gt=0, le=1, description="nucleus sampling (reference: 0.9)")
    samples: int = Field(
        1,
        ge=1,
        description="attempts per problem without a hint; each distinct right rationale is kept",
    )
    batch_size: Size = Field(
        32, description="completions decoded at once; auto: as this device does best"
    )
    stop_repeats: bool = Field(
        False, description="end a greedy completion that repeats itself, and count it as cut off"
    )
    chunk: Size = Field(
        256,
        description="problems saved at a time; an interruption loses at most these; auto: as this "
        "device does best",
    )

    @model_validator(mode="after")
    def _differ(self) -> Generate:
        if self.thinking_tokens is not None and self.thinking_tokens >= self.max_tokens:
            raise ValueError(
                f"thinking_tokens={self.thinking_tokens} leaves no room for an answer in "
                f"max_tokens={self.max_tokens}, which counts both: give a larger max_tokens"
            )
        if self.samples > 1 and self.temperature == 0:
            raise ValueError(
                f"{self.samples} samples at temperature 0 are all the same: give a temperature, "
                "such as generate.temperature=0.7"
            )
        return self

    @property
    def automatic(self) -> tuple[str, ...]:
        """The names of the settings that are ``auto``."""
        return tuple(name for name in ("batch_size", "chunk") if getattr(self, name) == "auto")

    @property
    def at_once(self) -> int:
        """``batch_size``, or its default for ``auto`` on an unknown device."""
        return 32 if self.batch_size == "auto" else self.batch_size

    @property
    def per_chunk(self) -> int:
        """``chunk``, or its default for ``auto`` on an unknown device."""
        return 256 if self.chunk == "auto" else self.chunk

    def sized(self, rows: int, completions: int) -> Generate:
        """The same with numbers for ``auto``: rows at once, and completions in a chunk."""
        numbers = {"batch_size": rows, "chunk": max(1, completions // self.samples)}
        return self.model_copy(update={name: numbers[name] for name in self.automatic})


class Endpoints(SettingsGroup):
    """Servers that generate in place of the local model; see docs/endpoints.md."""

    urls: tuple[str, ...] = Field(
        (),
        strict=False,
        description="OpenAI-compatible servers that generate, such as "
        "http://127.0.0.1:8000/v1; []: this machine does",
    )
    model: str | None = Field(
        None,
        min_length=1,
        description="name of the model at the servers; null: that of the base, or the only one "
        "there is",
    )
    at_once: int = Field(32, ge=1, description="requests at each server at a time")
    timeout: float = Field(
        600.0,
        gt=0,
        description="seconds that a completion may take before it is asked for again",
    )
    give_up_after: float = Field(
        300.0,
        ge=0,
        description="seconds for which a server that fails is asked again before it is put aside",
    )
    min_equal: float = Field(
        0.5,
        ge=0,
        le=1,
        description="refuse to begin if a smaller share of 8 greedy completions of a server are "
        "those of the local model; 0: begin all the same",
    )

    @field_validator("urls")
    @classmethod
    def _servers(cls, urls: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(map(server_url, urls)))


def server_url(text: str) -> str:
    """The address of an OpenAI-compatible server, which ends in /v1 unless another path is given.

    Raises:
        ValueError: it is none, or holds a password. The password is not in the message.
    """
    try:
        parts = urlsplit(text.strip())
        host, _ = parts.hostname, parts.port
    except ValueError:
        host, parts = None, urlsplit("")
    if parts.scheme not in ("http", "https") or not host:
        raise ValueError(
            "this is not the address of a server: write it as http://127.0.0.1:8000/v1"
        )
    if "@" in parts.netloc:
        raise ValueError(
            f"the address of {host} holds a user or a password, which a recipe would keep: leave "
            "it out, and give the key in the environment variable STAR_MLX_ENDPOINT_KEY"
        )
    if parts.query or parts.fragment:
        raise ValueError(f"the address of {host} goes on after ? or #: leave that out")
    path = parts.path.rstrip("/").removesuffix("/completions").removesuffix("/chat")
    return f"{parts.scheme}://{parts.netloc}{path or '/v1'}"
