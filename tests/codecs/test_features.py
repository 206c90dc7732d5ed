from collections import namedtuple

import pytest
import torch

from icmh_plugins.codecs.features import Feature, feature_of

SIZE = (256, 384)


def zeros(*shape):
    return torch.zeros(1, *shape)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (zeros(7, 64, 96), Feature(7, 4)),
        (zeros(64, 96, 7), Feature(7, 4, "nhwc")),
        (zeros(3, 256, 384), Feature(3, 1)),
        ((zeros(7, 64, 96), [zeros(1)]), Feature(7, 4, element=0)),
        ((None, zeros(7, 64, 96)), Feature(7, 4, element=1)),
        ({"a": 1, "y": zeros(7, 16, 24)}, Feature(7, 16, element="y")),
        (namedtuple("Out", "y")(zeros(7, 16, 24)), Feature(7, 16, element=0)),
        ((zeros(16 * 24, 9), 16, 24), Feature(9, 16, "blc", 0)),
        ((zeros(16 * 24, 9), 24, 16), None),
        (zeros(16 * 24, 9), None),
        (zeros(7, 96, 64), None),
        (zeros(7, 1, 1), None),
        (torch.zeros(24, 7, 64, 96), None),
        (zeros(0, 0, 0), None),
        ("text", None),
    ],
)
def test_feature_maps_are_recognised(value, expected):
    assert feature_of(value, SIZE) == expected
