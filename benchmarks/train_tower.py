"""Train the small CLIP tower that comes with the package: which of DA-CLIP's ten degradations does a picture have?

    python benchmarks/train_tower.py [--out icmh_plugins/assets/clip/tiny] [--samples N] [--epochs N]

Pictures: BSDS500 training and ImageNet training of the measuring data, every fifth held out. Each is cropped, degraded
by `icmh_plugins.data.degradations` or left clean, part of them coded by one of the shipped codecs (the tower looks
at decoded pictures), and reduced to the tower's size. The loss is cross-entropy of the image embedding against the text
tower's embeddings of the eleven words. Writes open_clip's local-dir layout and a card with the accuracy on the pictures
held out. Ten minutes on one core.
"""

from __future__ import annotations

import argparse
import json
import math
import textwrap
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import open_clip
import torch
from measuring import CODECS, data_folder
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

import icmh_plugins as icmh
from icmh_plugins.adapters.clip.conditioner import classify, degradation_words, load_conditioner
from icmh_plugins.codecs.padding import crop, pad
from icmh_plugins.data.degradations import CLEAN, WORDS, Degradation, degradation
from icmh_plugins.data.images import read_image
from icmh_plugins.data.transforms import RandomCrop

LABELS = (*WORDS, CLEAN)
SIDE = 128
CROPS = (128, 160, 192, 256, 320, 512)
"""Sides of the crops; pictures are enlarged to fit."""

MODEL = {
    "embed_dim": 64,
    "vision_cfg": {
        "image_size": SIDE, "patch_size": 8, "width": 96, "head_width": 32, "layers": 2,
        "no_ln_pre": True, "pool_type": "avg", "final_ln_after_pool": True,
    },
    "text_cfg": {"context_length": 2, "vocab_size": len(LABELS) + 1, "width": 32, "heads": 1, "layers": 1},
}  # fmt: skip
PREPROCESS = {
    "size": SIDE,
    "mean": [0.45] * 3,
    "std": [0.25] * 3,
    "interpolation": "bicubic",
    "resize_mode": "shortest",
}

WIDER = {
    "noisy": {"sigma": (8 / 255, 50 / 255)},
    "jpeg-compressed": {"quality": (5, 30)},
}
"""Where a wider range than the default makes the tower useful for more pictures."""

_DATA = (
    "Pictures of BSDS500 training and ImageNet training (for research use; the weights hold none of them), none of "
    "Kodak or ImageNet validation. Licence: Apache-2.0, like the package."
)


class Samples(NamedTuple):
    """Pictures (N, 3, S, S) as bytes, and the positions of their words (N,)."""

    pictures: Tensor
    labels: Tensor


def kinds() -> dict[str, Degradation]:
    """The ten degradations by word."""
    return {word: degradation(word, **WIDER.get(word, {})) for word in WORDS}


def pictures() -> tuple[list[Tensor], list[Tensor]]:
    """Pictures to train on, and every fifth, held out."""
    folders = (data_folder() / "bsds500_train", data_folder() / "imagenet_train")
    paths = [path for folder in folders for path in sorted(folder.rglob("*.jpg"))]
    read = [read_image(path) for path in paths]
    return [image for i, image in enumerate(read) if i % 5], read[::5]


@torch.no_grad()
def synthesise(images: Sequence[Tensor], count: int, seed: int, coded: float) -> Samples:
    """Make `count` samples, the words and pictures in turn; a share `coded` of them decoded from a codec."""
    codecs, words = [icmh.load_codec(name) for name in CODECS], kinds()
    rng, made, labels = np.random.default_rng(seed), [], []
    for index in range(count):
        label = LABELS[index % len(LABELS)]
        image = RandomCrop(int(rng.choice(CROPS)))(images[index % len(images)], rng)
        image = words[label](image, rng) if label in words else image
        if rng.random() < coded:
            image = decoded(codecs[rng.integers(len(codecs))], image)
        made.append(_reduced(image))
        labels.append(LABELS.index(label))
    return Samples(torch.stack(made), torch.tensor(labels))


def decoded(codec: nn.Module, image: Tensor) -> Tensor:
    """What a decoder gives for an image (3, H, W), from the codec's forward pass."""
    padded, size = pad(image[None], 64)
    return crop(codec(padded)["x_hat"], size)[0].clamp(0, 1)


def _reduced(image: Tensor) -> Tensor:
    small = F.interpolate(image[None], (SIDE, SIDE), mode="bicubic", antialias=True, align_corners=False)
    return small[0].clamp(0, 1).mul(255).round().byte()


def train(samples: Samples, epochs: int, batch: int = 32, lr: float = 1.5e-3) -> open_clip.CLIP:
    """Train from random weights: AdamW, one cycle, label smoothing, mirrored pictures."""
    torch.manual_seed(0)
    model = open_clip.CLIP(**json.loads(json.dumps(MODEL)))
    _whiten(model.visual.conv1, samples)
    steps = epochs * (len(samples.labels) // batch)
    optimiser = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, lr, total_steps=steps, pct_start=0.15)
    started, running = time.perf_counter(), 0.0
    for step, (pictures, labels) in enumerate(_batches(samples, epochs, batch)):
        with torch.autocast("cpu", torch.bfloat16):
            logits = _logits(model, pictures)
        loss = F.cross_entropy(logits.float(), labels, label_smoothing=0.05)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        running = 0.98 * running + 0.02 * loss.item()
        if step % 100 == 99:
            average = running / (1 - 0.98 ** (step + 1))
            print(f"step {step + 1}/{steps}  loss {average:.3f}  {time.perf_counter() - started:.0f} s", flush=True)
    return model.eval()


@torch.no_grad()
def _whiten(conv: nn.Conv2d, samples: Samples) -> None:
    """Let the patch embedding begin with cosine patterns of all frequencies, each of unit spread over the samples.

    With random filters, which see little but brightness, the tower takes many times longer to notice noise or blur.
    """
    count, channels, side = conv.weight.shape[:3]
    positions = torch.arange(side) + 0.5
    waves = torch.stack([torch.cos(math.pi * positions * frequency / side) for frequency in range(side)])
    pairs = sorted(((i, j) for i in range(side) for j in range(side)), key=sum)
    grey, colour = torch.ones(channels), torch.tensor([[1.0, -1.0, 0.0], [0.5, 0.5, -1.0]])
    coloured = max(count // 5, count - side**2)
    for row in range(count):
        here = row - (count - coloured)
        i, j = pairs[here // 2] if here >= 0 else pairs[row * (len(pairs) - 1) // (count - coloured - 1)]
        tint = colour[here % 2] if here >= 0 else grey
        conv.weight[row] = tint[:, None, None] * torch.outer(waves[i], waves[j])
    spread = conv(_normalised(samples.pictures[:256])).std((0, 2, 3))
    conv.weight.div_(spread[:, None, None, None])


def _normalised(pictures: Tensor) -> Tensor:
    mean, std = (torch.tensor(PREPROCESS[key]).view(1, 3, 1, 1) for key in ("mean", "std"))
    return (pictures.float() / 255 - mean) / std


def _logits(model: open_clip.CLIP, pictures: Tensor) -> Tensor:
    image = model.encode_image(pictures, normalize=True)
    words = model.encode_text(torch.tensor([[i, len(LABELS)] for i in range(len(LABELS))]), normalize=True)
    return model.logit_scale.exp().clamp(max=100) * image @ words.T


def _batches(samples: Samples, epochs: int, batch: int) -> Iterator[tuple[Tensor, Tensor]]:
    for _ in range(epochs):
        order = torch.randperm(len(samples.labels))
        for rows in order[: len(order) // batch * batch].split(batch):
            pictures, mirrored = _normalised(samples.pictures[rows]), torch.rand(len(rows), 1, 1, 1) < 0.5
            yield torch.where(mirrored, pictures.flip(-1), pictures), samples.labels[rows]


def write(model: open_clip.CLIP, folder: Path) -> None:
    """Write the weights in fp16 and the configuration, as open_clip's ``local-dir:`` reads them."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {key: tensor.half().contiguous() for key, tensor in model.state_dict().items()}
    save_file(state, folder / "open_clip_model.safetensors", metadata={"format": "pt"})
    config = {"model_cfg": MODEL, "preprocess_cfg": PREPROCESS, "words": LABELS}
    (folder / "open_clip_config.json").write_text(json.dumps(config, indent=1) + "\n")


@torch.no_grad()
def accuracy(folder: Path, samples: Samples) -> dict[str, float]:
    """Share of the samples whose word is found, by word, with the files in `folder`; "clean" may be chosen too."""
    conditioner = load_conditioner(f"local-dir:{folder}")
    _, prototypes = degradation_words(f"local-dir:{folder}")
    found = [
        classify(conditioner(part.float() / 255).degradation, prototypes).argmax(1)
        for part in samples.pictures.split(64)
    ]
    right = (torch.cat(found) == samples.labels).double()
    return {word: float(right[samples.labels == i].mean()) for i, word in enumerate(LABELS)}


def card(folder: Path, results: dict[str, dict[str, float]], count: int, facts: str) -> None:
    """Write what the tower is and what was measured."""
    rows = [
        f"| {word} | {' | '.join(f'{100 * scores[word]:.0f} %' for scores in results.values())} |" for word in LABELS
    ]
    ten = [f"{100 * sum(scores[word] for word in WORDS) / len(WORDS):.1f} %" for scores in results.values()]
    weights = folder / "open_clip_model.safetensors"
    made = textwrap.fill(f"`benchmarks/train_tower.py`: {facts} {_DATA}", 120)
    text = f"""# A small CLIP tower that knows degradations

An open_clip model (`open_clip_config.json`, `open_clip_model.safetensors`, fp16, {weights.stat().st_size // 1000} kB),
made for this project so that the ll-icm adapter runs without downloads. Its text tower knows eleven words, DA-CLIP's
ten and "clean": token i is word i of "words" in the configuration, token 11 ends. It knows nothing of what pictures
show: for that, give CLIP or DA-CLIP weights (`docs/ll-icm.md`).

## Measured

Share of samples whose word is found among the eleven, on {count} samples of pictures that were held out (every fifth),
degraded as in training, in crops of 128 to 512 pixels; and the same after coding by one of the four shipped codecs.

| word | {" | ".join(results)} |
|---|{"---|" * len(results)}
{chr(10).join(rows)}
| **mean of the ten** | {" | ".join(f"**{value}**" for value in ten)} |

Chance is 9 %. All degradations are synthetic; on real ones expect less.

## How it was made

{made}
"""
    (folder / "README.md").write_text(text)


def main() -> None:
    """Synthesise, train, write, measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(icmh.__file__).parent / "assets" / "clip" / "tiny")
    parser.add_argument("--samples", type=int, default=7000)
    parser.add_argument("--coded", type=float, default=0.2, help="share of the samples that pass a codec")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.set_flush_denormal(True)
    seen, unseen = pictures()
    started = time.process_time()
    samples = synthesise(seen, args.samples, seed=0, coded=args.coded)
    print(f"{args.samples} samples in {time.process_time() - started:.0f} s of processor time", flush=True)
    model = train(samples, args.epochs)
    minutes = math.ceil((time.process_time() - started) / 60)
    write(model, args.out)
    count = len(unseen) * len(LABELS)
    shares = {"degraded": 0.0, "degraded and coded": 1.0}
    results = {name: accuracy(args.out, synthesise(unseen, count, seed=1, coded=c)) for name, c in shares.items()}
    visual = sum(parameter.numel() for parameter in model.visual.parameters())
    facts = (
        f"{visual / 1e6:.2f} M visual parameters, {args.samples} samples of {len(seen)} pictures, {args.coded:.0%} of "
        f"them coded, {args.epochs} epochs in bfloat16, {minutes} minutes of processor time on {args.threads} core."
    )
    card(args.out, results, count, facts)
    print((args.out / "README.md").read_text())


if __name__ == "__main__":
    main()
