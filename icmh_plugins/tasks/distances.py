"""Distances between what a frozen network sees in the decoded and in the uncompressed picture."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor
from torch.nn import functional as F


def feature_distances(
    features: Mapping[str, Tensor], reference: Mapping[str, Tensor], relative: bool = False
) -> dict[str, Tensor]:
    """Mean squared error of each layer, as scalars.

    Args:
        features: Activations (B, ...) of the decoded images by layer.
        reference: Those of the uncompressed images.
        relative: Divide each image's error by the mean square of its reference, so that layers and networks of
            any scale count alike (ours). False: the plain mean over all elements (Adapt-ICMH, official code).
    """
    distances = {}
    for name, value in features.items():
        target = reference[name].float()
        error = (value.float() - target).square().flatten(1).mean(1)
        if relative:
            error = error / target.square().flatten(1).mean(1).clamp_min(1e-12)
        distances[name] = error.mean()
    return distances


def prediction_divergence(logits: Tensor, reference: Tensor) -> Tensor:
    """Kullback-Leibler divergence in nats of the prediction (B, K) from the uncompressed one, mean over images."""
    return F.kl_div(
        logits.float().log_softmax(1), reference.float().log_softmax(1), log_target=True, reduction="batchmean"
    )
