"""A strip of pictures side by side: the original and what each view of its stream shows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from icmh_plugins.viz.matplotlib import bare, drawing


def plot_pictures(pictures: Mapping[str, Tensor], path: str | Path) -> None:
    """Draw pictures of one size in a row, each under its caption.

    Args:
        pictures: (3, H, W) in [0, 1] by caption; a caption may have several lines.
        path: File to write.
    """
    height, width = next(iter(pictures.values())).shape[-2:]
    lines = max(caption.count("\n") for caption in pictures) + 1
    each = 3.4
    with drawing(path, each * len(pictures), each * height / width + 0.2 * lines + 0.1) as figure:
        for ax, (caption, picture) in zip(
            figure.subplots(1, len(pictures), squeeze=False)[0], pictures.items(), strict=True
        ):
            ax.imshow(picture.detach().cpu().permute(1, 2, 0).clamp(0, 1))
            ax.set_title(caption, fontsize=9)
            bare(ax)
