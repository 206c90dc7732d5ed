"""What the demo says between its tables."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

from icmh_plugins.demo.classifier import DISTANCE
from icmh_plugins.demo.coding import Coded
from icmh_plugins.demo.equal import bits_at_equal_distance
from icmh_plugins.demo.results import Results
from icmh_plugins.demo.tables import bits, change, same
from icmh_plugins.demo.training import Training


def opening(results: Results) -> str:
    """What will be done with what."""
    names = ", ".join(sample["name"] for sample in results.pictures)
    return (
        f"Pictures: {names}.\n"
        "Codecs: mbt2018-mean (N = 64, M = 96) at several rates, frozen.\n"
        "Adapters: SFMA as shipped, trained for another network (MobileNetV2) and to keep the picture.\n"
        "Classifier: EfficientNet-Lite0 with its ImageNet weights.\n\n"
        "Below, for each picture: bits of its stream file; PSNR and feature distance (0: no difference to the "
        "classifier) of the decoded picture; the answer (\N{CHECK MARK}: the one on the original).\n"
    )


def after_training(done: Training) -> str:
    """How the loss fell."""
    first, last = done.loss
    return (
        f"{done.steps} steps in {done.seconds:.0f} s on {', '.join(done.trained_on)}. "
        f"Loss {first:.3f} (mean of the first tenth of the steps), {last:.3f} (of the last)."
    )


def closing(results: Results) -> str:
    """What was shown, in numbers, as far as it was done."""
    points = [*_coded(results), *(_trained(results, results.training) if results.training else ())]
    return "\n".join(f"{number}. {point}" for number, point in enumerate(points, 1))


def look(folder: Path, report: Path) -> str:
    """Where everything is, and how to look at it."""
    return (
        f"\nIn {folder}: report.html, results.json, streams/ (.icmh), originals/ and views/ (PNG), curves/, training/\n"
        f"Look at the report:  python -m webbrowser {report.resolve().as_uri()}"
    )


def _coded(results: Results) -> list[str]:
    base, adapted = results.of("base"), results.of("sfma")
    rates = len({row.rate for row in base})
    return [
        f"{len(results.coded)} real streams: {len(results.pictures)} pictures at {rates} rates, without and with the "
        f"shipped adapters. With them {change(bits(base), bits(adapted))} bits, and the classifier's answer is kept "
        f"{same(adapted)} times (base: {same(base)}).",
        _at_equal_distance(results),
        f"Every adapted stream is also decoded for people, without adapter at the decoder: "
        f"{_psnr(adapted):.1f} dB on average, the base codec's streams {_psnr(base):.1f} dB.",
    ]


def _at_equal_distance(results: Results) -> str:
    rate = next(each.rate for each in results.comparisons if each.metric == DISTANCE)
    return f"At equal feature distance the adapters change the rate by (BD-rate): {rate.text('%')}."


def _trained(results: Results, done: Training) -> list[str]:
    before, after = (fmean(row.distance for row in rows) for rows in (done.before, done.after))
    return [
        f"Trained live on {', '.join(done.trained_on)}; measured on {', '.join(done.measured_on)}: "
        f"{change(bits(done.before), bits(done.after))} bits, mean feature distance {before:.3f} before, {after:.3f} "
        f"after.{_equal(results, done)} So few pictures show that training works, not how well.",
        "With the adapter off, the codec is bit for bit what it was: strings and pixels checked.",
    ]


def _equal(results: Results, done: Training) -> str:
    needed = bits_at_equal_distance(results.of("base"), done.after)
    if needed is None:
        return ""
    return f" Against the base codec at that distance (between its rates): {change(needed, bits(done.after))} bits."


def _psnr(rows: Sequence[Coded]) -> float:
    return fmean(row.psnr_human for row in rows)
