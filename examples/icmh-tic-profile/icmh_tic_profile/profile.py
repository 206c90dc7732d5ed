"""The profile: where Adapt-ICMH puts adapters on TIC, as data about `SmallTIC`."""

from __future__ import annotations

from torch import nn

import icmh_plugins as icmh


def profile(model: nn.Module) -> icmh.CodecProfile:
    """After the blocks in the encoder, after up-sampling in the decoder; and the picture.

    Probing would take the last module at each stride, which in this decoder is the block after the up-sampling.
    """
    encoder = tuple(
        icmh.Site(f"g_a{index}", "analysis", channels=model.N, stride=stride, module_class="Block", element=0)
        for index, stride in ((1, 2), (3, 4), (5, 8))
    )
    decoder = tuple(
        icmh.Site(f"g_s{index}", "synthesis", channels=model.N, stride=stride, module_class="ConvTranspose2d")
        for index, stride in ((1, 8), (3, 4), (5, 2))
    )
    picture = icmh.Site("g_s7", "reconstruction", channels=3, stride=1, module_class="ConvTranspose2d")
    return icmh.CodecProfile(
        model_class="SmallTIC",
        sites=(*encoder, *decoder, picture),
        latent_stride=16,
        entropy_modules=("entropy_bottleneck", "gaussian_conditional"),
    )
