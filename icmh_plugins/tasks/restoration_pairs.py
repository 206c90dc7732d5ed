"""BasicSR's `PairedImageDataset` as a source of our samples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch.utils.data import Dataset

from icmh_plugins.data.datasets import Sample
from icmh_plugins.data.paired import Pair, PairedImages
from icmh_plugins.tasks import basicsr


class BasicSRPairs(Dataset[Sample]):
    """Pairs read, cropped and mirrored by BasicSR; samples ``{"image": degraded, "clean": clean, "name": ...}``.

    Prefer `data.paired.PairedImages`, which needs no other package and keeps 16 bits. This one takes BasicSR's options
    as they stand in its option files. Its randomness is that of Python's global generator, which `fit` seeds.
    """

    def __init__(self, degraded: str | Path, clean: str | Path, **options: Any) -> None:
        """Open two folders.

        Args:
            degraded: BasicSR's ``dataroot_lq``.
            clean: BasicSR's ``dataroot_gt``.
            **options: Further options. With ``gt_size`` random crops are taken; ``use_hflip`` and ``use_rot`` then
                default to False. ``scale`` is 1.

        Raises:
            ConfigError: An option is missing.
            DataError: Missing folders, pairs that are not complete or of unequal size, or files that are no pictures.
            MissingDependencyError: BasicSR is not installed.
        """
        phase = "train" if options.get("gt_size") else "val"
        self._arguments = (degraded, clean, options)
        self._dataset = basicsr.create_dataset(
            "PairedImageDataset",
            {
                "dataroot_lq": str(degraded),
                "dataroot_gt": str(clean),
                "io_backend": {"type": "disk"},
                "scale": 1,
                "phase": phase,
                "use_hflip": False,
                "use_rot": False,
                **options,
            },
        )
        self._dataset.paths.sort(key=lambda paths: paths["lq_path"])  # BasicSR leaves them as the file system has them
        # BasicSR itself cuts a larger clean picture down without a word.
        self._pairs = PairedImages([_pair(paths) for paths in self._dataset.paths]).pairs

    def __len__(self) -> int:
        return len(self._pairs)

    def __getitem__(self, index: int) -> Sample:
        index = range(len(self))[index]
        found = self._dataset[index]
        return {"image": found["lq"], "clean": found["gt"], "name": self._pairs[index].name}

    def __reduce__(self) -> tuple[Any, ...]:
        # Unpickling BasicSR's class would import it without what `tasks.basicsr` does for that.
        degraded, clean, options = self._arguments
        return _rebuild, (degraded, clean, options)


def _rebuild(degraded: str | Path, clean: str | Path, options: dict[str, Any]) -> BasicSRPairs:
    return BasicSRPairs(degraded, clean, **options)


def _pair(paths: dict[str, str]) -> Pair:
    return Pair(Path(paths["lq_path"]), Path(paths["gt_path"]), "", Path(paths["lq_path"]).name)
