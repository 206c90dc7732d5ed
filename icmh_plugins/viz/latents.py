"""What a codec writes down for one picture: its latent, where the bits go, and which frequencies it keeps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from icmh_plugins.adapters.host import unwrap
from icmh_plugins.codecs.entropy import entropy_modules
from icmh_plugins.codecs.padding import pad_for
from icmh_plugins.errors import CodecError


@dataclass(frozen=True)
class LatentMaps:
    """Maps of one picture, as in Fig. 2 of the SFMA paper (Adapt-ICMH, ECCV 2024). All on the CPU.

    Attributes:
        y_hat: The quantised latent that the synthesis gets, (C, h, w).
        bits: -log2 of the likelihood of y_hat, mean over channels, (h, w). Bits for an element, an estimate.
        spectrum: |FFT(y_hat)| over the two axes, zero frequency in the middle, mean over channels, (h, w).
        decoded: The decoded picture, (3, H, W) in [0, 1].
    """

    y_hat: Tensor
    bits: Tensor
    spectrum: Tensor
    decoded: Tensor


@torch.no_grad()
def latent_maps(model: nn.Module, image: Tensor) -> LatentMaps:
    """Run `model` as it is set now (adapters included) and look at its largest latent.

    Args:
        model: Any codec in eval mode.
        image: (3, H, W) in [0, 1]; padded as for coding, the maps cover the picture only.

    Raises:
        CodecError: No tensor that enters the synthesis has the size of the likelihoods.
    """
    root = unwrap(model)
    padded, (height, width) = pad_for(root, image[None])
    with _after_entropy(root) as seen:
        out = model(padded)
    likelihoods = max(out["likelihoods"].values(), key=torch.Tensor.numel)
    latent = _synthesis_input(seen, likelihoods)
    rows, columns = (
        -(-size * cells // full)
        for size, cells, full in zip((height, width), latent.shape[-2:], padded.shape[-2:], strict=True)
    )
    y_hat = latent[0, :, :rows, :columns].float().cpu()
    return LatentMaps(
        y_hat=y_hat,
        bits=-likelihoods[0, :, :rows, :columns].float().log2().mean(0).cpu(),
        spectrum=torch.fft.fftshift(torch.fft.fft2(y_hat), dim=(-2, -1)).abs().mean(0),
        decoded=out["x_hat"][0, :, :height, :width].float().clamp(0, 1).cpu(),
    )


@contextmanager
def _after_entropy(model: nn.Module) -> Iterator[list[Tensor]]:
    """Collect the first input of every module that runs after the last entropy model."""
    seen: list[Tensor] = []

    def collect(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        seen.extend(value for value in inputs[:1] if isinstance(value, Tensor))

    def forget(module: nn.Module, inputs: Any, output: Any) -> None:
        seen.clear()

    handles = [module.register_forward_pre_hook(collect) for module in model.modules()]
    handles += [module.register_forward_hook(forget) for module in entropy_modules(model).values()]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def _synthesis_input(seen: list[Tensor], likelihoods: Tensor) -> Tensor:
    """The first tensor with as many elements as the likelihoods, as (B, C, h, w); tokens are unfolded."""
    batch, channels, height, width = likelihoods.shape
    for value in seen:
        if value.shape == likelihoods.shape:
            return value
        if value.shape == (batch, height * width, channels):
            return value.transpose(1, 2).reshape(likelihoods.shape)
    shapes = ", ".join(str(tuple(value.shape)) for value in seen[:6]) or "none"
    raise CodecError(
        f"No module after the entropy models takes a tensor of shape {tuple(likelihoods.shape)} (first inputs: "
        f"{shapes}), so the quantised latent of this codec cannot be shown."
    )
