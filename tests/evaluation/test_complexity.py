"""Operations counted also where an adapter sends a message with the stream."""

from __future__ import annotations

import pytest

import icmh_plugins as icmh
from icmh_plugins.evaluation.complexity import complexity
from icmh_plugins.testing.toys import COMPRESSAI_MODELS


@pytest.mark.parametrize("condition", ["none", "hint", "side-info"])
def test_operations_of_adapters_are_counted(condition):
    pytest.importorskip("open_clip")
    codec = COMPRESSAI_MODELS["mbt2018-mean"]()
    icmh.attach_adapter(codec, "ll-icm", condition=condition, width=8, levels=2, blocks=1, condition_dim=16)
    found = complexity(codec)
    assert found.adapter_decoder_kmac_per_pixel > 0
    assert found.base_parameters == sum(p.numel() for p in COMPRESSAI_MODELS["mbt2018-mean"]().parameters())
