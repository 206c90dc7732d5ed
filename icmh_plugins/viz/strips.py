"""Strips of restored pictures: the ideal, what was coded, what the codec decodes, what the adapter makes of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from icmh_plugins.bitstream.coding import decode, encode
from icmh_plugins.errors import DataError
from icmh_plugins.tasks.similarity import psnr
from icmh_plugins.viz.matplotlib import bare, drawing

_EACH = 3.0  # inches


@torch.no_grad()
def restoration_strip(model: nn.Module, sample: Mapping[str, Any]) -> dict[str, Tensor]:
    """Code a degraded picture to a real stream and decode its views.

    Args:
        model: A codec with entropy tables and the adapters to show active.
        sample: "image" (3, H, W), what is coded, and "clean", of the same size.

    Returns:
        Pictures (3, H, W) by caption: the ideal; x; x_hat, the human view; x_hat_H, the stream's own view. Captions
        have the PSNR to the ideal and the rate with header.

    Raises:
        DataError: There is no clean picture.
    """
    if "clean" not in sample:
        raise DataError("a strip of restoration needs 'clean' beside 'image'; give a sample of pairs")
    image, ideal = sample["image"], sample["clean"]
    stream = encode(model, image)
    views = decode(model, stream, views=["human"])
    bpp = 8 * len(stream) / (image.shape[-2] * image.shape[-1])
    return {
        "ideal": ideal,
        _caption("x, coded", image, ideal): image,
        _caption(f"x_hat, {bpp:.3f} bpp", views["human"][0], ideal): views["human"][0],
        _caption("x_hat_H, restored", own := decode(model, stream)[0], ideal): own,
    }


def plot_strips(strips: Mapping[str, Mapping[str, Tensor]], path: str | Path) -> None:
    """Draw strips below each other, each with its title at the left.

    Args:
        strips: Pictures (3, H, W) in [0, 1] by caption, of one size in a strip, by title ("noisy").
        path: File to write.
    """
    columns = max(map(len, strips.values()))
    shapes = [next(iter(strip.values())).shape for strip in strips.values()]
    heights = [_EACH * shape[-2] / shape[-1] + 0.3 for shape in shapes]
    with drawing(path, _EACH * columns + 0.3, sum(heights)) as figure:
        grid = figure.subplots(len(strips), columns, squeeze=False, height_ratios=heights)
        for row, (title, strip) in zip(grid, strips.items(), strict=True):
            for ax in row:
                bare(ax)
            for ax, (caption, picture) in zip(row, strip.items(), strict=False):
                ax.imshow(picture.detach().cpu().permute(1, 2, 0).clamp(0, 1))
                ax.set_title(caption, fontsize=8, fontweight="normal")
            row[0].set_ylabel(title, fontweight="bold")


def _caption(name: str, picture: Tensor, ideal: Tensor) -> str:
    return f"{name}: {float(psnr(picture[None].clamp(0, 1).cpu(), ideal[None].cpu())):.2f} dB"
