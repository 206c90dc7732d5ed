"""The conformance kit on the profile, and what only this profile promises."""

from __future__ import annotations

from icmh_tic_profile.codec import small_tic
from torch import nn

import icmh_plugins as icmh
from icmh_plugins.testing import CodecProfileConformance, PackageConformance


class TestTicProfile(CodecProfileConformance):
    """Everything that icmh-plugins asks of a codec profile."""

    profile = "tic-profile"

    def codec(self) -> nn.Module:
        """A small codec."""
        return small_tic()


class TestPackage(PackageConformance):
    """Everything that it asks of a package: quick to list, complete, requirements declared."""

    distribution = "icmh-tic-profile"


def test_it_places_sfma_as_published() -> None:
    """After the blocks of the encoder, after the up-sampling of the decoder."""
    plan = icmh.attach_adapter(small_tic(), "sfma", dry_run=True)
    assert [row.site for row in plan.rows if row.adapter] == ["g_a1", "g_a3", "g_a5", "g_s1", "g_s3", "g_s5"]
