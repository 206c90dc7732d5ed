"""What the padding of a picture costs, by what is put there: bits of real streams, and PSNR of the picture.

    python benchmarks/padding.py

On the ImageNet training pictures on which settings are chosen, 224x224; the base codecs need multiples of 64, and code
256x256. "zeros" is what CompressAI's evaluation puts around a picture (here right and below); of the smooth ones the
number is the filter's order. Writes results/padding.json and a Markdown table.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial

import torch
from measuring import CODECS, RESULTS, selection_pictures
from torch import Tensor, nn
from torch.nn import functional as F

import icmh_plugins as icmh
from icmh_plugins.codecs.padding import crop, extend
from icmh_plugins.tasks.similarity import psnr

SIDE = 256
PADDINGS: dict[str, Callable[[Tensor], Tensor]] = {
    "zeros": lambda x: F.pad(x, (0, SIDE - x.shape[-1], 0, SIDE - x.shape[-2])),
    **{f"smooth {order}" if order else "repeated": partial(extend, height=SIDE, width=SIDE, order=order)
       for order in (0, 2, 12, 24)},
}  # fmt: skip


@torch.no_grad()
def measured(codec: nn.Module, pictures: Sequence[Tensor], padding: Callable[[Tensor], Tensor]) -> dict[str, float]:
    """Mean bits per pixel and PSNR of pictures (1, 3, H, W) that are padded so before they are coded."""
    bits, quality = 0, 0.0
    for picture in pictures:
        coded = codec.compress(padding(picture))
        decoded = crop(codec.decompress(**coded)["x_hat"], picture.shape[-2:])
        bits += 8 * sum(len(string) for strings in coded["strings"] for string in strings)
        quality += float(psnr(decoded, picture))
    pixels = sum(picture.shape[-2:].numel() for picture in pictures)
    return {"bpp": bits / pixels, "psnr-rgb": quality / len(pictures)}


def main() -> None:
    """Measure everything and write it."""
    torch.set_num_threads(1)
    pictures, results = [sample["image"][None] for sample in selection_pictures()], {}
    for quality, name in enumerate(CODECS, start=1):
        codec = icmh.load_codec(name)
        results[f"q{quality}"] = {key: measured(codec, pictures, padding) for key, padding in PADDINGS.items()}
    (RESULTS / "padding.json").write_text(json.dumps(results, indent=1) + "\n")
    print("| codec |", " | ".join(PADDINGS), "|")
    print("|---|", "---|" * len(PADDINGS), sep="")
    for codec, found in results.items():
        before = found["repeated"]
        cells = [
            f"{100 * (each['bpp'] / before['bpp'] - 1):+.1f} %, {each['psnr-rgb'] - before['psnr-rgb']:+.2f} dB"
            for each in found.values()
        ]
        print("|", " | ".join([codec, *cells]), "|")


if __name__ == "__main__":
    main()
