"""Named protocols: what is done to a picture before it is coded, whose pixels are counted, what the task sees.

Results carry the name, and numbers of two protocols are never put in one computation (`evaluation.bjontegaard`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from icmh_plugins.data.boxes import has_boxes
from icmh_plugins.data.sources import PICTURES
from icmh_plugins.errors import ConfigError, DataError, suggest
from icmh_plugins.evaluation import framing
from icmh_plugins.evaluation.framing import Size
from icmh_plugins.tasks.base import Task
from icmh_plugins.tasks.detection import Detection


@dataclass(frozen=True)
class EvaluationProtocol:
    """How pictures are prepared and counted.

    Attributes:
        name: What results carry.
        about: One line for people.
        shape: Maps a picture (3, H, W) of the data to the one that the task is about, whose pixels are counted.
        align: Maps that picture to the one that is coded.
        undo: Maps the decoded picture, and the (h, w) to get back to, to what the task sees.
        crops: Whether parts of the picture are cut away, so that boxes of the data do not fit.
    """

    name: str
    about: str
    shape: Callable[[Tensor], Tensor] = framing.unchanged
    align: Callable[[Tensor], Tensor] = framing.unchanged
    undo: Callable[[Tensor, Size], Tensor] = framing.crop
    crops: bool = False

    def frame(self, sample: Mapping[str, Any]) -> Frame:
        """Prepare one sample of the data.

        Raises:
            DataError: Its target does not fit the picture afterwards.
        """
        self.check_target(sample)
        pictures = {key: self.shape(sample[key]) for key in PICTURES if key in sample}
        original = tuple(sample["image"].shape[-2:])
        return Frame({**sample, **pictures}, self.align(pictures["image"]), original, self.undo)

    def check_target(self, sample: Mapping[str, Any]) -> None:
        """Refuse a target that would not fit the picture any more.

        Raises:
            DataError: It is no label and has no boxes, or has boxes and the picture is cropped.
        """
        target = sample.get("target")
        if self.shape is framing.unchanged or target is None or isinstance(target, int):
            return
        if self.crops or not has_boxes(target):
            kind = "boxes" if has_boxes(target) else f"a target of type {type(target).__name__}"
            raise DataError(
                f"protocol {self.name!r} {'crops' if self.crops else 'resizes'} pictures, and image "
                f"{sample.get('name')!r} has {kind}, which would not fit. Remedy: measure under 'native'"
            )


@dataclass(frozen=True)
class Frame:
    """A sample laid out for codec and task.

    Attributes:
        sample: As the task sees it. Its target stays in pixels of the data's picture.
        coded: (3, H', W') in [0, 1], what is coded.
        original: (H, W) of the data's picture.
        undo: See `EvaluationProtocol`.
    """

    sample: Mapping[str, Any]
    coded: Tensor
    original: Size
    undo: Callable[[Tensor, Size], Tensor]

    @property
    def size(self) -> Size:
        """(h, w) of what the task sees; rates are bits over these pixels."""
        return tuple(self.sample["image"].shape[-2:])

    def shown(self, decoded: Tensor) -> Tensor:
        """What the task sees of a decoded picture (1, 3, H', W'): (1, 3, h, w) in [0, 1]."""
        return self.undo(decoded, self.size).clamp(0, 1)

    def judged(self, task: Task, shown: Tensor) -> Any:
        """What `task` predicts on `shown`, in pixels of the data's picture, where it is compared with the target."""
        if isinstance(task, Detection):
            return task.predict(shown, [self.original])
        return framing.rescaled(task.predict(shown), self.size, self.original)


PROTOCOLS: Mapping[str, EvaluationProtocol] = {
    each.name: each
    for each in (
        EvaluationProtocol("native", "pictures at their own size, bits over original pixels"),
        EvaluationProtocol(
            "adapt-icmh",
            "short side 800, long side at most 1333; zeros right and bottom to multiples of 256; bits over the resized "
            "pixels; the task sees the crop",
            shape=framing.detector_size,
            align=framing.zero_padded,
        ),
        EvaluationProtocol(
            "transtic",
            "short side 800, long side at most 1333; enlarged to multiples of 256 and back; bits over the pixels of "
            "the first resize",
            shape=framing.detector_size,
            align=framing.enlarged,
            undo=framing.resized,
        ),
        EvaluationProtocol(
            "adapt-icmh-cls",
            "short side 256, the square of 256 in the middle; bits over its pixels",
            shape=framing.square_256,
            crops=True,
        ),
    )
}
"""By name. Sources: detectron2's test loader with the official scripts of Adapt-ICMH (arXiv 2407.09853) and TransTIC
(arXiv 2306.05085), which estimate rates; here the same pixels are coded to real streams."""


def find_protocol(name: str) -> EvaluationProtocol:
    """The protocol of that name.

    Raises:
        ConfigError: There is none.
    """
    if name not in PROTOCOLS:
        raise ConfigError(f"no protocol {name!r}.{suggest(name, PROTOCOLS)}")
    return PROTOCOLS[name]
