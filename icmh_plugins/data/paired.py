"""Pairs of pictures on disk: a degraded one and the clean one it came from, each pair in two folders of equal names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch.utils.data import Dataset

from icmh_plugins.data.datasets import Sample, Transform
from icmh_plugins.data.images import IMAGE_SUFFIXES, UNREADABLE, image_size, read_image
from icmh_plugins.errors import DataError, suggest

LQ, GT = "LQ", "GT"
"""DA-CLIP's names of the two folders of a word."""


@dataclass(frozen=True)
class Pair:
    """Two files of one picture.

    Attributes:
        degraded: What is coded.
        clean: What it should look like.
        word: The degradation, or "" where it is not known.
        name: In results.
    """

    degraded: Path
    clean: Path
    word: str
    name: str


class PairedImages(Dataset[Sample]):
    """Pairs of files: samples ``{"image": degraded, "clean": clean, "name": ...}`` and, where known, "degradation".

    Both pictures of a pair are read as RGB as `read_image` says (grey is repeated, transparency dropped, 16-bit grey
    scaled to [0, 1]) and transformed alike. Sample ``i`` of epoch ``e`` depends on (seed, e, i) only.
    """

    def __init__(self, pairs: Sequence[Pair], transform: Transform | None = None, seed: int = 0) -> None:
        """Check the header of every file, so that training does not stop at a bad pair hours later.

        Args:
            pairs: At least one.
            transform: Applied to both pictures of a pair with equal random numbers; see `data.transforms`.
            seed: Of its randomness.

        Raises:
            DataError: Files that are no pictures, or pairs of unequal size; the message gives the first three.
        """
        mistakes = [mistake for pair in pairs if (mistake := _mistake(pair))]
        if mistakes or not pairs:
            what = "; ".join(mistakes[:3]) or "there are none"
            raise DataError(f"{len(mistakes)} of {len(pairs)} pairs cannot be used: {what}. Mend or remove them")
        self.pairs, self.transform, self.seed, self.epoch = tuple(pairs), transform, seed, 0

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> Sample:
        row = range(len(self))[index]
        pair = self.pairs[row]
        images = {"image": read_image(pair.degraded), "clean": read_image(pair.clean)}
        if self.transform is not None:
            key = [self.seed, self.epoch, row]
            images = {k: self.transform(image, np.random.default_rng(key)) for k, image in images.items()}
        return {**images, "name": pair.name, **({"degradation": pair.word} if pair.word else {})}

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose random crops are drawn."""
        self.epoch = epoch


def match_folders(degraded: str | Path, clean: str | Path, word: str = "", prefix: str = "") -> list[Pair]:
    """Pair the pictures below two folders by their relative paths; the suffixes may differ, hidden files are left out.

    Args:
        degraded: Folder of what is coded.
        clean: Folder of what it should look like.
        word: The degradation, where known.
        prefix: Put before the names.

    Raises:
        DataError: A folder is missing or has no pictures, has one name twice, or one lacks pictures of the other.
    """
    folders = Path(degraded), Path(clean)
    left, right = (_by_stem(folder) for folder in folders)
    gaps = [f"{folder}/{stem}" for folder, lacking, other in zip(folders, (left, right), (right, left), strict=True)
            for stem in other if stem not in lacking]  # fmt: skip
    if gaps:
        raise DataError(f"{len(gaps)} pictures lack their other half: no {', '.join(gaps[:3])}; add or remove them")
    return [Pair(left[stem], right[stem], word, prefix + stem) for stem in sorted(left)]


def match_words(root: str | Path, split: str = "train", words: str | Sequence[str] | None = None) -> list[Pair]:
    """The pairs of a tree in DA-CLIP's layout, ``<root>/<split>/<word>/{LQ,GT}/...``.

    Args:
        root: Of the tree.
        split: "train" or "val", or another folder below `root`.
        words: The degradations to take, or one; None takes all that are there. Hidden folders are none.

    Raises:
        DataError: There is no such folder or word, or the pairs of a word are not complete.
    """
    folder = Path(root) / split
    if not folder.is_dir():
        raise DataError(f"there is no folder {str(folder)!r}; pairs lie in <root>/<split>/<word>/{LQ} and {GT}")
    found = sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    chosen = found if words is None else [words] if isinstance(words, str) else list(words)
    for word in chosen:
        if word not in found:
            raise DataError(f"{str(folder)!r} has no degradation {word!r}.{suggest(word, found)}")
    return [pair for word in chosen for pair in match_folders(folder / word / LQ, folder / word / GT, word, f"{word}/")]


def _by_stem(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise DataError(f"there is no folder {str(folder)!r}; check the path")
    found: dict[str, Path] = {}
    for path in sorted(p for p in folder.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file()):
        stem = path.relative_to(folder).with_suffix("").as_posix()
        if any(part.startswith(".") for part in stem.split("/")):
            continue
        if stem in found:
            raise DataError(f"{str(folder)!r} has {stem!r} twice, as {found[stem].name} and {path.name}; keep one")
        found[stem] = path
    if not found:
        raise DataError(f"no picture in {str(folder)!r}; looked for {', '.join(sorted(IMAGE_SUFFIXES))}")
    return found


def _mistake(pair: Pair) -> str:
    """What is wrong with a pair, "" if nothing is."""
    try:
        sizes = image_size(pair.degraded), image_size(pair.clean)
    except UNREADABLE as error:
        return f"{pair.name!r} ({error})"
    (h1, w1), (h2, w2) = sizes
    return "" if sizes[0] == sizes[1] else f"{pair.name!r} is {w1}x{h1} degraded and {w2}x{h2} clean"
