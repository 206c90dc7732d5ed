"""Finding where one may attach to an unknown codec, from one forward pass."""

from __future__ import annotations

from torch import nn

from icmh_plugins.codecs.choosing import choose_sites
from icmh_plugins.codecs.entropy import entropy_modules
from icmh_plugins.codecs.sites import CodecProfile
from icmh_plugins.codecs.tracing import BY_HAND, DEFAULT_SIZE, trace
from icmh_plugins.errors import CodecError


def probe(model: nn.Module, size: tuple[int, int] = DEFAULT_SIZE) -> CodecProfile:
    """Find a codec's sites: encoder stages, decoder stages, and the module that gives the image.

    What runs before the first entropy model is the encoder, what runs after the last is the decoder; of each, the last
    stage at every stride is a site. One forward pass is watched, the model is left as it was, and the result is kept
    while the model keeps its modules.

    Args:
        model: The codec; its forward takes images (B, 3, H, W) and gives ``x_hat`` and ``likelihoods``.
        size: Height and width of the dummy image, unequal.

    Raises:
        CodecError: It is no image codec, or shows fewer than two encoder strides; the message says what was found.
    """
    seen = trace(model, size)
    sites, notes = choose_sites(model, seen)
    strides = [site.stride for site in sites if site.side == "analysis"]
    if len(strides) < 2:
        found = ", ".join(f"{site.path} ({site.side}, stride {site.stride})" for site in sites)
        raise CodecError(
            f"{type(model).__name__}: looked for encoder stages at two strides or more before the first entropy model, "
            f"found {strides or 'none'}. All sites found: {found or 'none'}. {'; '.join(notes)} {BY_HAND}"
        )
    return CodecProfile(
        model_class=type(model).__name__,
        sites=sites,
        latent_stride=seen.latent_stride,
        entropy_modules=tuple(entropy_modules(model)),
        notes=notes,
    )
