"""Datasets of pictures, with or without labels, whose random crops a resumed run repeats exactly."""

from __future__ import annotations

import copy
import csv
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from torch import Tensor
from torch.utils.data import Dataset

from icmh_plugins.data.images import IMAGE_SUFFIXES, read_image
from icmh_plugins.data.mistakes import refuse_mistakes
from icmh_plugins.errors import DataError

Transform = Callable[[Tensor, np.random.Generator], Tensor]
"""Maps an image (3, H, W) in [0, 1] to another; all its randomness comes from the generator."""

Sample = dict[str, Any]
"""``{"image": (3, H, W) float in [0, 1], "name": str}`` and, where there are labels, ``"target": int``."""

D = TypeVar("D", bound="ImageFiles")


class ImageFiles(Dataset[Sample]):
    """Picture files, optionally with one label each.

    Sample ``i`` of epoch ``e`` depends on (seed, e, i) only: not on the order of access, the number of workers or
    what was read before. Workers copy the dataset when they start, so `set_epoch` must be called before the loader
    is iterated, and a loader with `persistent_workers` would miss it.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        names: Sequence[str],
        targets: Sequence[int] | None = None,
        transform: Transform | None = None,
        seed: int = 0,
    ) -> None:
        """Keep the list; pictures are read when asked for.

        Args:
            paths: The files.
            names: What each is called in results.
            targets: A label each, or None.
            transform: Applied to every image.
            seed: Of all randomness of `transform`.
        """
        self.paths, self.names, self.targets = tuple(paths), tuple(names), targets and tuple(targets)
        self.transform, self.seed, self.epoch = transform, seed, 0
        self.rows = range(len(self.paths))

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Sample:
        row = self.rows[index]
        sample: Sample = {"image": read_image(self.paths[row]), "name": self.names[row]}
        if self.transform is not None:
            sample["image"] = self.transform(sample["image"], np.random.default_rng([self.seed, self.epoch, row]))
        if self.targets is not None:
            sample["target"] = self.targets[row]
        return sample

    @property
    def fingerprint(self) -> str:
        """A SHA-256 of the names and labels of the rows taken."""
        taken = [[self.names[row], self.targets and self.targets[row]] for row in self.rows]
        return hashlib.sha256(json.dumps(taken).encode()).hexdigest()

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose random crops are drawn."""
        self.epoch = epoch

    def take(self: D, rows: slice) -> D:
        """The same data restricted to some rows: ``take(slice(None, None, 5))`` is every fifth."""
        part = copy.copy(self)
        part.rows = self.rows[rows]
        return part


class ImageFolder(ImageFiles):
    """All pictures below a folder, sorted by path; named by their path relative to it."""

    def __init__(self, folder: str | Path, transform: Transform | None = None, seed: int = 0) -> None:
        """List the files.

        Raises:
            DataError: There is no such folder, or no picture in it.
        """
        root = Path(folder)
        if not root.is_dir():
            raise DataError(f"there is no folder {str(root)!r}; check the path")
        paths = sorted(p for p in root.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file())
        if not paths:
            raise DataError(f"no picture in {str(root)!r}; looked for {', '.join(sorted(IMAGE_SUFFIXES))}")
        super().__init__(paths, [p.relative_to(root).as_posix() for p in paths], None, transform, seed)


class LabelledImages(ImageFiles):
    """Pictures and labels listed in a CSV file.

    The first line may name the columns: "file" and "label" anywhere, or "file" and one other, which has the labels.
    Without such a line the first two columns are file and label. Paths are relative to the CSV file's folder.
    """

    def __init__(self, table: str | Path, transform: Transform | None = None, seed: int = 0) -> None:
        """Read the list and check all of it, so that training does not stop at a missing file hours later.

        Raises:
            DataError: The table is missing or empty, its first line is neither a header nor a row, or it lists
                missing files, a file twice, or labels that are not integers from 0 up; the message gives the first of
                each.
        """
        table = Path(table)
        if not table.is_file():
            raise DataError(f"there is no table {str(table)!r}; check the path")
        rows = _read_rows(table)
        paths = [table.parent / name for name, _ in rows]
        mistakes = {
            "labels that are not integers from 0 up": [f"{n}: {label!r}" for n, label in rows if not label.isdecimal()],
            "files that do not exist": [n for (n, _), path in zip(rows, paths, strict=True) if not path.is_file()],
            "files listed twice": [n for n, times in Counter(n for n, _ in rows).items() if times > 1],
        }
        refuse_mistakes(table, mistakes, "mend the table")
        super().__init__(paths, [name for name, _ in rows], [int(label) for _, label in rows], transform, seed)


def _read_rows(table: Path) -> list[tuple[str, str]]:
    """Pairs (file, label) as text, without the header."""
    with table.open(newline="", encoding="utf-8-sig") as file:
        lines = [[cell.strip() for cell in line] for line in csv.reader(file) if any(cell.strip() for cell in line)]
    header = _header(table, lines[0]) if lines else None
    lines, columns = (lines, (0, 1)) if header is None else (lines[1:], header)
    short = [line for line in lines if len(line) <= max(columns)]
    if short or not lines:
        what = f"the line {','.join(short[0])!r} with too few columns" if short else "no rows"
        raise DataError(f"{str(table)!r} has {what}; each line needs a file and an integer label")
    return [(line[columns[0]], line[columns[1]]) for line in lines]


def _header(table: Path, first: Sequence[str]) -> tuple[int, int] | None:
    """Where the first line says that file and label stand; None if it is a row itself."""
    if len(first) < 2 or first[1].isdecimal():
        return None
    names = [cell.lower() for cell in first]
    if "file" in names and "label" in names:
        return names.index("file"), names.index("label")
    if "file" in names and len(names) == 2:
        return names.index("file"), 1 - names.index("file")
    raise DataError(
        f"{str(table)!r} begins with {','.join(first)!r}, which neither names the columns file and label nor is a file "
        "with an integer label. Remedy: write 'file,label' as the first line, or mend the label"
    )
