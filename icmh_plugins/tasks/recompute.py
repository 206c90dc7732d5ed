"""Memory of large pictures: activations inside a network's blocks are computed again when gradients need them."""

from __future__ import annotations

from functools import partial

from torch import nn
from torch.utils.checkpoint import checkpoint

from icmh_plugins.errors import ConfigError


def recompute_blocks(network: nn.Module) -> None:
    """Let a frozen network keep only the inputs of its blocks for the backward pass, in place.

    A block is a module with parts of its own that stands in a list or sequence: a residual block of a ResNet, a
    Detectron2 ResNet or a MobileNet. Results and gradients stay the same. Blocks that do so already stay as they are.

    Raises:
        ConfigError: The network has no such blocks.
    """
    blocks = _blocks(network)
    if not blocks:
        raise ConfigError(f"{type(network).__name__} has no blocks whose activations could be recomputed; "
                          "leave recompute off")  # fmt: skip
    for block in blocks:
        if not _recomputes(block):
            block.forward = partial(checkpoint, block.forward, use_reentrant=False, preserve_rng_state=False)


def keep_activations(network: nn.Module) -> None:
    """Undo `recompute_blocks`, in place; a network without such blocks stays as it is."""
    for block in filter(_recomputes, network.modules()):
        block.forward = block.forward.args[0]


def _recomputes(block: nn.Module) -> bool:
    forward = vars(block).get("forward")
    return isinstance(forward, partial) and forward.func is checkpoint


def _blocks(module: nn.Module) -> list[nn.Module]:
    found = []
    for child in module.children():
        listed = isinstance(module, nn.Sequential | nn.ModuleList | nn.ModuleDict)
        found += [child] if listed and _has_parts(child) and not _is_stage(child) else _blocks(child)
    return found


def _is_stage(module: nn.Module) -> bool:
    return type(module) is nn.Sequential and any(_has_parts(child) for child in module)


def _has_parts(module: nn.Module) -> bool:
    return next(module.children(), None) is not None
