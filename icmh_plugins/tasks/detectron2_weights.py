"""Weights in the pickled files of Detectron2's model zoo, read without executing what a pickle may ask for."""

from __future__ import annotations

import pickle
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from icmh_plugins.errors import DataError

# What numpy's arrays and scalars are rebuilt with. numpy 2 moved them; pickles carry either name.
_BUILDERS: Final = {"_reconstruct": np.empty(0).__reduce__()[0], "scalar": np.float64(0).__reduce__()[0]}
_ALLOWED: Final[dict[tuple[str, str], Any]] = {
    **{(f"numpy.{c}.multiarray", name): f for c in ("core", "_core") for name, f in _BUILDERS.items()},
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("collections", "OrderedDict"): OrderedDict,
    ("_codecs", "encode"): lambda text, encoding: text.encode(encoding),  # how protocol 2 writes bytes
}

_CONVERT: Final = (
    "load it once with Detectron2's DetectionCheckpointer where you trust it, and save "
    "torch.save(model.state_dict(), 'weights.pth')"
)


def read_zoo_file(path: str | Path) -> dict[str, Tensor]:
    """The tensors by name in a ``.pkl`` of the model zoo: ``{"model": {name: ndarray}, "__author__": ...}``.

    Raises:
        DataError: The file is missing or damaged, asks for anything but numpy arrays, or holds weights by the names of
            Caffe2 or another library, which Detectron2 maps by guessing.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"checkpoint {path} does not exist. Remedy: check the path")
    content = _load(path)
    model = content.get("model") if isinstance(content, Mapping) else None
    if not isinstance(model, Mapping) or content.get("matching_heuristics"):
        author = content.get("__author__", "Caffe2") if isinstance(content, Mapping) else "another program"
        raise DataError(
            f"checkpoint {path} has the names of {author}, which Detectron2 maps to its own by guessing. Remedy: take "
            f"a model trained with Detectron2, or {_CONVERT}"
        )
    strange = [name for name, value in model.items() if not _is_numeric(value)]
    if strange:
        raise DataError(f"checkpoint {path} holds {strange[0]!r}, which is no array of numbers. Remedy: {_CONVERT}")
    return {str(name): torch.from_numpy(np.array(value)) for name, value in model.items()}


class _Arrays(pickle.Unpickler):
    """Rebuilds plain containers and numpy arrays, nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}") from None


def _load(path: Path) -> Any:
    try:
        with path.open("rb") as file:
            return _Arrays(file, encoding="latin1").load()
    # Besides UnpicklingError, damaged pickles raise whatever the operation they stumble on does.
    except (pickle.UnpicklingError, EOFError, ValueError, TypeError, AttributeError, LookupError, ImportError) as error:
        raise DataError(
            f"checkpoint {path} cannot be read as plain arrays ({error}): it is damaged, or would execute code. "
            f"Remedy: {_CONVERT}"
        ) from error


def _is_numeric(value: Any) -> bool:
    return isinstance(value, np.ndarray | np.number) and value.dtype.kind in "fiub"
