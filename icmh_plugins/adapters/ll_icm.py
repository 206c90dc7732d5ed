"""LL-ICM: the decoded picture restored under a condition from CLIP or DA-CLIP, for codecs that code degraded pictures.

Paper: Xue, Zhang, Jia, Wang: "LL-ICM: Image Compression for Low-level Machine Vision via Large Vision-Language Model",
arXiv 2412.03841. Its full text was not available, and no public code is known.

From the paper (abstract and figures): CLIP and DA-CLIP look at the decoded picture; their embeddings steer a
restoration network behind the codec; codec and network are trained together; one codec serves several degradations.
Ours: the network (one step instead of a diffusion model), all sizes, the further sources of the condition, the gate,
tiling, and that CLIP can reach neither bits nor entropy coding.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import Field
from torch import Tensor, nn

from icmh_plugins.adapters.base import Adapter, AdapterConfig
from icmh_plugins.adapters.clip.conditioner import degradation_words, load_conditioner
from icmh_plugins.adapters.clip.preprocess import Resize
from icmh_plugins.adapters.clip.spec import find_clip
from icmh_plugins.adapters.condition_sources import (
    SOURCES,
    Clip,
    FromDecoded,
    FromLatent,
    FromNothing,
    LatentTap,
    Source,
    SourceName,
)
from icmh_plugins.adapters.prompt import PromptMixer
from icmh_plugins.adapters.restoration_head import RestorationHead
from icmh_plugins.adapters.side_information import FromHint, FromSideInfo, HintTap, SideInfoTap
from icmh_plugins.codecs.sites import CodecProfile, Site
from icmh_plugins.errors import ConfigError, MissingDependencyError, SiteError


class LLICMConfig(AdapterConfig):
    """Options of `LLICM`.

    Attributes:
        condition: Where the condition comes from: "x_hat" (the paper's place), "latent", "side-info", "hint", "none".
        clip: CLIP weights: "tiny" (in the package), "local-dir:FOLDER", "open_clip:MODEL@FILE", "daclip:FILE". Kept
            without folders; "" where CLIP takes no part.
        clip_sha256: Their digest; filled in when the adapter is made, checked when it is loaded.
        clip_width: Length of their embeddings; filled in.
        resize: How pictures are brought to the tower's size; None takes the tower's own way.
        detach_condition: Stop gradients at CLIP (DA-CLIP's practice).
        side_dims: Values sent with "side-info".
        side_bits: Bits of each.
        width: Channels of the restoration network at full resolution.
        levels: Times that it halves the resolution.
        blocks: Its blocks at each level, on the way down and up.
        condition_dim: Length of the condition.
        gate: A number from the condition scales the change, so that clean pictures can be left alone.
        tile: Larger pictures are restored in tiles of this side; 0 never tiles. The condition is that of the whole.
    """

    condition: SourceName = "x_hat"
    clip: str = "tiny"
    clip_sha256: str = Field("", pattern="^([0-9a-f]{64})?$")
    clip_width: int = Field(0, ge=0, le=4096)
    resize: Resize | None = None
    detach_condition: bool = True
    side_dims: int = Field(32, ge=1, le=1024)
    side_bits: int = Field(5, ge=1, le=12)
    width: int = Field(32, ge=1, le=4096)
    levels: int = Field(3, ge=0, le=5)
    blocks: int = Field(1, ge=1, le=64)
    condition_dim: int = Field(128, ge=1, le=4096)
    gate: bool = True
    tile: int = Field(512, ge=0, multiple_of=32)


class LLICM(Adapter):
    """x_hat + g(c) r(x_hat, c): a restoration network r and a gate g under a condition c.

    On the decoded image it restores; at the site that its source reads ("picture" or "latent") it only looks, and what
    passes is unchanged.
    """

    Config = LLICMConfig
    sides = ("analysis", "synthesis", "reconstruction")
    strides = None
    needs_fp32 = True
    paper = "Xue et al., LL-ICM, arXiv 2412.03841 (topology); Luo et al., DA-CLIP, ICLR 2024 (prompt); ours elsewhere"

    def __init__(self, site: Site, config: LLICMConfig) -> None:
        super().__init__(site, config)
        source = SOURCES[config.condition]
        self.only_looks = site.side != "reconstruction"
        if self.only_looks:
            _check_tap(site, source, config)
            self.tap = _tap(site, config)
            return
        self.source = _source(config)
        self.mixer = PromptMixer(self.source.width, config.condition_dim)
        self.head = RestorationHead(
            site.channels, config.width, config.levels, config.blocks, config.condition_dim, config.gate, config.tile
        )

    def forward(self, x: Tensor) -> Tensor:
        """Restore decoded pictures (B, 3, H, W), of any size from 1x1; shape and dtype are kept.

        At the other site of its source `x` is a feature map, and is returned as it is.
        """
        if self.only_looks:
            self.tap(x)
            return x
        return self.head(x, self.mixer(self.source(x)))

    @classmethod
    def default_sites(cls, profile: CodecProfile, config: LLICMConfig) -> Sequence[Site | str]:
        """The decoded image, and what the source reads."""
        tap = SOURCES[config.condition].tap
        return [*([tap] if tap else []), *profile.side("reconstruction")]

    @classmethod
    def make_config(cls, options: dict[str, Any]) -> LLICMConfig:
        """Validate `options`, and find the CLIP weights that they name.

        Where only the encoder needs CLIP, an adapter that was made with it can be used without.

        Raises:
            ConfigError: As `Adapter.make_config`; or weights are missing, or others than the adapter was made with.
        """
        config = super().make_config(options)
        source = SOURCES[config.condition]
        if not source.uses_clip:
            return config.model_copy(update={"clip": "", "clip_sha256": "", "clip_width": 0})
        try:
            return _with_clip(config)
        except (ConfigError, MissingDependencyError):
            if "CLIP" in source.decoder_needs or not (config.clip_sha256 and config.clip_width):
                raise
            return config


def _check_tap(site: Site, source: Source, config: LLICMConfig) -> None:
    if site.side != source.side or (source.tap == "picture" and (site.channels, site.stride) != (3, 1)):
        places = f"the decoded image and {source.tap!r}" if source.tap else "the decoded image alone"
        raise SiteError(
            f"ll-icm with condition={config.condition!r} sits on {places}, not on {site.name}. Remedy: leave sites out"
        )


def _with_clip(config: LLICMConfig) -> LLICMConfig:
    weights = find_clip(config.clip, config.clip_sha256)
    if config.condition == "hint":
        degradation_words(config.clip, sha256=weights.sha256)  # refused now rather than at the first picture
    width = load_conditioner(config.clip, sha256=weights.sha256).width
    if config.clip_width not in (0, width):
        raise ConfigError(
            f"CLIP weights {weights.name!r} give embeddings of length {width}, the adapter was made for "
            f"{config.clip_width}. Remedy: the weights it was made with"
        )
    return config.model_copy(update={"clip": weights.name, "clip_sha256": weights.sha256, "clip_width": width})


def _clip(config: LLICMConfig) -> Clip:
    return Clip(config.clip, config.clip_sha256, config.clip_width, config.resize, config.detach_condition)


def _tap(site: Site, config: LLICMConfig) -> nn.Module:
    if config.condition == "latent":
        return LatentTap(site.channels, config.condition_dim)
    if config.condition == "hint":
        return HintTap(_clip(config))
    return SideInfoTap(_clip(config), config.side_dims, config.side_bits)


def _source(config: LLICMConfig) -> nn.Module:
    match config.condition:
        case "x_hat":
            return FromDecoded(_clip(config))
        case "latent":
            return FromLatent(config.condition_dim)
        case "side-info":
            return FromSideInfo(config.side_dims, config.side_bits)
        case "hint":
            return FromHint()
        case _:
            return FromNothing()
