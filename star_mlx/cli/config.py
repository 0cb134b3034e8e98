"""The user's config file: defaults of the command line, such as the base and the folder of runs.

``import star_mlx`` never reads it. A default is used only if nothing else gives a value, so a
recipe that names a model and an existing run keep their own.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from star_mlx.errors import RecipeError, StarError
from star_mlx.recipe import layers, loading
from star_mlx.store import names

VARIABLE = "STAR_MLX_CONFIG"
RUNS = Path("runs")


class Config(BaseModel):
    """The keys of the file."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    model: str | None = Field(
        None, min_length=1, description="the base of recipes that name none, as for --model"
    )
    runs: str | None = Field(
        None, min_length=1, description="the folder in which new runs are made"
    )
    track: str | list[str] | None = Field(
        None, description="the experiment trackers, as for --track"
    )


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """The file's place, None if there is to be none, and its content."""

    place: Path | None
    values: Config

    @property
    def runs(self) -> Path:
        """The folder in which new runs are made."""
        return Path(self.values.runs).expanduser() if self.values.runs else RUNS

    @property
    def model(self) -> list[layers.Layer]:
        """The default model, as a layer below those of a recipe."""
        if self.values.model is None:
            return []
        model = self.values.model
        path = os.path.expanduser(model) if model.startswith("~") else model
        return [layers.Layer(f"{self.place}", {"model": path})]

    @property
    def track(self) -> Sequence[str]:
        """The trackers, as the values of ``--track``."""
        track = self.values.track
        return [track] if isinstance(track, str) else track or []

    def words(self) -> str:
        """The place and what it sets, in one line."""
        if self.place is None:
            return f"none ({VARIABLE} is empty)"
        set_ = self.values.model_dump(exclude_none=True)
        said = ", ".join(f"{key}: {layers.shown(value)}" for key, value in set_.items())
        exists = self.place.is_file()
        return f"{self.place}: {said or ('sets nothing' if exists else 'no such file')}"


def place() -> Path | None:
    """The place of the file: that of STAR_MLX_CONFIG, none if that is empty, or
    star-mlx/config.yaml in the user's folder of configuration."""
    named = os.environ.get(VARIABLE)
    if named is not None:
        return Path(os.path.expanduser(named)) if named else None
    folder = os.environ.get("XDG_CONFIG_HOME", "")
    root = folder if os.path.isabs(folder) else os.path.expanduser("~/.config")
    return Path(root) / "star-mlx" / "config.yaml"


def read() -> ConfigFile:
    """Read the file; without one, nothing is set.

    Raises:
        RecipeError: an unknown key or a wrong value, or STAR_MLX_CONFIG names no file.
    """
    path = place()
    if path is None or not (path.exists() or VARIABLE in os.environ):
        return ConfigFile(path, Config())
    layer = layers.document(path, "the config file", "model: tiny", empty=True)
    try:
        return ConfigFile(path, Config(**layer.values))
    except ValidationError as error:
        raise layers.explained(error, [layer], Config) from None


def below(run: Path | None) -> list[layers.Layer]:
    """The values for a recipe that names no model: those of an existing run, else of the file."""
    if run is not None and (run / names.RECIPE).is_file():
        from star_mlx.recipe.opening import resume_recipe

        model = loading.resolved(resume_recipe(run))["model"]
        return [layers.Layer("the run's recipe.yaml", {"model": model})]
    return read().model


def trackers() -> tuple[str, ...]:
    """The trackers that the file names.

    Raises:
        RecipeError: one of them does not exist, or is not installed.
    """
    from star_mlx.trackers import chosen

    found = read()
    try:
        return chosen(found.track) if found.track else ()
    except StarError as error:
        raise RecipeError(f"{found.place}: {error}") from None
