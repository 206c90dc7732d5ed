"""Strips of pictures side by side: the original and what each view of its stream shows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from icmh_plugins.adapters.activate import use_adapter
from icmh_plugins.adapters.host import host_of
from icmh_plugins.bitstream.coding import decode, encode
from icmh_plugins.tasks.similarity import psnr
from icmh_plugins.viz.matplotlib import bare, drawing

_EACH = 3.4  # inches


def plot_pictures(pictures: Mapping[str, Tensor], path: str | Path) -> None:
    """Draw pictures of one size in a row, each under its caption.

    Args:
        pictures: (3, H, W) in [0, 1] by caption; a caption may have several lines.
        path: File to write.
    """
    height, width = next(iter(pictures.values())).shape[-2:]
    with drawing(path, _EACH * len(pictures), _EACH * height / width + 0.6) as figure:
        axes = figure.subplots(1, len(pictures), squeeze=False)[0]
        for ax, (caption, picture) in zip(axes, pictures.items(), strict=True):
            ax.imshow(picture.detach().cpu().permute(1, 2, 0).clamp(0, 1))
            ax.set_title(caption, fontsize=9)
            bare(ax)


def plot_views(model: nn.Module, image: Tensor, path: str | Path) -> None:
    """Draw a picture, what the base codec makes of it, and the views of the adapted codec's stream.

    Args:
        model: A codec with entropy tables; with active adapters, the stream's own and its human view are shown.
        image: (3, H, W) in [0, 1].
        path: File to write.
    """
    host = host_of(model)
    active = host.active if host else ()
    pictures = {"Original": image}
    with use_adapter(model, None) if active else torch.no_grad():
        stream = encode(model, image)
        _add(pictures, "Base codec", image, stream, decode(model, stream))
    if active:
        stream = encode(model, image)
        _add(pictures, "Human view", image, stream, decode(model, stream, views=["human"])["human"])
        _add(pictures, f"Machine view ({' + '.join(active)})", image, stream, decode(model, stream))
    plot_pictures(pictures, path)


def _add(pictures: dict[str, Tensor], name: str, image: Tensor, stream: bytes, decoded: Tensor) -> None:
    decoded = decoded[0].clamp(0, 1).cpu()
    bpp = 8 * len(stream) / (image.shape[-2] * image.shape[-1])
    fidelity = float(psnr(decoded[None], image[None].cpu()))
    pictures[f"{name}\n{bpp:.3f} bpp with header, {fidelity:.2f} dB"] = decoded
