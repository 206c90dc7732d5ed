"""Small fast codecs to test against: toys of every shape found in the wild, and CompressAI's models at reduced width.

Every builder returns a new model with seeded weights, filled tables, in eval mode; equal calls give equal models.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import nn

from icmh_plugins.testing.toy_parts import enliven, seeded
from icmh_plugins.testing.toy_slice import SliceCodec
from icmh_plugins.testing.toy_token import TokenCodec
from icmh_plugins.testing.toy_tuple import TupleCodec
from icmh_plugins.testing.toy_two_inputs import TwoInputCodec
from icmh_plugins.testing.toy_wrapper import WrapperCodec


def tuple_codec() -> nn.Module:
    """TIC style: g_a and g_s are methods over numbered layers, stages return (tensor, list)."""
    model = seeded(TupleCodec)
    analysis = [getattr(model, f"g_a{index}") for index in range(8)]
    synthesis = [getattr(model, f"g_s{index}") for index in range(8)]
    return enliven(model, analysis, synthesis, model.to_latent, model.to_image)


def token_codec() -> nn.Module:
    """STF style: g_a and g_s are None, stages return (tokens, height, width)."""
    model = seeded(TokenCodec)
    analysis, synthesis = [model.patch_embed, model.layers], [model.syn_layers, model.end_conv]
    return enliven(model, analysis, synthesis, model.to_latent, model.to_image)


def wrapper_codec() -> nn.Module:
    """MLIC++ style: transforms are custom modules around a Sequential; keys ``y_likelihoods``, ``z_likelihoods``."""
    model = seeded(WrapperCodec)
    return enliven(model, [model.g_a], [model.g_s], model.to_latent, model.to_image)


def slice_codec() -> nn.Module:
    """TCM style: channel slices with context, one y string for the whole batch, decodes one image at a time."""
    model = seeded(SliceCodec)
    return enliven(model, [model.g_a], [model.g_s], model.to_latent, model.to_image)


def two_input_codec() -> nn.Module:
    """A codec that cannot be probed (no part of `TOYS`): forward takes a second argument."""
    model = seeded(TwoInputCodec)
    return enliven(model, [model.g_a], [model.g_s], model.to_latent, model.to_image)


def compressai_model(name: str, *args: int, **options: Any) -> nn.Module:
    """A model of CompressAI's registry, built with the given sizes."""
    import compressai.models  # noqa: F401  (fills the registry)
    from compressai.registry import MODELS

    model = seeded(partial(MODELS[name], *args, **options))
    return enliven(model, [model.g_a], [model.g_s], model.g_a, model.g_s)


TOYS: dict[str, Callable[[], nn.Module]] = {
    "tuple": tuple_codec,
    "token": token_codec,
    "wrapper": wrapper_codec,
    "slice": slice_codec,
}

_ELIC = {"N": 12, "M": 20, "groups": [2, 2, 4, 4, 8]}

COMPRESSAI_MODELS: dict[str, Callable[[], nn.Module]] = {
    "bmshj2018-factorized": partial(compressai_model, "bmshj2018-factorized", 12, 16),
    "bmshj2018-factorized-relu": partial(compressai_model, "bmshj2018-factorized-relu", 12, 16),
    "bmshj2018-hyperprior": partial(compressai_model, "bmshj2018-hyperprior", 12, 16),
    "mbt2018-mean": partial(compressai_model, "mbt2018-mean", 12, 16),
    "mbt2018": partial(compressai_model, "mbt2018", 12, 16),
    "cheng2020-anchor": partial(compressai_model, "cheng2020-anchor", 12),
    "cheng2020-attn": partial(compressai_model, "cheng2020-attn", 12),
    "cheng2020-anchor-checkerboard": partial(compressai_model, "cheng2020-anchor-checkerboard", 12),
    "elic2022-official": partial(compressai_model, "elic2022-official", **_ELIC),
    "elic2022-chandelier": partial(compressai_model, "elic2022-chandelier", **_ELIC),
    "bmshj2018-hyperprior-vbr": partial(compressai_model, "bmshj2018-hyperprior-vbr", 12, 16),
    "mbt2018-mean-vbr": partial(compressai_model, "mbt2018-mean-vbr", 12, 16),
    "mbt2018-vbr": partial(compressai_model, "mbt2018-vbr", 12, 16),
}
