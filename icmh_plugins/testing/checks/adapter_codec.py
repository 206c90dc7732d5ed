"""Checks of the codec around an adapter: with it off it is the base, with it gone it is the original."""

from __future__ import annotations

from typing import Any, Final

import torch
from torch import nn

from icmh_plugins.adapters.activate import disable_adapters
from icmh_plugins.adapters.attach import detach_adapter
from icmh_plugins.bitstream.coding import decode, encode
from icmh_plugins.errors import AdapterError, in_words
from icmh_plugins.testing.checks.adapter_case import NAME, AdapterCase, move, picture
from icmh_plugins.testing.checks.check import Check, NotApplicableError, UnmetError, demand
from icmh_plugins.testing.checks.coding import code, decoded, reconstruction

_STATE = "Remedy: change nothing but the tensor in forward; no global state, no hooks on the codec"


def keeps_keys(case: AdapterCase) -> None:
    """The codec's state dict is the base's: its checkpoints still load."""
    base, model = case.codec(), case.attached()
    reconstruction(model)
    difference = set(base.state_dict()) ^ set(model.state_dict())
    demand(
        not difference,
        f"the codec's state dict has gained or lost {', '.join(sorted(difference)[:3])}. Remedy: register tensors on "
        "the adapter, not on the codec",
    )


def is_off(case: AdapterCase) -> None:
    """Disabled, the reconstruction is the base's, bit for bit."""
    expected, model = reconstruction(case.codec()), case.attached()
    reconstruction(model)
    with disable_adapters(model):
        found = reconstruction(model)
    demand(
        torch.equal(found, expected),
        f"with the adapter off, pictures differ from the base's by {(found - expected).abs().max():.3g}. {_STATE}",
    )


def codes_as_base_when_off(case: AdapterCase) -> None:
    """Disabled, the strings are the base's."""
    expected, model = code(case.codec()), case.attached()
    _try_code(model)
    with disable_adapters(model):
        found = code(model)
    demand(found.strings == expected.strings, f"with the adapter off, strings differ from the base's. {_STATE}")


def comes_back(case: AdapterCase) -> None:
    """Leaving nested `disable_adapters` gives the adapter back as it was."""
    expected, model = reconstruction(case.codec()), case.attached()
    before = reconstruction(model)
    with disable_adapters(model):
        with disable_adapters(model):
            inner = reconstruction(model)
        outer = reconstruction(model)
    after = reconstruction(model)
    demand(
        torch.equal(inner, expected) and torch.equal(outer, expected),
        f"inside two disable_adapters, or after the inner one, the codec is not the base. {_STATE}",
    )
    demand(
        torch.equal(after, before),
        f"after disable_adapters the adapted picture is another than before. {_STATE}, nothing kept between calls",
    )


def leaves_no_trace(case: AdapterCase) -> None:
    """Attached twice and detached, the codec is the original: hooks, modules, attributes, flags."""
    model = case.codec()
    before = _structure(model)
    case.attached()  # reports as not built what cannot be attached
    case.attach(model)
    case.attach(model, f"{NAME}-2")
    move(model)
    reconstruction(model)
    detach_adapter(model)
    after = _structure(model)
    changed = [f"{path or 'the codec'}: {what}" for path, what in _changes(before, after)]
    demand(not changed, f"after detach_adapter something stays behind ({'; '.join(changed[:3])}). {_STATE}")


def leaves_coding(case: AdapterCase) -> None:
    """What sits at one end leaves the other one alone, and the codec without it reads the streams."""
    sides = {site.side for site in case.sites()}
    if "entropy" in sides:
        raise NotApplicableError("it sits on the entropy side, where both ends need it")
    model, base = case.attached(), case.codec()
    coded = _try_code(model)
    try:
        stock = decoded(base, coded)
    except Exception as error:
        raise UnmetError(f"the codec without adapter cannot read its streams: {in_words(error)}. {_STATE}") from error
    if sides == {"analysis"}:
        same = torch.equal(decoded(model, coded), stock)
        demand(same, f"it sits at the encoder only, and yet decoding differs from the base's. {_STATE}")
    elif "analysis" not in sides:
        same = coded.strings == code(base).strings
        demand(same, f"it sits behind the decoder only, and yet strings differ from the base's. {_STATE}")


def codes_as_forward(case: AdapterCase) -> None:
    """Decoding gives what forward in eval mode gives, where the base does."""
    if not torch.equal(_coded_picture(case.codec()), reconstruction(case.codec()).clamp(0, 1)):
        raise NotApplicableError("the codec itself decodes another picture than its forward gives")
    model = case.attached()
    found, expected = _coded_picture(model), reconstruction(model).clamp(0, 1)
    demand(
        torch.allclose(found, expected, atol=1e-5),
        f"compress and decompress give another picture than forward in eval mode, by up to "
        f"{(found - expected).abs().max():.3g}. Remedy: compute the same whether gradients are on or off and whatever "
        "ran before",
    )


def _try_code(model: nn.Module) -> Any:
    """Strings of a picture; an adapter that needs `icmh.encode` for its message has none."""
    try:
        return code(model)
    except AdapterError as error:
        raise NotApplicableError(str(error)) from None


def _coded_picture(model: nn.Module) -> torch.Tensor:
    return decode(model, encode(model, picture()))


def _structure(model: nn.Module) -> dict[str, dict[str, Any]]:
    return {path: _facts(module) for path, module in model.named_modules()}


def _facts(module: nn.Module) -> dict[str, Any]:
    hooks = {name: len(value) for name, value in vars(module).items() if name.endswith("hooks")}
    flags = {name: parameter.requires_grad for name, parameter in module.named_parameters(recurse=False)}
    return {"class": type(module), "attributes": sorted(vars(module)), "hooks": hooks, "requires_grad": flags}


def _changes(before: dict[str, dict[str, Any]], after: dict[str, dict[str, Any]]) -> list[tuple[str, str]]:
    found = [(path, "a module") for path in sorted(before.keys() ^ after.keys())]
    for path in before.keys() & after.keys():
        found += [(path, fact) for fact, value in before[path].items() if after[path][fact] != value]
    return found


CHECKS: Final = (
    Check("adapter-state-dict", "The codec's state dict keeps exactly the base's keys", keeps_keys),
    Check("adapter-disabled-picture", "Disabled, the picture is the base's, bit for bit", is_off),
    Check("adapter-disabled-strings", "Disabled, the strings are the base's", codes_as_base_when_off),
    Check("adapter-nested-disable", "Nested `disable_adapters` give the adapter back as it was", comes_back),
    Check("adapter-detach", "Attached twice and detached, nothing stays behind in the codec", leaves_no_trace),
    Check(
        "adapter-stock-decoder",
        "Streams can be read without it; the end it does not sit at is unchanged",
        leaves_coding,
    ),
    Check("adapter-round-trip", "Encoding and decoding give what forward in eval mode gives", codes_as_forward),
)
