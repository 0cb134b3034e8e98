"""The device that mlx computes on."""

from __future__ import annotations

import mlx.core as mx


def on_cpu() -> bool:
    """Whether mlx computes on the CPU."""
    return bool(mx.default_device().type == mx.DeviceType.cpu)
