"""The site table: what sits where, how large it is, what it costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from icmh_plugins.adapters.coded_picture import forward_pass
from icmh_plugins.adapters.host import AdapterRecord, adapter_modules, base_parameters, host_of, unwrap
from icmh_plugins.codecs.modes import evaluating
from icmh_plugins.codecs.profiles import profile_of
from icmh_plugins.codecs.sites import CodecProfile, Site

_SIDE = 256  # image size at which MACs are counted


@dataclass(frozen=True)
class Row:
    """One line of the table. `parameters` and `kmac_per_pixel` are those of the adapter there (0 without one).

    kMAC per image pixel counts convolutions and matrix products; FFTs are not counted.
    """

    site: str
    alias: str
    side: str
    module_class: str
    channels: int
    stride: int
    adapter: str
    active: bool
    parameters: int
    kmac_per_pixel: float


@dataclass(frozen=True)
class Description:
    """A codec's sites and adapters; prints as a table.

    Attributes:
        model_class: Class name of the codec.
        base_parameters: Number of values in the base's parameters.
        rows: One per site and adapter, in call order.
        notes: Remarks of the probe.
        planned: True for a dry run.
    """

    model_class: str
    base_parameters: int
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    planned: bool = False

    @property
    def adapter_parameters(self) -> int:
        """Number of values in all adapters."""
        return sum(row.parameters for row in self.rows)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON-ready form."""
        return asdict(self) | {"adapter_parameters": self.adapter_parameters}

    def __repr__(self) -> str:
        head = ("site", "alias", "class", "channels", "stride", "adapter", "parameters", "kMAC/px")
        body = [
            (r.site, r.alias, r.module_class, str(r.channels), str(r.stride), r.adapter + (" *" if r.active else ""),
             f"{r.parameters:,}" if r.parameters else "", f"{r.kmac_per_pixel:.2f}" if r.parameters else "")
            for r in self.rows
        ]  # fmt: skip
        widths = [max(len(line[i]) for line in (head, *body)) for i in range(len(head))]
        lines = [
            "  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip() for line in (head, *body)
        ]
        ours, base = self.adapter_parameters, self.base_parameters
        title = f"{self.model_class}: {base:,} parameters, adapters {ours:,} ({100 * ours / max(base, 1):.2f} %)"
        title += ", planned" if self.planned else ""
        foot = ["* active"] if any(row.active for row in self.rows) else []
        return "\n".join([title, *lines, *foot, *(f"note: {note}" for note in self.notes)])


def describe(model: nn.Module) -> Description:
    """The codec's site table: every attachable site, and every adapter on it with its parameters and MACs."""
    host, root = host_of(model), unwrap(model)
    profile = host.profile if host else profile_of(root)
    rows = [row for record in (host.records.values() if host else ()) for row in _adapter_rows(root, record)]
    taken = {row.site for row in rows}
    rows += [_row(site) for site in profile.sites if site.name not in taken]
    return _description(root, profile, rows)


def describe_plan(
    root: nn.Module, profile: CodecProfile, record: AdapterRecord, modules: Mapping[str, nn.Module]
) -> Description:
    """The table of what `record` would add."""
    rows = [_row(site, record.name, False, modules[site.name]) for site in record.sites]
    return _description(root, profile, rows, planned=True)


def _description(root: nn.Module, profile: CodecProfile, rows: list[Row], planned: bool = False) -> Description:
    base = sum(parameter.numel() for parameter in base_parameters(root).values())
    order = {site.name: index for index, site in enumerate(profile.sites)}
    rows = sorted(rows, key=lambda row: order.get(row.site, len(order)))
    return Description(type(root).__name__, base, tuple(rows), profile.notes, planned)


def _adapter_rows(root: nn.Module, record: AdapterRecord) -> list[Row]:
    modules, host = adapter_modules(root, record.name), host_of(root)
    active = host is not None and record.name in host.active
    return [_row(site, record.name, active, modules[site.name]) for site in record.sites]


def _row(site: Site, name: str = "", active: bool = False, adapter: nn.Module | None = None) -> Row:
    parameters = sum(p.numel() for p in adapter.parameters()) if adapter is not None else 0
    macs = count_macs(adapter, site) if adapter is not None else 0
    return Row(
        site.name, site.alias, site.side, site.module_class, site.channels, site.stride, name, active, parameters,
        macs / (_SIDE * _SIDE * 1000),
    )  # fmt: skip


def count_macs(adapter: nn.Module, site: Site) -> int:
    """Multiply-accumulates of one adapter on a 256x256 image (convolutions and matrix products)."""
    with forward_pass(), evaluating(adapter):
        inputs = adapter.example_inputs(site, _SIDE)
        with FlopCounterMode(display=False) as counter:
            adapter(*inputs)
    return counter.get_total_flops() // 2
