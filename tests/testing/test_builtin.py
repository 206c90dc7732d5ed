"""Every built-in adapter, task and codec profile conforms, and so does the package."""

from __future__ import annotations

from icmh_plugins.registry import catalog
from icmh_plugins.testing.builtin import (  # noqa: F401  (pytest collects them)
    TestAdaptICMH,
    TestBottleneck,
    TestChannelGate,
    TestClassification,
    TestConvLoRA,
    TestDetection,
    TestDynamic,
    TestHuman,
    TestInstanceSegmentation,
    TestLLICM,
    TestPackage,
    TestPillow,
    TestRestoration,
    TestScale,
    TestSFMA,
)
from icmh_plugins.testing.conformance import Conformance


def test_every_built_in_is_checked():
    suites = [cls for cls in globals().values() if isinstance(cls, type) and issubclass(cls, Conformance)]
    for kind, attribute in (("adapter", "adapter"), ("task", "task"), ("codec-profile", "profile")):
        checked = {catalog.find(kind, getattr(cls, attribute)).spec.target for cls in suites if hasattr(cls, attribute)}
        offered = {entry.spec.target for entry in catalog.specs(kind).values() if entry.distribution == "icmh-plugins"}
        assert checked == offered
