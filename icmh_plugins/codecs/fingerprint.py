"""SHA-256 of a base codec's weights and of its coding tables: is this the codec that a file or stream was made with?"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from icmh_plugins.codecs.entropy import TABLES, entropy_modules
from icmh_plugins.codecs.sites import SLOT

_Key = tuple[tuple[str, int, int], ...]
_BASES: WeakKeyDictionary[nn.Module, tuple[_Key, str]] = WeakKeyDictionary()
_TABLES: WeakKeyDictionary[nn.Module, tuple[_Key, str]] = WeakKeyDictionary()


def base_fingerprint(model: nn.Module, recompute: bool = False) -> str:
    """Identify the base codec: its parameters and persistent buffers, without tables and attached adapters.

    The weights of masked convolutions count with their mask applied, because their first forward applies it.

    Args:
        model: The codec.
        recompute: Read every tensor again. Without it the last result is reused while no tensor was replaced or
            written in place; writes through ``.data`` go unnoticed.

    Returns:
        64 hexadecimal digits, equal on every device.
    """
    return _digest(model, _base_tensors(model), _BASES, recompute)


def tensor_checksums(model: nn.Module) -> dict[str, int]:
    """CRC-32 of every tensor that `base_fingerprint` covers, by name, to say which one has changed."""
    tensors = _base_tensors(model)
    return {name: zlib.crc32(_bytes(tensor)) for name, tensor in {**tensors, **_masked_weights(model, tensors)}.items()}


def tables_fingerprint(model: nn.Module, recompute: bool = False) -> str:
    """Identify the coding tables: a stream can only be decoded with the very tables it was coded with.

    `recompute` and the result are as in `base_fingerprint`.
    """
    tensors = {
        f"{path}.{name}": module._buffers[name]
        for path, module in entropy_modules(model).items()
        for name in TABLES
        if module._buffers.get(name) is not None
    }
    return _digest(model, tensors, _TABLES, recompute)


def _base_tensors(model: nn.Module) -> dict[str, Tensor]:
    tensors = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        *parents, last = name.split(".")
        if SLOT not in parents and last not in TABLES:
            tensors[name] = tensor
    return tensors


def _digest(
    model: nn.Module, tensors: dict[str, Tensor], cache: WeakKeyDictionary[nn.Module, tuple[_Key, str]], recompute: bool
) -> str:
    key = tuple((name, tensor.data_ptr(), tensor._version) for name, tensor in tensors.items())
    known = cache.get(model)
    if known is not None and known[0] == key and not recompute:
        return known[1]
    digest = _sha256(sorted({**tensors, **_masked_weights(model, tensors)}.items()))
    cache[model] = (key, digest)
    return digest


def _masked_weights(model: nn.Module, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    masked = {}
    for path, module in model.named_modules():
        name = f"{path}.weight" if path else "weight"
        if name in tensors and any(cls.__name__ == "MaskedConv2d" for cls in type(module).__mro__):
            masked[name] = module.weight.detach() * module.mask + 0.0  # a masked negative weight is -0.0
    return masked


def _sha256(tensors: Iterable[tuple[str, Tensor]]) -> str:
    digest = hashlib.sha256()
    for name, tensor in tensors:
        digest.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
        digest.update(_bytes(tensor))
    return digest.hexdigest()


def _bytes(tensor: Tensor) -> memoryview:
    # Not viewed as bytes before it is flat: a scalar has no dimension to split.
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data
