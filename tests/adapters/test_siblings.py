"""What the small adapters promise alike, on codecs of every shape."""

import pytest
import torch

from icmh_plugins.adapters.activate import set_adapter
from icmh_plugins.adapters.attach import attach_adapter
from icmh_plugins.adapters.store import load_adapter, save_adapter
from icmh_plugins.testing.toys import COMPRESSAI_MODELS, TOYS

CODECS = {**TOYS, **COMPRESSAI_MODELS}


@pytest.mark.parametrize(
    ("adapter", "options", "amount"), [("channel-gate", {"reduction": 4}, 0.5), ("scale", {}, 0.2)]
)
@pytest.mark.parametrize("name", ["tuple", "token", "slice", "mbt2018-mean", "cheng2020-anchor-checkerboard"])
def test_attached_trained_saved_and_switched_off(adapter, options, amount, name, image, code, train, tmp_path):
    model, other = CODECS[name](), CODECS[name]()
    strings, pixels = code(model, image)
    attach_adapter(model, adapter, **options)
    assert code(model, image)[0] == strings
    train(model, amount=amount)
    adapted, changed = code(model, image)
    assert adapted != strings
    save_adapter(model, tmp_path / "saved")
    load_adapter(other, tmp_path / "saved")
    ours, decoded = code(other, image)
    assert ours == adapted
    assert torch.equal(decoded, changed)
    set_adapter(model, None)
    ours, decoded = code(model, image)
    assert ours == strings
    assert torch.equal(decoded, pixels)
