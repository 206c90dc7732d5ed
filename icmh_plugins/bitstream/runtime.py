"""The state a codec must be in while it codes: eval, float32, no gradients, no autocast, tables present."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import chain

import torch
from torch import nn

from icmh_plugins.adapters.host import base_parameters
from icmh_plugins.codecs.entropy import has_tables
from icmh_plugins.errors import CodecError


def device_of(model: nn.Module) -> torch.device:
    """Where the codec's parameters are, or the buffers of one without parameters."""
    return next(chain(model.parameters(), model.buffers())).device


@contextmanager
def coding_mode(model: nn.Module) -> Iterator[None]:
    """Put `model` in the state for coding, and back in the one it was in.

    Raises:
        CodecError: It has no ``compress`` and ``decompress``, no tables, or parameters that are not float32.
    """
    _check(model)
    training = [module for module in model.modules() if module.training]
    threads = torch.get_num_threads()
    device = device_of(model).type
    with ExitStack() as stack:
        stack.enter_context(torch.no_grad())
        stack.enter_context(torch.autocast(device, enabled=False))
        if device == "cuda":
            stack.enter_context(torch.backends.cudnn.flags(benchmark=False, deterministic=True, allow_tf32=False))
        if training:
            model.eval()
            stack.callback(_train, training)
        if _is_raster(model):  # thousands of tiny convolutions: more threads make them several times slower
            torch.set_num_threads(1)
            stack.callback(torch.set_num_threads, threads)
        yield


def _check(model: nn.Module) -> None:
    name = type(model).__name__
    if not (callable(getattr(model, "compress", None)) and callable(getattr(model, "decompress", None))):
        raise CodecError(f"{name} has no compress() and decompress(), so it makes no streams; use its estimated rate")
    numbers = base_parameters(model).values() or [b for b in model.buffers() if b.is_floating_point()]
    wrong = {str(each.dtype) for each in numbers if each.dtype != torch.float32}
    if wrong:
        raise CodecError(
            f"{name} has parameters in {', '.join(sorted(wrong))}: its entropy networks would give other tables than "
            "the float32 codec, and streams that others cannot decode. Remedy: model.float()"
        )
    if not has_tables(model):
        raise CodecError(f"{name} has no entropy tables yet. Remedy: model.update(), then save it with them")


def _train(modules: list[nn.Module]) -> None:
    for module in modules:
        module.training = True


def _is_raster(model: nn.Module) -> bool:
    return any(type(module).__name__ == "MaskedConv2d" for module in model.modules())
