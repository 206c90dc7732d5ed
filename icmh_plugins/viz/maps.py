"""Bit-allocation and spectrum maps of one picture: base codec, adapted codec, and their difference."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from icmh_plugins.adapters.activate import use_adapter
from icmh_plugins.adapters.host import require_host
from icmh_plugins.errors import AdapterError
from icmh_plugins.viz.latents import LatentMaps, latent_maps
from icmh_plugins.viz.matplotlib import MUTED, bare, drawing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

_BITS, _SPECTRUM, _DIFFERENCE = "inferno", "viridis", "RdBu_r"


def plot_maps(model: nn.Module, image: Tensor, path: str | Path) -> None:
    """Draw where the bits go and which frequencies the latent keeps, without and with the active adapters.

    Args:
        model: A codec with at least one active adapter.
        image: (3, H, W) in [0, 1].
        path: File to write.

    Raises:
        AdapterError: No adapter is active, so there is nothing to compare.
    """
    active = require_host(model).active
    if not active:
        raise AdapterError("no adapter is active: base and adapted maps would be the same. Remedy: set_adapter first")
    adapted = latent_maps(model, image)
    with use_adapter(model, None):
        base = latent_maps(model, image)
    draw_maps(image, base, adapted, path, name=" + ".join(active))


def draw_maps(image: Tensor, base: LatentMaps, adapted: LatentMaps, path: str | Path, name: str = "adapted") -> None:
    """Draw two sets of maps of one picture side by side, on shared scales, with their difference.

    Args:
        image: (3, H, W) in [0, 1].
        base: Maps of the base codec.
        adapted: Maps of the adapted codec.
        path: File to write.
        name: What the adapted codec is called.
    """
    aspect = image.shape[-2] / image.shape[-1]
    with drawing(path, 11, 11 / 4 * aspect * 2 + 1.5) as figure:
        axes = figure.subplots(2, 4)
        for ax in axes.flat:
            bare(ax)
        _picture(axes[0, 0], image, "Picture")
        _picture(axes[1, 0], adapted.decoded, f"Decoded, {name}")
        _bit_row(figure, axes[0, 1:], image, base.bits, adapted.bits, name)
        _spectrum_row(figure, axes[1, 1:], _decibels(base.spectrum), _decibels(adapted.spectrum), name)


def _bit_row(figure: Figure, axes: list[Axes], image: Tensor, base: Tensor, adapted: Tensor, name: str) -> None:
    top = float(max(base.max(), adapted.max()))
    for ax, bits, who in zip(axes, (base, adapted), ("base", name), strict=False):
        _grey(ax, image)
        shown = _over(ax, image, bits, cmap=_BITS, vmin=0, vmax=top)
        ax.set_title(f"Bits, {who}: {bits.mean():.3f}")
    _bar(figure, shown, axes[:2], "bits per latent element")
    difference = adapted - base
    limit = float(difference.abs().quantile(0.99)) or 1.0
    _grey(axes[2], image)
    shown = _over(axes[2], image, difference, cmap=_DIFFERENCE, vmin=-limit, vmax=limit)
    axes[2].set_title(f"Bits, {name} \N{MINUS SIGN} base")
    _bar(figure, shown, axes[2], "blue: fewer bits, red: more")


def _spectrum_row(figure: Figure, axes: list[Axes], base: Tensor, adapted: Tensor, name: str) -> None:
    low, high = (float(torch.stack([base, adapted]).quantile(q)) for q in (0.01, 1.0))
    for ax, spectrum, who in zip(axes, (base, adapted), ("base", name), strict=False):
        shown = ax.imshow(spectrum, cmap=_SPECTRUM, vmin=low, vmax=high)
        ax.set_title(f"Spectrum, {who}")
    _bar(figure, shown, axes[:2], "|FFT| of the latent (dB), zero frequency in the middle")
    limit = float((adapted - base).abs().quantile(0.99)) or 1.0
    shown = axes[2].imshow(adapted - base, cmap=_DIFFERENCE, vmin=-limit, vmax=limit)
    axes[2].set_title(f"Spectrum, {name} \N{MINUS SIGN} base")
    _bar(figure, shown, axes[2], "dB")


def _picture(ax: Axes, image: Tensor, title: str) -> None:
    ax.imshow(image.permute(1, 2, 0).clamp(0, 1))
    ax.set_title(title)


def _grey(ax: Axes, image: Tensor) -> None:
    ax.imshow(image.mean(0), cmap="gray", vmin=0, vmax=1)


def _over(ax: Axes, image: Tensor, values: Tensor, **style: object) -> AxesImage:
    """Lay a map over the picture it belongs to, upsampled."""
    height, width = image.shape[-2:]
    extent = (-0.5, width - 0.5, height - 0.5, -0.5)
    return ax.imshow(values, extent=extent, interpolation="bilinear", alpha=0.78, **style)


def _bar(figure: Figure, shown: AxesImage, axes: list[Axes] | Axes, label: str) -> None:
    bar = figure.colorbar(shown, ax=axes, orientation="horizontal", aspect=60, pad=0.02, fraction=0.05)
    bar.solids.set_alpha(1)
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=7, length=2, color=MUTED)
    bar.set_label(label, fontsize=7.5, color=MUTED)


def _decibels(spectrum: Tensor) -> Tensor:
    return 20 * spectrum.clamp_min(1e-6).log10()
