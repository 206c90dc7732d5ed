"""Pictures for the demo's report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

import numpy as np
from torch import Tensor

from icmh_plugins.data.images import read_image
from icmh_plugins.demo.classifier import Answer
from icmh_plugins.demo.coding import HUMAN, MACHINE, Coded
from icmh_plugins.demo.training import Training
from icmh_plugins.viz.matplotlib import PALETTE, drawing
from icmh_plugins.viz.pictures import plot_pictures

_SMOOTHING = 0.06  # of the run's length


def draw_strip(original: Tensor, base: Coded, adapted: Coded, path: Path) -> None:
    """A picture, the base codec's, and both views of the adapted codec's stream, each with what the classifier says."""
    pictures = {
        f"Original\nuncompressed\n{_said(base.wanted)}": original,
        f"Base codec\n{_measured(base)}": read_image(base.views[HUMAN]),
        f"With SFMA\n{_measured(adapted)}": read_image(adapted.views[MACHINE]),
        f"The same stream\ndecoded for people\n{adapted.psnr_human:.1f} dB": read_image(adapted.views[HUMAN]),
    }
    plot_pictures(pictures, path)


def draw_training(log: Sequence[dict[str, float]], lmbda: float, path: Path) -> None:
    """Loss over steps with its two parts: every step pale, running means strong."""
    steps = np.array([row["step"] for row in log])
    lines = {
        "loss": np.array([row["loss"] for row in log]),
        "rate (bpp)": np.array([row["bpp"] for row in log]),
        "weighted distortion": lmbda * np.array([row["distortion"] for row in log]),
    }
    with drawing(path, 7.6, 3.4) as figure:
        axes = figure.add_subplot(xlabel="Step", ylabel="Loss = rate + weighted distortion")
        for (name, values), colour in zip(lines.items(), PALETTE, strict=False):
            axes.plot(steps, values, color=colour, alpha=0.25, linewidth=0.8)
            axes.plot(steps, _running_mean(values), color=colour, label=name)
        axes.set_ylim(bottom=0)
        axes.legend(frameon=False)


def training_caption(done: Training) -> str:
    """What the plot shows, and what was measured around it."""
    before, after = (
        f"{sum(row.bits for row in rows):,} bits, feature distance {fmean(row.distance for row in rows):.3f}"
        for rows in (done.before, done.after)
    )
    return (
        f"Live training: {done.steps} steps on {', '.join(done.trained_on)}. Real streams of the others "
        f"({', '.join(done.measured_on)}): {before} before, {after} after. So few pictures show that training works, "
        "not how well."
    )


def _running_mean(values: np.ndarray) -> np.ndarray:
    half = max(1, int(_SMOOTHING * len(values) / 2))
    return np.array([values[max(0, i - half) : i + half + 1].mean() for i in range(len(values))])


def _said(answer: Answer) -> str:
    return f"{answer.label}, {100 * answer.probability:.0f} %"


def _measured(coded: Coded) -> str:
    verdict = "same" if coded.same else "other"
    return f"{coded.bits:,} bits, {coded.psnr:.1f} dB\n{_said(coded.answer)} ({verdict})"
