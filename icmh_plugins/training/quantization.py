"""What stands in for rounding while training, without rewriting a codec's forward.

* "noise": additive uniform noise for both rate and reconstruction (Balle et al.; CompressAI's default in train mode);
* "ste": noise for the rate, straight-through rounding for what the decoder gets (official Adapt-ICMH code);
* "model": whatever the codec does itself.

CompressAI's entropy models call their own `quantize`; here it is replaced on the instances for the time of a context.
What a codec rounds outside of them stays as it is: the checkerboard and ELIC codecs pass straight-through values on
themselves, whatever the policy. Entropy models of other classes (the variable-rate bottleneck) keep their own ways.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn

from icmh_plugins.codecs.entropy import entropy_modules

Quantization = Literal["noise", "ste", "model"]


@contextmanager
def quantization(model: nn.Module, policy: Quantization, shard: tuple[int, int] = (0, 1)) -> Iterator[None]:
    """Within the context the entropy models of `model` quantise by `policy` in train mode.

    Args:
        model: The codec.
        policy: See the module's docstring.
        shard: (rank, number of processes). Noise is drawn for the whole batch and this process takes its share, so
            that several processes with equal seeds see the noise that one process would see.
    """
    known = ("EntropyBottleneck", "GaussianConditional")
    modules = [m for m in entropy_modules(model).values() if type(m).__name__ in known] if policy != "model" else []
    quantizers = [_Quantizer(module, policy, shard) for module in modules]
    try:
        yield
    finally:
        for quantizer in quantizers:
            quantizer.remove()


def straight_through(x: Tensor, offset: Tensor) -> Tensor:
    """round(x - offset) + offset, with the gradient of the identity."""
    return x + (torch.round(x - offset) + offset - x).detach()


class _Quantizer:
    def __init__(self, module: nn.Module, policy: Quantization, shard: tuple[int, int]) -> None:
        self.module, self.policy, self.shard = module, policy, shard
        self.inside = False
        self.original = module.quantize
        module.quantize = self._quantize
        self.handles = [
            module.register_forward_pre_hook(self._enter),
            module.register_forward_hook(self._leave, with_kwargs=True, always_call=True),
        ]

    def remove(self) -> None:
        del self.module.quantize
        for handle in self.handles:
            handle.remove()

    def _enter(self, module: nn.Module, args: Any) -> None:
        self.inside = True

    def _leave(self, module: nn.Module, args: Any, kwargs: Any, output: Any) -> Any:
        self.inside = False
        if self.policy != "ste" or not module.training or not isinstance(output, tuple):
            return output
        x = args[0] if args else kwargs.get("inputs", kwargs.get("x"))
        return (straight_through(x, self._offset(x, args, kwargs)), *output[1:])

    def _offset(self, x: Tensor, args: Any, kwargs: Any) -> Tensor:
        if hasattr(self.module, "_get_medians"):
            return self.module._get_medians().detach().reshape(-1, *[1] * (x.dim() - 2))
        means = kwargs.get("means", args[2] if len(args) > 2 else None)
        return torch.zeros(()) if means is None else means

    def _quantize(self, inputs: Tensor, mode: str, means: Tensor | None = None) -> Tensor:
        if mode != "noise":
            return self.original(inputs, mode, means)
        if self.policy == "ste" and not self.inside:
            return straight_through(inputs, torch.zeros(()) if means is None else means)
        return inputs + _noise(inputs, self.shard)


def _noise(like: Tensor, shard: tuple[int, int]) -> Tensor:
    # Bottlenecks see (C, 1, B*H*W): the batch is the slow part of the last axis. Conditionals see (B, C, H, W).
    rank, world = shard
    axis = 2 if like.dim() == 3 else 0
    shape = list(like.shape)
    shape[axis] *= world
    noise = torch.empty(shape, dtype=like.dtype, device=like.device).uniform_(-0.5, 0.5)
    return noise.narrow(axis, rank * like.shape[axis], like.shape[axis])
