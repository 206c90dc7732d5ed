"""The two halves of a codec around entropy coding, each as one module from tensor to tensor."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from icmh_plugins.adapters.host import host_of
from icmh_plugins.codecs.modes import evaluating
from icmh_plugins.errors import AdapterError, CodecError


@dataclass(frozen=True)
class Half:
    """What becomes one file, and what it must give.

    Attributes:
        name: "encoder" or "decoder".
        module: From tensor to tensor, in eval mode, without gradients.
        inputs: A few inputs (1, C, H, W).
        expected: What the codec with its adapters makes of each.
    """

    name: str
    module: nn.Module
    inputs: list[Tensor]
    expected: list[Tensor]


def check_transforms(codec: nn.Module, transforms: tuple[str, str]) -> None:
    """Refuse transforms that the codec does not have.

    Raises:
        CodecError: With the codec's parts.
    """
    missing = [name for name in transforms if not callable(getattr(codec, name, None))]
    if missing:
        parts = ", ".join(name for name, _ in codec.named_children())
        raise CodecError(
            f"{type(codec).__name__} has no transform {missing[0]!r} to export. Its parts: {parts or 'none'}. Remedy: "
            "transforms=(encoder, decoder), the names of two modules or methods from tensor to tensor"
        )


def halves(root: nn.Module, baked: nn.Module, transforms: tuple[str, str], pictures: list[Tensor]) -> tuple[Half, Half]:
    """Encoder and decoder of a codec.

    Args:
        root: The codec with its adapters.
        baked: Its copy without slots; modes and gradient flags change.
        transforms: Names of the two.
        pictures: Inputs for the encoder.

    Raises:
        CodecError: One of them is not from tensor to tensor.
        AdapterError: An active adapter sits outside of both.
    """
    baked.eval().requires_grad_(False)
    analysis = Side(baked, transforms[0], pictures[0])
    with evaluating(root):
        latents = [run_transform(root, transforms[0], x) for x in pictures]
        rounded = [y.round() for y in latents]
        synthesis = Side(baked, transforms[1], rounded[0])
        decoded = [run_transform(root, transforms[1], y) for y in rounded]
    _check_reached(root, analysis.called | synthesis.called)
    return Half("encoder", analysis, pictures, latents), Half("decoder", synthesis, rounded, decoded)


class Side(nn.Module):
    """One transform of a codec, a module or a method of it: the parts it calls, and nothing else of the codec.

    Attributes:
        called: Paths of the modules it called when it was made.
    """

    def __init__(self, codec: nn.Module, transform: str, x: Tensor) -> None:
        """Copy what ``codec.<transform>`` needs.

        Args:
            codec: A codec without slots, in eval mode.
            transform: Name of the attribute.
            x: What it takes, for finding out which parts it calls.

        Raises:
            CodecError: It fails, or gives no tensor.
        """
        super().__init__()
        self.codec, self.transform = copy.deepcopy(codec), transform
        with _calls(self.codec) as self.called:
            self._try(x)
        used = {path.partition(".")[0] for path in self.called}
        for name, _ in list(self.codec.named_children()):
            if name not in used:
                delattr(self.codec, name)

    def forward(self, x: Tensor) -> Tensor:
        """What the transform makes of `x`."""
        return run_transform(self.codec, self.transform, x)

    @torch.no_grad()
    def _try(self, x: Tensor) -> None:
        try:
            y = self(x)
        except Exception as error:
            raise CodecError(f"{self.transform} does not take {tuple(x.shape)} alone: {error}") from error
        if not isinstance(y, Tensor):
            raise CodecError(f"{self.transform} must return a tensor, got {type(y).__name__}")


def run_transform(codec: nn.Module, transform: str, x: Tensor) -> Tensor:
    """What ``codec.<transform>`` makes of `x`; the first item where it returns several."""
    y = getattr(codec, transform)(x)
    return y[0] if isinstance(y, tuple | list) else y


def _check_reached(root: nn.Module, called: set[str]) -> None:
    host = host_of(root)
    sites = [site for name in host.active for site in host.record(name).sites] if host else []
    outside = [site.name for site in sites if site.path not in called]
    if outside:
        raise AdapterError(
            f"an active adapter sits at {', '.join(outside)}, which the exported transforms do not run. Remedy: "
            "set_adapter(model, ...) without it, or transforms=(encoder, decoder) that run it"
        )


@contextmanager
def _calls(codec: nn.Module) -> Iterator[set[str]]:
    """Collects the paths of all modules that are called."""
    called: set[str] = set()

    def watch(path: str, module: nn.Module) -> Any:
        return module.register_forward_pre_hook(lambda *_: called.add(path))

    handles = [watch(path, module) for path, module in codec.named_modules() if path]
    try:
        yield called
    finally:
        for handle in handles:
            handle.remove()
