"""Several views of one stream from one entropy decoding."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from icmh_plugins.bitstream.views import ViewPlan, activated

Finish = Callable[[Tensor], Tensor]


def decode_views(model: nn.Module, strings: Any, shape: Any, views: ViewPlan) -> dict[str, Tensor]:
    """Decode one image under each view.

    A codec whose synthesis is a module named ``g_s``, called once with one tensor, is entropy-decoded once: the
    tensor is kept, and ``g_s`` runs again for each further view, clamped if the codec does so (what ``decompress``
    returned for the first view shows it). Any other codec (``g_s`` a method, or several modules in a row) is
    decompressed again for each view.

    Args:
        model: A codec in coding mode.
        strings: Nested strings of one image, as its ``compress`` returns them.
        shape: Shape as its ``compress`` returns it.
        views: The adapters of each view.

    Returns:
        For each view the padded image (1, 3, H, W).
    """
    (first, names), *rest = views.items()
    with _recorded(model, wanted=bool(rest)) as calls, activated(model, names):
        images = {first: model.decompress(strings, shape)["x_hat"]}
    finish = _finish(calls, images[first])
    for view, names in rest:
        with activated(model, names):
            if finish is None:
                images[view] = model.decompress(strings, shape)["x_hat"]
            else:
                images[view] = finish(model.g_s(calls[0][0].clone()))
    return images


@contextmanager
def _recorded(model: nn.Module, wanted: bool) -> Iterator[list[tuple[Tensor, Tensor]]]:
    """Copies of what this thread gives to and gets from ``g_s``; an unfit call leaves the list unfit."""
    calls: list[tuple[Tensor, Tensor]] = []
    synthesis = getattr(model, "g_s", None)
    if not wanted or not isinstance(synthesis, nn.Module):
        yield calls
        return
    inputs: list[Any] = []
    thread = threading.get_ident()

    def before(module: nn.Module, args: tuple[Any, ...]) -> None:
        if threading.get_ident() == thread:
            inputs.append(args[0].clone() if len(args) == 1 and isinstance(args[0], Tensor) else None)

    def after(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        if threading.get_ident() == thread:
            calls.append((inputs[-1], output.clone() if isinstance(output, Tensor) else None))

    handles = [synthesis.register_forward_pre_hook(before), synthesis.register_forward_hook(after)]
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()


def _finish(calls: list[tuple[Tensor, Tensor]], image: Tensor) -> Finish | None:
    """What ``decompress`` did to the output of ``g_s``; None if that is not known."""
    if len(calls) != 1 or any(part is None for part in calls[0]):
        return None
    output = calls[0][1]
    steps: tuple[Finish, ...] = (lambda x: x.clamp(0, 1), lambda x: x)
    return next((step for step in steps if torch.equal(step(output), image)), None)
