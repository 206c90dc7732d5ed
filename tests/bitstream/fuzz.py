"""Decode damaged and forged streams: run as a script, in a process of its own, so that a crash is seen.

Prints one JSON object: how many mutations of each kind ended in which way.
"""

from __future__ import annotations

import json
import random
import sys
import zlib
from collections import Counter
from collections.abc import Callable

import torch

import icmh_plugins as icmh
from icmh_plugins.bitstream.container import unpack
from icmh_plugins.testing.toys import COMPRESSAI_MODELS, TOYS

Views = list[str] | None


def adapted() -> torch.nn.Module:
    codec = COMPRESSAI_MODELS["mbt2018-mean"]()
    icmh.attach_adapter(codec, "sfma", middle_dim=4)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in icmh.adapter_parameters(codec):
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return codec


CODECS: dict[str, tuple[Callable[[], torch.nn.Module], Views]] = {
    "mbt2018-mean": (COMPRESSAI_MODELS["mbt2018-mean"], None),
    "adapted": (adapted, ["human", "sfma"]),
    "bmshj2018-factorized": (COMPRESSAI_MODELS["bmshj2018-factorized"], None),
    "tuple": (TOYS["tuple"], None),
    "slice": (TOYS["slice"], None),
}


def flip_bits(rng: random.Random, data: bytes, others: list[bytes]) -> bytes:
    damaged = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 5, 40))):
        damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
    return bytes(damaged)


def truncate(rng: random.Random, data: bytes, others: list[bytes]) -> bytes:
    return data[: rng.randrange(len(data))]


def splice(rng: random.Random, data: bytes, others: list[bytes]) -> bytes:
    other = rng.choice(others)
    start = rng.randrange(len(data))
    return data[:start] + other[rng.randrange(len(other)) :]


def overwrite(rng: random.Random, data: bytes, others: list[bytes]) -> bytes:
    start, length = rng.randrange(len(data)), rng.choice((1, 2, 8, 64))
    filler = rng.choice((bytes(length), b"\xff" * length, rng.randbytes(length)))
    return data[:start] + filler + data[start + length :]


def noise(rng: random.Random, data: bytes, others: list[bytes]) -> bytes:
    return data[: rng.choice((0, 4, 5, 21, 30))] + rng.randbytes(rng.randrange(200))


KINDS = (flip_bits, truncate, splice, overwrite, noise)


def forge(data: bytes) -> bytes:
    """`data` as a stream of one image with the right checksum."""
    return data[:-4] + zlib.crc32(data[:-4]).to_bytes(4, "big")


def attempt(codec: torch.nn.Module, data: bytes, views: Views) -> str:
    try:
        decoded = icmh.decode(codec, data, views, max_pixels=2**14)
    except icmh.IcmhError as error:
        return type(error).__name__
    images = [decoded] if views is None else decoded.values()
    return "image" if all(torch.isfinite(image).all() for image in images) else "nan"


def main(damaged: int, forged: int) -> None:
    rng, outcomes = random.Random(0), Counter()
    for name, (make, views) in CODECS.items():
        codec = make()
        images = [
            torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(1)) for size in ((1, 1), (64, 64), (70, 9))
        ]
        streams = [icmh.encode(codec, image) for image in images]
        for number in range(damaged + forged):
            kind, data = rng.choice(KINDS), rng.choice(streams)
            mutant = kind(rng, data, streams)
            mutant = forge(mutant) if number >= damaged else mutant
            if mutant not in streams:
                outcomes[f"{name} {'forged' if number >= damaged else 'damaged'} {attempt(codec, mutant, views)}"] += 1
        # The decoder is unharmed by all of it.
        assert all(unpack(data).images and attempt(codec, data, views) == "image" for data in streams)
    print(json.dumps(outcomes))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(*map(int, sys.argv[1:]))
