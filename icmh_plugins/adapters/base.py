"""The contract of an adapter: one small module per site, made from a validated config."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from icmh_plugins._config import FrozenConfig, validate_config
from icmh_plugins.codecs.sites import CodecProfile, Side, Site


class AdapterConfig(FrozenConfig):
    """Base of adapter configs: frozen, unknown keys refused, plain JSON values only."""


class Adapter(nn.Module):
    """Base class of adapters. A subclass sets the flags it needs, a `Config`, and writes `__init__` and `forward`.

    Class attributes:
        Config: The adapter's options, a subclass of `AdapterConfig`.
        sides: Sides it may sit on.
        strides: Strides it takes by default on those sides; None takes every site of its sides.
        identity_at_init: The untrained adapter returns its input unchanged, bit for bit.
        entropy_side: It may sit on h_s, context or entropy-parameter networks. Encoder and decoder must then
            both carry it, and a stream made with it cannot be decoded without.
        needs_fp32: Its tensors stay float32 when the codec is in half precision, or put into it later.
        layers: Module types that it works together with. It then sits behind modules of exactly these types, by default
            behind all of them on its sides and strides, and `__init__` and `forward` take one more argument.
        mergeable: `merge` can put what it does into the weights of its layer; it has `layers`.
        paper: Where the method comes from.

    Attributes:
        only_looks: What passes here is unchanged; what the adapter sees, it sends to its part on the decoded image.
    """

    Config: ClassVar[type[AdapterConfig]] = AdapterConfig
    sides: ClassVar[tuple[Side, ...]] = ("analysis", "synthesis")
    strides: ClassVar[tuple[int, ...] | None] = (2, 4, 8)
    identity_at_init: ClassVar[bool] = True
    entropy_side: ClassVar[bool] = False
    needs_fp32: ClassVar[bool] = False
    layers: ClassVar[tuple[type[nn.Module], ...] | None] = None
    mergeable: ClassVar[bool] = False
    paper: ClassVar[str] = ""

    only_looks: bool = False

    def __init__(self, site: Site, config: AdapterConfig, layer: nn.Module | None = None) -> None:
        """Build the adapter of one site.

        Args:
            site: Where it will sit; gives channels, stride and side.
            config: An instance of this class's `Config`.
            layer: For classes with `layers`: the module it will sit behind, to read sizes from and not to keep.
        """
        super().__init__()

    def forward(self, x: Tensor, given: Tensor | None = None) -> Tensor:
        """Map a feature map (B, C, H, W) to one of the same shape and dtype.

        Args:
            x: What the module at the site gives, or takes.
            given: For classes with `layers`: the input from which the layer made `x`.
        """
        raise NotImplementedError(f"{type(self).__name__} must define forward(x)")

    def merge(self, layer: nn.Module) -> None:
        """Change the weights of `layer` so that alone it does what both do together; its shapes stay.

        Called on a copy of the codec, by `bake`, for classes that are `mergeable`.
        """
        raise NotImplementedError(f"{type(self).__name__} is mergeable and must define merge(layer)")

    def example_inputs(self, site: Site, side: int) -> tuple[Tensor, ...]:
        """Zeros to call `forward` with, of the sizes that they have for one image of `side` x `side` pixels."""
        reference = next(self.parameters(), torch.empty(0))
        return (torch.zeros(1, site.channels, side // site.stride, side // site.stride).to(reference),)

    def _apply(self, fn: Callable[[Tensor], Tensor], *args: Any, **kwargs: Any) -> Adapter:
        # What `half()`, `to(...)` and the like end in.
        if not self.needs_fp32:
            return super()._apply(fn, *args, **kwargs)
        return super()._apply(lambda tensor: _not_halved(tensor, fn(tensor)), *args, **kwargs)

    @classmethod
    def default_sites(cls, profile: CodecProfile, config: AdapterConfig) -> Sequence[Site]:
        """The sites taken when the user names none: those of `sides` whose stride is in `strides`."""
        return [s for s in profile.side(*cls.sides) if cls.strides is None or s.stride in cls.strides]

    @classmethod
    def make_config(cls, options: dict[str, Any]) -> AdapterConfig:
        """Validate `options` into a `Config`.

        Raises:
            ConfigError: An unknown key (with the nearest known one) or a value out of range.
        """
        return validate_config(cls.Config, options, owner=cls.__name__)


def _not_halved(before: Tensor, after: Tensor) -> Tensor:
    return before.to(after.device) if after.dtype in (torch.float16, torch.bfloat16) else after
