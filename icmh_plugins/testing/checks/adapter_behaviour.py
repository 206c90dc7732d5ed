"""Checks of an adapter's modules by themselves: what they compute."""

from __future__ import annotations

import copy
from typing import Final

import torch

from icmh_plugins.testing.checks.adapter_case import AdapterCase
from icmh_plugins.testing.checks.adapter_parts import adapted, close, difference, differentiated
from icmh_plugins.testing.checks.check import Check, NotApplicableError, demand


def is_identity(case: AdapterCase) -> None:
    """An untrained adapter returns its input, bit for bit, where it says so."""
    if not case.cls.identity_at_init:
        raise NotApplicableError("it declares identity_at_init = False")
    for part in case.parts(trained=False):
        inputs = part.inputs(2, 8, 12)
        y = adapted(part, inputs)
        demand(
            torch.equal(inputs[0], y),
            f"untrained at {part.site.name}, it changes its input by up to {difference(inputs[0], y):.3g}. Remedy: "
            "zeros as start of the last layer, or identity_at_init = False",
        )


def is_deterministic(case: AdapterCase) -> None:
    """In eval mode the same input gives the same output, whatever ran before."""
    for part in case.parts():
        inputs = part.inputs(1, 8, 12)
        first = adapted(part, inputs)
        adapted(part, [2 * x for x in inputs])
        torch.rand(7)
        second = adapted(part, inputs)
        demand(
            torch.equal(first, second),
            f"at {part.site.name} in eval mode, two calls differ by up to {difference(first, second):.3g}. Remedy: "
            "noise and dropout only where self.training holds, no state kept between calls",
        )


def keeps_images_apart(case: AdapterCase) -> None:
    """In eval mode an image's result does not depend on the others of its batch."""
    for part in case.parts():
        inputs = part.inputs(3, 8, 12)
        together = adapted(part, inputs)
        alone = torch.cat([adapted(part, [x[i : i + 1] for x in inputs]) for i in range(3)])
        demand(
            close(together, alone),
            f"at {part.site.name}, an image in a batch differs from the image alone by up to "
            f"{difference(together, alone):.3g}. Remedy: no statistics over the batch in eval mode",
        )


def passes_gradients(case: AdapterCase) -> None:
    """What sits before it can be trained through it."""
    for part in case.parts():
        inputs = [x.requires_grad_() for x in part.inputs(1, 8, 12)]
        differentiated(part, inputs)
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
            merged, both = layer(inputs[1]), adapted(part, inputs)
        demand(
            close(merged, both),
            f"at {part.site.name}, the merged layer differs from layer and adapter by up to "
            f"{difference(merged, both):.3g}. Remedy: merge what forward computes, biases and scales included",
        )


CHECKS: Final = (
    Check("adapter-identity", "Untrained it returns its input bit for bit, where `identity_at_init`", is_identity),
    Check("adapter-deterministic", "In eval mode two calls give the same", is_deterministic),
    Check(
        "adapter-batch-independent", "In eval mode an image's result does not depend on its batch", keeps_images_apart
    ),
    Check("adapter-passes-gradients", "Gradients come through to the input", passes_gradients),
    Check("adapter-mergeable", "A merged layer does what layer and adapter do, where `mergeable`", merges),
)
