"""Trains an adapter, a codec, and both together; started by a launcher. Argument: the folder for the runs."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import distributed

import icmh_plugins as icmh
from icmh_plugins.testing.toys import COMPRESSAI_MODELS
from icmh_plugins.training.fit import fit

OPTIONS = {"lmbda": 0.01, "steps": 5, "batch_size": 4, "crop": 64, "lr": 1e-3, "log_every": 1, "progress": False}


class Pictures:
    """Pictures of noise, seeded by their number."""

    def __len__(self):
        return 12

    def __getitem__(self, index):
        return torch.rand(3, 72, 80, generator=torch.Generator().manual_seed(index))


def main(folder):
    torch.set_num_threads(1)
    codec = COMPRESSAI_MODELS["mbt2018-mean"]()
    torch.manual_seed(0)
    icmh.attach_adapter(codec, "sfma", middle_dim=8)
    icmh.attach_adapter(codec, "bottleneck", name="idle")
    icmh.set_adapter(codec, "sfma")
    fit(codec, "human", Pictures(), out=folder / "adapter", **OPTIONS)
    codec = COMPRESSAI_MODELS["mbt2018-mean"]()
    fit(codec, "human", Pictures(), out=folder / "codec", trainable="codec", quantization="noise", **OPTIONS)
    codec = COMPRESSAI_MODELS["mbt2018-mean"]()
    torch.manual_seed(0)
    icmh.attach_adapter(codec, "dynamic", width=8)
    fit(codec, "human", Pictures(), out=folder / "joint", mode="joint", quantization="noise", **OPTIONS)
    if distributed.is_initialized():
        print(f"{distributed.get_rank()}/{distributed.get_world_size()}")
        distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
