"""The conformance kit on the adapter, and what only this adapter promises."""

from __future__ import annotations

import torch
from icmh_gate.adapter import Gate

import icmh_plugins as icmh
from icmh_plugins.testing import AdapterConformance, PackageConformance


class TestGate(AdapterConformance):
    """Everything that icmh-plugins asks of an adapter."""

    adapter = "gate"


class TestPackage(PackageConformance):
    """Everything that it asks of a package: quick to list, complete, requirements declared."""

    distribution = "icmh-gate"


def test_a_channel_changes_by_the_limit_at_most() -> None:
    """The gain goes to 1 + limit, however large the weight."""
    site = icmh.Site("g_a.1", "analysis", channels=4, stride=2, module_class="GDN")
    adapter = Gate(site, Gate.make_config({"limit": 0.5}))
    torch.nn.init.constant_(adapter.weight, 20.0)
    x = torch.rand(2, 4, 5, 7)
    assert torch.allclose(adapter(x), 1.5 * x)
