"""What every group of settings has in common."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class SettingsGroup(BaseModel):
    """A frozen group of settings. Unknown keys are refused, and values are not converted.

    >>> from star_mlx.settings import Train
    >>> Train(rank=8, learning_rate=5e-4).rank
    8
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)
