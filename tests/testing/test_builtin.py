"""Every built-in adapter, task and codec profile conforms, and so does the package."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from icmh_plugins.registry import catalog
from icmh_plugins.testing import builtin
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
    TestPillow,
    TestRestoration,
    TestScale,
    TestSFMA,
)
from icmh_plugins.testing.conformance import Conformance

ROOT = Path(__file__).parents[2]


class TestPackage(builtin.TestPackage):
    """The package, with the metadata that it would be published with."""

    @pytest.fixture(autouse=True, scope="class")
    def metadata(self, tmp_path_factory):
        backend = pytest.importorskip("hatchling.build")
        folder, before = tmp_path_factory.mktemp("metadata"), Path.cwd()
        os.chdir(ROOT)
        try:
            backend.prepare_metadata_for_build_editable(str(folder))
        finally:
            os.chdir(before)
        with pytest.MonkeyPatch.context() as patch:
            patch.syspath_prepend(folder)
            yield


def test_every_built_in_is_checked():
    suites = [cls for cls in globals().values() if isinstance(cls, type) and issubclass(cls, Conformance)]
    for kind, attribute in (("adapter", "adapter"), ("task", "task"), ("codec-profile", "profile")):
        checked = {catalog.find(kind, getattr(cls, attribute)).spec.target for cls in suites if hasattr(cls, attribute)}
        offered = {entry.spec.target for entry in catalog.specs(kind).values() if entry.distribution == "icmh-plugins"}
        assert checked == offered
