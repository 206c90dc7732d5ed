"""The demo's live training: a fresh SFMA on some of the pictures, measured by real streams on the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from icmh_plugins.adapters.attach import attach_adapter
from icmh_plugins.adapters.identity import verify_identity
from icmh_plugins.codecs.loading import load_codec
from icmh_plugins.data.datasets import Sample
from icmh_plugins.demo.classifier import EfficientNetLite0
from icmh_plugins.demo.coding import Coded, code
from icmh_plugins.demo.settings import Settings
from icmh_plugins.training.fit import fit

CODEC, RATE, NAME = "mbt2018-mean-n64m96-q3", "q3", "sfma-live"
_ADAPTER = {"middle_dim": 32}
# Chosen by a few tries on the nine photographs themselves, so what is measured on them is a show, not a result.
_RECIPE = {"lmbda": 1.3, "lr": 5e-4, "warmup": 50, "log_every": 1}


@dataclass(frozen=True)
class Training:
    """What live training did.

    Attributes:
        steps: Done.
        seconds: They took.
        trained_on: Names of pictures.
        measured_on: Names of the others.
        log: A row a step: "step", "loss", "bpp", "distortion", ...
        lmbda: Weight of the distortion in the loss.
        before: The other pictures coded with the fresh adapter, which changes nothing yet.
        after: The same with the trained adapter.
        adapter: Its folder.
    """

    steps: int
    seconds: float
    trained_on: tuple[str, ...]
    measured_on: tuple[str, ...]
    log: list[dict[str, float]]
    lmbda: float
    before: list[Coded]
    after: list[Coded]
    adapter: Path

    @property
    def loss(self) -> tuple[float, float]:
        """Mean of the first and of the last tenth of the steps."""
        losses, tenth = [row["loss"] for row in self.log], -(-len(self.log) // 10)
        return sum(losses[:tenth]) / tenth, sum(losses[-tenth:]) / tenth


def split(pictures: Sequence[Sample]) -> tuple[list[Sample], list[Sample]]:
    """The first two thirds to train on, and the others."""
    others = max(1, len(pictures) // 3)
    return list(pictures[:-others]), list(pictures[-others:])


def train(
    classifier: EfficientNetLite0,
    seen: Sequence[Sample],
    unseen: Sequence[Sample],
    out: Path,
    settings: Settings,
    seed: int,
    progress: bool,
) -> Training:
    """Attach a fresh SFMA to the codec of the third rate, measure, train, measure again.

    Args:
        classifier: What the adapter is trained for.
        seen: What to train on; a picture may be there at several sizes.
        unseen: What to measure on.
        out: Folder of the demo; the adapter goes to ``training``.
        settings: Steps, batch and crop.
        seed: Of the adapter's initialisation, the crops and their order.
        progress: Show progress bars.
    """
    codec = load_codec(CODEC)
    torch.manual_seed(seed)
    attach_adapter(codec, "sfma", name=NAME, **_ADAPTER)
    _, before = code(codec, classifier, unseen, out, rate=RATE, codec="fresh", name=NAME, progress=False)
    run = fit(
        codec, classifier, list(seen) * settings.batch_size, out=out / "training", progress=progress, seed=seed,
        steps=settings.steps, batch_size=settings.batch_size, crop=settings.crop, **_RECIPE,
    )  # fmt: skip
    _, after = code(codec, classifier, unseen, out, rate=RATE, codec="live", name=NAME, progress=False)
    verify_identity(codec)
    return Training(
        steps=run.steps,
        seconds=run.seconds,
        trained_on=tuple(dict.fromkeys(sample["name"] for sample in seen)),
        measured_on=tuple(sample["name"] for sample in unseen),
        log=run.history,
        lmbda=_RECIPE["lmbda"],
        before=before,
        after=after,
        adapter=out / "training" / NAME,
    )
