"""The picture before and after the adapters of the decoded image, from one forward pass."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from icmh_plugins.adapters.host import host_of, unwrap
from icmh_plugins.adapters.tensors import read_tensor
from icmh_plugins.codecs.padding import crop, pad_for
from icmh_plugins.codecs.sites import Site


@dataclass(frozen=True)
class Reconstruction:
    """One forward pass of a codec with its adapters.

    Attributes:
        x_hat: What the codec decodes (B, 3, H, W), before adapters of the decoded image: the human view.
        x_bar: What comes out in the end; `x_hat` itself where no such adapter is active.
        likelihoods: Of all latents, by the codec's own keys; of padding too.
    """

    x_hat: Tensor
    x_bar: Tensor
    likelihoods: Mapping[str, Tensor]


def reconstruct(model: nn.Module, image: Tensor) -> Reconstruction:
    """Run `model` on images (B, 3, H, W) of any size, padded as streams are; gradients flow as usual."""
    root, host, seen = unwrap(model), host_of(model), []
    padded, size = pad_for(root, image)
    sites = [site for name in host.active for site in host.record(name).sites] if host else []
    with ExitStack() as stack:
        for site in sites:
            if site.side == "reconstruction":
                stack.callback(_watch(root.get_submodule(site.path), site, seen).remove)
        out = model(padded)
    x_bar = crop(out["x_hat"], size)
    return Reconstruction(crop(seen[0], size) if seen else x_bar, x_bar, out["likelihoods"])


def _watch(module: nn.Module, site: Site, seen: list[Tensor]) -> Any:
    """Note the site's tensor before the adapters there get it."""
    if site.where == "before":
        return module.register_forward_pre_hook(lambda _, args: seen.append(read_tensor(args, site)), prepend=True)
    return module.register_forward_hook(lambda _, args, output: seen.append(read_tensor(output, site)), prepend=True)
