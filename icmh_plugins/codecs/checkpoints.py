"""Reading weights from files without executing anything in them."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from icmh_plugins.errors import CodecError

_NESTED: Final = ("network", "state_dict", "model_state_dict")
_HALF: Final = (torch.float16, torch.bfloat16)


def read_checkpoint(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """The weights in a ``.safetensors`` file or a file of `torch.save`.

    Looks under the keys "network", "state_dict" and "model_state_dict", strips ``module.`` prefixes, and widens
    half-precision tensors to float32.

    Raises:
        CodecError: The file is missing or damaged, would execute code, or holds no weights.
    """
    path = Path(path)
    if not path.is_file():
        raise CodecError(f"checkpoint {path} does not exist.")
    content = _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)
    for key in _NESTED:
        content = content.get(key, content) if isinstance(content, dict) else content
    if not isinstance(content, dict) or not content or not all(isinstance(value, Tensor) for value in content.values()):
        raise CodecError(f"checkpoint {path} holds no weights: looked at its top level and under {', '.join(_NESTED)}.")
    return {
        key.removeprefix("module."): value.float() if value.dtype in _HALF else value for key, value in content.items()
    }


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise CodecError(f"checkpoint {path} is damaged: {error}") from error


def _read_torch(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise CodecError(
            f"checkpoint {path} cannot be read as plain weights: {reason}. It may be damaged, or a whole pickled "
            "model: save model.state_dict() instead"
        ) from error
