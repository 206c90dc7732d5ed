"""Where one may attach: a `Site` is one tensor of a codec, a `CodecProfile` all that is known of a codec."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal

SLOT: Final = "_icmh_slot"
"""Child name under which adapters sit in a codec's modules; everything below it is no part of the base."""

Side = Literal["analysis", "synthesis", "reconstruction", "entropy"]
Layout = Literal["nchw", "nhwc", "blc"]
Where = Literal["after", "before"]


@dataclass(frozen=True, slots=True)
class Site:
    """One place in a codec where a tensor can be adapted.

    Attributes:
        path: Dotted path of a non-container module, as in ``named_modules()``: ``"g_a.1"``.
        side: "analysis" (runs at the encoder only), "synthesis" (decoder only), "reconstruction" (the decoded
            image, decoder only), "entropy" (runs on both sides; only adapters with ``entropy_side`` may sit here).
        channels: Channels of the tensor.
        stride: Image pixels per element of the tensor, per axis (1 for the image itself).
        module_class: Class name of the module, re-checked when an adapter file is loaded.
        layout: "nchw", "nhwc" or "blc" (tokens; the tuple then carries height and width as two ints).
        element: Which element of a tuple or dict is adapted; None when the output is the tensor itself.
        where: "after" adapts the module's output, "before" its first input.
    """

    path: str
    side: Side
    channels: int
    stride: int
    module_class: str
    layout: Layout = "nchw"
    element: int | str | None = None
    where: Where = "after"

    @property
    def name(self) -> str:
        """Unique name within a codec, used in tables and adapter files: ``"g_a.1"`` or ``"g_a.1@before"``."""
        return self.path if self.where == "after" else f"{self.path}@before"

    @property
    def alias(self) -> str:
        """Codec-independent name by side and stride: ``"enc2"``, ``"dec8"``, ``"image"``, ``"entropy16"``."""
        prefix = {"analysis": "enc", "synthesis": "dec", "entropy": "entropy"}
        return "image" if self.side == "reconstruction" else f"{prefix[self.side]}{self.stride}"

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON-ready form; `Site(**d)` is its inverse."""
        return asdict(self)


@dataclass(frozen=True)
class CodecProfile:
    """All that attaching, coding and describing need to know of one codec.

    Attributes:
        model_class: Class name of the model.
        sites: Attachable sites in call order, one per side and stride (the last module at that stride).
        latent_stride: Image pixels per element of y.
        entropy_modules: Paths of the entropy models (bottlenecks, conditionals).
        source: Where it comes from: "probe", "preset:adapt-icmh", or "plugin" (or what the plug-in says itself).
        notes: Remarks for `describe`: places seen but not attachable, and why.
    """

    model_class: str
    sites: tuple[Site, ...]
    latent_stride: int
    entropy_modules: tuple[str, ...]
    source: str = "probe"
    notes: tuple[str, ...] = field(default=())

    def side(self, *sides: Side) -> tuple[Site, ...]:
        """The sites of the given sides, in call order."""
        return tuple(site for site in self.sites if site.side in sides)
