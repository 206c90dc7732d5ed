"""Watching one forward pass: which modules run, when, and what feature maps they take and give."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from torch import nn

from icmh_plugins.codecs import trial
from icmh_plugins.codecs.classical import writes_files
from icmh_plugins.codecs.entropy import entropy_modules, is_entropy_module
from icmh_plugins.codecs.features import Feature, feature_of
from icmh_plugins.codecs.sites import SLOT
from icmh_plugins.errors import CodecError, SiteError

DEFAULT_SIZE = (256, 384)
_LARGER_SIZES = ((256, 768), (512, 768))  # for windows of 256 pixels, and for codecs that need more than 256

BY_HAND = (
    "If you know where its stages are, describe it yourself: preset=CodecProfile(..., sites=(Site(...), ...)), "
    "or offer that profile from a plug-in (register_codec_profiles)."
)


@dataclass(frozen=True, slots=True)
class Call:
    """One call of one module.

    Attributes:
        path: The module's dotted path.
        started: Tick at which it was called.
        ended: Tick at which it returned.
        input: The feature map among its positional arguments.
        output: The feature map in what it returned.
    """

    path: str
    started: int
    ended: int
    input: Feature | None
    output: Feature | None


@dataclass(frozen=True)
class Trace:
    """One forward pass.

    Attributes:
        calls: Calls of all modules but entropy models, in the order in which they returned.
        entropy_started: Tick of the first call of an entropy model.
        entropy_ended: Tick at which the last one returned.
        latent_stride: Image pixels per element of y.
        hyper_stride: Image pixels per element of the coarsest latent that is coded: z, or y without a hyperprior.
    """

    calls: tuple[Call, ...]
    entropy_started: int
    entropy_ended: int
    latent_stride: int
    hyper_stride: int


_TRACES: WeakKeyDictionary[nn.Module, tuple[Any, Trace]] = WeakKeyDictionary()


def trace(model: nn.Module, size: tuple[int, int] = DEFAULT_SIZE) -> Trace:
    """Trace one forward pass on a dummy image; cached while the model keeps its modules.

    Args:
        model: The codec.
        size: Height and width of the dummy image, unequal. The default is followed by larger ones if it fails.

    Raises:
        CodecError: The model is not an image codec: the message says what was looked for and what was found.
        SiteError: It is a picture format.
    """
    key = (size, tuple((path, type(module)) for path, module in model.named_modules() if SLOT not in path))
    known = _TRACES.get(model)
    if known is None or known[0] != key:
        known = (key, _trace(model, size))
        _TRACES[model] = known
    return known[1]


def _trace(model: nn.Module, size: tuple[int, int]) -> Trace:
    if size[0] == size[1]:
        raise CodecError(f"The probing size must not be square (got {size}): its axes could not be told apart.")
    if writes_files(model):
        raise SiteError(
            f"{type(model).__name__} has the decoded picture only; its files are made outside of the model. Remedy: "
            "sites=['image']; for ll-icm condition='x_hat' or 'none'"
        )
    if not entropy_modules(model):
        raise CodecError(
            f"{type(model).__name__} is not a codec: no entropy model found (EntropyBottleneck, GaussianConditional, "
            f"or a subclass, by class name). {_parts(model)}"
        )
    recorder, output = _run(model, size)
    likelihoods = output.get("likelihoods") if isinstance(output, dict) else None
    if not isinstance(likelihoods, dict) or "x_hat" not in output:
        raise CodecError(
            f"The forward of {type(model).__name__} must return a dict with 'x_hat' and a dict 'likelihoods', "
            f"got {list(output) if isinstance(output, dict) else type(output).__name__}. {BY_HAND}"
        )
    strides = [found.stride for value in likelihoods.values() if (found := feature_of(value, recorder.size))]
    if not strides or not recorder.entropy:
        raise CodecError(
            f"{type(model).__name__}: no entropy model was called in forward, or no likelihoods (B, C, h, w) came out "
            f"of it. {_parts(model)} {BY_HAND}"
        )
    started, ended = zip(*recorder.entropy, strict=True)
    return Trace(tuple(recorder.calls), min(started), max(ended), min(strides), max(strides))


def _run(model: nn.Module, size: tuple[int, int]) -> tuple[_Recorder, Any]:
    failure = None
    for attempt in (size, *_LARGER_SIZES) if size == DEFAULT_SIZE else (size,):
        recorder = _Recorder(attempt)
        try:
            with recorder.watching(model):
                return recorder, trial.run(model, attempt)
        except Exception as error:
            failure = failure or error
    raise CodecError(
        f"The forward of {type(model).__name__} does not take one batch of images (1, 3, {size[0]}, {size[1]}): "
        f"{type(failure).__name__}: {str(failure).rstrip('.')}. Image codecs only: video and "
        f"point-cloud codecs are not supported. {_parts(model)} {BY_HAND}"
    ) from failure


def _parts(model: nn.Module) -> str:
    parts = [f"{name} ({type(module).__name__})" for name, module in model.named_children()]
    return f"Its parts: {', '.join(parts[:12]) or 'none'}{', ...' if len(parts) > 12 else ''}."


class _Recorder:
    """Collects calls through hooks that are removed again."""

    def __init__(self, size: tuple[int, int]) -> None:
        self.size = size
        self.calls: list[Call] = []
        self.entropy: list[tuple[int, int]] = []
        self._tick = 0
        self._open: dict[str, list[tuple[int, Feature | None]]] = {}

    @contextmanager
    def watching(self, model: nn.Module) -> Iterator[None]:
        inside_entropy = tuple(f"{path}." for path in entropy_modules(model))
        handles = []
        try:
            for path, module in model.named_modules():
                if path and SLOT not in path.split(".") and not path.startswith(inside_entropy):
                    handles += self._watch(path, module)
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _watch(self, path: str, module: nn.Module) -> list[Any]:
        def enter(_: nn.Module, args: tuple[Any, ...]) -> None:
            self._open.setdefault(path, []).append((self._next(), feature_of(args, self.size)))

        def leave(module: nn.Module, _: tuple[Any, ...], output: Any) -> None:
            started, given = self._open[path].pop()
            if is_entropy_module(module):
                self.entropy.append((started, self._next()))
            else:
                self.calls.append(Call(path, started, self._next(), given, feature_of(output, self.size)))

        return [module.register_forward_pre_hook(enter), module.register_forward_hook(leave)]

    def _next(self) -> int:
        self._tick += 1
        return self._tick
