"""Write pairs to disk in DA-CLIP's layout."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from icmh_plugins.data.datasets import Sample
from icmh_plugins.data.images import write_image
from icmh_plugins.data.paired import GT, LQ
from icmh_plugins.errors import DataError


def write_pairs(samples: Iterable[Sample], root: str | Path, split: str = "train") -> Path:
    """Write samples as ``<root>/<split>/<word>/{LQ,GT}/<number>-<name>.png``, with 8 bits a channel.

    The folder appears when everything is written, or not at all.

    Args:
        samples: With "image", "clean" and "degradation", such as a `Degrade`.
        root: Of the tree; made if missing.
        split: "train" or "val", or another name of a folder.

    Returns:
        The folder written.

    Raises:
        DataError: The split is there already, a sample has no clean picture or one of another size, split or word is no
            name of a folder, or there are no samples.
    """
    _check_name(split, "the split")
    target = Path(root) / split
    if target.exists():
        raise DataError(f"{str(target)!r} exists already; give another root or split, or remove it")
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{split}-", dir=target.parent))
    try:
        count = sum(_write(sample, partial, index) for index, sample in enumerate(samples))
        if not count:
            raise DataError("there are no samples to write")
        partial.chmod(0o755)  # a temporary folder is private
        partial.rename(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return target


def _write(sample: Sample, folder: Path, index: int) -> bool:
    lacking = [key for key in ("clean", "degradation") if key not in sample]
    if lacking:
        raise DataError(f"sample {index} has no {' and no '.join(map(repr, lacking))}; give pairs, such as a Degrade")
    _check_name(sample["degradation"], f"the degradation of sample {index}")
    shapes = [tuple(sample[key].shape) for key in ("image", "clean")]
    if shapes[0] != shapes[1]:
        raise DataError(f"image and clean of sample {index} are {shapes[0]} and {shapes[1]}; pairs need equal sizes")
    name = f"{index:05d}-{PurePosixPath(str(sample.get('name', index))).stem}.png"
    for part, key in ((LQ, "image"), (GT, "clean")):
        path = folder / sample["degradation"] / part / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_image(path, sample[key])
    return True


def _check_name(name: str, what: str) -> None:
    """Refuse what would lead out of the tree, or be hidden in it."""
    if not isinstance(name, str) or not name or name.startswith(".") or {"/", "\\", "\0"} & set(name):
        raise DataError(f"{what} must be the name of a folder, such as 'val' or 'noisy', got {name!r}")
