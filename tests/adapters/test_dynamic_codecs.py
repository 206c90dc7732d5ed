"""The dynamic adaptation network behind every codec: bits and human view stay, the machine view changes."""

from unittest.mock import patch

import pytest
import torch

import icmh_plugins as icmh
from icmh_plugins.adapters.host import host_of
from icmh_plugins.errors import AdapterError, SiteError
from icmh_plugins.testing.toys import COMPRESSAI_MODELS, TOYS

CODECS = {**TOYS, **COMPRESSAI_MODELS}
SMALL = {"width": 8, "tile": 32}


def test_bits_and_human_view_stay(build, image, train):
    model = build()
    plain = icmh.encode(model, image)
    human = icmh.decode(model, plain)
    icmh.attach_adapter(model, "dynamic", **SMALL)
    assert {site.alias for site in host_of(model).records["dynamic"].sites} == {"image"}
    assert torch.equal(icmh.decode(model, plain, views=["dynamic"])["dynamic"], human)

    train(model)
    stream = icmh.encode(model, image)
    with icmh.disable_adapters(model):
        assert icmh.encode(model, image) == plain
    assert icmh.inspect(stream).string_bytes == icmh.inspect(plain).string_bytes
    views = icmh.decode(model, stream, views=["human", "dynamic"])
    assert torch.equal(views["human"], human)
    assert torch.equal(icmh.decode(model, stream), views["dynamic"])
    assert not torch.equal(views["dynamic"], human)


def test_beside_sfma_it_works_on_what_that_decodes(build, image, code, train):
    model = build()
    train(icmh.attach_adapter(model, "sfma", middle_dim=4))
    strings, decoded = code(model, image)
    train(icmh.attach_adapter(model, "dynamic", **SMALL), "dynamic")
    assert host_of(model).active == ("sfma", "dynamic")
    ours, adapted = code(model, image)
    assert ours == strings
    assert not torch.equal(adapted, decoded)
    views = icmh.decode(model, icmh.encode(model, image), views=["sfma", "dynamic", "human"])
    assert torch.equal(views["sfma"], decoded)
    assert len({tuple(view.flatten().tolist()) for view in views.values()}) == 3


def test_two_for_two_tasks_share_the_image_but_not_the_moment(codec):
    icmh.attach_adapter(codec, "dynamic", name="det", **SMALL)
    icmh.attach_adapter(codec, "dan", name="cls", **SMALL)
    assert host_of(codec).active == ("cls",)
    with pytest.raises(AdapterError, match="both sit at"):
        icmh.set_adapter(codec, ["det", "cls"])


def test_it_sits_on_the_image_only(codec):
    with pytest.raises(SiteError, match="may sit on reconstruction only"):
        icmh.attach_adapter(codec, "dynamic", sites=["g_s.5"])


def test_any_size_through_a_file(codec, train, tmp_path):
    train(icmh.attach_adapter(codec, "dynamic", **SMALL))
    icmh.save_adapter(codec, tmp_path / "dynamic")
    fresh = type(codec).from_state_dict(codec.state_dict()).eval()
    icmh.load_adapter(fresh, tmp_path / "dynamic")
    image = torch.rand(1, 3, 1, 75, generator=torch.Generator().manual_seed(0))
    stream = icmh.encode(codec, image)
    assert icmh.decode(fresh, stream).shape == (1, 3, 1, 75)
    assert torch.equal(icmh.decode(fresh, stream), icmh.decode(codec, stream))


@pytest.mark.parametrize("name", ["mbt2018-mean", "cheng2020-anchor", "slice", "wrapper"])
def test_all_views_come_from_one_entropy_decoding(name, image, train):
    model = CODECS[name]()
    for seed, task in enumerate(("det", "cls")):
        train(icmh.attach_adapter(model, "dynamic", name=task, **SMALL), task, seed=seed)
    stream = icmh.encode(model, image)
    alone = {view: icmh.decode(model, stream, views=[view])[view] for view in ("human", "det", "cls")}
    bottleneck = model.entropy_bottleneck
    with patch.object(bottleneck, "decompress", side_effect=bottleneck.decompress) as decoding:
        together = icmh.decode(model, stream, views=["human", "det", "cls"])
    assert decoding.call_count == 1
    assert all(torch.equal(together[view], alone[view]) for view in alone)
    assert not torch.equal(alone["det"], alone["cls"])
