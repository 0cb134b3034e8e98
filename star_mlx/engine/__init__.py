"""Language models on MLX; only here, in ``gguf`` and in ``export`` mlx is imported.

Importing it loads nothing heavy; ``open_engine`` does.

May import ``recipe``, ``data`` and what is below them; ``scripted`` needs no mlx.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from star_mlx.errors import ModelError

if TYPE_CHECKING:
    from star_mlx.engine.mlx_engine import MlxEngine
    from star_mlx.engine.resolve import Found
    from star_mlx.engine.text import Text
    from star_mlx.settings import MaxMemory, Products, Recipe

__all__ = ["open_base", "open_engine", "open_tokenizer"]


def open_engine(
    path: str,
    *,
    revision: str | None = None,
    trust_remote_code: bool = False,
    max_memory: MaxMemory = None,
    products: Products = "float32",
) -> MlxEngine:
    """Load a base model; see ``resolve.find`` for ``path``.

    Batches are made small enough to fit into ``max_memory`` (GiB of mlx's arrays); by default into
    0.7 of the device's memory, and with ``"none"`` they are not. ``products`` is the number type of
    the factors in products with the base's weights.

    Raises:
        ModelError: it cannot be found, fetched or loaded, or its weights alone take more memory,
            or products in bfloat16 cannot be had; the text says why and what to do.
    """
    from star_mlx.engine import blas, onednn, resolve

    found = resolve.find(path, revision, trust_remote_code=trust_remote_code)
    blas.load()  # before the first import of mlx
    if products == "bfloat16" and (why := onednn.problem()):
        raise ModelError(f"model.products=bfloat16 cannot be had here: {why}")
    from star_mlx.engine import device, needs
    from star_mlx.engine.load import load
    from star_mlx.engine.mlx_engine import MlxEngine

    if products == "bfloat16" and not device.on_cpu():
        raise ModelError("model.products=bfloat16 is for a CPU, but mlx computes on a GPU here")
    bound = device.bound(max_memory)
    needs.check_weights(found, bound)
    device.restrict(bound)
    return MlxEngine(load(found, trust_remote_code=trust_remote_code), bound, products)


def open_base(recipe: Recipe) -> MlxEngine:
    """Load the base that a recipe names; see ``open_engine``."""
    model = recipe.model
    return open_engine(
        model.path,
        revision=model.revision,
        trust_remote_code=model.trust_remote_code,
        max_memory=recipe.max_memory,
        products=model.products,
    )


def open_tokenizer(found: Found, *, trust_remote_code: bool = False) -> Text:
    """Load the tokenizer of a model's folder, without its weights.

    Raises:
        ModelError: it cannot be loaded.
    """
    from star_mlx.engine import blas

    blas.load()  # mlx-lm imports mlx
    from star_mlx.engine.load import tokenizer
    from star_mlx.engine.text import Text

    return Text(tokenizer(found.folder, trust_remote_code=trust_remote_code))
