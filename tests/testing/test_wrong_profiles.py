"""One wrong codec profile for each check, which notices it."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from torch import nn

from icmh_plugins import CodecProfileSpec, hookimpl, register_plugin
from icmh_plugins.codecs.sites import CodecProfile, Site
from icmh_plugins.testing import CodecProfileConformance
from icmh_plugins.testing.checks.tables import PROFILE_CHECKS
from icmh_plugins.testing.running import run_checks
from icmh_plugins.testing.toy_parts import enliven, seeded
from icmh_plugins.testing.toy_wrapper import WrapperCodec

ENC = Site("g_a.analysis_transform.1", "analysis", 12, 2, "GELU")
DEC = Site("g_s.synthesis_transform.5", "synthesis", 12, 2, "GELU")
IMAGE = Site("g_s.synthesis_transform.6", "reconstruction", 3, 1, "ConvTranspose2d")
ENTROPY = ("entropy_bottleneck", "gaussian_conditional")
RIGHT = CodecProfile("OddCodec", (ENC, DEC, IMAGE), 16, ENTROPY)
counter = itertools.count()


class Jealous(nn.Module):
    """Remembers what it gave last."""

    last = None

    def forward(self, x):
        self.last = 2 * x
        return self.last


class OddCodec(WrapperCodec):
    """With a part that is never called, one whose result nobody uses, and one whose result must not be replaced."""

    def __init__(self):
        super().__init__()
        self.spare, self.idle, self.jealous = nn.GELU(), nn.GELU(), Jealous()

    def to_latent(self, x):
        self.idle(x)
        y = self.jealous(super().to_latent(x))
        return y if y is self.jealous.last else y + 1


def right(model):
    return RIGHT


def broken(model):
    raise ValueError("not today")


def not_json(model):
    return replace(RIGHT, sites=(replace(ENC, element=complex(0)),))


def twice(model):
    return replace(RIGHT, sites=(ENC, ENC))


def misspelt(model):
    return replace(RIGHT, sites=(replace(ENC, path="g_a.analysis_transform.11"),))


def other_class(model):
    return replace(RIGHT, sites=(replace(ENC, module_class="ReLU"),))


def half_the_entropy_models(model):
    return replace(RIGHT, entropy_modules=ENTROPY[:1])


def other_element(model):
    return replace(RIGHT, sites=(replace(ENC, element=0),))


def other_channels(model):
    return replace(RIGHT, sites=(replace(ENC, channels=13),))


def other_stride(model):
    return replace(RIGHT, sites=(replace(ENC, stride=4),))


def other_latent_stride(model):
    return replace(RIGHT, latent_stride=8)


def never_called(model):
    return replace(RIGHT, sites=(Site("spare", "analysis", 12, 2, "GELU"),))


def other_side(model):
    return replace(RIGHT, sites=(replace(DEC, side="analysis"),))


def no_picture(model):
    return replace(RIGHT, sites=(replace(IMAGE, side="synthesis"),))


def changing(model):
    return replace(RIGHT, notes=(str(next(counter)),))


def claiming(model):
    return RIGHT


def replaced(model):
    return replace(RIGHT, sites=(Site("jealous", "analysis", 16, 16, "Jealous"),))


def without_effect(model):
    return replace(RIGHT, sites=(Site("idle", "analysis", 3, 1, "GELU"),))


WRONG = {
    "profile-builds": (broken, set()),
    "profile-accepted": (misspelt, {"profile-paths"}),
    "profile-json": (not_json, {"profile-feature-map", "profile-accepted"}),
    "profile-unique-names": (twice, set()),
    "profile-paths": (misspelt, {"profile-accepted"}),
    "profile-module-class": (other_class, {"profile-accepted"}),
    "profile-entropy-modules": (half_the_entropy_models, set()),
    "profile-feature-map": (other_element, {"profile-accepted"}),
    "profile-channels": (other_channels, {"profile-accepted"}),
    "profile-stride": (other_stride, {"profile-accepted"}),
    "profile-latent-stride": (other_latent_stride, set()),
    "profile-fires-once": (never_called, {"profile-accepted", "profile-side"}),
    "profile-side": (other_side, {"profile-accepted"}),
    "profile-reconstruction": (no_picture, {"profile-accepted"}),
    "profile-codec-untouched": (changing, set()),
    "profile-class-names": (claiming, set()),
    "profile-attach-identity": (replaced, set()),
    "profile-effect": (without_effect, set()),
}
"""For each check a profile that fails it, and the other checks that may fail with it."""


class Profiles:
    @hookimpl
    def register_codec_profiles(self):
        for build in {right, *(build for build, _ in WRONG.values())}:
            classes = ("EvenCodec",) if build is claiming else ()
            name = f"wrong-{build.__name__.replace('_', '-')}"
            yield CodecProfileSpec(name, f"{__name__}:{build.__name__}", "Wrong", class_names=classes)


@pytest.fixture
def trial():
    register_plugin(Profiles(), "profiles")

    def codec(self):
        model = seeded(OddCodec)
        return enliven(model, [model.g_a], [model.g_s], model.to_latent, model.to_image)

    def make(build):
        name = f"wrong-{build.__name__.replace('_', '-')}"
        return type("Of", (CodecProfileConformance,), {"profile": name, "codec": codec})()

    return make


def test_every_check_has_its_wrong_profile():
    assert WRONG.keys() == {check.id for check in PROFILE_CHECKS}


@pytest.mark.parametrize("check", PROFILE_CHECKS, ids=lambda check: check.id)
def test_the_check_notices_and_no_other_does(check, trial):
    build, others = WRONG[check.id]
    results = {result.check: result for result in run_checks(trial(build))}
    failed = {name for name, result in results.items() if not result.ok}
    assert check.id in failed
    assert failed - others == {check.id}
    assert len(results[check.id].message) > 20


def test_nothing_is_wrong_with_the_right_one(trial):
    assert [result for result in run_checks(trial(right)) if not result.ok] == []
