import numpy as np
import pytest
import torch

import icmh_plugins as icmh
from icmh_plugins.data.images import write_image
from icmh_plugins.errors import AdapterError, DataError
from icmh_plugins.evaluation.clean import CleanChange, clean_change
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


def test_both_views_come_from_one_entropy_decoding(codec, folder, monkeypatch):
    calls, decompress = [], type(codec).decompress
    monkeypatch.setattr(type(codec), "decompress", lambda *args: calls.append(1) or decompress(*args))
    clean_change(codec, folder, limit=1)
    assert len(calls) == 1


def test_the_own_view_is_that_of_all_active_adapters(codec, folder):
    icmh.attach_adapter(codec, "dynamic", width=8)
    icmh.set_adapter(codec, ["bottleneck", "dynamic"])
    with torch.no_grad():
        for parameter in icmh.adapter_parameters(codec, "dynamic"):
            parameter.add_(0.1)
    assert clean_change(codec, folder, limit=1).change[0] < 60


def test_exact_pictures_cost_nothing():
    """Where both views are exact, infinity minus infinity is no number."""
    infinite = np.array([np.inf, 30.0])
    assert CleanChange(infinite, np.array([np.inf, 29.0]), infinite).loss == 0.5


def test_nothing_to_measure_is_refused(codec, folder):
    with pytest.raises(DataError, match="no picture to measure: 2 in the data, limit=0"):
        clean_change(codec, folder, limit=0)
    with icmh.disable_adapters(codec), pytest.raises(AdapterError, match="no decoder-side adapter is active"):
        clean_change(codec, folder)
    with pytest.raises(AdapterError, match="no decoder-side adapter is active"):
        clean_change(COMPRESSAI_MODELS["mbt2018-mean"](), folder)


def test_a_harmful_one_is_noticed(codec, folder):
    with torch.no_grad():
        for parameter in icmh.adapter_parameters(codec):
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    found = clean_change(codec, folder, limit=1)
    assert found.change.shape == (1,)
    assert found.change[0] < 40
    assert found.loss == pytest.approx(float(found.base[0] - found.adapted[0]))
