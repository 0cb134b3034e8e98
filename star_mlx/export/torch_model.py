"""Load a model's folder and a PEFT adapter in torch, float32 on the CPU, to compare mlx with."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from star_mlx.errors import ModelError

Logits = Callable[[Sequence[int]], np.ndarray[Any, np.dtype[np.float32]]]  # (T,) -> (T, vocabulary)


def check(*packages: str) -> None:
    """Check that the packages for ``--verify`` are installed.

    Raises:
        ModelError: one is not; the text says how to install it.
    """
    if missing := [name for name in packages if find_spec(name) is None]:
        raise ModelError(
            f"--verify compares with torch, but {' and '.join(missing)} is not installed: "
            "pip install 'star-mlx[peft]', or leave --verify out"
        )


def base(folder: Path) -> Any:
    """Load the model of a folder with transformers.

    Raises:
        ModelError: transformers lacks the architecture, or has other names for its weights.
    """
    import torch
    from huggingface_hub.errors import StrictDataclassError
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():  # deprecations inside transformers, which a user cannot fix
            warnings.simplefilter("ignore")
            model, told = AutoModelForCausalLM.from_pretrained(
                folder, dtype=torch.float32, local_files_only=True, output_loading_info=True
            )
    except (ValueError, KeyError, TypeError, OSError, RuntimeError, StrictDataclassError) as error:
        text = " ".join(str(error).split())
        raise ModelError(
            f"parity cannot be shown for this architecture, since transformers does not load it: "
            f"{text[:300]}; leave --verify out"
        ) from error
    odd = sorted(
        str(key) for kind in ("missing_keys", "unexpected_keys", "mismatched_keys")
        for key in told.get(kind) or ()
    )  # fmt: skip
    if odd:
        raise ModelError(
            f"parity cannot be shown for {model.config.model_type}: transformers has another name "
            f"or shape for its weight {odd[0]} ({len(odd)} in all); leave --verify out"
        )
    return model.eval()


def with_adapter(model: Any, folder: Path, names: set[str]) -> Any:
    """Add the PEFT adapter of a folder, whose file has the tensors ``names``, to a model.

    Raises:
        ModelError: PEFT adapts other modules than these.
    """
    from peft import PeftModel, get_peft_model_state_dict

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # missing tensors are found below
        adapted = PeftModel.from_pretrained(model, str(folder)).eval()
    if odd := sorted(set(get_peft_model_state_dict(adapted)) ^ names):
        raise ModelError(f"PEFT reads the adapter differently: at {odd[0]}")
    return adapted


def logits(model: Any) -> Logits:
    """Token ids -> logits."""
    import torch

    def of(ids: Sequence[int]) -> Any:
        with torch.no_grad():
            return model(torch.tensor([list(ids)]), use_cache=False).logits[0].numpy()

    return of
