import numpy as np
import pytest
import torch

import icmh_plugins as icmh
from icmh_plugins.data.images import write_image
from icmh_plugins.evaluation.clean import clean_change
from icmh_plugins.testing.toys import COMPRESSAI_MODELS


@pytest.fixture
def folder(tmp_path):
    for name in ("a", "b"):
        write_image(tmp_path / f"{name}.png", torch.rand(3, 40, 50, generator=torch.Generator().manual_seed(ord(name))))
    return tmp_path


@pytest.fixture
def codec():
    return icmh.attach_adapter(COMPRESSAI_MODELS["mbt2018-mean"](), "bottleneck", sites=["dec2"], middle_dim=4)


def test_an_untrained_adapter_leaves_clean_pictures_alone(codec, folder):
    found = clean_change(codec, folder)
    assert np.isinf(found.change).all()
    assert found.loss == 0
    assert found.base.shape == (2,)


def test_a_harmful_one_is_noticed(codec, folder):
    with torch.no_grad():
        for parameter in icmh.adapter_parameters(codec):
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    found = clean_change(codec, folder, limit=1)
    assert found.change.shape == (1,)
    assert found.change[0] < 40
    assert found.loss == pytest.approx(float(found.base[0] - found.adapted[0]))
