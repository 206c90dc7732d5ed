import os

import pytest
import torch

import icmh_plugins as icmh
from icmh_plugins.testing.toys import COMPRESSAI_MODELS


@pytest.fixture(scope="session")
def picture():
    """Makes seeded random pictures (B, 3, H, W)."""

    def make(height, width, batch=1, seed=0):
        return torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(seed))

    return make


@pytest.fixture
def codec():
    """A tiny mean-scale hyperprior."""
    return COMPRESSAI_MODELS["mbt2018-mean"]()


@pytest.fixture(scope="session")
def attach_trained():
    """Attaches an adapter whose tensors are as if trained: not those of the start."""

    def attach(model, adapter="sfma", name=None, seed=0, **options):
        icmh.attach_adapter(model, adapter, name=name, **options)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in icmh.adapter_parameters(model, name or adapter):
                parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))

    return attach


@pytest.fixture(scope="session")
def single_threaded():
    """Environment of a subprocess that takes one core."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
