"""BasicSR's `PairedImageDataset` as a source of our samples."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator
from torch.utils.data import Dataset

from icmh_plugins._config import FrozenConfig, validate_config
from icmh_plugins.data.datasets import Sample
from icmh_plugins.data.images import image_size
from icmh_plugins.data.paired import Pair, PairedImages
from icmh_plugins.errors import DataError
from icmh_plugins.tasks import basicsr


class PairOptions(FrozenConfig):
    """The options of BasicSR's `PairedImageDataset` that pairs of one size on disk leave open.

    Attributes:
        scale: 1: both pictures of a pair have one size.
        gt_size: Side of random crops; None takes whole pictures.
        use_hflip: Mirror half of the crops.
        use_rot: Turn half of the crops.
        filename_tmpl: How the degraded picture is called, as a template of the clean one's stem.
        meta_info_file: File that lists the pictures to take.
    """

    scale: Literal[1] = 1
    gt_size: int | None = Field(None, ge=1)
    use_hflip: bool = False
    use_rot: bool = False
    filename_tmpl: str = "{}"
    meta_info_file: str | None = None

    @model_validator(mode="after")
    def _only_crops_are_turned(self) -> PairOptions:
        if (self.use_hflip or self.use_rot) and self.gt_size is None:
            raise ValueError("use_hflip and use_rot act on crops: give gt_size")
        return self


class BasicSRPairs(Dataset[Sample]):
    """Pairs read, cropped and mirrored by BasicSR; samples ``{"image": degraded, "clean": clean, "name": ...}``.

    Prefer `data.paired.PairedImages`, which needs no other package and keeps 16 bits. This one takes BasicSR's options
    by their names in its option files. Its randomness is that of Python's global generator, which `fit` seeds.
    """

    def __init__(self, degraded: str | Path, clean: str | Path, **options: Any) -> None:
        """Open two folders.

        Args:
            degraded: BasicSR's ``dataroot_lq``.
            clean: BasicSR's ``dataroot_gt``.
            **options: See `PairOptions`.

        Raises:
            ConfigError: An option is unknown (with the nearest known one) or out of range.
            DataError: Missing folders, pairs that are not complete or of unequal size, files that are no pictures, or
                pictures smaller than ``gt_size``.
            MissingDependencyError: BasicSR is not installed.
        """
        chosen = validate_config(PairOptions, options, owner="basicsr's PairedImageDataset")
        self._arguments = (degraded, clean, options)
        self._dataset = basicsr.create_dataset(
            "PairedImageDataset",
            {
                "dataroot_lq": str(degraded),
                "dataroot_gt": str(clean),
                "io_backend": {"type": "disk"},
                "phase": "train" if chosen.gt_size else "val",
                **chosen.model_dump(),
            },
        )
        self._dataset.paths.sort(key=lambda paths: paths["lq_path"])  # BasicSR leaves them as the file system has them
        # BasicSR itself cuts a larger clean picture down without a word.
        self._pairs = PairedImages([_pair(paths) for paths in self._dataset.paths]).pairs
        if chosen.gt_size:
            _check_sizes(self._pairs, chosen.gt_size)

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


def _check_sizes(pairs: Sequence[Pair], side: int) -> None:
    small = [pair.name for pair in pairs if min(image_size(pair.degraded)) < side]
    if small:
        raise DataError(f"{len(small)} pictures are smaller than gt_size={side}: {', '.join(small[:3])}")


def _pair(paths: dict[str, str]) -> Pair:
    return Pair(Path(paths["lq_path"]), Path(paths["gt_path"]), "", Path(paths["lq_path"]).name)
