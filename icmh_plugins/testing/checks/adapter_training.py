"""Checks of training: what moves, and what must not."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn

from icmh_plugins.adapters.activate import adapter_parameters
from icmh_plugins.adapters.host import adapter_modules, base_parameters
from icmh_plugins.errors import AdapterError
from icmh_plugins.testing.checks.adapter_case import NAME, AdapterCase, picture
from icmh_plugins.testing.checks.check import Check, UnmetError, demand
from icmh_plugins.testing.checks.coding import reconstruction


def reaches_parameters(case: AdapterCase) -> None:
    """Every trainable parameter takes part in the loss."""
    model = case.attached()
    _parameters(model)
    loss_of(model).backward()
    for site, module in adapter_modules(model, NAME).items():
        without = [n for n, p in module.named_parameters() if p.requires_grad and p.grad is None]
        demand(
            not without,
            f"at {site}, {', '.join(without[:3])} get no gradient. Remedy: use them in forward, or "
            "requires_grad_(False) where they are not to be trained",
        )


def spares_base(case: AdapterCase) -> None:
    """The base's parameters get no gradients."""
    model = case.attached()
    loss_of(model).backward()
    base = base_parameters(model)
    wrong = [name for name, p in base.items() if p.requires_grad or p.grad is not None]
    demand(
        not wrong,
        f"{', '.join(wrong[:3])} of the codec itself would be trained. Remedy: leave the codec's requires_grad alone",
    )


def learns(case: AdapterCase) -> None:
    """A few steps make the loss smaller."""
    model = case.attached(trained=False)
    parameters = _parameters(model)
    before = _probe_loss(model)
    for rate in (1e-2, 1e-3, 1e-4):
        start = [p.detach().clone() for p in parameters]
        _train(model, rate, steps=4)
        if _probe_loss(model) < before:
            return
        with torch.no_grad():
            for parameter, value in zip(parameters, start, strict=True):
                parameter.copy_(value)
    raise UnmetError(
        "four steps of Adam on one picture do not lower its loss, at any of three rates. Remedy: check that forward "
        "uses the parameters and that their gradients have the right sign"
    )


def leaves_base(case: AdapterCase) -> None:
    """Training, evaluation and coding change no tensor of the base."""
    model = case.attached()
    before = _tensors(model)
    _train(model, 1e-2, steps=1)
    reconstruction(model)
    after = _tensors(model)
    changed = [name for name in before if name not in after or not torch.equal(before[name], after[name])]
    demand(
        not changed and before.keys() == after.keys(),
        f"a training step changes {', '.join(changed[:3]) or 'the list'} of the codec's own tensors. Remedy: keep what "
        "changes in parameters and buffers of the adapter",
    )


def loss_of(model: nn.Module) -> Tensor:
    """Error of pictures plus their rate, in training mode: whatever side an adapter sits on, it is seen."""
    images = picture(2)
    out = model.train()(images)
    rate = sum(-values.log2().mean() for values in out["likelihoods"].values())
    return (out["x_hat"] - images).square().mean() + 0.01 * rate


def _probe_loss(model: nn.Module) -> float:
    torch.manual_seed(1)
    with torch.no_grad():
        return float(loss_of(model))


def _train(model: nn.Module, rate: float, steps: int) -> None:
    optimizer = torch.optim.Adam(_parameters(model), lr=rate)
    for _ in range(steps):
        torch.manual_seed(1)
        optimizer.zero_grad()
        loss_of(model).backward()
        optimizer.step()


def _parameters(model: nn.Module) -> list[nn.Parameter]:
    try:
        return adapter_parameters(model, NAME)
    except AdapterError as error:
        raise UnmetError(f"{error}. An adapter needs nn.Parameters to be trained") from None


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    """Every parameter and buffer of the base, those that files leave out included."""
    own = base_parameters(model)
    buffers = {n: b for n, b in model.named_buffers() if "_icmh_slot" not in n.split(".")}
    return {name: tensor.detach().clone() for name, tensor in {**own, **buffers}.items()}


CHECKS: Final = (
    Check("adapter-gradients", "Every trainable parameter of the adapter gets a gradient", reaches_parameters),
    Check("adapter-base-gradients", "No parameter of the base gets one", spares_base),
    Check("adapter-learns", "A few training steps lower the loss", learns),
    Check(
        "adapter-base-untouched", "A training step leaves the base's parameters and buffers bit-identical", leaves_base
    ),
)
