"""What a codec and its adapters cost: parameters, bytes, multiply-accumulates, time."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from icmh_plugins.adapters.activate import use_adapter
from icmh_plugins.adapters.coded_picture import forward_pass
from icmh_plugins.adapters.host import adapter_modules, base_parameters, host_of, unwrap
from icmh_plugins.bitstream.coding import decode, encode
from icmh_plugins.bitstream.runtime import coding_mode, device_of
from icmh_plugins.codecs.padding import min_size, pad_multiple

T = TypeVar("T")

_SIDE = 256


@dataclass(frozen=True)
class Complexity:
    """Cost of a codec with its active adapters.

    kMAC per original pixel are those of real coding (`compress` and `decompress`, on a random image of about
    256x256): convolutions and matrix products; entropy coding, normalisation and FFTs are not counted.

    Attributes:
        base_parameters: Values in the base's parameters.
        adapter_parameters: Values in the active adapters.
        adapter_bytes: Their size in memory and, but for a header, in an adapter file.
        encoder_kmac_per_pixel: Base alone.
        decoder_kmac_per_pixel: Base alone.
        adapter_encoder_kmac_per_pixel: Added by the adapters.
        adapter_decoder_kmac_per_pixel: Added by the adapters.
    """

    base_parameters: int
    adapter_parameters: int
    adapter_bytes: int
    encoder_kmac_per_pixel: float
    decoder_kmac_per_pixel: float
    adapter_encoder_kmac_per_pixel: float = 0.0
    adapter_decoder_kmac_per_pixel: float = 0.0


def complexity(model: nn.Module) -> Complexity:
    """Count parameters and MACs of `model` as it is set now.

    Args:
        model: A codec with entropy tables, in eval mode.
    """
    root, host = unwrap(model), host_of(model)
    active = host.active if host else ()
    tensors = [p for name in active for module in adapter_modules(model, name).values() for p in module.parameters()]
    encoder, decoder = _macs(root)
    base = encoder, decoder
    if active:
        with use_adapter(model, None):
            base = _macs(root)
    return Complexity(
        base_parameters=sum(p.numel() for p in base_parameters(model).values()),
        adapter_parameters=sum(p.numel() for p in tensors),
        adapter_bytes=sum(p.numel() * p.element_size() for p in tensors),
        encoder_kmac_per_pixel=base[0],
        decoder_kmac_per_pixel=base[1],
        adapter_encoder_kmac_per_pixel=encoder - base[0],
        adapter_decoder_kmac_per_pixel=decoder - base[1],
    )


def latency(model: nn.Module, image: Tensor, repeats: int = 5) -> tuple[float, float]:
    """Median seconds to encode and to decode one image, after one warm-up.

    Args:
        model: A codec with entropy tables, in eval mode.
        image: (3, H, W) in [0, 1] on the model's device.
        repeats: Timed runs.
    """
    stream = encode(model, image)
    decode(model, stream)
    runs = [(timed(encode, model, image)[1], timed(decode, model, stream)[1]) for _ in range(repeats)]
    encoding, decoding = zip(*runs, strict=True)
    return statistics.median(encoding), statistics.median(decoding)


def timed(action: Callable[..., T], model: nn.Module, *arguments: Any) -> tuple[T, float]:
    """What ``action(model, *arguments)`` returns and the seconds it took, work queued on a GPU included."""
    device = device_of(model)
    started = _now(device)
    result = action(model, *arguments)
    return result, _now(device) - started


def _macs(model: nn.Module) -> tuple[float, float]:
    """Count kMAC per pixel of one `compress` and of one `decompress`."""
    multiple = pad_multiple(model)
    side = -(-max(_SIDE, min_size(model)) // multiple) * multiple
    image = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0)).to(device_of(model))
    with coding_mode(model), forward_pass():  # adapters that carry a message need one of them
        with FlopCounterMode(display=False) as encoder:
            coded = model.compress(image)
        with FlopCounterMode(display=False) as decoder:
            model.decompress(coded["strings"], coded["shape"])
    return tuple(counter.get_total_flops() / 2 / 1000 / side**2 for counter in (encoder, decoder))


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
