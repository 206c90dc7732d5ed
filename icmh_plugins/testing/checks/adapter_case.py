"""One adapter on one codec, as the checks want it: attached anew each time, and moved away from its start."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from typing import Any, Final

import torch
from torch import Tensor, nn

from icmh_plugins.adapters.activate import adapter_parameters
from icmh_plugins.adapters.attach import attach_adapter
from icmh_plugins.adapters.base import Adapter
from icmh_plugins.adapters.building import build
from icmh_plugins.adapters.placement import choose_sites
from icmh_plugins.codecs.profiles import profile_of
from icmh_plugins.codecs.sites import CodecProfile, Site
from icmh_plugins.errors import AdapterError, ConfigError, in_words, suggest
from icmh_plugins.registry.catalog import resolve
from icmh_plugins.testing.checks.adapter_parts import Part
from icmh_plugins.testing.checks.check import NotBuiltError
from icmh_plugins.testing.checks.session import offered
from icmh_plugins.testing.toys import COMPRESSAI_MODELS, TOYS

NAME: Final = "checked"
"""Name under which the adapter is attached."""

REAL_VARIABLE: Final = "ICMH_REAL_CODECS"
_TOYS: Final = ("wrapper", "tuple", "token")
_REAL: Final = ("bmshj2018-factorized", "mbt2018-mean", "mbt2018", "cheng2020-attn", "elic2022-official")


def codecs_to_try() -> tuple[str, ...]:
    """Names of the codecs: toys, and CompressAI's models (at reduced width) where ``ICMH_REAL_CODECS`` is set."""
    return _TOYS + (_REAL if os.environ.get(REAL_VARIABLE, "") not in ("", "0") else ())


@cache
def built_codec(name: str) -> nn.Module:
    """A codec by name, made once; copy it before changing it.

    Raises:
        ConfigError: The kit has no such codec.
    """
    known = {**TOYS, **COMPRESSAI_MODELS}
    if name not in known:
        raise ConfigError(f"the kit has no codec {name!r}.{suggest(name, known)}")
    return known[name]()


class AdapterCase:
    """An adapter with its options, and a codec.

    Attributes:
        codec_name: Which of the codecs.
        config: Options.
        where: Beginning of messages: the codec.
    """

    def __init__(self, adapter: str | type[Adapter], config: Mapping[str, Any], sites: Any, codec_name: str) -> None:
        self._adapter, self.config, self._sites, self.codec_name = adapter, dict(config), sites, codec_name
        self.where = f"on the codec {codec_name!r}: "

    @property
    def adapter(self) -> str | type[Adapter]:
        """What `attach_adapter` takes: a name, or a class that cannot have one."""
        return offered(self._adapter)

    @property
    def cls(self) -> type[Adapter]:
        """The adapter's class.

        Raises:
            NotBuiltError: Its name does not lead to an adapter.
        """
        try:
            cls = resolve("adapter", self._adapter) if isinstance(self._adapter, str) else self._adapter
        except Exception as error:
            raise NotBuiltError(f"{in_words(error)} (see adapter-attaches)") from error
        if not (isinstance(cls, type) and issubclass(cls, Adapter)):
            raise NotBuiltError(f"{cls!r} is no subclass of icmh_plugins.Adapter (see adapter-attaches)")
        return cls

    def codec(self) -> nn.Module:
        """A new codec without adapters, the same at every call."""
        return copy.deepcopy(built_codec(self.codec_name))

    def profile(self) -> CodecProfile:
        """The codec's sites."""
        return profile_of(built_codec(self.codec_name))

    def sites(self) -> tuple[Site, ...]:
        """Where the adapter sits."""
        settings = self._made(lambda: self.cls.make_config(dict(self.config)))
        codec = built_codec(self.codec_name)
        return self._made(lambda: choose_sites(self.profile(), self.cls, settings, self._sites, codec))

    def attach(self, model: nn.Module, name: str = NAME) -> nn.Module:
        """Attach the adapter to `model`."""
        return attach_adapter(model, self.adapter, name=name, sites=self._sites, **self.config)

    def attached(self, trained: bool = True) -> nn.Module:
        """A new codec with the adapter; moved away from its start, as training would, if `trained`."""
        model = self._made(lambda: self.attach(self.codec()))
        return move(model) if trained else model

    def parts(self, trained: bool = True) -> list[Part]:
        """The adapter's modules outside of a codec, in eval mode."""
        sites, codec = self.sites(), self.codec()
        built = self._made(lambda: build(self.cls, sites, self.cls.make_config(dict(self.config)), codec))
        for _, module in built:
            module.eval()
            if trained:
                shift(module.parameters())
        return [Part(site, module, codec.get_submodule(site.path)) for site, module in built]

    def _made(self, make: Any) -> Any:
        try:
            return make()
        except NotBuiltError:
            raise
        except Exception as error:
            raise NotBuiltError(f"{in_words(error)} (see adapter-attaches)") from error


def move(model: nn.Module, seed: int = 0) -> nn.Module:
    """Shift the trainable parameters of the active adapter by seeded noise; an adapter without any stays."""
    with suppress(AdapterError):
        shift(adapter_parameters(model), seed)
    return model


@torch.no_grad()
def shift(parameters: Iterable[nn.Parameter], seed: int = 0) -> None:
    """Add seeded noise of deviation 0.05 to the trainable ones of `parameters`."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in parameters:
        if parameter.requires_grad:
            parameter.add_((0.05 * torch.randn(parameter.shape, generator=generator)).to(parameter))


def picture(images: int = 1, size: Sequence[int] = (64, 64)) -> Tensor:
    """Seeded pictures (B, 3, H, W) in [0, 1]."""
    return torch.rand(images, 3, *size, generator=torch.Generator().manual_seed(3))
