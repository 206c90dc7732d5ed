import pytest
import torch
from torch import nn

from icmh_plugins.adapters.attach import attach_adapter
from icmh_plugins.adapters.host import adapter_modules
from icmh_plugins.tasks.create import create_task
from icmh_plugins.testing.toys import COMPRESSAI_MODELS


class Pictures:
    """Three smooth labelled pictures of different sizes."""

    sizes = ((40, 56), (64, 64), (17, 33))

    def __len__(self):
        return len(self.sizes)

    def __getitem__(self, index):
        noise = torch.rand(1, 3, 4, 4, generator=torch.Generator().manual_seed(index))
        image = nn.functional.interpolate(noise, self.sizes[index], mode="bilinear")[0]
        return {"image": image, "target": index, "name": f"p{index}.png"}


@pytest.fixture
def pictures():
    return Pictures()


@pytest.fixture
def codec():
    return COMPRESSAI_MODELS["mbt2018-mean"]()


@pytest.fixture
def adapted(codec):
    """A codec with an SFMA that changes something."""
    attach_adapter(codec, "sfma")
    generator = torch.Generator().manual_seed(0)
    for module in adapter_modules(codec, "sfma").values():
        for parameter in module.parameters():
            parameter.data.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return codec


@pytest.fixture
def classifier():
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 8, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 6)
    return create_task("classification", network=nn.Sequential(*layers), layers=["0"])
