"""Trains the same small run twice: straight in one folder; killed at random moments and taken up again in another.

A program of its own, so that one start serves all attempts: each is a fork, killed from outside.
Arguments: the folder for both runs, the number of kills.
"""

from __future__ import annotations

import os
import random
import signal
import sys
from pathlib import Path

import compressai.models  # noqa: F401  (before the forks: it takes seconds)
import torch

import icmh_plugins as icmh
from icmh_plugins.testing.toys import COMPRESSAI_MODELS
from icmh_plugins.training.fit import fit

STEPS, BATCH = 12, 2


class Pictures:
    """Pictures drawn anew from the global generators at every access; each access is reported to a pipe."""

    def __init__(self, pipe):
        self.pipe = pipe

    def __len__(self):
        return 7

    def __getitem__(self, index):
        os.write(self.pipe, b".")
        return torch.rand(3, 72, 80) * random.random()


def train(folder, pipe):
    torch.manual_seed(0)
    codec = COMPRESSAI_MODELS["mbt2018-mean"]()
    icmh.attach_adapter(codec, "sfma", middle_dim=8)
    options = {"steps": STEPS, "batch_size": BATCH, "crop": 64, "lr": 1e-3, "log_every": 1, "checkpoint_every": 3}
    return fit(codec, "human", Pictures(pipe), lmbda=0.01, out=folder, progress=False, **options)


def killed(folder, after):
    """Whether a training that is killed once it has read `after` pictures was still running."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        train(folder, writing)
        os._exit(0)
    os.close(writing)
    seen = 0
    while seen < after and (data := os.read(reading, 1)):
        seen += len(data)
    os.kill(child, signal.SIGKILL)
    os.close(reading)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def main():
    folder, kills = Path(sys.argv[1]), int(sys.argv[2])
    torch.set_num_threads(1)
    moments = random.Random(5)
    count = sum(killed(folder / "killed", moments.randint(1, STEPS * BATCH // 2)) for _ in range(kills))
    nowhere = os.open(os.devnull, os.O_WRONLY)
    train(folder / "straight", nowhere)
    resumed = train(folder / "killed", nowhere)
    print(count, resumed.resumed_at)


if __name__ == "__main__":
    main()
