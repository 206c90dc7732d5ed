"""Reading weights from files without executing anything in them."""

from __future__ import annotations

import os
import pickle
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from icmh_plugins.errors import CodecError, IcmhError

_NESTED: Final = ("network", "state_dict", "model_state_dict")
_HALF: Final = (torch.float16, torch.bfloat16)

UNREADABLE: Final = (
    SafetensorError, pickle.UnpicklingError, struct.error, RuntimeError, EOFError, OSError, ValueError, LookupError,
)  # fmt: skip
"""What reading damaged files of weights, or those of something else, raises."""


def read_checkpoint(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """The weights in a ``.safetensors`` file or a file of `torch.save`.

    Looks under the keys "network", "state_dict" and "model_state_dict", strips ``module.`` prefixes, and widens
    half-precision tensors to float32.

    Raises:
        CodecError: The file is missing or damaged, would execute code, or holds no weights.
    """
    return {
        key.removeprefix("module."): value.float() if value.dtype in _HALF else value
        for key, value in read_state(path, _NESTED, CodecError).items()
    }


def read_state(path: str | os.PathLike[str], nested: Sequence[str], refusal: type[IcmhError]) -> dict[str, Tensor]:
    """The tensors by name in a ``.safetensors`` file or a file of `torch.save`, as they are stored.

    Args:
        path: The file.
        nested: Keys under which the names may lie, tried in turn, one below the other.
        refusal: The error to raise.

    Raises:
        refusal: The file is missing or damaged, would execute code, or holds no tensors by name.
    """
    path = Path(path)
    if not path.is_file():
        raise refusal(f"checkpoint {path} does not exist. Remedy: check the path")
    try:
        content = _load(path)
    except UNREADABLE as error:
        raise refusal(
            f"checkpoint {path} cannot be read as plain weights, tensors alone{reason(error)}. It is damaged, or a "
            "whole pickled model: save model.state_dict() instead"
        ) from error
    for key in nested:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not content or not all(isinstance(v, Tensor) for v in content.values()):
        places = ", ".join(nested)
        raise refusal(
            f"checkpoint {path} holds no weights: looked at its top level and under {places}, and found no state dict"
        )
    return dict(content)


def reason(error: Exception) -> str:
    """The first line of an error in brackets; "" for pickles, where torch advises to run what is in them."""
    line = "" if isinstance(error, pickle.UnpicklingError) else str(error).strip().partition("\n")[0][:300]
    return f" ({line})" if line else ""


def _load(path: Path) -> Any:
    if path.suffix == ".safetensors":
        return load_file(path)
    return torch.load(path, map_location="cpu", weights_only=True)
