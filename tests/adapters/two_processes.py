"""Run by test_copying: one of two processes that train one codec's adapter; writes its gradients to a folder."""

import sys
from pathlib import Path

import torch
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

from icmh_plugins.adapters.activate import adapter_parameters
from icmh_plugins.adapters.attach import attach_adapter
from icmh_plugins.testing.toys import TOYS

torch.set_num_threads(1)


def gradients(model, codec, images):
    model(images)["x_hat"].square().mean().backward()
    return {name: p.grad for name, p in codec.named_parameters() if p.grad is not None}


def adapted():
    codec = attach_adapter(TOYS["wrapper"](), "bottleneck", sites={"dec": ["dec*"]}, middle_dim=4)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in adapter_parameters(codec):
            parameter.copy_(0.1 * torch.randn(parameter.shape, generator=generator))
    return codec


folder, rank = Path(sys.argv[1]), int(sys.argv[2])
images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
distributed.init_process_group("gloo", init_method=f"file://{folder / 'meeting'}", rank=rank, world_size=2)
codec = adapted()
torch.save(gradients(DistributedDataParallel(codec), codec, images[rank : rank + 1]), folder / f"{rank}.pt")
if rank == 0:
    codec = adapted()
    torch.save(gradients(codec, codec, images), folder / "alone.pt")
distributed.destroy_process_group()
