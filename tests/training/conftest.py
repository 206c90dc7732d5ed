import pytest
import torch
from torch import nn

from icmh_plugins.adapters.attach import attach_adapter
from icmh_plugins.tasks.create import create_task
from icmh_plugins.testing.toys import COMPRESSAI_MODELS, TOYS


class Pictures:
    """Smooth labelled pictures, 72 x 80."""

    def __init__(self, count=12):
        self.count = count

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        noise = torch.rand(1, 3, 9, 10, generator=torch.Generator().manual_seed(index))
        image = nn.functional.interpolate(noise, (72, 80), mode="bilinear")[0]
        return {"image": image, "target": index % 6}


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def pictures():
    return Pictures()


@pytest.fixture(scope="session")
def make_codec():
    """Builds a codec with an SFMA, by name of a toy or of a CompressAI model."""

    def build(name="mbt2018-mean", adapter="sfma", **options):
        codec = {**TOYS, **COMPRESSAI_MODELS}[name]()
        if adapter:
            torch.manual_seed(0)
            attach_adapter(codec, adapter, **{"middle_dim": 8, **options})
        return codec

    return build


@pytest.fixture
def codec(make_codec):
    return make_codec()


@pytest.fixture
def make_task():
    """Builds a task with a small frozen classifier."""

    def build(**options):
        torch.manual_seed(1)
        convolution = nn.Conv2d(3, 8, 5, stride=2)
        layers = convolution, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 6)
        return create_task("classification", network=nn.Sequential(*layers), **{"layers": ["0"], **options})

    return build


@pytest.fixture
def task(make_task):
    return make_task()


@pytest.fixture
def quick():
    """Options of a run of a few small steps."""
    return {"lmbda": 5.0, "steps": 6, "batch_size": 4, "crop": 64, "lr": 1e-3, "log_every": 1, "progress": False}
