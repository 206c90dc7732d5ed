"""One wrong adapter for each check, which notices it."""

from __future__ import annotations

import os
import sys
from typing import Any

import pytest
import torch
from pydantic import Field, field_validator
from torch import nn
from torch.nn import functional as F

from icmh_plugins import AdapterSpec, hookimpl, register_plugin
from icmh_plugins.adapters.base import Adapter, AdapterConfig
from icmh_plugins.codecs.choosing import traced_sites
from icmh_plugins.codecs.tracing import trace
from icmh_plugins.testing import AdapterConformance
from icmh_plugins.testing.checks.adapter_case import built_codec
from icmh_plugins.testing.checks.tables import ADAPTER_CHECKS
from icmh_plugins.testing.running import run_check, run_checks

CODEC = "wrapper"


class Right(Adapter):
    """A gain per channel; nothing is wrong with it."""

    paper = "nobody's"

    def __init__(self, site, config):
        super().__init__(site, config)
        self.gain = nn.Parameter(torch.zeros(site.channels, 1, 1))

    def forward(self, x):
        return self.change(x).to(x.dtype)

    def change(self, x):
        return x + self.gain * x


def caller(name: str) -> Any:
    """The first `self` among the callers that has a part `name`: how a plug-in could reach the codec, and must not."""
    frame = sys._getframe(1)
    while frame is not None:
        found = frame.f_locals.get("self")
        if name in getattr(found, "_modules", {}):
            return found
        frame = frame.f_back
    return None


def is_called_by(name: str) -> bool:
    frame = sys._getframe(1)
    while frame is not None and frame.f_code.co_name != name:
        frame = frame.f_back
    return frame is not None


class Broken(Right):
    def __init__(self, site, config):
        raise ValueError("not today")


class NoPaper(Right):
    paper = ""


class Lax(Right):
    @classmethod
    def make_config(cls, options):
        return super().make_config({key: value for key, value in options.items() if key in cls.Config.model_fields})


class AnythingConfig(AdapterConfig):
    size: Any = 1


class Anything(Right):
    Config = AnythingConfig


class DoublingConfig(AdapterConfig):
    size: float = Field(1.0, validate_default=True)

    @field_validator("size")
    @classmethod
    def twice(cls, value):
        return 2 * value


class Doubling(Right):
    Config = DoublingConfig


class OnEntropySide(Right):
    sides = ("entropy",)

    @classmethod
    def default_sites(cls, profile, config):
        model = built_codec(CODEC)
        return [site for site in traced_sites(model, trace(model)) if site.side == "entropy"][:1]


class Needy(Right):
    def __init__(self, site, config):
        super().__init__(site, config)
        try:
            import yaml  # noqa: F401
        except ImportError:
            raise ValueError("something is missing") from None


class OnlyEven(Right):
    def change(self, x):
        return super().change(x)[..., : x.shape[2] // 2 * 2, :]


class OnlySingle(Right):
    def forward(self, x):
        return self.change(x).to(torch.float32 if x.dtype == torch.float64 else x.dtype)


class ForgetsTheType(Right):
    def __init__(self, site, config):
        super().__init__(site, config)
        self.mix = nn.Conv2d(site.channels, site.channels, 1, bias=False)
        nn.init.dirac_(self.mix.weight)

    def forward(self, x):
        return self.mix(self.change(x).to(x.dtype))


class Root(Right):
    def change(self, x):
        return x + self.gain * x.abs().sqrt()


class NoIdentity(Right):
    def change(self, x):
        return super().change(x) + 0.01


class Overwriting(Right):
    def change(self, x):
        x.data[..., 0, 0] = 0
        return super().change(x)


class Strided(Right):
    def change(self, x):
        return super().change(x.as_strided(x.shape, torch.empty(x.shape).stride()))


class Noisy(Right):
    def change(self, x):
        return x + self.gain * F.dropout(x, 0.5, training=True)


class OverTheBatch(Right):
    def change(self, x):
        return x + self.gain * (x - x.mean((0, 2, 3), keepdim=True))


class Detaching(Right):
    def change(self, x):
        return super().change(x.detach())


class MergesNothing(Right):
    layers = (nn.Conv2d, nn.ConvTranspose2d)
    strides = None
    mergeable = True

    def __init__(self, site, config, layer):
        super().__init__(site, config)
        self.inputs, self.double = layer.in_channels, isinstance(layer, nn.Conv2d)

    def forward(self, x, given):
        return super().forward(x)

    def merge(self, layer):
        pass

    def example_inputs(self, site, side):
        given = (side // site.stride * 2) if self.double else side // site.stride // 2
        return *super().example_inputs(site, side), torch.zeros(1, self.inputs, given, given)


class Unused(Right):
    def __init__(self, site, config):
        super().__init__(site, config)
        self.spare = nn.Parameter(torch.zeros(1))


class Thawing(Right):
    def change(self, x):
        codec = caller("entropy_bottleneck")
        if codec is not None:
            codec.g_a.requires_grad_(True)
        return super().change(x)


class Ascending(Right):
    def change(self, x):
        return x + (2 * self.gain.detach() - self.gain) * x


class Meddling(Right):
    def change(self, x):
        codec = caller("entropy_bottleneck")
        if codec is not None and self.training:
            codec.h_s[0].weight.data.mul_(1.01)
        return super().change(x)


class Stashing(Right):
    def change(self, x):
        codec = caller("entropy_bottleneck")
        if codec is not None:
            codec.register_buffer("stash", torch.zeros(1))
        return super().change(x)


def shifted(module, args, output):
    return output + 0.2


class Haunting(Right):
    """Leaves a hook on one part of the codec."""

    part = "g_s"

    def change(self, x):
        codec = caller("entropy_bottleneck")
        if codec is not None:
            module = getattr(codec, self.part)
            module._forward_hooks.clear()
            module.register_forward_hook(shifted)
        return super().change(x)


class HauntingTheEncoder(Haunting):
    part = "g_a"


class HauntingFromTheEncoder(Haunting):
    sides = ("analysis",)


class Counting(Right):
    calls = 0

    def change(self, x):
        self.calls += 1
        return super().change(x) + self.gain * 0.01 * self.calls


class Marking(Right):
    def change(self, x):
        codec = caller("entropy_bottleneck")
        if codec is not None:
            codec.touched = True
        return super().change(x)


class OtherwiseAtTheDecoder(Right):
    def change(self, x):
        return super().change(x) + (0.1 if is_called_by("decompress") else 0) * self.gain


class Forgetful(Right):
    def __init__(self, site, config):
        super().__init__(site, config)
        self.offset = torch.rand(())

    def change(self, x):
        return x + self.gain * self.offset


class Hiding(Right):
    def state_dict(self, *args, **kwargs):
        return {}


class OneForAll(Right):
    def __deepcopy__(self, memo):
        return self


class Lambda(Right):
    def __init__(self, site, config):
        super().__init__(site, config)
        self.double = lambda x: 2 * x


class PerProcess(Right):
    def change(self, x):
        return x + self.gain * (os.getpid() % 97 + 1)


class NeedyPlugin:
    @hookimpl
    def register_adapters(self):
        yield AdapterSpec("needy", f"{__name__}:Needy", "Needs a package", requires=("pyyaml",))


ANY = frozenset(check.id for check in ADAPTER_CHECKS)
FILES = {"adapter-save-load", "adapter-fresh-process"}

WRONG: dict[str, tuple[type[Adapter] | str, frozenset[str] | set[str]]] = {
    "adapter-attaches": (Broken, set()),
    "adapter-flags": (NoPaper, set()),
    "adapter-config-unknown-key": (Lax, set()),
    "adapter-config-wrong-value": (Anything, set()),
    "adapter-config-json": (Doubling, {"adapter-save-load"}),
    "adapter-entropy-side": (OnEntropySide, {"adapter-attaches"}),
    "adapter-missing-dependency": ("needy", set()),
    "adapter-shape": (OnlyEven, ANY),
    "adapter-dtype": (OnlySingle, set()),
    "adapter-autocast": (ForgetsTheType, set()),
    "adapter-finite": (Root, {"adapter-learns"}),
    "adapter-identity": (NoIdentity, set()),
    "adapter-input-untouched": (Overwriting, set()),
    "adapter-memory-layout": (Strided, set()),
    "adapter-deterministic": (Noisy, ANY),
    "adapter-batch-independent": (OverTheBatch, set()),
    "adapter-passes-gradients": (Detaching, {"adapter-gradients"}),
    "adapter-mergeable": (MergesNothing, set()),
    "adapter-gradients": (Unused, set()),
    "adapter-base-gradients": (Thawing, {"adapter-detach"}),
    "adapter-learns": (Ascending, set()),
    "adapter-base-untouched": (Meddling, set()),
    "adapter-state-dict": (Stashing, ANY),
    "adapter-disabled-picture": (Haunting, ANY),
    "adapter-disabled-strings": (HauntingTheEncoder, ANY),
    "adapter-nested-disable": (Counting, ANY),
    "adapter-detach": (Marking, set()),
    "adapter-stock-decoder": (HauntingFromTheEncoder, ANY),
    "adapter-round-trip": (OtherwiseAtTheDecoder, set()),
    "adapter-save-load": (Forgetful, FILES),
    "adapter-file-keys": (Hiding, FILES),
    "adapter-deepcopy": (OneForAll, set()),
    "adapter-pickle": (Lambda, set()),
    "adapter-fresh-process": (PerProcess, set()),
}
"""For each check an adapter that fails it, and the other checks that may fail with it."""


@pytest.fixture
def trial():
    register_plugin(NeedyPlugin(), "needy")
    return lambda adapter: type("Of", (AdapterConformance,), {"adapter": adapter, "codecs": [CODEC]})()


def test_every_check_has_its_wrong_adapter():
    assert list(WRONG) == [check.id for check in sorted(ADAPTER_CHECKS, key=lambda c: list(WRONG).index(c.id))]
    assert WRONG.keys() == ANY


@pytest.mark.parametrize("check", ADAPTER_CHECKS, ids=lambda check: check.id)
def test_the_check_notices(check, trial):
    result = run_check(trial(WRONG[check.id][0]), check)
    assert result.outcome == "failed"
    assert "Remedy" in result.message or check.id in ("adapter-attaches", "adapter-missing-dependency")


def test_nothing_is_wrong_with_the_right_one(trial):
    assert [result for result in run_checks(trial(Right)) if not result.ok] == []


@pytest.mark.slow
@pytest.mark.parametrize("check", ADAPTER_CHECKS, ids=lambda check: check.id)
def test_no_other_check_notices(check, trial):
    adapter, others = WRONG[check.id]
    failed = {result.check for result in run_checks(trial(adapter)) if not result.ok}
    assert failed - others <= {check.id}


def test_failures_that_are_expected_pass_and_passes_that_are_not_fail(trial):
    checks = {check.id: check for check in ADAPTER_CHECKS}
    pickle, deepcopy = checks["adapter-pickle"], checks["adapter-deepcopy"]
    suite = trial(Lambda)
    type(suite).expected_failures = {pickle.id: "keeps a function", deepcopy.id: "I think so"}
    outcomes = {check.id: run_check(suite, check) for check in (pickle, deepcopy)}
    assert outcomes[pickle.id].outcome == "expected failure"
    assert "keeps a function" in outcomes[pickle.id].message
    assert outcomes[deepcopy.id].outcome == "unexpected pass"
    assert not outcomes[deepcopy.id].ok
    assert deepcopy.id in outcomes[deepcopy.id].message
