"""Choosing attachable sites from a trace: stages of the encoder and decoder, and the module that gives the image."""

from __future__ import annotations

from collections import Counter

from torch import nn

from icmh_plugins.codecs.features import Feature
from icmh_plugins.codecs.sites import SLOT, Side, Site, Where
from icmh_plugins.codecs.tracing import Trace

CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
"""Modules that hold others and compute nothing themselves: no sites."""


def choose_sites(model: nn.Module, trace: Trace) -> tuple[tuple[Site, ...], tuple[str, ...]]:
    """The last stage at each stride of either transform, and the image.

    Returns:
        Sites in call order, and notes on stages that were seen but cannot be adapted.
    """
    attachable = {site.path: site for site in traced_sites(model, trace) if site.where == "after"}
    chosen, notes = {}, []
    for path in _transform_stages(model, trace):
        leaf = _last_leaf(model, path)
        site = attachable.get(leaf)
        if site is None:
            notes.append(f"{leaf} ({_class(model, leaf)}) cannot be adapted: {obstacle(model, trace, leaf)}")
        elif site.stride > 1 or site.side == "reconstruction":
            chosen.pop(site.alias, None)
            chosen[site.alias] = site
    return tuple(chosen.values()), tuple(notes)


def traced_sites(model: nn.Module, trace: Trace) -> tuple[Site, ...]:
    """Every place where a trace saw a feature map pass: after and before each non-container module called once."""
    sides = _group_sides(trace)
    times = Counter(call.path for call in trace.calls)
    sites = []
    for call in trace.calls:
        if times[call.path] > 1 or isinstance(model.get_submodule(call.path), CONTAINERS):
            continue
        identity = call.path, sides[_stem(call.path)], _class(model, call.path)
        if call.output:
            sites.append(_site(*identity, call.output, "after"))
        if call.input:
            sites.append(_site(*identity, call.input, "before"))
    return tuple(sites)


def obstacle(model: nn.Module, trace: Trace, path: str) -> str:
    """Why `traced_sites` does not offer the module at `path`, which exists."""
    module = model.get_submodule(path)
    if isinstance(module, CONTAINERS):
        children = [f"{path}.{name}" for name, _ in module.named_children() if name != SLOT]
        return f"it only holds others; name one of {', '.join(children)}"
    times = sum(call.path == path for call in trace.calls)
    if times > 1:
        return f"it is called {times} times per image"
    return "it gives no feature map (tokens must come with their height and width)" if times else "it is not called"


def _site(path: str, side: Side, module_class: str, feature: Feature, where: Where) -> Site:
    if side == "synthesis" and feature.stride == 1 and feature.channels == 3:
        side = "reconstruction"
    # The first argument is what "before" adapts unless another element is named.
    element = feature.element or None if where == "before" else feature.element
    return Site(path, side, feature.channels, feature.stride, module_class, feature.layout, element, where)


def _transform_stages(model: nn.Module, trace: Trace) -> list[str]:
    groups: dict[str, list[str]] = {}
    for name, _ in model.named_children():
        groups.setdefault(_stem(name), []).extend(_stages(model, trace, name))
    sides = _group_sides(trace)
    strides = {stem: _strides(trace, stages) for stem, stages in groups.items()}
    kept = [
        stage
        for stem, stages in groups.items()
        if sides.get(stem, "entropy") != "entropy" and _is_transform(strides[stem], trace.latent_stride)
        for stage in stages
    ]
    order = {call.path: call.ended for call in trace.calls}
    return sorted((stage for stage in kept if stage in order), key=order.__getitem__)


def _is_transform(strides: set[int], latent: int) -> bool:
    # A group that shrinks below y is the hyper encoder; one that stays at y's size predicts or refines y.
    return bool(strides) and max(strides) <= latent and strides != {latent}


def _stages(model: nn.Module, trace: Trace, path: str) -> list[str]:
    """The parts of one transform at which its scale may change: neither the whole nor the insides of a block."""
    module = model.get_submodule(path)
    children = {name: child for name, child in module.named_children() if name != SLOT}
    block = isinstance(module, CONTAINERS) and not any(type(c).__name__ == "PixelShuffle" for c in children.values())
    if not children or not (block or _spans_scales(trace, path)):
        return [path]
    return [stage for name in children for stage in _stages(model, trace, f"{path}.{name}")]


def _spans_scales(trace: Trace, path: str) -> bool:
    calls = [call for call in trace.calls if call.path == path and call.input and call.output]
    return any(max(c.input.stride, c.output.stride) > 2 * min(c.input.stride, c.output.stride) for c in calls)


def _last_leaf(model: nn.Module, path: str) -> str:
    module = model.get_submodule(path)
    while isinstance(module, CONTAINERS) and len(module):
        name, module = list(module.named_children())[-1]
        path = f"{path}.{name}"
    return path


def _group_sides(trace: Trace) -> dict[str, Side]:
    """Analysis: all calls of the group before the first entropy model; synthesis: after the last; else entropy."""
    spans: dict[str, tuple[int, int]] = {}
    for call in trace.calls:
        started, ended = spans.get(_stem(call.path), (call.started, call.ended))
        spans[_stem(call.path)] = min(started, call.started), max(ended, call.ended)
    return {stem: _side(*span, trace) for stem, span in spans.items()}


def _side(started: int, ended: int, trace: Trace) -> Side:
    if ended < trace.entropy_started:
        return "analysis"
    return "synthesis" if started > trace.entropy_ended else "entropy"


def _stem(path: str) -> str:
    # TIC keeps one transform as g_a0, g_a1, ... on the root.
    name = path.partition(".")[0]
    return name.rstrip("0123456789") or name


def _strides(trace: Trace, paths: list[str]) -> set[int]:
    return {call.output.stride for call in trace.calls if call.output and call.path in paths}


def _class(model: nn.Module, path: str) -> str:
    return type(model.get_submodule(path)).__name__
