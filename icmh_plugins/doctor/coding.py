"""Streams made, and decoded again elsewhere: each half runs in a process of its own.

"Elsewhere" is the same machine with its instruction sets or threads limited by environment variables, which must be
set before torch is imported.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from icmh_plugins.bitstream.coding import decode, encode
from icmh_plugins.bitstream.plan import plan_of
from icmh_plugins.bitstream.runtime import coding_mode
from icmh_plugins.codecs.entropy import entropy_modules
from icmh_plugins.codecs.loading import load_codec
from icmh_plugins.errors import in_words

DECODED = "decoded.safetensors"

_COUNT, _HEIGHT, _WIDTH = 8, 256, 384


def make(codec: str, folder: str) -> dict[str, Any]:
    """Code pictures with `codec`, and leave in `folder` the streams and what they decode to here.

    Returns:
        "bytes" of all streams, and the machine as it is here.
    """
    model = load_codec(codec)
    streams = [encode(model, picture) for picture in pictures()]
    decoded = {}
    for number, data in enumerate(streams):
        _file(folder, number).write_bytes(data)
        decoded |= {f"{key}.{number}": tensor for key, tensor in _decoded(model, data).items()}
    save_file(decoded, Path(folder) / DECODED)
    return {"bytes": sum(map(len, streams)), **_machine()}


def read(codec: str, folder: str) -> dict[str, Any]:
    """Decode the streams in `folder` and compare.

    Returns:
        "pictures": for each whether all decoded "symbols" are equal and the largest "difference" of a pixel, in
        [0, 1]; or its "error". And the machine as it is here.
    """
    model, expected = load_codec(codec), load_file(Path(folder) / DECODED)
    outcomes = [
        _compared(
            model, _file(folder, number).read_bytes(), expected[f"symbols.{number}"], expected[f"pixels.{number}"]
        )
        for number in range(_COUNT)
    ]
    return {"pictures": outcomes, **_machine()}


def _compared(model: nn.Module, data: bytes, symbols: Tensor, pixels: Tensor) -> dict[str, Any]:
    try:
        decoded = _decoded(model, data)
    except Exception as error:  # whatever a codec of somebody raises, it does not decode
        return {"error": in_words(error)[:500]}
    difference = float((decoded["pixels"] - pixels).abs().max())
    return {"symbols": torch.equal(decoded["symbols"], symbols), "difference": difference}


def _file(folder: str, number: int) -> Path:
    return Path(folder) / f"{number}.icmh"


def pictures() -> Tensor:
    """Pictures (8, 3, 256, 384) in [0, 1] with detail at every scale, always the same ones."""
    generator = torch.Generator().manual_seed(0)
    total = torch.full((_COUNT, 3, _HEIGHT, _WIDTH), 0.5)
    for cell in (64, 32, 16, 8, 4, 2):
        noise = torch.randn(_COUNT, 3, _HEIGHT // cell, _WIDTH // cell, generator=generator)
        total += 0.002 * cell * nn.functional.interpolate(noise, (_HEIGHT, _WIDTH), mode="bilinear")
    return total.clamp(0, 1)


def _decoded(model: nn.Module, data: bytes) -> dict[str, Tensor]:
    with coding_mode(model):
        plan_of(model)  # found by a trial, whose symbols are not the stream's
    with _watched_symbols(model) as symbols:
        pixels = decode(model, data)
    return {"pixels": pixels.contiguous(), "symbols": torch.cat([torch.empty(0), *symbols])}


@contextmanager
def _watched_symbols(model: nn.Module) -> Iterator[list[Tensor]]:
    """A list that gets what the entropy models turn back from symbols to latents while the context lasts."""
    seen: list[Tensor] = []
    watched = [module for module in entropy_modules(model).values() if hasattr(module, "dequantize")]
    for module in watched:
        module.dequantize = _watching(module.dequantize, seen)
    try:
        yield seen
    finally:
        for module in watched:
            del module.dequantize


def _watching(dequantize: Callable[..., Tensor], seen: list[Tensor]) -> Callable[..., Tensor]:
    def watch(inputs: Tensor, *rest: Any, **options: Any) -> Tensor:
        seen.append(inputs.detach().float().reshape(-1))
        return dequantize(inputs, *rest, **options)

    return watch


def _machine() -> dict[str, Any]:
    return {"capability": torch.backends.cpu.get_cpu_capability(), "threads": torch.get_num_threads()}
