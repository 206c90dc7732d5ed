from __future__ import annotations

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn

from icmh_plugins.errors import ConfigError
from icmh_plugins.tasks.networks import FeatureNet
from icmh_plugins.tasks.preprocess import Preprocess


def test_layers_and_output_are_those_of_the_network(tiny_net, images):
    net = FeatureNet(tiny_net, ["pair", "first"])
    features, output = net(images)
    first = tiny_net.first(images)
    assert list(features) == ["pair", "first"]
    assert torch.equal(features["first"], first)
    assert torch.equal(features["pair"], 2 * tiny_net.norm(first.relu()))
    assert torch.equal(output, tiny_net(images))


def test_an_in_place_activation_does_not_overwrite_a_feature(tiny_net, images):
    features, _ = FeatureNet(tiny_net, ["first"])(images)
    assert features["first"].min() < 0


def test_the_network_is_frozen_and_stays_in_eval_mode(tiny_net):
    net = nn.Sequential(FeatureNet(tiny_net)).train()
    assert not any(m.training for m in net[0].modules())
    assert not any(p.requires_grad for p in net.parameters())


def test_a_copy_records_its_own_activations(tiny_net, images):
    net = FeatureNet(tiny_net, ["first"])
    twin = copy.deepcopy(net)
    with torch.no_grad():
        twin.network.first.bias.add_(1)
    assert torch.allclose(twin(images)[0]["first"], net(images)[0]["first"] + 1, atol=1e-6)


def test_it_survives_pickling(images):
    torch.manual_seed(0)
    net = FeatureNet(nn.Sequential(nn.Conv2d(3, 2, 1), nn.ReLU()), ["0"])
    assert torch.equal(pickle.loads(pickle.dumps(net))(images)[0]["0"], net(images)[0]["0"])


def test_threads_do_not_mix_their_features(tiny_net):
    net = FeatureNet(tiny_net, ["first"])
    batches = [torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(i)) for i in range(40)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda x: net(x)[0]["first"], batches))
    assert all(torch.equal(f, tiny_net.first(x)) for f, x in zip(found, batches, strict=True))


def test_an_unknown_layer_gets_a_near_match(tiny_net):
    with pytest.raises(ConfigError, match=r"'frist'.*Did you mean 'first'"):
        FeatureNet(tiny_net, ["frist"])


@pytest.mark.parametrize(("layers", "message"), [(["first", "first"], "twice"), ([""], "no layer ''")])
def test_layers_that_make_no_sense_are_refused_before_hooks_are_set(tiny_net, layers, message):
    with pytest.raises(ConfigError, match=message):
        FeatureNet(tiny_net, layers)
    assert not tiny_net.first._forward_hooks


def test_a_layer_that_does_not_run_is_named(tiny_net, images):
    with pytest.raises(ConfigError, match="'unused'"):
        FeatureNet(tiny_net, ["unused"])(images)


def test_preprocess_normalises_as_written():
    out = Preprocess((0.5, 0.25, 0.0), (0.5, 0.25, 2.0))(torch.full((1, 3, 2, 2), 0.75))
    assert torch.equal(out[0, :, 0, 0], torch.tensor([0.5, 2.0, 0.375]))


def test_preprocess_clips_and_gives_no_gradient_outside():
    x = torch.tensor([-0.5, 0.5, 1.5]).view(1, 3, 1, 1).requires_grad_()
    out = Preprocess((0.0,) * 3, (1.0,) * 3)(x)
    out.sum().backward()
    assert out.flatten().tolist() == [0.0, 0.5, 1.0]
    assert x.grad.flatten().tolist() == [0.0, 1.0, 0.0]


@pytest.mark.parametrize(("resize", "inner"), [(None, 8), (10, 10)])
def test_preprocess_resizes_the_shorter_side_then_crops(resize, inner):
    ramp = torch.linspace(0, 1, 32).expand(1, 3, 16, 32)
    out = Preprocess((0.0,) * 3, (1.0,) * 3, input_size=8, resize=resize)(ramp)
    assert out.shape == (1, 3, 8, 8)
    step = 1 / (2 * inner)
    assert torch.allclose(out[0, 0, 4], 0.5 + (torch.arange(8) - 3.5) * step, atol=0.02)
