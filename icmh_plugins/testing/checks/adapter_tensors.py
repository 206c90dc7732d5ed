"""Checks of an adapter's modules by themselves: tensors of any form in, tensors of that form out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor

from icmh_plugins.testing.checks.adapter_case import AdapterCase
from icmh_plugins.testing.checks.adapter_parts import Part, adapted, close, difference, differentiated
from icmh_plugins.testing.checks.check import Check, demand

_SIZES: Final = ((8, 12), (5, 7), (2, 2))


def keeps_shape(case: AdapterCase) -> None:
    """Any size and number of images goes in and comes out."""
    for part in case.parts():
        for height, width in _SIZES:
            for images in (1, 2):
                inputs = part.inputs(images, height, width)
                y = adapted(part, inputs)
                demand(
                    isinstance(y, Tensor) and y.shape == inputs[0].shape,
                    f"at {part.site.name}, {tuple(inputs[0].shape)} becomes {_form(y)}. Remedy: return the shape that "
                    "came in; pad and crop where the network needs even sizes",
                )


def keeps_dtype(case: AdapterCase) -> None:
    """Codecs in double or half precision stay so."""
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        for part in case.parts():
            part.module.to(dtype)
            y = adapted(part, [x.to(dtype) for x in part.inputs(1, 8, 12)])
            demand(
                y.dtype == dtype,
                f"at {part.site.name}, {dtype} becomes {y.dtype}. Remedy: end forward with .to(x.dtype)",
            )


def works_under_autocast(case: AdapterCase) -> None:
    """Mixed precision: the type of the input comes back, values and gradients are finite."""
    for dtype in (torch.float32, torch.bfloat16):
        for part in case.parts():
            inputs = [x.to(dtype).requires_grad_() for x in part.inputs(1, 8, 12)]
            with torch.autocast("cpu", torch.bfloat16):
                y = differentiated(part, inputs)
            demand(
                y.dtype == dtype,
                f"under autocast at {part.site.name}, {dtype} becomes {y.dtype}. Remedy: end forward with .to(x.dtype)",
            )
            wrong = _not_finite(part, inputs, y)
            demand(
                not wrong,
                f"under autocast at {part.site.name}, {wrong} not finite. Remedy: compute what overflows or cancels in "
                "float32, inside torch.autocast(x.device.type, enabled=False)",
            )


def is_finite(case: AdapterCase) -> None:
    """Zeros, usual and large values give finite values and gradients."""
    for scale in (0.0, 1.0, 30.0):
        for part in case.parts():
            inputs = [x.requires_grad_() for x in part.inputs(1, 8, 12, scale)]
            wrong = _not_finite(part, inputs, differentiated(part, inputs))
            what = "zeros" if scale == 0 else f"values around {scale:g}"
            demand(
                not wrong,
                f"at {part.site.name}, for {what}, {wrong} not finite. Remedy: a small constant under roots and in "
                "denominators, exponents bounded",
            )


def leaves_input(case: AdapterCase) -> None:
    """The tensor given is not written to: the codec may need it again."""
    for part in case.parts():
        inputs = part.inputs(1, 8, 12)
        before = [x.clone() for x in inputs]
        adapted(part, inputs)
        demand(
            all(map(torch.equal, inputs, before)),
            f"at {part.site.name}, forward writes into its input. Remedy: x = x + ... instead of x += ..., no "
            "inplace=True on the input",
        )


def takes_any_layout(case: AdapterCase) -> None:
    """Values count, not how they lie in memory: codecs give channels-last maps and transposed tokens."""
    for part in case.parts():
        inputs = part.inputs(2, 8, 12)
        expected = adapted(part, inputs)
        for lay_out in (_channels_last, _transposed):
            found = adapted(part, [lay_out(x) for x in inputs])
            demand(
                close(found, expected),
                f"at {part.site.name}, channels-last or transposed memory changes the result by up to "
                f"{difference(found, expected):.3g}. Remedy: reshape instead of view, no as_strided or storage tricks",
            )


def _not_finite(part: Part, inputs: Sequence[Tensor], y: Tensor) -> str:
    """Which of output and gradients are not finite; empty if all are."""
    leaves = [*((f"input {i}", x) for i, x in enumerate(inputs)), *part.module.named_parameters()]
    tensors = [("output", y), *((f"gradient of {name}", t.grad) for name, t in leaves if t.grad is not None)]
    return ", ".join([name for name, tensor in tensors if not bool(tensor.isfinite().all())][:3])


def _channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def _transposed(x: Tensor) -> Tensor:
    return x.transpose(2, 3).contiguous().transpose(2, 3)


def _form(y: object) -> str:
    return str(tuple(y.shape)) if isinstance(y, Tensor) else type(y).__name__


CHECKS: Final = (
    Check("adapter-shape", "The shape is kept: odd sizes, 2x2, one image or several", keeps_shape),
    Check("adapter-dtype", "float32, float64 and bfloat16 come out as they went in", keeps_dtype),
    Check("adapter-autocast", "Under bfloat16 autocast the input's type comes back, all finite", works_under_autocast),
    Check("adapter-finite", "Values and gradients are finite, for zeros and for large values too", is_finite),
    Check("adapter-input-untouched", "The tensor given is not written to", leaves_input),
    Check("adapter-memory-layout", "Channels-last and transposed tensors give the same result", takes_any_layout),
)
