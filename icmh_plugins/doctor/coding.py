"""One stream made, and decoded again elsewhere: each half runs in a process of its own.

"Elsewhere" is the same machine with its instruction sets or threads limited by environment variables, which must be
set before torch is imported.
"""

from __future__ import annotations

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

STREAM, DECODED = "stream.icmh", "decoded.safetensors"

_COUNT, _HEIGHT, _WIDTH = 4, 256, 384


def make(codec: str, folder: str) -> dict[str, Any]:
    """Code pictures with `codec`, and leave in `folder` the stream and what it decodes to here.

    Returns:
        "bytes" of the stream, and the machine as it is here.
    """
    model = load_codec(codec)
    data = encode(model, pictures())
    (Path(folder) / STREAM).write_bytes(data)
    save_file(_decoded(model, data), Path(folder) / DECODED)
    return {"bytes": len(data), **_machine()}


def read(codec: str, folder: str) -> dict[str, Any]:
    """Decode the stream in `folder` and compare.

    Returns:
        "symbols": whether all decoded symbols are equal; "difference": the largest of a pixel, in [0, 1]; or "error".
        And the machine as it is here.
    """
    expected = load_file(Path(folder) / DECODED)
    try:
        decoded = _decoded(load_codec(codec), (Path(folder) / STREAM).read_bytes())
    except Exception as error:  # whatever a codec of somebody raises, it does not decode
        return {"error": f"{type(error).__name__}: {' '.join(str(error).split())}"[:500], **_machine()}
    same = torch.equal(decoded["symbols"], expected["symbols"])
    difference = float((decoded["pixels"] - expected["pixels"]).abs().max())
    return {"symbols": same, "difference": difference, **_machine()}


def pictures() -> Tensor:
    """Pictures (4, 3, 256, 384) in [0, 1] with detail at every scale, always the same ones."""
    generator = torch.Generator().manual_seed(0)
    total = torch.full((_COUNT, 3, _HEIGHT, _WIDTH), 0.5)
    for cell in (64, 32, 16, 8, 4, 2):
        noise = torch.randn(_COUNT, 3, _HEIGHT // cell, _WIDTH // cell, generator=generator)
        total += 0.002 * cell * nn.functional.interpolate(noise, (_HEIGHT, _WIDTH), mode="bilinear")
    return total.clamp(0, 1)


def _decoded(model: nn.Module, data: bytes) -> dict[str, Tensor]:
    with coding_mode(model):
        plan_of(model)  # found by a trial, whose symbols are not the stream's
    symbols = _watched_symbols(model)
    pixels = decode(model, data)
    return {"pixels": pixels.contiguous(), "symbols": torch.cat([torch.empty(0), *symbols])}


def _watched_symbols(model: nn.Module) -> list[Tensor]:
    """A list that gets what the entropy models turn back from symbols to latents, from now on."""
    seen: list[Tensor] = []

    def watch(module: Any) -> None:
        original = module.dequantize

        def dequantize(inputs: Tensor, *rest: Any, **options: Any) -> Tensor:
            seen.append(inputs.detach().float().reshape(-1))
            return original(inputs, *rest, **options)

        module.dequantize = dequantize

    for module in entropy_modules(model).values():
        if hasattr(module, "dequantize"):
            watch(module)
    return seen


def _machine() -> dict[str, Any]:
    return {"capability": torch.backends.cpu.get_cpu_capability(), "threads": torch.get_num_threads()}
