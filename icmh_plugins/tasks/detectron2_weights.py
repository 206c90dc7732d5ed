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

_CONVERT: Final = (
    "load it once with Detectron2's DetectionCheckpointer where you trust it, and save "
    "torch.save(model.state_dict(), 'weights.pth')"
)

_NUMBERS: Final = frozenset({"b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"})


def read_zoo_file(path: str | Path) -> dict[str, Tensor]:
    """The tensors by name in a ``.pkl`` of the model zoo: ``{"model": {name: ndarray}, "__author__": ...}``.

    Raises:
        DataError: The file is missing or damaged, asks for anything but arrays of numbers, or holds weights by the
            names of Caffe2 or another library, which Detectron2 maps by guessing.
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
    arrays = {str(name): getattr(value, "array", None) for name, value in model.items()}
    strange = [name for name, array in arrays.items() if not isinstance(array, np.ndarray)]
    if strange:
        raise DataError(f"checkpoint {path} holds {strange[0]!r}, which is no array of numbers. Remedy: {_CONVERT}")
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


class _Type:
    """Stands for `numpy.dtype` in a pickle: numbers in some byte order, nothing that nests or points."""

    def __init__(self, code: str, align: Any = False, copy: Any = True) -> None:
        if code not in _NUMBERS:
            raise pickle.UnpicklingError(f"it has values of type {code!r}, which are no numbers")
        self.type = np.dtype(code)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        version, order, *rest = state
        if version != 3 or order not in ("<", ">", "|", "=") or rest != [None, None, None, -1, -1, 0]:
            raise pickle.UnpicklingError(f"its values have the state {state}, which plain numbers have not")
        self.type = self.type.newbyteorder(order)


class _Array:
    """Stands for `numpy.ndarray` in a pickle; numpy's own way to restore one trusts what it is told."""

    array: np.ndarray

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, kind, by_columns, values = state
        self.array = _read(kind, values).reshape(shape, order="F" if by_columns else "C")


def _empty(cls: type[_Array], shape: Any, code: Any) -> _Array:
    return cls()


def _scalar(kind: _Type, values: bytes | str) -> _Array:
    scalar = _Array()
    scalar.array = _read(kind, values).reshape(())
    return scalar


def _read(kind: _Type, values: bytes | str) -> np.ndarray:
    """A writable copy in the machine's byte order."""
    if not isinstance(kind, _Type):
        raise pickle.UnpicklingError(f"its values are of type {type(kind).__name__}")
    values = values.encode("latin1") if isinstance(values, str) else values  # text in pickles of Python 2
    return np.array(np.frombuffer(values, kind.type), kind.type.newbyteorder("="))


def _encode(text: str, encoding: str) -> bytes:
    """How protocol 2 writes bytes."""
    return text.encode(encoding)


# numpy 2 moved the functions that arrays and scalars are rebuilt with. Pickles carry either name.
_ALLOWED: Final[dict[tuple[str, str], Any]] = {
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _empty for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "scalar"): _scalar for core in ("core", "_core")},
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Type,
    ("collections", "OrderedDict"): OrderedDict,
    ("_codecs", "encode"): _encode,
}


class _Arrays(pickle.Unpickler):
    """Rebuilds plain containers and arrays of numbers, nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}") from None


def _load(path: Path) -> Any:
    try:
        with path.open("rb") as file:
            return _Arrays(file, encoding="latin1").load()
    # Besides UnpicklingError, a damaged pickle raises whatever the operation that it stumbles on does.
    except Exception as error:
        raise DataError(
            f"checkpoint {path} cannot be read as plain arrays ({type(error).__name__}: {error}): it is damaged, or "
            f"would execute code. Remedy: {_CONVERT}"
        ) from error
