"""Data as commands name it: pictures as they are, degraded as they are read, or pairs on disk."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field, model_validator

from icmh_plugins._config import FrozenConfig
from icmh_plugins.data.spelling import split_source
from icmh_plugins.errors import DataError

if TYPE_CHECKING:
    from icmh_plugins.data.transforms import Transform


class DataSection(FrozenConfig):
    """Pictures to train on or to measure. A plain string in a run file is its `source`.

    Attributes:
        source: What `data.sources.open_data` takes as a string: an image folder, a CSV of labels, or
            ``coco:IMAGES_FOLDER,ANNOTATIONS.json`` (``coco-masks:`` with masks).
        degrade: Degradations to make pairs with, by DA-CLIP's words, with their options.
        clean_share: Chance that a picture is not degraded.
        clean: Folder of the ideal pictures, where `source` has the degraded ones by the same names.
        basicsr: Have BasicSR's `PairedImageDataset` read `source` and `clean`, with these of its options.
        split: Take `source` as a tree in DA-CLIP's layout: ``<source>/<split>/<word>/{LQ,GT}``.
    """

    source: str
    degrade: dict[str, dict[str, Any]] = Field(default_factory=dict)
    clean_share: float = Field(0.0, ge=0, le=1)
    clean: str | None = None
    basicsr: dict[str, Any] | None = None
    split: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _words_alone(cls, values: Any) -> Any:
        """A list of words stands for their default options."""
        if isinstance(values, dict) and isinstance(values.get("degrade"), list | tuple):
            return {**values, "degrade": {word: {} for word in values["degrade"]}}
        return values

    @model_validator(mode="after")
    def _one_way(self) -> DataSection:
        if sum(map(bool, (self.degrade, self.clean, self.split))) > 1:
            raise ValueError("give one of 'degrade' (made pairs), 'clean' (two folders) and 'split' (a tree of pairs)")
        if self.clean_share and not self.degrade:
            raise ValueError("'clean_share' belongs to 'degrade'")
        if self.basicsr is not None and not self.clean:
            raise ValueError("'basicsr' reads two folders: give the second as 'clean'")
        return self

    def check(self, key: str) -> None:
        """Look for the folders and the words, before anything heavy is imported.

        Args:
            key: What the section is called in errors.

        Raises:
            DataError: A path does not exist.
        """
        named = [(key, path) for path in split_source(self.source)[1]]
        named += [(f"{key}.clean", Path(self.clean))] if self.clean else []
        for name, path in named:
            if not path.exists():
                raise DataError(f"{name}: {path} does not exist. Remedy: paths are relative to the current folder")

    def open(self, transform: Transform | None = None, seed: int = 0) -> Any:
        """What `fit` and `evaluate` take as data.

        Args:
            transform: Applied to pictures before they are degraded; not used otherwise.
            seed: Of the degradations.

        Raises:
            ConfigError: An unknown degradation or option.
            DataError: Pictures are missing, or are no pairs.
            MissingDependencyError: BasicSR is to read them and is not installed.
        """
        from icmh_plugins.data.degradations import degradation
        from icmh_plugins.data.degradations_dataset import Degrade
        from icmh_plugins.data.paired import PairedImages, match_folders, match_words

        if self.degrade:
            kinds = [degradation(word, **options) for word, options in self.degrade.items()]
            return Degrade(self.source, kinds, clean_share=self.clean_share, transform=transform, seed=seed)
        if self.clean and self.basicsr is not None:
            from icmh_plugins.tasks.restoration_pairs import BasicSRPairs

            return BasicSRPairs(self.source, self.clean, **self.basicsr)
        if self.clean:
            return PairedImages(match_folders(self.source, self.clean))
        if self.split:
            return PairedImages(match_words(self.source, self.split))
        return self.source
