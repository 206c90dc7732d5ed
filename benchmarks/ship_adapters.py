"""Copy the adapters that `classification.py` trained into the package, with what was measured on their cards.

python benchmarks/ship_adapters.py runs/classification
"""

from __future__ import annotations

import argparse
from pathlib import Path

from classification import last_run
from measuring import CODECS

import icmh_plugins as icmh
from icmh_plugins.adapters.host import require_host
from icmh_plugins.evaluation.curves import RateCurve

TARGET = Path(__file__).parent.parent / "icmh_plugins" / "assets" / "adapters"
DATA = (
    "trained on COCO128 train, a third of 1,000 ImageNet sample images (a fifth of them left out) and half of BSDS500 "
    "train; some of these images are for research use only, and none is contained here"
)
MEASURED = ("bpp", "bpp-with-header", "psnr-rgb", "mobilenetv2/top1", "efficientnet/top1", "mobilenetv1/top1")
MEASURED_ON = "real streams of 650 ImageNet validation images, 224x224 crops"

SHIPPED = {"sfma": "sfma-classification", "sfma-faithful": "sfma-faithful"}
"""Names of the shipped adapters by method, without the rate."""


def ship(folder: Path, method: str, quality: int) -> None:
    """Load one trained adapter on its base and save it with its facts."""
    name = f"{SHIPPED[method]}-q{quality}"
    codec = icmh.load_codec(CODECS[quality - 1])
    icmh.load_adapter(codec, last_run(folder / method, quality) / method, name=name)
    facts = require_host(codec).record(name).metadata
    facts["options"]["checkpoint"] = Path(facts["options"]["checkpoint"]).name
    facts["data"] = DATA
    results = None
    if (folder / f"{method}.json").is_file():
        point = RateCurve.load(folder / f"{method}.json").points[quality - 1]
        results = {key: round(point.values[key], 4) for key in MEASURED}
    icmh.annotate(
        codec, name, results=results, measured_on=MEASURED_ON, license="apache-2.0", codec=CODECS[quality - 1]
    )
    icmh.save_adapter(codec, TARGET / name, name)


def main() -> None:
    """Ship all methods at all four rates."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    for method in SHIPPED:
        for quality in (1, 2, 3, 4):
            ship(folder, method, quality)


if __name__ == "__main__":
    main()
