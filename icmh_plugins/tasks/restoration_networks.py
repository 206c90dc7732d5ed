"""Restoration networks that follow a codec: any size in, the same size out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from icmh_plugins.codecs.padding import crop, pad
from icmh_plugins.errors import ConfigError
from icmh_plugins.tasks import basicsr
from icmh_plugins.tasks.base import freeze
from icmh_plugins.tasks.checkpoints import load_weights


class Restorer(nn.Module):
    """A frozen network (B, 3, H, W) -> (B, 3, H, W) on [0, 1] that takes pictures of any size.

    Args:
        network: Frozen in place, always in eval mode.
        multiple: What height and width must be multiples of; met by repeating the border, which is cut off again.
    """

    def __init__(self, network: nn.Module, multiple: int = 1) -> None:
        super().__init__()
        self.network, self.multiple = freeze(network), multiple

    def forward(self, images: Tensor) -> Tensor:
        """Restore images (B, 3, H, W), clipped to [0, 1] first, differentiably.

        Raises:
            ConfigError: The network does not take such images, or gave another size.
        """
        padded, size = pad(images.clamp(0, 1), self.multiple)
        try:
            restored = self.network(padded)
        except ValueError as error:
            raise ConfigError(
                f"{type(self.network).__name__} does not take pictures {tuple(padded.shape)} ({error}); restoration "
                "needs a network of one picture, (B, 3, H, W) -> (B, 3, H, W)"
            ) from error
        if restored.shape != padded.shape:
            raise ConfigError(
                f"{type(self.network).__name__} makes {tuple(restored.shape)} of {tuple(padded.shape)}; restoration "
                "needs equal sizes: give it options for scale 1"
            )
        return crop(restored, size)

    def train(self, mode: bool = True) -> Restorer:
        """Stays in eval mode."""
        return super().train(False)


def make_restorer(
    network: str | nn.Module, options: Mapping[str, Any], checkpoint: str | None, multiple: int | None
) -> Restorer:
    """A restorer by name or of a module.

    Args:
        network: ``"basicsr:<Arch>"``, or a module.
        options: Arguments of the architecture.
        checkpoint: Local weights, read without unpickling code.
        multiple: Of height and width; None takes what is known of the architecture, else 1.

    Raises:
        ConfigError: Unknown name or options.
        DataError: The checkpoint does not fit.
        MissingDependencyError: BasicSR is not installed.
    """
    known = 1
    if isinstance(network, str):
        name = network.removeprefix(basicsr.PREFIX)
        if name == network:
            raise ConfigError(
                f"restoration networks are called 'basicsr:<Arch>', or are given as a module; got {name!r}"
            )
        network, known = basicsr.create_network(name, options)
    if checkpoint is not None:
        load_weights(network, checkpoint)
    return Restorer(network, multiple or known)
