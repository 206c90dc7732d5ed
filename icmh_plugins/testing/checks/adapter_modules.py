"""Checks of an adapter's modules by themselves: tensors in, tensors out."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor

from icmh_plugins.adapters.coded_picture import forward_pass
from icmh_plugins.testing.checks.adapter_case import AdapterCase, Part
from icmh_plugins.testing.checks.check import Check, NotApplicableError, demand

_SIZES: Final = ((8, 12), (5, 7), (2, 2))


def keeps_shape(case: AdapterCase) -> None:
    """Any size and number of images goes in and comes out."""
    for part in case.parts():
        for height, width in _SIZES:
            for images in (1, 2):
                inputs = part.inputs(images, height, width)
                y = _adapted(part, inputs)
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
            y = _adapted(part, [x.to(dtype) for x in part.inputs(1, 8, 12)])
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
                y = _differentiated(part, inputs)
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
            wrong = _not_finite(part, inputs, _differentiated(part, inputs))
            what = "zeros" if scale == 0 else f"values around {scale:g}"
            demand(
                not wrong,
                f"at {part.site.name}, for {what}, {wrong} not finite. Remedy: a small constant under roots and in "
                "denominators, exponents bounded",
            )


def is_identity(case: AdapterCase) -> None:
    """An untrained adapter returns its input, bit for bit, where it says so."""
    if not case.cls.identity_at_init:
        raise NotApplicableError("it declares identity_at_init = False")
    for part in case.parts(trained=False):
        inputs = part.inputs(2, 8, 12)
        y = _adapted(part, inputs)
        demand(
            torch.equal(inputs[0], y),
            f"untrained at {part.site.name}, it changes its input by up to {_difference(inputs[0], y):.3g}. Remedy: "
            "zeros as start of the last layer, or identity_at_init = False",
        )


def leaves_input(case: AdapterCase) -> None:
    """The tensor given is not written to: the codec may need it again."""
    for part in case.parts():
        inputs = part.inputs(1, 8, 12)
        before = [x.clone() for x in inputs]
        _adapted(part, inputs)
        demand(
            all(map(torch.equal, inputs, before)),
            f"at {part.site.name}, forward writes into its input. Remedy: x = x + ... instead of x += ..., no "
            "inplace=True on the input",
        )


def takes_any_layout(case: AdapterCase) -> None:
    """Values count, not how they lie in memory: codecs give channels-last maps and transposed tokens."""
    for part in case.parts():
        inputs = part.inputs(2, 8, 12)
        expected = _adapted(part, inputs)
        for lay_out in (_channels_last, _transposed):
            found = _adapted(part, [lay_out(x) for x in inputs])
            demand(
                _close(found, expected),
                f"at {part.site.name}, channels-last or transposed memory changes the result by up to "
                f"{_difference(found, expected):.3g}. Remedy: reshape instead of view, no as_strided or storage tricks",
            )


def is_deterministic(case: AdapterCase) -> None:
    """In eval mode the same input gives the same output, whatever ran before."""
    for part in case.parts():
        inputs = part.inputs(1, 8, 12)
        first = _adapted(part, inputs)
        _adapted(part, [2 * x for x in inputs])
        torch.rand(7)
        second = _adapted(part, inputs)
        demand(
            torch.equal(first, second),
            f"at {part.site.name} in eval mode, two calls differ by up to {_difference(first, second):.3g}. Remedy: "
            "noise and dropout only where self.training holds, no state kept between calls",
        )


def keeps_images_apart(case: AdapterCase) -> None:
    """In eval mode an image's result does not depend on the others of its batch."""
    for part in case.parts():
        inputs = part.inputs(3, 8, 12)
        together = _adapted(part, inputs)
        alone = torch.cat([_adapted(part, [x[i : i + 1] for x in inputs]) for i in range(3)])
        demand(
            _close(together, alone),
            f"at {part.site.name}, an image in a batch differs from the image alone by up to "
            f"{_difference(together, alone):.3g}. Remedy: no statistics over the batch in eval mode",
        )


def passes_gradients(case: AdapterCase) -> None:
    """What sits before it can be trained through it."""
    for part in case.parts():
        inputs = [x.requires_grad_() for x in part.inputs(1, 8, 12)]
        _differentiated(part, inputs)
        reached = inputs[0].grad is not None and bool(inputs[0].grad.ne(0).any())
        demand(
            reached,
            f"at {part.site.name}, no gradient comes through to the input. Remedy: no detach, no_grad, round or .data "
            "on x",
        )


def merges(case: AdapterCase) -> None:
    """`merge` puts into the weights of a layer what both do together, where the class is `mergeable`."""
    if not case.cls.mergeable:
        raise NotApplicableError("it declares mergeable = False")
    demand(case.cls.layers is not None, "it is mergeable and has no layers. Remedy: layers = (torch.nn.Conv2d, ...)")
    for part in case.parts():
        inputs, layer = part.inputs(2, 8, 12), copy.deepcopy(part.layer)
        shapes = {name: tensor.shape for name, tensor in layer.state_dict().items()}
        part.module.merge(layer)
        demand(
            {name: tensor.shape for name, tensor in layer.state_dict().items()} == shapes,
            f"at {part.site.name}, merging changes names or shapes of the layer's tensors. Remedy: change values only",
        )
        with torch.no_grad():
            merged, both = layer(inputs[1]), _adapted(part, inputs)
        demand(
            _close(merged, both),
            f"at {part.site.name}, the merged layer differs from layer and adapter by up to "
            f"{_difference(merged, both):.3g}. Remedy: merge what forward computes, biases and scales included",
        )


def _adapted(part: Part, inputs: Sequence[Tensor]) -> Tensor:
    with torch.no_grad(), forward_pass():
        return part.module(*inputs)


def _differentiated(part: Part, inputs: Sequence[Tensor]) -> Tensor:
    """The output, with gradients left in inputs and parameters if there are any."""
    with forward_pass():
        y = part.module(*inputs)
    if y.requires_grad:
        y.float().square().sum().backward()
    return y


def _not_finite(part: Part, inputs: Sequence[Tensor], y: Tensor) -> str:
    """Which of output and gradients are not finite; empty if all are."""
    leaves = [*((f"input {i}", x) for i, x in enumerate(inputs)), *part.module.named_parameters()]
    tensors = [("output", y), *((f"gradient of {name}", t.grad) for name, t in leaves if t.grad is not None)]
    return ", ".join([name for name, tensor in tensors if not bool(tensor.isfinite().all())][:3])


def _channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def _transposed(x: Tensor) -> Tensor:
    return x.transpose(2, 3).contiguous().transpose(2, 3)


def _close(a: Tensor, b: Tensor) -> bool:
    return torch.allclose(a, b, rtol=1e-4, atol=1e-5 * max(1.0, float(b.abs().max())))


def _difference(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max())


def _form(y: object) -> str:
    return str(tuple(y.shape)) if isinstance(y, Tensor) else type(y).__name__


CHECKS: Final = (
    Check("adapter-shape", "The shape is kept: odd sizes, 2x2, one image or several", keeps_shape),
    Check("adapter-dtype", "float32, float64 and bfloat16 come out as they went in", keeps_dtype),
    Check("adapter-autocast", "Under bfloat16 autocast the input's type comes back, all finite", works_under_autocast),
    Check("adapter-finite", "Values and gradients are finite, for zeros and for large values too", is_finite),
    Check("adapter-identity", "Untrained it returns its input bit for bit, where `identity_at_init`", is_identity),
    Check("adapter-input-untouched", "The tensor given is not written to", leaves_input),
    Check("adapter-memory-layout", "Channels-last and transposed tensors give the same result", takes_any_layout),
    Check("adapter-deterministic", "In eval mode two calls give the same", is_deterministic),
    Check(
        "adapter-batch-independent", "In eval mode an image's result does not depend on its batch", keeps_images_apart
    ),
    Check("adapter-passes-gradients", "Gradients come through to the input", passes_gradients),
    Check("adapter-mergeable", "A merged layer does what layer and adapter do, where `mergeable`", merges),
)
