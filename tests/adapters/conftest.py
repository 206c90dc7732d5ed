"""Codecs, pictures, and the questions that most of these tests ask."""

from __future__ import annotations

import copy
import hashlib

import pytest
import torch
from torch import nn

from icmh_plugins.adapters.activate import adapter_parameters
from icmh_plugins.adapters.host import host_of
from icmh_plugins.adapters.slot import slots
from icmh_plugins.testing.toys import COMPRESSAI_MODELS, TOYS

CODECS = {**TOYS, **COMPRESSAI_MODELS}


@pytest.fixture(scope="module", autouse=True)
def single_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # raster codecs run many tiny layers, which more threads only slow down
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session", params=CODECS)
def built(request):
    model = CODECS[request.param]()
    for module in model.modules():
        if "MaskedConv2d" in (cls.__name__ for cls in type(module).__mro__):
            module.weight.data *= module.mask  # which its first forward would do
    return model


@pytest.fixture
def build(built):
    """Gives a new codec at each call; a test with it runs for every codec."""
    return lambda: copy.deepcopy(built)


@pytest.fixture
def codec():
    return COMPRESSAI_MODELS["mbt2018-mean"]()


@pytest.fixture
def image():
    return torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(5))


@pytest.fixture
def code():
    """Strings and decoded pixels of an image; `decoder` is another codec to decode with."""

    @torch.no_grad()
    def run(model, image, decoder=None):
        coded = model.compress(image)
        decoded = (decoder or model).decompress(coded["strings"], coded["shape"])
        return coded["strings"], decoded["x_hat"]

    return run


@pytest.fixture
def train():
    """Move an adapter's parameters as training would, by seeded noise."""

    def move(model, name=None, seed=0, amount=0.1):
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in adapter_parameters(model, name):
                noise = torch.randn(parameter.shape, generator=generator)
                parameter.add_((amount * noise).to(parameter))
        return model

    return move


@pytest.fixture
def snapshot():
    """All that attaching could touch, comparable with ``==``."""

    def take(model):
        host = host_of(model)
        return {
            "tensors": {name: _digest(tensor) for name, tensor in model.state_dict(keep_vars=True).items()},
            "parameters": [(name, p.requires_grad, p.grad is None) for name, p in model.named_parameters()],
            "modules": [(path, type(module), module.training) for path, module in model.named_modules()],
            "hooks": [(path, _hooks(module)) for path, module in model.named_modules()],
            "attributes": {path: sorted(vars(module)) for path, module in model.named_modules()},
            "adapter tensors": [[_digest(t) for t in slot.adapters.state_dict().values()] for _, slot in slots(model)],
            "adapters": None if host is None else (dict(host.records), host.activation.names, host.fingerprint),
            "random state": _digest(torch.get_rng_state()),
        }

    return take


def _digest(tensor: torch.Tensor) -> str:
    values = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
    return f"{tensor.dtype}{tuple(tensor.shape)}{hashlib.sha256(values.tobytes()).hexdigest()}"


def _hooks(module: nn.Module) -> dict[str, list[object]]:
    return {name: list(value.values()) for name, value in vars(module).items() if name.endswith("hooks")}
