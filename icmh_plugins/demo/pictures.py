"""The pictures of the demo: nine photographs that installed packages bring along, or a folder of the user's."""

from __future__ import annotations

from pathlib import Path

from icmh_plugins.data.datasets import Sample
from icmh_plugins.data.images import IMAGE_SUFFIXES, read_image
from icmh_plugins.data.resize import resize_shorter_side
from icmh_plugins.demo.extra import package_file
from icmh_plugins.errors import DataError

PHOTOGRAPHS = {
    "astronaut": ("skimage", "data/astronaut.png"),
    "motorcycle": ("skimage", "data/motorcycle_left.png"),
    "hubble": ("skimage", "data/hubble_deep_field.jpg"),
    "flower": ("sklearn", "datasets/images/flower.jpg"),
    "hopper": ("matplotlib", "mpl-data/sample_data/grace_hopper.jpg"),
    "rocket": ("skimage", "data/rocket.jpg"),
    "cat": ("skimage", "data/chelsea.png"),
    "coffee": ("skimage", "data/coffee.png"),
    "china": ("sklearn", "datasets/images/china.jpg"),
}
"""By name the package and the file in it. All are inside the wheels themselves: nothing is downloaded."""

MOST = 12
"""Pictures that are taken from a user's folder."""


def load_pictures(folder: Path | None, count: int | None, side: int) -> list[Sample]:
    """Read pictures, whole, resized so that the shorter side is `side` pixels.

    Args:
        folder: Where to look, subfolders included; None takes the nine photographs.
        count: Take so many from the end; None takes the nine, or the first 12 of a folder.
        side: In pixels.

    Raises:
        MissingDependencyError: A package that brings photographs is not installed.
        DataError: There are fewer than two pictures, or a file cannot be read.
    """
    paths = _found(folder) if folder else {name: package_file(*where) for name, where in PHOTOGRAPHS.items()}
    names = list(paths)[-count:] if count else list(paths)
    return [{"image": resize_shorter_side(read_image(paths[name]), side).clamp(0, 1), "name": name} for name in names]


def _found(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise DataError(f"there is no folder {str(folder)!r}; check --images")
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file())
    if len(paths) < 2:
        raise DataError(
            f"{str(folder)!r} has {len(paths)} pictures; the demo trains on some and measures on others, so give two "
            "or more"
        )
    return {"-".join(path.relative_to(folder).with_suffix("").parts): path for path in paths[:MOST]}
