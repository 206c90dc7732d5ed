"""What authors can say in a conformance class, and what is refused."""

from __future__ import annotations

import pytest

from icmh_plugins.adapters.bottleneck import Bottleneck
from icmh_plugins.errors import ConfigError
from icmh_plugins.testing import AdapterConformance, run_checks
from icmh_plugins.testing.checks.adapter_case import codecs_to_try
from icmh_plugins.testing.checks.tables import ADAPTER_CHECKS
from icmh_plugins.testing.running import run_check

CHECKS = {check.id: check for check in ADAPTER_CHECKS}


def suite(**attributes):
    return type("Of", (AdapterConformance,), {"adapter": "scale", **attributes})()


def test_real_codecs_are_added_by_a_variable(monkeypatch):
    monkeypatch.delenv("ICMH_REAL_CODECS", raising=False)
    toys = codecs_to_try()
    monkeypatch.setenv("ICMH_REAL_CODECS", "1")
    assert codecs_to_try()[: len(toys)] == toys
    assert {"mbt2018-mean", "cheng2020-attn"} <= set(codecs_to_try())


@pytest.mark.parametrize("name", ["adapter-shape", "adapter-disabled-strings", "adapter-round-trip"])
def test_a_codec_of_compressai_can_be_named(name):
    assert run_check(suite(codecs=["mbt2018-mean"]), CHECKS[name]).outcome == "passed"


def test_a_codec_that_the_kit_does_not_have_is_named():
    result = run_check(suite(codecs=["tupel"]), CHECKS["adapter-attaches"])
    assert result.outcome == "failed"
    assert "Did you mean 'tuple'?" in result.message


def test_sites_are_passed_on():
    result = run_check(suite(codecs=["wrapper"], sites=["enc3"]), CHECKS["adapter-attaches"])
    assert "has no site 'enc3'" in result.message


def test_a_name_that_nobody_offers_fails_once():
    results = list(run_checks(suite(adapter="scael")))
    assert [result.check for result in results if not result.ok] == ["adapter-attaches"]
    assert "Did you mean 'scale'?" in results[0].message


def test_a_class_without_a_name_of_its_own_is_checked_as_far_as_that_goes():
    class Local(Bottleneck):
        pass

    results = {name: run_check(suite(adapter=Local, codecs=["wrapper"]), CHECKS[name]) for name in CHECKS}
    assert results["adapter-shape"].outcome == "passed"
    assert results["adapter-save-load"].outcome == "skipped"
    assert results["adapter-pickle"].outcome == "failed"
    assert "Remedy" in results["adapter-pickle"].message


def test_a_suite_that_names_nothing_is_refused():
    with pytest.raises(ConfigError, match="Remedy: adapter = 'name'"):
        next(run_checks(type("Of", (AdapterConformance,), {})()))
