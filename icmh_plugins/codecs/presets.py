"""Placements of published work, reproduced exactly."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import nn

from icmh_plugins.codecs.choosing import traced_sites
from icmh_plugins.codecs.probe import probe
from icmh_plugins.codecs.sites import CodecProfile, Site
from icmh_plugins.codecs.tracing import trace
from icmh_plugins.errors import CodecError


@dataclass(frozen=True)
class Placement:
    """Adapters after named modules of one codec; call it with a model to get its profile.

    Attributes:
        name: Name of the preset.
        codec: The codec it was published for, for messages.
        paths: Module path to the alias that the site must have, in call order.
    """

    name: str
    codec: str
    paths: dict[str, str]

    def __call__(self, model: nn.Module) -> CodecProfile:
        """The profile: these sites, and the image.

        Raises:
            CodecError: The model is not laid out as that codec.
        """
        profile = probe(model)
        after = {site.path: site for site in traced_sites(model, trace(model)) if site.where == "after"}
        sites = tuple(self._site(path, after, model) for path in self.paths)
        return replace(profile, sites=sites + profile.side("reconstruction"), source=f"preset:{self.name}")

    def _site(self, path: str, after: dict[str, Site], model: nn.Module) -> Site:
        site = after.get(path)
        if site is None or site.alias != self.paths[path]:
            found = f"there it is {site.alias}" if site else "there is none"
            raise CodecError(
                f"preset {self.name!r} places adapters on {self.codec} and needs a module {path} at "
                f"{self.paths[path]}; on {type(model).__name__} {found}. Remedy: leave preset out, or name sites=[...]"
            )
        return site


ADAPT_ICMH = Placement(
    "adapt-icmh",
    "TIC",
    {"g_a1": "enc2", "g_a3": "enc4", "g_a5": "enc8", "g_s1": "dec8", "g_s3": "dec4", "g_s5": "dec2"},
)
"""SFMA on TIC (Li et al., ECCV 2024): in the encoder after the transformer blocks, in the decoder after up-sampling."""
